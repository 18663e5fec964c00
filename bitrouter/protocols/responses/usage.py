"""Token counts as Responses reports them."""

from typing import Final

import msgspec

from bitrouter.ir import Usage
from bitrouter.protocols.responses.types import Count


class InputDetails(msgspec.Struct, gc=False):
    """`usage.input_tokens_details`."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class OutputDetails(msgspec.Struct, gc=False):
    """`usage.output_tokens_details`."""

    reasoning_tokens: Count | None = None


class ResponsesUsage(msgspec.Struct):
    """`usage`. Input tokens include the cached ones, output tokens the reasoning."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None

    def neutral(self) -> Usage:
        """The same counts in the neutral form."""
        read = self.input_tokens_details or InputDetails()
        written = self.output_tokens_details or OutputDetails()
        return Usage(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=read.cached_tokens,
            cache_write_tokens=read.cache_write_tokens,
            reasoning_tokens=written.reasoning_tokens,
        )


class UsageHolder(msgspec.Struct):
    """A whole response, of which only the usage is read."""

    usage: ResponsesUsage | None = None


usage_holder: Final = msgspec.json.Decoder(UsageHolder)
