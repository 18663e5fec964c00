"""A whole answer for a Messages client (protocols.md, 1.3 and 2.7)."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bitrouter.ir import Answer, Block, Reasoning, Refusal, Text, ToolCall
from bitrouter.protocols.anthropic.carriers import citation_fields, reasoning_fields
from bitrouter.protocols.anthropic.finish import finish_fields
from bitrouter.protocols.anthropic.tool_input import input_object, input_object_of_any
from bitrouter.protocols.anthropic.usage import usage_fields
from bitrouter.protocols.translator import Reply
from bitrouter.protocols.writelarge import encode_large

_CUT: Final = ("length", "context")
_encode: Final = msgspec.json.Encoder().encode


def encode_answer(answer: Answer, reply: Reply) -> bytes:
    """The first candidate, for a client of this protocol can ask for no other."""
    candidate = answer.candidates[0]
    blocks = candidate.blocks
    if len(blocks) == 1 and isinstance(only := blocks[0], Text):
        content, called = _text(only), False  # as most answers are
    else:
        content, called = _content(blocks, cut=candidate.finish.reason in _CUT)
    message = {
        "id": reply.mint("msg_"),
        "type": "message",
        "role": "assistant",
        "model": reply.request.model,
        "content": content,
        **finish_fields(candidate.finish, called=called),
        "usage": usage_fields(answer.usage),
    }
    return encode_large(message) if answer.is_large else _encode(message)


def _content(blocks: Sequence[Block], *, cut: bool) -> tuple[list[dict[str, Any]], bool]:
    """`content`, and whether there is a call in it."""
    content: list[dict[str, Any]] = []
    for block in blocks:
        content += _written(block, may_be_half_written=cut)
    return content, "tool_use" in [block["type"] for block in content]


def _text(text: Text) -> list[dict[str, Any]]:
    if not text.text:
        return []
    written: dict[str, Any] = {"type": "text", "text": text.text}
    if text.citations:
        written["citations"] = [citation_fields(one) for one in text.citations]
    return [written]


def _written(block: Block, *, may_be_half_written: bool) -> list[dict[str, Any]]:
    match block:
        case Text():
            return _text(block)
        case Refusal() if block.text:
            return [{"type": "text", "text": block.text}]
        case Reasoning() if block.text or block.signature or block.redacted:
            return [reasoning_fields(block)]
        case ToolCall() if not (may_be_half_written and input_object(block) is None):
            call = {
                "type": "tool_use",
                "id": block.id,
                "name": block.name,
                "input": input_object_of_any(block),
            }
            if block.signature is not None:
                return [reasoning_fields(Reasoning("", block.signature)), call]
            return [call]
        case _:
            return []  # empty, or half of a call, or media, for which a message has no place
