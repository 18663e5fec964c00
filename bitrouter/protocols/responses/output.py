"""What the items of a provider's answer mean, the same in a whole answer and in a stream.

Servers that imitate the API are not always exact, so every part is decoded on its own: one that
cannot be understood is passed over. Source: protocols.md, 1.2 and 2.7.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from bitrouter.ir import (
    Citation,
    Finish,
    LogProb,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    Usage,
)
from bitrouter.protocols import openai
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.responses.decode_content import citations
from bitrouter.protocols.responses.types import (
    Annotation,
    OutputItem,
    OutputPart,
    Part,
    Response,
    is_given,
)
from bitrouter.protocols.responses.usage import ResponsesUsage

CALLS: Final = frozenset({"function_call", "custom_tool_call"})

_item: Final = msgspec.json.Decoder(OutputItem)
_part: Final = msgspec.json.Decoder(OutputPart)
_annotation: Final = msgspec.json.Decoder(Annotation)
_usage: Final = msgspec.json.Decoder(ResponsesUsage)
_logprobs: Final = msgspec.json.Decoder(list[openai.TokenLogProb])


def read_items(raw_items: Iterable[msgspec.Raw]) -> Iterator[OutputItem]:
    """The items that can be understood, in order."""
    for raw in raw_items:
        item = decode_part(_item, raw)
        if item is not None:
            yield item


def read_parts(item: OutputItem) -> list[OutputPart]:
    """The parts of a message, or of the thinking in a reasoning item; the place is their index."""
    return [decode_part(_part, raw) or OutputPart() for raw in item.content or ()]


def read_citations(annotations: Iterable[msgspec.Raw] | None) -> tuple[Citation, ...]:
    """The web pages among the annotations of a text."""
    found = [decode_part(_annotation, raw) for raw in annotations or ()]
    return citations([one for one in found if one is not None])


def read_logprobs(raw: msgspec.Raw) -> tuple[LogProb, ...]:
    """The tokens' probabilities, none if there are none."""
    if len(raw) <= 2:
        return ()
    return tuple(one.neutral() for one in decode_part(_logprobs, raw) or ())


def read_usage(response: Response) -> Usage | None:
    """What the answer says of its usage."""
    if not is_given(response.usage):
        return None
    usage = decode_part(_usage, response.usage)
    return usage.neutral() if usage else None


def signature_of(item: OutputItem) -> Signature | None:
    """What a reasoning item is recognised by. Whatever it is, this provider will know it again: one
    that is a router itself has put another vendor's into an envelope of its own.
    """
    if not item.encrypted_content:
        return None
    return Signature(openai.ORIGIN, item.encrypted_content, item.id)


def call_of(item: OutputItem) -> ToolCall | None:
    """A call; None if it has no name. Its identity is `call_id`, the item's own id names the item
    (protocols.md, G15).
    """
    if not item.name:
        return None
    call_id = item.call_id or item.id or f"call_{secrets.token_hex(12)}"
    if item.type == "custom_tool_call":
        return ToolCall(call_id, item.name, item.input or "", custom=True)
    return ToolCall(call_id, item.name, arguments_of(item))


def arguments_of(item: OutputItem) -> str:
    """A function's arguments as JSON text. Some servers give the object itself (G50)."""
    if isinstance(item.arguments, dict):
        return msgspec.json.encode(item.arguments).decode()
    return item.arguments or "{}"


def summary_of(item: OutputItem) -> str:
    """The summary of a reasoning item, its parts set apart by a blank line."""
    return joined(item.summary or ())


def thought_of(item: OutputItem) -> str:
    """The thinking itself, where the provider shows it."""
    return "\n\n".join(part.text for part in read_parts(item) if part.text)


def joined(parts: Iterable[Part]) -> str:
    """The texts of parts, set apart by a blank line."""
    return "\n\n".join(part.text for part in parts if part.text)


def reasoning_of(item: OutputItem) -> list[Reasoning]:
    """A reasoning item: what there is of summary and thinking, the signature on the last."""
    blocks = []
    if summary := summary_of(item):
        blocks.append(Reasoning(summary))
    if thought := thought_of(item):
        blocks.append(Reasoning(thought, raw=True))
    signature = signature_of(item)
    if signature is not None:
        blocks = blocks or [Reasoning("")]
        blocks[-1].signature = signature
    return blocks


def block_of(part: OutputPart) -> Text | Refusal | None:
    """A part of a message; None if there is nothing in it."""
    if part.text:
        return Text(part.text, citations=read_citations(part.annotations))
    return Refusal(part.refusal) if part.refusal else None


def finish_of(response: Response, *, called: bool, refused: bool) -> Finish:
    """Why the answer ended, which Responses says by the answer's status and items."""
    if response.status == "incomplete" or response.incomplete_details is not None:
        details = response.incomplete_details
        word = (details.reason if details else None) or "max_output_tokens"
        if word in ("max_output_tokens", "max_tokens"):
            return Finish("length", raw=word)
        if word == "content_filter":
            return Finish("filtered", raw=word)
        return Finish("other", raw=word)
    if called:
        return Finish("tool_calls", raw="completed")
    return Finish("filtered" if refused else "stop", raw="completed")
