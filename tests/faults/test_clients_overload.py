"""More than the router can hold is refused at once, and whoever watches it is always answered."""

import asyncio
import gzip
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bitrouter.server import connection as connections
from bitrouter.server.room import RESERVED
from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, Dialect, settings
from tests.support.process import RouterProcess
from tests.support.rawhttp import RawAnswer, RawConnection, connect, post
from tests.support.requestlog import RequestLog
from tests.support.router import LIMIT_S, RunningRouter, no_connections, server_of
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

JSON = "Content-Type: application/json"
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
KIB = 1024


def request_for(dialect: Dialect, *, stream: bool = False, padding: int = 0) -> bytes:
    body = json.dumps(dialect.body(stream=stream)).encode() + b" " * padding
    return post(dialect.path(stream=stream), body, JSON)


def overloaded(dialect: Dialect) -> int:
    """The status of a 503, for which Anthropic has another one."""
    return 529 if dialect is ANTHROPIC else 503


class Held:
    """A provider that answers nothing before it is let go. `asked` counts whom it lets wait."""

    def __init__(self, upstream: ScriptedUpstream, reply: Reply) -> None:
        self._upstream = upstream
        self._reply = reply
        self._go_on = asyncio.Event()
        upstream.script = self._answer

    def _answer(self, received: Received) -> Reply:
        reply = self._reply
        return Reply(
            reply.chunks,
            content_type=reply.content_type,
            chunked=reply.chunked,
            wait=self._go_on,
        )

    async def asked(self, times: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(LIMIT_S):
            while len(self._upstream.received) < times:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)

    def let_go(self) -> None:
        """Answer all of them, and the next ones at once."""
        self._go_on.set()


def assert_shed(dialect: Dialect, answer: RawAnswer, setting: str) -> None:
    status = overloaded(dialect)
    assert answer.status == status
    assert answer.headers["retry-after"] == "1"
    assert setting in dialect.error(answer.body, status)


# -- requests ---------------------------------------------------------------------------------


async def test_beyond_the_cap_a_request_is_shed_before_its_body_is_there(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    stream: bool,
) -> None:
    limits = {"max_concurrent_requests": 1}
    router = await start_router(settings(dialect, upstream.url, limits=limits))
    held = Held(upstream, sse(*dialect.events) if stream else Reply((dialect.answer,)))
    async with connect(router.url) as first, connect(router.url) as second:
        await first.send(request_for(dialect, stream=stream))
        await held.asked(1)
        await second.send(post(dialect.path(stream=stream), b"{", JSON, "Content-Length: 1000"))
        assert_shed(dialect, await second.receive(), "limits.max_concurrent_requests")
        assert (await request_log.next_line())["outcome"] == "shed"
        held.let_go()
        assert (await first.receive_head())[0] == 200
        assert (await request_log.next_line())["outcome"] == "ok"
        await second.send(b" " * 999 + request_for(dialect, stream=stream))
        assert (await second.receive_head())[0] == 200
    assert len(upstream.received) == 2


async def test_of_a_burst_as_many_are_served_as_there_are_places(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    limits = {"max_concurrent_requests": 5}
    router = await start_router(settings(CHAT, upstream.url, limits=limits))
    held = Held(upstream, Reply((CHAT.answer,)))
    statuses: list[int] = []

    async def ask() -> None:
        async with connect(router.url) as connection:
            await connection.send(request_for(CHAT))
            statuses.append((await connection.receive()).status)
            if len(statuses) == 45:
                held.let_go()

    await asyncio.gather(*(ask() for _ in range(50)))
    assert statuses == [503] * 45 + [200] * 5
    assert len(upstream.received) == 5


PAGES = ("/health", "/ready", "/metrics", "/v1/metrics", "/v1/models", "/admin/routes", "/")


async def test_with_little_memory_left_what_runs_goes_on_and_what_is_new_is_shed(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    mark = router.router.services.watermark
    held = Held(upstream, sse(*dialect.events) if stream else Reply((dialect.answer,)))
    async with connect(router.url) as first, connect(router.url) as second:
        await first.send(request_for(dialect, stream=stream))
        await held.asked(1)
        mark.limit = 1
        await mark.look()
        await second.send(post(dialect.path(stream=stream), b"{", JSON, "Content-Length: 1000"))
        assert_shed(dialect, await second.receive(), "limits.max_memory_bytes")
        assert (await ask_health(router)) == 200
        held.let_go()
        assert (await first.receive_head())[0] == 200
        while router.router.services.metrics.inflight:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        # Nothing else runs whose end would free anything.
        await second.send(b" " * 999 + request_for(dialect, stream=stream))
        assert (await second.receive_head())[0] == 200


async def ask_health(router: RunningRouter) -> int:
    async with router.http.get("/health") as response:
        return response.status


async def test_the_memory_limit_follows_a_reload_and_is_looked_at_once_a_second(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url)
    router = await start_router(given)
    mark = router.router.services.watermark
    router.configure(given | {"limits": {"max_memory_bytes": "1KiB"}})
    async with router.http.post("/admin/reload") as response:
        assert response.status == 200
    async with asyncio.timeout(LIMIT_S):
        while not mark.exceeded:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert mark.limit == 1024


@pytest.mark.parametrize("spoken", [CHAT, ANTHROPIC], ids=["passed through", "translated"])
async def test_whole_answers_take_their_part_of_the_memory_until_they_are_sent(
    start_router: StartRouter, upstream: ScriptedUpstream, spoken: Dialect
) -> None:
    limits = {"max_buffered_bytes": 3072 * KIB}
    router = await start_router(settings(spoken, upstream.url, limits=limits))
    buffers = router.router.services.buffers
    large = spoken.answer.replace(b"Hello there", b"x" * (2048 * KIB))
    upstream.script = Reply((large[: 1024 * KIB], large[1024 * KIB : -1], large[-1:]))
    async with connect(router.url) as first:
        async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
            assert response.status == 200
            assert len(await response.read()) > 2048 * KIB
        go_on = asyncio.Event()
        upstream.script = Reply((large[:-1], large[-1:]), pause=go_on)
        await first.send(request_for(CHAT))
        async with asyncio.timeout(LIMIT_S):
            while buffers.used < 1536 * KIB:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        async with connect(router.url) as second:
            await second.send(request_for(CHAT))
            assert_shed(CHAT, await second.receive(), "limits.max_buffered_bytes")
        go_on.set()
        assert (await first.receive_head())[0] == 200
    async with asyncio.timeout(LIMIT_S):
        while buffers.used:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_an_answer_that_there_will_never_be_room_for_is_a_502(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, limits={"max_buffered_bytes": KIB}))
    upstream.script = Reply((CHAT.answer[:-1], b" " * (512 * KIB), CHAT.answer[-1:]), gap_s=0.01)
    async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
        assert response.status == 502
        assert "limits.max_buffered_bytes" in CHAT.error(await response.read(), 502)
    assert router.router.services.buffers.used == 0


async def test_who_watches_or_administers_is_never_shed(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    limits = {"max_concurrent_requests": 1, "max_buffered_bytes": 100 * KIB}
    server = {"admin_token": "tok"}
    given = settings(CHAT, upstream.url, limits=limits, server=server)
    router = await start_router(given)
    held = Held(upstream, Reply((CHAT.answer,)))
    async with connect(router.url) as first, connect(router.url) as watcher:
        await first.send(request_for(CHAT, padding=99 * KIB))
        await held.asked(1)
        for page in PAGES:
            lines = f"GET {page} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tok\r\n\r\n"
            await watcher.send(lines.encode())
            assert (await watcher.receive()).status == 200
        route = {"model": "new", "endpoints": [{"provider": "p1", "model_id": "up-1"}]}
        body = json.dumps(route).encode() + b" " * 10 * KIB
        await watcher.send(post("/admin/routes", body, JSON, "Authorization: Bearer tok"))
        assert (await watcher.receive()).status in (200, 201)
        held.let_go()
        assert (await first.receive()).status == 200


# -- bytes ------------------------------------------------------------------------------------


@pytest.fixture
async def small(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router that keeps at most 1 MiB of bodies."""
    limits = {"max_buffered_bytes": 1024 * KIB}
    return await start_router(settings(CHAT, upstream.url, limits=limits))


def kept(router: RunningRouter) -> int:
    return router.router.services.buffers.used


async def test_a_body_for_which_there_is_no_room_is_refused_before_it_is_sent(
    small: RunningRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    held = Held(upstream, Reply((CHAT.answer,)))
    async with connect(small.url) as first, connect(small.url) as second:
        await first.send(request_for(CHAT, padding=700 * KIB))
        await held.asked(1)
        assert kept(small) > 700 * KIB
        await second.send(post(CHAT.path(), b"", JSON, f"Content-Length: {700 * KIB}"))
        assert_shed(CHAT, await second.receive(), "limits.max_buffered_bytes")
        assert (await request_log.next_line())["outcome"] == "shed"
        held.let_go()
        assert (await first.receive()).status == 200
    assert kept(small) == 0
    async with connect(small.url) as third:
        await third.send(request_for(CHAT, padding=700 * KIB))
        assert (await third.receive()).status == 200


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzip"])
async def test_a_body_that_does_not_say_how_long_it_is_counts_as_it_comes(
    small: RunningRouter, upstream: ScriptedUpstream, gzipped: bool
) -> None:
    held = Held(upstream, Reply((CHAT.answer,)))
    body = json.dumps(CHAT.body()).encode() + b" " * 700 * KIB
    if gzipped:
        headers = (JSON, "Content-Encoding: gzip")
        sent = post(CHAT.path(), gzip.compress(body), *headers)
    else:
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        sent = post(CHAT.path(), framed, JSON, "Transfer-Encoding: chunked")
    async with connect(small.url) as first, connect(small.url) as second:
        await first.send(request_for(CHAT, padding=700 * KIB))
        await held.asked(1)
        await second.send(sent)
        assert_shed(CHAT, await second.receive(), "limits.max_buffered_bytes")
        held.let_go()
        assert (await first.receive()).status == 200
    assert kept(small) == 0
    assert len(upstream.received) == 1


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_body_for_which_there_never_is_room_is_a_413(
    small: RunningRouter, framing: str
) -> None:
    async with connect(small.url) as connection:
        if framing == "length":
            await connection.send(post(CHAT.path(), b"", JSON, f"Content-Length: {2048 * KIB}"))
        else:
            chunk = b"%x\r\n%b\r\n" % (2048 * KIB, b" " * 2048 * KIB)
            await connection.send(post(CHAT.path(), chunk, JSON, "Transfer-Encoding: chunked"))
        answer = await connection.receive()
    assert answer.status == 413
    assert "limits.max_buffered_bytes" in CHAT.error(answer.body, 413)
    await no_connections(small)
    assert kept(small) == 0


async def test_while_an_answer_runs_its_request_takes_no_room(
    small: RunningRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = sse(*CHAT.events, pause=asyncio.Event())
    async with connect(small.url) as connection:
        await connection.send(request_for(CHAT, stream=True, padding=700 * KIB))
        await connection.receive_until(CHAT.events[0])
        assert kept(small) == 0


@pytest.mark.parametrize("sent", [10, 500 * KIB])
async def test_what_a_client_that_left_had_sent_takes_no_room(
    small: RunningRouter, upstream: ScriptedUpstream, request_log: RequestLog, sent: int
) -> None:
    async with connect(small.url) as connection:
        length = f"Content-Length: {600 * KIB}"
        await connection.send(post(CHAT.path(), b" " * sent, JSON, length))
        async with asyncio.timeout(LIMIT_S):
            while kept(small) < sent:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
    assert (await request_log.next_line())["outcome"] == "client_gone"
    assert kept(small) == 0


async def test_a_reload_changes_how_much_is_kept(
    small: RunningRouter, upstream: ScriptedUpstream
) -> None:
    limits = {"max_buffered_bytes": 100 * KIB}
    small.configure(settings(CHAT, upstream.url, limits=limits))
    await small.router.reload_and_log()
    async with connect(small.url) as connection:
        await connection.send(request_for(CHAT, padding=200 * KIB))
        assert (await connection.receive()).status == 413


# -- connections ------------------------------------------------------------------------------


@pytest.fixture
def five(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are descriptors for five clients."""
    monkeypatch.setattr(connections, "most_connections", lambda: 5)


@asynccontextmanager
async def several(router: RunningRouter, count: int) -> AsyncIterator[list[RawConnection]]:
    """Connections that have been used, and wait for their next request."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(await stack.enter_async_context(connect(router.url)))
            await opened[-1].send(HEALTH)
            assert (await opened[-1].receive()).status == 200
        yield opened


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.usefixtures("five")
async def test_for_a_new_connection_the_oldest_idle_one_is_closed(
    start_router: StartRouter, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    held = Held(upstream, Reply((CHAT.answer,)))
    async with several(router, 5) as opened:
        await opened[0].send(request_for(CHAT))
        await opened[1].send(b"GET")
        await held.asked(1)
        async with connect(router.url) as one_more:
            await one_more.send(HEALTH)
            assert (await one_more.receive()).status == 200
        assert await opened[2].receive_rest() == b""
        await opened[1].send(HEALTH[3:])
        assert (await opened[1].receive()).status == 200
        held.let_go()
        assert (await opened[0].receive()).status == 200
    assert len(complaints(caplog)) == 1


@pytest.mark.usefixtures("five")
async def test_if_none_is_idle_the_new_one_is_refused_and_there_is_one_line_of_it(
    start_router: StartRouter, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    async with several(router, 5) as opened:
        for connection in opened:
            await connection.send(b"GET")
        for _ in range(20):
            async with connect(router.url) as one_more:
                await one_more.send(request_for(CHAT))
                answer = await one_more.receive()
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert await one_more.receive_rest() == b""
        opened.pop().close()
        async with asyncio.timeout(LIMIT_S):
            while len(server_of(router).connections) > 4:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        async with connect(router.url) as in_its_place:
            await in_its_place.send(b"GET")
            async with connect(router.url) as one_more:
                await one_more.send(request_for(CHAT))
                assert (await one_more.receive()).status == 503
        for connection in opened:
            await connection.send(HEALTH[3:])
            assert (await connection.receive()).status == 200
    await no_connections(router)
    async with several(router, 5):
        pass
    assert len(complaints(caplog)) == 1


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("path", ["/health", "/ready", "/ready?verbose=1"])
async def test_who_asks_how_the_router_is_has_room_beyond_the_limit(
    start_router: StartRouter, upstream: ScriptedUpstream, path: str
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    question = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with several(router, 5) as opened, AsyncExitStack() as reserve:
        for connection in opened:
            await connection.send(b"GET")
        extra = []
        for _ in range(RESERVED):
            extra.append(await reserve.enter_async_context(connect(router.url)))
            await extra[-1].send(question[:3])  # or it were idle, and closed for the next one
        async with connect(router.url) as one_more:
            assert (await one_more.receive()).status == 503  # the reserve has an end as well
        await extra[0].send(question[3:], question)
        assert (await extra[0].receive()).status == 200
        assert await extra[0].receive_rest() == b""  # one question each


def test_without_descriptors_it_goes_on_and_does_not_spin(tmp_path: Path) -> None:
    provider: dict[str, Any] = {"api_protocol": "openai", "api_base": "http://127.0.0.1:9"}
    given = {"server": {"listen": "127.0.0.1:0"}, "providers": {"p": provider | {"api_key": "k"}}}
    (tmp_path / "bitrouter.yaml").write_text(json.dumps(given))
    process = RouterProcess(cwd=tmp_path, descriptors=64)
    address = (urlsplit(process.url).hostname, urlsplit(process.url).port)
    opened = []
    try:
        for _ in range(300):
            client = socket.create_connection(address, LIMIT_S)
            client.sendall(b"GET")  # so that it is not idle
            opened.append(client)
        before = process.cpu_s()
        time.sleep(0.5)
        assert process.cpu_s() - before < 0.25
        assert sum("connections are open" in line for line in process.lines) == 1
        for client in opened:
            client.close()
        assert _answers_again(address)
    finally:
        for client in opened:
            client.close()
        process.stop()
    assert "Traceback" not in process.text


def _answers_again(address: tuple[str | None, int | None]) -> bool:
    """Ask until there is an answer: that a client has gone is noticed a little later."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        with socket.create_connection(address, LIMIT_S) as client:
            client.sendall(HEALTH)
            if client.recv(64).startswith(b"HTTP/1.1 200"):
                return True
        time.sleep(0.01)
    return False
