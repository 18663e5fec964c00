"""Answers written in one piece, and what of aiohttp that stands on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bitrouter.server.outgoing import OutStream, send_whole

ASK = b"POST / HTTP/1.%d\r\nHost: x\r\nContent-Length: 0\r\n%b\r\n"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asked(
    handler: Handler, version: int = 1, header: bytes = b""
) -> AsyncIterator[asyncio.StreamReader]:
    """A request on its way to a server with this handler."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(web.Server(handler), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(ASK % (version, header))
    try:
        async with asyncio.timeout(5):
            yield reader
    finally:
        writer.close()
        server.close()


def whole(body: bytes, status: int = 200) -> Handler:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return await send_whole(request, status, {"X-Own": "1"}, body)

    return handler


async def head_of(reader: asyncio.StreamReader) -> tuple[bytes, dict[bytes, bytes]]:
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).strip().split(b"\r\n")
    pairs = (field.split(b": ", 1) for field in fields)
    return line, {name.lower(): value for name, value in pairs}


@pytest.mark.parametrize("size", [0, 2, 100_000, 3_000_001])
async def test_whole_answer_says_its_length_and_the_date(size: int) -> None:
    async with asked(whole(b"x" * size)) as reader:
        line, fields = await head_of(reader)

        assert line == b"HTTP/1.1 200 OK"
        assert fields[b"content-length"] == b"%d" % size
        assert fields[b"x-own"] == b"1"
        assert b"date" in fields
        assert b"connection" not in fields
        assert await reader.readexactly(size) == b"x" * size


async def test_of_a_large_answer_little_waits_for_a_client_that_is_slow() -> None:
    body = bytes(range(256)) * (1 << 16)
    waiting: list[int] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        sending = asyncio.ensure_future(send_whole(request, 200, {"Connection": "close"}, body))
        while not request.protocol.writing_paused:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        assert request.transport is not None
        waiting.append(request.transport.get_write_buffer_size())
        return await sending

    async with asked(handler) as reader:
        assert int((await head_of(reader))[1][b"content-length"]) == len(body)
        assert await reader.readexactly(len(body)) == body
    assert 0 < waiting[0] <= 512 * 1024


async def test_of_a_large_answer_to_a_client_that_left_the_rest_is_not_written() -> None:
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await send_whole(request, 200, {}, b"x" * (16 << 20))
        except ConnectionError:
            ended.set_result(request.writer.output_size)
            raise

    async with asked(handler) as reader:
        await head_of(reader)
    assert await asyncio.wait_for(ended, 5) < 16 << 20


async def test_connection_closes_after_the_answer_when_the_client_wants_it() -> None:
    async with asked(whole(b"{}"), header=b"Connection: close\r\n") as reader:
        _, fields = await head_of(reader)

        assert fields[b"connection"] == b"close"
        assert await reader.read() == b"{}"


async def test_http_1_0_has_its_own_version_and_ends_with_the_connection() -> None:
    async with asked(whole(b"{}"), version=0) as reader:
        line, _ = await head_of(reader)

        assert line == b"HTTP/1.0 200 OK"
        assert await reader.read() == b"{}"


async def test_status_without_a_name_is_sent_as_it_is() -> None:
    async with asked(whole(b"{}", status=299)) as reader:
        line, _ = await head_of(reader)

        assert line == b"HTTP/1.1 299 "


async def test_header_that_would_be_two_is_not_sent() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        with pytest.raises(ValueError, match="control character"):
            await send_whole(request, 200, {"X": "a\r\nB: c"}, b"{}")
        return await send_whole(request, 200, {}, b"{}")

    async with asked(handler) as reader:
        _, fields = await head_of(reader)

        assert b"b" not in fields


@pytest.mark.parametrize("version", [1, 0])
async def test_stream_is_framed_the_same_by_either_way_to_write(version: int) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        out = OutStream()
        await out.prepare(request)
        await out.write(b"one")
        assert out.write_now(b"two")
        await out.write(b"three")
        await out.write_eof()
        return out

    async with asked(handler, version) as reader:
        _, fields = await head_of(reader)
        chunked = b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"
        if version == 0:
            assert await reader.read() == b"onetwothree"
        else:
            assert fields[b"transfer-encoding"] == b"chunked"
            assert await reader.readexactly(len(chunked)) == chunked


async def test_head_goes_out_alone_when_there_is_nothing_to_say_yet() -> None:
    go_on = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        out = OutStream()
        await out.prepare(request)
        out.commit()
        await go_on.wait()
        await out.write_eof()
        return out

    async with asked(handler) as reader:
        line, _ = await head_of(reader)
        assert line == b"HTTP/1.1 200 OK"
        go_on.set()
        assert await reader.readexactly(5) == b"0\r\n\r\n"


async def test_client_that_takes_nothing_is_told_of_and_waited_for() -> None:
    stalled, room = asyncio.Event(), asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        out = OutStream()
        await out.prepare(request)
        assert any(not out.write_now(b"x" * (1 << 20)) for _ in range(100))
        stalled.set()
        await out.wait_for_room()
        room.set()
        await out.write_eof()
        return out

    async with asked(handler) as reader:
        await stalled.wait()
        assert not room.is_set()
        while not room.is_set():
            await reader.read(1 << 20)
