"""JSON Schemas as Anthropic takes them (protocols.md, 2.4 and 2.6)."""

import json
from typing import Any

import msgspec
import pytest
from anthropic.lib._parse._transform import transform_schema

from bitrouter import ir
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.protocols.anthropic.schemas import input_schema, output_schema
from tests.unit.protocols.anthropic.wire import asked, encoded

Schema = dict[str, Any]

A = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
B = {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}
AB = {"a": {"type": "string"}, "b": {"type": "integer"}}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def as_input(schema: Any) -> Any:
    """The schema of a tool's input, read."""
    written = input_schema(raw(schema), "f")
    return json.loads(bytes(written)) if isinstance(written, msgspec.Raw) else written


# -- a tool's input ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({}, {"type": "object", "properties": {}}),
        (True, {"type": "object", "properties": {}}),
        (None, {"type": "object", "properties": {}}),
        ({"properties": AB}, {"type": "object", "properties": AB}),
        ({"type": ["object", "null"], **B}, B),
        (
            {"type": "object", "properties": {"n": {"anyOf": [A, B]}}, "x-own": 1},
            {"type": "object", "properties": {"n": {"anyOf": [A, B]}}, "x-own": 1},
        ),
        ({"anyOf": [A, B]}, {"type": "object", "properties": AB}),
        ({"oneOf": [A, A]}, A),
        ({"anyOf": [A, {"type": "null"}]}, A),
        ({"allOf": [A, B]}, {"type": "object", "properties": AB, "required": ["a", "b"]}),
        (
            {"type": "object", "description": "d", "oneOf": [A, B], "required": ["c"]},
            {"type": "object", "description": "d", "properties": AB, "required": ["c"]},
        ),
        (
            {"anyOf": [A, {"properties": {"a": {"type": "null"}}}]},
            {
                "type": "object",
                "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
            },
        ),
        (
            {"$ref": "#/$defs/a~1b", "$defs": {"a/b": A}},
            {**A, "$defs": {"a/b": A}},
        ),
        (
            {"anyOf": [{"$ref": "#/definitions/a"}, B], "definitions": {"a": A}},
            {"type": "object", "properties": AB, "definitions": {"a": A}},
        ),
        ({"$ref": "#/nowhere"}, {"type": "object", "properties": {}}),
        (
            {"anyOf": [A], "additionalProperties": False},
            A,
        ),
        ({"type": "object", "anyOf": "x", "properties": 5}, {"type": "object", "properties": {}}),
    ],
)
def test_input_is_an_object_at_its_top(schema: Any, written: Schema) -> None:
    assert as_input(schema) == written


def test_reference_to_itself_comes_to_an_end() -> None:
    around = {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    }
    inside = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, A]}}}

    assert as_input(around)["type"] == "object"
    assert as_input(inside)["properties"] == A["properties"]


@pytest.mark.parametrize("kind", ["string", "array", ["string", "null"], 5])
def test_input_that_is_no_object_is_refused(kind: Any) -> None:
    tool = ir.Tool("f", parameters=raw({"type": kind}))

    with pytest.raises(UnsupportedFeature, match="'f' must be an object"):
        encoded(asked(tools=[tool]))


def test_number_that_no_float_holds_is_refused_where_it_would_have_to_be_read() -> None:
    schema = msgspec.Raw(b'{"anyOf":[{"minimum":1e999}]}')

    with pytest.raises(InvalidRequest):
        encoded(asked(tools=[ir.Tool("f", parameters=schema)]))


# -- the answer -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [
        A,
        {"type": "object", "properties": {}, "additionalProperties": True},
        {
            "type": "object",
            "properties": {
                "when": {"type": "string", "format": "date-time"},
                "phone": {"type": "string", "pattern": "^[0-9]+$", "format": "phone"},
                "n": {"type": "integer", "minimum": 1, "maximum": 10, "description": "A number"},
                "list": {"type": "array", "items": A, "minItems": 1, "maxItems": 3},
                "three": {"type": "array", "items": {"type": "string"}, "minItems": 3},
                "ref": {"$ref": "#/$defs/a"},
                "either": {"oneOf": [A, {"type": "null"}], "title": "Either"},
                "all": {"allOf": [A, B]},
                "word": {"type": "string", "enum": ["x", "y"]},
                "fixed": {"const": 5},
                "flag": {"type": "boolean", "default": True},
            },
            "required": ["when"],
            "$defs": {"a": {**A, "minProperties": 1}},
        },
    ],
)
def test_answer_is_constrained_as_the_sdk_does_it(schema: Schema) -> None:
    ours = output_schema(raw(schema))
    theirs = transform_schema(schema)

    assert with_same_words(ours) == with_same_words(theirs)


def with_same_words(node: Any) -> Any:
    """The schema without the one difference: how a value reads in a description."""
    if isinstance(node, list):
        return [with_same_words(one) for one in node]
    if not isinstance(node, dict):
        return node
    same = {name: with_same_words(value) for name, value in node.items()}
    if isinstance(same.get("description"), str):
        same["description"] = same["description"].replace("True", "true")
    return same


def test_bounds_are_told_in_the_description() -> None:
    schema = {"type": "integer", "minimum": 1, "not": {"const": 3}, "description": "A number"}

    assert output_schema(raw(schema)) == {
        "type": "integer",
        "description": 'A number\n\n{minimum: 1, not: {"const":3}}',
    }


def test_several_types_are_alternatives() -> None:
    schema = {"type": ["string", "null"], "description": "d", "maxLength": 5, "default": None}

    written = output_schema(raw(schema))

    assert written["anyOf"] == [
        {"type": "string", "description": "{maxLength: 5}"},
        {"type": "null"},
    ]
    assert written["description"].startswith("d")
    assert "type" not in written


def test_fixed_values_say_their_types_themselves() -> None:
    schema = {"type": ["string", "null"], "enum": ["a", None]}

    assert output_schema(raw(schema)) == {"enum": ["a", None]}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [({"properties": {}}, "object"), ({"items": {"type": "string"}}, "array")],
)
def test_missing_type_is_what_the_rest_implies(schema: Schema, kind: str) -> None:
    assert output_schema(raw(schema))["type"] == kind


def test_map_of_values_is_told_in_the_description() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "number"}}

    written = output_schema(raw(schema))

    assert written["additionalProperties"] is False
    assert '{"type":"number"}' in written["description"]


def test_property_may_be_called_like_a_keyword() -> None:
    schema = {"type": "object", "properties": {"pattern": {"type": "string"}, "$ref": A}}

    written = output_schema(raw(schema))

    assert written["properties"].keys() == {"pattern", "$ref"}
    assert "description" not in written


@pytest.mark.parametrize("schema", [True, [], "x", 5])
def test_schema_of_an_answer_that_is_no_object_is_refused(schema: Any) -> None:
    with pytest.raises(InvalidRequest):
        output_schema(raw(schema))


def test_clients_schema_is_not_changed() -> None:
    given = raw({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}})
    before = bytes(given)

    output_schema(given)
    input_schema(given, "f")

    assert bytes(given) == before
