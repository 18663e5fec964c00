"""The form of the answer."""

import json
from typing import Any, Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.outcome import lossy, refused
from tests.matrix.question import Schema

GROUP: Final = "Structured output"
_ANSWER: Final = {"city": "Zürich", "degrees": 21}
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
_OPEN: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1},
        "degrees": {"type": "integer", "minimum": -50},
    },
    "required": ["city"],
}


@feature(
    GROUP,
    "any JSON object",
    clients=("chat", "responses", "google"),
    to={"anthropic": lossy(note="by a sentence in the system prompt")},
)
async def any_object(cell: Cell) -> None:
    reply = await cell.ask("[[json]] Answer in JSON.", output="object")
    assert json.loads(reply.text) == _ANSWER
    if cell.outcome.note:
        assert "JSON" in cell.seen.all_system
    else:
        assert cell.seen.output == {}


async def _by_schema(cell: Cell, schema: Schema) -> dict[str, Any]:
    reply = await cell.ask("[[json]]", output=schema)
    assert json.loads(reply.text) == _ANSWER
    assert (reply.calls, reply.finish) == ([], "stop")
    output: dict[str, Any] = cell.seen.output or {}
    return output


@feature(GROUP, "by a schema")
async def by_schema(cell: Cell) -> None:
    output = await _by_schema(cell, Schema(_SCHEMA))
    assert set(output["schema"]["properties"]) == {"city", "degrees"}
    assert output["schema"]["required"] == ["city", "degrees"]


@feature(GROUP, "by a strict schema", clients=("chat", "responses"))
async def strict(cell: Cell) -> None:
    output = await _by_schema(cell, Schema(_SCHEMA, "weather", strict=True))
    assert output.get("strict", True) is True
    assert output.get("name", "weather") == "weather"


@feature(
    GROUP,
    "by a schema with limits",
    to={"anthropic": lossy(note="limits of length and size become descriptions")},
    between={("anthropic", "anthropic"): refused("schema", "the provider refuses it")},
)
async def open_schema(cell: Cell) -> None:
    output = await _by_schema(cell, Schema(_OPEN))
    assert output["schema"]["required"] == ["city"]
    assert not output.get("strict")
    degrees = output["schema"]["properties"]["degrees"]
    if cell.outcome.note:
        assert "50" in degrees["description"]
    else:
        assert degrees["minimum"] == -50


@feature(
    GROUP,
    "by a schema, models without it",
    models="old",
    to={"anthropic": lossy(note="as a tool that has to be called; the client sees text")},
    between={("anthropic", "anthropic"): refused("not supported", "the provider refuses it")},
)
async def by_tool(cell: Cell) -> None:
    reply = await cell.ask("[[json]]", output=Schema(_SCHEMA))
    assert json.loads(reply.text) == _ANSWER
    assert (reply.calls, reply.finish) == ([], "stop")
