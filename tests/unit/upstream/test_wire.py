"""A provider's connection: pushing what comes, and what of aiohttp that stands on."""

import asyncio
import zlib
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
        self.closed = 0

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        self.resumed += 1

    def pause_reading(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


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


# -- past the parser ---------------------------------------------------------------------------


class Parsed:
    """What a connection's parser was given."""

    def __init__(self, wire: Wire) -> None:
        self.pieces: list[bytes] = []
        self._feed = wire._parser.feed_data  # type: ignore[union-attr]  # it has one by now
        wire._parser = self  # type: ignore[assignment]  # as far as it is used

    def feed_data(self, data: bytes) -> object:
        self.pieces.append(data)
        return self._feed(data)


EVENT = b'data: {"word":"one"}\n\n'
UPPER_CASE = b"%X\r\n%b\r\n" % (0x1A, b"x" * 24 + b"\n\n")


async def test_chunk_that_comes_by_itself_after_a_whole_event_is_not_parsed(wire: Wire) -> None:
    parsed = Parsed(wire)
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    others = [chunk(EVENT), chunk(b"half an"), chunk(b"x" * 5000), UPPER_CASE]
    for data in (chunk(EVENT), *others):
        wire.data_received(data)
    wire.data_received(END)

    assert await task is True
    assert parsed.pieces == [chunk(EVENT), END]
    assert taken == [EVENT, EVENT, b"half an", b"x" * 5000, b"x" * 24 + b"\n\n"]


async def test_what_looks_like_a_chunk_inside_of_one_is_parsed(wire: Wire) -> None:
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    body = b"x\n\n\r\n" + chunk(b"hello")
    sent = chunk(body)
    begin = sent.index(b"5\r\n")
    for data in (chunk(EVENT), sent[:begin], sent[begin:-2], sent[-2:], END):
        wire.data_received(data)

    assert await task is True
    assert b"".join(taken) == EVENT + body


@pytest.mark.parametrize("size", [*range(1, 80), 255, 256, 257, 4096, 65535])
async def test_stream_is_the_same_wherever_its_bytes_are_cut(wire: Wire, size: int) -> None:
    events = [b"data: %d\n\n" % number for number in range(12)]
    events += [b"1\r\n5\r\n5", b"\n\n", b"5\r\n", b"0\r\n\r\n", b"x" * 300, b"\r\n\n\n"]
    sent = b"".join(map(chunk, events)) + END
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    for begin in range(0, len(sent), size):
        wire.data_received(sent[begin : begin + size])

    assert await task is True
    assert b"".join(taken) == b"".join(events)


@pytest.mark.parametrize(
    "piece",
    [
        b"5;name=value\r\nhello\r\n",
        b"005\r\nhello\r\n",
        b"5\r\nhel",
        b"5",
        b"5\r",
        b"5\r\nhello\r\n5\r\n",
        chunk(EVENT) + chunk(b"hello"),
    ],
)
async def test_what_is_framed_in_another_way_is_parsed(wire: Wire, piece: bytes) -> None:
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    wire.data_received(chunk(EVENT))
    parsed = Parsed(wire)
    wire.data_received(piece)

    assert parsed.pieces == [piece]
    task.cancel()


@pytest.mark.parametrize(
    "wrong", [b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"5\r\nhello!!", b"\r\n"]
)
async def test_what_is_no_chunk_ends_the_answer(wire: Wire, wrong: bytes) -> None:
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    wire.data_received(chunk(EVENT))
    wire.data_received(chunk(EVENT))
    wire.data_received(wrong)
    assert cast(Transport, wire.transport).closed
    wire.connection_lost(None)

    assert await task is True
    assert b"".join(taken).startswith(EVENT * 2)
    assert wire.content is not None
    with pytest.raises(Exception, match="not completed"):
        await wire.content.readany()


async def test_after_an_error_of_framing_no_chunk_passes_by_the_parser(wire: Wire) -> None:
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    wire.data_received(chunk(EVENT))
    wire.data_received(b"zz\r\n" + EVENT + b"\r\n")
    wire.data_received(chunk(EVENT))

    assert taken == [EVENT]
    task.cancel()


async def test_chunks_of_a_compressed_answer_are_all_parsed() -> None:
    wire = Wire(asyncio.get_running_loop())
    wire.connection_made(Transport())
    wire.set_response_params(read_bufsize=1024)
    wire.data_received(HEAD[:-2] + b"Content-Encoding: gzip\r\n\r\n")
    message, wire.content = await wire.read()
    wire.encoding = message.compression
    packer = zlib.compressobj(0, wbits=31)  # which leaves the events as they are, between its own
    packed = b"".join(packer.compress(EVENT) + packer.flush(zlib.Z_SYNC_FLUSH) for _ in range(5))
    *begins, rest = packed.split(EVENT)
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    for begin in begins:
        wire.data_received(chunk(begin + EVENT))
    wire.data_received(chunk(rest + packer.flush()) + END)

    assert await task is True
    assert b"".join(taken) == EVENT * 5
    wire.timer.stop()


async def test_bytes_that_are_not_chunked_are_all_parsed() -> None:
    wire = Wire(asyncio.get_running_loop())
    wire.connection_made(Transport())
    wire.set_response_params(read_until_eof=True)
    wire.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
    _, wire.content = await wire.read()
    taken: list[bytes] = []
    task = await pumping(wire, taken)
    sent = [EVENT + b"\r\n", chunk(EVENT), chunk(EVENT)]
    for data in sent:
        wire.data_received(data)
    wire.connection_lost(None)

    assert await task is True
    assert b"".join(taken) == b"".join(sent)


async def test_who_can_take_no_more_finds_the_chunks_after_in_the_reader(wire: Wire) -> None:
    taken: list[bytes] = []
    task = await pumping(wire, taken, most=3)
    for _ in range(5):
        wire.data_received(chunk(EVENT))

    assert await task is False
    assert taken == [EVENT] * 3
    assert wire.content is not None
    assert await wire.content.readany() == EVENT * 2


async def test_what_the_taker_of_an_unparsed_chunk_raises_is_raised_to_whoever_pumps(
    wire: Wire,
) -> None:
    taken: list[bytes] = []

    def take(data: bytes) -> bool:
        taken.append(data)
        if len(taken) > 1:
            raise ConnectionResetError("gone")
        return True

    task = asyncio.create_task(wire.pump(take))
    await asyncio.sleep(0)
    for _ in range(3):
        wire.data_received(chunk(EVENT))

    with pytest.raises(ConnectionResetError, match="gone"):
        await task
    assert taken == [EVENT] * 2


async def test_a_connection_lost_after_unparsed_chunks_is_an_answer_cut_short(wire: Wire) -> None:
    task = await pumping(wire, [])
    for _ in range(3):
        wire.data_received(chunk(EVENT))
    wire.connection_lost(None)

    assert await task is True
    assert wire.content is not None
    with pytest.raises(Exception, match="not completed"):
        await wire.content.readany()


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
    for name in ("_buffer", "_eof", "_exception", "_http_chunk_splits", "total_bytes"):
        assert name in StreamReader.__slots__
    for name in ("set_response_params", "data_received", "connection_lost", "resume_reading"):
        assert callable(getattr(ResponseHandler, name))
