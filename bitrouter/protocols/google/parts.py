"""Parts as they are written: for a provider's request, and for a client's answer.

Source: protocols.md, 1.4; 2.3, "Media".
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bitrouter.errors import UnsupportedFeature
from bitrouter.ir import Media, ToolCall
from bitrouter.protocols.google.signatures import ORIGIN, SKIP
from bitrouter.protocols.google.values import write_arguments
from bitrouter.protocols.media import type_by_name

Part = dict[str, Any]

# What a URL is taken for whose name does not say it.
_USUAL_TYPES: Final = {
    "image": "image/jpeg",
    "document": "application/pdf",
    "audio": "audio/mp3",
    "video": "video/mp4",
}


def call_part(call: ToolCall, names: Mapping[str, str], *, with_id: bool) -> Part | None:
    """A functionCall, without its signature; None if its arguments are no object."""
    arguments = write_arguments(call)
    if arguments is None:
        return None
    function: Part = {"name": names.get(call.name, call.name), "args": arguments}
    if with_id and call.id:
        function["id"] = call.id
    return {"functionCall": function}


def sign_first_call(parts: Iterable[Part]) -> None:
    """Sign the first call of a turn by the value for no signature, if it has none: Gemini 3 refuses
    a turn without, and older ones do not look.
    """
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", SKIP)


def media_part(media: Media) -> Part | None:
    """Media as a part; None for an empty document. Raises UnsupportedFeature for another vendor's
    file.
    """
    if media.text is not None:
        return {"text": media.text} if media.text else None
    if media.data is not None:
        return {"inlineData": {"mimeType": _type_of(media), "data": media.data}}
    if media.url is not None:
        kind = media.media_type or type_by_name(media.url, _USUAL_TYPES[media.kind])
        return {"fileData": {"mimeType": kind, "fileUri": media.url}}
    if media.origin != ORIGIN:
        raise UnsupportedFeature(
            f"a file that another vendor keeps ({media.file_id!r:.60}) cannot be sent to Google"
        )
    file: Part = {"fileUri": media.file_id}
    if media.media_type:
        file["mimeType"] = media.media_type
    return {"fileData": file}


def _type_of(media: Media) -> str:
    return media.media_type or _USUAL_TYPES[media.kind]
