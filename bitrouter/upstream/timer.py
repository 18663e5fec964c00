"""One timer for a whole answer, however many chunks it has."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from bitrouter.errors import UpstreamTimeout

# Who has spent all the time there is for a request has left none for asking again.
FINAL: Final = frozenset({"total", "deadline"})


class ReadTimer:
    """Watches the waits for an upstream's bytes, and the answer as a whole.

    Setting a timer for every chunk would cost more than relaying it. So one timer is kept, which
    looks, when it rings, whether the wait that is going on has lasted too long, and is set again
    for when it would have. A wait that has not begun, because the client is slow to take what it
    was sent, is not the upstream's. `longest_s` is the longest wait between two events of a stream.

    A timer that belongs to a connection goes on to the next answer with `rest`, and is not set
    again for one either: to set and to cancel one took 2 us a request. While nothing is waited for
    it rings once, in vain.
    """

    __slots__ = (
        "_absolute",
        "_counts",
        "_deadline",
        "_expire",
        "_handle",
        "_last",
        "_loop",
        "_name",
        "_rings_at",
        "_span",
        "_whole",
        "_whole_deadline",
        "_whole_span",
        "longest_s",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, expire: Callable[[UpstreamTimeout], None]
    ) -> None:
        self._loop = loop
        self._expire = expire
        self._name = self._whole = ""
        self._span = self._whole_span = math.inf
        self._whole_deadline = math.inf
        self._absolute: float | None = None
        self._deadline: float | None = None
        self._last: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._counts = False
        self.longest_s = 0.0

    def limit_whole(self, name: str, span_s: float, until: float = math.inf) -> None:
        """The answer as a whole may last `span_s` from now, and not longer than the loop's time
        `until`; `name` is the timer's in section `timeouts`. One of the limits of waits follows.
        """
        self._whole = name
        self._whole_span = span_s
        self._counts = False
        self.longest_s = 0.0
        self._whole_deadline = min(self._loop.time() + span_s, until)

    def limit_each_wait(self, name: str, span_s: float) -> None:
        """From now on each wait may last `span_s`; `name` is the timer's in section `timeouts`."""
        self._name = name
        self._span = span_s
        # After the waits for a stream's first event come those that count as its silences; after
        # its end, when the limit is set once more, there is only the wait for the connection's.
        self._counts = self._absolute is not None
        self._absolute = self._last = None
        self._set(self._loop.time() + span_s)

    def limit_all_waits(self, name: str, span_s: float, until: float) -> None:
        """From now on waits may last until the loop's time `until`, of `span_s` in all."""
        self._name = name
        self._span = span_s
        self._absolute = until
        self._set(until)

    def wait_begins(self, *, again: bool = False) -> None:
        """The upstream is asked for bytes; `again`, because the last ones were worth nothing, so
        that the wait which they ended goes on.
        """
        if again and self._last is not None:
            self._deadline = self._last
        else:
            by = self._absolute or self._loop.time() + self._span
            if self._counts and self._deadline is not None and by - self._deadline > self.longest_s:
                self.longest_s = by - self._deadline  # put off by as much as has passed
            self._deadline = self._last = by

    def wait_ends(self) -> None:
        """They came."""
        if self._counts and self._last is not None:
            waited_s = self._loop.time() + self._span - self._last
            if waited_s > self.longest_s:
                self.longest_s = waited_s
        self._deadline = None

    def rest(self) -> None:
        """The answer is over. There may be another one."""
        self._deadline = self._last = None
        self._whole_deadline = math.inf
        self._span = math.inf

    def stop(self) -> None:
        """There will be no other."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, when: float) -> None:
        """Ring at that time, or before it: then it is set again."""
        when = min(when, self._whole_deadline)
        if self._handle is not None:
            if self._rings_at <= when:
                return
            self._handle.cancel()
        self._rings_at = when
        self._handle = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._handle = None
        now = self._loop.time()
        if now >= self._whole_deadline:
            self._expire(UpstreamTimeout(self._whole, self._whole_span, retryable=False))
        elif self._deadline is not None and now >= self._deadline:
            name = self._name
            self._expire(UpstreamTimeout(name, self._span, retryable=name not in FINAL))
        elif (when := self._deadline or now + self._span) < math.inf:
            self._set(when)
