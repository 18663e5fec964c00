"""Thinking that a chat client brings back: to the provider that thought it, and to nobody else."""

import json
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.answers import events_of
from tests.support.dialects import ANTHROPIC, CHAT, Dialect, provider
from tests.support.told import stream_of
from tests.support.upstream import Reply, ScriptedUpstream, sse

THOUGHT = "Let me see."


def message_of(stream: bytes) -> dict[str, Any]:
    """The message that a client collects from a stream, joining strings."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    for one in events_of(stream):
        for choice in one["choices"]:
            for name, value in choice["delta"].items():
                known = message.get(name)
                message[name] = known + value if known and name != "role" else value
    return message


@pytest.mark.parametrize("rescue", [None, "restart"])
@pytest.mark.parametrize(
    ("thinker", "returns"), [(CHAT, True), (ANTHROPIC, False)], ids=["its own", "of another vendor"]
)
async def test_thinking_comes_back_to_a_chat_provider_if_it_is(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    thinker: Dialect,
    returns: bool,
    rescue: str | None,
) -> None:
    """With a rescue its own stream is written anew too, and is its own all the same."""
    providers = {
        "first": provider(thinker, upstream.url),
        "next": provider(CHAT, second_upstream.url),
    }
    endpoints = [{"provider": "first", "model_id": name} for name in ("up-1", "up-2")]
    route = {"endpoints": endpoints, "rescue": rescue}
    router = await start_router({"providers": providers, "models": {"m": route}})
    upstream.script = sse(*stream_of(thinker, "Hello", thought=THOUGHT))
    second_upstream.script = Reply((CHAT.answer,))
    ask = CHAT.body(stream=True)

    async with router.http.post(CHAT.path(stream=True), json=ask) as response:
        said = message_of(await response.read())
    assert (said["content"], said["reasoning_content"]) == ("Hello", THOUGHT)
    again = {"model": "next:up-1", "messages": [*ask["messages"], said, *ask["messages"]]}
    async with router.http.post(CHAT.path(), json=again) as response:
        assert response.status == 200

    (received,) = second_upstream.received
    thought = {"reasoning_content": THOUGHT} if returns else {}
    expected = {"role": "assistant", "content": "Hello"} | thought
    assert json.loads(received.body)["messages"][1] == expected
