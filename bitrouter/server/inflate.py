"""Decompressing a request's body, a piece at a time."""

import zlib
from typing import Final

from bitrouter.errors import InvalidRequest

_PIECE: Final = 1 << 20  # bytes, of what comes out at a time
_WINDOW: Final = 256 * 1024  # bytes, of what goes in
_ZLIB: Final = zlib.MAX_WBITS
# Negative: without zlib's header, which is not what HTTP means by `deflate`, and often sent as that
# (RFC 9110, section 8.4.1.2).
_BARE: Final = -zlib.MAX_WBITS
_GZIP: Final = 16 + zlib.MAX_WBITS
_DEFLATED: Final = 8  # zlib's compression method, the low four bits of its first byte (RFC 1950)

CODINGS: Final = ("gzip", "deflate")


class Inflater:
    """Decompresses `data`, which is whole; `coding` is one of CODINGS."""

    def __init__(self, data: bytes, coding: str) -> None:
        self._rest = memoryview(data)
        self._next = b""  # of a window, what has not gone in for want of room in a piece
        has_header = data[:1] and data[0] & 0x0F == _DEFLATED
        self._zlib = zlib.decompressobj(
            _GZIP if coding == "gzip" else _ZLIB if has_header else _BARE
        )

    def read(self) -> bytes:
        """At most a MiB more; empty at the end. Blocks: to be called in a thread.

        Raises InvalidRequest when the data are broken, cut, or not all there is. (A gzip file may
        have several members. No client sends such, and millions of empty ones would be work.)
        """
        try:
            while not self._zlib.eof:
                window = self._next or self._take()
                piece = self._zlib.decompress(window, _PIECE)
                self._next = self._zlib.unconsumed_tail
                if piece:
                    return piece
                if not window:
                    raise InvalidRequest("the body's content coding ends too soon")
        except zlib.error as error:
            raise InvalidRequest("the body's content coding is broken") from error
        if self._zlib.unused_data or self._rest:
            raise InvalidRequest("the body goes on after the end of its content coding")
        return b""

    def _take(self) -> memoryview:
        window = self._rest[:_WINDOW]
        self._rest = self._rest[_WINDOW:]
        return window
