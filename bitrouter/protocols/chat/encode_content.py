"""Text and media as chat's content parts, and the marks for prompt caches on them."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from bitrouter.errors import UnsupportedFeature
from bitrouter.ir import CacheMark, Media, Text
from bitrouter.protocols import media
from bitrouter.protocols.openai import ORIGIN

Part = dict[str, Any]

_MAX_MARKS: Final = 4
_SHORT_S: Final = 300  # the time that cache_control has when it says none
_LONGEST_SHORT_S: Final = 1800  # the same for a breakpoint
_DETAILS: Final = frozenset({"auto", "low", "high", "original"})
_PDF: Final = "application/pdf"


class CacheMarks:
    """Puts marks on parts in the way that the provider takes: protocols.md, 2.8.

    `left_out` says that there was one for which there is no way.
    """

    def __init__(self, hints: Literal["none", "cache_control", "breakpoints"]) -> None:
        self._hints = hints
        self._marked: list[Part] = []
        self.left_out = False

    def __bool__(self) -> bool:
        return self._hints != "none"

    def put(self, part: Part, mark: CacheMark | None) -> Part:
        """The part, marked if there is a mark and a way to write it."""
        if mark is None:
            return part
        if self._hints == "none":
            self.left_out = True
            return part
        ttl_s = mark.ttl_s or 0
        if self._hints == "cache_control":
            lasting = {"ttl": "1h"} if ttl_s > _SHORT_S else {}
            part["cache_control"] = {"type": "ephemeral"} | lasting
        else:
            lasting = {"ttl": "12h"} if ttl_s > _LONGEST_SHORT_S else {}
            part["prompt_cache_breakpoint"] = {"mode": "explicit"} | lasting
        self._marked.append(part)
        return part

    def settle(self) -> None:
        """Take off all marks but the last four, which is as many as there may be."""
        for part in self._marked[:-_MAX_MARKS]:
            part.pop("cache_control", None)
            part.pop("prompt_cache_breakpoint", None)


def encode_content(blocks: Sequence[Text | Media], marks: CacheMarks) -> str | list[Part]:
    """A message's content: a string where it is one plain text, else parts.

    Raises UnsupportedFeature for media that chat has no form for.
    """
    if len(blocks) == 1 and isinstance(only := blocks[0], Text) and not (only.cache and marks):
        marks.put({}, only.cache)
        return only.text
    return [encode_part(block, marks) for block in blocks]


def encode_part(block: Text | Media, marks: CacheMarks) -> Part:
    """One content part. Raises UnsupportedFeature."""
    if isinstance(block, Text):
        return marks.put({"type": "text", "text": block.text}, block.cache)
    return marks.put(_media_part(block), block.cache)


def _media_part(block: Media) -> Part:
    text = media.as_text(block)
    if text is not None:
        return {"type": "text", "text": text}
    if block.file_id is not None:
        if block.origin == ORIGIN and block.kind == "document":
            return {"type": "file", "file": {"file_id": block.file_id}}
        raise UnsupportedFeature("a file id means nothing to this model's provider")
    match block.kind:
        case "image":
            return _image(block)
        case "audio":
            return _audio(block)
        case "document":
            return _document(block)
        case "video":
            raise UnsupportedFeature("this model's provider cannot be given a video")


def _image(block: Media) -> Part:
    image = {"url": block.url if block.url is not None else media.data_url(block)}
    if block.detail in _DETAILS:
        image["detail"] = block.detail
    return {"type": "image_url", "image_url": image}


def _audio(block: Media) -> Part:
    sound = media.audio_format(block.media_type)
    if block.data is None or sound is None:
        raise UnsupportedFeature(
            "this model's provider can be given a sound only in the request itself, as wav or mp3"
        )
    return {"type": "input_audio", "input_audio": {"data": block.data, "format": sound}}


def _document(block: Media) -> Part:
    if block.data is None:
        raise UnsupportedFeature("this model's provider cannot be given a document by its URL")
    if block.media_type != _PDF:
        raise UnsupportedFeature(
            f"this model's provider cannot be given a document of type {block.media_type!r:.80}"
        )
    file = {"filename": block.name or "document.pdf", "file_data": media.data_url(block)}
    return {"type": "file", "file": file}
