"""The members of a client's JSON, whose names it may spell in two ways.

Google's JSON takes `snake_case` and `camelCase` for every name, and its own SDK mixes both in one
request, so what is open-ended is read as raw members under their camelCase names. Source:
protocols.md, 1.4, "Casing".
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from bitrouter.envelope import Fields
from bitrouter.protocols.base import decode_body

INNER_REQUEST: Final = frozenset({"generateContentRequest", "generate_content_request"})
"""The member of a request to count tokens that may hold a whole request to generate."""

_UNDERSCORE: Final = re.compile(r"(?<=[A-Za-z0-9])_([a-z0-9])")
_NULL: Final = b"null"
_NULL_BYTES: Final = len(_NULL)
_SAYS_NOTHING: Final = frozenset({b"null", b"false", b"{}", b"[]", b'""'})
_MOST_NOTHING: Final = max(map(len, _SAYS_NOTHING))
_fields: Final = msgspec.json.Decoder(Fields | None)


def camel_case(name: str) -> str:
    """A member's name as Google documents it."""
    if "_" not in name:
        return name
    return _UNDERSCORE.sub(lambda match: match[1].upper(), name.lstrip("_"))


def members(fields: Mapping[str, msgspec.Raw]) -> Fields:
    """The members under their camelCase names, without those that are null."""
    return {
        camel_case(name) if "_" in name else name: raw
        for name, raw in fields.items()
        if len(raw) != _NULL_BYTES or bytes(raw) != _NULL
    }


def read_members(raw: msgspec.Raw, where: str) -> Fields:
    """The same of an object that is a value. Raises InvalidRequest when it is none."""
    return members(decode_body(_fields, raw, where) or {})


def says_nothing(raw: msgspec.Raw) -> bool:
    """Whether leaving the value out changes nothing: false, or empty."""
    return len(raw) <= _MOST_NOTHING and bytes(raw) in _SAYS_NOTHING
