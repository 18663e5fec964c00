"""Answers of Chat Completions, whole and streamed.

Source: openai.types.chat.ChatCompletion and ChatCompletionChunk; protocols.md, 1.1.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.support.strict.chat.read import thinks_aloud
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

CREATED: Final = 1_790_000_000
SNAPSHOT: Final = "-2026-08-07"
_FINISH: Final = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "filtered": "content_filter",
    "blocked": "content_filter",
}
NewId = Callable[[str], str]


def usage(tokens: Tokens) -> dict[str, Any]:
    """Token counts in OpenAI's arithmetic: totals include their parts."""
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def logprob(token: str, top: int) -> dict[str, Any]:
    """One entry of `logprobs.content`, with `top` alternatives."""
    one = {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
    others = [one, {"token": "?", "logprob": -2.5, "bytes": [63]}]
    return {**one, "top_logprobs": others[:top]}


def whole(step: Step, seen: Seen, new_id: NewId) -> dict[str, Any]:
    """The answer as one object."""
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": CREATED,
        "model": seen.model + SNAPSHOT,
        "choices": [_choice(step, seen, new_id, index) for index in range(seen.n)],
        "usage": usage(step.tokens),
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }


def _choice(step: Step, seen: Seen, new_id: NewId, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    calls: list[dict[str, Any]] = []
    tokens: list[dict[str, Any]] = []
    message["annotations"] = []
    for part in spoken(step, seen):
        match part:
            case Say(text=text, cites=cites):
                message["annotations"] += map(_annotation, cites)
                message["content"] = (message["content"] or "") + _numbered(text, index)
                tokens += [logprob(one, seen.settings.get("top_logprobs", 0)) for one in text[:3]]
            case Think(text=text) if thinks_aloud(seen.model):
                message["reasoning_content"] = message.get("reasoning_content", "") + text
            case Refuse(text=text):
                message["refusal"] = text
            case SpokenCall():
                calls.append(_call(part, new_id))
            case _:
                pass
    reason = finish_reason(step, calls)
    if calls and seen.legacy:
        message["function_call"], reason = calls[0]["function"], "function_call"
    elif calls:
        message["tool_calls"] = calls
    chosen = {"index": index, "message": message, "finish_reason": reason}
    shown = {"content": tokens, "refusal": None} if seen.settings.get("logprobs") else None
    return {**chosen, "logprobs": shown}


def _annotation(cite: Cite) -> dict[str, Any]:
    about = {"url": cite.url, "title": cite.title}
    place = {"start_index": cite.start, "end_index": cite.end}
    return {"type": "url_citation", "url_citation": {**about, **place}}


def _numbered(text: str, index: int) -> str:
    """Several answers differ, so that it shows when they are mixed up."""
    return f"{text}{index}" if index else text


def _call(call: SpokenCall, new_id: NewId) -> dict[str, Any]:
    if call.custom:
        custom = {"name": call.name, "input": call.text}
        return {"id": new_id("call_"), "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.text}
    return {"id": new_id("call_"), "type": "function", "function": function}


def finish_reason(step: Step, calls: list[dict[str, Any]] | int) -> str:
    """Why it ended: calls come before the rest, and a refusal in words is a normal end."""
    if step.finish == "stop" and calls:
        return "tool_calls"
    refused = any(isinstance(part, Refuse) for part in step.parts)
    return "stop" if refused else _FINISH[step.finish]


def stream(step: Step, seen: Seen, new_id: NewId) -> list[bytes]:
    """The answer as chunks, each an event, with the end."""
    chunk = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": seen.model + SNAPSHOT,
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
    if seen.usage_in_stream:
        chunk["usage"] = None
    told = [
        {**choice, "index": index}
        for index in range(seen.n)
        for choice in _deltas(step, seen, new_id, index)
    ]
    events = [_event({**chunk, "choices": [choice], "obfuscation": "x7Q"}) for choice in told]
    if seen.usage_in_stream:
        events.append(_event({**chunk, "choices": [], "usage": usage(step.tokens)}))
    return [*events, b"data: [DONE]\n\n"]


def _event(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


def _told(delta: dict[str, Any], tokens: list[Any] | None = None) -> dict[str, Any]:
    shown = {"content": tokens, "refusal": None} if tokens else None
    return {"delta": delta, "logprobs": shown, "finish_reason": None}


def _deltas(step: Step, seen: Seen, new_id: NewId, index: int) -> Iterator[dict[str, Any]]:
    yield _told({"role": "assistant", "content": "", "refusal": None})
    calls = 0
    for part in spoken(step, seen):
        if isinstance(part, SpokenCall) and seen.legacy:
            yield from map(_told, _legacy_deltas(part))
            yield {"delta": {}, "logprobs": None, "finish_reason": "function_call"}
            return
        if isinstance(part, SpokenCall):
            for delta in _call_deltas(_call(part, new_id)):
                yield _told({"tool_calls": [{"index": calls, **delta}]})
            calls += 1
        else:
            yield from _text_deltas(part, seen, index)
    yield {"delta": {}, "logprobs": None, "finish_reason": finish_reason(step, calls)}


def _text_deltas(
    part: Say | Think | Redacted | Refuse, seen: Seen, index: int
) -> Iterator[dict[str, Any]]:
    match part:
        case Say(text=text, cites=cites):
            for piece in pieces(_numbered(text, index)):
                top = seen.settings.get("top_logprobs", 0)
                tokens = [logprob(piece, top)] if seen.settings.get("logprobs") else None
                # An empty list with text is what some servers send; it is no call.
                yield _told({"content": piece, "tool_calls": []}, tokens)
            if cites:
                yield _told({"annotations": [*map(_annotation, cites)]})
        case Think(text=text) if thinks_aloud(seen.model):
            for piece in pieces(text):
                yield _told({"content": None, "reasoning_content": piece})
        case Refuse(text=text):
            for piece in pieces(text):
                yield _told({"refusal": piece})
        case _:
            pass


def _legacy_deltas(call: SpokenCall) -> Iterator[dict[str, Any]]:
    yield {"function_call": {"name": call.name, "arguments": ""}}
    for piece in pieces(call.text, 7):
        yield {"function_call": {"arguments": piece}}


def _call_deltas(call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = call["type"]
    member = "input" if kind == "custom" else "arguments"
    yield {**call, kind: {**call[kind], member: ""}}
    # Seven characters at a time cut the escape of a letter such as ü.
    for piece in pieces(call[kind][member], 7):
        yield {kind: {member: piece}}
