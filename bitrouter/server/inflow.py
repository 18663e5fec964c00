"""A large body on its way in, past the parser of requests.

Unusual code: it works on attributes that aiohttp calls its own; tests/unit/server/test_inflow.py
holds each of them to what is expected of it (aiohttp 3.14). Once a head has said how long its body
is, there is nothing to parse until the body's end; but aiohttp's parser makes a copy of each part
that it is shown. What it gains stands in docs/performance.md.
"""

from typing import Final

from aiohttp import StreamReader, hdrs
from aiohttp.http import RawRequestMessage

# Bytes of a body that are still to come, and for which it is worth making another parser.
_WORTH: Final = 32 * 1024


class Inflow:
    """The rest of one body: `rest` bytes are still to come of it."""

    __slots__ = ("_body", "rest")

    def __init__(self, body: StreamReader, rest: int) -> None:
        self._body = body
        self.rest = rest

    def feed(self, data: bytes) -> bytes:
        """Hand on what belongs to the body. Returns what came behind it; see `end` once `rest` is
        zero.
        """
        if len(data) <= self.rest:
            self.rest -= len(data)
            self._body.feed_data(data)
            return b""
        mine = self.rest
        self.rest = 0
        self._body.feed_data(data[:mine])
        return data[mine:]

    def end(self) -> None:
        """Tell who reads the body that it is whole."""
        self._body.feed_eof()


def begin(message: RawRequestMessage, body: StreamReader) -> Inflow | None:
    """The rest of the body whose head was parsed last, where it need not be shown to the parser:
    it has a length, which the parser has checked, and much of it is still to come.
    """
    if message.chunked or message.upgrade or body.exception() is not None:
        return None
    length = message.headers.get(hdrs.CONTENT_LENGTH)
    if length is None or not (length.isascii() and length.isdecimal()):
        return None
    rest = int(length) - body.total_bytes
    return Inflow(body, rest) if rest >= _WORTH else None
