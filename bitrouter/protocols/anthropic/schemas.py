"""JSON Schemas as Anthropic takes them (protocols.md, 2.4 and 2.6).

A tool's schema must be that of an object at its top; the rest is the client's affair and passes as
it was written. The schema of a whole answer steers the decoding, so it may hold only what the
decoder can follow; the rest goes into the description, where the model at least reads it.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.protocols.anthropic import types
from bitrouter.protocols.base import decode_part

Schema = dict[str, Any]

ANY_OBJECT: Final[Schema] = {"type": "object", "properties": {}}
_OBJECT: Final = b'"object"'
_COMBINING: Final = ("anyOf", "oneOf", "allOf", "$ref")
_MAX_REFERENCES: Final = 20


def input_schema(parameters: msgspec.Raw | None, tool: str) -> msgspec.Raw | Schema:
    """The schema of a tool's input: as the client wrote it if it may stand so, else a copy whose
    top is an object. Raises UnsupportedFeature when no object can fit it.
    """
    top = decode_part(types.members, parameters) if parameters is not None else None
    if top is None or parameters is None:
        return ANY_OBJECT
    kind = top.get("type")
    if kind is not None and bytes(kind) == _OBJECT and not any(name in top for name in _COMBINING):
        return parameters
    whole: Schema = types.anything.decode(parameters)
    if not _may_be_object(whole.get("type")):
        raise UnsupportedFeature(f"tools: the input of {tool!r:.80} must be an object")
    return _Merger(whole).merged(whole)


def _may_be_object(kind: Any) -> bool:
    return kind is None or kind == "object" or (isinstance(kind, list) and "object" in kind)


class _Merger:
    """Makes one object of alternatives and parts, as wide as any of them: what the model writes is
    still checked by the client, which knows the schema as it was.
    """

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._references = 0

    def merged(self, schema: Schema) -> Schema:
        """`schema` as one of type object, without anything that combines schemas at its top."""
        schema = self._resolved(schema)
        properties: Schema = {**_dict(schema.get("properties"))}
        required: list[Any] = [*_list(schema.get("required"))]
        combined = False
        for branch in self._branches(schema, "allOf"):
            combined = True
            _add_properties(properties, branch)
            required += branch.get("required", ())
        for name in ("anyOf", "oneOf"):
            branches = self._branches(schema, name)
            combined = combined or bool(branches)
            for branch in branches:
                _add_properties(properties, branch)
            required += _in_all(branches)
        left_out = {*_COMBINING, "type", "properties", "required"}
        if combined:
            left_out.add("additionalProperties")
        result = {name: value for name, value in schema.items() if name not in left_out}
        result |= {"type": "object", "properties": properties}
        if required:
            result["required"] = list(dict.fromkeys(map(str, required)))
        return result

    def _branches(self, schema: Schema, name: str) -> list[Schema]:
        """The alternatives or parts that may be an object, each merged itself."""
        branches = [self._resolved(one) for one in _list(schema.get(name)) if isinstance(one, dict)]
        return [self.merged(one) for one in branches if _may_be_object(one.get("type"))]

    def _resolved(self, schema: Schema) -> Schema:
        """`schema`, or what it refers to in the same document, with what stands beside."""
        while isinstance(reference := schema.get("$ref"), str):
            self._references += 1
            target = self._at(reference)
            if target is None or self._references > _MAX_REFERENCES:
                return {name: value for name, value in schema.items() if name != "$ref"}
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            schema = {**target, **beside}
        return schema

    def _at(self, reference: str) -> Schema | None:
        node: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            node = _dict(node).get(step.replace("~1", "/").replace("~0", "~"))
        return node if isinstance(node, dict) and reference.startswith("#/") else None


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _add_properties(properties: Schema, branch: Schema) -> None:
    for name, schema in branch["properties"].items():
        known = properties.setdefault(name, schema)
        if known != schema:
            properties[name] = {"anyOf": [known, schema]}


def _in_all(branches: list[Schema]) -> list[Any]:
    """The properties that every branch requires."""
    sets = [{*map(str, branch.get("required", ()))} for branch in branches]
    return sorted(set.intersection(*sets)) if sets else []


# -- the schema of an answer ------------------------------------------------------------------

# What anthropic-sdk-python leaves in a schema (lib/_parse/_transform.py).
_FORMATS: Final = {
    *("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"),
    "uuid",
}
_KEPT: Final = ("$ref", "title", "enum", "const")
_DEFINITIONS: Final = ("$defs", "definitions")


def output_schema(schema: msgspec.Raw) -> Schema:
    """A schema of the whole answer, with only what constrained decoding follows.

    Raises InvalidRequest when it is no object.
    """
    decoded = types.anything.decode(schema)
    if not isinstance(decoded, dict):
        raise InvalidRequest("the schema of the answer must be an object")
    return cast(Schema, _constrained(decoded))


def _constrained(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    rest = {**node}
    rest.pop("$schema", None)
    result: Schema = {name: rest.pop(name) for name in _KEPT if name in rest}
    for name in _DEFINITIONS:
        if isinstance(rest.get(name), dict):
            result[name] = {key: _constrained(one) for key, one in rest.pop(name).items()}
    description = rest.pop("description", None)
    if "$ref" not in result:
        _constrain(result, rest)
    if rest and "$ref" not in result:
        hints = ", ".join(f"{name}: {_as_words(value)}" for name, value in rest.items())
        description = f"{description}\n\n{{{hints}}}" if description else f"{{{hints}}}"
    if description:
        result["description"] = description
    return result


def _constrain(result: Schema, rest: Schema) -> None:
    """Move into `result` what it may have out of `rest`."""
    for name, kept_as in (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")):
        if isinstance(rest.get(name), list) and kept_as not in result:
            result[kept_as] = [_constrained(one) for one in rest.pop(name)]
    kind = rest.pop("type", None) or _implied_type(rest)
    if isinstance(kind, list):
        _constrain_each(result, rest, kind)
    elif kind is not None and "enum" not in result and "const" not in result:
        result["type"] = kind
        _constrain_type(result, rest, kind)


def _implied_type(rest: Schema) -> str | None:
    return "object" if "properties" in rest else "array" if "items" in rest else None


def _constrain_each(result: Schema, rest: Schema, kinds: list[Any]) -> None:
    """Several types are alternatives, each with the keywords that are about it."""
    if "enum" in result or "const" in result or "anyOf" in result:
        return
    told = {name: rest.pop(name) for name in [*rest] if name != "default"}
    result["anyOf"] = [
        {"type": kind} if kind == "null" else _constrained({**told, "type": kind}) for kind in kinds
    ]


def _constrain_type(result: Schema, rest: Schema, kind: Any) -> None:
    if kind == "object":
        properties = _dict(rest.pop("properties", None))
        result["properties"] = {name: _constrained(one) for name, one in properties.items()}
        if not isinstance(rest.get("additionalProperties"), dict):
            rest.pop("additionalProperties", None)
        result["additionalProperties"] = False
        if isinstance(rest.get("required"), list):
            result["required"] = rest.pop("required")
    elif kind == "array":
        if "items" in rest:
            result["items"] = _constrained(rest.pop("items"))
        if rest.get("minItems") in (0, 1):
            result["minItems"] = rest.pop("minItems")
    elif kind == "string" and rest.get("format") in _FORMATS:
        result["format"] = rest.pop("format")


def _as_words(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
