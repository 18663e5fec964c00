"""The turns of a conversation as Anthropic insists on them (protocols.md, 1.3 and 2.3)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.ir import (
    Block,
    Media,
    Message,
    Reasoning,
    Refusal,
    Request,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from bitrouter.protocols.anthropic.cache_marks import CacheMarks
from bitrouter.protocols.anthropic.carriers import ORIGIN
from bitrouter.protocols.anthropic.tool_input import input_object_of_any
from bitrouter.protocols.history import merged, only_own, plain_turns, settled, without_empty_texts
from bitrouter.protocols.media import as_text

_BOTH_SIDES: Final[frozenset[Role]] = frozenset({"user", "assistant"})
_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_IMAGE_TYPES: Final = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
_PDF: Final = "application/pdf"
# Says nothing, and is there: the first turn has to be the user's.
_OPENING: Final = Message("user", [Text(".")])
# The API refuses an error without a word.
_NAMELESS_ERROR: Final = "the tool failed"


def orderly(turns: Sequence[Message]) -> list[Message]:
    """The turns without what another vendor signed, and without what the API refuses: empty texts,
    two turns of one side in a row, calls without results, a beginning by the assistant.

    Raises InvalidRequest when nothing is left.
    """
    if plain_turns(turns) is not None:
        return list(turns)
    own = [
        Message(turn.role, only_own(turn.blocks, ORIGIN)) if turn.role == "assistant" else turn
        for turn in turns
    ]
    answered = settled(merged(without_empty_texts(own, blank=True), _BOTH_SIDES), _wire_id)
    if not answered:
        raise InvalidRequest("the messages hold nothing but results of calls that are not there")
    ordered = merged(answered, _BOTH_SIDES)
    return ordered if ordered[0].role == "user" else [_OPENING, *ordered]


def _wire_id(call_id: str) -> str:
    return _NOT_IN_ID.sub("_", call_id) or "_"


def without_reasoning(turns: Sequence[Message]) -> list[Message]:
    """Turns in order, for a model that is told not to think: it may not be shown thinking."""
    if not any(isinstance(block, Reasoning) for turn in turns for block in turn.blocks):
        return list(turns)
    kept = [
        Message(turn.role, [b for b in turn.blocks if not isinstance(b, Reasoning)])
        for turn in turns
    ]
    return merged(without_empty_texts(kept, blank=True), _BOTH_SIDES)


class MessageEncoder:
    """Writes turns. `names` are tool names as they go on the wire, where they differ; what could
    not be carried and changes no meaning is in `dropped`.
    """

    def __init__(self, names: Mapping[str, str], marks: CacheMarks) -> None:
        self._names = names
        self._marks = marks
        self.dropped: list[str] = []

    def system(self, texts: Sequence[Text]) -> str | list[dict[str, Any]]:
        """The value of `system`: one string, or blocks if one of them carries a mark."""
        if not any(text.cache for text in texts):
            return "\n\n".join(text.text for text in texts)
        return [self._text(text.text, text) for text in texts]

    def turns(self, turns: Sequence[Message]) -> list[dict[str, Any]]:
        """The value of `messages`."""
        written: list[dict[str, Any]] = []
        for turn in turns:
            only = turn.blocks[0]
            if len(turn.blocks) == 1 and isinstance(only, Text) and only.cache is None:
                written.append({"role": turn.role, "content": only.text})
                continue
            blocks = [self._block(block) for block in turn.blocks]
            written.append({"role": turn.role, "content": _plain(blocks)})
        if turns[-1].role == "assistant":
            _end_without_space(written[-1])
        return written

    def _block(self, block: Block) -> dict[str, Any]:
        match block:
            case Text():
                return self._text(block.text, block)
            case Refusal():
                return {"type": "text", "text": block.text}
            case Media():
                return self._media(block)
            case ToolCall():
                return self._call(block)
            case ToolResult():
                return self._result(block)
            case Reasoning():
                return _reasoning(block)

    def _text(self, text: str, marked: Text) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": text}
        self._marks.put(block, marked.cache)
        return block

    def _media(self, media: Media) -> dict[str, Any]:
        if media.detail not in (None, "auto"):
            self.dropped.append("detail")
        if media.kind == "image":
            block: dict[str, Any] = {"type": "image", "source": _image_source(media)}
        else:
            block = {"type": "document", "source": _document_source(media)}
            if media.name:
                block["title"] = media.name
        self._marks.put(block, media.cache)
        return block

    def _call(self, call: ToolCall) -> dict[str, Any]:
        block = {
            "type": "tool_use",
            "id": call.id,
            "name": self._names.get(call.name, call.name),
            "input": input_object_of_any(call),
        }
        self._marks.put(block, call.cache)
        return block

    def _result(self, result: ToolResult) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.call_id}
        content = [
            self._block(one)
            for one in result.content
            if not isinstance(one, Text) or one.text.strip()
        ]
        if content:
            block["content"] = _plain(content)
        elif result.is_error:
            block["content"] = _NAMELESS_ERROR
        if result.is_error:
            block["is_error"] = True
        self._marks.put(block, result.cache)
        return block


def _plain(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Blocks as content, or as one string if they are but one text."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _end_without_space(turn: dict[str, Any]) -> None:
    """The answer goes on where the last turn ends, and the API refuses white space there."""
    content = turn["content"]
    if isinstance(content, str):
        turn["content"] = content.rstrip()
    elif content[-1]["type"] == "text":
        content[-1]["text"] = content[-1]["text"].rstrip()


def _reasoning(reasoning: Reasoning) -> dict[str, Any]:
    """Thinking of Anthropic's own: `only_own` has left no other."""
    value = reasoning.signature.value if reasoning.signature else ""
    if reasoning.redacted:
        return {"type": "redacted_thinking", "data": value}
    return {"type": "thinking", "thinking": reasoning.text, "signature": value}


def _image_source(media: Media) -> dict[str, str]:
    if media.data is not None:
        media_type = _IMAGE_TYPES.get(media.media_type or "")
        if media_type is None:
            raise UnsupportedFeature(
                f"an image of type {media.media_type!r:.60} cannot be sent to an Anthropic model:"
                " it takes JPEG, PNG, GIF and WebP"
            )
        return {"type": "base64", "media_type": media_type, "data": media.data}
    return _elsewhere(media)


def _document_source(media: Media) -> dict[str, str]:
    if media.kind != "document":
        raise _cannot_take(media)
    text = as_text(media)
    if text is not None:
        return {"type": "text", "media_type": "text/plain", "data": text}
    if media.data is not None:
        if media.media_type != _PDF:
            raise _cannot_take(media)
        return {"type": "base64", "media_type": _PDF, "data": media.data}
    return _elsewhere(media)


def _elsewhere(media: Media) -> dict[str, str]:
    """Media that the vendor has to fetch: from the web, or out of its own files."""
    if media.url is not None:
        return {"type": "url", "url": media.url}
    if media.file_id is not None and media.origin == ORIGIN:
        return {"type": "file", "file_id": media.file_id}
    raise UnsupportedFeature(
        f"a file that another vendor keeps ({media.file_id!r:.80}) cannot be sent to an Anthropic"
        " model"
    )


def _cannot_take(media: Media) -> UnsupportedFeature:
    kind = f"a {media.kind}" if media.kind != "audio" else "audio"
    return UnsupportedFeature(
        f"{kind} of type {media.media_type!r:.60} cannot be sent to an Anthropic model"
    )


def system_texts(request: Request, texts: Sequence[Text]) -> list[Text]:
    """The texts for `system`, with the only way to ask for any JSON object."""
    kept = [text for text in texts if text.text.strip()]
    if request.output is not None and request.output.schema is None:
        kept.append(Text("Answer with one JSON object and nothing else."))
    return kept
