"""What messages and pieces of messages of a provider say, however it writes it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from bitrouter.ir import Citation, LogProb
from bitrouter.protocols.chat.types import Delta
from bitrouter.protocols.openai import TokenLogProb


class _LogProbs(msgspec.Struct):
    content: tuple[TokenLogProb, ...] | None = None
    refusal: tuple[TokenLogProb, ...] | None = None


def text_of(content: Any) -> str:
    """A message's content: a string, or the texts of a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        part["text"]
        for part in content
        if isinstance(part, dict)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    )


def reasoning_of(delta: Delta) -> str:
    """The thinking, in the first place that has any: protocols.md, 2.9. Servers that fill several
    say the same in each.
    """
    text = delta.reasoning_content
    if text and isinstance(text, str):
        return text
    text = delta.reasoning
    if text and isinstance(text, str):
        return text
    if delta.reasoning_details:
        return "".join(_detail_texts(delta.reasoning_details))
    return "".join(_thinking_parts(delta.content)) if isinstance(delta.content, list) else ""


def _detail_texts(details: Any) -> Iterator[str]:
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            text = detail.get("text") or detail.get("summary")
            if isinstance(text, str):
                yield text


def _thinking_parts(content: list[Any]) -> Iterator[str]:
    """Parts of type `thinking`, which hold a text or parts of text, as Mistral writes them."""
    for part in content:
        if isinstance(part, dict) and part.get("type") == "thinking":
            yield text_of(part.get("thinking"))


def citations_of(annotations: Any) -> list[Citation]:
    """The `url_citation`s among annotations."""
    found = []
    for annotation in annotations if isinstance(annotations, list) else ():
        cited = annotation.get("url_citation") if isinstance(annotation, dict) else None
        if isinstance(cited, dict) and isinstance(url := cited.get("url"), str):
            title = cited.get("title")
            found.append(
                Citation(
                    url,
                    title if isinstance(title, str) else None,
                    start=_place(cited.get("start_index")),
                    end=_place(cited.get("end_index")),
                )
            )
    return found


def _place(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def logprobs_of(value: Any) -> tuple[LogProb, ...] | None:
    """`logprobs` of a choice; None if there are none."""
    if value is None:
        return None
    try:
        found = msgspec.convert(value, _LogProbs)
    except msgspec.ValidationError:
        return None
    tokens = found.content or found.refusal
    return None if tokens is None else tuple(token.neutral() for token in tokens)
