"""One timer for a client's connection, however many requests come on it.

Three things a client owes within a time: the head of a request, its body, and room for the answer.
None of them is put off by one byte now and then (reliability.md, section 2).
"""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Callable
from typing import Final, Literal

from aiohttp import StreamReader

from bitrouter.config.schema import Timeouts

Timer = Literal["header_read", "body_read", "write_stall"]

# A body's first MiB has the whole of `body_read`; what exceeds it must also keep coming.
_FREE_BYTES: Final = 1 << 20
_SLOWEST_SENDER: Final = 16 * 1024  # bytes a second, of a body beyond that
_SLOWEST_READER: Final = 1024  # bytes a second, while there are more than the client has room for
_INT: Final = bytes(4)
_LOOKS: Final = 4  # how often in the time of a timer progress is looked for


class ClientTimer:
    """Watches what one client owes; `expire` is told which timer of section `timeouts` ran out.

    To begin or to end a wait costs the writing of a number. The timer itself is set again only when
    it rings: for when the first wait of those that go on ends, but never further ahead than the
    shortest there can be, so that none that begins in between is looked at too late.
    """

    __slots__ = (
        "_body",
        "_body_by",
        "_expire",
        "_handle",
        "_head_by",
        "_loop",
        "_pace",
        "_seen",
        "_seen_at",
        "_stall_by",
        "_timeouts",
        "_transport",
        "_unsent",
        "_unsent_at",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        transport: asyncio.WriteTransport,
        expire: Callable[[Timer], None],
    ) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._transport = transport
        self._expire = expire
        self._head_by = 0.0
        self._body: StreamReader | None = None
        self._body_by = self._seen_at = 0.0
        self._seen = 0
        self._stall_by = self._unsent_at = 0.0
        self._unsent = 0
        slow = min(timeouts.body_read, timeouts.write_stall) / _LOOKS
        self._pace = min(timeouts.header_read, slow)
        self._handle = loop.call_at(loop.time() + self._pace, self._ring)

    def head_begins(self) -> None:
        """A head is to come, whole, in the time of `header_read`, unless that runs already."""
        if not self._head_by:
            self._head_by = self._loop.time() + self._timeouts.header_read

    def head_ends(self) -> None:
        """It came."""
        self._head_by = 0.0

    def body_begins(self, body: StreamReader) -> None:
        """The rest of a body is to come in the time of `body_read`. Its end need not be told."""
        self._body = body
        self._seen = body.total_raw_bytes
        self._seen_at = self._loop.time()
        self._body_by = self._seen_at + self._timeouts.body_read

    def writing_stops(self) -> None:
        """The client takes no more for now, and there is more."""
        self._unsent = _unsent(self._transport)
        self._unsent_at = self._loop.time()
        self._stall_by = self._unsent_at + self._timeouts.write_stall

    def writing_goes_on(self) -> None:
        """The client has taken most of what there was."""
        self._stall_by = 0.0

    def stop(self) -> None:
        """The connection is closed."""
        self._handle.cancel()

    def _ring(self) -> None:
        now = self._loop.time()
        late = self._late(now)
        ends = (self._head_by, self._body_by, self._stall_by)
        soonest = min((by for by in ends if by), default=now + self._pace)
        self._handle = self._loop.call_at(min(soonest, now + self._pace), self._ring)
        if late is not None:  # last, because it may end the connection, and that stops the timer
            self._expire(late)

    def _late(self, now: float) -> Timer | None:
        """The timer that has run out. It is then over, whatever comes of it."""
        if self._head_by and now >= self._head_by:
            self._head_by = 0.0
            return "header_read"
        if self._body is not None and self._is_body_late(self._body, now):
            self._body = None
            self._body_by = 0.0
            return "body_read"
        if self._is_stalled(now):
            self._stall_by = 0.0
            return "write_stall"
        return None

    def _is_body_late(self, body: StreamReader, now: float) -> bool:
        if body.is_eof() or body.exception() is not None:
            self._body = None
            self._body_by = 0.0
            return False
        return now >= self._body_by or self._is_slow(body, now)

    def _is_slow(self, body: StreamReader, now: float) -> bool:
        """Whether a large body has all but stopped since it was looked at before."""
        passed = now - self._seen_at
        if passed < self._timeouts.body_read / _LOOKS:
            return False
        before, self._seen, self._seen_at = self._seen, body.total_raw_bytes, now
        return before >= _FREE_BYTES and self._seen - before < _SLOWEST_SENDER * passed

    def _is_stalled(self, now: float) -> bool:
        """Whether the client has taken next to nothing of what there is for too long.

        On a connection that is being closed there may be something to take as well, and it is not
        closed before that is done.
        """
        if not self._stall_by:
            if self._transport.is_closing():
                self.writing_stops()
            return False
        taken = self._unsent - _unsent(self._transport)
        if taken > 0 and taken >= _SLOWEST_READER * (now - self._unsent_at):
            self.writing_stops()  # as of now: it took some, and there is still more
            return False
        return now >= self._stall_by


def _unsent(transport: asyncio.WriteTransport) -> int:
    """How many bytes the client's side has not taken, those that are with the kernel included.

    Of ours alone nothing goes for a long time: the kernel asks for more only when a third of its
    own buffer, which may be megabytes, is free. Source: tcp(7), SIOCOUTQ.
    """
    waiting = transport.get_write_buffer_size()
    try:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, _INT)
    except (OSError, ValueError):  # it is closed
        return waiting
    return waiting + int.from_bytes(queued, sys.byteorder)
