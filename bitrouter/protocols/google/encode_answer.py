"""A whole answer for a Gemini client (protocols.md, 1.4 and 2.7)."""

from typing import Any, Final

import msgspec

from bitrouter import ir
from bitrouter.errors import UnsupportedFeature
from bitrouter.protocols.google.citations import write_citations
from bitrouter.protocols.google.finish import finish_word
from bitrouter.protocols.google.framing import escaped
from bitrouter.protocols.google.logprobs import write_logprobs
from bitrouter.protocols.google.parts import Part, call_part, media_part, sign_first_call
from bitrouter.protocols.google.signatures import write_signature
from bitrouter.protocols.google.usage import usage_metadata
from bitrouter.protocols.translator import Reply
from bitrouter.protocols.writelarge import encoded_pieces

# No part, or one with nothing in it, makes google-genai's chats throw the turn away.
NOTHING: Final[Part] = {"text": ""}

_encode: Final = msgspec.json.encode


def encode_answer(answer: ir.Answer, reply: Reply) -> bytes:
    """See Translator.encode_answer."""
    body: dict[str, Any] = {"candidates": [_candidate(one) for one in answer.candidates]}
    if answer.usage is not None:
        body["usageMetadata"] = usage_metadata(answer.usage)
    body["modelVersion"] = reply.asked.model
    body["responseId"] = reply.mint("")
    if answer.is_large:
        return b"".join(map(escaped, encoded_pieces(body)))
    return escaped(_encode(body))


def _candidate(candidate: ir.Candidate) -> dict[str, Any]:
    parts = [part for block in candidate.blocks if (part := _part(block)) is not None]
    sign_first_call(parts)  # it may come back to a model of Google's
    out: dict[str, Any] = {
        "content": {"role": "model", "parts": parts or [NOTHING]},
        **finish_members(candidate.finish),
        "index": candidate.index,
    }
    grounding = write_citations(candidate.blocks)
    if grounding:
        out["groundingMetadata"] = grounding
    if candidate.logprobs is not None:
        out["logprobsResult"] = write_logprobs(candidate.logprobs)
    return out


def finish_members(finish: ir.Finish) -> dict[str, Any]:
    """What a candidate says of its end."""
    members = {"finishReason": finish_word(finish)}
    if finish.detail is not None:
        members["finishMessage"] = finish.detail
    return members


def _part(block: ir.Block) -> Part | None:
    match block:
        case ir.Text() | ir.Refusal():
            return {"text": block.text} if block.text else None
        case ir.Reasoning():
            return _thought(block)
        case ir.ToolCall():
            return signed(call_part(block, {}, with_id=True), block.signature)
        case ir.Media():
            return _media(block)
        case ir.ToolResult():
            return None


def _thought(block: ir.Reasoning) -> Part | None:
    part = signed({"text": block.text, "thought": True}, block.signature, redacted=block.redacted)
    return part if block.text or (part and "thoughtSignature" in part) else None


def signed(
    part: Part | None, signature: ir.Signature | None, *, redacted: bool = False
) -> Part | None:
    """The part with its signature, if it has one that a client has to keep."""
    written = write_signature(signature, redacted=redacted)
    if part is not None and written is not None:
        part["thoughtSignature"] = written
    return part


def _media(media: ir.Media) -> Part | None:
    try:
        return media_part(media)
    except UnsupportedFeature:
        return None
