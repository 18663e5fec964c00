"""Sampling, limits, and what else can be set."""

from typing import Any, Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.outcome import lossy, refused
from tests.matrix.question import Unsayable

GROUP: Final = "Settings"
_PENALTIES: Final = ("presence_penalty", "frequency_penalty")


async def _settings(cell: Cell, **settings: Any) -> dict[str, Any]:
    await cell.ask("[[text]]", **settings)
    return cell.seen.settings


@feature(GROUP, "limit of tokens", modes="either")
async def max_tokens(cell: Cell) -> None:
    assert (await _settings(cell, max_tokens=500))["max_tokens"] == 500


@feature(
    GROUP,
    "a limit below 16 tokens",
    modes="either",
    to={"responses": lossy(note="16 is the least there")},
    between={("responses", "responses"): refused("max_output_tokens", "the provider refuses it")},
)
async def small_max_tokens(cell: Cell) -> None:
    expected = 16 if cell.outcome.note else 3
    assert (await _settings(cell, max_tokens=3))["max_tokens"] == expected


@feature(GROUP, "no limit of tokens", clients=("chat", "responses", "google"), modes="either")
async def no_max_tokens(cell: Cell) -> None:
    if cell.client.name == "anthropic":
        raise Unsayable("there it is required")
    expected = 64000 if cell.provider.name == "anthropic" else None
    assert (await _settings(cell)).get("max_tokens") in (expected, 8192)


@feature(GROUP, "temperature", modes="either")
async def temperature(cell: Cell) -> None:
    assert (await _settings(cell, temperature=0.5))["temperature"] == 0.5


@feature(
    GROUP,
    "temperature above 1",
    modes="either",
    clients=("chat", "responses", "google"),
    to={"anthropic": lossy(note="1 is the most there")},
)
async def high_temperature(cell: Cell) -> None:
    expected = 1 if cell.outcome.note else 1.5
    assert (await _settings(cell, temperature=1.5))["temperature"] == expected


@feature(GROUP, "top_p", modes="either")
async def top_p(cell: Cell) -> None:
    assert (await _settings(cell, top_p=0.25))["top_p"] == 0.25


@feature(
    GROUP,
    "temperature with top_p",
    modes="either",
    to={"anthropic": lossy("top_p")},
    between={("anthropic", "anthropic"): refused("cannot both", "the provider refuses it")},
)
async def temperature_with_top_p(cell: Cell) -> None:
    settings = await _settings(cell, temperature=0.5, top_p=0.25)
    assert settings["temperature"] == 0.5
    assert settings.get("top_p") == (None if cell.loses("top_p") else 0.25)


@feature(
    GROUP,
    "temperature on models that take none",
    modes="either",
    models="without sampling",
    to={
        "chat": lossy("temperature"),
        "responses": lossy("temperature"),
        "anthropic": lossy("temperature"),
    },
    between={
        ("chat", "chat"): refused("temperature", "the provider refuses it"),
        ("responses", "responses"): refused("temperature", "the provider refuses it"),
        ("anthropic", "anthropic"): refused("temperature", "the provider refuses it"),
    },
)
async def temperature_refused(cell: Cell) -> None:
    settings = await _settings(cell, temperature=0.5)
    assert settings.get("temperature") == (None if cell.loses("temperature") else 0.5)


@feature(
    GROUP,
    "top_k",
    modes="either",
    clients=("anthropic", "google"),
    to={"chat": lossy("top_k"), "responses": lossy("top_k")},
)
async def top_k(cell: Cell) -> None:
    settings = await _settings(cell, top_k=7)
    assert settings.get("top_k") == (None if cell.loses("top_k") else 7)


@feature(
    GROUP,
    "stop sequences",
    modes="either",
    clients=("chat", "anthropic", "google"),
    to={"responses": lossy("stop")},
)
async def stop(cell: Cell) -> None:
    settings = await _settings(cell, stop=("END", "\n\nüber"))
    assert settings.get("stop") == (None if cell.loses("stop") else ["END", "\n\nüber"])


@feature(
    GROUP,
    "more stop sequences than chat takes",
    modes="either",
    clients=("chat", "anthropic", "google"),
    to={"responses": lossy("stop"), "chat": lossy("stop")},
    between={("chat", "chat"): refused("stop", "the provider refuses it")},
)
async def many_stops(cell: Cell) -> None:
    settings = await _settings(cell, stop=tuple("abcde"))
    expected = {"responses": None, "chat": list("abcd")}.get(cell.provider.name, list("abcde"))
    assert settings.get("stop") == (expected if not cell.native else list("abcde"))


@feature(
    GROUP,
    "penalties",
    modes="either",
    clients=("chat", "google"),
    models="old",
    to={"responses": lossy(*_PENALTIES), "anthropic": lossy(*_PENALTIES)},
)
async def penalties(cell: Cell) -> None:
    settings = await _settings(cell, presence_penalty=0.5, frequency_penalty=-0.5)
    lost = cell.loses("presence_penalty") or cell.outcome.kind == "lossy"
    assert settings.get("presence_penalty") == (None if lost else 0.5)
    assert settings.get("frequency_penalty") == (None if lost else -0.5)


@feature(
    GROUP,
    "seed",
    modes="either",
    clients=("chat", "google"),
    to={"responses": lossy("seed"), "anthropic": lossy("seed")},
)
async def seed(cell: Cell) -> None:
    settings = await _settings(cell, seed=42)
    assert settings.get("seed") == (None if cell.loses("seed") else 42)


@feature(
    GROUP,
    "several answers",
    clients=("chat", "google"),
    to={"responses": refused("n:"), "anthropic": refused("n:")},
)
async def n(cell: Cell) -> None:
    reply = await cell.ask("[[short]]", n=2)
    assert reply.texts == ["Hi.", "Hi.1"]
    assert cell.seen.n == 2


@feature(GROUP, "one answer, said so", clients=("chat", "google"), modes="either")
async def one_answer(cell: Cell) -> None:
    reply = await cell.ask("[[short]]", n=1)
    assert reply.texts == ["Hi."]


@feature(
    GROUP,
    "probabilities of tokens",
    clients=("chat", "responses", "google"),
    to={"anthropic": lossy("logprobs", "top_logprobs")},
)
async def logprobs(cell: Cell) -> None:
    reply = await cell.ask("[[text]]", top_logprobs=2)
    if cell.outcome.kind == "full":
        assert cell.seen.settings["logprobs"] is True
        assert cell.seen.settings["top_logprobs"] == 2
        assert reply.logprobs
        assert {probability for _, probability in reply.logprobs} == {-0.25}


@feature(
    GROUP,
    "verbosity",
    modes="either",
    clients=("chat", "responses"),
    to={"anthropic": lossy("verbosity"), "google": lossy("verbosity")},
)
async def verbosity(cell: Cell) -> None:
    settings = await _settings(cell, verbosity="low")
    assert settings.get("verbosity") == (None if cell.loses("verbosity") else "low")


@feature(
    GROUP,
    "the end user",
    modes="either",
    clients=("chat", "responses", "anthropic"),
    to={"google": lossy("user")},
)
async def user(cell: Cell) -> None:
    settings = await _settings(cell, user="user-1")
    assert settings.get("user") == (None if cell.loses("user") else "user-1")


@feature(
    GROUP,
    "metadata",
    modes="either",
    clients=("chat", "responses"),
    to={"anthropic": lossy("metadata"), "google": lossy("metadata")},
)
async def metadata(cell: Cell) -> None:
    settings = await _settings(cell, metadata={"run": "7"})
    assert settings.get("metadata") == (None if cell.loses("metadata") else {"run": "7"})


@feature(
    GROUP,
    "prompt cache key",
    modes="either",
    clients=("chat", "responses"),
    to={"anthropic": lossy("prompt_cache_key"), "google": lossy("prompt_cache_key")},
)
async def prompt_cache_key(cell: Cell) -> None:
    key = {"prompt_cache_key": "k"}
    settings = await _settings(cell, own=cell.own({"chat": key, "responses": key}))
    assert settings.get("prompt_cache_key") == (None if cell.loses("prompt_cache_key") else "k")


@feature(
    GROUP,
    "service tier",
    modes="either",
)
async def service_tier(cell: Cell) -> None:
    words = {"anthropic": "standard_only", "google": "standard"}
    asked = words.get(cell.client.name, "default")
    tier = (await _settings(cell, service_tier=asked)).get("service_tier")
    assert tier == words.get(cell.provider.name, "default")
