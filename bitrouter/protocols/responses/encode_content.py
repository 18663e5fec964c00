"""Texts and media as parts of a request's items. Source: protocols.md, 1.2 and 2.3, "Media"."""

import mimetypes
from collections.abc import Iterable
from typing import Any, Final

from bitrouter.errors import UnsupportedFeature
from bitrouter.ir import Citation, Media, Text, ToolResult
from bitrouter.protocols import media, openai
from bitrouter.protocols.history import replace
from bitrouter.protocols.responses.cache_marks import CacheMarks

_ERROR: Final = "Error: "
_IMAGE_DETAILS: Final = frozenset({"low", "high", "auto", "original"})
_FILE_DETAILS: Final = frozenset({"low", "high", "auto"})

Part = dict[str, Any]


def content(blocks: list[Text | Media], marks: CacheMarks) -> str | list[Part]:
    """The content of a message: a string if it is one text without a mark, else parts.

    Raises UnsupportedFeature for media that the protocol has no part for.
    """
    only = blocks[0] if len(blocks) == 1 else None
    if isinstance(only, Text) and (only.cache is None or not marks.are_taken):
        marks.left_out = marks.left_out or only.cache is not None
        return only.text
    return _parts(blocks, marks)


def _parts(blocks: Iterable[Text | Media], marks: CacheMarks) -> list[Part]:
    parts = []
    for block in blocks:
        part = _part(block)
        if block.cache is not None:
            marks.put(part, block.cache)
        parts.append(part)
    return parts


def _part(block: Text | Media) -> Part:
    if isinstance(block, Text):
        return {"type": "input_text", "text": block.text}
    match block.kind:
        case "image":
            return _image(block)
        case "document":
            return _document(block)
        case "audio":
            return _audio(block)
        case "video":
            raise UnsupportedFeature("this model's provider cannot be given a video")


def _file_id(given: Media) -> str | None:
    """The file's id, if it is one of OpenAI's. Raises UnsupportedFeature for another vendor's."""
    if given.file_id is not None and given.origin != openai.ORIGIN:
        raise UnsupportedFeature(
            f"the file {given.file_id!r:.80} is kept by another provider than this model's"
        )
    return given.file_id


def _image(image: Media) -> Part:
    detail = image.detail if image.detail in _IMAGE_DETAILS else "auto"
    part: Part = {"type": "input_image", "detail": detail}
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
    if document.detail in _FILE_DETAILS:
        part["detail"] = document.detail
    return part


def _file_name(media_type: str | None) -> str:
    return f"document{mimetypes.guess_extension(media_type or '') or '.pdf'}"


def _audio(audio: Media) -> Part:
    word = media.audio_format(audio.media_type)
    if word is None or audio.data is None:
        raise UnsupportedFeature(
            "this model's provider can be given a sound only in the request itself, as wav or mp3"
        )
    return {"type": "input_audio", "input_audio": {"data": audio.data, "format": word}}


def output(result: ToolResult, marks: CacheMarks) -> str | list[Part]:
    """What a call gave: a string, or parts if there is more than text.

    A mark on all of it is one on its last part. Raises UnsupportedFeature for what cannot be in it.
    """
    blocks = _saying_errors(result)
    if result.cache is not None and blocks and blocks[-1].cache is None:
        blocks = [*blocks[:-1], replace(blocks[-1], cache=result.cache)]
    parts = _parts(blocks, marks)
    if all(part["type"] == "input_text" and len(part) == 2 for part in parts):
        return "\n".join(part["text"] for part in parts)
    if any(part["type"] == "input_audio" for part in parts):
        raise UnsupportedFeature("this model's provider cannot be given a sound by a tool")
    return parts


def _saying_errors(result: ToolResult) -> list[Text | Media]:
    """The content, in which the text has to say what nothing else does: that it is an error."""
    given = result.content
    if not result.is_error:
        return given
    first = given[0] if given else None
    if not isinstance(first, Text):
        return [Text(_ERROR.strip()), *given]
    if first.text.lower().startswith("error"):
        return given
    return [replace(first, text=_ERROR + first.text), *given[1:]]


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
