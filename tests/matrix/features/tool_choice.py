"""Whether and which tools are called."""

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.features.tools import GROUP, TOOLS
from tests.matrix.outcome import lossy
from tests.matrix.question import Tool


@feature(GROUP, "tool choice: may call", modes="either")
async def choice_auto(cell: Cell) -> None:
    await cell.ask("[[text]]", tools=TOOLS, choice="auto")
    assert cell.seen.choice in (None, "auto")


@feature(GROUP, "tool choice: must call", modes="either")
async def choice_required(cell: Cell) -> None:
    await cell.ask("[[tool]]", tools=TOOLS, choice="required")
    assert cell.seen.choice == "required"


@feature(GROUP, "tool choice: must not call", modes="either")
async def choice_none(cell: Cell) -> None:
    await cell.ask("[[text]]", tools=TOOLS, choice="none")
    assert cell.seen.choice == "none"
    assert len(cell.seen.tools) == 2


@feature(GROUP, "tool choice: this one", modes="either")
async def choice_one(cell: Cell) -> None:
    await cell.ask("[[tool]]", tools=TOOLS, choice="required:get_weather")
    assert cell.seen.choice == "required:get_weather"


@feature(
    GROUP,
    "tool choice: must call one of these",
    modes="either",
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
    modes="either",
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
    modes="either",
    clients=("chat", "responses", "anthropic"),
    to={"google": lossy("parallel_tools")},
)
async def one_at_a_time(cell: Cell) -> None:
    await cell.ask("[[text]]", tools=TOOLS, parallel=False)
    if not cell.loses("parallel_tools"):
        assert cell.seen.parallel is False
