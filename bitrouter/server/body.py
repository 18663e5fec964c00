"""Reading a request's body: JSON, bounded, without a copy where it came in one piece."""

import asyncio
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from bitrouter.errors import (
    BodyTooLarge,
    ExpectationFailed,
    UnsupportedMediaType,
)
from bitrouter.server.buffers import Lease
from bitrouter.server.inflate import CODINGS, Inflater
from bitrouter.upstream.content import take_at_once
from bitrouter.upstream.pieces import joined

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
# What is left of a body is read after its request was refused, so that the connection can go on.
_WORTH_READING: Final = 64 * 1024


async def read_json_body(
    request: web.BaseRequest, max_bytes: int, lease: Lease | None = None
) -> bytes:
    """The whole body, still undecoded, its bytes taken from `lease`.

    Raises UnsupportedMediaType unless it is declared as JSON in UTF-8, or not declared at all, and
    when it is compressed in another way than gzip or deflate; BodyTooLarge and Overloaded, for a
    declared length before a byte of it is asked for; ExpectationFailed; RequestTimeout;
    InvalidRequest when its transfer or content coding is broken.
    """
    _check_content_type(request)
    coding = _content_coding(request)
    length = request.content_length
    if length is not None:
        if length > max_bytes:
            raise _too_large(max_bytes)
        if lease is not None:
            lease.check(length)
    expected = request.headers.get(hdrs.EXPECT)
    if expected is not None:
        await _meet(expected, request)
    body = await _read(request, max_bytes, lease)
    return body if coding is None else await _inflated(body, coding, max_bytes, lease)


def is_left_unread(request: web.BaseRequest) -> bool:
    """Whether so much of a refused request's body is still to come that its connection must close.

    So must one whose client still waits to be told to continue: it may send the body, or not.
    """
    content = request.content
    if content.is_eof():
        return False
    length = request.content_length
    if length is None or content.exception() is not None or hdrs.EXPECT in request.headers:
        return True
    return length - content.total_raw_bytes > _WORTH_READING


async def _read(request: web.BaseRequest, max_bytes: int, lease: Lease | None) -> bytes:
    content = request.content
    if (whole := take_at_once(content)) is not None:
        if len(whole) > max_bytes:
            raise _too_large(max_bytes)
        if lease is not None:
            lease.take(len(whole))
        return whole
    chunks = []
    size = 0
    # What is all there, as small bodies are, is not waited for.
    while chunk := content.read_nowait() if content.is_eof() else await content.readany():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if lease is not None:
            lease.take(len(chunk))
        chunks.append(chunk)
        if content.at_eof():
            break
    return await joined(chunks, size)


async def _inflated(body: bytes, coding: str, max_bytes: int, lease: Lease | None) -> bytes:
    """Decompress in a thread, a piece at a time: what a bomb holds is never there as a whole."""
    inflater = Inflater(body, coding)
    pieces = []
    size = 0
    while piece := await asyncio.to_thread(inflater.read):
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if lease is not None:
            lease.take(len(piece))
        pieces.append(piece)
    return await joined(pieces, size)


async def _meet(expected: str, request: web.BaseRequest) -> None:
    if request.version != HttpVersion11:
        return  # RFC 9110, section 10.1.1
    if expected.lower() != "100-continue":
        raise ExpectationFailed("the only Expect that can be met is 100-continue")
    await request.writer.write(_CONTINUE)
    request.writer.output_size = 0  # or aiohttp thinks that the answer has begun


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_bytes} bytes (limits.max_body_bytes)")


def _content_coding(request: web.BaseRequest) -> str | None:
    declared = request.headers.get(hdrs.CONTENT_ENCODING)
    if declared is None:
        return None
    coding = declared.strip().lower()
    if coding == "identity":
        return None
    if coding not in CODINGS or len(request.headers.getall(hdrs.CONTENT_ENCODING)) > 1:
        raise UnsupportedMediaType(f"Content-Encoding must be one of {', '.join(CODINGS)}, once")
    return coding


def _check_content_type(request: web.BaseRequest) -> None:
    declared = request.headers.get("Content-Type")
    if declared is None or declared == "application/json":
        return
    kind, _, parameters = declared.partition(";")
    kind = kind.strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType(f"Content-Type must be application/json, not {kind!r:.80}")
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "charset" and value.strip('"').lower() not in _UTF8:
            raise UnsupportedMediaType("the charset of JSON is utf-8 (RFC 8259, 8.1)")
