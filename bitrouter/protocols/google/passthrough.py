"""Gemini streams on their way to a Gemini client, in the framing that it asked for.

A stream comes from the provider as it goes to the client, byte for byte, with one exception: the
newline-delimited form is the founding API document's own and no provider has it, so it is made of
the events of an SSE stream. An element is one GenerateContentResponse.
"""

from collections import deque
from typing import Final

import msgspec

from bitrouter.errors import RouterError
from bitrouter.ir import Failure, Usage
from bitrouter.jsonarray import JSONArrayDecoder
from bitrouter.protocols.base import brief, decode_part
from bitrouter.protocols.google.error import encode_error, failure_in
from bitrouter.protocols.google.framing import escaped
from bitrouter.protocols.google.usage import UsageHolder
from bitrouter.protocols.passthrough import SSEPassthrough, cut_stream
from bitrouter.sse import SSEEvent


class _Candidate(msgspec.Struct, rename="camel"):
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Element(UsageHolder, rename="camel"):
    candidates: tuple[_Candidate, ...] = ()
    prompt_feedback: _Feedback | None = None


_element: Final = msgspec.json.Decoder(_Element)


class Elements:
    """The newest elements of a stream, undecoded: where usage and finish reason stand."""

    def __init__(self) -> None:
        self._last: deque[bytes] = deque(maxlen=4)

    def add(self, element: bytes) -> Failure | None:
        """Remember an element. Returns what it says if it is an error."""
        element = brief(element)
        self._last.append(element)
        return failure_in(element) if b'"error"' in element else None

    @property
    def finished(self) -> bool:
        """Whether a finish reason has come, or the reason why the prompt was blocked."""
        return any(_is_final(element) for element in self._last)

    @property
    def usage(self) -> Usage | None:
        """The newest usage; it is cumulative where it comes with every element."""
        for element in reversed(self._last):
            if b'"usageMetadata"' not in element:
                continue
            part = decode_part(_element, element)
            if part is not None and part.usage_metadata is not None:
                return part.usage_metadata.neutral()
        return None


def _is_final(element: bytes) -> bool:
    part = decode_part(_element, element)
    if part is None:
        return False
    blocked = part.prompt_feedback is not None and part.prompt_feedback.block_reason is not None
    return blocked or any(candidate.finish_reason for candidate in part.candidates)


class GoogleSSEPassthrough(SSEPassthrough):
    """`alt=sse`: no event names, no [DONE]; a finish reason is the only sign of the end."""

    def __init__(self, max_event_bytes: int) -> None:
        super().__init__(max_event_bytes)
        self._elements = Elements()

    def observe(self, event: SSEEvent) -> None:
        """Remember the element; note an error."""
        self.failed = self._elements.add(event.data) or self.failed

    def conclude(self) -> None:
        """Look for the finish reason."""
        self.complete = self._elements.finished

    @property
    def usage(self) -> Usage | None:
        """See Elements.usage."""
        return self._elements.usage

    def fail(self, error: RouterError) -> bytes:
        """An element that is an error."""
        return b"data: %b\n\n" % encode_error(error).body


class NDJSONFromSSE(GoogleSSEPassthrough):
    """`"stream": true` in the body: each event of the provider's SSE stream becomes one line."""

    watches = False

    def __init__(self, max_event_bytes: int) -> None:
        super().__init__(max_event_bytes)
        self._lines: list[bytes] = []

    def observe(self, event: SSEEvent) -> None:
        """Remember the element, and make it a line."""
        super().observe(event)
        self._lines.append(one_line(event.data))

    def feed(self, chunk: bytes) -> bytes:
        """The lines for the events that `chunk` completes."""
        super().feed(chunk)
        return self._take_lines()

    def finish(self, error: RouterError | None = None) -> bytes:
        """The line of an unterminated last event, and an error if the answer was cut."""
        self.observe_rest()
        self.conclude()
        last = b"" if self.is_over else self.fail(error or cut_stream())
        return self._take_lines() + last

    def fail(self, error: RouterError) -> bytes:
        """A line that is an error."""
        return encode_error(error).body + b"\n"

    def _take_lines(self) -> bytes:
        lines = b"".join(self._lines)
        self._lines.clear()
        return lines


def one_line(element: bytes) -> bytes:
    """The element as one line of newline-delimited JSON.

    A line end in it can only be white space between its tokens.
    """
    return escaped(element.replace(b"\n", b" ")) + b"\n"


class ArrayPassthrough:
    """No `alt`: one JSON array, written element by element. Its closing bracket is the end."""

    def __init__(self, max_event_bytes: int) -> None:
        self._decoder = JSONArrayDecoder(max_event_bytes)
        self._elements = Elements()
        self.started = False
        self.progressed = False
        self.complete = False
        self.failed: Failure | None = None

    @property
    def held(self) -> int:
        """See Transform.held."""
        return self._decoder.held

    @property
    def usage(self) -> Usage | None:
        """See Elements.usage."""
        return self._elements.usage

    def feed(self, chunk: bytes) -> bytes:
        """Look at `chunk` and give back all whole elements."""
        self.progressed = False
        for element in self._decoder.feed(chunk):
            self.started = self.progressed = True
            self.failed = self._elements.add(element) or self.failed
        if self._decoder.complete:
            self.complete = self._elements.finished
        return self._decoder.passed

    def finish(self, error: RouterError | None = None) -> bytes:
        """The end of the upstream's bytes; an error element if they were not the whole answer."""
        if self.complete:
            return b""
        if self.failed is not None:
            return b"" if self._decoder.complete else b"]"
        return self.fail(error or cut_stream())

    def fail(self, error: RouterError) -> bytes:
        """A last element that is an error, and the array's end, if that is still possible."""
        if self._decoder.complete:
            return b""
        return (b"," if self.started else b"[") + encode_error(error).body + b"]"
