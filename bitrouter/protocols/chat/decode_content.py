"""Content of a client's messages: text and media."""

from collections.abc import Sequence
from typing import Final

from bitrouter.errors import InvalidRequest
from bitrouter.ir import CacheMark, Media, MediaKind, Text
from bitrouter.protocols import media
from bitrouter.protocols.chat import types
from bitrouter.protocols.openai import ORIGIN

# protocols.md, 1.1 and 1.3. None is the usual time of each.
_TTL_S: Final = {"5m": 300, "30m": 1800, "1h": 3600, "12h": 43200}


def cache_mark(*marks: types.CacheControl | None) -> CacheMark | None:
    """The first cache mark that is there."""
    for mark in marks:
        if mark is not None:
            return CacheMark(_TTL_S.get(mark.ttl or ""))
    return None


def decode_content(content: str | Sequence[types.Part] | None, where: str) -> list[Text | Media]:
    """The content of a user's message, or what a tool gave. Raises InvalidRequest."""
    if isinstance(content, str):
        return [Text(content)]
    if content is None:
        raise InvalidRequest(f"{where}.content must be a string or an array of parts")
    return [
        Text(part.text, _mark_of(part))
        if part.type == "text" and part.text is not None
        else _decode_media(part, f"{where}.content[{place}]")
        for place, part in enumerate(content)
    ]


def decode_texts(content: str | Sequence[types.Part] | None, where: str) -> list[Text]:
    """Content that may be text alone, without empty ones. Raises InvalidRequest."""
    blocks = decode_content(content, where)
    for place, block in enumerate(blocks):
        if isinstance(block, Media):
            raise InvalidRequest(f"{where}.content[{place}] must be of type text")
    return [block for block in blocks if isinstance(block, Text) and block.text]


def _mark_of(part: types.Part) -> CacheMark | None:
    if part.cache_control is None and part.prompt_cache_breakpoint is None:
        return None
    return cache_mark(part.cache_control, part.prompt_cache_breakpoint)


def _decode_media(part: types.Part, where: str) -> Media:
    match part.type:
        case "image_url":
            found = _from_url(part.image_url, "image", f"{where}.image_url")
        case "video_url":
            found = _from_url(part.video_url, "video", f"{where}.video_url")
        case "input_audio":
            found = _audio(part.input_audio, f"{where}.input_audio")
        case "file":
            found = _file(part.file, f"{where}.file")
        case "text":
            raise InvalidRequest(f"{where}.text is required")
        case _:
            raise InvalidRequest(f"{where}.type: {part.type!r:.80} is not a type of part")
    found.cache = _mark_of(part)
    return found


def _from_url(given: types.URL | str | None, kind: MediaKind, where: str) -> Media:
    if given is None:
        raise InvalidRequest(f"{where} is required")
    if isinstance(given, str):
        return media.from_url(given, kind, where)
    found = media.from_url(given.url, kind, f"{where}.url")
    found.detail = given.detail
    return found


def _audio(given: types.InputAudio | None, where: str) -> Media:
    if given is None:
        raise InvalidRequest(f"{where} is required")
    if not (given.format.isascii() and given.format.isalnum()):
        raise InvalidRequest(f"{where}.format must be a format such as wav or mp3")
    return media.from_base64(given.data, f"audio/{given.format}", f"{where}.data")


def _file(given: types.File | None, where: str) -> Media:
    if given is None:
        raise InvalidRequest(f"{where} is required")
    if given.file_id:
        return Media("document", file_id=given.file_id, origin=ORIGIN, name=given.filename)
    if not given.file_data:
        raise InvalidRequest(f"{where} must have file_data or file_id")
    place = f"{where}.file_data"
    if given.file_data[:5].lower() == "data:":
        found = media.from_url(given.file_data, "document", place)
    else:
        kind = media.type_by_name(given.filename or "", "application/pdf")
        found = media.from_base64(given.file_data, kind, place)
    found.name = given.filename
    return found
