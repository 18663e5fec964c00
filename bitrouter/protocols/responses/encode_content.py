"""Texts and media as parts of a request's items. Source: protocols.md, 1.2 and 2.3, "Media"."""

import mimetypes
from collections.abc import Iterable
from typing import Any, Final

from bitrouter.errors import UnsupportedFeature
from bitrouter.ir import CacheMark, Citation, Media, Text, ToolResult
from bitrouter.protocols import media, openai
from bitrouter.protocols.history import replace

_LONG_TTL_S: Final = 1800  # more than that is `12h`, the longer of the two that there are
_HOUR_S: Final = 3600
_ERROR: Final = "Error: "

Part = dict[str, Any]


def user_parts(blocks: Iterable[Text | Media], *, marks: str) -> list[Part]:
    """The parts of a user's message. `marks` is Traits.cache_hints.

    Raises UnsupportedFeature for media that the protocol has no part for.
    """
    return [_marked(_part(block), block.cache, marks) for block in blocks]


def _part(block: Text | Media) -> Part:
    if isinstance(block, Text):
        return {"type": "input_text", "text": block.text}
    if block.kind == "image":
        return _image(block)
    if block.kind == "document":
        return _document(block)
    if block.kind == "audio":
        return _audio(block)
    raise UnsupportedFeature("input: this model's provider takes no video")


def _marked(part: Part, cache: CacheMark | None, marks: str) -> Part:
    if cache is None or marks == "none":
        return part
    if marks == "cache_control":
        part["cache_control"] = {"type": "ephemeral"} | _long_ttl(cache)
    elif part["type"] != "input_audio":
        part["prompt_cache_breakpoint"] = _breakpoint(cache)
    return part


def _long_ttl(cache: CacheMark) -> dict[str, str]:
    return {"ttl": "1h"} if (cache.ttl_s or 0) >= _HOUR_S else {}


def _breakpoint(cache: CacheMark) -> dict[str, str]:
    if cache.ttl_s is None:
        return {"mode": "explicit"}
    return {"mode": "explicit", "ttl": "30m" if cache.ttl_s <= _LONG_TTL_S else "12h"}


def _file_id(given: Media) -> str | None:
    """The file's id, if it is one of OpenAI's. Raises UnsupportedFeature for another vendor's."""
    if given.file_id is not None and given.origin != openai.ORIGIN:
        raise UnsupportedFeature(
            f"input: the file {given.file_id!r:.80} is kept by another provider, send its data"
        )
    return given.file_id


def _image(image: Media) -> Part:
    part: Part = {"type": "input_image", "detail": image.detail or "auto"}
    if file_id := _file_id(image):
        part["file_id"] = file_id
    else:
        part["image_url"] = image.url if image.url is not None else media.data_url(image)
    return part


def _document(document: Media) -> Part:
    if (text := media.as_text(document)) is not None:
        return {"type": "input_text", "text": text}
    part: Part = {"type": "input_file"}
    if file_id := _file_id(document):
        part["file_id"] = file_id
    elif document.url is not None:
        part["file_url"] = document.url
    else:
        part["filename"] = document.name or _file_name(document.media_type)
        part["file_data"] = media.data_url(document)
    if document.detail:
        part["detail"] = document.detail
    return part


def _file_name(media_type: str | None) -> str:
    return f"document{mimetypes.guess_extension(media_type or '') or '.pdf'}"


def _audio(audio: Media) -> Part:
    word = media.audio_format(audio.media_type)
    if word is None or audio.data is None:
        raise UnsupportedFeature("input: audio must be wav or mp3, with its data")
    return {"type": "input_audio", "input_audio": {"data": audio.data, "format": word}}


def output(result: ToolResult, *, marks: str) -> str | list[Part]:
    """What a call gave: a string, or parts if there is more than text.

    Raises UnsupportedFeature for what cannot be in one.
    """
    parts = user_parts(_saying_errors(result), marks=marks)
    if all(part["type"] == "input_text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    if any(part["type"] == "input_audio" for part in parts):
        raise UnsupportedFeature("input: this model's provider takes no audio from a tool")
    return parts


def _saying_errors(result: ToolResult) -> list[Text | Media]:
    """The content, in which the text has to say what nothing else does: that it is an error."""
    content = result.content
    if not result.is_error:
        return content
    first = content[0] if content else None
    if not isinstance(first, Text):
        return [Text(_ERROR.strip()), *content]
    if first.text.lower().startswith("error"):
        return content
    return [replace(first, text=_ERROR + first.text), *content[1:]]


def annotations(citations: Iterable[Citation]) -> list[dict[str, Any]]:
    """The value of `annotations` of a text."""
    return [annotation(citation) for citation in citations]


def annotation(citation: Citation) -> dict[str, Any]:
    """A citation as `url_citation`, whose members are all required."""
    return {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title or citation.url,
        "start_index": citation.start or 0,
        "end_index": citation.end or 0,
    }
