"""A whole answer as a Responses client expects it. Source: protocols.md, 1.2, 2.5 and 2.7."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from bitrouter.ir import (
    Answer,
    Block,
    Candidate,
    Finish,
    LogProb,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from bitrouter.protocols.responses.encode_items import (
    OutputItem,
    call_item,
    call_item_id,
    encrypted_content,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)
from bitrouter.protocols.responses.namespaces import names_in
from bitrouter.protocols.responses.response_object import ResponseObject, ending
from bitrouter.protocols.translator import Reply
from bitrouter.protocols.writelarge import encode_large

_NOTHING: Final = Candidate([], Finish("other"))

_encode: Final = msgspec.json.Encoder().encode


def encode_answer(answer: Answer, reply: Reply) -> bytes:
    """See Translator.encode_answer. Only the first candidate can be told."""
    candidate = answer.candidates[0] if answer.candidates else _NOTHING
    response = ResponseObject(reply)
    items = list(_Items(reply).of(candidate))
    end = ending(
        candidate.finish,
        has_output=bool(items),
        has_refusal=any(isinstance(block, Refusal) for block in candidate.blocks),
    )
    if items and end.status == "incomplete" and items[-1]["type"] == "message":
        items[-1]["status"] = "incomplete"
    written = map(encode_large if answer.is_large else _encode, items)
    return response.state(
        end.status, written, answer.usage, error=end.error, incomplete=end.incomplete
    )


class _Items:
    """Makes the items of an answer: one for texts in a row, one for each other block."""

    def __init__(self, reply: Reply) -> None:
        self._mint = reply.mint
        self._apart = names_in(reply.request.fields)

    def of(self, candidate: Candidate) -> Iterator[OutputItem]:
        """The items, in the order of the blocks."""
        parts: list[dict[str, Any]] = []
        logprobs: Sequence[LogProb] = candidate.logprobs or ()
        for block in candidate.blocks:
            if isinstance(block, Text | Refusal):
                if block.text:
                    parts.append(_part(block, logprobs))
                    logprobs = () if isinstance(block, Text) else logprobs
                continue
            if parts:
                yield message_item(self._mint("msg_"), parts, "completed")
                parts = []
            yield from self._items(block)
        if parts:
            yield message_item(self._mint("msg_"), parts, "completed")

    def _items(self, block: Block) -> Iterator[OutputItem]:
        """The items of reasoning or a call. Nothing else that is no text can be told."""
        if isinstance(block, Reasoning):
            if block.text or block.signature:
                encrypted = encrypted_content(block.signature, redacted=block.redacted)
                yield reasoning_item(
                    self._mint("rs_"), block.text, raw=block.raw, encrypted=encrypted
                )
        elif isinstance(block, ToolCall):
            if block.signature:
                encrypted = encrypted_content(block.signature)
                yield reasoning_item(self._mint("rs_"), "", encrypted=encrypted)
            yield call_item(call_item_id(block.custom, self._mint), block, self._apart)


def _part(block: Text | Refusal, logprobs: Sequence[LogProb]) -> dict[str, Any]:
    """A part of a message. The probabilities of all texts are on the first, as nobody says whose
    they are.
    """
    if isinstance(block, Refusal):
        return refusal_part(block.text)
    return text_part(block.text, block.citations, logprobs)
