"""The events of one item after another: what a client sees of each block of a streamed answer.

A message spans texts in a row, each a part of it; every other block is an item of its own. An item
opens with the first thing that there is to say of it, so that nothing empty is ever told.
Source: protocols.md, 1.2, "Stream", and 2.10.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bitrouter.ir import Citation, Delta, LogProb, Signature, ToolCall
from bitrouter.protocols.openai import token_logprobs
from bitrouter.protocols.responses.encode_content import annotation
from bitrouter.protocols.responses.encode_items import (
    Mint,
    OutputItem,
    call_item,
    call_item_id,
    encrypted_content,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)
from bitrouter.protocols.responses.namespaces import Names

_encode: Final = msgspec.json.Encoder().encode


class EventWriter:
    """Writes events and numbers them."""

    __slots__ = ("_number", "_out")

    def __init__(self) -> None:
        self._number = 0
        self._out: list[bytes] = []

    def event(self, name: str, members: dict[str, Any]) -> None:
        """Write one event. Both its lines bear the name."""
        data = _encode({"type": name, "sequence_number": self._number} | members)
        self._out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), data))
        self._number += 1

    def delta(self, prefix: bytes, text: str, suffix: bytes) -> None:
        """Write one event that consists of what `delta_prefix` made, a text and its end."""
        self._out.append(
            b'%b%b%b,"sequence_number":%d}\n\n' % (prefix, _encode(text), suffix, self._number)
        )
        self._number += 1

    def take(self) -> bytes:
        """All that was written since the last time."""
        written = b"".join(self._out)
        self._out.clear()
        return written


def delta_prefix(name: str, place: dict[str, Any]) -> bytes:
    """The constant beginning of a block's deltas, up to the text."""
    members = _encode({"type": name} | place)
    return b'event: %b\ndata: %b,"delta":' % (name.encode(), members[:-1])


class Output:
    """The items of one answer. `items` are those that are complete, as JSON."""

    def __init__(self, events: EventWriter, mint: Mint, apart: Names) -> None:
        self.events = events
        self.mint = mint
        self.apart = apart
        self.items: list[bytes] = []
        self.message: Message | None = None

    def begin_item(self, item: OutputItem) -> int:
        """Announce an item; its index. What was open before must have been completed."""
        index = len(self.items)
        self.events.event("response.output_item.added", {"output_index": index, "item": item})
        return index

    def complete_item(self, item: OutputItem) -> None:
        """Tell the open item whole."""
        raw = _encode(item)
        members = {"output_index": len(self.items), "item": msgspec.Raw(raw)}
        self.events.event("response.output_item.done", members)
        self.items.append(raw)

    def open_message(self) -> "Message":
        """The message that a text is part of: the open one, or a new one."""
        if self.message is None:
            message = Message(self.mint("msg_"))
            self.begin_item(message_item(message.id, (), "in_progress"))
            self.message = message
        return self.message

    def close_message(self, status: str = "completed") -> None:
        """Complete the open message, if there is one."""
        if self.message is not None:
            self.complete_item(message_item(self.message.id, self.message.parts, status))
            self.message = None


class Message(msgspec.Struct):
    """An open message and its complete parts."""

    id: str
    parts: list[dict[str, Any]] = []


class TextBlock:
    """A text, or a refusal: a part of a message."""

    def __init__(self, index: int, output: Output) -> None:
        self.index = index
        self._output = output
        self._place: dict[str, Any] | None = None
        self._prefix = b""
        self._texts: list[str] = []
        self._logprobs: list[LogProb] = []
        self._citations: list[Citation] = []

    kind = "output_text"
    suffix = b',"logprobs":[]'

    def part(self, text: str) -> dict[str, Any]:
        """The part as it is told whole."""
        return text_part(text, self._citations, self._logprobs)

    def done_members(self, text: str) -> dict[str, Any]:
        """What the event that ends the text says beside its place."""
        return {"text": text, "logprobs": token_logprobs(self._logprobs)}

    def delta(self, event: Delta) -> None:
        """More of the text."""
        if self._place is None:
            self._begin()
        suffix = self.suffix
        if event.logprobs:
            self._logprobs += event.logprobs
            if suffix:
                suffix = b',"logprobs":' + _encode(token_logprobs(event.logprobs))
        self._texts.append(event.text)
        self._output.events.delta(self._prefix, event.text, suffix)

    def _begin(self) -> dict[str, Any]:
        message = self._output.open_message()
        self._place = {
            "item_id": message.id,
            "output_index": len(self._output.items),
            "content_index": len(message.parts),
        }
        self._prefix = delta_prefix(f"response.{self.kind}.delta", self._place)
        members = self._place | {"part": self.part("")}
        self._output.events.event("response.content_part.added", members)
        return self._place

    def signed(self, signature: Signature) -> None:
        """Texts are not signed."""

    def cited(self, citation: Citation) -> None:
        """A citation of the text."""
        place = self._place or self._begin()
        members = place | {
            "annotation_index": len(self._citations),
            "annotation": annotation(citation),
        }
        self._citations.append(citation)
        self._output.events.event("response.output_text.annotation.added", members)

    def end(self) -> None:
        """Tell the text and its part whole. The message stays open for the next."""
        if self._place is None:
            return
        text = "".join(self._texts)
        part = self.part(text)
        events = self._output.events
        events.event(f"response.{self.kind}.done", self._place | self.done_members(text))
        events.event("response.content_part.done", self._place | {"part": part})
        self._output.open_message().parts.append(part)

    def unfinished(self) -> OutputItem | None:
        """The message as it stands, with what there is of this text."""
        message = self._output.message
        if message is None:
            return None
        rest = [self.part("".join(self._texts))] if self._place is not None else []
        return message_item(message.id, [*message.parts, *rest], "incomplete")


class RefusalBlock(TextBlock):
    """The model's words for why it does not answer."""

    kind = "refusal"
    suffix = b""

    def part(self, text: str) -> dict[str, Any]:
        """See TextBlock."""
        return refusal_part(text)

    def done_members(self, text: str) -> dict[str, Any]:
        """See TextBlock."""
        return {"refusal": text}

    def cited(self, citation: Citation) -> None:
        """A refusal cites nothing."""


class ReasoningBlock:
    """Reasoning: an item of its own, with a summary or, if it is `raw`, the thinking itself."""

    def __init__(self, index: int, output: Output, *, raw: bool, redacted: bool) -> None:
        self.index = index
        self._output = output
        self._raw = raw
        self._redacted = redacted
        self._id = ""
        self._place: dict[str, Any] | None = None
        self._prefix = b""
        self._texts: list[str] = []
        self._signature: Signature | None = None

    def delta(self, event: Delta) -> None:
        """More of the text."""
        if self._place is None:
            self._begin_text()
        self._texts.append(event.text)
        self._output.events.delta(self._prefix, event.text, b"")

    def _begin(self) -> None:
        self._id = self._output.mint("rs_")
        self._output.begin_item(reasoning_item(self._id, ""))

    def _begin_text(self) -> None:
        if not self._id:
            self._begin()
        place: dict[str, Any] = {"item_id": self._id, "output_index": len(self._output.items)}
        place["content_index" if self._raw else "summary_index"] = 0
        self._place = place
        name = "reasoning_text" if self._raw else "reasoning_summary_text"
        self._prefix = delta_prefix(f"response.{name}.delta", place)
        self._output.events.event(self._part_event("added"), place | {"part": self._part("")})

    def _part_event(self, what: str) -> str:
        return f"response.{'content' if self._raw else 'reasoning_summary'}_part.{what}"

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "reasoning_text" if self._raw else "summary_text", "text": text}

    def signed(self, signature: Signature) -> None:
        """What the item will be recognised by, told when it is complete."""
        self._signature = signature
        if not self._id:
            self._begin()

    def cited(self, citation: Citation) -> None:
        """Reasoning cites nothing."""

    def end(self) -> None:
        """Tell the text, its part and the item whole."""
        if not self._id:
            return
        text = "".join(self._texts)
        events = self._output.events
        if self._place is not None:
            name = "reasoning_text" if self._raw else "reasoning_summary_text"
            events.event(f"response.{name}.done", self._place | {"text": text})
            events.event(self._part_event("done"), self._place | {"part": self._part(text)})
        encrypted = encrypted_content(self._signature, redacted=self._redacted)
        self._output.complete_item(
            reasoning_item(self._id, text, raw=self._raw, encrypted=encrypted)
        )

    def unfinished(self) -> OutputItem | None:
        """The item as it stands, without a signature: it would vouch for more than there is."""
        if not self._id:
            return None
        return reasoning_item(self._id, "".join(self._texts), raw=self._raw)


class CallBlock:
    """A call: an item of its own, and one before it that carries its signature.

    The signature has to be known before the call is announced, so the call waits for the event
    that follows its start. A signature that comes later has no place any more.
    """

    def __init__(self, index: int, output: Output, call: ToolCall) -> None:
        self.index = index
        self._output = output
        self._call = call
        self._id = ""
        self._place: dict[str, Any] = {}
        self._prefix = b""
        self._texts: list[str] = []
        self._name = "custom_tool_call_input" if call.custom else "function_call_arguments"

    def delta(self, event: Delta) -> None:
        """More of the arguments."""
        if not self._id:
            self._begin()
        self._add(event.text)

    def _add(self, text: str) -> None:
        self._texts.append(text)
        self._output.events.delta(self._prefix, text, b"")

    def _begin(self) -> None:
        self._id = call_item_id(self._call.custom, self._output.mint)
        item = call_item(self._id, self._call, self._output.apart, "in_progress")
        index = self._output.begin_item(item)
        self._place = {"item_id": self._id, "output_index": index}
        self._prefix = delta_prefix(f"response.{self._name}.delta", self._place)

    def signed(self, signature: Signature) -> None:
        """Carry the signature in a reasoning item before the call."""
        if self._id:
            return
        carrier = reasoning_item(self._output.mint("rs_"), "")
        self._output.begin_item(carrier)
        self._output.complete_item(carrier | {"encrypted_content": encrypted_content(signature)})

    def cited(self, citation: Citation) -> None:
        """Calls cite nothing."""

    def end(self) -> None:
        """Tell the arguments and the item whole."""
        if not self._id:
            self._begin()
        if not self._texts and not self._call.custom:
            self._add("{}")
        self._call.arguments = text = "".join(self._texts)
        item = call_item(self._id, self._call, self._output.apart)
        key = "input" if self._call.custom else "arguments"
        done = self._place | {key: text}
        if not self._call.custom:
            done["name"] = item["name"]
        self._output.events.event(f"response.{self._name}.done", done)
        self._output.complete_item(item)

    def unfinished(self) -> OutputItem | None:
        """The call as it stands."""
        if not self._id:
            return None
        self._call.arguments = "".join(self._texts)
        return call_item(self._id, self._call, self._output.apart, "incomplete")


Block = TextBlock | ReasoningBlock | CallBlock


def whole_output(items: Sequence[bytes], unfinished: OutputItem | None) -> list[bytes]:
    """All items, with what there is of one that was not completed."""
    return [*items, _encode(unfinished)] if unfinished else [*items]
