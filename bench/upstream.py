"""A provider that costs next to nothing: fixed answers from an asyncio.Protocol.

Run as `python -m bench.upstream PORT [GAP]`, with the seconds between two events of a stream.
"""

import asyncio
import functools
import sys
import time
from typing import Final, cast

import msgspec
import uvloop

from bench import chat
from bench.content import EVENT_GAP_S, STAMPED_WORD, WORD, WORDS
from bench.load import allow_descriptors

_WHOLE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(chat.WHOLE), chat.WHOLE)
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def _as_chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


_CHUNKS: Final = tuple(map(_as_chunk, chat.EVENTS))
# All words are alike but for the time at which they are said.
_BEFORE_STAMP, _AFTER_STAMP = _as_chunk(
    chat.EVENTS[0].replace(WORD.encode(), (STAMPED_WORD % 0).encode())
).split((STAMPED_WORD % 0).encode())
_END: Final = b"0\r\n\r\n"


class _Asked(msgspec.Struct):
    stream: bool = False


_asked: Final = msgspec.json.Decoder(_Asked)


class Upstream(asyncio.Protocol):
    """One connection. Requests come one after the other, each with a Content-Length."""

    def __init__(self, event_gap_s: float) -> None:
        self._event_gap_s = event_gap_s
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._head_end = 0  # 0: not there yet
        self._end = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the request is whole."""
        self._received += data
        if not self._end:
            self._head_end = self._received.find(b"\r\n\r\n") + 4
            if self._head_end < 4:
                return
            self._end = self._head_end + _content_length(self._received[: self._head_end])
        if len(self._received) >= self._end:
            asked = _asked.decode(self._received[self._head_end :])
            self._received.clear()
            self._end = 0
            self._answer(stream=asked.stream)

    def _answer(self, *, stream: bool) -> None:
        if stream:
            self._transport.write(_STREAM_HEAD + _word())
            self._loop.call_later(self._event_gap_s, self._send_event, 1)
        else:
            self._transport.write(_WHOLE)

    def _send_event(self, number: int) -> None:
        if self._transport.is_closing():
            return
        if number == len(_CHUNKS) - 1:
            self._transport.write(_CHUNKS[number] + _END)
        else:
            self._transport.write(_word() if number < WORDS else _CHUNKS[number])
            self._loop.call_later(self._event_gap_s, self._send_event, number + 1)


def _word() -> bytes:
    stamp = (STAMPED_WORD % (time.monotonic_ns() // 1000)).encode()
    return b"%b%b%b" % (_BEFORE_STAMP, stamp, _AFTER_STAMP)


def _content_length(head: bytearray) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError("the bench sends no request without Content-Length")
    return int(rest.partition(b"\r\n")[0])


async def serve(port: int, event_gap_s: float = EVENT_GAP_S) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(
        functools.partial(Upstream, event_gap_s), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    allow_descriptors()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), *map(float, sys.argv[2:])))
