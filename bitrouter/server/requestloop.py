"""The loop over the requests of one connection, without a task for each of them.

Unusual code: it works on attributes that aiohttp calls its own, as connection.py does; what is
expected of them is tested in tests/unit/server/test_requestloop.py and tests/faults (aiohttp 3.14).
aiohttp runs each request in a task of its own, so that a handler cannot leave a context variable
behind. On Python 3.11 such a task is begun and noticed to have ended in two further turns of the
event loop; here there is no such variable. Measured gain: docs/performance.md.
"""

import asyncio

from aiohttp import StreamReader, web
from aiohttp.http import StreamWriter
from aiohttp.web_protocol import _ErrInfo

from bitrouter.server.outgoing import OutWhole


class RequestLoop(web.RequestHandler):
    """aiohttp's connection of a client, which answers in the task that waits for requests."""

    __slots__ = ()

    async def start(self) -> None:
        """See web.RequestHandler. What is no request, and requests that were sent ahead in such
        number that reading was stopped, are left to aiohttp's own loop, to the connection's end.
        """
        try:
            while not self._force_close:
                if not self._messages:
                    await self._next_message()
                if self._buffer_paused or isinstance(self._messages[0][0], _ErrInfo):
                    await super().start()
                    return
                if not await self._answer_next():
                    break
                self._await_next()
        except BaseException:
            self.force_close()
            raise
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _next_message(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _answer_next(self) -> bool:
        """Whether the connection can go on after the request whose turn it is."""
        message, payload = self._messages.popleft()
        parser, manager, factory = self._parser, self._manager, self._request_factory
        handler, task = self._request_handler, self._task_handler
        if not (parser and manager and factory and handler and task):
            return False  # the connection is lost
        parser.message_consumed()
        manager.requests_count += 1
        writer = StreamWriter(self, self._loop)
        assert not isinstance(message, _ErrInfo)
        request = factory(message, payload, self, writer, task)
        try:
            response, is_gone = await self._handle_request(request, None, handler)
        except ConnectionError:
            return False
        finally:
            request._task = None  # type: ignore[assignment]  # a cycle, else
        self._keepalive = bool(response.keep_alive)
        if not is_gone and not payload.is_eof():
            await self._drain(payload)
        return self._keepalive and not (is_gone or self._close)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """See web.RequestHandler. Of a whole answer, which was sent, nothing is left to do."""
        if type(resp) is OutWhole:
            return resp, False
        return await super().finish_response(request, resp, start_time)

    def _await_next(self) -> None:
        """Note until when the next request has to come."""
        self._next_keepalive_close_time = close_at = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_at, self._process_keepalive)

    async def _drain(self, payload: StreamReader) -> None:
        """Throw away what still comes of a body that nobody wanted, if that takes not too long."""
        if self._force_close or not self._lingering_time:
            until = 0.0
        else:
            until = self._loop.time() + self._lingering_time
        while not payload.is_eof() and self._loop.time() < until:
            rest = asyncio.ensure_future(payload.readany())
            try:
                await asyncio.wait((rest,), timeout=until - self._loop.time())
            finally:
                rest.cancel()
            if rest.done() and not rest.cancelled() and rest.exception() is not None:
                break
        if not payload.is_eof() and not self._force_close:
            self.close()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """See web.RequestHandler. Every read of a body ends in it, hardly ever after a pause, and
        it would call the parser and the transport for nothing.
        """
        if self._reading_paused:
            super().resume_reading(resume_parser)
