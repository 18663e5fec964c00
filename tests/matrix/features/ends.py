"""Why an answer ended, and what it cost."""

from typing import Final

from tests.matrix.cell import Cell
from tests.matrix.feature import every_pair, feature
from tests.matrix.features.reasoning import thinking
from tests.matrix.features.tools import TOOLS
from tests.matrix.outcome import lossy
from tests.matrix.question import Counted, Unsayable
from tests.support.strict.script import SCRIPTS, THINKING

GROUP: Final = "Ends and usage"
_SAYS_CACHE_WRITES: Final = ("chat", "responses", "anthropic")


@feature(GROUP, "cut at the limit of tokens")
async def length(cell: Cell) -> None:
    reply = await cell.ask("[[length]]", max_tokens=64)
    assert (reply.text, reply.finish) == ("It is sunn", "length")
    assert cell.seen.settings["max_tokens"] == 64


@feature(GROUP, "cut in the middle of a call")
async def half_call(cell: Cell) -> None:
    reply = await cell.ask("[[half-call]]", tools=TOOLS, max_tokens=64)
    assert (reply.text, reply.finish) == ("Let me look.", "length")
    assert all(made.arguments in (None, {}, {"city": "Zür"}) for made in reply.calls)


@feature(
    GROUP,
    "ended at a stop sequence",
    clients=("chat", "anthropic", "google"),
    to={
        "responses": lossy("stop"),
    },
    between={
        ("anthropic", "chat"): lossy(note="the end is `end_turn`: nobody says that it was one"),
        ("anthropic", "google"): lossy(note="the end is `end_turn`: nobody says that it was one"),
    },
)
async def stop_sequence(cell: Cell) -> None:
    reply = await cell.ask("[[stop-sequence]]", stop=("three", "four"))
    assert reply.text == "one two "
    if not cell.loses("stop"):
        assert cell.seen.settings["stop"] == ["three", "four"]
    if cell.pair == ("anthropic", "anthropic"):
        assert (reply.finish, reply.sequence) == ("stop_sequence", "three")
    else:
        assert reply.finish == "stop"


_NO_WORDS: Final = lossy(note="no place for its words: they are text")


@feature(
    GROUP,
    "refusal of the model's, in words",
    between={
        ("google", "chat"): _NO_WORDS,
        ("google", "responses"): _NO_WORDS,
    },
)
async def refusal(cell: Cell) -> None:
    reply = await cell.ask("[[refusal]]")
    words = "I cannot help with that."
    if cell.provider.name in ("chat", "responses"):
        assert reply.finish in ("stop", "filtered")
        assert words in (reply.text, reply.refusal)
    else:
        assert reply.finish == "filtered"
    if cell.provider.name == cell.client.name == "anthropic":
        assert reply.refusal == words


@feature(GROUP, "refusal of the model's, in the history", clients=("chat", "responses"))
async def refusal_in_the_history(cell: Cell) -> None:
    if cell.client.name not in ("chat", "responses"):
        raise Unsayable("no place for the words of a refusal")
    first = await cell.ask("[[refusal]]")
    if cell.provider.name in ("chat", "responses"):
        second = await cell.ask("Hi", first.replayed, "[[text]]")
        assert second.text == SCRIPTS["text"][0].text
        assert cell.seen.turns[1].text == "I cannot help with that."


@feature(GROUP, "cut by the vendor's filter")
async def filtered(cell: Cell) -> None:
    reply = await cell.ask("[[filtered]]")
    assert (reply.text, reply.finish) == ("It is ", "filtered")


@feature(GROUP, "blocked before the first word")
async def blocked(cell: Cell) -> None:
    reply = await cell.ask("[[blocked]]")
    assert (reply.text, reply.finish) == ("", "filtered")


def _expected(cell: Cell, tokens: Counted) -> Counted:
    """What this client can be told of what this upstream says."""
    write = tokens.cache_write
    if cell.provider.name == "google" or cell.client.name == "google":
        write = None
    if write is None and cell.client.name == "anthropic":
        write = 0
    if write is None and cell.client.name == "responses":
        write = 0
    return Counted(tokens.input, tokens.cached, write, tokens.output, tokens.reasoning)


@feature(
    GROUP,
    "tokens: cached, written to a cache, reasoning",
    models="thinking",
    to={"google": lossy(note="Google does not say what it writes to a cache")},
    between=every_pair(
        lossy(note="no word for what is written to a cache"),
        clients=("google",),
        upstreams=_SAYS_CACHE_WRITES,
    ),
)
async def usage(cell: Cell) -> None:
    reply = await cell.ask("[[reasoning]]", **thinking(cell))
    told = THINKING
    expected = Counted(told.input, told.cached, told.cache_write, told.output, told.reasoning)
    assert reply.counted == _expected(cell, expected)


@feature(GROUP, "tokens, without reasoning")
async def usage_plain(cell: Cell) -> None:
    reply = await cell.ask("[[text]]")
    assert reply.counted is not None
    assert (reply.counted.input, reply.counted.output) == (120, 30)
    assert reply.counted.cached == 40
    assert not reply.counted.reasoning
