"""Streams of Messages events on their way to a Messages client."""

from typing import Final

import msgspec

from bitrouter.errors import RouterError
from bitrouter.ir import Usage
from bitrouter.protocols.anthropic.error import error_event, failure_in
from bitrouter.protocols.anthropic.usage import MessagesUsage, UsageHolder
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.passthrough import SSEPassthrough
from bitrouter.sse import SSEEvent


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    message: UsageHolder | None = None
    usage: MessagesUsage | None = None
    delta: _Delta | None = None


_event: Final = msgspec.json.Decoder(_Event)


class AnthropicPassthrough(SSEPassthrough):
    """Decodes only the events at the two ends, told by the `event:` line that is always there."""

    end_marker = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

    def __init__(self, max_event_bytes: int, request_id: str) -> None:
        super().__init__(max_event_bytes)
        self._request_id = request_id
        self._usage: MessagesUsage | None = None
        self._stopped = False

    def observe(self, event: SSEEvent) -> None:
        """Note usage, the stop reason, the end, an error."""
        if event.name == b"content_block_delta":
            return
        if event.name == b"message_stop":
            self.complete = True
        elif event.name == b"error":
            self.failed = failure_in(event.data)
        elif event.name in (b"message_start", b"message_delta"):
            self._read_ends(event.data)

    def _read_ends(self, data: bytes) -> None:
        event = decode_part(_event, data)
        if event is None:
            return
        newer = event.message.usage if event.message else event.usage
        if newer:
            self._usage = self._usage.updated(newer) if self._usage else newer
        self._stopped = self._stopped or bool(event.delta and event.delta.stop_reason)

    def conclude(self) -> None:
        """A stop reason ends an answer, though message_stop never came."""
        self.complete = self.complete or self._stopped

    @property
    def usage(self) -> Usage | None:
        """What message_start said, overwritten by message_delta."""
        return self._usage.neutral() if self._usage else None

    def fail(self, error: RouterError) -> bytes:
        """The error event."""
        return error_event(error, self._request_id)
