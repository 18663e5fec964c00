"""The HTTP server below the handlers: aiohttp's, made fit for clients that are slow or hostile.

aiohttp has no timers for a head, a body or a reader that has stopped, no limit for a head as a
whole or for requests that are sent ahead of their turn, and where the framing of a body breaks it
lets the reader of the body wait for ever. What is done about that here needs some attributes that
it calls its own; tests/faults holds each of them to what is expected of it.
"""

import asyncio
import contextlib
import errno
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final, cast

from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import _ErrInfo

from bitrouter.errors import (
    HeadTooLarge,
    InternalError,
    InvalidRequest,
    RequestTimeout,
    RouterError,
    TargetTooLong,
)
from bitrouter.protocols import CODECS
from bitrouter.server.answers import error_answer, request_id_of
from bitrouter.server.clienttimer import ClientTimer, Timer
from bitrouter.server.head import RefusedRequest, find_problem, head_size
from bitrouter.server.inflow import Inflow, begin
from bitrouter.server.record import count_stray
from bitrouter.server.requestloop import RequestLoop
from bitrouter.server.room import RESERVED, crowded, is_watching, most_connections
from bitrouter.server.services import Services

_log: Final = logging.getLogger("bitrouter")
_aiohttp_log: Final = logging.getLogger("aiohttp.server")

_MAX_TARGET: Final = 8 * 1024  # bytes of a path and query
_MAX_FIELDS: Final = 100
_MAX_AHEAD: Final = 128 * 1024  # bytes of requests that wait for the one before them
_DRAIN_S: Final = 5.0  # how long the rest of a body is read that nobody wants
_LINGER_S: Final = 5.0  # how long a client may take to notice that its connection ends

_LOOKED_AT: Final = 100  # connections, for one that can be closed in favour of a new one

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class LastAnswer(web.Response):
    """An answer that ends its connection, because what the client sends cannot be trusted, or is
    too much to be read for nothing.

    The connection is half closed, and what still comes is read and thrown away until the client
    has noticed. Closed outright it would be reset by the kernel while the client is sending, and
    the answer would be lost (RFC 9112, section 9.6).
    """

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """See web.Response."""
        self.force_close()
        self.headers["Connection"] = "close"  # aiohttp says it to HTTP/1.1 alone
        self._connection = cast("Connection", request.protocol)
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """See web.Response."""
        await super().write_eof(data)
        await self._connection.linger()


class Connection(RequestLoop):
    """One client's connection. `stalled` is that it was closed because the client took no bytes;
    `is_extra` that it is one more than there is room for, and has one request, of who watches.
    """

    __slots__ = (
        "_ahead",
        "_body",
        "_deaf",
        "_head_bytes",
        "_inflow",
        "_linger_s",
        "_server",
        "_socket",
        "_timer",
        "is_extra",
        "stalled",
    )

    _timer: ClientTimer
    _socket: asyncio.Transport

    def __init__(self, server: "Server", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is off, and saves 27 us a request
            keepalive_timeout=server.keepalive_s,
            max_line_size=_MAX_TARGET,
            # One byte more where both are the same, or which of them was broken would be unknown.
            max_field_size=server.max_header_bytes + (server.max_header_bytes == _MAX_TARGET),
            max_headers=_MAX_FIELDS,
            lingering_time=_DRAIN_S,
            auto_decompress=False,  # see body.py
            logger=_aiohttp_log,
        )
        self._server = server
        self._inflow: Inflow | None = None  # a body that comes past the parser
        self._body: StreamReader = EMPTY_PAYLOAD  # of the request that is being answered
        self._head_bytes = 0  # that came, of a head that is not complete
        self._ahead = 0  # bytes that came after that request
        self._deaf = False
        self._linger_s = _LINGER_S
        self.stalled = False
        self.is_extra = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost if it were closed."""
        waiter = self._waiter
        return not (self._head_bytes or waiter is None or waiter.done())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._socket = cast("asyncio.Transport", transport)
        timeouts = self._server.services.routes.config.timeouts
        self._timer = ClientTimer(self._loop, timeouts, self._socket, self._expire)
        _give_up_after(timeouts.write_stall, self._socket)
        self._timer.head_begins()
        if self._task_handler is not None:
            self._task_handler.add_done_callback(self._ended)
        if not self._server.has_room():
            self._linger_s = 0.0  # it would keep a descriptor
            self.is_extra = self._server.has_reserve()
            if not self.is_extra:
                self._refuse(crowded())

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._timer.stop()
        self.stalled = self.stalled or getattr(exc, "errno", None) == errno.ETIMEDOUT
        super().connection_lost(exc)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """What aiohttp's loop over the requests did not foresee must not leave a client waiting."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection failed", exc_info=error)
            self.force_close()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        self._timer.writing_stops()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        self._timer.writing_goes_on()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._deaf:
            return
        is_ahead = self._waiter is None and self._body.is_eof()
        if self._inflow is not None:
            data = self._feed_body(self._inflow, data)
            if not data:
                return
        super().data_received(data)
        if self._messages:
            self._look_at_heads(len(data))
        elif data and self._waiter is not None and not self._waiter.done():
            self._timer.head_begins()
            self._note_head(len(data))
        elif is_ahead:
            self._note_head(len(data))
        if is_ahead:
            self._ahead += len(data)
            if self._ahead > _MAX_AHEAD and self._messages and not self._buffer_paused:
                self._pause_reading_for_buffer()  # aiohttp goes on at the next request's turn

    def _feed_body(self, inflow: Inflow, data: bytes) -> bytes:
        """What of `data` comes after the body that comes past the parser."""
        if self._force_close or self._close:
            return b""  # as aiohttp does
        behind = inflow.feed(data)
        if not inflow.rest:
            self._inflow = None
            self._parser = self._make_parser()
            inflow.end()
        return behind

    def _look_at_heads(self, size: int) -> None:
        """A head has come to its end, or what cannot be one has come, in the last `size` bytes."""
        self._timer.head_ends()
        size += self._head_bytes
        self._head_bytes = 0
        message, body = self._messages[-1]
        if isinstance(message, _ErrInfo):
            self._deaf = True
            self._break_body(InvalidRequest("the body's transfer coding is broken"))
            return
        if size > self._server.max_header_bytes:
            self._check_sizes()
        if not (body.is_eof() or self._deaf or self._buffer_paused):
            self._inflow = begin(message, body)

    def _make_parser(self) -> "HttpRequestParser":
        """One like the first, which is left in the middle of the body that came past it."""
        return HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=self._max_msg_queue_size,
        )

    def _note_head(self, size: int) -> None:
        """Count the bytes of a head that is not complete."""
        self._head_bytes += size
        if self._head_bytes > self._server.max_header_bytes:
            self._refuse(self._too_large())

    def _check_sizes(self) -> None:
        """Refuse the first head that is too large, and forget what came after it."""
        for place, (message, _) in enumerate(self._messages):
            if isinstance(message, _ErrInfo) or head_size(message) <= self._server.max_header_bytes:
                continue
            while len(self._messages) > place:
                self._messages.pop()
            self._refuse(self._too_large())
            return

    def _too_large(self) -> HeadTooLarge:
        limit = self._server.max_header_bytes
        return HeadTooLarge(f"the head is larger than {limit} bytes (limits.max_header_bytes)")

    def _refuse(self, error: RouterError) -> None:
        """Answer with `error`, after what was asked before, and close; hear nothing more."""
        self._deaf = True
        self._timer.head_ends()
        info = _ErrInfo(status=error.status, exc=error, message=error.detail)
        self._messages.append((info, EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break_body(self, error: RouterError, *, begun: bool = False) -> None:
        """Let whoever reads the body that is being received raise `error`, now or at its turn.

        The request may be one whose task has yet to take its first step. After that there is
        nobody to tell if its handler is gone: then the rest of the body is only being drained.
        """
        for message, body in reversed(self._messages):
            if not isinstance(message, _ErrInfo):
                if not body.is_eof():
                    body.set_exception(error)
                return
        request = self._current_request
        if request is not None and not request.content.is_eof():
            self._lingering_time = 0.0  # or aiohttp would meet the error too
            request.content.set_exception(error)
        elif request is None and not begun:
            self._loop.call_soon(lambda: self._break_body(error, begun=True))

    def _expire(self, timer: Timer) -> None:
        timeouts = self._server.services.routes.config.timeouts
        if timer == "write_stall":
            self.stalled = True
            self._socket.abort()
        elif timer == "body_read":
            self._deaf = True
            self._break_body(RequestTimeout(timer, timeouts.body_read))
        elif self._head_bytes:
            self._refuse(RequestTimeout(timer, timeouts.header_read))
        else:
            self.force_close()

    def request_begins(self, body: StreamReader) -> None:
        """It is the turn of a request, whose body may be still to come."""
        self._body = body
        self._ahead = 0
        if not body.is_eof():
            self._timer.body_begins(body)

    async def linger(self) -> None:
        """Nothing more is sent or heard: wait for the client to close its side."""
        self._deaf = True
        self._lingering_time = 0.0
        self._buffer_paused = self._reading_paused = False
        self._resume_transport_reading()
        if self.transport is not None and self._linger_s:
            if self.transport.can_write_eof():  # TLS knows no half of a connection
                self.transport.write_eof()
            await asyncio.sleep(self._linger_s)  # cancelled when the connection is lost

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request, and close: what follows cannot be trusted."""
        if request.writer.output_size > 0:  # and whoever began it has told of what went wrong
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, ConnectionError):
            raise exc  # the client has gone; aiohttp takes it from here
        error = _told(exc)
        if isinstance(error, InternalError):
            _log.error("a request failed outside its handler", exc_info=exc)
        self._server.count(error)
        return error_answer(CODECS[0], error, request_id_of(request), LastAnswer)


def _give_up_after(seconds: float, transport: asyncio.BaseTransport) -> None:
    """Let the kernel break off what is not acknowledged for so long: it sees that a client takes
    nothing, or has vanished, while what waits is still in its own buffers (tcp(7)).
    """
    with contextlib.suppress(OSError):  # not a TCP socket
        sock = transport.get_extra_info("socket")
        milliseconds = min(int(seconds * 1000), (1 << 31) - 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def has_stalled(request: web.BaseRequest) -> bool:
    """Whether the connection of a request was closed because its client took no bytes."""
    return cast("Connection", request.protocol).stalled


def _told(exc: BaseException | None) -> RouterError:
    """What a client is told of an error below the handlers."""
    match exc:
        case RouterError():
            return exc
        case LineTooLong(args=(_, int(limit), _)) if limit == _MAX_TARGET:
            return TargetTooLong(f"the target is longer than {_MAX_TARGET} bytes")
        case LineTooLong():
            return HeadTooLarge("a header is too large (limits.max_header_bytes)")
        case HttpProcessingError(message="Too many headers received"):
            return HeadTooLarge(f"there are more than {_MAX_FIELDS} headers")
        case HttpProcessingError():
            return InvalidRequest("the request is not valid HTTP")
        case _:
            return InternalError("an error of the router's own")


class Server(web.Server):
    """Makes a Connection for every client, as long as there are descriptors."""

    def __init__(self, handler: Handler, services: Services) -> None:
        super().__init__(
            handler,
            request_factory=self._begin_request,
            # Without it a client that left is noticed only at the upstream's next byte.
            handler_cancellation=True,
        )
        config = services.routes.config
        self.services = services
        self.max_header_bytes = config.limits.max_header_bytes
        self.keepalive_s = config.timeouts.keepalive
        self._running_loop = asyncio.get_running_loop()
        self._most = most_connections()
        self._full = False

    def __call__(self) -> web.RequestHandler:
        """Make the protocol object of a new connection."""
        return Connection(self, self._running_loop)

    def has_room(self) -> bool:
        """Whether the connection that was made last may stay. If need be an idle one is closed."""
        count = len(self._connections)
        if count <= self._most:
            self._full = self._full and count > self._most * 3 // 4
            return True
        if not self._full:  # once, until there is room again
            self._full = True
            _log.warning("%d connections are open: there are descriptors for no more", count)
        for connection in itertools.islice(self._connections, _LOOKED_AT):
            if isinstance(connection, Connection) and connection.is_idle:
                connection.force_close()
                return True
        return False

    def has_reserve(self) -> bool:
        """Whether that connection, for which there is no room, may ask how the router is."""
        return len(self._connections) <= self._most + RESERVED

    def count(self, error: RouterError) -> None:
        """Count a request that never became one."""
        count_stray(self.services.metrics, error)

    def _begin_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        connection = cast("Connection", protocol)
        connection.request_begins(payload)
        problem = find_problem(message)
        if connection.is_extra and not is_watching(message):
            problem = crowded()
        if message.upgrade or self.services.handing_over or connection.is_extra:
            # An upgrade is ignored; but of bytes that follow the request aiohttp drops those that
            # came with it. And the client's next request is for the next process.
            message = message._replace(should_close=True)
        if problem is not None:
            self.count(problem)
            return RefusedRequest(
                problem, message, payload, protocol, writer, task, self._running_loop
            )
        return web.BaseRequest(message, payload, protocol, writer, task, self._running_loop)
