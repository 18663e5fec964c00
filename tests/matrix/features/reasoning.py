"""Thinking: how much, shown or not, and what of it has to come back."""

from typing import Any, Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.features.tools import TOOLS, check_ids, results
from tests.matrix.outcome import CLIENTS, lossy, refused
from tests.matrix.question import Unsayable
from tests.support.strict.script import SCRIPTS, THOUGHTS

GROUP: Final = "Reasoning"
_SHOWS: Final[dict[str, dict[str, Any]]] = {
    # Who asks in which words to see it. Chat has none: its servers show it or do not.
    "chat": {"effort": "low"},
    "responses": {"effort": "low", "show_thinking": True},
    "anthropic": {"budget": 2048, "show_thinking": True},
    "google": {"budget": 2048, "show_thinking": True},
}


def thinking(cell: Cell) -> dict[str, Any]:
    """How this client asks for thinking that it can see."""
    if cell.client.name == "anthropic" and cell.model == "claude-opus-4-6":
        return {"effort": "low", "show_thinking": True}
    if cell.client.name == "google" and cell.model.startswith("gemini-3"):
        return {"effort": "low", "show_thinking": True}
    return dict(_SHOWS[cell.client.name])


@feature(
    GROUP,
    "effort",
    modes="either",
    models="thinking",
    between={
        ("anthropic", "anthropic"): refused("adaptive thinking", "the provider refuses it"),
        ("google", "google"): refused("Thinking level", "the provider refuses it"),
    },
)
async def effort(cell: Cell) -> None:
    await cell.ask("[[text]]", effort="medium")
    expected: dict[str, dict[str, Any]] = {
        "chat": {"effort": "medium"},
        "responses": {"effort": "medium"},
        "anthropic": {"budget": 8192},
        "google": {"budget": 8192},
    }
    assert cell.seen.thinking == expected[cell.provider.name]


@feature(
    GROUP,
    "effort, newest models",
    modes="either",
    models="newest",
)
async def effort_newest(cell: Cell) -> None:
    await cell.ask("[[text]]", effort="medium")
    expected: dict[str, dict[str, Any]] = {
        "chat": {"effort": "medium"},
        "responses": {"effort": "medium"},
        "anthropic": {"adaptive": True, "effort": "medium"},
        "google": {"level": "MEDIUM"},
    }
    assert cell.seen.thinking == expected[cell.provider.name]


@feature(
    GROUP, "thinking budget", clients=("anthropic", "google"), models="thinking", modes="either"
)
async def budget(cell: Cell) -> None:
    await cell.ask("[[text]]", budget=2048, max_tokens=4000)
    expected: dict[str, dict[str, Any]] = {
        "chat": {"effort": "low"},
        "responses": {"effort": "low"},
        "anthropic": {"budget": 2048},
        "google": {"budget": 2048},
    }
    assert cell.seen.thinking == expected[cell.provider.name]
    assert cell.seen.settings["max_tokens"] == 4000


@feature(
    GROUP,
    "thinking on a model that does not think",
    modes="either",
    models="old",
    to={name: lossy("thinking") for name in CLIENTS},
    between={(name, name): refused("", "the provider refuses it") for name in CLIENTS},
)
async def not_thinking(cell: Cell) -> None:
    await cell.ask("[[text]]", effort="low")
    assert cell.seen.thinking == {}


@feature(GROUP, "thinking shown", models="thinking")
async def shown(cell: Cell) -> None:
    reply = await cell.ask("[[reasoning]]", **thinking(cell))
    assert reply.text == "Hello!"
    assert reply.thinking == THOUGHTS


@feature(GROUP, "thinking shown, newest models", models="newest")
async def shown_newest(cell: Cell) -> None:
    await shown(cell)


@feature(
    GROUP,
    "thinking not shown",
    clients=("responses", "anthropic", "google"),
    models="thinking",
    to={"chat": lossy(note="the server shows it all the same")},
    between={
        ("responses", "anthropic"): lossy(note="it is shown: not to ask for it says nothing"),
    },
)
async def not_shown(cell: Cell) -> None:
    asked = {**thinking(cell), "show_thinking": False}
    reply = await cell.ask("[[reasoning]]", **asked)
    assert reply.text == "Hello!"
    if not cell.outcome.note:
        assert reply.thinking == ""
        assert not cell.seen.thoughts_shown


@feature(GROUP, "thinking of an earlier turn", models="thinking")
async def earlier_turn(cell: Cell) -> None:
    await _two_turns(cell)


@feature(GROUP, "thinking of an earlier turn, newest models", models="newest")
async def earlier_turn_newest(cell: Cell) -> None:
    await _two_turns(cell)


async def _two_turns(cell: Cell) -> None:
    asked = thinking(cell)
    first = await cell.ask("[[reasoning]]", **asked)
    second = await cell.ask("[[reasoning]]", first.replayed, "Again!", **asked)
    assert second.text == "Hello again!"
    texts = [(turn.role, turn.text) for turn in cell.seen.turns]
    assert texts == [("user", "[[reasoning]]"), ("assistant", "Hello!"), ("user", "Again!")]


@feature(
    GROUP,
    "thinking that the vendor keeps to itself",
    models="thinking",
    clients=("responses", "anthropic", "google"),
)
async def redacted(cell: Cell) -> None:
    asked = thinking(cell)
    if cell.client.name == "chat":
        raise Unsayable("there is no place for it")
    first = await cell.ask("[[redacted]]", **asked)
    assert first.thinking == THOUGHTS
    second = await cell.ask("[[redacted]]", first.replayed, "Again!", **asked)
    assert second.text == "Hello again!"
    if cell.provider.name == "anthropic":
        assert cell.seen.thoughts == ["", THOUGHTS]


_BUDGETED: Final = lossy("thinking")


@feature(
    GROUP,
    "thinking before a call that has to be made",
    models="thinking",
    modes="either",
    to={"anthropic": _BUDGETED},
    between={("anthropic", "anthropic"): refused("forces tool use", "the provider refuses it")},
)
async def forced(cell: Cell) -> None:
    asked = {**thinking(cell), "choice": "required:get_weather"}
    reply = await cell.ask("[[tool]]", tools=TOOLS, **asked)
    assert [made.name for made in reply.calls] == ["get_weather"]
    assert bool(cell.seen.thinking) == (not cell.loses("thinking"))


@feature(
    GROUP,
    "more thinking than the limit of tokens leaves room for",
    models="thinking",
    modes="either",
    clients=("chat", "responses"),
    to={"anthropic": lossy(note="as much as fits; below 1,024 tokens none")},
)
async def too_much(cell: Cell) -> None:
    if cell.client.name in ("anthropic", "google"):
        raise Unsayable("there the budget is a number")
    reply = await cell.ask("[[text]]", effort="high", max_tokens=4000)
    assert reply.finish == "stop"
    assert cell.seen.settings["max_tokens"] == 4000
    if cell.outcome.note:
        assert 1024 <= cell.seen.thinking["budget"] < 4000


# -- loops of calls ---------------------------------------------------------------------------


async def _loop(cell: Cell, script: str, forget: bool = False) -> None:
    """Two calls and an answer; each turn of the model's comes back as it was, thinking and all."""
    turns: list[Any] = [f"[[{script}]]"]
    steps = SCRIPTS[script]
    for number, step in enumerate(steps):
        reply = await cell.ask(*turns, tools=TOOLS, **thinking(cell))
        assert reply.text == step.text, number
        assert [made.name for made in reply.calls] == [made.name for made in step.calls]
        assert reply.finish == ("tool_calls" if step.calls else "stop")
        if forget:
            reply.turn = {name: reply.turn.get(name) for name in ("role", "content", "tool_calls")}
            for call in reply.turn["tool_calls"] or ():
                call.pop("extra_content", None)
        if reply.calls:
            turns += [reply.replayed, results(reply, *["ok"] * len(reply.calls))]
    check_ids(cell)
    thought = [step.thinking for step in steps if step.thinking]
    assert cell.seen.thoughts == ([] if cell.outcome.note else thought)


@feature(GROUP, "a loop of calls, thinking in between", models="thinking")
async def loop(cell: Cell) -> None:
    await _loop(cell, "loop")


@feature(GROUP, "a loop of calls, thinking in between, newest models", models="newest")
async def loop_newest(cell: Cell) -> None:
    await _loop(cell, "loop")


@feature(GROUP, "several calls at once, thinking before", models="newest")
async def parallel_loop(cell: Cell) -> None:
    await _loop(cell, "parallel-loop")


@feature(
    GROUP,
    "a loop of calls with a client that forgets the fields it does not know",
    clients=("chat",),
    models="newest",
    between={("chat", "chat"): lossy(note="nobody brings `reasoning_content` back")},
)
async def forgetful(cell: Cell) -> None:
    if cell.client.name != "chat":
        raise Unsayable("its fields are known")
    await _loop(cell, "loop", forget=True)
