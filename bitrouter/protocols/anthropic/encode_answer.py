"""A whole answer for a Messages client (protocols.md, 1.3 and 2.7)."""

from typing import Any

import msgspec

from bitrouter.ir import Answer, Block, Reasoning, Refusal, Text, ToolCall
from bitrouter.protocols.anthropic.carriers import citation_fields, reasoning_fields
from bitrouter.protocols.anthropic.finish import finish_fields
from bitrouter.protocols.anthropic.tool_input import input_object, input_object_of_any
from bitrouter.protocols.anthropic.usage import usage_fields
from bitrouter.protocols.translator import Reply
from bitrouter.protocols.writelarge import encode_large


def encode_answer(answer: Answer, reply: Reply) -> bytes:
    """The first candidate, for a client of this protocol can ask for no other."""
    candidate = answer.candidates[0]
    cut = candidate.finish.reason in ("length", "context")
    content: list[dict[str, Any]] = []
    for block in candidate.blocks:
        content += _written(block, may_be_half_written=cut)
    called = "tool_use" in [block["type"] for block in content]
    message = {
        "id": reply.mint("msg_"),
        "type": "message",
        "role": "assistant",
        "model": reply.request.model,
        "content": content,
        **finish_fields(candidate.finish, called=called),
        "usage": usage_fields(answer.usage),
    }
    return encode_large(message) if answer.is_large else msgspec.json.encode(message)


def _written(block: Block, *, may_be_half_written: bool) -> list[dict[str, Any]]:
    match block:
        case Text() if block.text:
            written: dict[str, Any] = {"type": "text", "text": block.text}
            if block.citations:
                written["citations"] = [citation_fields(one) for one in block.citations]
            return [written]
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
