"""Token counts as Chat Completions and Embeddings report them."""

from typing import Any, Final

import msgspec

from bitrouter.ir import Usage
from bitrouter.protocols.chat.types import Count


class PromptDetails(msgspec.Struct, gc=False):
    """`usage.prompt_tokens_details`."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """`usage.completion_tokens_details`."""

    reasoning_tokens: Count | None = None


_NO_PROMPT_DETAILS: Final = PromptDetails()
_NO_COMPLETION_DETAILS: Final = CompletionDetails()


class ChatUsage(msgspec.Struct):
    """`usage`. Prompt tokens include the cached ones, completion tokens the reasoning."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    def neutral(self) -> Usage:
        """The same counts in the neutral form."""
        prompt = self.prompt_tokens_details or _NO_PROMPT_DETAILS
        completion = self.completion_tokens_details or _NO_COMPLETION_DETAILS
        return Usage(
            self.prompt_tokens,
            self.completion_tokens,
            prompt.cached_tokens,
            prompt.cache_write_tokens,
            completion.reasoning_tokens,
        )


class UsageHolder(msgspec.Struct):
    """A whole answer, of which only the usage is read."""

    usage: ChatUsage | None = None


usage_holder: Final = msgspec.json.Decoder(UsageHolder)


def decode_usage(value: Any) -> Usage | None:
    """The usage in a decoded answer, if there is one that can be read."""
    if value is None:
        return None
    try:
        return msgspec.convert(value, ChatUsage).neutral()
    except msgspec.ValidationError:
        return None


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The counts as chat reports them, those that are not known left out: protocols.md, 2.7."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": None,
        "prompt_tokens_details": _known(
            cached_tokens=usage.cached_tokens, cache_write_tokens=usage.cache_write_tokens
        ),
        "completion_tokens_details": _known(reasoning_tokens=usage.reasoning_tokens),
    }
    if usage.input_tokens is not None and usage.output_tokens is not None:
        counts["total_tokens"] = usage.input_tokens + usage.output_tokens
    return {name: count for name, count in counts.items() if count is not None}


def _known(**counts: int | None) -> dict[str, int] | None:
    return {name: count for name, count in counts.items() if count is not None} or None
