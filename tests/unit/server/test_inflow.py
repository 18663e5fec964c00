"""Large bodies past the parser of requests, and what of aiohttp that stands on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from bitrouter.server import connection as module
from bitrouter.server.connection import Connection, Server
from bitrouter.server.inflow import Inflow
from tests.support.rawhttp import connect, post
from tests.support.router import RunningRouter, server_of

SIZE = 300_000
BODY = bytes(range(256)) * (SIZE // 256) + b"." * (SIZE % 256)
HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE
NEXT = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"


class Seen:
    """What a handler was given, in order; the connections that it came on."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.connections: list[Connection] = []
        self.parsers: list[object] = []


def is_past_parser(connection: Connection) -> bool:
    """Whether it is receiving a body so."""
    return connection._inflow is not None


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[RunningRouter]:
    router = RunningRouter(tmp_path, {})
    await router.start()
    yield router
    await router.stop()


@asynccontextmanager
async def serving(router: RunningRouter) -> AsyncIterator[tuple[str, Seen]]:
    """A listener whose handler reads bodies, with the connections of a router."""
    seen = Seen()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        seen.connections.append(connection)
        seen.parsers.append(connection._parser)
        seen.bodies.append(await request.content.read())
        return web.Response(text=request.path)

    server = Server(handle, server_of(router).services)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}", seen
    finally:
        listener.close()
        await server.shutdown(0)


async def test_a_body_with_a_length_comes_past_the_parser_and_whole(router: RunningRouter) -> None:
    async with serving(router) as (url, seen), connect(url) as client:
        for turn in range(2):
            await client.send(HEAD)
            while len(seen.connections) <= turn:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            connection = seen.connections[turn]
            assert is_past_parser(connection)
            await client.send(BODY)
            assert (await client.receive()).body == b"/a"
            assert not is_past_parser(connection)
            assert connection._parser is not seen.parsers[turn]
    assert seen.bodies == [BODY, BODY]


@pytest.mark.parametrize("cut", [1, 40_000, 255_000, SIZE - 1, SIZE])
async def test_however_it_is_cut_what_follows_it_is_the_next_request(
    router: RunningRouter, cut: int
) -> None:
    async with serving(router) as (url, seen), connect(url) as client:
        await client.send(HEAD + BODY[:cut])
        await asyncio.sleep(0.01)
        await client.send(BODY[cut:] + NEXT + HEAD + BODY + NEXT)

        assert [(await client.receive()).body for _ in range(4)] == [b"/a", b"/b", b"/a", b"/b"]
    assert seen.bodies == [BODY, b"", BODY, b""]


async def test_what_follows_it_and_is_no_request_is_refused(router: RunningRouter) -> None:
    async with serving(router) as (url, seen), connect(url) as client:
        await client.send(HEAD + BODY[:10])
        await asyncio.sleep(0.01)
        await client.send(BODY[10:] + b"nonsense\r\n\r\n")

        assert (await client.receive()).status == 200
        assert (await client.receive()).status == 400
        assert await client.receive_rest() == b""
    assert seen.bodies == [BODY]


async def test_a_client_that_leaves_in_the_middle_ends_the_reading(router: RunningRouter) -> None:
    async with serving(router) as (url, seen), connect(url) as client:
        await client.send(HEAD + BODY[:1000])
        while not seen.connections:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        task = seen.connections[0]._task_handler
        assert task is not None
        client.close()
        await asyncio.wait((task,), timeout=5)
        assert task.done()
    assert seen.bodies == []


@pytest.mark.parametrize(
    "framing",
    [
        "Transfer-Encoding: chunked",
        "Content-Length: 30000",  # another parser costs as much
        f"Content-Length: {SIZE}\r\nConnection: Upgrade\r\nUpgrade: websocket",
    ],
)
async def test_what_is_not_worth_it_or_unusual_is_left_to_the_parser(
    router: RunningRouter, framing: str
) -> None:
    async with serving(router) as (url, seen), connect(url) as client:
        await client.send(post("/a", b"", framing))
        while not seen.connections:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        assert not is_past_parser(seen.connections[0])


async def test_a_body_that_nobody_reads_is_held_up(router: RunningRouter) -> None:
    go_on = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await go_on.wait()
        return web.Response(body=await request.content.read())

    server = Server(handle, server_of(router).services)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    body = BODY * 100
    async with connect(f"http://{host}:{port}") as client:
        sending = asyncio.create_task(client.send(post("/a", body)))
        while not (made := server.connections) or not made[0]._reading_paused:  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # nobody tells
        assert not sending.done()
        go_on.set()
        assert (await client.receive()).body == body
        await sending
    listener.close()
    await server.shutdown(0)


# -- aiohttp's ---------------------------------------------------------------------------------


class Protocol(BaseProtocol):
    """As much of a protocol as a body's reader asks of it."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())


async def test_the_parser_gives_out_a_head_before_its_body_and_keeps_none_of_that() -> None:
    parser = HttpRequestParser(Protocol(), asyncio.get_running_loop(), 2**18, max_msg_queue_size=16)
    ((message, body),), upgraded, tail = parser.feed_data(HEAD + BODY[:1000])

    assert (message.chunked, message.upgrade, upgraded, tail) == (False, False, False, b"")
    assert message.headers["Content-Length"] == str(SIZE)
    assert (body.total_bytes, body.is_eof(), body.read_nowait()) == (1000, False, BODY[:1000])


async def test_a_message_that_another_parser_gave_out_can_be_consumed() -> None:
    parser = HttpRequestParser(Protocol(), asyncio.get_running_loop(), 2**18, max_msg_queue_size=1)
    parser.message_consumed()
    (_,), _, _ = parser.feed_data(NEXT)


async def test_a_connection_makes_a_parser_like_its_first(
    router: RunningRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[object, ...]] = []

    def make(*arguments: object, **named: object) -> HttpRequestParser:
        made.append((*arguments[2:], *sorted(named.items(), key=str)))
        return HttpRequestParser(*arguments, **named)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr("aiohttp.web_protocol.HttpRequestParser", make)
    monkeypatch.setattr(module, "HttpRequestParser", make)
    connection = Connection(server_of(router), asyncio.get_running_loop())
    connection._make_parser()

    assert made[0] == made[1]


async def test_the_end_of_a_body_is_told_once_it_is_whole() -> None:
    body = StreamReader(Protocol(), 2**16, loop=asyncio.get_running_loop())
    inflow = Inflow(body, 5)

    assert inflow.feed(b"abc") == b""
    assert inflow.feed(b"deXY") == b"XY"
    assert (inflow.rest, body.is_eof()) == (0, False)
    inflow.end()
    assert (body.is_eof(), body.total_bytes, await body.read()) == (True, 5, b"abcde")
