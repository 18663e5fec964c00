"""A stream of Messages events for a client (protocols.md, 1.3, 2.10 and 3.3)."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from bitrouter import ir
from bitrouter.errors import RouterError
from bitrouter.protocols.anthropic.carriers import carried, citation_fields
from bitrouter.protocols.anthropic.error import error_event
from bitrouter.protocols.anthropic.finish import finish_fields
from bitrouter.protocols.anthropic.usage import usage_fields
from bitrouter.protocols.translator import Reply

_encode: Final = msgspec.json.Encoder().encode

_DELTA: Final = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
)
_DELTA_END: Final = b"}}\n\n"
_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_MESSAGE_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

# What a block's deltas are called, and the member that holds their text.
_TEXT: Final = (b"text_delta", b"text")
_THINKING: Final = (b"thinking_delta", b"thinking")
_INPUT: Final = (b"input_json_delta", b"partial_json")
_SIGNATURE: Final = (b"signature_delta", b"signature")


def _event(name: bytes, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, _encode(fields))


class MessagesStreamEncoder:
    """See translator.StreamEncoder. Only the first candidate is written.

    A block is begun when there is something in it to send. A call waits for what follows its start:
    if that is its signature with another vendor, it goes before it, in a block of thinking.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._usage: ir.Usage | None = None
        self._begun = 0  # blocks
        self._block: ir.BlockStart | None = None
        self._is_open = False  # on the wire
        self._delta_start = b""
        self._signature: ir.Signature | None = None
        self._wrote = False
        self._called = False
        self._finish = ir.Finish("stop")

    def encode(self, events: ir.Events) -> bytes:
        """See StreamEncoder.encode."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, ir.Delta):
                self._delta(event, out)
            else:
                _WRITERS[type(event)](self, event, out)
        return b"".join(out)

    def fail(self, error: RouterError) -> bytes:
        """See StreamEncoder.fail."""
        return error_event(error, self._reply.request_id)

    # -- blocks -------------------------------------------------------------------------------

    def _block_start(self, event: ir.BlockStart, out: list[bytes]) -> None:
        if event.candidate != 0:
            return
        self._block = event
        self._is_open = self._wrote = False
        self._signature = None

    def _delta(self, event: ir.Delta, out: list[bytes]) -> None:
        if self._block is None or self._block.index != event.index:
            return
        if not self._is_open:
            self._open(self._block, out)
        self._wrote = True
        text = event.text
        if self._block.custom:
            text = _encode(text)[1:-1].decode()
        out.append(self._delta_start + _encode(text) + _DELTA_END)

    def _signed(self, event: ir.Signed, out: list[bytes]) -> None:
        block = self._block
        if block is None or block.index != event.index:
            return
        if block.kind == "reasoning":
            self._signature = event.signature
        elif not self._is_open:
            self._begin({"type": "thinking", "thinking": "", "signature": ""}, _SIGNATURE, out)
            self._sign(event.signature, out)
            self._end(out)

    def _cited(self, event: ir.Cited, out: list[bytes]) -> None:
        if self._block is None or self._block.index != event.index:
            return
        if not self._is_open:
            self._open(self._block, out)
        delta = {"type": "citations_delta", "citation": citation_fields(event.citation)}
        fields = {"type": "content_block_delta", "index": self._begun - 1, "delta": delta}
        out.append(_event(b"content_block_delta", fields))

    def _block_end(self, event: ir.BlockEnd, out: list[bytes]) -> None:
        block = self._block
        if block is None or block.index != event.index:
            return
        match block.kind:
            case "reasoning":
                self._end_reasoning(block, out)
            case "tool_call":
                self._end_call(block, out)
            case "text" | "refusal":
                pass
        if self._is_open:
            self._end(out)
        self._block = None

    def _end_reasoning(self, block: ir.BlockStart, out: list[bytes]) -> None:
        if block.redacted:
            fields = {"type": "redacted_thinking", "data": carried(self._signature)}
            self._begin(fields, _SIGNATURE, out)
            return
        if not self._is_open and self._signature is not None:
            self._open(block, out)
        if self._is_open:
            self._sign(self._signature, out)

    def _end_call(self, block: ir.BlockStart, out: list[bytes]) -> None:
        if not self._is_open:
            self._open(block, out)
        if block.custom:
            self._write('"}', out)
        elif not self._wrote:
            self._write("{}", out)

    # -- the wire -----------------------------------------------------------------------------

    def _open(self, block: ir.BlockStart, out: list[bytes]) -> None:
        match block.kind:
            case "text" | "refusal":
                self._begin({"type": "text", "text": ""}, _TEXT, out)
            case "reasoning":
                self._begin({"type": "thinking", "thinking": "", "signature": ""}, _THINKING, out)
            case "tool_call":
                self._called = True
                fields = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
                self._begin(fields, _INPUT, out)
                if block.custom:
                    self._write('{"input":"', out)

    def _begin(self, fields: dict[str, Any], delta: tuple[bytes, bytes], out: list[bytes]) -> None:
        index = self._begun
        self._begun += 1
        self._is_open = True
        self._delta_start = _DELTA % (index, *delta)
        start = {"type": "content_block_start", "index": index, "content_block": fields}
        out.append(_event(b"content_block_start", start))

    def _write(self, text: str, out: list[bytes]) -> None:
        out.append(self._delta_start + _encode(text) + _DELTA_END)

    def _sign(self, signature: ir.Signature | None, out: list[bytes]) -> None:
        start = _DELTA % (self._begun - 1, *_SIGNATURE)
        out.append(start + _encode(carried(signature)) + _DELTA_END)

    def _end(self, out: list[bytes]) -> None:
        out.append(_STOP % (self._begun - 1))
        self._is_open = False

    # -- the ends of the message --------------------------------------------------------------

    def _start(self, event: ir.Start, out: list[bytes]) -> None:
        self._usage = event.usage
        message = {
            "id": self._reply.mint("msg_"),
            "type": "message",
            "role": "assistant",
            "model": self._reply.request.model,
            "content": (),
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_fields(event.usage),
        }
        out.append(_event(b"message_start", {"type": "message_start", "message": message}))

    def _finished(self, event: ir.Finished, out: list[bytes]) -> None:
        if event.candidate == 0:
            self._finish = event.finish

    def _message_end(self, event: ir.End, out: list[bytes]) -> None:
        fields = {
            "type": "message_delta",
            "delta": finish_fields(self._finish, called=self._called),
            "usage": usage_fields(event.usage or self._usage),
        }
        out += [_event(b"message_delta", fields), _MESSAGE_STOP]


_WRITERS: Final[dict[type, Callable[[MessagesStreamEncoder, Any, list[bytes]], None]]] = {
    ir.Start: MessagesStreamEncoder._start,
    ir.BlockStart: MessagesStreamEncoder._block_start,
    ir.Signed: MessagesStreamEncoder._signed,
    ir.Cited: MessagesStreamEncoder._cited,
    ir.BlockEnd: MessagesStreamEncoder._block_end,
    ir.Finished: MessagesStreamEncoder._finished,
    ir.End: MessagesStreamEncoder._message_end,
}
