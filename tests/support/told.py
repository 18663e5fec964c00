"""Streams made to measure, and a reading of streams that wants them to be well formed.

A provider's stream has the pieces of text that it is given; `Heard` is what a client has heard once
its stream has ended, be it with an error.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.dialects import Dialect, event
from tests.support.eventstream import read_events

INPUT = 11
OUTPUT = 7


def stream_of(dialect: Dialect, *pieces: str, thought: str = "") -> tuple[bytes, ...]:
    """A complete stream of a provider, with one event for each of `pieces`."""
    return {
        "chat": _chat,
        "responses": _responses,
        "anthropic": _anthropic,
        "google": _google,
    }[dialect.name](pieces, thought)


def begun(dialect: Dialect, *pieces: str, thought: str = "") -> tuple[bytes, ...]:
    """The beginning of such a stream, up to the last piece."""
    events = stream_of(dialect, *pieces, thought=thought)
    return events[: -_AFTER_TEXT[dialect.name]]


_AFTER_TEXT = {"chat": 3, "responses": 4, "anthropic": 3, "google": 1}


def _chat(pieces: Sequence[str], thought: str) -> tuple[bytes, ...]:
    head = {"id": "c9", "object": "chat.completion.chunk", "created": 1, "model": "up-1"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
    return (
        chunk({"role": "assistant", "content": ""}),
        *([chunk({"reasoning_content": thought})] if thought else []),
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, "stop"),
        event(head | {"choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    )


def _responses(pieces: Sequence[str], thought: str) -> tuple[bytes, ...]:
    text = "".join(pieces)
    item: dict[str, Any] = {"type": "message", "id": "msg_9", "role": "assistant"}
    part: dict[str, Any] = {"type": "output_text", "annotations": [], "logprobs": []}
    whole = part | {"text": text}
    done = item | {"status": "completed", "content": [whole]}
    at = {"output_index": 1 if thought else 0, "item_id": "msg_9", "content_index": 0}
    of = {"output_index": at["output_index"]}
    response = {"id": "resp_9", "object": "response", "model": "up-1", "output": []}
    usage = {"input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
    ended = response | {"status": "completed", "output": [done], "usage": usage}
    thoughts: list[dict[str, Any]] = []
    if thought:
        where = {"output_index": 0, "item_id": "rs_9", "summary_index": 0, "delta": thought}
        thoughts = [{"type": "response.reasoning_summary_text.delta", **where}]
    events = [
        {"type": "response.created", "response": response | {"status": "in_progress"}},
        *thoughts,
        {"type": "response.output_item.added", **of, "item": item | {"content": []}},
        {"type": "response.content_part.added", **at, "part": part | {"text": ""}},
        *(
            {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
            for piece in pieces
        ),
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": whole},
        {"type": "response.output_item.done", **of, "item": done},
        {"type": "response.completed", "response": ended},
    ]
    return tuple(
        event(one | {"sequence_number": number}, str(one["type"]))
        for number, one in enumerate(events)
    )


def _anthropic(pieces: Sequence[str], thought: str) -> tuple[bytes, ...]:
    message: dict[str, Any] = {
        "id": "msg_9",
        "type": "message",
        "role": "assistant",
        "model": "up-1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT, "output_tokens": 1},
    }
    at = 1 if thought else 0
    thoughts: list[dict[str, Any]] = []
    if thought:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        delta = {"type": "thinking_delta", "thinking": thought}
        thoughts = [
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
        ]
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    text = {"type": "text", "text": ""}
    events = [
        {"type": "message_start", "message": message},
        *thoughts,
        {"type": "content_block_start", "index": at, "content_block": text},
        *({"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": at},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": OUTPUT},
        },
        {"type": "message_stop"},
    ]
    return tuple(event(one, str(one["type"])) for one in events)


def _google(pieces: Sequence[str], thought: str) -> tuple[bytes, ...]:
    def element(part: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0, **more}]}

    usage = {
        "promptTokenCount": INPUT,
        "candidatesTokenCount": OUTPUT,
        "totalTokenCount": INPUT + OUTPUT,
    }
    return (
        *([event(element({"text": thought, "thought": True}))] if thought else []),
        *(event(element({"text": piece})) for piece in pieces),
        event(element({"text": ""}, finishReason="STOP") | {"usageMetadata": usage}),
    )


# -- what a client hears ----------------------------------------------------------------------


@dataclass(frozen=True)
class Heard:
    """The text and the thinking of a stream, how often it said that it was complete, and the error
    that it ended with. `input` and `output` are its tokens.
    """

    text: str
    thought: str
    ends: int
    error: str | None
    input: int | None
    output: int | None


def hear(dialect: Dialect, stream: bytes) -> Heard:
    """Read a stream of server-sent events, which must be well formed up to where it ends."""
    assert stream.endswith(b"\n\n")
    return {
        "chat": _hear_chat,
        "responses": _hear_responses,
        "anthropic": _hear_anthropic,
        "google": _hear_google,
    }[dialect.name](read_events(stream))


_Events = list[tuple[bytes, bytes]]


def _hear_chat(events: _Events) -> Heard:
    marks = [data == b"[DONE]" for _, data in events]
    chunks = [json.loads(data) for _, data in events if data != b"[DONE]"]
    error = chunks.pop()["error"]["message"] if "error" in chunks[-1] else None
    assert marks[-1] == (error is None)
    assert len({(one["id"], one["created"], one["model"]) for one in chunks}) == 1
    choices = [choice for one in chunks for choice in one["choices"]]
    assert [choice["delta"].get("role") for choice in choices].count("assistant") == 1
    finishes = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    assert finishes == ([] if error else [choices[-1]["finish_reason"]])
    usage = chunks[-1].get("usage") or {}
    return Heard(
        "".join(choice["delta"].get("content") or "" for choice in choices),
        "".join(choice["delta"].get("reasoning_content") or "" for choice in choices),
        sum(marks),
        error,
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
    )


def _hear_responses(events: _Events) -> Heard:
    said = [json.loads(data) for _, data in events]
    assert [one["type"].encode() for one in said] == [name for name, _ in events]
    assert [one["sequence_number"] for one in said] == list(range(len(said)))
    kinds = [one["type"] for one in said]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.created") == 1
    last = said[-1]["response"]
    assert len({one["response"]["id"] for one in said if "response" in one}) == 1
    error = last["error"]["message"] if kinds[-1] == "response.failed" else None
    added = [one["output_index"] for one in said if one["type"] == "response.output_item.added"]
    done = [one["output_index"] for one in said if one["type"] == "response.output_item.done"]
    assert added == list(range(len(added)))
    if error is None:
        assert done == added
    texts = {"text": "", "thought": ""}
    for one in said:
        if one["type"] == "response.output_text.delta":
            texts["text"] += one["delta"]
        elif one["type"] in (
            "response.reasoning_summary_text.delta",
            "response.reasoning_text.delta",
        ):
            texts["thought"] += one["delta"]
    parts = [part for item in last["output"] for part in item.get("content") or ()]
    told = "".join(part["text"] for part in parts if part["type"] == "output_text")
    assert told == texts["text"]
    usage = last["usage"] or {}
    return Heard(
        texts["text"],
        texts["thought"],
        kinds.count("response.completed"),
        error,
        usage.get("input_tokens"),
        usage.get("output_tokens"),
    )


def _hear_anthropic(events: _Events) -> Heard:
    said = [json.loads(data) for _, data in events if data]
    assert [one["type"].encode() for one in said] == [name for name, _ in events]
    error = said.pop()["error"]["message"] if said[-1]["type"] == "error" else None
    assert [one["type"] for one in said].count("message_start") == 1
    usage = said[0]["message"]["usage"]
    texts = {"text_delta": "", "thinking_delta": "", "signature_delta": ""}
    expected, is_open, ends = 0, False, 0
    for one in said[1:]:
        match one["type"]:
            case "content_block_start":
                assert (one["index"], is_open) == (expected, False)
                is_open = True
            case "content_block_delta":
                assert (one["index"], is_open) == (expected, True)
                kind, text = one["delta"]["type"], list(one["delta"].values())[1]
                texts[kind] += text
            case "content_block_stop":
                assert (one["index"], is_open) == (expected, True)
                is_open, expected = False, expected + 1
            case "message_delta":
                assert not is_open
                assert one["delta"]["stop_reason"] == "end_turn"
                usage = one["usage"]
            case "message_stop":
                ends += 1
            case _:
                assert one["type"] == "ping"
    assert (said[-1]["type"] == "message_stop") == (error is None)
    return Heard(
        texts["text_delta"],
        texts["thinking_delta"],
        ends,
        error,
        usage.get("input_tokens"),
        usage.get("output_tokens"),
    )


def _hear_google(events: _Events) -> Heard:
    said = [json.loads(data) for _, data in events]
    error = said.pop()["error"]["message"] if "error" in said[-1] else None
    assert len({(one["responseId"], one["modelVersion"]) for one in said}) == 1
    candidates = [one["candidates"][0] for one in said]
    finishes = [one["finishReason"] for one in candidates if one.get("finishReason")]
    assert finishes == ([] if error else ["STOP"])
    parts = [part for one in candidates for part in one["content"]["parts"]]
    usage = said[-1].get("usageMetadata", {})
    return Heard(
        "".join(part["text"] for part in parts if not part.get("thought")),
        "".join(part["text"] for part in parts if part.get("thought")),
        len(finishes),
        error,
        usage.get("promptTokenCount"),
        usage.get("candidatesTokenCount"),
    )
