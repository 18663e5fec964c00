"""Server-sent events as bytes: an incremental decoder.

Source: WHATWG HTML, section 9.2.6 (interpreting an event stream). Lines end in LF, CRLF or CR and
nowhere else, so text is never split at U+2028 and its like; bytes may be cut anywhere, within a
CRLF and within a character too.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from bitrouter.errors import BadResponse

_BOM: Final = b"\xef\xbb\xbf"
# Atomic, so that no CRLF is taken for two line ends.
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


class SSEEvent(msgspec.Struct, frozen=True, gc=False):
    """One event: its `event:` field (empty if it had none) and its `data:` lines joined by LF."""

    name: bytes
    data: bytes


class SSEDecoder:
    """Turns the chunks of a stream into events, in time linear in their bytes.

    After each `feed`, `passed` is the raw bytes up to the end of the last whole event, which is
    the very object that was fed where a chunk ends with its event, as nearly all do.

    An event larger than `max_event_bytes` raises BadResponse: the upstream is not trusted to end
    what it began.
    """

    __slots__ = ("_has_cr", "_max_event_bytes", "_pending", "_searched", "_started", "passed")

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._pending = bytearray()
        self._searched = 0
        self._has_cr = False
        self._started = False
        self.passed = b""

    @property
    def held(self) -> int:
        """How many bytes of an event there are whose end has not come."""
        return len(self._pending)

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """The events that `chunk` completes."""
        if self._pending or self._has_cr or b"\r" in chunk:
            return self._feed_any(chunk)
        end = len(chunk) - 2
        if end >= self._max_event_bytes or not chunk.endswith(b"\n\n"):
            return self._feed_any(chunk)
        # Nearly every chunk is one event: its data in one line, with its name before that or not.
        cut = chunk.find(b"\n")
        if cut == end and chunk.startswith(b"data: "):
            event = SSEEvent(b"", chunk[6:end])
        elif (
            chunk.startswith(b"event: ")
            and chunk.startswith(b"data: ", cut + 1)
            and chunk.find(b"\n", cut + 1) == end
        ):
            event = SSEEvent(chunk[7:cut], chunk[cut + 7 : end])
        else:
            return self._feed_any(chunk)
        self._started = True
        self.passed = chunk
        return [event] if event.data else []

    def _feed_any(self, chunk: bytes) -> list[SSEEvent]:
        """The same for a chunk that is not one event."""
        if self._has_cr or b"\r" in chunk:
            return self._feed_with_cr(chunk)
        if self._pending:
            self._pending += chunk
            # The blank line may have begun in the chunk before.
            if self._pending.find(b"\n\n", max(self._searched - 1, 0)) < 0:
                self._keep_pending()
                self.passed = b""
                return []
            chunk = bytes(self._pending)
            self._pending.clear()
            self._searched = 0
        *blocks, rest = chunk.split(b"\n\n")
        if len(chunk) > self._max_event_bytes:
            self._check_sizes(blocks)
        if rest:
            self._pending += rest
            self._keep_pending()
            chunk = chunk[: -len(rest)]
        self.passed = chunk
        return self._parse(blocks) if blocks else []

    def finish(self) -> list[SSEEvent]:
        """What stands unterminated at the end of the stream, as some servers leave it."""
        self.passed = bytes(self._pending)
        self._pending.clear()
        return self._parse([_with_lf_only(self.passed)])

    def _feed_with_cr(self, chunk: bytes) -> list[SSEEvent]:
        """The same for a stream with other line ends than LF, of which a server has but one kind.

        A blank line that ends in CR counts at once. The LF that may follow stands at the start of
        the next event then, where a line end says nothing.
        """
        self._has_cr = True
        start = max(self._searched - 2, 0)  # the first of its line ends may have come before
        self._pending += chunk
        blocks = []
        end = 0
        for blank in _BLANK_LINE.finditer(self._pending, start):
            blocks.append(_with_lf_only(bytes(self._pending[end : blank.start()])))
            end = blank.end()
        if end > self._max_event_bytes:
            self._check_sizes(blocks)
        self.passed = bytes(self._pending[:end])
        del self._pending[:end]
        self._keep_pending()
        return self._parse(blocks) if blocks else []

    def _keep_pending(self) -> None:
        self._searched = len(self._pending)
        if self._searched > self._max_event_bytes:
            raise self._too_large()

    def _check_sizes(self, blocks: list[bytes]) -> None:
        if any(len(block) > self._max_event_bytes for block in blocks):
            raise self._too_large()

    def _too_large(self) -> BadResponse:
        return BadResponse(
            f"the upstream sent a stream event larger than {self._max_event_bytes} bytes"
            " (limits.max_event_bytes)"
        )

    def _parse(self, blocks: list[bytes]) -> list[SSEEvent]:
        if not self._started:
            self._started = True
            blocks[0] = blocks[0].removeprefix(_BOM)
        events = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:  # what nearly every event is
                if len(block) > 6:
                    events.append(SSEEvent(b"", block[6:]))
            elif event := _parse_block(block):
                events.append(event)
        return events


def keep_events(raw: bytes, is_kept: Callable[[SSEEvent], bool]) -> bytes:
    """`raw`, which is whole events, without those that are not kept; the others byte for byte."""
    kept = []
    start = 0
    for blank in _BLANK_LINE.finditer(raw):
        block = raw[start : blank.start()]
        event = _parse_block(_with_lf_only(block.removeprefix(_BOM)))
        if event is None or is_kept(event):
            kept.append(raw[start : blank.end()])
        start = blank.end()
    kept.append(raw[start:])
    return b"".join(kept)


def _with_lf_only(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _parse_block(block: bytes) -> SSEEvent | None:
    name = b""
    lines = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
    data = b"\n".join(lines)
    return SSEEvent(name, data) if data else None
