"""Google's Schema and JSON Schema: what tools and answers look like, on its way in and out.

Google's is a subset of OpenAPI 3.0's, its type names in upper case. Source: protocols.md, 2.6;
google-genai's `types.Schema`. The way from JSON Schema, which has much more, is in `subset`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec

from bitrouter.errors import InvalidRequest
from bitrouter.protocols.google.members import camel_case
from bitrouter.protocols.google.subset import MAX_DEPTH, BadSchema, Node, as_parameters, subset

# A client sends its tools with every request of a conversation.
_CACHED: Final = 512
_MAX_CACHED_BYTES: Final = 16 << 10

_any: Final = msgspec.json.Decoder()
_encode: Final = msgspec.json.encode


def tool_parameters(schema: msgspec.Raw, where: str) -> msgspec.Raw | None:
    """A tool's parameters as a Google Schema; None if there are none to speak of.

    Raises InvalidRequest for what is no schema, is nested too deeply, or would grow beyond measure
    when what it refers to is put in place.
    """
    written = _converted(_parameters, _cached_parameters, schema, where)
    return msgspec.Raw(written) if written else None


def answer_schema(schema: msgspec.Raw, where: str) -> msgspec.Raw:
    """The form of an answer as a Google Schema. Raises as `tool_parameters` does."""
    return msgspec.Raw(_converted(_answer, _cached_answer, schema, where))


def json_schema(schema: msgspec.Raw, where: str) -> msgspec.Raw:
    """A Google Schema as a JSON Schema. Raises InvalidRequest for what is no schema."""
    return msgspec.Raw(_converted(_from_google, _cached_from_google, schema, where))


def plain_schema(schema: msgspec.Raw, where: str) -> msgspec.Raw:
    """A JSON Schema as it is, owning its bytes. Raises InvalidRequest for what is no object."""
    raw = bytes(schema)
    if not raw.startswith(b"{"):
        raise InvalidRequest(f"{where} must be a schema: a JSON object")
    return msgspec.Raw(raw)


Convert = Callable[[bytes], bytes]


def _converted(convert: Convert, cached: Convert, schema: msgspec.Raw, where: str) -> bytes:
    raw = bytes(schema)
    try:
        return (cached if len(raw) <= _MAX_CACHED_BYTES else convert)(raw)
    except BadSchema as error:
        raise InvalidRequest(f"{where} {error}") from error
    except RecursionError as error:
        raise InvalidRequest(f"{where} is nested too deeply") from error


def _read(raw: bytes) -> Node:
    try:
        schema = _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSchema(f"cannot be read: {error}") from error
    if not isinstance(schema, dict):
        raise BadSchema("must be a schema: a JSON object")
    return schema


def _parameters(raw: bytes) -> bytes:
    found = as_parameters(subset(_read(raw)))
    return _encode(found) if found else b""


def _answer(raw: bytes) -> bytes:
    return _encode(subset(_read(raw)))


def _from_google(raw: bytes) -> bytes:
    return _encode(_json_schema(_read(raw), 0))


_cached_parameters: Final = lru_cache(_CACHED)(_parameters)
_cached_answer: Final = lru_cache(_CACHED)(_answer)
_cached_from_google: Final = lru_cache(_CACHED)(_from_google)


# -- from Google ----------------------------------------------------------------------------

_GOOGLE_ONLY: Final = frozenset({"propertyOrdering", "example", "nullable"})
_ONE: Final = frozenset({"items", "additionalProperties", "not"})
_MANY: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_SPELLED: Final = {"defs": "$defs", "ref": "$ref"}
# int64 in Google's JSON, where those may be strings.
_COUNTS: Final = frozenset(
    f"{bound}{what}" for bound in ("min", "max") for what in ("Items", "Length", "Properties")
)


def _json_schema(node: Any, depth: int) -> Any:
    if not isinstance(node, dict):
        return node if isinstance(node, bool) else {}
    if depth > MAX_DEPTH:
        raise BadSchema("is nested too deeply")
    out: Node = {}
    for name, value in node.items():
        key = camel_case(name)
        key = _SPELLED.get(key, key)
        if key not in _GOOGLE_ONLY and value is not None:
            out[key] = _member(key, value, depth + 1)
    if out.get("type") == "type_unspecified":
        del out["type"]
    _number_enum(out)
    if node.get("nullable") is True:
        _make_nullable(out)
    return out


def _member(key: str, value: Any, depth: int) -> Any:
    if key in _ONE:
        return _json_schema(value, depth)
    if key in _MANY and isinstance(value, list):
        return [_json_schema(one, depth) for one in value]
    if key in _NAMED and isinstance(value, dict):
        return {name: _json_schema(one, depth) for name, one in value.items()}
    if isinstance(value, str):
        return _word(key, value)
    if key == "type" and isinstance(value, list):
        return [one.lower() if isinstance(one, str) else one for one in value]
    return value


def _word(key: str, value: str) -> Any:
    if key == "type":
        return value.lower()
    if key == "$ref":
        return value.replace("#/defs/", "#/$defs/", 1)
    if key in _COUNTS and value.isdecimal() and len(value) < 19:
        return int(value)
    return value


def _number_enum(out: Node) -> None:
    """The values of an enum as numbers, which Google's Schema can write as strings alone."""
    if out.get("type") in ("integer", "number") and isinstance(out.get("enum"), list):
        out["enum"] = [_number(one) for one in out["enum"]]


def _number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            found = _any.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value
        return found if isinstance(found, int | float) and not isinstance(found, bool) else value
    return value


def _make_nullable(out: Node) -> None:
    kind = out.get("type")
    if isinstance(kind, str):
        out["type"] = [kind, "null"]
    elif isinstance(out.get("anyOf"), list):
        out["anyOf"] = [*out["anyOf"], {"type": "null"}]
    if isinstance(out.get("enum"), list) and None not in out["enum"]:
        out["enum"] = [*out["enum"], None]
