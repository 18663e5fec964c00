"""One timer for a whole answer, however many chunks it has."""

import asyncio
import math
from collections.abc import Callable

from bitrouter.errors import UpstreamTimeout


class ReadTimer:
    """Watches the waits for an upstream's bytes, and the answer as a whole.

    Setting a timer for every chunk would cost more than relaying it. So one timer is kept, which
    looks, when it rings, whether the wait that is going on has lasted too long, and is set again
    for when it would have. A wait that has not begun, because the client is slow to take what it
    was sent, is not the upstream's.

    The answer as a whole may last `whole_s`, and not longer than the loop's time `until`; `whole`
    is that timer's name in section `timeouts`.
    """

    __slots__ = (
        "_absolute",
        "_deadline",
        "_expire",
        "_handle",
        "_last",
        "_loop",
        "_name",
        "_span",
        "_whole",
        "_whole_deadline",
        "_whole_span",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        expire: Callable[[UpstreamTimeout], None],
        *,
        whole: str,
        whole_s: float,
        until: float = math.inf,
    ) -> None:
        self._loop = loop
        self._expire = expire
        self._name = whole
        self._span = whole_s
        self._absolute: float | None = None
        self._deadline: float | None = None
        self._last: float | None = None
        self._whole = whole
        self._whole_span = whole_s
        self._whole_deadline = min(loop.time() + whole_s, until)
        self._handle: asyncio.TimerHandle | None = None

    def limit_each_wait(self, name: str, span_s: float) -> None:
        """From now on each wait may last `span_s`; `name` is the timer's in section `timeouts`."""
        self._name = name
        self._span = span_s
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
            self._deadline = self._last = self._absolute or self._loop.time() + self._span

    def wait_ends(self) -> None:
        """They came."""
        self._deadline = None

    def stop(self) -> None:
        """The answer is over."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, when: float) -> None:
        self.stop()
        self._handle = self._loop.call_at(min(when, self._whole_deadline), self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        if now >= self._whole_deadline:
            self._expire(UpstreamTimeout(self._whole, self._whole_span, retryable=False))
        elif self._deadline is not None and now >= self._deadline:
            self._expire(UpstreamTimeout(self._name, self._span))
        else:
            self._set(self._deadline if self._deadline is not None else now + self._span)
