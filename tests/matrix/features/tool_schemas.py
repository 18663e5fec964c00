"""What tools are declared with."""

import json
from typing import Any, Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.features.tools import GROUP, WEATHER, results
from tests.matrix.outcome import lossy, refused
from tests.matrix.question import Replayed, Tool, Unsayable
from tests.support.strict.script import CITY

_RICH: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}},
    "type": "object",
    "properties": {
        "place": {"$ref": "#/$defs/place"},
        "unit": {"type": ["string", "null"], "enum": ["C", "F", None]},
        "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "kind": {"const": "now"},
        "format": {"type": "string", "format": "uri", "pattern": "^h"},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "more": {"type": "object", "additionalProperties": {"type": "string"}},
        "$weird": {"oneOf": [{"type": "string"}, {"type": "number", "exclusiveMinimum": 0}]},
    },
    "required": ["place"],
    "additionalProperties": False,
}


@feature(GROUP, "a schema with references, unions and nulls", modes="either")
async def rich_schema(cell: Cell) -> None:
    reply = await cell.ask("[[any-tool]]", tools=(Tool("look_up", _RICH),))
    assert [one.name for one in reply.calls] == ["look_up"]
    schema = cell.seen.tools["look_up"].schema
    assert set(schema["properties"]) == set(_RICH["properties"])
    assert schema["required"] == ["place"]


@feature(
    GROUP, "a schema with references, unions and nulls, older models", models="old", modes="either"
)
async def rich_schema_older(cell: Cell) -> None:
    await rich_schema(cell)


@feature(
    GROUP,
    "a schema that is a union",
    modes="either",
    between={
        ("anthropic", "anthropic"): refused("at the top level", "the provider refuses it"),
    },
)
async def union_schema(cell: Cell) -> None:
    choices = [{"type": "object", "properties": {name: {"type": "string"}}} for name in "ab"]
    union = {"type": "object", "anyOf": choices}
    reply = await cell.ask("[[any-tool]]", tools=(Tool("either", union),))
    assert [one.name for one in reply.calls] == ["either"]


_STRICT: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@feature(
    GROUP,
    "a strict tool",
    modes="either",
    clients=("chat", "responses", "anthropic"),
    to={"google": lossy(note="tools are not held to their schema")},
)
async def strict(cell: Cell) -> None:
    await cell.ask("[[any-tool]]", tools=(Tool("look_up", _STRICT, strict=True),))
    if not cell.outcome.note:
        assert cell.seen.tools["look_up"].strict is True


@feature(
    GROUP,
    "free-text tools",
    clients=("chat", "responses"),
    to={
        "anthropic": lossy(note="as a function with one string; the client sees its own tool"),
        "google": lossy(note="as a function with one string; the client sees its own tool"),
    },
)
async def custom_tool(cell: Cell) -> None:
    tools = (Tool("run_sql", custom=True),)
    first = await cell.ask("[[custom-tool]]", tools=tools)
    [made] = first.calls
    assert (made.name, made.arguments) == ("run_sql", "SELECT 'ü'\nFROM t;")
    second = await cell.ask("[[custom-tool]]", first.replayed, results(first, "1"), tools=tools)
    assert second.text == "One row."


@feature(GROUP, "tool names that only Google takes", clients=("google",))
async def google_names(cell: Cell) -> None:
    if cell.client.name != "google":
        raise Unsayable("a dot or a colon in a name")
    name = "files.read:" + "x" * 80
    tools = (Tool(name, WEATHER.schema),)
    first = await cell.ask("[[any-tool]]", tools=tools)
    [made] = first.calls
    assert made.name == name
    second = await cell.ask("[[any-tool]]", first.replayed, results(first, "ok"), tools=tools)
    assert second.text == "Done."


@feature(
    GROUP,
    "functions as they were declared before there were tools",
    clients=("chat",),
    to={"google": lossy("parallel_tools")},
)
async def legacy_functions(cell: Cell) -> None:
    function = {"name": "get_weather", "parameters": WEATHER.schema}
    own = cell.own({"chat": {"functions": [function]}})
    first = await cell.ask("[[tool]]", own=own)
    assert first.raw_finish == "function_call"
    call = first.turn["function_call"]
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", CITY)
    result = {"role": "function", "name": "get_weather", "content": "sun"}
    second = await cell.ask("[[tool]]", first.replayed, Replayed(result), own=own)
    assert second.text == "It is sunny."
    assert [one.text for one in cell.seen.results] == ["sun"]


@feature(GROUP, "tools in a namespace", clients=("responses",))
async def namespaces(cell: Cell) -> None:
    inner = {"type": "function", "name": "read", "parameters": WEATHER.schema}
    space = {"type": "namespace", "name": "files", "description": "Files", "tools": [inner]}
    own = cell.own({"responses": {"tools": [space]}})
    first = await cell.ask("[[any-tool]]", own=own)
    [made] = [item for item in first.turn if item["type"] == "function_call"]
    assert (made["name"], made["namespace"]) == ("read", "files")
    second = await cell.ask("[[any-tool]]", first.replayed, results(first, "ok"), own=own)
    assert second.text == "Done."


@feature(GROUP, "a schema in Google's own words", clients=("google",), modes="either")
async def google_schema(cell: Cell) -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "city": {"type": "STRING", "nullable": True, "enum": ["Bern", "Basel"]},
            "days": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": 1},
        },
        "required": ["city"],
        "propertyOrdering": ["city", "days"],
    }
    declaration = {"name": "look_up", "parameters": schema}
    tools = {"tools": [{"functionDeclarations": [declaration]}]}
    reply = await cell.ask("[[any-tool]]", own=cell.own({"google": tools}))
    assert [one.name for one in reply.calls] == ["look_up"]
    seen = cell.seen.tools["look_up"].schema
    assert set(seen["properties"]) == {"city", "days"}
    if not cell.native:
        assert seen["type"] == "object"
        assert set(seen["properties"]["city"]["type"]) == {"string", "null"}
        assert seen["properties"]["days"]["items"]["type"] == "integer"
