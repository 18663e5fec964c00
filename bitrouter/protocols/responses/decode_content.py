"""The parts of a client's messages and of its calls' outputs. Source: protocols.md, 1.2 and 2.3."""

from collections.abc import Iterable, Sequence
from typing import Final

from bitrouter.errors import InvalidRequest
from bitrouter.ir import CacheMark, Citation, Media, Refusal, Text
from bitrouter.protocols import media, openai
from bitrouter.protocols.responses.types import Annotation, Breakpoint, Part

_TTLS_S: Final = {"5m": 300, "30m": 1800, "1h": 3600, "12h": 43_200}
# `text` is Chat Completions' name, which some clients mix in.
_TEXTS: Final = frozenset({"input_text", "output_text", "text"})
_SOUNDS: Final = {"wav": "audio/wav", "mp3": "audio/mp3"}


def mark(breakpoint_: Breakpoint | None, cache_control: Breakpoint | None) -> CacheMark | None:
    """The cache mark in either of its spellings."""
    found = breakpoint_ or cache_control
    return CacheMark(_TTLS_S.get(found.ttl or "")) if found else None


def user_content(content: str | Sequence[Part], where: str) -> list[Text | Media]:
    """What a user says or a call gives. Raises InvalidRequest naming the part."""
    if isinstance(content, str):
        return [Text(content)]
    return [_user_part(part, f"{where}[{place}]") for place, part in enumerate(content)]


def _user_part(part: Part, where: str) -> Text | Media:
    if part.type in _TEXTS:
        return _text(part, where)
    if part.type == "input_image" or part.type == "image_url":
        found = _image(part, where)
    elif part.type == "input_file":
        found = _file(part, where)
    elif part.type == "input_audio":
        found = _sound(part, where)
    else:
        raise InvalidRequest(f"{where}.type: {part.type!r:.80} is not known here")
    found.cache = mark(part.prompt_cache_breakpoint, part.cache_control)
    return found


def assistant_content(content: str | Sequence[Part], where: str) -> list[Text | Refusal]:
    """What the assistant has said. Raises InvalidRequest naming the part."""
    if isinstance(content, str):
        return [Text(content)]
    return [_assistant_part(part, f"{where}[{place}]") for place, part in enumerate(content)]


def _assistant_part(part: Part, where: str) -> Text | Refusal:
    if part.type in _TEXTS:
        return _text(part, where)
    if part.type == "refusal":
        return Refusal(part.refusal or part.text or "")
    raise InvalidRequest(f"{where}.type: {part.type!r:.80} is not known in an assistant's message")


def system_content(content: str | Sequence[Part], where: str) -> list[Text]:
    """What a system or developer message says. Raises InvalidRequest for anything but text."""
    if isinstance(content, str):
        return [Text(content)] if content else []
    for place, part in enumerate(content):
        if part.type not in _TEXTS:
            raise InvalidRequest(
                f"{where}[{place}].type: {part.type!r:.80} is not known in a system message"
            )
    texts = [_text(part, f"{where}[{place}]") for place, part in enumerate(content)]
    return [text for text in texts if text.text]


def _text(part: Part, where: str) -> Text:
    if part.text is None:
        raise InvalidRequest(f"{where}.text is required")
    cache = mark(part.prompt_cache_breakpoint, part.cache_control)
    return Text(part.text, cache, citations(part.annotations or ()))


def citations(annotations: Iterable[Annotation]) -> tuple[Citation, ...]:
    """The web pages among the annotations of a text."""
    return tuple(
        Citation(one.url, one.title, start=one.start_index, end=one.end_index)
        for one in annotations
        if one.type == "url_citation" and one.url
    )


def _image(part: Part, where: str) -> Media:
    url = part.image_url
    detail = part.detail
    if url is not None and not isinstance(url, str):
        detail = detail or url.detail
        url = url.url
    if url:
        found = media.from_url(url, "image", f"{where}.image_url")
    elif part.file_id:
        found = Media("image", file_id=part.file_id, origin=openai.ORIGIN)
    else:
        raise InvalidRequest(f"{where} needs an image_url or a file_id")
    found.detail = detail
    return found


def _file(part: Part, where: str) -> Media:
    if part.file_data:
        found = _file_data(part.file_data, part.filename, f"{where}.file_data")
    elif part.file_url:
        found = media.from_url(part.file_url, "document", f"{where}.file_url")
    elif part.file_id:
        found = Media("document", file_id=part.file_id, origin=openai.ORIGIN)
    else:
        raise InvalidRequest(f"{where} needs file_data, a file_url or a file_id")
    found.name = part.filename
    found.detail = part.detail
    return found


def _file_data(data: str, filename: str | None, where: str) -> Media:
    """The API takes a data URL, and base64 alone as its reference has it."""
    if data[:5].lower() == "data:":
        return media.from_url(data, "document", where)
    return media.from_base64(data, media.type_by_name(filename or "", "application/pdf"), where)


def _sound(part: Part, where: str) -> Media:
    sound = part.input_audio
    if sound is None:
        raise InvalidRequest(f"{where}.input_audio is required")
    kind = _SOUNDS.get(sound.format.lower(), f"audio/{sound.format.lower()}")
    return media.from_base64(sound.data, kind, f"{where}.input_audio.data")
