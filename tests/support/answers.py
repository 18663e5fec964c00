"""What a client reads in an answer, whatever its protocol: the little that all of them say."""

import json
from dataclasses import dataclass
from typing import Any

from tests.support.dialects import Dialect


@dataclass(frozen=True)
class Told:
    """An answer's text, the model that it names, its tokens, and whether it says that it ended."""

    text: str
    model: str
    input_tokens: int | None
    output_tokens: int | None
    ended: bool


def read_whole(dialect: Dialect, body: bytes) -> Told:
    """A whole answer."""
    said = json.loads(body)
    match dialect.name:
        case "chat":
            choice = said["choices"][0]
            return Told(
                choice["message"]["content"],
                said["model"],
                said["usage"]["prompt_tokens"],
                said["usage"]["completion_tokens"],
                choice["finish_reason"] == "stop",
            )
        case "responses":
            return _response(said)
        case "anthropic":
            return Told(
                "".join(block["text"] for block in said["content"]),
                said["model"],
                said["usage"]["input_tokens"],
                said["usage"]["output_tokens"],
                said["stop_reason"] == "end_turn",
            )
        case _:
            return _google([said])


def _response(said: dict[str, Any]) -> Told:
    usage = said["usage"] or {}
    return Told(
        "".join(part["text"] for item in said["output"] for part in item["content"]),
        said["model"],
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        said["status"] == "completed",
    )


def _google(elements: list[dict[str, Any]]) -> Told:
    candidates = [one["candidates"][0] for one in elements if one.get("candidates")]
    parts = [part for one in candidates for part in one["content"]["parts"]]
    usage = elements[-1].get("usageMetadata", {})
    return Told(
        "".join(part["text"] for part in parts),
        elements[-1]["modelVersion"],
        usage.get("promptTokenCount"),
        usage.get("candidatesTokenCount"),
        candidates[-1].get("finishReason") == "STOP",
    )


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The data of every event of a stream, the marker [DONE] left out."""
    blocks = stream.removesuffix(b"\n\n").split(b"\n\n")
    data = [block.split(b"data: ", 1)[1] for block in blocks]
    return [json.loads(one) for one in data if one != b"[DONE]"]


def read_stream(dialect: Dialect, stream: bytes) -> Told:
    """A complete stream of server-sent events."""
    events = events_of(stream)
    match dialect.name:
        case "chat":
            choices = [choice for one in events for choice in one["choices"]]
            usage = events[-1].get("usage") or {}
            return Told(
                "".join(choice["delta"].get("content") or "" for choice in choices),
                events[0]["model"],
                usage.get("prompt_tokens"),
                usage.get("completion_tokens"),
                choices[-1]["finish_reason"] == "stop" and stream.endswith(b"data: [DONE]\n\n"),
            )
        case "responses":
            deltas = [one["delta"] for one in events if one["type"].endswith("text.delta")]
            told = _response(events[-1]["response"])
            assert "".join(deltas) == told.text
            return told
        case "anthropic":
            deltas = [one["delta"] for one in events if one["type"] == "content_block_delta"]
            last = next(one for one in events if one["type"] == "message_delta")
            return Told(
                "".join(delta["text"] for delta in deltas),
                events[0]["message"]["model"],
                last["usage"]["input_tokens"],
                last["usage"]["output_tokens"],
                events[-1]["type"] == "message_stop",
            )
        case _:
            return _google(events)
