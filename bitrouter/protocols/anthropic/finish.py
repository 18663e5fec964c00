"""Why an answer ended, in Anthropic's words (protocols.md, 2.7)."""

from typing import Final

import msgspec

from bitrouter.ir import Finish, FinishReason
from bitrouter.protocols.anthropic import types
from bitrouter.protocols.base import decode_part

_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "context",
    "tool_use": "tool_calls",
    "refusal": "filtered",
    "pause_turn": "paused",
}
_WORDS: Final[dict[FinishReason, str]] = {reason: word for word, reason in _REASONS.items()} | {
    "other": "end_turn"
}


def decode_finish(
    stop_reason: str | None,
    stop_sequence: str | None,
    details: msgspec.Raw,
    *,
    called: bool,
) -> Finish:
    """The end of an answer, in which tools were `called` or not: some servers that imitate the API
    say end_turn either way, or nothing.
    """
    reason = _REASONS.get(stop_reason, "other") if stop_reason else "stop"
    if reason == "stop" and called:
        reason = "tool_calls"
    if reason == "stop_sequence":
        return Finish(reason, raw=stop_reason, sequence=stop_sequence)
    if reason == "filtered":
        told = decode_part(types.stop_details, details) or types.StopDetails()
        return Finish(reason, raw=stop_reason, detail=told.explanation or told.category)
    return Finish(reason, raw=stop_reason)


def finish_fields(finish: Finish, *, called: bool) -> dict[str, object]:
    """`stop_reason`, `stop_sequence` and, to a refusal, `stop_details`."""
    word = _WORDS[finish.reason]
    if finish.reason == "stop" and called:
        word = "tool_use"
    elif finish.reason == "stop_sequence" and finish.sequence is None:
        word = "end_turn"  # stop_sequence has to say which
    sequence = finish.sequence if word == "stop_sequence" else None
    fields: dict[str, object] = {"stop_reason": word, "stop_sequence": sequence}
    if finish.detail is not None and word == "refusal":
        details = {"type": "refusal", "category": None, "explanation": finish.detail}
        fields["stop_details"] = details
    return fields
