"""The JSON Schema of bitrouter.yaml, made from the structs that read it: for editors.

It says what a file may look like, not all that it must be: that a route's provider exists, say, is
`bitrouter check`'s part. What the reader takes, the schema takes as well: numbers and booleans may
be quoted, any value may be a `${VAR}`, and a section may be empty. Draft 2020-12.
"""

from collections.abc import Collection
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, UnsetType

from bitrouter.config.schema import Amount, ConfigFile, Duration, Secret, Size

Schema = dict[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Final[Schema] = {"type": "string", "pattern": r"\$\{"}

_OWN_TYPES: Final[dict[object, Schema]] = {
    Duration: {
        "description": Duration.allowed,
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 31_536_000},
            {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,15})?(ms|s|m|h)?$"},
            _VARIABLE,
        ],
    },
    Size: {
        "description": Size.allowed,
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 1 << 40},
            {"type": "string", "pattern": "^[0-9]{1,18}(B|KiB|MiB|GiB)?$"},
            _VARIABLE,
        ],
    },
    Amount: {
        "description": Amount.allowed,
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": r"^[0-9]{1,30}(\.[0-9]{1,30})?$"},
            _VARIABLE,
        ],
    },
    Secret: {"type": "string", "description": "a secret: rather a ${VARIABLE} than the text"},
}
# A scalar's name in JSON Schema, and what it looks like in quotes.
_SCALARS: Final[dict[object, tuple[str, str]]] = {
    int: ("integer", r"^[-+]?[0-9]+$"),
    float: ("number", r"^[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"),
    bool: ("boolean", "^([Tt]rue|TRUE|[Ff]alse|FALSE|[01])$"),
}
# Where a word of api_protocol stands.
_PROTOCOL_WORDS: Final = frozenset({"api_protocol", "protocols", "translate_to"})


def config_schema(protocols: Collection[str]) -> Schema:
    """The schema as plain values. `protocols` are the words that `api_protocol` may have."""
    maker = _Maker(list(protocols))
    properties = {}
    for field in msgspec.structs.fields(ConfigFile):
        section = maker.field(field)
        if "additionalProperties" in section:
            section["additionalProperties"] = _or_nothing(section["additionalProperties"])
        properties[field.name] = _or_nothing(section)
    return {
        "$schema": _DRAFT,
        "title": "bitrouter.yaml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": maker.structs,
    }


class _Maker:
    """Makes schemas of types; those of structs are collected in `structs`, by name."""

    def __init__(self, protocols: list[str]) -> None:
        self.structs: dict[str, Schema] = {}
        self._protocols = protocols

    def field(self, field: msgspec.structs.FieldInfo) -> Schema:
        """The schema of one key, with its default if it has one that can be shown."""
        schema = self._of(field.type, None)
        if field.name in _PROTOCOL_WORDS:
            schema = _of_words(schema, self._protocols)
        default = field.default
        if type(default) in (bool, int, float, str):  # their own types have defaults in words
            return {**schema, "default": default}
        return schema

    def _of(self, wanted: object, meta: Meta | None) -> Schema:
        if wanted in _OWN_TYPES:
            return dict(_OWN_TYPES[wanted])
        if wanted in _SCALARS:
            name, quoted = _SCALARS[wanted]
            scalar = {"type": name, **_limits(meta)}
            return {"anyOf": [scalar, {"type": "string", "pattern": quoted}, _VARIABLE]}
        if wanted is str:
            return _text(meta)
        if isinstance(wanted, type) and issubclass(wanted, Struct):
            return self._struct(wanted)
        return self._form(wanted, meta)

    def _form(self, wanted: object, meta: Meta | None) -> Schema:
        """The schema of what is made of other types."""
        origin, inner = get_origin(wanted), get_args(wanted)
        if origin is Annotated:
            return self._of(inner[0], inner[1])
        if origin is Literal:
            return {"anyOf": [{"enum": list(inner)}, _VARIABLE]}
        if origin in (Union, UnionType):
            return self._union(inner)
        if origin is tuple:
            shortest = {"minItems": meta.min_length} if meta and meta.min_length else {}
            return {"type": "array", "items": self._of(inner[0], None), **shortest}
        if origin is dict:
            return {"type": "object", "additionalProperties": self._of(inner[1], None)}
        raise TypeError(f"the configuration has a type that no schema is known of: {wanted!r}")

    def _union(self, members: tuple[Any, ...]) -> Schema:
        options = [
            {"type": "null"} if member is NoneType else self._of(member, None)
            for member in members
            if member is not UnsetType
        ]
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _struct(self, wanted: type[Struct]) -> Schema:
        name = wanted.__name__
        if name not in self.structs:
            self.structs[name] = {}  # a struct may hold itself
            fields = msgspec.structs.fields(wanted)
            self.structs[name] = {
                "type": "object",
                "description": (wanted.__doc__ or "").partition("\n\n")[0].replace("\n    ", " "),
                "properties": {field.name: self.field(field) for field in fields},
                "required": [field.name for field in fields if field.required],
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}


def _or_nothing(schema: Schema) -> Schema:
    """A section or an entry without settings is its name alone."""
    return {"anyOf": [schema, {"type": "null"}]}


def _text(meta: Meta | None) -> Schema:
    limits = _limits(meta)
    if not limits:
        return {"type": "string"}
    return {"anyOf": [{"type": "string", **limits}, _VARIABLE]}


def _limits(meta: Meta | None) -> Schema:
    if meta is None:
        return {}
    limits = {
        "minimum": meta.ge,
        "maximum": meta.le,
        "minLength": meta.min_length,
        "maxLength": meta.max_length,
        "pattern": meta.pattern,
        "description": meta.description,
    }
    return {name: value for name, value in limits.items() if value is not None}


def _of_words(schema: Schema, words: list[str]) -> Schema:
    """The schema with these words in the place of any text."""
    if schema.get("type") == "string":
        return {"anyOf": [{"enum": words}, _VARIABLE]}
    narrowed = dict(schema)
    if "anyOf" in schema:
        narrowed["anyOf"] = [_of_words(option, words) for option in schema["anyOf"]]
    if "items" in schema:
        narrowed["items"] = _of_words(schema["items"], words)
    return narrowed
