"""A provider's connection: pushing what comes, and what of aiohttp that stands on."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler

from bitrouter.errors import UpstreamTimeout
from bitrouter.upstream.wire import Wire

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class Transport(asyncio.Transport):
    """Takes notes."""

    def __init__(self) -> None:
        super().__init__()
        self.resumed = 0

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        self.resumed += 1

    def pause_reading(self) -> None:
        pass

    def close(self) -> None:
        pass


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A connection on which an answer has begun."""
    wire = Wire(asyncio.get_running_loop())
    wire.connection_made(Transport())
    wire.set_response_params(read_bufsize=1024)
    wire.data_received(HEAD)
    _, wire.content = await wire.read()
    yield wire
    wire.timer.stop()


async def pumping(wire: Wire, taken: list[bytes], most: int = 1000) -> "asyncio.Task[bool]":
    """A pump that runs, and takes that many chunks."""

    def take(data: bytes) -> bool:
        taken.append(data)
        return len(taken) < most

    task = asyncio.create_task(wire.pump(take))
    await asyncio.sleep(0)
    return task


async def test_bytes_are_handed_on_in_the_call_in_which_they_come(wire: Wire) -> None:
    taken: list[bytes] = []
    task = await pumping(wire, taken)

    wire.data_received(chunk(b"one"))
    assert taken == [b"one"]
    wire.data_received(chunk(b"two") + chunk(b"three"))
    assert b"".join(taken) == b"onetwothree"

    wire.data_received(END)
    assert await task is True


async def test_what_came_before_is_handed_on_first(wire: Wire) -> None:
    wire.data_received(chunk(b"one"))
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    wire.data_received(chunk(b"two") + END)

    assert await task is True
    assert taken == [b"one", b"two"]


async def test_who_can_take_no_more_gets_no_more_and_nothing_is_lost(wire: Wire) -> None:
    taken: list[bytes] = []
    task = await pumping(wire, taken, most=1)
    wire.data_received(chunk(b"one"))
    wire.data_received(chunk(b"two"))

    assert await task is False
    assert taken == [b"one"]
    assert wire.content is not None
    assert await wire.content.readany() == b"two"


async def test_what_the_taker_raises_is_raised_to_whoever_pumps(wire: Wire) -> None:
    def take(data: bytes) -> bool:
        raise ConnectionResetError(data.decode())

    task = asyncio.create_task(wire.pump(take))
    await asyncio.sleep(0)
    wire.data_received(chunk(b"one"))

    with pytest.raises(ConnectionResetError, match="one"):
        await task


async def test_a_connection_that_is_lost_ends_the_pump_and_the_read_after_it_tells_why(
    wire: Wire,
) -> None:
    task = await pumping(wire, [])
    wire.connection_lost(None)

    assert await task is True
    assert wire.content is not None
    with pytest.raises(Exception, match="not completed"):
        await wire.content.readany()


async def test_a_timer_ends_the_pump_and_the_read_after_it_tells_which(wire: Wire) -> None:
    task = await pumping(wire, [])
    wire.timer.limit_each_wait("idle", 0.01)
    wire.timer.wait_begins()

    async with asyncio.timeout(5):
        assert await task is True
    assert wire.content is not None
    with pytest.raises(UpstreamTimeout) as caught:
        await wire.content.readany()
    assert caught.value.timer == "idle"


async def test_a_cancelled_pump_takes_nothing_more(wire: Wire) -> None:
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    wire.data_received(chunk(b"one"))

    assert taken == []


async def test_much_at_once_comes_in_its_order_though_reading_makes_room_for_more(
    wire: Wire,
) -> None:
    """More than the reader's buffer: aiohttp pauses, and goes on from within the reading."""
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    pieces = [bytes([number]) * 700 for number in range(100)]
    wire.data_received(b"".join(map(chunk, pieces)) + END)

    assert await task is True
    assert b"".join(taken) == b"".join(pieces)


# -- what of aiohttp this stands on -----------------------------------------------------------


async def test_reading_resumes_the_transport_only_after_a_pause(wire: Wire) -> None:
    transport = cast(Transport, wire.transport)
    wire.data_received(chunk(b"x" * 100))
    assert wire.content is not None
    assert await wire.content.readany() == b"x" * 100
    assert transport.resumed == 0

    wire.data_received(chunk(b"x" * 5000))
    assert wire._reading_paused
    assert await wire.content.readany() == b"x" * 5000
    assert transport.resumed == 1


def test_the_attributes_that_are_looked_at_are_there() -> None:
    for name in ("_buffer", "_eof", "_exception"):
        assert name in StreamReader.__slots__
    for name in ("set_response_params", "data_received", "connection_lost", "resume_reading"):
        assert callable(getattr(ResponseHandler, name))
