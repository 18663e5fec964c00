"""What becomes of a feature between a client and an upstream."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

CLIENTS: Final = ("chat", "responses", "anthropic", "google")
UPSTREAMS: Final = CLIENTS

# The client's own names of what is dropped, where they are not those of ir.Request.
_SPELLED: Final[Mapping[str, Mapping[str, str]]] = {
    "chat": {
        "user": "safety_identifier",
        "thinking": "reasoning_effort",
        "output": "response_format",
        "cache": "prompt_cache_breakpoint",
        "parallel_tools": "parallel_tool_calls",
    },
    "responses": {
        "user": "safety_identifier",
        "thinking": "reasoning",
        "output": "text",
        "logprobs": "include",
        "cache": "prompt_cache_breakpoint",
        "verbosity": "text.verbosity",
        "parallel_tools": "parallel_tool_calls",
    },
    "anthropic": {
        "stop": "stop_sequences",
        "user": "metadata",
        "cache": "cache_control",
        "output": "output_config",
        "parallel_tools": "tool_choice",
    },
    "google": {
        "top_p": "topP",
        "top_k": "topK",
        "stop": "stopSequences",
        "presence_penalty": "presencePenalty",
        "frequency_penalty": "frequencyPenalty",
        "logprobs": "responseLogprobs",
        "top_logprobs": "logprobs",
        "thinking": "thinkingConfig",
        "service_tier": "serviceTier",
        "output": "responseSchema",
    },
}


@dataclass(frozen=True)
class Outcome:
    """What happens to a feature in one cell.

    `full`: the client cannot tell the difference. `lossy`: it is answered, without what the
    answer's x-bitrouter-dropped names (`dropped`), or with the change that `note` tells.
    `refused`: 400, and `words` are in the message.
    """

    kind: Literal["full", "lossy", "refused"]
    dropped: frozenset[str] = frozenset()
    note: str = ""
    words: str = ""


FULL: Final = Outcome("full")


def lossy(*dropped: str, note: str = "") -> Outcome:
    """Answered, but not all of it. `dropped` are neutral names (fields of ir.Request)."""
    assert dropped or note
    return Outcome("lossy", frozenset(dropped), note)


def refused(words: str, note: str = "") -> Outcome:
    """Answered with 400."""
    return Outcome("refused", words=words, note=note)


def spelled(outcome: Outcome, client: str) -> Outcome:
    """The same with the client's own names."""
    names = _SPELLED[client]
    return replace(outcome, dropped=frozenset(names.get(n, n) for n in outcome.dropped))
