"""Texts, turns, and what the system says."""

from typing import Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.outcome import lossy, refused
from tests.matrix.question import Said, SystemNote, User
from tests.support.strict.script import SCRIPTS, TEXT

GROUP: Final = "Conversation"
_SYSTEM: Final = "Be brief.\nAnswer in German: ä, \u2028 and \U0001f31e."


@feature(GROUP, "text")
async def text(cell: Cell) -> None:
    reply = await cell.ask('[[text]] ünï \u2028 \U0001f31e <&>"\\')
    assert reply.text == TEXT
    assert (reply.thinking, reply.refusal, reply.calls) == ("", "", [])
    assert reply.finish == "stop"
    [turn] = cell.seen.turns
    assert (turn.role, turn.text) == ("user", '[[text]] ünï \u2028 \U0001f31e <&>"\\')
    assert cell.seen.stream is cell.streamed


@feature(GROUP, "several texts in one turn", modes="either")
async def several_texts(cell: Cell) -> None:
    await cell.ask(User("One. ", "Two. ", "[[text]]"))
    [turn] = cell.seen.turns
    assert turn.text == "One. Two. [[text]]"


@feature(GROUP, "system prompt", modes="either")
async def system_prompt(cell: Cell) -> None:
    await cell.ask("Hi", system=_SYSTEM)
    assert cell.seen.system == [_SYSTEM]
    assert [turn.role for turn in cell.seen.turns] == ["user"]


@feature(
    GROUP,
    "system prompt in the middle of a conversation",
    modes="either",
    clients=("chat", "responses"),
    to={
        "anthropic": lossy(note="moves to the beginning: there is one place for it"),
        "google": lossy(note="moves to the beginning: there is one place for it"),
    },
)
async def system_prompt_in_the_middle(cell: Cell) -> None:
    await cell.ask("Hi", Said("Hello"), SystemNote("Now be rude."), "[[text]]", system="Be kind.")
    assert cell.seen.all_system == "Be kind.\n\nNow be rude."
    roles = [turn.role for turn in cell.seen.turns if turn.role != "system"]
    assert roles == ["user", "assistant", "user"]


@feature(GROUP, "several turns")
async def several_turns(cell: Cell) -> None:
    first = await cell.ask("[[short]] One")
    second = await cell.ask("[[short]] One", first.replayed, "Two")
    third = await cell.ask("[[short]] One", first.replayed, "Two", second.replayed, "Three")
    assert third.text == "Hi."
    said = [(turn.role, turn.text) for turn in cell.seen.turns]
    assert said == [
        ("user", "[[short]] One"),
        ("assistant", "Hi."),
        ("user", "Two"),
        ("assistant", "Hi."),
        ("user", "Three"),
    ]


@feature(GROUP, "several user turns in a row", modes="either")
async def several_user_turns(cell: Cell) -> None:
    await cell.ask("One. ", "[[text]]")
    assert "".join(turn.text for turn in cell.seen.turns) == "One. [[text]]"
    assert {turn.role for turn in cell.seen.turns} == {"user"}


@feature(
    GROUP,
    "a history that begins with the model",
    modes="either",
    to={
        "anthropic": lossy(note="a user turn `.` is put in front"),
        "google": lossy(note="a user turn `.` is put in front"),
    },
    between={
        ("anthropic", "anthropic"): refused("first message must use", "the provider refuses it"),
        ("google", "google"): refused("begins with a user turn", "the provider refuses it"),
    },
)
async def begins_with_the_model(cell: Cell) -> None:
    reply = await cell.ask(Said("Welcome!"), "[[text]]")
    assert reply.text == TEXT
    said = [(turn.role, turn.text) for turn in cell.seen.turns]
    added = [("user", ".")] if cell.outcome.note else []
    assert said == [*added, ("assistant", "Welcome!"), ("user", "[[text]]")]


@feature(GROUP, "a history that ends with the model (prefill)")
async def prefill(cell: Cell) -> None:
    reply = await cell.ask("[[short]] Answer in a word.", Said("Hi."))
    assert reply.text == "Hi."
    assert cell.seen.turns[-1].role == "assistant"
    assert cell.seen.turns[-1].text == "Hi."


@feature(
    GROUP,
    "an empty text beside others",
    modes="either",
    between={
        ("anthropic", "anthropic"): refused("non-whitespace", "the provider refuses it"),
    },
)
async def empty_text(cell: Cell) -> None:
    await cell.ask(User("", "[[text]]"))
    assert cell.seen.turns[-1].text == "[[text]]"


@feature(
    GROUP,
    "nothing but empty texts",
    modes="either",
    to={
        "chat": refused("empty"),
        "responses": refused("empty"),
        "anthropic": refused("empty"),
        "google": refused("empty"),
    },
    between={
        ("anthropic", "anthropic"): refused("non-empty", "the provider refuses it"),
        ("google", "google"): refused("parts", "the provider refuses it"),
    },
)
async def nothing(cell: Cell) -> None:
    await cell.ask(User(""))
    assert cell.seen.turns[-1].text == ""


@feature(GROUP, "an answer without any text")
async def empty_answer(cell: Cell) -> None:
    reply = await cell.ask("[[empty]]")
    assert (reply.text, reply.calls, reply.finish) == ("", [], "stop")


@feature(GROUP, "streams are passed on as they come", modes="streamed")
async def as_it_comes(cell: Cell) -> None:
    reply = await cell.ask("[[slow]]", on_text=lambda text: cell.provider.release.set())
    assert reply.text == SCRIPTS["slow"][0].text
