"""Why an answer ended, in Google's words and in the neutral form's (protocols.md, 2.7)."""

from typing import Final

from bitrouter.ir import Finish, FinishReason
from bitrouter.protocols.google.types import Candidate, PromptFeedback

_FILTERED: Final = (
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"),
)
_REASONS: Final[dict[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",  # there is more, for whom can ask Google to go on
    **dict.fromkeys(_FILTERED, "filtered"),
}
_WORDS: Final[dict[FinishReason, str]] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool_calls": "STOP",
    "paused": "STOP",
    "length": "MAX_TOKENS",
    "context": "MAX_TOKENS",
    "filtered": "SAFETY",
    "other": "OTHER",
}


def read_finish(candidate: Candidate, *, called: bool) -> Finish:
    """Why a candidate ended. A stop is for its calls if there was any in all of the answer."""
    raw = candidate.finish_reason
    reason: FinishReason = _REASONS.get(raw.upper(), "other") if raw else "stop"
    if reason == "stop" and called:
        reason = "tool_calls"
    return Finish(reason, raw=raw, detail=candidate.finish_message)


def read_block(feedback: PromptFeedback | None) -> Finish | None:
    """Why there is no answer to a prompt; None if it was not blocked."""
    if feedback is None or not feedback.block_reason:
        return None
    return Finish("filtered", raw=feedback.block_reason, detail=feedback.block_reason_message)


def finish_word(finish: Finish) -> str:
    """Google's `finishReason`."""
    return _WORDS[finish.reason]
