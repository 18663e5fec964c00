"""Histories that no vendor would have written."""

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.features.tools import GROUP, TOOLS
from tests.matrix.outcome import lossy, refused
from tests.matrix.question import Called, Result, Results, SaidCalls
from tests.support.strict.script import SCRIPTS


@feature(
    GROUP,
    "ids of another vendor's conversation",
    modes="either",
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
    modes="either",
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
    modes="either",
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
    modes="either",
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
    modes="either",
    between={
        ("chat", "chat"): refused("only allowed when 'tools'", "the provider refuses it"),
        ("anthropic", "anthropic"): refused("while providing tools", "the provider refuses it"),
        ("google", "google"): refused("without function_declarations", "the provider refuses it"),
    },
)
async def choice_without_tools(cell: Cell) -> None:
    await cell.ask("[[text]]", choice="auto")
    assert cell.seen.choice in (None, "auto")
