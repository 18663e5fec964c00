"""What one connection to a provider can do beyond aiohttp's own.

Unusual code: it works on attributes that aiohttp calls its own. tests/unit/upstream/test_wire.py
holds each of them to what is expected of it (aiohttp 3.14). What it gains, of some 250 us a request
and 60 us an event that the bare proxy of bench/ takes on the machine that docs/performance.md
speaks of: `pump` half of what an event costs, `resume_reading` 2 us for each read of a body.
"""

import asyncio
from typing import Final

from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler

from bitrouter.errors import UpstreamTimeout
from bitrouter.upstream.response import Take
from bitrouter.upstream.timer import ReadTimer


class Wire(ResponseHandler):
    """aiohttp's protocol of a client's connection, with the timer of its answers, which can push
    an answer's bytes to who wants them in the very call in which they came from the socket.

    Pulled, each chunk costs a future, a turn of the event loop and the walk through every
    coroutine that waits for it; that is more than the chunk's own way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.timer: Final = ReadTimer(loop, self._expire)
        self.content: StreamReader | None = None  # of the answer that is being read
        self._take: Take | None = None
        self._taken: asyncio.Future[bool] | None = None
        self._taking = False

    def _expire(self, error: UpstreamTimeout) -> None:
        """Let the read that is waiting, or the next one, raise `error`."""
        if self.content is None:
            self.set_exception(error)
        else:
            self.content.set_exception(error)
            self._push()

    # -- aiohttp's ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        if self._take is not None:
            self._push()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        if self.content is None:
            self.timer.stop()
        self._push()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """See ResponseHandler. Every read of a body ends in it, hardly ever after a pause, and it
        would call the parser and the transport for nothing.
        """
        if self._reading_paused:
            super().resume_reading(resume_parser)

    # -- pushing -----------------------------------------------------------------------------

    async def pump(self, take: Take) -> bool:
        """See UpstreamResponse.pump."""
        self._take = take
        self._taken = self._loop.create_future()
        try:
            self._push()
            return await self._taken
        finally:
            self._take = self._taken = None

    def _push(self) -> None:
        """Hand on what is there. `take` may lead back to here, for reading can make room for more
        bytes: these are for the loop that is running.
        """
        content, take, taken = self.content, self._take, self._taken
        if self._taking or content is None or take is None or taken is None or taken.done():
            return
        self._taking = True
        try:
            while content._exception is None:
                if not content._buffer:
                    if content._eof:
                        break
                    return
                if not take(content.read_nowait()):
                    taken.set_result(False)
                    return
            taken.set_result(True)
        except Exception as error:
            taken.set_exception(error)
        finally:
            self._taking = False
