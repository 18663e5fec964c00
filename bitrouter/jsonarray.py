"""A JSON array that is written element by element, as Google streams without `alt=sse`."""

import re
from typing import Final

from bitrouter.errors import BadResponse

_OUTSIDE: Final = re.compile(rb'["{}\[\]]')
_INSIDE: Final = re.compile(rb'["\\]')
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_OPENING: Final = frozenset(b"{[")


class JSONArrayDecoder:
    """Turns the chunks of one JSON array into the bytes of its elements (objects or arrays).

    Scalars between the elements, of which Google's streams have none, are passed over. An element
    larger than `max_element_bytes` raises BadResponse. Malformed JSON is not detected here; the
    element's decoder will. Time is linear in the bytes, however they are cut.

    After each `feed`, `passed` is the raw bytes up to the end of the last whole element, so that
    what has been sent can always be continued by a comma and another element.
    """

    __slots__ = (
        "_boundary",
        "_buffer",
        "_depth",
        "_in_string",
        "_max_element_bytes",
        "_scanned",
        "_start",
        "complete",
        "passed",
    )

    def __init__(self, max_element_bytes: int) -> None:
        self._max_element_bytes = max_element_bytes
        self._buffer = bytearray()
        self._scanned = 0  # one past the end when the last byte was a backslash in a string
        self._start = 0
        self._depth = 0
        self._in_string = False
        self._boundary = 0
        self.complete = False
        self.passed = b""

    @property
    def held(self) -> int:
        """How many bytes of an element there are whose end has not come."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The elements that `chunk` completes."""
        self._buffer += chunk
        elements: list[bytes] = []
        while mark := (_INSIDE if self._in_string else _OUTSIDE).search(
            self._buffer, self._scanned
        ):
            self._scanned = mark.end()
            self._step(self._buffer[mark.start()], elements)
        self._scanned = max(self._scanned, len(self._buffer))
        self._pass_what_is_done()
        return elements

    def _step(self, mark: int, elements: list[bytes]) -> None:
        if mark == _QUOTE:
            self._in_string = not self._in_string
        elif mark == _BACKSLASH:
            self._scanned += 1
        elif mark in _OPENING:
            self._depth += 1
            if self._depth == 2:
                self._start = self._scanned - 1
        else:
            self._depth -= 1
            if self._depth == 1:
                elements.append(self._element())
            elif self._depth == 0:
                self.complete = True
            if self._depth <= 1:
                self._boundary = self._scanned

    def _pass_what_is_done(self) -> None:
        if self.complete:
            self._boundary = len(self._buffer)
        self.passed = bytes(self._buffer[: self._boundary])
        del self._buffer[: self._boundary]
        self._scanned -= self._boundary
        self._start -= self._boundary
        self._boundary = 0
        self._check_size(len(self._buffer))

    def _element(self) -> bytes:
        self._check_size(self._scanned - self._start)
        return bytes(self._buffer[self._start : self._scanned])

    def _check_size(self, size: int) -> None:
        if size > self._max_element_bytes:
            raise BadResponse(
                f"the upstream sent a stream element larger than {self._max_element_bytes} bytes"
                " (limits.max_event_bytes)"
            )
