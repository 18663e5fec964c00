"""A whole answer as a chat client expects it. Source: protocols.md, 1.1 and 2.7."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bitrouter.errors import BadResponse
from bitrouter.ir import Answer, Block, Candidate, Citation, Reasoning, Refusal, Text, ToolCall
from bitrouter.protocols.chat.decode_request import is_legacy
from bitrouter.protocols.chat.finish import encode_finish
from bitrouter.protocols.chat.mark import MARKED, marked_extra
from bitrouter.protocols.chat.usage import encode_usage
from bitrouter.protocols.openai import token_logprobs
from bitrouter.protocols.translator import Reply
from bitrouter.protocols.writelarge import encode_large


def encode_answer(answer: Answer, reply: Reply) -> bytes:
    """See Translator.encode_answer.

    Raises BadResponse for an answer that is nothing but the vendor's word for something that went
    wrong, for which chat has no finish reason.
    """
    if all(one.finish.reason == "other" and not one.blocks for one in answer.candidates):
        raise went_wrong(answer.candidates[0].finish.raw if answer.candidates else None)
    legacy = is_legacy(reply.request.fields)
    body: dict[str, Any] = {
        "id": reply.mint("chatcmpl-"),
        "object": "chat.completion",
        "created": reply.created_s,
        "model": reply.request.model,
        "choices": [_choice(candidate, legacy) for candidate in answer.candidates],
    }
    if answer.usage is not None:
        body["usage"] = encode_usage(answer.usage)
    return encode_large(body) if answer.is_large else msgspec.json.encode(body)


def went_wrong(raw: str | None) -> BadResponse:
    """The error for an answer without content that ended with a vendor's word for a fault."""
    return BadResponse(f"the model gave no answer: {raw or 'no reason given'}")


def _choice(candidate: Candidate, legacy: bool) -> dict[str, Any]:
    blocks = candidate.blocks
    has_refusal = any(isinstance(block, Refusal) for block in blocks)
    choice: dict[str, Any] = {
        "index": candidate.index,
        "message": _message(blocks, legacy),
        "finish_reason": encode_finish(candidate.finish, has_refusal=has_refusal, legacy=legacy),
    }
    if candidate.logprobs is not None:
        choice["logprobs"] = {"content": token_logprobs(candidate.logprobs), "refusal": None}
    return choice


def _message(blocks: Sequence[Block], legacy: bool) -> dict[str, Any]:
    texts = [block for block in blocks if isinstance(block, Text)]
    content = "".join(text.text for text in texts)
    refusal = "".join(block.text for block in blocks if isinstance(block, Refusal))
    calls = [block for block in blocks if isinstance(block, ToolCall)]
    # Null beside nothing else could not come back: OpenAI wants a text there, be it empty.
    nothing = None if refusal or calls else ""
    message: dict[str, Any] = {"role": "assistant", "content": content or nothing}
    thoughts = [block.text for block in blocks if isinstance(block, Reasoning) and block.text]
    if thoughts:
        message |= {"reasoning_content": "\n\n".join(thoughts), **MARKED}
    if refusal:
        message["refusal"] = refusal
    if calls and legacy:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
    elif calls:
        message["tool_calls"] = [_call(call) for call in calls]
    if annotations := _annotations(texts):
        message["annotations"] = annotations
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    extra = marked_extra(call.signature)
    if call.custom:
        custom = {"name": call.name, "input": call.arguments}
        return {"id": call.id, "type": "custom", "custom": custom, **extra}
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function, **extra}


def _annotations(texts: Iterable[Text]) -> list[dict[str, Any]]:
    """Citations of all texts, counted in the one text that they make."""
    annotations = []
    before = 0
    for text in texts:
        after = before + len(text.text)
        annotations += [url_citation(citation, before, after) for citation in text.citations]
        before = after
    return annotations


def url_citation(citation: Citation, before: int, after: int) -> dict[str, Any]:
    """An annotation. `before` and `after` are where the cited text block stands in the content:
    the members are required, so a citation without a place is one of the whole block.
    """
    start = before if citation.start is None else before + citation.start
    end = after if citation.end is None else before + citation.end
    cited = {
        "url": citation.url,
        "title": citation.title if citation.title is not None else citation.url,
        "start_index": start,
        "end_index": end,
    }
    return {"type": "url_citation", "url_citation": cited}
