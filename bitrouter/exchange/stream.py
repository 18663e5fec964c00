"""A stream on its way from one protocol to another."""

from collections.abc import Callable, Sequence

from bitrouter.errors import RouterError, StreamFailed
from bitrouter.exchange.memory import StreamNotes
from bitrouter.exchange.restore import StreamRestorer, needs_restoring
from bitrouter.ir import Block, End, Event, Failed, Failure, Usage
from bitrouter.protocols.passthrough import cut_stream
from bitrouter.protocols.translator import Encoded, StreamDecoder, StreamEncoder
from bitrouter.sse import SSEDecoder


class TranslatedStream:
    """Decoder, neutral events, encoder. See protocols.base.Transform.

    All that a chunk says is one piece of bytes for the client. What the answer's calls came with
    goes to `keep` when the answer is complete.
    """

    def __init__(
        self,
        decoder: StreamDecoder,
        encoder: StreamEncoder,
        encoded: Encoded,
        *,
        keep: Callable[[Sequence[Block]], None],
        max_event_bytes: int,
    ) -> None:
        self._sse = SSEDecoder(max_event_bytes)
        self._decoder = decoder
        self._encoder = encoder
        self._restorer = StreamRestorer(encoded) if needs_restoring(encoded) else None
        self._notes = StreamNotes()
        self._keep = keep
        self.started = False
        self.progressed = False
        self.complete = False
        self.failed: Failure | None = None

    @property
    def held(self) -> int:
        """See Transform.held."""
        return self._sse.held

    @property
    def usage(self) -> Usage | None:
        """What the decoder has read of it."""
        return self._decoder.usage

    def feed(self, chunk: bytes) -> bytes:
        """The client's bytes for what `chunk` completes."""
        decode = self._decoder.decode
        events: list[Event] = []
        seen = self._sse.feed(chunk)
        self.progressed = bool(seen)
        for one in seen:
            events += decode(one)
        return self._encode(events)

    def finish(self, error: RouterError | None = None) -> bytes:
        """The upstream's bytes have ended, by `error` if there is one: the rest of the answer, or
        an error event if it is not all there.
        """
        events: list[Event] = []
        for one in self._sse.finish():
            events += self._decoder.decode(one)
        if not self._is_over(events):
            events += self._decoder.finish()
            if events and isinstance(events[-1], Failed):
                events.pop()
                return self._encode(events) + self.fail(error or cut_stream())
        return self._encode(events)

    def fail(self, error: RouterError) -> bytes:
        """The protocol's own error event."""
        return self._encoder.fail(error)

    def _is_over(self, events: Sequence[Event]) -> bool:
        over = self.complete or self.failed is not None
        return over or (bool(events) and isinstance(events[-1], End | Failed))

    def _encode(self, events: list[Event]) -> bytes:
        if not events:
            return b""
        self.started = True
        last = events[-1]
        if isinstance(last, Failed):
            return self._give_up(events[:-1], last.failure)
        if self._restorer is not None:
            events = self._restorer.restored(events)
        self._notes.note(events)
        if isinstance(last, End):
            self.complete = True
            self._keep(self._notes.blocks())
        return self._encoder.encode(events)

    def _give_up(self, events: list[Event], failure: Failure) -> bytes:
        self.failed = failure
        sent = self._encode(events)
        error = StreamFailed(failure.message, status=failure.status, code=failure.code)
        return sent + self.fail(error)
