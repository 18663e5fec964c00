"""A provider's stream of Messages events (protocols.md, 1.3 and 2.9)."""

from collections.abc import Callable
from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.protocols.anthropic import types
from bitrouter.protocols.anthropic.carriers import ORIGIN
from bitrouter.protocols.anthropic.decode_answer import citation_of
from bitrouter.protocols.anthropic.error import failure_in
from bitrouter.protocols.anthropic.finish import decode_finish
from bitrouter.protocols.anthropic.tool_input import input_text
from bitrouter.protocols.anthropic.usage import MessagesUsage
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.blocks import OpenBlocks
from bitrouter.protocols.history import hashed
from bitrouter.protocols.passthrough import cut_stream
from bitrouter.sse import SSEEvent

_message_start: Final = msgspec.json.Decoder(types.MessageStart)
_message_delta: Final = msgspec.json.Decoder(types.MessageDelta)
_block_start: Final = msgspec.json.Decoder(types.BlockStart)
_block_delta: Final = msgspec.json.Decoder(types.BlockDelta)
_block_stop: Final = msgspec.json.Decoder(types.BlockStop)

_NO_BLOCK: Final = -1
_SKIPPED: Final = -2  # the open block is of a kind that nobody else knows


class MessagesStreamDecoder:
    """See translator.StreamDecoder.

    Blocks do not overlap on this wire. Should a server let them, what belongs to a later block
    waits until the earlier one has ended, so that no two mix.
    """

    def __init__(self) -> None:
        self._usage: MessagesUsage | None = None
        self._started = False
        self._over = False
        self._blocks = OpenBlocks()
        self._wire_index = _NO_BLOCK  # of the block that is open on the wire
        self._index = _NO_BLOCK  # the same block's number in the neutral events
        self._block: types.StartedBlock | None = None
        self._takes = ""  # the type of its deltas
        self._signature = ""
        self._wrote = False
        self._waiting: list[SSEEvent] = []
        self._id = ""
        self._called = False
        self._change: types.MessageChange | None = None

    @property
    def usage(self) -> ir.Usage | None:
        """What message_start said, overwritten by message_delta."""
        return self._usage.neutral() if self._usage else None

    def decode(self, event: SSEEvent) -> list[ir.Event]:
        """See StreamDecoder.decode."""
        if self._over:
            return []
        out: list[ir.Event] = []
        if event.name == b"content_block_delta":
            self._delta(event, out)
            return out
        read = _READERS.get(event.name) or _READERS.get(_type_of(event.data))
        if read is not None:
            read(self, event, out)
        return out

    def finish(self) -> list[ir.Event]:
        """See StreamDecoder.finish. A stop reason ends an answer without message_stop, too."""
        if self._over:
            return []
        out: list[ir.Event] = []
        if self._change is None or self._change.stop_reason is None:
            self._fail(ir.Failure(502, cut_stream().detail), out)
        else:
            self._end(out)
        return out

    # -- the ends of the message --------------------------------------------------------------

    def _message_start(self, event: SSEEvent, out: list[ir.Event]) -> None:
        decoded = decode_part(_message_start, event.data)
        message = decoded.message if decoded and decoded.message else types.StartedMessage()
        self._update_usage(message.usage)
        self._id = message.id or ""
        self._start(out, message.id, message.model)

    def _start(
        self, out: list[ir.Event], answer_id: str | None = None, model: str | None = None
    ) -> None:
        if not self._started:
            self._started = True
            out.append(ir.Start(answer_id, model, self.usage))

    def _message_delta(self, event: SSEEvent, out: list[ir.Event]) -> None:
        decoded = decode_part(_message_delta, event.data)
        if decoded is None:
            return
        self._update_usage(decoded.usage)
        if decoded.delta is not None and (self._change is None or decoded.delta.stop_reason):
            self._change = decoded.delta

    def _update_usage(self, raw: msgspec.Raw) -> None:
        newer = decode_part(types.usage, raw)
        if newer is not None:
            self._usage = self._usage.updated(newer) if self._usage else newer

    def _message_stop(self, event: SSEEvent, out: list[ir.Event]) -> None:
        self._end(out)

    def _end(self, out: list[ir.Event]) -> None:
        self._start(out)
        while self._wire_index != _NO_BLOCK or self._waiting:
            self._close(out)
        change = self._change or types.MessageChange()
        finish = decode_finish(
            change.stop_reason, change.stop_sequence, change.stop_details, called=self._called
        )
        out += [ir.Finished(finish), ir.End(self.usage)]
        self._over = True

    def _error(self, event: SSEEvent, out: list[ir.Event]) -> None:
        self._fail(failure_in(event.data), out)

    def _fail(self, failure: ir.Failure, out: list[ir.Event]) -> None:
        out.append(ir.Failed(failure))
        self._over = True

    # -- blocks -------------------------------------------------------------------------------

    def _block_start(self, event: SSEEvent, out: list[ir.Event]) -> None:
        start = decode_part(_block_start, event.data)
        if start is None or self._must_wait(start.index, event):
            return
        self._start(out)
        self._open(start.index, start.content_block, out)

    def _must_wait(self, wire_index: int, event: SSEEvent) -> bool:
        if self._wire_index in (_NO_BLOCK, wire_index):
            return False
        self._waiting.append(event)
        return True

    def _open(self, wire_index: int, block: types.StartedBlock, out: list[ir.Event]) -> None:
        self._wire_index = wire_index
        start = self._neutral_start(block)
        self._block = block
        self._takes = _DELTAS.get(block.type, "")
        self._signature = block.signature or ""
        self._wrote = False
        if start is None:
            self._index = _SKIPPED
            return
        self._index = self._blocks.start(out, start)
        written = block.text if start.kind == "text" else block.thinking
        if written and start.kind != "tool_call" and not start.redacted:
            out.append(ir.Delta(self._index, written))

    def _neutral_start(self, block: types.StartedBlock) -> ir.BlockStart | None:
        match block.type:
            case "text":
                return ir.BlockStart(0, "text")
            case "thinking":
                return ir.BlockStart(0, "reasoning")
            case "redacted_thinking" if block.data:
                return ir.BlockStart(0, "reasoning", redacted=True)
            case "tool_use" if block.name:
                self._called = True
                return ir.BlockStart(0, "tool_call", id=self._call_id(block), name=block.name)
            case _:
                return None

    def _call_id(self, block: types.StartedBlock) -> str:
        """The id of a call: one of our own if the server, imitating the API, leaves it out."""
        return block.id or f"toolu_{hashed(f'{self._id} {self._wire_index} {block.name}')}"

    def _delta(self, event: SSEEvent, out: list[ir.Event]) -> None:
        decoded = decode_part(_block_delta, event.data)
        if decoded is None:
            return
        if decoded.index != self._wire_index:
            if self._must_wait(decoded.index, event):
                return
            self._open_unannounced(decoded, out)
        if self._index >= 0:
            self._fragment(decoded.delta, out)

    def _open_unannounced(self, decoded: types.BlockDelta, out: list[ir.Event]) -> None:
        """A delta of a block that no event began."""
        kind = _KINDS_BY_DELTA.get(decoded.delta.type, "")
        self._start(out)
        self._open(decoded.index, types.StartedBlock(kind), out)

    def _fragment(self, delta: types.BlockFragment, out: list[ir.Event]) -> None:
        kind = delta.type
        if kind == self._takes:
            text = delta.text if kind == "text_delta" else delta.partial_json or delta.thinking
            if text:
                self._wrote = True
                out.append(ir.Delta(self._index, text))
        elif kind == "signature_delta":
            self._signature = delta.signature or self._signature
        elif kind == "citations_delta":
            self._cite(delta, out)

    def _cite(self, delta: types.BlockFragment, out: list[ir.Event]) -> None:
        if self._block is None or self._block.type != "text":
            return
        given = decode_part(types.web_citation, delta.citation)
        citation = citation_of(given) if given else None
        if citation is not None:
            out.append(ir.Cited(self._index, citation))

    def _block_stop(self, event: SSEEvent, out: list[ir.Event]) -> None:
        stop = decode_part(_block_stop, event.data)
        if stop is None or self._must_wait(stop.index, event):
            return
        if stop.index == self._wire_index:
            self._close(out)

    def _close(self, out: list[ir.Event]) -> None:
        """End the block that is open, and go on with what had to wait for that."""
        if self._index >= 0 and self._block is not None:
            self._complete(self._block, out)
            self._blocks.end(out)
        self._wire_index = self._index = _NO_BLOCK
        self._block = None
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            out += self.decode(event)

    def _complete(self, block: types.StartedBlock, out: list[ir.Event]) -> None:
        """What is said of a block at its end."""
        if block.type == "tool_use":
            if not self._wrote:
                out.append(ir.Delta(self._index, input_text(block.input)))
        elif block.type != "text":
            value = block.data if block.type == "redacted_thinking" else self._signature
            out.append(ir.Signed(self._index, ir.Signature(ORIGIN, value or "")))


_DELTAS: Final = {
    "text": "text_delta",
    "thinking": "thinking_delta",
    "tool_use": "input_json_delta",
}
_KINDS_BY_DELTA: Final = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
}
_Reader = Callable[[MessagesStreamDecoder, SSEEvent, list[ir.Event]], None]
_READERS: Final[dict[bytes, _Reader]] = {
    b"message_start": MessagesStreamDecoder._message_start,
    b"content_block_start": MessagesStreamDecoder._block_start,
    b"content_block_delta": MessagesStreamDecoder._delta,
    b"content_block_stop": MessagesStreamDecoder._block_stop,
    b"message_delta": MessagesStreamDecoder._message_delta,
    b"message_stop": MessagesStreamDecoder._message_stop,
    b"error": MessagesStreamDecoder._error,
}


def _type_of(data: bytes) -> bytes:
    """The type in the data, for servers that leave out the `event:` line; errors have been seen to
    leave out that as well.
    """
    decoded = decode_part(types.typed, data)
    if decoded is None:
        return b""
    if decoded.type:
        return decoded.type.encode()
    return b"" if bytes(decoded.error) == b"null" else b"error"
