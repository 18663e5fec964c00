"""Requests with members that the other side does not know, or that make no sense."""

from typing import Any, Final

from tests.matrix.cell import Cell
from tests.matrix.feature import every_pair, feature
from tests.matrix.outcome import CLIENTS, lossy, refused
from tests.support.strict.script import TEXT

GROUP: Final = "Odd requests"
_OPENAI: Final = ("chat", "responses")
_REFUSES: Final = "the provider refuses it"


@feature(
    GROUP,
    "a member that nobody knows",
    modes="either",
    to={name: lossy("my-field") for name in CLIENTS},
    between={(name, name): refused("my", _REFUSES) for name in CLIENTS},
)
async def unknown_member(cell: Cell) -> None:
    reply = await cell.ask("[[text]]", own={"my-field": 1})
    assert reply.text == TEXT


@feature(GROUP, "null instead of nothing", clients=_OPENAI, modes="either")
async def null(cell: Cell) -> None:
    nothing = dict.fromkeys(("temperature", "top_p", "metadata", "service_tier", "top_logprobs"))
    chat = dict.fromkeys(("stop", "seed", "n", "logit_bias", "presence_penalty"))
    own = cell.own({"chat": {**nothing, **chat}, "responses": {**nothing, "instructions": None}})
    reply = await cell.ask("[[text]]", own=own)
    assert reply.text == TEXT
    assert {"temperature", "stop", "seed"}.isdisjoint(cell.seen.settings)


@feature(
    GROUP,
    "an unknown role",
    modes="either",
    to={name: refused("[0]") for name in CLIENTS},
    between={(name, name): refused("", _REFUSES) for name in CLIENTS},
)
async def unknown_role(cell: Cell) -> None:
    message = {"role": "robot", "content": "[[text]]"}
    own: dict[str, dict[str, Any]] = {
        "chat": {"messages": [message]},
        "responses": {"input": [message]},
        "anthropic": {"messages": [message]},
        "google": {"contents": [{"role": "robot", "parts": [{"text": "[[text]]"}]}]},
    }
    await cell.ask("[[text]]", own=cell.own(own))


@feature(
    GROUP,
    "logit_bias",
    clients=("chat",),
    modes="either",
    to={name: lossy("logit_bias") for name in CLIENTS},
)
async def logit_bias(cell: Cell) -> None:
    await cell.ask("[[text]]", own=cell.own({"chat": {"logit_bias": {"50256": -100}}}))


@feature(
    GROUP,
    "an answer that is to be heard",
    clients=("chat",),
    modes="either",
    between=every_pair(refused("modalities"), clients=("chat",)),
)
async def audio_output(cell: Cell) -> None:
    voice = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    await cell.ask("[[text]]", own=cell.own({"chat": voice}))


@feature(
    GROUP,
    "an image as the answer",
    clients=("google",),
    modes="either",
    between=every_pair(refused("responseModalities"), clients=("google",)),
)
async def image_output(cell: Cell) -> None:
    config = {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}
    await cell.ask("[[text]]", own=cell.own({"google": config}))
