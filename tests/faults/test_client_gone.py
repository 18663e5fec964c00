"""A client that leaves is not worked for, whatever the router was at for it.

In each phase: the provider sees its connection closed, and nothing of the request is left: no
connection that is in use, no slot, no place among those that run, no byte that is counted.
"""

import asyncio
import gzip
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiohttp import ClientConnectionResetError, web

from bitrouter.exchange.exchange import Translated
from bitrouter.routing.breaker import State
from bitrouter.server import attempt
from bitrouter.server.inflate import Inflater
from bitrouter.server.outgoing import OutStream
from bitrouter.upstream import failover
from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, Dialect, settings
from tests.support.faults import LIMIT_S, NEVER, ask, error
from tests.support.rawhttp import RawConnection, connect, post
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter, no_connections
from tests.support.told import begun
from tests.support.upstream import Reply, ScriptedUpstream, sse

JSON = "Content-Type: application/json"
SOON_S = 0.5  # ten times what is promised
LARGE = json.dumps(CHAT.body() | {"user": "x" * (2 << 20)}).encode()


def request_for(dialect: Dialect, *, stream: bool = False) -> bytes:
    body = json.dumps(dialect.body(stream=stream)).encode()
    return post(dialect.path(stream=stream), body, JSON)


@asynccontextmanager
async def client(router: RunningRouter, request_log: RequestLog) -> AsyncIterator[RawConnection]:
    """A client that leaves at the end of the block. The router then has nothing left of it."""
    async with connect(router.url) as connection:
        yield connection
        connection.close()
        left_at = time.monotonic()
        line = await request_log.next_line()
        assert time.monotonic() - left_at < SOON_S
    assert line["outcome"] == "client_gone"
    services = router.router.services
    assert (services.metrics.inflight, services.buffers.used, len(services.probes)) == (0, 0, 0)
    assert services.upstream._session.connector is not None
    assert not services.upstream._session.connector._acquired
    await no_connections(router)


async def is_left(*upstreams: ScriptedUpstream) -> None:
    """The provider's connections are closed soon."""
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(one.gone.wait() for one in upstreams))


async def asked(upstream: ScriptedUpstream, times: int = 1) -> None:
    async with asyncio.timeout(LIMIT_S):
        while len(upstream.received) < times:  # noqa: ASYNC110 - it tells of the first alone
            await asyncio.sleep(0.001)


async def leaves_once_asked(
    router: RunningRouter, log: RequestLog, upstream: ScriptedUpstream, request: bytes
) -> None:
    """A client sends `request`, and leaves when the provider has been asked; so does the router."""
    async with client(router, log) as connection:
        await connection.send(request)
        await asked(upstream)
    await is_left(upstream)


# -- its request ------------------------------------------------------------------------------


async def test_while_its_body_is_read(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    async with client(router, request_log) as connection:
        await connection.send(post(dialect.path(), b"{", JSON, "Content-Length: 1000"))
        while not router.router.services.buffers.used:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
    assert upstream.received == []


class Stuck:
    """Work in a thread that takes as long as the test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._go_on = threading.Event()
        self._monkeypatch = monkeypatch

    def on(self, owner: Any, name: str) -> None:
        """Let a function of `owner` be that slow."""
        real = getattr(owner, name)

        def slow(*arguments: Any, **named: Any) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            self._loop.call_soon_threadsafe(self.begun.set)
            assert self._go_on.wait(LIMIT_S)
            return real(*arguments, **named)

        self._monkeypatch.setattr(owner, name, slow)

    def go_on(self) -> None:
        self._go_on.set()


@contextmanager
def stuck(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> Iterator[Stuck]:
    found = Stuck(monkeypatch)
    found.on(owner, name)
    try:
        yield found
    finally:
        found.go_on()


async def test_while_its_body_is_decompressed_in_a_thread(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    with stuck(monkeypatch, Inflater, "read") as thread:
        async with client(router, request_log) as connection, asyncio.timeout(LIMIT_S):
            body = gzip.compress(json.dumps(CHAT.body()).encode())
            await connection.send(post(CHAT.path(), body, JSON, "Content-Encoding: gzip"))
            await thread.begun.wait()
    assert upstream.received == []


@pytest.mark.parametrize("spoken", [CHAT, ANTHROPIC], ids=["passed through", "translated"])
async def test_while_its_large_body_is_in_a_thread(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    with stuck(monkeypatch, attempt, "begin_exchange") as thread:
        async with client(router, request_log) as connection, asyncio.timeout(LIMIT_S):
            await connection.send(post(CHAT.path(), LARGE, JSON))
            await thread.begun.wait()
    assert upstream.received == []


# -- its answer -------------------------------------------------------------------------------


async def test_while_a_connection_is_made(
    start_router: StartRouter, request_log: RequestLog
) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()  # and never a word of TLS
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(LIMIT_S):
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        router = await start_router(settings(CHAT, url, timeouts={"connect": "1h"}))
        async with client(router, request_log) as connection:
            await connection.send(request_for(CHAT))
            await reached.wait()
        await gone.wait()


@pytest.mark.usefixtures("way")
async def test_while_the_head_of_the_answer_is_waited_for(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    stream: bool,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = Reply(wait=NEVER)
    await leaves_once_asked(router, request_log, upstream, request_for(dialect, stream=stream))


@pytest.mark.usefixtures("way")
async def test_while_the_first_event_is_waited_for(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(b": thinking\n\n", *dialect.events, pause=NEVER)
    await leaves_once_asked(router, request_log, upstream, request_for(dialect, stream=True))


@pytest.mark.usefixtures("way")
async def test_while_a_whole_answer_comes(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = Reply((dialect.answer[:9], dialect.answer[9:]), pause=NEVER)
    await leaves_once_asked(router, request_log, upstream, request_for(dialect))


async def test_while_a_large_answer_is_in_a_thread(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    upstream.script = Reply((ANTHROPIC.answer.replace(b"Hello there", b"x" * (1 << 20)),))
    with stuck(monkeypatch, Translated, "read_whole") as thread:
        async with client(router, request_log) as connection, asyncio.timeout(LIMIT_S):
            await connection.send(request_for(CHAT))
            await thread.begun.wait()
    await is_left(upstream)


async def test_at_the_moment_at_which_its_stream_begins(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = asyncio.Event()

    async def prepare(out: OutStream, request: web.BaseRequest) -> None:
        asked.set()
        raise ClientConnectionResetError

    monkeypatch.setattr(OutStream, "prepare", prepare)
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = sse(*CHAT.events, pause=NEVER)
    async with client(router, request_log) as connection, asyncio.timeout(LIMIT_S):
        await connection.send(request_for(CHAT, stream=True))
        await asked.wait()
    await is_left(upstream)


@pytest.mark.usefixtures("way")
async def test_in_the_middle_of_a_stream(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(*dialect.events, pause=NEVER)
    async with client(router, request_log) as connection:
        await connection.send(request_for(dialect, stream=True))
        await connection.receive_until(dialect.events[0])
    await is_left(upstream)


# -- a turn -----------------------------------------------------------------------------------


async def test_in_the_pause_before_an_endpoint_is_asked_again(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failover, "_PAUSE_S", (600.0, 600.0))
    router = await start_router(settings(CHAT, upstream.url, timeouts={"total": "2h"}))
    upstream.script = error(500)
    async with client(router, request_log) as connection:
        await connection.send(request_for(CHAT))
        await asked(upstream)
    assert len(upstream.received) == 1


async def test_while_a_slot_is_waited_for(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    given = settings(CHAT, upstream.url)
    given["models"]["m"]["endpoints"][0]["max_concurrency"] = 1
    router = await start_router(given)
    slots = router.router.services.slots
    await slots.take("p1:up-1", 1, 1)
    async with client(router, request_log) as connection:
        await connection.send(request_for(CHAT))
        while not slots._waiting:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
    assert (slots.taken("p1:up-1"), slots._waiting, upstream.received) == (1, {}, [])
    slots.give("p1:up-1")


async def test_a_slot_that_it_had_is_free(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, stream: bool
) -> None:
    given = settings(CHAT, upstream.url)
    given["models"]["m"]["endpoints"][0]["max_concurrency"] = 1
    router = await start_router(given)
    upstream.script = Reply(wait=NEVER)
    async with client(router, request_log) as connection:
        await connection.send(request_for(CHAT, stream=stream))
        await asked(upstream)
    assert router.router.services.slots.taken("p1:up-1") == 0
    await is_left(upstream)


# -- several endpoints ------------------------------------------------------------------------


async def test_while_the_next_endpoint_is_asked(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
) -> None:
    router = await start_router(settings(dialect, upstream.url, second_upstream.url))
    upstream.script = error(504)
    second_upstream.script = Reply(wait=NEVER)
    async with client(router, request_log) as connection:
        await connection.send(request_for(dialect))
        await asked(second_upstream)
    await is_left(second_upstream)


async def test_while_an_endpoint_is_probed_and_another_one_asked_beside_it(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
) -> None:
    breaker = {"failures": 1, "cooldown": "50ms"}
    given = settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=breaker)
    router = await start_router(given)
    upstream.script = error(504)
    second_upstream.script = Reply((CHAT.answer,))
    await ask(router, CHAT)
    await request_log.next_line()
    services = router.router.services
    async with asyncio.timeout(LIMIT_S):
        while services.state_of("p1:up-1") is not State.HALF_OPEN:  # noqa: ASYNC110 - by time
            await asyncio.sleep(0.01)
    upstream.script = second_upstream.script = Reply(wait=NEVER)
    await router.http.close()
    async with client(router, request_log) as connection:
        await connection.send(request_for(CHAT))
        await asked(upstream, 2)
        await asked(second_upstream, 2)
    await is_left(upstream, second_upstream)
    assert services.state_of("p1:up-1") is State.HALF_OPEN


@pytest.mark.parametrize("said", [(), begun(CHAT, "Hel")], ids=["silent", "saying it again"])
async def test_while_a_stream_that_broke_off_is_rescued(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    said: tuple[bytes, ...],
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url)
    given["models"]["m"]["rescue"] = "restart"
    router = await start_router(given)
    upstream.script = sse(*begun(CHAT, "Hel", "lo the"), cut=True)
    second_upstream.script = sse(*said, b":\n\n", b": never\n\n", pause=NEVER)
    async with client(router, request_log) as connection:
        await connection.send(request_for(CHAT, stream=True))
        await asked(second_upstream)
    await is_left(second_upstream)
