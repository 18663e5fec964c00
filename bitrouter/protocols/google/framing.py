"""How the elements of a stream to a Gemini client are set apart (protocols.md, 1.4, "Stream").

Server-sent events have no names, no comments and no last word; newline-delimited JSON is the
founding API document's own; an array is what `alt` not being given means.
"""

from typing import Final

from bitrouter.protocols.base import Framing

# Legal in JSON strings, and older google-genai cuts lines there (protocols.md, 3.3): escaped.
_SEPARATORS: Final = (
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
    ("\u0085".encode(), rb"\u0085"),
)


def escaped(element: bytes) -> bytes:
    """JSON without the characters that some take for line ends."""
    for character, escape in _SEPARATORS:
        if character in element:
            element = element.replace(character, escape)
    return element


class Frames:
    """The bytes before and after each element: `before` is of the next one."""

    __slots__ = ("_is_array", "after", "before")

    def __init__(self, framing: Framing) -> None:
        self._is_array = framing is Framing.ARRAY
        self.before = b"["
        self.after = b""
        if framing is Framing.SSE:
            self.before, self.after = b"data: ", b"\n\n"
        elif framing is Framing.NDJSON:
            self.before, self.after = b"", b"\n"

    def begin(self) -> bytes:
        """What stands before an element that is about to be written."""
        before = self.before
        if self._is_array:
            self.before = b",\n"
        return before

    def end(self) -> bytes:
        """What stands after the last element."""
        return b"]" if self._is_array else b""
