"""What is explained of a model is what becomes of a request for it: whatever the routes are, and
whatever state the endpoints are in.
"""

import asyncio
import json
import random
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import DIALECTS, Dialect, provider
from tests.support.router import RunningRouter
from tests.support.upstream import Received, Reply, ScriptedUpstream

PROVIDERS = {
    "chat": ["openai"],
    "both": ["openai", "responses"],
    "claude": ["anthropic"],
    "gemini": ["google"],
    "keyless": ["openai"],
}
ROUTES = 40
ROUNDS = 4


def answer(received: Received) -> Reply:
    """A whole answer in the protocol of the path."""
    dialect = next(
        one
        for one in DIALECTS
        if received.target.split("?")[0].endswith(one.upstream_path.rpartition("/")[2])
        or (one.name == "google" and ":generateContent" in received.target)
    )
    return Reply((dialect.answer,))


def some_route(chance: random.Random) -> dict[str, Any]:
    """A route of one to five endpoints, of which some may be named twice."""
    endpoints = [
        {
            "provider": chance.choice([*PROVIDERS]),
            "model_id": chance.choice(["x", "y"]),
            "weight": chance.randint(1, 4),
        }
        for _ in range(chance.randint(1, 5))
    ]
    return {"strategy": chance.choice(["priority", "load_balance"]), "endpoints": endpoints}


def configuration(url: str, chance: random.Random) -> dict[str, Any]:
    providers = {
        name: provider(DIALECTS[0], url) | {"api_protocol": words}
        for name, words in PROVIDERS.items()
    }
    providers["keyless"] |= {"api_key": "${NO_KEY_IS_SET}"}
    providers["keyless"]["api_base"] = "https://keyless.example"  # a loopback one needs no key
    return {
        "providers": providers,
        "models": {f"r{number}": some_route(chance) for number in range(ROUTES)},
        "circuit_breaker": {"failures": 1, "cooldown": "10m"},
    }


def disturb(router: RunningRouter, chance: random.Random) -> None:
    """Bring endpoints into the states that failures and refusals leave behind."""
    breakers = router.router.services.breakers
    now = asyncio.get_running_loop().time()
    for name in PROVIDERS:
        for model_id in ("x", "y"):
            key = f"{name}:{model_id}"
            match chance.randrange(6):
                case 0:  # open
                    breakers.failed(key, now)
                case 1:  # half open: the next request is the probe
                    breakers.failed(key, now - 1000)
                case 2:  # resting: others go first
                    breakers.rest(key, now, 600, firm=False)
                case 3:  # told to wait
                    breakers.rest(key, now, 600, firm=True)
                case _:  # left as it is
                    pass


async def explained(router: RunningRouter, model: str, dialect: Dialect) -> str | None:
    query = {"model": model, "protocol": dialect.api_protocol}
    async with router.http.get("/admin/explain", params=query) as response:
        (client,) = (await response.json())["clients"]
        following: str | None = client["next"]
        return following


async def asked(router: RunningRouter, model: str, dialect: Dialect) -> str | None:
    """Who answered: the first who was asked, as everybody answers who can be."""
    path, body = dialect.path(model), dialect.body(model)
    async with router.http.post(path, json=body) as response:
        content = await response.read()
        headers = response.headers
        if "x-bitrouter-provider" not in headers:
            assert b"is resting after failures" in content
            return None
        assert (response.status, headers["x-bitrouter-attempts"]) == (200, "1"), content
        return f"{headers['x-bitrouter-provider']}:{headers['x-bitrouter-model']}"


@pytest.mark.parametrize("seed", range(3))
async def test_who_is_said_to_be_asked_next_is_who_is_asked(
    start_router: StartRouter, upstream: ScriptedUpstream, seed: int
) -> None:
    chance = random.Random(seed)
    upstream.script = answer
    router = await start_router(configuration(upstream.url, chance))
    models = router.router.services.routes.config.models
    usable = {
        name
        for name, entry in models.items()
        if any(one.provider != "keyless" for one in entry.endpoints)
    }
    seen: set[str | None] = set()
    for turn in range(ROUNDS):
        if turn:
            disturb(router, chance)
        for model in sorted(usable):
            dialect = chance.choice(DIALECTS)
            expected = await explained(router, model, dialect)
            assert await explained(router, model, dialect) == expected  # looking changes nothing
            assert await asked(router, model, dialect) == expected, (model, dialect.name)
            seen.add(expected)
    assert None in seen  # all that a route has may be left alone
    assert len(seen) > 5


async def test_without_trouble_and_load_the_first_that_is_listed_is_asked(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    chance = random.Random(9)
    upstream.script = answer
    given = configuration(upstream.url, chance)
    for route in given["models"].values():
        route["strategy"] = "priority"
    router = await start_router(given)
    for model, entry in given["models"].items():
        if all(one["provider"] == "keyless" for one in entry["endpoints"]):
            continue
        for dialect in DIALECTS:
            query = {"model": model, "protocol": dialect.api_protocol}
            async with router.http.get("/admin/explain", params=query) as response:
                (client,) = json.loads(await response.read())["clients"]
            first = client["endpoints"][0]
            assert client["next"] == f"{first['provider']}:{first['model_id']}"
            assert await asked(router, model, dialect) == client["next"]
