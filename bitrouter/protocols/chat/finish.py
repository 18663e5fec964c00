"""Why an answer ended, in chat's words and the neutral ones: protocols.md, 2.7, "Finish"."""

from typing import Any, Final

from bitrouter.ir import Finish, FinishReason

# The vendor's own, then those of servers that imitate it.
_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "filtered",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_length": "context",
    "safety": "filtered",
    "sensitive": "filtered",
    "refusal": "filtered",
}
_STOPPED: Final = Finish("stop", "stop")  # as most answers end: one for all, being frozen
_WORDS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context": "length",
    "tool_calls": "tool_calls",
    "filtered": "content_filter",
    "paused": "stop",
    "other": "stop",
}


def decode_finish(word: Any, *, has_calls: bool, has_refusal: bool) -> Finish:
    """What a `finish_reason` means, given what the answer holds; without one it is inferred.

    Some servers say `stop` to calls, and a refusal always ends with it.
    """
    if word == "stop" and not has_calls and not has_refusal:
        return _STOPPED
    raw = word if isinstance(word, str) and word else None
    reason = _REASONS.get(raw.lower(), "other") if raw else "stop"
    if has_calls and reason in ("stop", "other"):
        reason = "tool_calls"
    elif has_refusal and reason == "stop":
        reason = "filtered"
    return Finish(reason, raw)


def encode_finish(finish: Finish, *, has_refusal: bool, legacy: bool) -> str:
    """The word for it. A refusal that is told in words is an answer that has ended: `stop`."""
    if finish.reason == "filtered" and has_refusal:
        return "stop"
    if finish.reason == "tool_calls" and legacy:
        return "function_call"
    return _WORDS[finish.reason]
