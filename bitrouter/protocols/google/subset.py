"""JSON Schema as the subset of it that Google's Schema is.

References are put in place, unions are written with `anyOf` and `nullable` alone, and what Google
does not know goes. Source: protocols.md, 2.6, "JSON Schema → google Schema".
"""

from collections.abc import Iterable
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

import msgspec

Node = dict[str, Any]

MAX_DEPTH: Final = 64
_MAX_NODES: Final = 5000

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_UNIONS: Final = ("anyOf", "oneOf")
_ANNOTATIONS: Final = ("title", "description", "default")
# What says of a schema without `type` that it describes this type. The first that fits.
_TELLING: Final = (
    ("object", frozenset({"properties", "required", "additionalProperties", "minProperties"})),
    ("array", frozenset({"items", "prefixItems", "minItems", "maxItems"})),
    ("number", frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})),
)
_DESCRIBING: Final = frozenset(
    {"type", "properties", "items", "enum", "const", "$ref", "format", "pattern", *_UNIONS, "allOf"}
)
_FORMATS: Final = {
    "STRING": ("date-time", "enum"),
    "NUMBER": ("float", "double"),
    "INTEGER": ("int32", "int64"),
}
_WORDS: Final = {"type", "enum"}
_COUNTS: Final = {
    "STRING": ("minLength", "maxLength"),
    "ARRAY": ("minItems", "maxItems"),
    "OBJECT": ("minProperties", "maxProperties"),
}


class BadSchema(Exception):
    """What is wrong with a schema, in words that go after its name."""


def subset(schema: Node) -> Node:
    """The schema in Google's terms. Raises BadSchema."""
    return _Converter(schema).convert(schema, 0)


def as_parameters(schema: Node) -> Node | None:
    """A converted schema as a function's parameters, which are an object; None if it has none.

    Of an object in several variants it is one that has the members of all of them.
    """
    choice = schema.get("anyOf")
    variants = choice or [schema]
    properties: Node = {}
    for variant in variants:
        if variant.get("type") == "OBJECT":
            properties |= variant.get("properties", {})
    if not properties:
        return None
    if not choice:
        return schema
    shared = set(properties).intersection(*(variant.get("required", ()) for variant in variants))
    out: Node = {"type": "OBJECT", "properties": properties}
    out |= {name: schema[name] for name in ("title", "description") if name in schema}
    if shared:
        out["required"] = [name for name in properties if name in shared]
    return out


class _Converter:
    """One conversion: where references point to, and how much may still be written."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._left = _MAX_NODES
        self._open: list[str] = []  # references whose target is being converted

    def convert(self, schema: Any, depth: int) -> Node:
        """One node and what is below it."""
        if depth > MAX_DEPTH:
            raise BadSchema("is nested too deeply")
        if not isinstance(schema, dict):
            self._spend()
            return {"type": "STRING"}
        opened = len(self._open)
        try:
            return self._node(self._resolved(schema, depth), depth)
        finally:
            del self._open[opened:]

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise BadSchema(f"has more than {_MAX_NODES} parts with its references put in place")

    def _resolved(self, schema: Node, depth: int) -> Node:
        """The node with what it refers to in its place, and the members of `allOf` merged."""
        self._spend()
        if depth > MAX_DEPTH:
            raise BadSchema("is nested too deeply")
        reference = schema.get("$ref")
        if isinstance(reference, str):
            own = {name: schema[name] for name in ("description", "default") if name in schema}
            return self._target(reference, depth) | own
        parts = schema.get("allOf")
        if not isinstance(parts, list):
            return schema
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        for part in parts:
            if isinstance(part, dict):
                merged = _merged(merged, self._resolved(part, depth + 1))
        return merged

    def _target(self, reference: str, depth: int) -> Node:
        """What a reference points to; any object if that is itself, or nothing in this schema."""
        found = None if reference in self._open else _find(self._root, reference)
        if not isinstance(found, dict):
            return {"type": "object"}
        self._open.append(reference)
        return self._resolved(found, depth + 1)

    def _node(self, node: Node, depth: int) -> Node:
        nullable, kinds = _kinds(node)
        for name in _UNIONS:
            members = node.get(name)
            if isinstance(members, list) and members:
                rest = {key: value for key, value in node.items() if key not in _UNIONS}
                return self._union(rest, members, nullable, depth)
        if len(kinds) > 1:
            alone = {key: value for key, value in node.items() if key not in _ANNOTATIONS}
            members = [alone | {"type": kind, "nullable": False} for kind in kinds]
            annotations: Node = {key: node[key] for key in _ANNOTATIONS if key in node}
            return self._union(annotations, members, nullable, depth)
        return self._single(node, kinds[0] if kinds else _guess(node), nullable, depth)

    def _union(self, node: Node, members: list[Any], nullable: bool, depth: int) -> Node:
        """A choice of schemas, each of which holds along with what `node` says."""
        left = [one for one in members if not _is_null(one)]
        nullable |= len(left) < len(members)
        base = {key: value for key, value in node.items() if key not in _ANNOTATIONS}
        describes = not _DESCRIBING.isdisjoint(base)
        if describes and not any(_describes(one) for one in left):
            return self._annotated(node, [self.convert(base, depth + 1)], nullable)
        if describes:
            left = [{"allOf": [one, base]} for one in left]
        found: list[Node] = []
        for one in left:
            converted = self.convert(one, depth + 1)
            if converted not in found:
                found.append(converted)
        return self._annotated(node, found, nullable)

    def _annotated(self, node: Node, found: list[Node], nullable: bool) -> Node:
        if not found:
            found, nullable = [{"type": "STRING"}], True
        elif len(found) > 1 and all(one.keys() == _WORDS for one in found):
            words = [word for one in found for word in one["enum"]]
            found = [{"type": "STRING", "enum": list(dict.fromkeys(words))}]
        out: Node = dict(found[0]) if len(found) == 1 else {"anyOf": found}
        if nullable:
            out["nullable"] = True
        _annotate(out, node)
        return out

    def _single(self, node: Node, kind: str, nullable: bool, depth: int) -> Node:
        out: Node = {"type": kind.upper()}
        values = _enum(node)
        if values is not None:
            nullable |= None in values
            _write_enum(out, values)
        kind = out["type"]
        if kind == "OBJECT":
            self._write_properties(out, node, depth)
        elif kind == "ARRAY":
            out["items"] = self._items(node, depth)
        _copy_simple(out, node, kind)
        if nullable:
            out["nullable"] = True
        _annotate(out, node)
        return out

    def _write_properties(self, out: Node, node: Node, depth: int) -> None:
        properties = node.get("properties")
        if not isinstance(properties, dict) or not properties:
            return
        out["properties"] = {
            name: self.convert(child, depth + 1) for name, child in properties.items()
        }
        for name in ("required", "propertyOrdering"):
            known = [one for one in _strings(node.get(name)) if one in properties]
            if known:
                out[name] = list(dict.fromkeys(known))

    def _items(self, node: Node, depth: int) -> Node:
        items = node.get("items")
        if not isinstance(items, dict | list):
            items = node.get("prefixItems")
        if isinstance(items, list):
            return self._union({}, items, False, depth) if items else {"type": "STRING"}
        return self.convert(items, depth + 1) if items else {"type": "STRING"}


def _find(root: Node, reference: str) -> Any:
    """What a JSON pointer in a URI fragment points to (RFC 6901), None if nothing."""
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return None
    found: Any = root
    for segment in unquote(reference[2:]).split("/"):
        key = segment.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            index = int(key) if key.isdecimal() and len(key) < 6 else -1
            found = found[index] if 0 <= index < len(found) else None
        elif isinstance(found, dict):
            found = found.get(key)
        else:
            return None
    return found


def _merged(first: Node, second: Node) -> Node:
    """Both hold: properties and requirements of both, else the word of the first."""
    out = second | first
    for name in ("properties", "$defs", "definitions"):
        mine, other = first.get(name), second.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            out[name] = other | mine
    required = [*_strings(first.get("required")), *_strings(second.get("required"))]
    if required:
        out["required"] = list(dict.fromkeys(required))
    return out


def _kinds(node: Node) -> tuple[bool, list[str]]:
    """Whether null is allowed, and the other types that are, in lower case."""
    kind = node.get("type")
    words = [one.lower() for one in _strings([kind] if isinstance(kind, str) else kind)]
    known = [one for one in dict.fromkeys(words) if one in _TYPES]
    if "integer" in known and "number" in known:
        known.remove("integer")
    return node.get("nullable") is True or "null" in words, known


def _guess(node: Node) -> str:
    """The type of a schema that names none, which Google does not take."""
    keys = node.keys()
    return next((kind for kind, telling in _TELLING if not telling.isdisjoint(keys)), "string")


def _is_null(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if "const" in schema:
        return schema["const"] is None
    return schema.get("type") == "null" or schema.get("enum") == [None]


def _describes(schema: Any) -> bool:
    """Whether it says what a value is, and not only what else has to be there."""
    return isinstance(schema, dict) and not _DESCRIBING.isdisjoint(schema)


def _strings(value: Any) -> Iterable[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else ()


def _enum(node: Node) -> list[Any] | None:
    if "const" in node:
        return [node["const"]]
    values = node.get("enum")
    return values if isinstance(values, list) else None


def _write_enum(out: Node, values: list[Any]) -> None:
    """Enums are of strings. Those of truth values, objects and arrays are left to the type."""
    plain = [one for one in values if one is not None]
    if not plain or any(isinstance(one, dict | list) for one in plain):
        return
    if all(isinstance(one, bool) for one in plain):
        out["type"] = "BOOLEAN"
        return
    words = [one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in plain]
    words = list(dict.fromkeys(word for word in words if word))
    out["type"] = "STRING"
    if words:
        out["enum"] = words


def _copy_simple(out: Node, node: Node, kind: str) -> None:
    """What goes over as it is, where it goes with the type and is of the right kind itself."""
    if node.get("format") in _FORMATS.get(kind, ()):
        out["format"] = node["format"]
    for name in _COUNTS.get(kind, ()):
        count = node.get(name)
        if _is_number(count) and count >= 0:
            out[name] = int(count)
    if kind == "STRING" and "enum" not in out and isinstance(node.get("pattern"), str):
        out["pattern"] = node["pattern"]
    if kind in ("NUMBER", "INTEGER"):
        _copy_bounds(out, node, 1 if kind == "INTEGER" else 0)
    if "example" in node:
        out["example"] = node["example"]


def _copy_bounds(out: Node, node: Node, step: int) -> None:
    """An exclusive bound is the next integer, or for other numbers the bound itself."""
    lower = [node.get("minimum"), _shifted(node.get("exclusiveMinimum"), step)]
    upper = [node.get("maximum"), _shifted(node.get("exclusiveMaximum"), -step)]
    if known := [one for one in lower if _is_number(one)]:
        out["minimum"] = max(known)
    if known := [one for one in upper if _is_number(one)]:
        out["maximum"] = min(known)


def _shifted(bound: Any, step: int) -> Any:
    return bound + step if _is_number(bound) else None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _annotate(out: Node, node: Node) -> None:
    for name in ("title", "description"):
        if isinstance(node.get(name), str):
            out[name] = node[name]
    default = node.get("default")
    if default is not None and (out.get("type") != "STRING" or isinstance(default, str)):
        out["default"] = default
