"""The same warning over and over: a few of it, and how many were left out."""

import logging
import time
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 10.0
SAME: Final = 5  # lines in a window that say the very same
ALIKE: Final = 50  # lines in a window that differ in names and numbers alone
_MAX_KEPT: Final = 1000  # different lines that are told apart


class Repeats(logging.Filter):
    """Lets through what is worth reading, from warnings upwards; what was done is always told.

    A provider that fails at a thousand requests a second would write as many lines. Of those that
    say the same a window has `SAME`, of those that differ in their arguments alone `ALIKE`. At its
    end `emit` is given a record that says how many of each were left out.
    """

    def __init__(
        self,
        emit: Callable[[logging.LogRecord], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._emit = emit
        self._clock = clock
        self._ends_at = 0.0
        self._same: dict[tuple[str, str], int] = {}
        self._alike: dict[str, int] = {}
        self._left_out: dict[str, tuple[logging.LogRecord, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it."""
        if record.levelno < logging.WARNING:
            return True
        self.tell()
        template = str(record.msg)
        alike = self._alike[template] = self._alike.get(template, 0) + 1
        if alike <= ALIKE and self._count_same(template, record) <= SAME:
            return True
        first, number = self._left_out.get(template, (record, 0))
        self._left_out[template] = first, number + 1
        return False

    def _count_same(self, template: str, record: logging.LogRecord) -> int:
        key = (template, repr(record.args))
        number = self._same.get(key, 0) + 1
        if number > 1 or len(self._same) < _MAX_KEPT:
            self._same[key] = number
        return number

    def tell(self) -> None:
        """If the window has ended, say what was left out in it, and begin another one."""
        now = self._clock()
        if now < self._ends_at:
            return
        self._ends_at = now + WINDOW_S
        left_out, self._left_out = self._left_out, {}
        self._same.clear()
        self._alike.clear()
        for record, number in left_out.values():
            self._emit(_summary(record, number))


def _summary(record: logging.LogRecord, number: int) -> logging.LogRecord:
    """`record` is the first that was left out, and stands for the others."""
    return logging.LogRecord(
        record.name,
        record.levelno,
        record.pathname,
        record.lineno,
        "%d more lines like this were left out within %g s: %s",
        (number, WINDOW_S, record.getMessage()),
        None,
    )
