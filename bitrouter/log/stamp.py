"""The time at the beginning of a line."""

import time


class Stamp:
    """Says what time it is in UTC, to the millisecond. The text of a second is made once."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self) -> str:
        """As 2026-01-31T23:59:59.999Z."""
        now = time.time()  # noqa: TID251 - a timestamp to show, not a duration
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._text}{int((now - second) * 1000):03d}Z"
