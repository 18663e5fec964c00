"""JSON Schema as Google's Schema and back (protocols.md, 2.6), rule by rule."""

import json
import time
from typing import Any

import msgspec
import pytest
from google.genai import types as genai
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter.errors import InvalidRequest
from bitrouter.protocols.google.schemas import answer_schema, json_schema, tool_parameters
from tests.unit.protocols.google.geminiwire import plain, raw

Schema = dict[str, Any]

# What Google's Schema has: google-genai's `types.Schema`, camelCase.
KNOWN = {
    *("type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems"),
    *("properties", "required", "minProperties", "maxProperties", "minLength", "maxLength"),
    *("pattern", "example", "anyOf", "propertyOrdering", "default", "minimum", "maximum", "items"),
}


def converted(schema: Any) -> Any:
    """A schema for an answer."""
    return plain(answer_schema(raw(schema), "the schema"))


def of_property(schema: Any, **root: Any) -> Any:
    """What a schema becomes as that of a property."""
    return converted({"type": "object", "properties": {"p": schema}, **root})["properties"]["p"]


def parameters(schema: Any) -> Any:
    """A schema for a tool."""
    return plain(tool_parameters(raw(schema), "the schema"))


def back(schema: Any) -> Any:
    """A Google Schema as JSON Schema."""
    return plain(json_schema(raw(schema), "the schema"))


# -- to Google ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["string", "number", "integer", "boolean", "STRING", "Number"])
def test_types_are_in_upper_case(name: str) -> None:
    assert of_property({"type": name}) == {"type": name.upper()}


def test_a_reference_is_put_in_its_place() -> None:
    defs = {"Color": {"type": "string", "enum": ["red"], "description": "old"}}
    referring = {"$ref": "#/$defs/Color", "description": "new", "default": "red", "title": "x"}
    assert of_property(referring, **{"$defs": defs}) == {
        "type": "STRING",
        "enum": ["red"],
        "description": "new",
        "default": "red",
    }


@pytest.mark.parametrize(
    ("pointer", "root"),
    [
        ("#/definitions/a", {"definitions": {"a": {"type": "integer"}}}),
        ("#/$defs/a~1b~0c%20d", {"$defs": {"a/b~c d": {"type": "integer"}}}),
        ("#/x/1", {"x": [{"type": "string"}, {"type": "integer"}]}),
        ("#/$defs/a", {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "integer"}}}),
    ],
)
def test_references_are_json_pointers(pointer: str, root: Schema) -> None:
    assert of_property({"$ref": pointer}, **root) == {"type": "INTEGER"}


@pytest.mark.parametrize(
    "pointer",
    [
        *("#/$defs/missing", "https://e.org/schema.json", "#anchor", "#/x/7", "#/x/one"),
        *("#/properties/p", "#", "", "#/type/x"),
    ],
)
def test_a_reference_to_nothing_or_to_itself_is_any_object(pointer: str) -> None:
    assert (
        of_property({"$ref": pointer, "description": "d"}, x=[1])
        == {
            "type": "OBJECT",
            "description": "d",
        }
        or pointer == "#"
    )


def test_a_recursive_schema_ends_where_it_comes_to_itself() -> None:
    tree = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
        },
    }
    found = converted({"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}})
    assert found["properties"]["children"] == {"type": "ARRAY", "items": {"type": "OBJECT"}}


def test_the_same_reference_twice_is_no_recursion() -> None:
    both = {"a": {"$ref": "#/$defs/N"}, "b": {"$ref": "#/$defs/N"}}
    found = converted({"type": "object", "properties": both, "$defs": {"N": {"type": "number"}}})
    assert found["properties"] == {"a": {"type": "NUMBER"}, "b": {"type": "NUMBER"}}


@pytest.mark.parametrize(
    "key",
    [
        *("$schema", "$id", "$comment", "additionalProperties", "patternProperties"),
        *("propertyNames", "unevaluatedProperties", "if", "then", "else", "not"),
        *("dependentRequired", "dependentSchemas", "contains", "multipleOf", "uniqueItems"),
        *("examples", "deprecated", "readOnly", "contentEncoding", "x-order", "strict"),
    ],
)
def test_keys_that_google_does_not_know_go_but_not_names_of_properties(key: str) -> None:
    schema = {"type": "object", "properties": {key: {"type": "string", key: "x"}}, key: {}}
    assert converted(schema) == {"type": "OBJECT", "properties": {key: {"type": "STRING"}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": "a"}, {"type": "STRING", "enum": ["a"]}),
        ({"type": "string", "enum": ["a", "", "b", "a"]}, {"type": "STRING", "enum": ["a", "b"]}),
        ({"enum": [1, 2.5, "x"]}, {"type": "STRING", "enum": ["1", "2.5", "x"]}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "STRING", "enum": ["1", "2"]}),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}),
        ({"enum": [True, False]}, {"type": "BOOLEAN"}),
        ({"type": "boolean", "const": True}, {"type": "BOOLEAN"}),
        ({"type": "object", "enum": [{"a": 1}]}, {"type": "OBJECT"}),
        ({"type": "string", "enum": []}, {"type": "STRING"}),
        ({"type": "string", "enum": [""]}, {"type": "STRING"}),
        ({"type": "string", "enum": ["a"], "pattern": "a"}, {"type": "STRING", "enum": ["a"]}),
        ({"type": "integer", "enum": [1], "default": 1}, {"type": "STRING", "enum": ["1"]}),
    ],
)
def test_enums_are_of_strings(schema: Schema, expected: Schema) -> None:
    assert of_property(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["null"]}, {"type": "STRING", "nullable": True}),
        ({"type": "null"}, {"type": "STRING", "nullable": True}),
        ({"type": ["integer", "number"]}, {"type": "NUMBER"}),
        ({"type": "string", "nullable": True}, {"type": "STRING", "nullable": True}),
        (
            {"type": ["integer", "string", "null"], "description": "d", "minimum": 1},
            {
                "anyOf": [{"type": "INTEGER", "minimum": 1}, {"type": "STRING"}],
                "nullable": True,
                "description": "d",
            },
        ),
        (
            {"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "T", "default": None},
            {"type": "INTEGER", "nullable": True, "title": "T"},
        ),
        (
            {"oneOf": [{"type": "integer"}, {"type": "string"}, {"const": None}]},
            {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}], "nullable": True},
        ),
        (
            {"anyOf": [{"type": "null"}, {"enum": [None]}]},
            {"type": "STRING", "nullable": True},
        ),
        (
            {"anyOf": [{"const": "a"}, {"const": "b"}, {"const": "a"}]},
            {"type": "STRING", "enum": ["a", "b"]},
        ),
        (
            {"type": "string", "anyOf": [{"format": "date-time"}, {"pattern": "^now$"}]},
            {
                "anyOf": [
                    {"type": "STRING", "format": "date-time"},
                    {"type": "STRING", "pattern": "^now$"},
                ]
            },
        ),
    ],
)
def test_unions(schema: Schema, expected: Schema) -> None:
    assert of_property(schema) == expected


def test_properties_beside_a_union_belong_to_each_of_its_variants() -> None:
    schema = {
        "type": "object",
        "properties": {"kind": {"type": "string"}},
        "required": ["kind"],
        "anyOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"title": "none"}],
    }
    kind = {"type": "STRING"}
    assert of_property(schema) == {
        "anyOf": [
            {
                "type": "OBJECT",
                "properties": {"kind": kind, "a": {"type": "INTEGER"}},
                "required": ["a", "kind"],
            },
            {"type": "OBJECT", "properties": {"kind": kind}, "required": ["kind"], "title": "none"},
        ]
    }


def test_a_union_of_requirements_alone_leaves_the_object_as_it_is() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    assert of_property(schema) == {
        "type": "OBJECT",
        "properties": {"a": {"type": "STRING"}, "b": {"type": "STRING"}},
    }


def test_what_holds_together_is_merged() -> None:
    schema = {
        "description": "mine",
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"$ref": "#/$defs/B"},
            {"description": "other", "minProperties": 1},
        ],
    }
    defs = {"B": {"properties": {"b": {"type": "integer"}}, "required": ["b", "a"]}}
    assert of_property(schema, **{"$defs": defs}) == {
        "type": "OBJECT",
        "description": "mine",
        "minProperties": 1,
        "properties": {"a": {"type": "STRING"}, "b": {"type": "INTEGER"}},
        "required": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "exclusiveMinimum": 3}, {"type": "INTEGER", "minimum": 4}),
        ({"type": "integer", "exclusiveMaximum": 3}, {"type": "INTEGER", "maximum": 2}),
        ({"type": "number", "exclusiveMinimum": 3}, {"type": "NUMBER", "minimum": 3}),
        ({"type": "number", "minimum": 5, "exclusiveMinimum": 3}, {"type": "NUMBER", "minimum": 5}),
        ({"type": "number", "exclusiveMinimum": True}, {"type": "NUMBER"}),
        ({"type": "string", "minimum": 3, "minLength": 1}, {"type": "STRING", "minLength": 1}),
        ({"type": "string", "minLength": "1", "maxLength": -1}, {"type": "STRING"}),
        (
            {"type": "array", "minItems": 1.0},
            {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": 1},
        ),
    ],
)
def test_bounds(schema: Schema, expected: Schema) -> None:
    assert of_property(schema) == expected


@pytest.mark.parametrize(
    ("kind", "fmt", "kept"),
    [
        *(("number", "float", True), ("number", "double", True), ("integer", "int32", True)),
        *(("integer", "int64", True), ("string", "date-time", True), ("string", "enum", True)),
        *(("string", "uri", False), ("string", "email", False), ("string", "int32", False)),
        ("integer", "uint8", False),
    ],
)
def test_formats(kind: str, fmt: str, kept: bool) -> None:
    assert ("format" in of_property({"type": kind, "format": fmt})) is kept


def test_only_what_there_is_can_be_required() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "required": ["b", "missing", 3, "b"],
        "propertyOrdering": ["b", "a", "missing"],
    }
    found = converted(schema)
    assert (found["required"], found["propertyOrdering"]) == (["b"], ["b", "a"])


@pytest.mark.parametrize(
    ("schema", "items"),
    [
        ({"type": "array"}, {"type": "STRING"}),
        ({"type": "array", "items": {}}, {"type": "STRING"}),
        ({"type": "array", "items": True}, {"type": "STRING"}),
        ({"type": "array", "items": {"type": "integer"}}, {"type": "INTEGER"}),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
            {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]},
        ),
        ({"items": [{"type": "integer"}, {"type": "integer"}]}, {"type": "INTEGER"}),
        ({"type": "array", "items": []}, {"type": "STRING"}),
    ],
)
def test_arrays_have_items(schema: Schema, items: Schema) -> None:
    assert of_property(schema) == {"type": "ARRAY", "items": items}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({}, "STRING"),
        (True, "STRING"),
        (None, "STRING"),
        ([], "STRING"),
        ({"type": "any"}, "STRING"),
        ({"type": 3}, "STRING"),
        ({"description": "d"}, "STRING"),
        ({"properties": {}}, "OBJECT"),
        ({"additionalProperties": {"type": "string"}}, "OBJECT"),
        ({"items": {}}, "ARRAY"),
        ({"minimum": 3}, "NUMBER"),
    ],
)
def test_every_node_has_a_type(schema: Any, kind: str) -> None:
    assert of_property(schema)["type"] == kind


def test_an_example_and_a_default_stay() -> None:
    schema = {"type": "integer", "example": 3, "default": 4, "title": "t", "description": "d"}
    assert of_property(schema) == schema | {"type": "INTEGER"}


def test_annotations_of_another_type_go() -> None:
    schema = {"type": "string", "title": 3, "description": [], "pattern": {}, "format": ["x"]}
    assert of_property(schema) == {"type": "STRING"}


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": "object"}, {"type": "object", "properties": {}}, {"type": "string"}, {"a": 1}],
)
def test_a_tool_without_properties_has_no_parameters(schema: Schema) -> None:
    assert parameters(schema) is None


def test_the_variants_of_a_tool_s_parameters_become_one_object() -> None:
    schema = {
        "description": "d",
        "oneOf": [
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "k": {"const": "x"}},
                "required": ["k", "a"],
            },
            {
                "type": "object",
                "properties": {"b": {"type": "string"}, "k": {"const": "y"}},
                "required": ["k", "b"],
            },
        ],
    }
    found = parameters(schema)
    assert found["type"] == "OBJECT"
    assert {*found["properties"]} == {"a", "b", "k"}
    assert found["required"] == ["k"]
    assert found["description"] == "d"


@pytest.mark.parametrize("schema", ["[]", "3", '"a"', "true", "null", '{"a":1e999}'])
def test_what_is_no_schema_is_refused_by_its_name(schema: str) -> None:
    for convert in (tool_parameters, answer_schema, json_schema):
        with pytest.raises(InvalidRequest, match=r"^the schema "):
            convert(msgspec.Raw(schema.encode()), "the schema")


def test_a_schema_that_grows_beyond_measure_is_refused_at_once() -> None:
    defs = {
        str(n): {"type": "object", "properties": {"a": ref(n + 1), "b": ref(n + 1)}}
        for n in range(40)
    }
    began = time.perf_counter()
    with pytest.raises(InvalidRequest, match="more than 5000"):
        converted({"type": "object", "properties": {"a": ref(0)}, "$defs": defs})
    assert time.perf_counter() - began < 2


def ref(number: int) -> Schema:
    return {"$ref": f"#/$defs/{number}"}


def test_a_schema_that_cannot_even_be_read_is_refused() -> None:
    deep = msgspec.Raw(b'{"items":' * 20_000 + b"1" + b"}" * 20_000)
    for convert in (tool_parameters, answer_schema, json_schema):
        with pytest.raises(InvalidRequest, match="nested too deeply"):
            convert(deep, "the schema")


@pytest.mark.parametrize("key", ["items", "allOf", "anyOf", "not"])
def test_a_schema_that_is_nested_too_deeply_is_refused_or_ends(key: str) -> None:
    schema: Any = {"type": "string"}
    for _ in range(150):
        schema = {key: schema} if key in ("items", "not") else {key: [schema, {"type": "null"}]}
    if key == "not":
        assert converted(schema) == {"type": "STRING"}
        return
    for convert in (tool_parameters, answer_schema):
        with pytest.raises(InvalidRequest, match="nested too deeply"):
            convert(raw(schema), "the schema")


# -- from Google --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "TYPE_UNSPECIFIED"}, {}),
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "STRING", "nullable": False}, {"type": "string"}),
        (
            {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "format": "enum", "enum": ["a", None]},
        ),
        ({"type": "INTEGER", "enum": ["1", "x"]}, {"type": "integer", "enum": [1, "x"]}),
        (
            {"any_of": [{"type": "STRING"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        (
            {"type": "ARRAY", "items": {"type": "NUMBER"}, "min_items": "2", "maxItems": 3},
            {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3},
        ),
        ({"type": "OBJECT", "property_ordering": ["a"], "example": {}}, {"type": "object"}),
        ({"type": "STRING", "min_length": "many"}, {"type": "string", "minLength": "many"}),
        ({"type": ["STRING", "NULL"]}, {"type": ["string", "null"]}),
        ({"type": "STRING", "description": None}, {"type": "string"}),
        (
            {"ref": "#/defs/A", "defs": {"A": {"type": "STRING"}}},
            {"$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}},
        ),
        (
            {"type": "OBJECT", "additional_properties": {"type": "STRING"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        (
            {"type": "OBJECT", "additionalProperties": False},
            {"type": "object", "additionalProperties": False},
        ),
        (
            {"type": "STRING", "title": "STRING", "pattern": "A"},
            {"type": "string", "title": "STRING", "pattern": "A"},
        ),
    ],
)
def test_a_google_schema_as_a_json_schema(schema: Schema, expected: Schema) -> None:
    assert back(schema) == expected
    nested = {"type": "OBJECT", "properties": {"min_items": schema}}
    assert back(nested) == {"type": "object", "properties": {"min_items": expected}}


def test_a_google_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: Schema = {"type": "STRING"}
    for _ in range(150):
        schema = {"type": "ARRAY", "items": schema}
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        back(schema)


# -- anything -----------------------------------------------------------------------------------

_words = st.sampled_from(
    [
        *("type", "properties", "items", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"),
        *("required", "$defs", "nullable", "format", "minimum", "exclusiveMinimum", "minItems"),
        *("description", "title", "default", "pattern", "prefixItems", "additionalProperties"),
    ]
)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [
            *("string", "object", "array", "integer", "null", "#", "#/$defs/a", "#/properties/a"),
            *("a", "", "date-time"),
        ]
    )
)
_anything = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_words | st.sampled_from(["a", "b"]), inner, max_size=4)
    ),
    max_leaves=25,
)


def check_google(schema: Any) -> None:
    """Assert that Google's Schema has everything that is there."""
    assert schema.keys() <= KNOWN
    assert ("anyOf" in schema) != ("type" in schema)
    if schema.get("type") == "ARRAY":
        check_google(schema["items"])
    assert {*schema.get("required", ())} <= {*schema.get("properties", ())}
    assert all(isinstance(one, str) and one for one in schema.get("enum", ()))
    for child in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
        check_google(child)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(_words, _anything, max_size=5))
def test_anything_becomes_a_schema_that_google_knows(schema: Schema) -> None:
    found = converted(schema)
    check_google(found)
    genai.Schema.model_validate(found)
    json.dumps(back(found))
    found = parameters(schema)
    assert found is None or (found["type"], bool(found["properties"])) == ("OBJECT", True)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(_words, _anything, max_size=5))
def test_anything_that_a_client_calls_a_google_schema_is_read(schema: Schema) -> None:
    json.dumps(back(schema))
