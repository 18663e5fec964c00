"""Token counts as Chat Completions and Embeddings report them."""

from typing import Final

import msgspec

from bitrouter.ir import Usage


class PromptDetails(msgspec.Struct, gc=False):
    """`usage.prompt_tokens_details`."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """`usage.completion_tokens_details`."""

    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct):
    """`usage`. Prompt tokens include the cached ones, completion tokens the reasoning."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    def neutral(self) -> Usage:
        """The same counts in the neutral form."""
        prompt = self.prompt_tokens_details or PromptDetails()
        completion = self.completion_tokens_details or CompletionDetails()
        return Usage(
            input_tokens=self.prompt_tokens,
            output_tokens=self.completion_tokens,
            cached_tokens=prompt.cached_tokens,
            cache_write_tokens=prompt.cache_write_tokens,
            reasoning_tokens=completion.reasoning_tokens,
        )


class UsageHolder(msgspec.Struct):
    """A whole answer, of which only the usage is read."""

    usage: ChatUsage | None = None


usage_holder: Final = msgspec.json.Decoder(UsageHolder)
