"""Requests of one connection, one after the other, in one task."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from bitrouter.server.requestloop import RequestLoop

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server(web.Server):
    """A server of such connections."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.made: list[RequestLoop] = []

    def __call__(self) -> web.RequestHandler:
        self.made.append(RequestLoop(self, loop=asyncio.get_running_loop(), lingering_time=0.2))
        return self.made[-1]


@asynccontextmanager
async def connected(
    handler: Handler,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Server]]:
    serving = Server(handler)
    server = await asyncio.get_running_loop().create_server(serving, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        async with asyncio.timeout(5):
            yield reader, writer, serving
    finally:
        writer.close()
        server.close()


async def say_path(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=request.path)


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The status line and the body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head.split(b"\r\n")[0], await reader.readexactly(length)


async def test_requests_are_answered_in_the_connections_own_task() -> None:
    tasks = set()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        tasks.add(asyncio.current_task())
        return await say_path(request)

    async with connected(handler) as (reader, writer, serving):
        for path in (b"/a", b"/b"):
            writer.write(GET % path)
            assert (await answer(reader))[1] == path
        assert tasks == {serving.made[0]._task_handler}


async def test_requests_that_were_sent_ahead_are_answered_in_their_order() -> None:
    async with connected(say_path) as (reader, writer, _):
        paths = [b"/%d" % number for number in range(200)]  # more than aiohttp takes at once
        writer.write(b"".join(GET % path for path in paths))

        assert [(await answer(reader))[1] for _ in paths] == paths


async def test_what_is_no_request_is_answered_after_those_before_it() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await go_on.wait()
        return await say_path(request)

    async with connected(handler) as (reader, writer, serving):
        writer.write(GET % b"/a")
        await begun.wait()
        serving.made[0].data_received(b"nonsense\r\n\r\n")
        go_on.set()

        assert (await answer(reader))[1] == b"/a"
        assert b"400" in (await answer(reader))[0]
        assert await reader.read() == b""


async def test_a_handler_that_fails_is_a_500() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("on purpose")

    async with connected(handler) as (reader, writer, _):
        writer.write(GET % b"/a")

        assert b"500" in (await answer(reader))[0]


async def test_a_body_that_nobody_read_is_thrown_away() -> None:
    async with connected(say_path) as (reader, writer, _):
        writer.write(POST % 10 + b"01234")
        assert (await answer(reader))[1] == b"/"
        writer.write(b"56789" + GET % b"/next")

        assert (await answer(reader))[1] == b"/next"


async def test_a_body_that_nobody_read_and_that_does_not_come_closes_the_connection() -> None:
    async with connected(say_path) as (reader, writer, _):
        writer.write(POST % 10 + b"01234")

        assert (await answer(reader))[1] == b"/"
        assert await reader.read() == b""


async def test_a_client_that_leaves_cancels_its_handler() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return web.Response()

    async with connected(handler) as (_, writer, _):
        writer.write(GET % b"/a")
        await begun.wait()
        writer.close()
        await cancelled.wait()


async def test_http_1_0_ends_with_its_answer() -> None:
    async with connected(say_path) as (reader, writer, _):
        writer.write(b"GET /a HTTP/1.0\r\n\r\n")

        assert (await reader.read()).endswith(b"/a")
