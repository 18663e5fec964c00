"""Images, documents and sounds as protocols write them: data URLs, base64, media types.

Source: RFC 2397 (data URLs), RFC 4648 (base64); protocols.md, 2.3, "Media".
"""

import base64
import binascii
import mimetypes
import re
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from bitrouter.errors import InvalidRequest
from bitrouter.ir import Media, MediaKind
from bitrouter.slices import SLICE

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_ALPHABET: Final = re.compile(r"[A-Za-z0-9+/]*")
_OTHER_ALPHABET: Final = str.maketrans("-_", "+/")
_WHITE: Final = re.compile(r"\s+")
_KINDS: Final[dict[str, MediaKind]] = {"image": "image", "audio": "audio", "video": "video"}
_AUDIO_FORMATS: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
}


def kind_of(media_type: str) -> MediaKind:
    """What a media type is, everything that is neither seen nor heard being a document."""
    return _KINDS.get(media_type.partition("/")[0], "document")


def plain_type(media_type: str) -> str:
    """A media type in lower case without its parameters."""
    return media_type.partition(";")[0].strip().lower()


def standard_base64(data: str, where: str) -> str:
    """`data` in the standard alphabet with padding, which is all that every vendor takes.

    Raises InvalidRequest naming the place when it is not base64.
    """
    if len(data) % 4 or not _is_base64(data):
        data = _WHITE.sub("", data).translate(_OTHER_ALPHABET).rstrip("=")
        data += "=" * (-len(data) % 4)
        if not _is_base64(data) or len(data) % 4:
            raise InvalidRequest(f"{where} is not base64")
    return data


def _is_base64(data: str) -> bool:
    """Whether the alphabet is right, and the padding. In slices: see bitrouter.slices."""
    if len(data) <= SLICE:
        return _BASE64.fullmatch(data) is not None
    last = (len(data) - 1) // SLICE * SLICE
    end = max(last - 2, 0)  # the padding may begin a slice before it ends
    starts = range(0, end, SLICE)
    return _BASE64.fullmatch(data, end) is not None and all(
        _ALPHABET.fullmatch(data, start, min(start + SLICE, end)) for start in starts
    )


def from_base64(data: str, media_type: str, where: str) -> Media:
    """Media given in the body. Raises InvalidRequest."""
    kind = plain_type(media_type)
    return Media(kind_of(kind), media_type=kind, data=standard_base64(data, where))


def from_url(url: str, kind: MediaKind, where: str) -> Media:
    """Media given by a URL: a data URL, in any of its forms, or http(s).

    Raises InvalidRequest for another scheme: nobody would fetch it.
    """
    scheme = url[:6].lower()
    if scheme.startswith("data:"):
        return _from_data_url(url, kind, where)
    if scheme.startswith(("http:/", "https:")):
        return Media(kind, url=url)
    raise InvalidRequest(f"{where} must be a URL that begins with https:, http: or data:")


def _from_data_url(url: str, kind: MediaKind, where: str) -> Media:
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise InvalidRequest(f"{where} is a data URL without a comma")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    default = "image/png" if kind == "image" else "text/plain"
    if "base64" in parameters:
        if "%" in data:
            data = unquote_to_bytes(data).decode(errors="replace")
        encoded = standard_base64(data, where)
    else:
        encoded = base64.b64encode(unquote_to_bytes(data)).decode()
    media_type = media_type or default
    return Media(kind_of(media_type), media_type=media_type, data=encoded)


def data_url(media: Media) -> str:
    """Media with `data` as a data URL."""
    return f"data:{media.media_type};base64,{media.data}"


def as_text(media: Media) -> str | None:
    """The text of a plain text document, however it was given; None if it is not one."""
    if media.text is not None:
        return media.text
    if media.data is None or not (media.media_type or "").startswith("text/"):
        return None
    try:
        return base64.b64decode(media.data).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def type_by_name(url: str, default: str) -> str:
    """The media type that the end of a URL's path suggests."""
    try:
        guessed, _ = mimetypes.guess_type(PurePosixPath(urlsplit(url).path).name)
    except ValueError:  # it is no URL
        return default
    return guessed or default


def audio_format(media_type: str | None) -> str | None:
    """OpenAI's word for a sound's format, wav or mp3; None if it has none."""
    return _AUDIO_FORMATS.get(media_type or "")
