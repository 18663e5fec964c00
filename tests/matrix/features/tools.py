"""Tools: what is declared, chosen, called and answered."""

from typing import Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.outcome import lossy
from tests.matrix.question import (
    Image,
    Pdf,
    Reply,
    Result,
    Results,
    Tool,
    Unsayable,
)
from tests.matrix.samples import PDF, PNG
from tests.support.strict.script import CITY

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


def check_ids(cell: Cell) -> None:
    """The ids that the provider gave came back to it; Gemini 2.5 gives and takes none."""
    ids = {made.id for made in cell.seen.calls}
    expected = {None} if cell.model == "gemini-2.5-flash" else cell.provider.issued
    assert ids <= expected


@feature(GROUP, "declared tools", modes="either")
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
    check_ids(cell)
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


@feature(GROUP, "a remark of the user's after the results", modes="either")
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
    modes="either",
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
    modes="either",
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
    modes="either",
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
    modes="either",
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
