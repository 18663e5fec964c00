"""How many repeats there may be: so that a provider in trouble is not asked twice as often."""

from typing import Final

_WINDOW_S: Final = 10
_ALWAYS: Final = 3  # so many are allowed however few requests there are


class RetryBudget:
    """Requests and repeats of the last ten seconds.

    Going on to another endpoint is no repeat: it asks somebody else. `ratio` is the share of the
    requests that may be repeats (retry.budget_ratio). Source: reliability.md, section 3.
    """

    __slots__ = ("_newest", "_repeats", "_requests", "ratio")

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self._requests = [0] * _WINDOW_S
        self._repeats = [0] * _WINDOW_S
        self._newest = 0

    def request(self, now: float) -> None:
        """Count a request. `now` is in seconds of a clock that never goes back."""
        self._requests[self._slot(now)] += 1

    def repeat(self, now: float) -> bool:
        """Whether one more repeat is within the budget; if so, it is counted."""
        slot = self._slot(now)
        if sum(self._repeats) >= max(_ALWAYS, self.ratio * sum(self._requests)):
            return False
        self._repeats[slot] += 1
        return True

    def _slot(self, now: float) -> int:
        """The place of this second. Those of the seconds since the last call are emptied."""
        second = int(now)
        if second > self._newest:
            for passed in range(max(self._newest + 1, second - _WINDOW_S + 1), second + 1):
                self._requests[passed % _WINDOW_S] = 0
                self._repeats[passed % _WINDOW_S] = 0
            self._newest = second
        return second % _WINDOW_S
