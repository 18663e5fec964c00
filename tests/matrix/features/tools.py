"""Tools: what is declared, chosen, called and answered."""

from typing import Any, Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.outcome import lossy, refused
from tests.matrix.question import (
    Called,
    Image,
    Pdf,
    Reply,
    Result,
    Results,
    SaidCalls,
    Tool,
    Unsayable,
)
from tests.matrix.samples import PDF, PNG
from tests.support.strict.script import CITY, SCRIPTS

GROUP: Final = "Tools"
WEATHER: Final = Tool(
    "get_weather",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where"},
            "days": {"type": "integer"},
            "exact": {"type": "boolean"},
        },
        "required": ["city"],
    },
    "Tells the weather",
)
TIME: Final = Tool("get_time", description="Tells the time")
TOOLS: Final = (WEATHER, TIME)


def results(reply: Reply, *texts: str, remark: str = "") -> Results:
    """What the calls of an answer gave."""
    pairs = zip(reply.calls, texts, strict=True)
    return Results(tuple(Result(call, text) for call, text in pairs), remark)


@feature(GROUP, "declared tools")
async def declared(cell: Cell) -> None:
    await cell.ask("[[text]]", tools=TOOLS)
    weather, time = cell.seen.tools.values()
    assert (weather.name, weather.description) == ("get_weather", "Tells the weather")
    assert set(weather.schema["properties"]) == {"city", "days", "exact"}
    assert weather.schema["required"] == ["city"]
    assert weather.schema["properties"]["city"]["description"] == "Where"
    assert time.name == "get_time"
    assert not (time.schema or {}).get("properties")
    assert not weather.strict
    if cell.provider.name == "responses" and not cell.native:
        assert weather.strict is False, "left out it would mean strict"


@feature(GROUP, "a call and its result")
async def call(cell: Cell) -> None:
    first = await cell.ask("[[tool]]", tools=TOOLS)
    [made] = first.calls
    assert (made.name, made.arguments) == ("get_weather", CITY)
    assert first.text == ""
    assert first.finish == "tool_calls"
    second = await cell.ask(
        "[[tool]]", first.replayed, results(first, "Sunny \U0001f31e"), tools=TOOLS
    )
    assert second.text == "It is sunny."
    [result] = cell.seen.results
    assert (result.text, result.is_error) == ("Sunny \U0001f31e", False)


@feature(GROUP, "text before a call")
async def text_before_a_call(cell: Cell) -> None:
    first = await cell.ask("[[talking-tool]]", tools=TOOLS)
    assert first.text == "Let me look."
    assert [made.name for made in first.calls] == ["get_weather"]
    second = await cell.ask("[[talking-tool]]", first.replayed, results(first, "x"), tools=TOOLS)
    assert second.text == "It is sunny."


@feature(GROUP, "several calls at once, one without arguments")
async def parallel(cell: Cell) -> None:
    first = await cell.ask("[[parallel]]", tools=TOOLS)
    assert [(one.name, one.arguments) for one in first.calls] == [
        ("get_weather", CITY),
        ("get_time", {}),
        ("get_weather", {"city": "Bern"}),
    ]
    ids = [one.id for one in first.calls]
    assert len(set(ids)) == 3 or (cell.client.name == "google" and set(ids) == {None})
    second = await cell.ask(
        "[[parallel]]", first.replayed, results(first, "sun", "noon", "rain"), tools=TOOLS
    )
    assert second.text == "Sunny, noon, rainy."
    assert [one.text for one in cell.seen.results] == ["sun", "noon", "rain"]


@feature(
    GROUP, "results in another order than the calls", clients=("chat", "responses", "anthropic")
)
async def results_in_another_order(cell: Cell) -> None:
    if cell.client.name == "google":
        raise Unsayable("its order is what tells whose result it is")
    first = await cell.ask("[[parallel]]", tools=TOOLS)
    in_order = results(first, "sun", "noon", "rain")
    shuffled = Results(in_order.results[::-1])
    await cell.ask("[[parallel]]", first.replayed, shuffled, tools=TOOLS)
    ids = [made.id for made in cell.seen.calls]
    if ids == [None] * 3:
        assert [one.text for one in cell.seen.results] == ["sun", "noon", "rain"]
    else:
        by_id = {one.id: one.text for one in cell.seen.results}
        assert [by_id[one] for one in ids] == ["sun", "noon", "rain"]


@feature(GROUP, "a remark of the user's after the results")
async def remark(cell: Cell) -> None:
    first = await cell.ask("[[tool]]", tools=TOOLS)
    answered = results(first, "sun", remark="Be quick.")
    second = await cell.ask("[[tool]]", first.replayed, answered, tools=TOOLS)
    assert second.text == "It is sunny."
    assert [one.text for one in cell.seen.results] == ["sun"]
    assert cell.seen.turns[-1].text == "Be quick."


_PREFIXED: Final = lossy(note="no such flag there: the text begins with `Error: `")


@feature(
    GROUP,
    "a tool that failed",
    clients=("anthropic", "google"),
    to={"chat": _PREFIXED, "responses": _PREFIXED},
)
async def failed_tool(cell: Cell) -> None:
    first = await cell.ask("[[tool]]", tools=TOOLS)
    failed = Results((Result(first.calls[0], "no such city", is_error=True),))
    await cell.ask("[[tool]]", first.replayed, failed, tools=TOOLS)
    [result] = cell.seen.results
    if cell.outcome.note:
        assert result.text == "Error: no such city"
    else:
        assert (result.text, result.is_error) == ("no such city", True)


@feature(
    GROUP,
    "an image as a result",
    clients=("responses", "anthropic", "google"),
    to={
        "chat": lossy(note="results are text there: the image follows in a turn of the user's"),
        "google": lossy(note="Gemini 2.5: the image stands beside the result"),
    },
)
async def image_result(cell: Cell) -> None:
    await _media_result(cell, Image(PNG), "image/png", PNG)


@feature(
    GROUP,
    "a PDF as a result",
    clients=("responses", "anthropic", "google"),
    to={
        "chat": lossy(note="results are text there: the PDF follows in a turn of the user's"),
        "google": lossy(note="Gemini 2.5: the PDF stands beside the result"),
    },
)
async def pdf_result(cell: Cell) -> None:
    await _media_result(cell, Pdf(PDF), "application/pdf", PDF)


@feature(
    GROUP,
    "an image as a result, newest models",
    clients=("responses", "anthropic", "google"),
    models="newest",
    to={"chat": lossy(note="results are text there: the image follows in a turn of the user's")},
)
async def image_result_newest(cell: Cell) -> None:
    await _media_result(cell, Image(PNG), "image/png", PNG)


async def _media_result(cell: Cell, media: Image | Pdf, media_type: str, data: str) -> None:
    first = await cell.ask("[[tool]]", tools=TOOLS)
    drawn = Results((Result(first.calls[0], "Here.", media=(media,)),))
    second = await cell.ask("[[tool]]", first.replayed, drawn, tools=TOOLS)
    assert second.text == "It is sunny."
    [seen] = cell.seen.media
    assert (seen.media_type, seen.data) == (media_type, data)
    [result] = cell.seen.results
    assert result.text.startswith("Here.")
    assert bool(result.media) == (not cell.outcome.note)


# -- choosing ---------------------------------------------------------------------------------


@feature(GROUP, "tool choice: may call")
async def choice_auto(cell: Cell) -> None:
    await cell.ask("[[text]]", tools=TOOLS, choice="auto")
    assert cell.seen.choice in (None, "auto")


@feature(GROUP, "tool choice: must call")
async def choice_required(cell: Cell) -> None:
    await cell.ask("[[tool]]", tools=TOOLS, choice="required")
    assert cell.seen.choice == "required"


@feature(GROUP, "tool choice: must not call")
async def choice_none(cell: Cell) -> None:
    await cell.ask("[[text]]", tools=TOOLS, choice="none")
    assert cell.seen.choice == "none"
    assert len(cell.seen.tools) == 2


@feature(GROUP, "tool choice: this one")
async def choice_one(cell: Cell) -> None:
    await cell.ask("[[tool]]", tools=TOOLS, choice="required:get_weather")
    assert cell.seen.choice == "required:get_weather"


@feature(
    GROUP,
    "tool choice: must call one of these",
    clients=("chat", "responses", "google"),
    to={"anthropic": lossy(note="the other tools are not declared")},
)
async def choice_some(cell: Cell) -> None:
    tools = (*TOOLS, Tool("get_news"))
    await cell.ask("[[tool]]", tools=tools, choice="required:get_weather,get_time")
    await _check_some(cell, "required")


@feature(
    GROUP,
    "tool choice: may call one of these",
    clients=("chat", "responses"),
    to={
        "anthropic": lossy(note="the other tools are not declared"),
        "google": lossy(note="the other tools are not declared"),
    },
)
async def choice_may_some(cell: Cell) -> None:
    tools = (*TOOLS, Tool("get_news"))
    await cell.ask("[[tool]]", tools=tools, choice="auto:get_weather,get_time")
    await _check_some(cell, "auto")


async def _check_some(cell: Cell, mode: str) -> None:
    if cell.outcome.note:
        assert set(cell.seen.tools) == {"get_weather", "get_time"}
        assert cell.seen.choice in (mode, None if mode == "auto" else mode)
    else:
        assert cell.seen.choice == f"{mode}:get_weather,get_time"
        assert len(cell.seen.tools) == 3


@feature(
    GROUP,
    "one call at a time",
    clients=("chat", "responses", "anthropic"),
    to={"google": lossy("parallel_tools")},
)
async def one_at_a_time(cell: Cell) -> None:
    await cell.ask("[[text]]", tools=TOOLS, parallel=False)
    if not cell.loses("parallel_tools"):
        assert cell.seen.parallel is False


# -- declarations -----------------------------------------------------------------------------

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


@feature(GROUP, "a schema with references, unions and nulls")
async def rich_schema(cell: Cell) -> None:
    reply = await cell.ask("[[any-tool]]", tools=(Tool("look_up", _RICH),))
    assert [one.name for one in reply.calls] == ["look_up"]
    schema = cell.seen.tools["look_up"].schema
    assert set(schema["properties"]) == set(_RICH["properties"])
    assert schema["required"] == ["place"]


@feature(GROUP, "a schema with references, unions and nulls, older models", models="old")
async def rich_schema_older(cell: Cell) -> None:
    await rich_schema(cell)


@feature(
    GROUP,
    "a schema that is a union",
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


# -- histories that no vendor would have written ------------------------------------------------


@feature(
    GROUP,
    "ids of another vendor's conversation",
    between={
        ("chat", "chat"): refused("id", "the provider refuses it: passed on as it is"),
        ("responses", "responses"): refused(
            "call_id", "the provider refuses it: passed on as it is"
        ),
    },
)
async def foreign_ids(cell: Cell) -> None:
    made = (
        Called("toolu_" + "x" * 70, "get_weather", {"city": "Bern"}),
        Called("toolu_" + "x" * 69 + "y", "get_time", {}),
    )
    answered = Results((Result(made[0], "sun"), Result(made[1], "noon")))
    reply = await cell.ask("Hi", SaidCalls(made), answered, "[[text]]", tools=TOOLS)
    assert reply.finish == "stop"
    assert [one.text for one in cell.seen.results] == ["sun", "noon"]
    assert [one.name for one in cell.seen.calls] == ["get_weather", "get_time"]


@feature(
    GROUP,
    "a call without a result",
    between={
        ("chat", "chat"): refused("did not have response", "the provider refuses it"),
        ("responses", "responses"): refused("No tool output", "the provider refuses it"),
        ("anthropic", "anthropic"): refused("without `tool_result`", "the provider refuses it"),
        ("google", "google"): refused("number of function response", "the provider refuses it"),
    },
    to={
        name: lossy(note="a result that says there is none is put in")
        for name in ("chat", "responses", "anthropic", "google")
    },
)
async def missing_result(cell: Cell) -> None:
    made = (Called("call_1", "get_weather", {"city": "Bern"}),)
    await cell.ask("Hi", SaidCalls(made), "Never mind. [[text]]", tools=TOOLS)
    [result] = cell.seen.results
    assert "no result" in result.text
    assert cell.seen.turns[-1].text == "Never mind. [[text]]"


@feature(
    GROUP,
    "a result without a call",
    between={
        ("chat", "chat"): refused("must be a response", "the provider refuses it"),
        ("responses", "responses"): refused("No tool call found", "the provider refuses it"),
        ("anthropic", "anthropic"): refused("unexpected `tool_use_id`", "the provider refuses it"),
        ("google", "google"): refused("number of function response", "the provider refuses it"),
    },
    to={
        name: lossy(note="the result is left out")
        for name in ("chat", "responses", "anthropic", "google")
    },
)
async def orphaned_result(cell: Cell) -> None:
    orphan = Called("call_1", "get_weather", {})
    await cell.ask("Hi", Results((Result(orphan, "sun"),), "[[text]]"), tools=TOOLS)
    assert cell.seen.results == []


@feature(
    GROUP,
    "calls in the history, tools no longer declared",
    to={"anthropic": lossy(note="the tools are declared again, and not to be called")},
    between={
        ("anthropic", "anthropic"): refused("must define tools", "the provider refuses it"),
    },
)
async def undeclared(cell: Cell) -> None:
    made = (Called("call_1", "get_weather", {"city": "Bern"}),)
    answered = Results((Result(made[0], "sun"),))
    reply = await cell.ask("Hi", SaidCalls(made), answered, "[[text]]")
    assert reply.text == SCRIPTS["text"][0].text
    if cell.outcome.note:
        assert list(cell.seen.tools) == ["get_weather"]
        assert cell.seen.choice == "none"


@feature(
    GROUP,
    "tool choice without tools",
    between={
        ("chat", "chat"): refused("only allowed when 'tools'", "the provider refuses it"),
        ("anthropic", "anthropic"): refused("while providing tools", "the provider refuses it"),
        ("google", "google"): refused("without function_declarations", "the provider refuses it"),
    },
)
async def choice_without_tools(cell: Cell) -> None:
    await cell.ask("[[text]]", choice="auto")
    assert cell.seen.choice in (None, "auto")
