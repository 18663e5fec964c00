"""What the admin API explains of a model's name."""

import pytest

from tests.conftest import StartRouter
from tests.contract.adminapi import ask
from tests.support.dialects import CHAT, provider, route_to
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream


async def test_a_name_is_explained_for_the_clients_of_every_protocol(
    router: RunningRouter,
) -> None:
    answer = await ask(router, "GET", "/admin/explain?model=m")

    assert answer.status == 200
    assert answer.headers["ETag"] == (await ask(router, "GET", "/admin/routes")).headers["ETag"]
    clients = answer.content.pop("clients")
    assert answer.content == {
        "model": "m",
        "route": "m",
        "source": "config",
        "wildcard": False,
        "shadows": False,
        "strategy": "priority",
        "max_attempts": 3,
    }
    assert [one["protocol"] for one in clients] == ["openai", "responses", "anthropic", "google"]
    assert clients[0]["endpoints"] == [
        {
            "provider": "p1",
            "model_id": "up-1",
            "protocol": "openai",
            "native": True,
            "usable": True,
            "reason": "speaks the client's protocol openai: bytes pass through",
        }
    ]


async def test_what_a_translation_knows_of_a_model_is_explained_too(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    quirks = [{"models": "UP-*", "unsupported": ["seed"], "max_tokens_field": "max_tokens"}]
    p1 = provider(CHAT, upstream.url, quirks=quirks)
    router = await start_router({"providers": {"p1": p1}, "models": {"m": route_to("p1")}})

    answer = await ask(router, "GET", "/admin/explain?model=m&protocol=google")

    (client,) = answer.content["clients"]
    (endpoint,) = client["endpoints"]
    assert (endpoint["protocol"], endpoint["native"]) == ("openai", False)
    assert endpoint["traits"] == {"unsupported": ["seed"]}


async def test_the_clients_to_explain_it_for_can_be_chosen(router: RunningRouter) -> None:
    answer = await ask(router, "GET", "/admin/explain?model=m&protocol=google&protocol=openai")
    assert [one["protocol"] for one in answer.content["clients"]] == ["openai", "google"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 400, "model must be given, once"),
        ("?model=", 400, "model must be given, once"),
        ("?model=m&model=n", 400, "model must be given, once"),
        ("?model=m&protocol=chat", 400, "allowed: openai, responses, anthropic, google"),
        ("?model=m&protocol=", 400, "allowed: openai, responses, anthropic, google"),
        ("?model=" + "n" * 3000, 404, "no route for model"),
        ("?model=%FF%00", 404, "no route for model"),
    ],
)
async def test_a_question_that_is_none_is_refused(
    router: RunningRouter, query: str, status: int, said: str
) -> None:
    answer = await ask(router, "GET", f"/admin/explain{query}")
    assert answer.status == status
    assert said in answer.error
