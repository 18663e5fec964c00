"""Bodies that came whole. It holds aiohttp to what is expected of it."""

import asyncio

import pytest
from aiohttp import EMPTY_PAYLOAD, StreamReader
from aiohttp.base_protocol import BaseProtocol

from bitrouter.upstream.content import take_at_once


def reader(*chunks: bytes, ended: bool = True) -> StreamReader:
    """A body as aiohttp's parser hands it out, of which `chunks` have come."""
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    for chunk in chunks:
        content.feed_data(chunk)
    if ended:
        content.feed_eof()
    return content


async def test_a_body_that_came_in_one_piece_is_that_piece() -> None:
    piece = b'{"model": "m"}'
    content = reader(piece)
    assert take_at_once(content) is piece
    assert content.at_eof()
    assert content.total_bytes == len(piece)
    assert await content.readany() == b""


async def test_a_body_in_pieces_is_left_alone() -> None:
    content = reader(b"one", b"two")
    assert take_at_once(content) is None
    assert content.read_nowait() == b"onetwo"


async def test_a_body_that_is_still_coming_is_left_alone() -> None:
    content = reader(b"one", ended=False)
    assert take_at_once(content) is None
    assert content.read_nowait() == b"one"


async def test_what_is_left_of_a_piece_is_left_alone() -> None:
    content = reader(b"onetwo")
    assert content.read_nowait(3) == b"one"
    assert take_at_once(content) is None
    assert content.read_nowait() == b"two"


async def test_an_error_is_left_to_be_raised() -> None:
    content = reader(b"one")
    content.set_exception(ConnectionResetError("gone"))
    assert take_at_once(content) is None
    with pytest.raises(ConnectionResetError):
        await content.read()


def test_no_body_is_no_piece() -> None:
    assert take_at_once(EMPTY_PAYLOAD) is None
