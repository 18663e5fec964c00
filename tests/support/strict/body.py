"""Reading a request's body as strictly as a service does: no unknown member, no duplicate, no null
where none is allowed.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UnsetType

from tests.support.strict.refused import Refused

T = TypeVar("T")

UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`")
_PLACE: Final = re.compile(r" - at `\$?\.?([^`]*)`$")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class Shape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An object of the wire with a fixed set of members."""


def load(body: bytes) -> dict[str, Any]:
    """The object in a body. Raises Refused when it is no object, or a key in it comes twice."""
    try:
        loaded = json.loads(body.decode(), object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise Refused("We could not parse the JSON body of your request.") from error
    if not isinstance(loaded, dict):
        raise Refused("The body of the request must be a JSON object.")
    return loaded


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(f"Duplicate key: {twice!r}", param=twice)
    return members


def convert(loaded: Any, shape: type[T], describe: Callable[[str, str], Refused]) -> T:
    """`loaded` as `shape`. `describe(what, place)` words what msgspec found wrong."""
    try:
        return msgspec.convert(loaded, shape, strict=True)
    except msgspec.ValidationError as error:
        text = str(error)
        found = _PLACE.search(text)
        place = found[1] if found else ""
        raise describe(_PLACE.sub("", text), place) from error


def given(value: T | UnsetType | None) -> T | None:
    """The value of an optional member, None if it was left out."""
    return None if value is msgspec.UNSET else value


def check_base64(data: str, place: str) -> bytes:
    """What is encoded. Raises Refused unless it is in the standard alphabet, padded, not empty."""
    if not data or not _BASE64.fullmatch(data):
        raise Refused(f"{place}: invalid base64 data", param=place)
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise Refused(f"{place}: invalid base64 data", param=place) from error


def check_schema(schema: Any, place: str) -> None:
    """Raise Refused unless a tool's parameters are the JSON Schema of an object."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Refused(f"{place}: schema must be a JSON Schema of 'type: \"object\"'", param=place)
