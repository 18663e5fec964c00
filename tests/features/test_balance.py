"""How requests are spread over the endpoints of a route."""

from collections import Counter
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import CHAT, provider
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream

BROKEN = Reply((b'{"error": {"message": "down"}}',), status=500)


def balanced(weights: dict[str, int], url: str, strategy: str = "load_balance") -> dict[str, Any]:
    """Settings with one provider a name, all at `url`, and the route `m` over them."""
    endpoints = [
        {"provider": name, "model_id": f"up-{name}", "weight": weight}
        for name, weight in weights.items()
    ]
    return {
        "providers": {name: provider(CHAT, url) for name in weights},
        "models": {"m": {"strategy": strategy, "endpoints": endpoints}},
    }


async def ask(router: RunningRouter) -> str:
    """One request: the provider that answered."""
    async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
        assert response.status == 200
        return response.headers["x-bitrouter-provider"]


@pytest.mark.parametrize(
    "weights", [{"a": 1, "b": 1}, {"a": 3, "b": 1}, {"a": 5, "b": 3, "c": 2}, {"a": 1}]
)
async def test_weights_are_kept_exactly_over_every_run_of_their_sum(
    start_router: StartRouter, upstream: ScriptedUpstream, weights: dict[str, int]
) -> None:
    router = await start_router(balanced(weights, upstream.url))
    for _ in range(4):
        answered = Counter([await ask(router) for _ in range(sum(weights.values()))])
        assert answered == weights


async def test_the_heavier_endpoint_does_not_get_its_share_in_one_piece(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(balanced({"a": 2, "b": 1}, upstream.url))
    answered = "".join([await ask(router) for _ in range(6)])
    assert answered == "abaaba"


async def test_priority_asks_the_first_as_long_as_it_answers(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(balanced({"a": 1, "b": 9}, upstream.url, "priority"))
    assert {await ask(router) for _ in range(10)} == {"a"}


async def test_the_choice_is_made_once_a_request_and_the_rest_stand_by(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda received: BROKEN if b"up-a" in received.body else Reply()
    router = await start_router(balanced({"a": 1, "b": 1, "c": 2}, upstream.url))
    answered = Counter([await ask(router) for _ in range(20)])
    # The broken one is chosen for a quarter of the requests; the first of the others takes over.
    assert answered == {"b": 10, "c": 10}
    assert len([one for one in upstream.received if b"up-a" in one.body]) == 5


async def test_each_route_has_a_count_of_its_own(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    settings = balanced({"a": 1, "b": 1}, upstream.url)
    settings["models"]["n"] = settings["models"]["m"]
    router = await start_router(settings)
    answered = []
    for model in ("m", "n", "m", "n"):
        async with router.http.post(CHAT.path(), json=CHAT.body(model)) as response:
            answered.append((model, response.headers["x-bitrouter-provider"]))
    assert answered == [("m", "a"), ("n", "a"), ("m", "b"), ("n", "b")]


async def test_a_reload_that_changes_nothing_does_not_begin_the_count_anew(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(balanced({"a": 1, "b": 1}, upstream.url))
    assert await ask(router) == "a"
    await router.router.reload_and_log()
    assert await ask(router) == "b"
