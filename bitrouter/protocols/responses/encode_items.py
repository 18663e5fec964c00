"""The items of an answer's `output`, the same in a whole answer and in a stream.

Source: protocols.md, 1.2, 2.5 and 2.7.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bitrouter.ir import Citation, LogProb, Signature, ToolCall
from bitrouter.protocols import openai
from bitrouter.protocols.continuity import seal
from bitrouter.protocols.openai import token_logprobs
from bitrouter.protocols.responses.encode_content import annotations
from bitrouter.protocols.responses.namespaces import Names

OutputItem = dict[str, Any]
Mint = Callable[[str], str]


def text_part(
    text: str, citations: Sequence[Citation] = (), logprobs: Sequence[LogProb] = ()
) -> dict[str, Any]:
    """A part `output_text`, whose lists are always there."""
    return {
        "type": "output_text",
        "text": text,
        "annotations": annotations(citations),
        "logprobs": token_logprobs(logprobs),
    }


def refusal_part(text: str) -> dict[str, Any]:
    """A part `refusal`."""
    return {"type": "refusal", "refusal": text}


def message_item(item_id: str, parts: Sequence[dict[str, Any]], status: str) -> OutputItem:
    """A message; `status` is in_progress, completed or incomplete."""
    return {
        "id": item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": parts,
    }


def reasoning_item(
    item_id: str, text: str, *, raw: bool = False, encrypted: str | None = None
) -> OutputItem:
    """Reasoning: its text is the thinking itself if it is `raw`, else a summary of it."""
    part = {"type": "reasoning_text" if raw else "summary_text", "text": text}
    item: OutputItem = {
        "id": item_id,
        "type": "reasoning",
        "summary": [part] if text and not raw else [],
    }
    if text and raw:
        item["content"] = [part]
    if encrypted is not None:
        item["encrypted_content"] = encrypted
    return item


def encrypted_content(signature: Signature | None, *, redacted: bool = False) -> str:
    """What stands for the signature in a client's history: OpenAI's own as it is, another vendor's
    in an envelope. Reasoning that nobody signed has an envelope too, or a replay of it could not be
    told from OpenAI's.
    """
    if signature is not None and signature.origin == openai.ORIGIN and signature.value:
        return signature.value
    return seal(signature or Signature(""), redacted=redacted)


def call_item(item_id: str, call: ToolCall, apart: Names, status: str = "completed") -> OutputItem:
    """A call. `apart` are the namespaces behind tool names."""
    namespace, name = apart.get(call.name, (None, call.name))
    item: OutputItem = {"id": item_id, "type": "function_call", "status": status}
    item |= {"call_id": call.id, "name": name}
    if namespace is not None:
        item["namespace"] = namespace
    if call.custom:
        return item | {"type": "custom_tool_call", "input": call.arguments}
    # A call without arguments is one of an empty object; only while it begins is there nothing.
    return item | {"arguments": call.arguments or ("" if status == "in_progress" else "{}")}


def call_item_id(custom: bool, mint: Mint) -> str:
    """A new id for a call's item, which is not the call's own."""
    return mint("ctc_" if custom else "fc_")
