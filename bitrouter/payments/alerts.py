"""Warnings that one bad hour of a service must not repeat thousands of times."""

import logging
import time
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger("bitrouter.payments")

_EVERY_S: Final = 30.0
_MAX_TEXT: Final = 200


class Alerts:
    """Writes a line of each kind at most every `every_s` seconds, and how many were left out."""

    def __init__(
        self, every_s: float = _EVERY_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._monotonic = monotonic
        self._last: dict[str, tuple[float, int]] = {}

    def warn(self, kind: str, message: str, *values: object) -> None:
        """Something that passes. `kind` is one of few words of our own, `message` its format."""
        self._tell(logging.WARNING, kind, message, values)

    def error(self, kind: str, message: str, *values: object) -> None:
        """Something that somebody must see to."""
        self._tell(logging.ERROR, kind, message, values)

    def _tell(self, level: int, kind: str, message: str, values: tuple[object, ...]) -> None:
        now = self._monotonic()
        last, left_out = self._last.get(kind, (-self._every_s, 0))
        if now - last < self._every_s:
            self._last[kind] = (last, left_out + 1)
            return
        self._last[kind] = (now, 0)
        more = f" ({left_out} more like this were left out)" if left_out else ""
        _log.log(level, message + more, *(str(value)[:_MAX_TEXT] for value in values))
