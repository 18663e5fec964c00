"""Clients that are slow to ask, or to take what they asked for, hold nothing for ever."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import CHAT, Dialect, event, settings
from tests.support.faults import LIMIT_S, NEVER
from tests.support.rawhttp import RawConnection, connect, post
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter, no_connections, server_of
from tests.support.upstream import Reply, ScriptedUpstream, sse

JSON = "Content-Type: application/json"
SOON = "200ms"
LONG = "1h"
REST_S = 0.5  # longer than SOON


def patient(**timeouts: str) -> dict[str, str]:
    """The timers for clients, all out of the way but for those given."""
    long = dict.fromkeys(("header_read", "body_read", "write_stall", "keepalive"), LONG)
    return long | timeouts


def request_for(dialect: Dialect, *, stream: bool = False) -> bytes:
    body = json.dumps(dialect.body(stream=stream)).encode()
    return post(dialect.path(stream=stream), body, JSON)


@asynccontextmanager
async def dripping(connection: RawConnection, text: bytes) -> AsyncIterator[None]:
    """Send `text` again and again, a byte at a time, much faster than any timer here."""

    async def drip() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                for byte in text:
                    await connection.send(bytes([byte]))
                    await asyncio.sleep(0.01)

    task = asyncio.create_task(drip())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# -- the head ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b"\r\n"),
        (b"GET", b"T"),
        (b"GET /", b"a"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"X: a\r\n"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: ", b"a"),
    ],
    ids=["empty lines", "method", "target", "headers", "one header"],
)
async def test_a_head_that_drips_is_a_408_and_the_connection_closes(
    start_router: StartRouter, upstream: ScriptedUpstream, begin: bytes, drip: bytes
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(header_read=SOON))
    router = await start_router(given)
    async with connect(router.url) as connection:
        await connection.send(begin)
        async with dripping(connection, drip):
            answer = await connection.receive()
            assert await connection.receive_rest() == b""
    if drip == b"T":
        assert answer.status == 400  # no method is as long as that
        return
    assert answer.status == 408
    assert "timeouts.header_read" in CHAT.error(answer.body, 408)
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]


async def test_a_head_that_stops_is_a_408_that_is_counted(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(header_read=SOON))
    router = await start_router(given)
    async with connect(router.url) as connection:
        await connection.send(b"GET /health HTTP/1.1\r\nHost")
        assert (await connection.receive()).status == 408
    counted = router.router.services.metrics.routes["other"].requests
    assert counted == {("other", "timeout:header_read"): 1}


async def test_a_connection_on_which_nothing_is_said_is_closed_without_a_word(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(header_read=SOON))
    router = await start_router(given)
    async with connect(router.url) as connection:
        assert await connection.receive_rest() == b""
    await no_connections(router)
    assert "other" not in router.router.services.metrics.routes


async def test_a_kept_connection_may_be_idle_but_the_next_head_must_come_in_time(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(header_read=SOON))
    router = await start_router(given)
    async with connect(router.url) as connection:
        for _ in range(2):
            await connection.send(request_for(CHAT))
            assert (await connection.receive()).status == 200
            await asyncio.sleep(REST_S)
        await connection.send(request_for(CHAT)[:10])
        async with dripping(connection, b"a"):
            answer = await connection.receive()
    assert answer.status == 408


async def test_the_rest_of_a_head_that_came_with_the_request_before_must_come_in_time(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(header_read=SOON))
    router = await start_router(given)
    async with connect(router.url) as connection:
        await connection.send(request_for(CHAT) + b"GET /he")
        assert (await connection.receive()).status == 200
        async with dripping(connection, b"a"):
            assert (await connection.receive()).status == 408


async def test_the_answer_may_take_longer_than_any_timer_for_clients(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    short = patient(header_read=SOON, body_read=SOON, write_stall=SOON, keepalive=SOON)
    router = await start_router(settings(CHAT, upstream.url, timeouts=short))
    think = asyncio.Event()
    upstream.script = Reply((CHAT.answer,), wait=think)
    async with connect(router.url) as connection:
        await connection.send(request_for(CHAT))
        await asyncio.sleep(REST_S)
        think.set()
        assert (await connection.receive()).body == CHAT.answer


# -- the body ---------------------------------------------------------------------------------


def half_sent(dialect: Dialect, *headers: str) -> tuple[bytes, bytes]:
    """A request without the end of its body, and what to drip after it."""
    if any("chunked" in header for header in headers):
        return post(dialect.path(), b"1\r\n \r\n", JSON, *headers), b"1\r\n \r\n"
    return post(dialect.path(), b'{"model', JSON, "Content-Length: 50000", *headers), b" "


@pytest.mark.parametrize("framing", [(), ("Transfer-Encoding: chunked",)], ids=["length", "chunks"])
async def test_a_body_that_drips_is_a_408_in_the_clients_protocol(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    framing: tuple[str, ...],
) -> None:
    given = settings(dialect, upstream.url, timeouts=patient(body_read=SOON))
    router = await start_router(given)
    begin, drip = half_sent(dialect, *framing)
    async with connect(router.url) as connection:
        await connection.send(begin)
        async with dripping(connection, drip):
            answer = await connection.receive()
            assert await connection.receive_rest() == b""
    assert answer.status == 408
    assert "timeouts.body_read" in dialect.error(answer.body, 408)
    assert answer.headers["connection"] == "close"
    assert (await request_log.next_line())["outcome"] == "timeout:body_read"
    assert upstream.received == []
    assert router.router.services.metrics.inflight == 0
    await no_connections(router)


async def test_a_body_that_stops_is_a_408_on_the_admins_pages_too(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(body_read=SOON))
    router = await start_router(given | {"server": {"admin_token": "tok"}})
    async with connect(router.url) as connection:
        headers = (JSON, "Authorization: Bearer tok", "Content-Length: 100")
        await connection.send(post("/admin/routes", b"{", *headers))
        assert (await connection.receive()).status == 408
        assert await connection.receive_rest() == b""


async def test_a_large_body_that_stops_does_not_have_all_of_the_time(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    timeouts = patient(body_read="2s")
    router = await start_router(settings(CHAT, upstream.url, timeouts=timeouts))
    async with connect(router.url) as slow, connect(router.url) as large:
        # Both at the same time, the one that has all of its time first.
        await slow.send(post(CHAT.path(), b" " * 1000, JSON, "Content-Length: 9000000"))
        await asyncio.sleep(0.1)
        await large.send(post(CHAT.path(), b" " * 1_500_000, JSON, "Content-Length: 9000000"))
        answered: list[str] = []

        async def wait_for(name: str, connection: RawConnection) -> None:
            assert (await connection.receive()).status == 408
            answered.append(name)

        await asyncio.gather(wait_for("slow", slow), wait_for("large", large))
    assert answered == ["large", "slow"]


async def test_a_client_that_stalls_in_its_body_gives_its_place_back(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(body_read=SOON))
    router = await start_router(given | {"limits": {"max_concurrent_requests": 1}})
    async with connect(router.url) as staller, connect(router.url) as other:
        await staller.send(half_sent(CHAT)[0])
        async with asyncio.timeout(LIMIT_S):
            while not router.router.services.metrics.inflight:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        await other.send(request_for(CHAT))
        assert (await other.receive()).status == 503
        assert (await staller.receive()).status == 408
        await other.send(request_for(CHAT))
        assert (await other.receive()).status == 200


# -- the answer -------------------------------------------------------------------------------

BIG = event(
    {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up-1",
        "choices": [{"index": 0, "delta": {"content": "x" * 60_000}, "finish_reason": None}],
    }
)
# More than the kernel takes on both sides of a connection.
BIG_STREAM = sse(CHAT.events[0], *[BIG] * 300, *CHAT.events[1:])
BIG_ANSWER = Reply((CHAT.answer.replace(b"Hello there", b"x" * 18_000_000),))


@asynccontextmanager
async def reluctant(router: RunningRouter) -> AsyncIterator[RawConnection]:
    """A connection whose client has little room, and reads when it is told to."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    raw.setblocking(False)
    parts = urlsplit(router.url)
    await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1 << 14)
    yield RawConnection(reader, writer)
    writer.transport.abort()


async def test_a_client_that_takes_nothing_is_dropped_and_the_upstream_with_it(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(write_stall=SOON))
    router = await start_router(given)
    upstream.script = BIG_STREAM
    async with reluctant(router) as connection:
        await connection.send(request_for(CHAT, stream=True))
        async with asyncio.timeout(LIMIT_S):
            await upstream.gone.wait()
        line = await request_log.next_line()
        await no_connections(router)
    assert (line["outcome"], line["status"]) == ("timeout:write_stall", 200)
    assert router.router.services.metrics.inflight == 0


async def test_a_client_is_dropped_though_the_kernel_still_has_room_for_what_it_does_not_take(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(write_stall=SOON))
    router = await start_router(given)
    upstream.script = sse(CHAT.events[0] + BIG * 10, *CHAT.events[1:], pause=NEVER)
    async with reluctant(router) as connection:
        await connection.send(request_for(CHAT, stream=True))
        line = await request_log.next_line()
    assert line["outcome"] == "timeout:write_stall"
    async with asyncio.timeout(LIMIT_S):
        await upstream.gone.wait()


async def test_a_client_that_does_not_take_a_whole_answer_is_dropped(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(write_stall=SOON))
    router = await start_router(given)
    upstream.script = BIG_ANSWER
    async with reluctant(router) as connection:
        await connection.send(request_for(CHAT))
        line = await request_log.next_line()
        await no_connections(router)
    assert line["outcome"] == "timeout:write_stall"
    assert not upstream.gone.is_set()  # its answer was complete, and its connection is kept


@pytest.mark.parametrize("reply", [BIG_STREAM, BIG_ANSWER], ids=["stream", "whole"])
async def test_a_client_that_is_slow_but_steady_gets_everything(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, reply: Reply
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(write_stall="100ms"))
    router = await start_router(given)
    upstream.script = reply
    wanted = max(sum(map(len, reply.chunks)), 1)
    async with reluctant(router) as connection:
        await connection.send(request_for(CHAT, stream=reply is BIG_STREAM))
        got = 0
        while got < wanted and (some := await connection.receive_some()):
            got += len(some)
            if got < 2_000_000:  # for longer than the timer it takes little
                await asyncio.sleep(0.01)
    assert (await request_log.next_line())["outcome"] == "ok"
    assert got >= wanted


async def test_a_stalled_client_leaves_others_alone(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient())
    router = await start_router(given)
    upstream.script = BIG_STREAM
    async with reluctant(router) as connection:
        await connection.send(request_for(CHAT, stream=True))
        await connection.receive_some()
        upstream.script = Reply((CHAT.answer,))
        for _ in range(20):
            async with asyncio.timeout(LIMIT_S), connect(router.url) as other:
                await other.send(request_for(CHAT))
                assert (await other.receive()).body == CHAT.answer


async def test_a_client_that_pipelines_and_never_reads_is_dropped(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, timeouts=patient(write_stall=SOON))
    router = await start_router(given)
    asked: dict[str, Any] = {"requests": 0}
    async with reluctant(router) as connection:

        async def ask() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await connection.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
                    asked["requests"] += 1

        asking = asyncio.create_task(ask())
        async with asyncio.timeout(LIMIT_S):
            while not server_of(router).connections:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        await no_connections(router)
        async with asyncio.timeout(LIMIT_S):
            await asking
    assert asked["requests"] > 1
