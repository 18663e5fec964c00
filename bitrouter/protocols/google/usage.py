"""Token counts as Gemini reports them."""

from typing import Final

import msgspec

from bitrouter.ir import Usage


class UsageMetadata(msgspec.Struct, rename="camel"):
    """`usageMetadata`. The prompt includes the cached tokens; candidates exclude thoughts.

    Zero figures are left out on the wire.
    """

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    total_token_count: int | None = None

    def neutral(self) -> Usage:
        """The same counts in the neutral form, whose output includes the thoughts."""
        prompt = self.prompt_token_count
        if prompt is not None:
            prompt += self.tool_use_prompt_token_count or 0
        return Usage(
            input_tokens=prompt,
            output_tokens=self._output(prompt),
            cached_tokens=self.cached_content_token_count,
            reasoning_tokens=self.thoughts_token_count,
        )

    def _output(self, prompt: int | None) -> int | None:
        if self.candidates_token_count is not None:
            return self.candidates_token_count + (self.thoughts_token_count or 0)
        if self.total_token_count is not None and prompt is not None:
            return max(self.total_token_count - prompt, 0)
        return None


class UsageHolder(msgspec.Struct, rename="camel"):
    """A whole answer, of which only the usage is read; countTokens has a total alone."""

    usage_metadata: UsageMetadata | None = None


usage_holder: Final = msgspec.json.Decoder(UsageHolder)


def usage_metadata(usage: Usage) -> dict[str, int]:
    """`usageMetadata` for a client. Source: protocols.md, 2.7, "Usage"."""
    thoughts = usage.reasoning_tokens or 0
    counts = {
        "promptTokenCount": usage.input_tokens,
        "cachedContentTokenCount": usage.cached_tokens or None,
        "candidatesTokenCount": _less(usage.output_tokens, thoughts),
        "thoughtsTokenCount": thoughts or None,
        "totalTokenCount": _sum(usage.input_tokens, usage.output_tokens),
    }
    return {name: count for name, count in counts.items() if count is not None}


def _less(total: int | None, part: int) -> int | None:
    return max(total - part, 0) if total is not None else None


def _sum(first: int | None, second: int | None) -> int | None:
    return first + second if first is not None and second is not None else None
