"""Answers that go to a client of the same protocol: the bytes untouched, watched as they pass.

Nothing here changes a byte of what the protocol's clients can read. An event that is no JSON is
left out, or a client would stumble over it; an end marker that the server forgot is added to an
answer that had come to its end. The events of a chunk are looked at, for usage, for the provider's
own error event and for the end that tells a complete answer from a cut one; then the chunk goes on
as the object that it came as. Only an event that is cut in two waits for its end, so that a client
never holds half an event, whatever has to follow.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from bitrouter.errors import BadResponse, RouterError
from bitrouter.ir import Failure, Usage
from bitrouter.protocols.base import NOT_DECODED, brief, check_json, is_json
from bitrouter.slices import LARGE
from bitrouter.sse import SSEDecoder, SSEEvent, keep_events


class SSEPassthrough(ABC):
    """A stream of server-sent events on its way to a client of the same protocol."""

    def __init__(self, max_event_bytes: int) -> None:
        self._decoder = SSEDecoder(max_event_bytes)
        self.leaves_out = False  # of the events of the chunk that is looked at
        self.started = False
        self.progressed = False
        self.complete = False
        self.failed: Failure | None = None

    end_marker: ClassVar[bytes] = b""
    """What ends a stream, beyond the event that says so, in this protocol."""

    watches: ClassVar[bool] = True
    """Whether what is in the events is only looked at: of large ones their outline is enough."""

    @property
    def held(self) -> int:
        """See Transform.held."""
        return self._decoder.held

    end_word: ClassVar[bytes] = b""
    """The data of the one event that is no JSON and yet belongs to this protocol."""

    @property
    @abstractmethod
    def usage(self) -> Usage | None:
        """What the events so far say of the usage."""

    @abstractmethod
    def observe(self, event: SSEEvent) -> None:
        """Look at one event."""

    @abstractmethod
    def fail(self, error: RouterError) -> bytes:
        """The protocol's own error event."""

    def conclude(self) -> None:  # noqa: B027 - most protocols have nothing to add
        """Look for the end of the answer in what has passed, where no marker told it."""

    def is_whole(self, event: SSEEvent) -> bool:
        """Whether an event that has no blank line after it can be all that was meant."""
        return event.data == self.end_word or is_json(event.data)

    def is_kept(self, event: SSEEvent) -> bool:
        """Whether an event goes on, where `leaves_out` says that not all of them do."""
        return self.is_whole(event)

    @property
    def is_over(self) -> bool:
        """Whether the answer came to its end, be it the provider's own error."""
        return self.complete or self.failed is not None

    def feed(self, chunk: bytes) -> bytes:
        """Look at `chunk` and give back all whole events."""
        decoder = self._decoder
        self._observe_all(decoder.feed(chunk))
        if self.leaves_out:
            self.leaves_out = False
            return keep_events(decoder.passed, self.is_kept)
        return decoder.passed

    def finish(self, error: RouterError | None = None) -> bytes:
        """The end of the upstream's bytes; an error event if they were not the whole answer."""
        rest = self.observe_rest()
        if self.is_over:
            return rest
        self.conclude()
        if not self.complete:
            return self.fail(error or cut_stream())
        if rest.strip() and self.end_marker:  # an event without its blank line
            rest = rest.rstrip(b"\r\n") + b"\n\n"
        return rest + self.end_marker

    def observe_rest(self) -> bytes:
        """Look at what has no blank line after it, and give it back unless it was cut."""
        events = self._decoder.finish()
        rest = self._decoder.passed
        if events:
            whole = all(self.is_whole(event) for event in events)
        else:
            whole = rest.endswith((b"\n", b"\r"))
        if whole:
            self._observe_all(events)
        return rest if whole else b""

    def _observe_all(self, events: list[SSEEvent]) -> None:
        self.progressed = bool(events)
        if len(self._decoder.passed) > LARGE and self.watches:
            events = [SSEEvent(event.name, brief(event.data)) for event in events]
        for event in events:
            try:  # what `is_whole` says, two calls shorter for each event
                check_json(event.data)
            except NOT_DECODED:
                if event.data != self.end_word:
                    self.leaves_out = True
                    continue
            self.started = True
            self.observe(event)


def cut_stream() -> BadResponse:
    """The error for a stream that ended before its protocol's own end."""
    return BadResponse("the upstream closed the stream before the answer was complete")
