"""The turns of a client's request, block by block (protocols.md, 1.3 and 2.3).

What only Anthropic's own tools say and read in a history is left out and announced under the
type of the block; what nobody knows is an error that names its place.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

import msgspec

from bitrouter.errors import InvalidRequest
from bitrouter.ir import (
    Block,
    CacheMark,
    Media,
    MediaKind,
    Message,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from bitrouter.protocols.anthropic import types
from bitrouter.protocols.anthropic.carriers import ORIGIN, signature_of
from bitrouter.protocols.anthropic.tool_input import input_text, is_object
from bitrouter.protocols.base import decode_body
from bitrouter.protocols.media import from_base64, from_url

_GOOGLE: Final = "g"  # whose calls are signed, where everybody else's thinking is

Content = str | list[msgspec.Raw]
_Reader = Callable[[msgspec.Raw, str, list[str]], list[Block]]

_HOSTED: Final = re.compile(
    r"[a-z0-9_]{1,60}_tool_result|server_tool_use|mcp_tool_(?:use|listing)|container_upload"
    r"|compaction|fallback|tool_addition|tool_removal"
)
_HOSTED_IN_RESULT: Final = re.compile("tool_reference|browser_state")
_NO_SUCH_BLOCK: Final = re.compile(r"(?!)")

_text: Final = msgspec.json.Decoder(types.TextBlock)
_media: Final = msgspec.json.Decoder(types.MediaBlock)
_search_result: Final = msgspec.json.Decoder(types.SearchResultBlock)
_tool_use: Final = msgspec.json.Decoder(types.ToolUseBlock)
_tool_result: Final = msgspec.json.Decoder(types.ToolResultBlock)
_thinking: Final = msgspec.json.Decoder(types.ThinkingBlock)
_redacted: Final = msgspec.json.Decoder(types.RedactedThinkingBlock)


def decode_turns(
    turns: Sequence[types.Turn], dropped: list[str]
) -> tuple[list[Text], list[Message]]:
    """The system texts that lead, and all that follows. What is left out goes into `dropped`."""
    leading: list[Text] = []
    messages: list[Message] = []
    for place, turn in enumerate(turns):
        role = _ROLES.get(turn.role)
        if role is None:
            raise InvalidRequest(
                f"messages[{place}].role: {turn.role!r:.40} is not one of user, assistant, system"
            )
        content = turn.content
        if isinstance(content, str):
            blocks: list[Block] = [Text(content)]
        else:
            blocks = _read(content, f"messages[{place}].content", _IN_TURNS[role], dropped)
            if role == "assistant":
                blocks = _with_signed_calls(blocks)
        if role == "system" and not messages:
            leading += cast("list[Text]", blocks)
        else:
            messages.append(Message(role, blocks))
    return leading, messages


def decode_texts(content: Content, where: str, dropped: list[str]) -> list[Text]:
    """Content that may be text alone, such as `system`."""
    if isinstance(content, str):
        return [Text(content)]
    return cast("list[Text]", _read(content, where, _TEXT_ALONE, dropped))


def mark(control: types.CacheControl | None) -> CacheMark | None:
    """`cache_control` in the neutral form."""
    return control.neutral() if control else None


class _Place(msgspec.Struct, frozen=True):
    """Where content stands: the blocks that it may have there, and those that are passed over."""

    name: str
    readers: dict[str, _Reader]
    hosted: re.Pattern[str] = _NO_SUCH_BLOCK


def _read(content: Content, where: str, place: _Place, dropped: list[str]) -> list[Block]:
    if isinstance(content, str):
        return [Text(content)]
    blocks: list[Block] = []
    for number, raw in enumerate(content):
        here = f"{where}[{number}]"
        kind = decode_body(types.typed, raw, here).type or ""
        reader = place.readers.get(kind)
        if reader is not None:
            blocks += reader(raw, here, dropped)
        elif place.hosted.fullmatch(kind):
            dropped.append(kind)
        else:
            raise InvalidRequest(f"{here}.type: {kind!r:.60} is not a block of {place.name}")
    return blocks


def _read_text(raw: msgspec.Raw, where: str, dropped: list[str]) -> list[Block]:
    block = decode_body(_text, raw, where)
    return [Text(block.text, mark(block.cache_control))]


def _read_image(raw: msgspec.Raw, where: str, dropped: list[str]) -> list[Block]:
    block = decode_body(_media, raw, where)
    media = _from_source(block.source, "image", f"{where}.source")
    media.cache = mark(block.cache_control)
    return [media]


def _read_document(raw: msgspec.Raw, where: str, dropped: list[str]) -> list[Block]:
    """A document; before it what the client says of it, after it the images that were in it."""
    block = decode_body(_media, raw, where)
    if block.citations and block.citations.enabled:
        dropped.append("citations")
    pictures: list[Block] = []
    if block.source.type == "content":
        media, pictures = _from_content(block.source, f"{where}.source.content", dropped)
    else:
        media = _from_source(block.source, "document", f"{where}.source")
    media.name = block.title
    media.cache = mark(block.cache_control)
    return [*([Text(block.context)] if block.context else []), media, *pictures]


def _from_content(
    source: types.Source, where: str, dropped: list[str]
) -> tuple[Media, list[Block]]:
    if source.content is None:
        raise InvalidRequest(f"{where} is required")
    blocks = _read(source.content, where, _IN_DOCUMENT, dropped)
    passages = [block.text for block in blocks if isinstance(block, Text)]
    pictures = [block for block in blocks if isinstance(block, Media)]
    whole = Media("document", media_type="text/plain", text="\n\n".join(passages))
    return whole, [*pictures]


def _from_source(source: types.Source, kind: MediaKind, where: str) -> Media:
    match source.type:
        case "base64" if source.data is not None and source.media_type is not None:
            media = from_base64(source.data, source.media_type, f"{where}.data")
            if media.kind != kind:
                raise InvalidRequest(f"{where}.media_type: {media.media_type!r:.60} is no {kind}")
            return media
        case "url" if source.url is not None:
            return from_url(source.url, kind, f"{where}.url")
        case "file" if source.file_id:
            return Media(kind, file_id=source.file_id, origin=ORIGIN)
        case "text" if source.data is not None and kind == "document":
            return Media(kind, media_type="text/plain", text=source.data)
        case "base64" | "url" | "file" | "text":
            raise InvalidRequest(f"{where}: incomplete for a source of type {source.type}")
        case _:
            raise InvalidRequest(f"{where}.type: {source.type!r:.40} is not known")


def _read_search_result(raw: msgspec.Raw, where: str, dropped: list[str]) -> list[Block]:
    block = decode_body(_search_result, raw, where)
    if block.citations and block.citations.enabled:
        dropped.append("citations")
    passages = [passage.text for passage in block.content]
    text = "\n\n".join([f"{block.title}\n{block.source}", *passages])
    return [Text(text, mark(block.cache_control))]


def _read_tool_use(raw: msgspec.Raw, where: str, dropped: list[str]) -> list[Block]:
    block = decode_body(_tool_use, raw, where)
    if not is_object(block.input):
        raise InvalidRequest(f"{where}.input must be an object")
    arguments = input_text(block.input)
    return [ToolCall(block.id, block.name, arguments, cache=mark(block.cache_control))]


def _read_tool_result(raw: msgspec.Raw, where: str, dropped: list[str]) -> list[Block]:
    block = decode_body(_tool_result, raw, where)
    content = block.content if block.content is not None else []
    blocks = _read(content, f"{where}.content", _IN_RESULT, dropped)
    result = ToolResult(
        block.tool_use_id,
        [one for one in blocks if isinstance(one, Text | Media)],
        is_error=bool(block.is_error),
        cache=mark(block.cache_control),
    )
    return [result]


def _read_thinking(raw: msgspec.Raw, where: str, dropped: list[str]) -> list[Block]:
    block = decode_body(_thinking, raw, where)
    return [Reasoning(block.thinking, signature_of(block.signature))]


def _read_redacted(raw: msgspec.Raw, where: str, dropped: list[str]) -> list[Block]:
    block = decode_body(_redacted, raw, where)
    return [Reasoning("", signature_of(block.data), redacted=True)]


def _with_signed_calls(blocks: Iterable[Block]) -> list[Block]:
    """Thinking that says nothing and carries Google's signature belongs to the call after it."""
    kept: list[Block] = []
    for block in blocks:
        last = kept[-1] if kept else None
        if isinstance(block, ToolCall) and isinstance(last, Reasoning) and _is_carrier(last):
            block.signature = last.signature
            kept[-1] = block
        else:
            kept.append(block)
    return kept


def _is_carrier(reasoning: Reasoning) -> bool:
    if reasoning.text or reasoning.redacted or reasoning.signature is None:
        return False
    return reasoning.signature.origin == _GOOGLE


_TEXTS: Final[dict[str, _Reader]] = {"text": _read_text}
_SHOWN: Final[dict[str, _Reader]] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "search_result": _read_search_result,
}
_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_TEXT_ALONE: Final = _Place("a system text", _TEXTS)
_IN_DOCUMENT: Final = _Place("a document", {"text": _read_text, "image": _read_image})
_IN_RESULT: Final = _Place("a tool result", _SHOWN, _HOSTED_IN_RESULT)
_IN_TURNS: Final[dict[Role, _Place]] = {
    "user": _Place("a user's turn", {**_SHOWN, "tool_result": _read_tool_result}, _HOSTED),
    "assistant": _Place(
        "an assistant's turn",
        {
            "text": _read_text,
            "tool_use": _read_tool_use,
            "thinking": _read_thinking,
            "redacted_thinking": _read_redacted,
        },
        _HOSTED,
    ),
    "system": _Place("a system's turn", _TEXTS, _HOSTED),
}
