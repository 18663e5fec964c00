"""The usual way of a call: over a pooled connection, without ClientSession's ceremony.

Unusual code. `ClientSession.post` makes some forty objects for a request whose head is the same as
the last one's but for a line or two, and a task that writes it; that is two thirds of what the
shortest proxy costs. Here the head is bytes that were prepared when the endpoint was first called,
written together with the body. Connections, TLS, names, keep-alive and the parser of answers are
aiohttp's own, as ever. Measured gain: see docs/performance.md.

tests/unit/upstream/test_session.py holds this and the ordinary way to the same.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final, cast

import aiohttp
import msgspec
from aiohttp import hdrs
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from yarl import URL

from bitrouter.config.schema import Limits
from bitrouter.protocols.base import Destination, UpstreamCall
from bitrouter.upstream.pool import OwnedRequest, Pool, Use, connection_use, destination
from bitrouter.upstream.response import Take, UpstreamResponse
from bitrouter.upstream.wire import Wire

READ_BUFFER: Final = 64 * 1024
SKIPPED: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_MOST_KNOWN: Final = 64
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUERY: Final = re.compile(r"[!-~]*")


class Limit(msgspec.Struct, frozen=True, gc=False):
    """Until when the head of an answer has to come: the loop's time `by`, of `span_s` seconds in
    all; `name` is the timer's in section `timeouts`.
    """

    name: str
    span_s: float
    by: float


class _Prepared:
    """What calls to one destination have in common."""

    __slots__ = ("_clear", "_names", "end", "key", "request", "start")

    def __init__(self, to: Destination, session: aiohttp.ClientSession) -> None:
        destination.set(to)
        self.request = OwnedRequest(
            hdrs.METH_POST,
            URL(to.url, encoded=True),
            headers=to.headers,
            skip_auto_headers=SKIPPED,
            loop=asyncio.get_running_loop(),
            session=session,
        )
        headers = self.request.headers
        del headers[hdrs.CONTENT_LENGTH]
        self._names = frozenset(name.lower() for name in headers)
        self._clear: set[tuple[str, ...]] = set()
        self.key = self.request.connection_key
        self.start = f"POST {self.request.url.raw_path_qs}".encode("ascii")
        self.end = b" HTTP/1.1\r\n" + _lines(headers)

    def is_clear_of(self, names: tuple[str, ...]) -> bool:
        """Whether headers of these names can follow: none of them is there already. What a codec
        adds is the same for nearly all calls, and is looked at once.
        """
        if names in self._clear:
            return True
        if not self._names.isdisjoint(name.lower() for name in names):
            return False
        if len(self._clear) < _MOST_KNOWN:
            self._clear.add(names)
        return True


class Lane:
    """Sends calls over the pool's connections, whose session is only there for new ones."""

    def __init__(self, session: aiohttp.ClientSession, pool: Pool, limits: Limits) -> None:
        self._session = session
        self._pool = pool
        self._max_header_bytes = limits.max_header_bytes

    def takes(self, call: UpstreamCall) -> bool:
        """Whether a call can go this way. What is unusual about it goes the ordinary one."""
        prepared = call.to.prepared or self._prepared(call.to)
        return (
            not call.query or _QUERY.fullmatch(call.query) is not None
        ) and prepared.is_clear_of(tuple(call.own_headers))

    def _prepared(self, to: Destination) -> _Prepared:
        prepared: _Prepared | None = to.prepared
        if prepared is None:
            to.prepared = prepared = _Prepared(to, self._session)
        return prepared

    async def send(
        self, call: UpstreamCall, connect: aiohttp.ClientTimeout, limit: Limit
    ) -> UpstreamResponse:
        """Send `call` and wait for the head of the answer, once more where that is sure to be no
        repetition (see Upstream). Raises UpstreamTimeout, what aiohttp's session raises, and
        HttpProcessingError in place of ClientResponseError.
        """
        prepared = call.to.prepared or self._prepared(call.to)
        head = _head(prepared, call)
        wire = self._pool.take(prepared.key)
        if wire is not None:
            try:
                return await self._exchange(prepared.key, wire, head, call.body, limit)
            except aiohttp.ClientConnectionError:
                if wire.heard:
                    raise
        connection_use.set(Use.ONLY_NEW)
        destination.set(call.to)
        async with asyncio.timeout_at(limit.by):
            wire = await self._connect(prepared.request, connect)
        return await self._exchange(prepared.key, wire, head, call.body, limit)

    async def _connect(self, request: ClientRequest, within: aiohttp.ClientTimeout) -> Wire:
        try:
            connection = await self._pool.connect(request, [], within)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        # Unlike those of aiohttp's session, it is given back by itself.
        wire, connection._protocol = connection.protocol, None
        return cast("Wire", wire)

    async def _exchange(
        self, key: ConnectionKey, wire: Wire, head: bytes, body: bytes, limit: Limit
    ) -> UpstreamResponse:
        answer = _Borrowed(self._pool, key, wire)
        timer = wire.timer
        try:
            transport = wire.transport
            if transport is None or transport.is_closing():
                raise aiohttp.ServerDisconnectedError
            wire.send(head, body)
            wire.set_response_params(
                read_until_eof=True,
                auto_decompress=True,
                read_bufsize=READ_BUFFER,
                max_line_size=self._max_header_bytes,
                max_field_size=self._max_header_bytes,
            )
            timer.limit_all_waits(limit.name, limit.span_s, limit.by)
            timer.wait_begins()
            message, content = await wire.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await wire.read()
            timer.wait_ends()
        except BaseException:
            answer.close()
            raise
        wire.content, wire.encoding = content, message.compression
        return UpstreamResponse(message.code, message.headers, content, answer, timer)


class _Borrowed:
    """A connection of the pool, for one answer. See Carrier."""

    __slots__ = ("_key", "_pool", "_wire")

    def __init__(self, pool: Pool, key: ConnectionKey, wire: Wire) -> None:
        self._pool = pool
        self._key = key
        self._wire = wire

    def release(self) -> None:
        """aiohttp closes it if the answer is not at its end. Nor does it serve again while a
        request that was answered early is still being sent.
        """
        wire = self._wire
        if wire.transport is None or wire.is_sending:
            self.close()
            return
        wire.content = None
        wire.timer.rest()
        self._pool.give_back(self._key, wire)

    def close(self) -> None:
        """Nobody wants the rest."""
        wire = self._wire
        wire.content = None
        wire.timer.stop()
        self._pool.give_back(self._key, wire, close=True)

    async def pump(self, take: Take) -> bool:
        """See UpstreamResponse.pump."""
        return await self._wire.pump(take)


def _head(prepared: _Prepared, call: UpstreamCall) -> bytes:
    start = prepared.start
    if call.query:
        start += (b"&" if b"?" in start else b"?") + call.query.encode("ascii")
    own = _lines(call.own_headers)
    return b"%b%b%bContent-Length: %d\r\n\r\n" % (start, prepared.end, own, len(call.body))


def _lines(headers: Mapping[str, str]) -> bytes:
    """The headers as they go on the wire. Raises ValueError where one would be two."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if _CONTROL.search("".join(lines)):
        raise ValueError("a header holds a control character")
    lines.append("")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")
