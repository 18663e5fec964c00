"""Token counts as Anthropic reports them."""

from typing import Annotated, Any, Final

import msgspec

from bitrouter.ir import Usage

# As large as a number is that every JSON reader keeps exactly.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class OutputDetails(msgspec.Struct, gc=False):
    """`usage.output_tokens_details`."""

    thinking_tokens: Count | None = None


_NO_DETAILS: Final = OutputDetails()
_UNKNOWN: Final = Usage()


class MessagesUsage(msgspec.Struct):
    """`usage`. Here the input tokens exclude both cache figures; output includes thinking.

    In a stream it comes twice, and what the second says replaces what the first said.
    """

    input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens: Count | None = None
    output_tokens_details: OutputDetails | None = None

    def updated(self, newer: "MessagesUsage") -> "MessagesUsage":
        """These counts, overwritten by every one that `newer` has."""
        given = {
            name: value
            for name in newer.__struct_fields__
            if (value := getattr(newer, name)) is not None
        }
        return msgspec.structs.replace(self, **given)

    def neutral(self) -> Usage:
        """The same counts in the neutral form, whose input includes the cached tokens."""
        whole = None
        if self.input_tokens is not None:
            whole = self.input_tokens + (self.cache_creation_input_tokens or 0)
            whole += self.cache_read_input_tokens or 0
        details = self.output_tokens_details or _NO_DETAILS
        return Usage(
            input_tokens=whole,
            output_tokens=self.output_tokens,
            cached_tokens=self.cache_read_input_tokens,
            cache_write_tokens=self.cache_creation_input_tokens,
            reasoning_tokens=details.thinking_tokens,
        )


def usage_fields(usage: Usage | None) -> dict[str, Any]:
    """The value of `usage` for a client: zeros for what is not known, as its SDK insists on the
    object; the parts of the input that were cached are taken out of it.
    """
    known = usage or _UNKNOWN
    read, written = known.cached_tokens or 0, known.cache_write_tokens or 0
    own = (known.input_tokens or 0) - read - written
    fields: dict[str, Any] = {
        "input_tokens": own if own > 0 else 0,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": known.output_tokens or 0,
    }
    if known.reasoning_tokens is not None:
        fields["output_tokens_details"] = {"thinking_tokens": known.reasoning_tokens}
    return fields


class UsageHolder(msgspec.Struct):
    """A whole message, of which only the usage is read."""

    usage: MessagesUsage | None = None


usage_holder: Final = msgspec.json.Decoder(UsageHolder)
