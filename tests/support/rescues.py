"""Routes with a rescue, and streams that die after they have begun."""

import json
from itertools import product
from typing import Any

import pytest

from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    DIALECTS,
    Dialect,
    event,
    provider,
)
from tests.support.faults import NEVER
from tests.support.router import RunningRouter
from tests.support.told import begun
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

PIECES = ("Hel", "lo the", "re, dear", " friend")
TEXT = "".join(PIECES)
SOON = {"first_byte": "2s", "idle": "200ms"}
CUT = "the upstream closed the stream before the answer was complete"
BROKEN = "the upstream broke off its answer"

# A call of a tool, in the middle of a stream.
CALL = {
    "chat": event(
        {
            "id": "c9",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "up-1",
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "tool_calls": [
                            {
                                "index": 0,
                                "id": "call_1",
                                "type": "function",
                                "function": {"name": "look", "arguments": '{"a'},
                            }
                        ]
                    },
                    "finish_reason": None,
                }
            ],
        }
    ),
    "anthropic": event(
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
        },
        "content_block_start",
    ),
}

each_cell = pytest.mark.parametrize(
    ("client", "spoken"), list(product(DIALECTS, DIALECTS)), ids=lambda one: one.name
)
each_death = pytest.mark.parametrize(
    ("client", "spoken", "how"),
    [
        (client, spoken, how)
        for client, spoken in product(DIALECTS, DIALECTS)
        for how in ("cut", "error event", "early end", "stall")
        if how != "stall" or spoken in (CHAT, ANTHROPIC)
    ],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
each_client = pytest.mark.parametrize("client", DIALECTS, ids=lambda one: one.name)


def rescue(
    mode: str | None,
    *endpoints: tuple[Dialect, ScriptedUpstream],
    prefill: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """bitrouter.yaml with providers p1, p2, … and the route `m` over all of them."""
    names = [f"p{number}" for number, _ in enumerate(endpoints, start=1)]
    catalogue = {"up-1": {"capabilities": {"prefill": prefill}}}
    providers = {
        name: provider(dialect, one.url, models=catalogue)
        for name, (dialect, one) in zip(names, endpoints, strict=True)
    }
    route: dict[str, Any] = {"endpoints": [{"provider": one, "model_id": "up-1"} for one in names]}
    if mode is not None:
        route["rescue"] = mode
    return {"providers": providers, "models": {"m": route}, **more}


def dying(dialect: Dialect, *pieces: str, how: str, thought: str = "") -> Reply:
    """A stream that dies after `pieces`."""
    events = begun(dialect, *pieces, thought=thought)
    match how:
        case "cut":
            return sse(*events, cut=True)
        case "early end":
            return sse(*events)
        case "stall":
            return sse(b"".join(events), b": never\n\n", pause=NEVER)
        case _:
            return sse(*events, dialect.error_event("overloaded"))


def heal(router: RunningRouter) -> None:
    """Forget all failures, so that who begins an answer is asked again."""
    router.router.services.breakers.retain(lambda key: False)


def last_turn(received: Received) -> tuple[str, str]:
    """Who speaks last in a request, and what is said."""
    body = json.loads(received.body)
    turns = body.get("messages") or body.get("contents") or body["input"]
    if isinstance(turns, str):
        return "user", turns
    turn = turns[-1]
    content = turn.get("content", turn.get("parts"))
    said = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return turn["role"], said
