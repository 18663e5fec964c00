"""What the HTTP parser lets pass in a request's head and a proxy must not (reliability.md, 7).

The parser itself refuses most that two servers could read differently: a length beside a transfer
coding, two lengths, two hosts, bare line feeds, folded headers, spaces before a colon.
"""

import asyncio
from typing import Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage

from bitrouter.errors import InvalidRequest, MethodNotAllowed, RouterError

# A tunnel, and an echo of what may hold credentials. Neither is a method of anything here.
_NEVER: Final = frozenset({hdrs.METH_CONNECT, hdrs.METH_TRACE})
_VERSIONS: Final = (HttpVersion11, HttpVersion10)


class RefusedRequest(web.BaseRequest):
    """A request that is to be answered with `problem`, whatever it asks for."""

    ATTRS = web.BaseRequest.ATTRS | frozenset({"problem"})

    def __init__(
        self,
        problem: RouterError,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        if message.version not in _VERSIONS:
            message = message._replace(version=HttpVersion11)  # the answer must not claim another
        super().__init__(message, payload, protocol, writer, task, loop)
        self.problem = problem


def find_problem(message: RawRequestMessage) -> RouterError | None:
    """Why the request must be refused and its connection closed; None for nearly all.

    Attributes of the message alone are looked at before there is reason to look further.
    """
    if (
        message.version == HttpVersion11
        and not message.chunked
        and message.method not in _NEVER
        and "#" not in message.path
    ):
        return None
    if message.version not in _VERSIONS:
        return InvalidRequest("HTTP/1.1 and HTTP/1.0 are spoken here")
    if message.method in _NEVER:
        return MethodNotAllowed(f"{message.method} is not allowed here", allow=["GET", "POST"])
    if "#" in message.path:
        return InvalidRequest("a request's target has no fragment (RFC 9112, section 3.2)")
    return _framing_problem(message)


def _framing_problem(message: RawRequestMessage) -> RouterError | None:
    """The parser takes `gzip, chunked`, and in HTTP/1.0, which has no codings, any that ends so."""
    if hdrs.TRANSFER_ENCODING not in message.headers:
        return None
    if message.version == HttpVersion10:
        return InvalidRequest("HTTP/1.0 has no Transfer-Encoding (RFC 9112, section 6.1)")
    codings = message.headers.getall(hdrs.TRANSFER_ENCODING)
    if [coding.strip().lower() for coding in codings] != ["chunked"]:
        return InvalidRequest("Transfer-Encoding must be chunked, alone")
    return None


def head_size(message: RawRequestMessage) -> int:
    """The bytes of a request's head, but for white space that the parser has dropped."""
    fields = sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
    return len(message.method) + len(message.path) + len(" HTTP/1.1\r\n\r\n") + fields
