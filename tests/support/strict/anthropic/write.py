"""Answers of Messages, whole and streamed.

Source: anthropic.types.Message and its events; protocols.md, 1.3.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.support.strict.script import (
    Cite,
    Redacted,
    Refuse,
    Say,
    SpokenCall,
    Step,
    Think,
    Tokens,
    pieces,
    spoken,
)
from tests.support.strict.seen import Seen
from tests.support.strict.signing import Signer

NewId = Callable[[str], str]
Block = dict[str, Any]
_STOP: Final = {
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "filtered": "refusal",
    "blocked": "refusal",
}


def usage(tokens: Tokens) -> dict[str, Any]:
    """Token counts in Anthropic's arithmetic: the input is without what the cache did."""
    return {
        "input_tokens": tokens.input - tokens.cached - tokens.cache_write,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": tokens.output,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        "service_tier": "standard",
    }


def message(step: Step, seen: Seen, new_id: NewId, signer: Signer) -> dict[str, Any]:
    """The answer as one object. A call that is not complete is not in it."""
    blocks = [block for block, _ in _blocks(step, seen, new_id, signer) if block is not None]
    return {
        "id": new_id("msg_01"),
        "type": "message",
        "role": "assistant",
        "model": f"{seen.model}-20260929",
        "content": blocks,
        **_stop(step, seen, blocks),
        "usage": usage(step.tokens),
    }


def _stop(step: Step, seen: Seen, blocks: list[Block]) -> dict[str, Any]:
    reason = _STOP.get(step.finish, "end_turn")
    if step.finish == "stop" and any(block["type"] == "tool_use" for block in blocks):
        reason = "tool_use"
    met = seen.settings.get("stop", ["END"])[0] if reason == "stop_sequence" else None
    stop: dict[str, Any] = {"stop_reason": reason, "stop_sequence": met}
    if reason == "refusal":
        words = "".join(part.text for part in step.parts if isinstance(part, Refuse)) or None
        stop["stop_details"] = {"type": "refusal", "category": None, "explanation": words}
    return stop


def _blocks(
    step: Step, seen: Seen, new_id: NewId, signer: Signer
) -> Iterator[tuple[Block | None, str]]:
    """The blocks of an answer, complete, each with the JSON text of its input if it is a call."""
    thinks = seen.thinking.keys() & {"budget", "adaptive"}
    for part in spoken(step, seen):
        match part:
            case Say(text=text, cites=cites):
                noted = [_citation(cite, text) for cite in cites] or None
                yield {"type": "text", "text": text, "citations": noted}, ""
            case Think(text=text) if thinks:
                shown = text if seen.thoughts_shown else ""
                signature = signer.sign("thinking", text)
                yield {"type": "thinking", "thinking": shown, "signature": signature}, ""
            case Redacted() if thinks:
                data = signer.sign("redacted", "kept to itself")
                yield {"type": "redacted_thinking", "data": data}, ""
            case SpokenCall() if part.arguments is not None or seen.stream:
                call = {"type": "tool_use", "id": new_id("toolu_01"), "name": part.name}
                yield {**call, "input": part.arguments or {}}, part.text


def _citation(cite: Cite, text: str) -> dict[str, Any]:
    return {
        "type": "web_search_result_location",
        "cited_text": text[cite.start : cite.end],
        "encrypted_index": "RW5jcnlwdGVk",
        "title": cite.title,
        "url": cite.url,
    }


def stream(step: Step, seen: Seen, new_id: NewId, signer: Signer) -> list[bytes]:
    """The answer as events."""
    told = [*_blocks(step, seen, new_id, signer)]
    blocks = [block for block, _ in told if block is not None]
    numbers = usage(step.tokens)
    begun: dict[str, Any] = {
        "id": new_id("msg_01"),
        "type": "message",
        "role": "assistant",
        "model": f"{seen.model}-20260929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**numbers, "output_tokens": 1},
    }
    begun["usage"].pop("output_tokens_details")
    events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
    for index, (block, text) in enumerate(told):
        assert block is not None
        events += [{**one, "index": index} for one in _block_events(block, text)]
        if index == 0:
            events.insert(2, {"type": "ping"})
    final = {name: numbers[name] for name in numbers if name.endswith(("tokens", "details"))}
    events.append({"type": "message_delta", "delta": _stop(step, seen, blocks), "usage": final})
    events.append({"type": "message_stop"})
    return [event(one) for one in events]


def event(told: dict[str, Any]) -> bytes:
    """One event, with its name."""
    return f"event: {told['type']}\ndata: {json.dumps(told, ensure_ascii=False)}\n\n".encode()


def _block_events(block: Block, text: str) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            noted = block["citations"] or []
            opened = {**block, "text": "", "citations": [] if noted else None}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            deltas += [{"type": "citations_delta", "citation": one} for one in noted]
        case "thinking":
            opened = {**block, "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "tool_use":
            opened = {**block, "input": {}}
            # A call without arguments has no fragments at all.
            fragments = ["", *pieces(text, 7)] if block["input"] or text != "{}" else []
            deltas = [{"type": "input_json_delta", "partial_json": one} for one in fragments]
        case _:
            opened, deltas = block, []
    yield {"type": "content_block_start", "content_block": opened}
    for delta in deltas:
        yield {"type": "content_block_delta", "delta": delta}
    yield {"type": "content_block_stop"}
