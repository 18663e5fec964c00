"""What one connection to a provider can do beyond aiohttp's own.

Unusual code: it works on attributes that aiohttp calls its own. tests/unit/upstream/test_wire.py
holds each of them to what is expected of it (aiohttp 3.14). What it gains, of some 250 us a request
and 60 us an event that the bare proxy of bench/ takes on the machine that docs/performance.md
speaks of: `pump` half of what an event costs, `resume_reading` 2 us for each read of a body,
`_pass_by` 2 us and 10 calls for each event.
"""

import asyncio
from typing import Final, cast

from aiohttp import ClientPayloadError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage

from bitrouter.errors import BadResponse, UpstreamTimeout
from bitrouter.upstream.response import Take
from bitrouter.upstream.timer import ReadTimer

AT_ONCE: Final = 1 << 20  # bytes of a body that are written in one piece
_PIECE: Final = 256 * 1024  # of what exceeds that; in TLS each piece is encrypted in one go
_JOINED: Final = 16 * 1024  # bytes that are sooner copied than written on their own
# What ends a chunk that ends with its event, and nothing else in chunked framing: no line there is
# empty but that after the last chunk.
_EVENT_AND_CHUNK_END: Final = b"\n\n\r\n"
_SIZE_LINE: Final = 10  # bytes of a chunk's first line, at most, for it to be passed on


class Wire(ResponseHandler):
    """aiohttp's protocol of a client's connection, with the timer of its answers, which can push
    an answer's bytes to who wants them in the very call in which they came from the socket.

    Pulled, each chunk costs a future, a turn of the event loop and the walk through every
    coroutine that waits for it; that is more than the chunk's own way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        max_header_bytes: int = 1 << 16,
        idle_s: float = 15.0,
    ) -> None:
        super().__init__(loop)
        self.idle_s: Final = idle_s  # how long it is kept when it is not used
        self.timer: Final = ReadTimer(loop, self._expire)
        self.heard = (
            False  # whether anything was said since it was taken from the pool, or given back
        )
        self._max_header_bytes: Final = max_header_bytes
        self._head_bytes = 0  # that came, of a head that is not complete
        self._unsent: memoryview | None = None  # of a large body
        self._sending = False
        self.content: StreamReader | None = None  # of the answer that is being read
        self.encoding: str | None = None  # that the parser undoes in it
        self._take: Take | None = None
        self._taken: asyncio.Future[bool] | None = None
        self._taking = False
        self._is_between = False  # two chunks of what is being pushed, of which the parser has none

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
        if self._is_between and self._pass_by(data):
            return
        awaits_head = self._waiter is not None
        self.heard = True
        super().data_received(data)
        if self._take is not None:
            self._is_between = self._ends_between(data)
            self._push()
        elif awaits_head:
            self._look_at_head(len(data))

    def _look_at_head(self, size: int) -> None:
        """Of a head came `size` bytes, and maybe all. aiohttp bounds each of its lines and their
        number, which together is a hundred times as much as a line.
        """
        size += self._head_bytes
        is_complete = self._waiter is None
        self._head_bytes = 0 if is_complete else size
        if size <= self._max_header_bytes or self._exception is not None:
            return
        if is_complete and all(self._fits(message) for (message, _), _ in self._buffer):
            return
        self._buffer.clear()
        self.set_exception(
            BadResponse(
                f"the head of the upstream's answer is larger than {self._max_header_bytes} bytes"
                " (limits.max_header_bytes)"
            )
        )

    def _fits(self, message: RawResponseMessage) -> bool:
        size = sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
        return size <= self._max_header_bytes

    def close(self) -> None:
        """See ResponseHandler. What is still to be sent is not waited for, nor a goodbye in TLS:
        whoever takes nothing would keep the connection for ever, and work on for nobody meanwhile.
        """
        self._unsent = None
        self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._unsent = None
        is_misframed = self._exception is not None
        super().connection_lost(exc)
        if self.content is None:
            self.timer.stop()
        elif is_misframed and not self.content._eof and self.content._exception is None:
            # aiohttp tells of bytes that are no chunk only to who waits for a head.
            self.content.set_exception(ClientPayloadError("Response payload is not completed"))
        self._push()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """See ResponseHandler. Every read of a body ends in it, hardly ever after a pause, and it
        would call the parser and the transport for nothing.
        """
        if self._reading_paused:
            super().resume_reading(resume_parser)

    # -- sending -----------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes) -> None:
        """Send a request, of which a large body goes as fast as the provider takes it. Nobody need
        wait for that: the answer may come before, and `is_sending` says whether it did.

        uvloop copies no bytes that the kernel has no room for, so one write is best; but in TLS it
        would encrypt all of it in one go, which takes a millisecond a megabyte, and keep that.
        """
        transport = cast("asyncio.Transport", self.transport)
        if len(body) < _JOINED:
            transport.write(head + body)
        elif len(body) <= AT_ONCE:
            transport.writelines((head, body))
        else:
            transport.write(head)
            self._unsent = memoryview(body)
            self._send_more()

    @property
    def is_sending(self) -> bool:
        """Whether some of the request is still here."""
        transport = self.transport
        return self._unsent is not None or (
            transport is not None and transport.get_write_buffer_size() > 0
        )

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        if self._unsent is not None:
            self._send_more()

    def _send_more(self) -> None:
        """Write on until that is enough for now. `write` may lead back here, by resume_writing."""
        if self._sending:
            return
        self._sending = True
        try:
            while self._unsent is not None and not self._paused:
                transport = self.transport
                if transport is None or transport.is_closing():
                    self._unsent = None
                    return
                piece, rest = self._unsent[:_PIECE], self._unsent[_PIECE:]
                self._unsent = rest or None
                transport.write(piece)
        finally:
            self._sending = False

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
            self._is_between = False

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
                    self._is_between = False
                    taken.set_result(False)
                    return
            self._is_between = False
            taken.set_result(True)
        except Exception as error:
            self._is_between = False
            taken.set_exception(error)
        finally:
            self._taking = False

    # -- past the parser ---------------------------------------------------------------------

    def _ends_between(self, data: bytes) -> bool:
        """Whether the parser, which has just read `data`, is after a chunk and before the next
        one's first byte, and holds nothing back. Then chunks that it never sees are not missed.
        """
        content = self.content
        if content is None or not data.endswith(_EVENT_AND_CHUNK_END):
            return False
        splits = content._http_chunk_splits
        if not splits or content._eof:
            return False
        if self._exception or self._reading_paused or self.encoding:
            return False
        return splits[-1] == content.total_bytes

    def _pass_by(self, data: bytes) -> bool:
        """Hand on what is in `data`, if that is one chunk, whole, with nothing but its size before
        it, as nearly every event of a stream comes. Says whether it was. After it the parser is
        between two chunks as it was before.
        """
        cut = data.find(b"\r\n", 1, _SIZE_LINE)
        size = len(data) - cut - 4
        if cut < 0 or size < 1 or data[:cut].lower() != b"%x" % size or data[-2:] != b"\r\n":
            return False
        take, taken = self._take, self._taken
        if take is None or taken is None or taken.done():
            return False
        try:
            if not take(data[cut + 2 : -2]):
                self._is_between = False
                taken.set_result(False)
        except Exception as error:
            self._is_between = False
            taken.set_exception(error)
        return True
