"""One conversation as each protocol says it: the request, the whole answer, the stream.

As the vendors themselves write it, members that nobody reads included. Source: protocols.md, 1.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

SYSTEM: Final = (
    "You plan journeys for people who are short of time. Answer in at most three sentences, name"
    " the line and the platform, and never invent a departure."
)
QUESTION: Final = "How do I get from the harbour to the museum before it closes?"
FIRST_ANSWER: Final = (
    "Take tram 4 from platform B to the Old Market; the museum is two minutes from there on foot."
)
NEXT_QUESTION: Final = "And back again, late in the evening, with two suitcases?"
ANSWER: Final = (
    "After eight in the evening tram 4 runs every twenty minutes, from the other side of the Old"
    " Market. It has low floors, so the suitcases are no trouble. The last one leaves at 23:40,"
    " platform A, and reaches the harbour at 23:58."
)
TOOL: Final = "next_departures"
TOOL_PURPOSE: Final = "The next departures from a stop."
SCHEMA: Final = {
    "type": "object",
    "properties": {
        "stop": {"type": "string", "description": "Name of the stop"},
        "line": {"type": "integer", "description": "Only this line"},
    },
    "required": ["stop"],
}
INPUT_TOKENS: Final = 187
OUTPUT_TOKENS: Final = 64
WORDS: Final = 200
"""Deltas in a stream, of a word each."""

_json: Final = msgspec.json.encode


def words() -> list[str]:
    """What the deltas of a stream say."""
    said = ANSWER.split(" ")
    return [f" {said[number % len(said)]}" for number in range(WORDS)]


class Wire(msgspec.Struct, frozen=True):
    """What goes over the wire in one protocol. Each event of a stream is bytes of its own."""

    protocol: str
    path: str
    stream_path: str
    request: bytes
    stream_request: bytes
    answer: bytes
    opening: tuple[bytes, ...]
    deltas: tuple[bytes, ...]
    closing: tuple[bytes, ...]


def _data(content: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % _json(content)


def _named(content: Mapping[str, Any]) -> bytes:
    """An event with an `event:` line that says its type again."""
    return b"event: %b\ndata: %b\n\n" % (content["type"].encode(), _json(content))


def _turns(assistant: str, say: Callable[[str], Any], content: str) -> list[dict[str, Any]]:
    said = (("user", QUESTION), (assistant, FIRST_ANSWER), ("user", NEXT_QUESTION))
    return [{"role": role, content: say(text)} for role, text in said]


# -- chat -------------------------------------------------------------------------------------


def _chat() -> Wire:
    function = {"name": TOOL, "description": TOOL_PURPOSE, "parameters": SCHEMA}
    body = {
        "model": "model",
        "messages": [
            {"role": "system", "content": SYSTEM},
            *_turns("assistant", str, "content"),
        ],
        "tools": [{"type": "function", "function": function}],
        "max_tokens": 512,
        "temperature": 0.2,
    }
    usage = {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    head = {"id": "chatcmpl-CbxK2jGzvWq1nA", "created": 1760000000, "model": "model-2026"}
    message = {"role": "assistant", "content": ANSWER, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    tail = {"service_tier": "default", "system_fingerprint": "fp_44709d6fcb"}

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        ended = {"logprobs": None, "finish_reason": finish_reason}
        choices = [{"index": 0, "delta": delta, **ended}]
        kind = {"object": "chat.completion.chunk"}
        more = {"usage": None, "obfuscation": "xK3vQ9"}
        return _data({**head, **kind, **tail, "choices": choices, **more})

    last = {**head, "object": "chat.completion.chunk", **tail, "choices": [], "usage": usage}
    return Wire(
        "chat",
        path="/v1/chat/completions",
        stream_path="/v1/chat/completions",
        request=_json(body),
        stream_request=_json({**body, "stream": True, "stream_options": {"include_usage": True}}),
        answer=_json(
            {**head, "object": "chat.completion", "choices": [choice], "usage": usage, **tail}
        ),
        opening=(chunk({"role": "assistant", "content": "", "refusal": None}),),
        deltas=tuple(chunk({"content": word}) for word in words()),
        closing=(chunk({}, "stop"), _data(last), b"data: [DONE]\n\n"),
    )


# -- responses --------------------------------------------------------------------------------

_ITEM: Final = "msg_68e5a1f4c0a8819f"


def _response(status: str, **more: Any) -> dict[str, Any]:
    """A response object."""
    return {
        "id": "resp_68e5a1f3b1c0819f",
        "object": "response",
        "created_at": 1760000000,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": SYSTEM,
        "max_output_tokens": 512,
        "model": "model-2026",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 0.2,
        "tool_choice": "auto",
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
        **more,
    }


def _responses() -> Wire:
    function = {"type": "function", "name": TOOL, "description": TOOL_PURPOSE}
    body = {
        "model": "model",
        "instructions": SYSTEM,
        "input": _turns("assistant", str, "content"),
        "tools": [{**function, "parameters": SCHEMA, "strict": False}],
        "max_output_tokens": 512,
        "temperature": 0.2,
        "store": False,
    }
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }

    def part(text: str) -> dict[str, Any]:
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def item(status: str, *parts: Any) -> dict[str, Any]:
        message = {"id": _ITEM, "type": "message", "status": status}
        return {**message, "role": "assistant", "content": list(parts)}

    text = "".join(words())
    place = {"item_id": _ITEM, "output_index": 0, "content_index": 0}
    opening: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response("in_progress")},
        {"type": "response.in_progress", "response": _response("in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": item("in_progress")},
        {"type": "response.content_part.added", **place, "part": part("")},
    ]
    deltas: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
        for word in words()
    ]
    done = item("completed", part(text))
    closing: list[dict[str, Any]] = [
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part(text)},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {
            "type": "response.completed",
            "response": _response("completed", output=[done], usage=usage),
        },
    ]
    events = [
        _named({**event, "sequence_number": number, "obfuscation": "xK3vQ9"})
        for number, event in enumerate([*opening, *deltas, *closing])
    ]
    return Wire(
        "responses",
        path="/v1/responses",
        stream_path="/v1/responses",
        request=_json(body),
        stream_request=_json({**body, "stream": True}),
        answer=_json(_response("completed", output=[item("completed", part(ANSWER))], usage=usage)),
        opening=tuple(events[: len(opening)]),
        deltas=tuple(events[len(opening) : -len(closing)]),
        closing=tuple(events[-len(closing) :]),
    )


# -- anthropic --------------------------------------------------------------------------------


def _anthropic() -> Wire:
    body = {
        "model": "model",
        "system": SYSTEM,
        "messages": _turns("assistant", str, "content"),
        "tools": [{"name": TOOL, "description": TOOL_PURPOSE, "input_schema": SCHEMA}],
        "max_tokens": 512,
        "temperature": 0.2,
    }
    usage = {
        "input_tokens": INPUT_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": OUTPUT_TOKENS,
        "service_tier": "standard",
    }

    def message(content: list[Any], stop_reason: str | None) -> dict[str, Any]:
        head = {"model": "model-2026", "id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message"}
        ended = {"stop_reason": stop_reason, "stop_sequence": None, "usage": usage}
        return {**head, "role": "assistant", "content": content, **ended}

    def delta(word: str) -> dict[str, Any]:
        text = {"type": "text_delta", "text": word}
        return {"type": "content_block_delta", "index": 0, "delta": text}

    block = {"type": "text", "text": ""}
    return Wire(
        "anthropic",
        path="/v1/messages",
        stream_path="/v1/messages",
        request=_json(body),
        stream_request=_json({**body, "stream": True}),
        answer=_json(message([{"type": "text", "text": ANSWER}], "end_turn")),
        opening=(
            _named({"type": "message_start", "message": message([], None)}),
            _named({"type": "content_block_start", "index": 0, "content_block": block}),
            _named({"type": "ping"}),
        ),
        deltas=tuple(_named(delta(word)) for word in words()),
        closing=(
            _named({"type": "content_block_stop", "index": 0}),
            _named(
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                    "usage": {"output_tokens": OUTPUT_TOKENS},
                }
            ),
            _named({"type": "message_stop"}),
        ),
    )


# -- google -----------------------------------------------------------------------------------


def _google() -> Wire:
    def parts(text: str) -> list[dict[str, str]]:
        return [{"text": text}]

    declaration = {"name": TOOL, "description": TOOL_PURPOSE, "parameters": SCHEMA}
    body = _json(
        {
            "systemInstruction": {"parts": parts(SYSTEM)},
            "contents": _turns("model", parts, "parts"),
            "tools": [{"functionDeclarations": [declaration]}],
            "generationConfig": {"maxOutputTokens": 512, "temperature": 0.2},
        }
    )
    counts = [{"modality": "TEXT", "tokenCount": INPUT_TOKENS}]

    def answer(text: str, finish_reason: str | None) -> dict[str, Any]:
        candidate = {"content": {"parts": parts(text), "role": "model"}, "index": 0}
        usage = {
            "promptTokenCount": INPUT_TOKENS,
            "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
            "promptTokensDetails": counts,
        }
        return {
            "candidates": [candidate | ({"finishReason": finish_reason} if finish_reason else {})],
            "usageMetadata": usage,
            "modelVersion": "model-2026",
            "responseId": "WZjnaJ2mDbS5vdIP",
        }

    return Wire(
        "google",
        path="/v1beta/models/model:generateContent",
        stream_path="/v1beta/models/model:streamGenerateContent?alt=sse",
        request=body,
        stream_request=body,
        answer=_json(answer(ANSWER, "STOP")),
        opening=(_data(answer("Well,", None)),),
        deltas=tuple(_data(answer(word, None)) for word in words()),
        closing=(_data(answer("", "STOP")),),
    )


WIRES: Final = (_chat(), _responses(), _anthropic(), _google())
