"""Answers on their way to the client: aiohttp's, less what each would cost again and again.

Unusual code: it works on attributes that aiohttp calls its own; tests/unit/server/test_outgoing.py
holds each of them to what is expected of it (aiohttp 3.14). What it gains stands in
docs/performance.md.
"""

import functools
from http import HTTPStatus
from typing import Final, cast

from aiohttp import ClientConnectionResetError, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11
from aiohttp.http_writer import StreamWriter, _serialize_headers

_JOINED: Final = 16 * 1024  # bytes that are sooner copied than written on their own
_AT_ONCE: Final = 1 << 20  # bytes of an answer that are written in one piece
_PIECE: Final = 256 * 1024  # of what exceeds that; in TLS each piece is encrypted in one go


class OutStream(web.StreamResponse):
    """A stream whose head goes out together with the first bytes, and to which can be written
    without waiting.
    """

    _send_headers_immediately = False  # one segment, and one call of the kernel, instead of two

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """See web.StreamResponse."""
        writer = await super().prepare(request)
        self._protocol = cast("BaseProtocol", request.protocol)
        self._writer = cast("StreamWriter", writer)
        return writer

    def commit(self) -> None:
        """Send the head, if it has not been sent: there is nothing to send with it."""
        writer = self._payload_writer
        if writer is not None:
            writer.send_headers()

    def write_now(self, data: bytes) -> bool:
        """Write, and say whether the client takes it as fast. What `write` would find out anew for
        every event was found out by the first one, which has to have been written with it.
        """
        protocol = self._protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        writer = self._writer
        if writer.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        transport.write(data)
        writer.output_size += len(data)  # as `write` does: the metrics have it
        return not protocol._paused

    async def write_aside(self, data: bytes) -> None:
        """Write what is no part of the answer: a sign of life between two of its events."""
        await self.write(data)

    async def wait_for_room(self) -> None:
        """Wait until the client has taken most of what was written."""
        writer = self._payload_writer
        if writer is not None and self._protocol.writing_paused:
            await writer.drain()


class OutWhole(web.StreamResponse):
    """A whole answer that was sent. Of a StreamResponse it has what the loop over the requests asks
    for, and none of what making one costs.
    """

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        self._status = status
        self._keep_alive = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        """See web.StreamResponse."""
        return self._keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """It was sent."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """It was sent."""


async def send_whole(
    request: web.BaseRequest, status: int, headers: dict[str, str], body: bytes
) -> web.StreamResponse:
    """Send an answer to a POST, head and body at once. Raises ConnectionResetError."""
    if request.version != HttpVersion11 or status == HTTPStatus.NO_CONTENT:
        out = web.Response(status=status, headers=headers, body=body)
        await out.prepare(request)
        await out.write_eof()
        return out
    keep_alive = request.keep_alive
    headers[hdrs.CONTENT_LENGTH] = str(len(body))
    headers[hdrs.DATE] = rfc822_formatted_time()
    if not keep_alive:
        headers[hdrs.CONNECTION] = "close"
    # It takes any mapping; of a dictionary it only asks for the items.
    head = _serialize_headers(_status_line(status), headers)  # type: ignore[arg-type]  # see above
    protocol, writer = cast("BaseProtocol", request.protocol), request.writer
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise ClientConnectionResetError("Cannot write to closing transport")
    if len(body) > _AT_ONCE:
        await _send_large(request, head, body)
        return cast("web.StreamResponse", OutWhole(status, keep_alive=keep_alive))
    if len(body) < _JOINED:
        transport.write(head + body)
    else:
        transport.writelines((head, body))
    writer.output_size += len(head) + len(body)
    if protocol.writing_paused:
        await writer.drain()
    return OutWhole(status, keep_alive=keep_alive)


async def _send_large(request: web.BaseRequest, head: bytes, body: bytes) -> None:
    """Write as fast as the client takes it. In one go TLS would encrypt all of it, a millisecond a
    megabyte in which nobody else is served, and keep that beside it.
    """
    protocol, writer = cast("BaseProtocol", request.protocol), request.writer
    left = memoryview(body)
    piece: bytes | memoryview = head
    while piece:
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        transport.write(piece)
        writer.output_size += len(piece)
        if protocol.writing_paused:
            await writer.drain()
        piece, left = left[:_PIECE], left[_PIECE:]


@functools.cache
def _status_line(status: int) -> str:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    return f"HTTP/1.1 {status} {reason}"
