"""What a change of the routes by the admin API does, and what it does not."""

import asyncio
import io
import json
import logging
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.contract.adminapi import ROUTE, ask, names
from tests.support.dialects import CHAT, provider, settings
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream

PATH_OF_ROUTE = "/admin/routes/team%2Fre%3Asearch"


# -- routes -----------------------------------------------------------------------------------


async def test_a_new_route_serves_the_next_request(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    answer = await ask(router, "POST", "/admin/routes", ROUTE)
    assert (answer.status, answer.content) == (
        200,
        {"status": "ok", "model": ROUTE["model"], "version": 1},
    )
    async with router.http.post(CHAT.path(), json=CHAT.body("team/re:search")) as response:
        assert response.status == 200
    assert json.loads(upstream.last.body)["model"] == "up-9"


async def test_a_route_is_replaced_by_one_of_its_name(router: RunningRouter) -> None:
    await ask(router, "POST", "/admin/routes", ROUTE)
    endpoints = [
        {"provider": "p1", "model_id": "up-1", "weight": 3},
        {"provider": "p1", "model_id": "up-2"},
    ]
    route = {"model": ROUTE["model"], "strategy": "load_balance", "endpoints": endpoints}
    assert (await ask(router, "POST", "/v1/admin/routes", route)).status == 200
    listed = await ask(router, "GET", "/v1/admin/routes")
    assert listed.content["routes"][0] == {**route, "source": "dynamic"}
    assert len(listed.content["routes"]) == 2


@pytest.mark.parametrize("path", [PATH_OF_ROUTE, "/v1/admin/routes/team/re:search"])
async def test_a_route_is_removed_by_its_name_in_either_spelling(
    router: RunningRouter, path: str
) -> None:
    await ask(router, "POST", "/admin/routes", ROUTE)
    answer = await ask(router, "DELETE", path)
    assert answer.status == 200
    assert answer.content == {
        "status": "ok",
        "model": ROUTE["model"],
        "version": 2,
        "removed": True,
    }
    assert await names(router) == [("config", "m")]
    assert (await ask(router, "DELETE", path)).status == 404


async def test_a_dynamic_route_shadows_a_configured_one_until_it_is_removed(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    answer = await ask(router, "POST", "/admin/routes", {**ROUTE, "model": "m"})
    assert len(answer.content["warnings"]) == 1
    assert await names(router) == [("dynamic", "m"), ("config", "m")]
    listed = (await ask(router, "GET", "/admin/routes")).content["routes"]
    assert ["note" in route for route in listed] == [False, True]
    assert (await ask(router, "DELETE", "/admin/routes/m")).status == 200
    async with router.http.post(CHAT.path(), json=CHAT.body("m")):
        assert json.loads(upstream.last.body)["model"] == "up-1"
    answer = await ask(router, "DELETE", "/admin/routes/m")
    assert answer.status == 404
    assert "defined in the configuration" in answer.error


async def test_a_route_to_a_provider_without_a_key_is_taken_with_a_warning(
    router: RunningRouter,
) -> None:
    route = {"model": "r", "endpoints": [{"provider": "openai", "model_id": "gpt-4o"}]}
    answer = await ask(router, "POST", "/admin/routes", route)
    assert answer.status == 200
    assert "OPENAI_API_KEY" in answer.content["warnings"][0]


async def test_routes_survive_a_restart(
    start_router: StartRouter, router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    await ask(router, "POST", "/admin/routes", ROUTE)
    await router.router.stop()
    again = await start_router(settings(CHAT, upstream.url))
    assert await names(again) == [("dynamic", "team/re:search"), ("config", "m")]


async def test_a_route_whose_provider_went_away_is_listed_as_out_of_use(
    router: RunningRouter, second_upstream: ScriptedUpstream
) -> None:
    await ask(router, "POST", "/admin/routes", ROUTE)
    router.configure({"providers": {"p2": provider(CHAT, second_upstream.url)}})
    assert (await ask(router, "POST", "/admin/reload")).status == 200
    (listed,) = (await ask(router, "GET", "/admin/routes")).content["routes"]
    assert "there is no provider 'p1'" in listed["note"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"endpoints": ROUTE["endpoints"]}, ["missing required field `model`"]),
        ({"model": "r"}, ["missing required field `endpoints`"]),
        ({"model": 1, "endpoints": []}, ["Expected `str`, got `int`", "$.model"]),
        ({"model": "r", "endpoints": {}}, ["Expected `array`", "$.endpoints"]),
        ({"model": "r", "endpoints": []}, ["endpoints must have at least one entry"]),
        ({"model": "r", "endpoints": ["p1:x"]}, ["Expected `object`", "$.endpoints[0]"]),
        ({**ROUTE, "price": 1}, ["unknown field `price`", "allowed: model, endpoints, strategy"]),
        ({**ROUTE, "strategy": "best"}, ["'best'", "$.strategy", "priority", "load_balance"]),
        ({**ROUTE, "model": ""}, ["model must have 1 to 256"]),
        ({**ROUTE, "model": "a*b"}, ["one '*', at its end"]),
        (
            {"model": "r", "endpoints": [{"provider": "p1", "model": "x"}]},
            ["unknown field `model`", "allowed: provider, model_id, weight"],
        ),
        (
            {"model": "r", "endpoints": [{"provider": "p1", "model_id": "x", "weight": 0}]},
            ["`int` >= 1", "$.endpoints[0].weight"],
        ),
        (
            {"model": "r", "endpoints": [{"provider": "opanai", "model_id": "x"}]},
            ["endpoints[0].provider", "no provider 'opanai'", "openai"],
        ),
        ([], ["must be a JSON object"]),
    ],
    ids=str,
)
async def test_a_route_that_is_none_is_refused_with_the_reason(
    router: RunningRouter, body: object, said: list[str]
) -> None:
    answer = await ask(router, "POST", "/admin/routes", body)
    assert answer.status == 400
    assert [text for text in said if text not in answer.error] == []
    assert await names(router) == [("config", "m")]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"model":"\xff"}', "application/json", 400),
        (b'{"model":"a","model":"b","endpoints":[]}', "application/json", 400),
        (b"[" * 5000, "application/json", 400),
        (json.dumps(ROUTE).encode(), "text/plain", 415),
        (json.dumps(ROUTE).encode(), "application/x-www-form-urlencoded", 415),
        (json.dumps(ROUTE).encode(), None, 415),
        (b" " * (1 << 20) + b"{}", "application/json", 413),
    ],
)
async def test_a_body_that_is_none_is_refused(
    router: RunningRouter, content: bytes, kind: str | None, status: int
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    async with router.http.post(
        "/admin/routes",
        data=io.BytesIO(content),
        headers=headers,
        skip_auto_headers=["Content-Type"],
    ) as response:
        assert response.status == status
        assert (await response.json())["error"]["message"]
    assert await names(router) == [("config", "m")]


async def test_a_change_that_cannot_be_saved_is_not_made(router: RunningRouter) -> None:
    async def no_space(routes: object, history: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/routes.json")

    before = await ask(router, "GET", "/admin/routes")
    router.router.services.save_dynamic = no_space
    answer = await ask(router, "POST", "/admin/routes", ROUTE)
    assert answer.status == 503
    assert "No space left on device" in answer.error
    assert "/somewhere" not in answer.error
    after = await ask(router, "GET", "/admin/routes")
    assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])


async def test_a_change_is_finished_though_its_client_has_left(router: RunningRouter) -> None:
    services = router.router.services
    save = services.save_dynamic
    saving, may_go_on = asyncio.Event(), asyncio.Event()

    async def slow(routes: Any, history: Any) -> None:
        saving.set()
        await may_go_on.wait()
        await save(routes, history)

    services.save_dynamic = slow
    task = asyncio.create_task(ask(router, "POST", "/admin/routes", ROUTE))
    await saving.wait()
    task.cancel()
    await asyncio.wait([task])
    services.save_dynamic = save
    waiting = asyncio.create_task(ask(router, "POST", "/admin/routes", {**ROUTE, "model": "r"}))
    may_go_on.set()
    await waiting
    assert await names(router) == [
        ("dynamic", "team/re:search"),
        ("dynamic", "r"),
        ("config", "m"),
    ]


async def test_what_was_counted_for_a_removed_route_is_forgotten(router: RunningRouter) -> None:
    await ask(router, "POST", "/admin/routes", ROUTE)
    async with router.http.post(CHAT.path(), json=CHAT.body("team/re:search")) as response:
        await response.read()
    async with router.http.post(CHAT.path(), json=CHAT.body("m")) as response:
        await response.read()
    assert router.router.services.metrics.routes.keys() == {"team/re:search", "m"}
    await ask(router, "DELETE", PATH_OF_ROUTE)
    assert router.router.services.metrics.routes.keys() == {"m"}


async def test_a_change_is_one_line_in_the_log_that_says_who_and_what(
    router: RunningRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="bitrouter")
    await ask(router, "POST", "/admin/routes", ROUTE)
    await ask(router, "DELETE", PATH_OF_ROUTE)
    await ask(router, "DELETE", PATH_OF_ROUTE)
    records = [record for record in caplog.records if record.name == "bitrouter"]
    assert [record.getMessage() for record in records] == [
        "admin: route set",
        "admin: route removed",
    ]
    fields = records[0].__dict__["fields"]
    assert fields.pop("request_id").startswith("req_")
    assert fields.pop("agent").startswith("Python/")
    assert fields == {
        "by": "127.0.0.1",
        "version": 1,
        "route": "team/re:search",
        "endpoints": "p1:up-9",
        "strategy": "priority",
    }


# -- versions and dry runs --------------------------------------------------------------------


async def test_every_change_has_a_new_tag(router: RunningRouter) -> None:
    first = (await ask(router, "GET", "/admin/routes")).headers["ETag"]
    same = (await ask(router, "GET", "/v1/admin/routes")).headers["ETag"]
    second = (await ask(router, "POST", "/admin/routes", ROUTE)).headers["ETag"]
    third = (await ask(router, "DELETE", PATH_OF_ROUTE)).headers["ETag"]
    assert first == same
    assert len({first, second, third}) == 3
    assert all(tag.startswith('"') and tag.endswith('"') for tag in (first, second, third))


async def test_a_tag_does_not_outlive_the_process(
    start_router: StartRouter, router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    old = (await ask(router, "GET", "/admin/routes")).headers["ETag"]
    again = await start_router(settings(CHAT, upstream.url))
    assert (await ask(again, "GET", "/admin/routes")).headers["ETag"] != old


async def test_a_change_is_refused_when_the_routes_are_not_those_that_were_seen(
    router: RunningRouter,
) -> None:
    seen = (await ask(router, "GET", "/admin/routes")).headers["ETag"]
    current = (await ask(router, "POST", "/admin/routes", ROUTE)).headers["ETag"]
    for stale in (seen, f"W/{current}", current.strip('"'), '""', ""):
        for method, path in (("POST", "/admin/routes"), ("DELETE", PATH_OF_ROUTE)):
            body = ROUTE if method == "POST" else None
            answer = await ask(router, method, path, body, {"If-Match": stale})
            assert answer.status == 412
            assert current in answer.error
    answer = await ask(router, "POST", "/admin/reload", headers={"If-Match": seen})
    assert answer.status == 412
    assert (await ask(router, "GET", "/admin/routes")).headers["ETag"] == current


async def test_a_change_is_made_when_the_routes_are_those_that_were_seen(
    router: RunningRouter,
) -> None:
    tag = (await ask(router, "GET", "/admin/routes")).headers["ETag"]
    headers = {"If-Match": f'"other", {tag}'}
    assert (await ask(router, "POST", "/admin/routes", ROUTE, headers)).status == 200
    answer = await ask(router, "DELETE", PATH_OF_ROUTE, headers={"If-Match": "*"})
    assert answer.status == 200


async def test_of_two_changes_of_the_same_version_one_is_made(router: RunningRouter) -> None:
    tag = (await ask(router, "GET", "/admin/routes")).headers["ETag"]
    answers = await asyncio.gather(
        *(
            ask(router, "POST", "/admin/routes", {**ROUTE, "model": f"r{n}"}, {"If-Match": tag})
            for n in range(8)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, *[412] * 7]
    assert len(await names(router)) == 2


async def test_simultaneous_changes_are_all_made(router: RunningRouter) -> None:
    await asyncio.gather(
        *(ask(router, "POST", "/admin/routes", {**ROUTE, "model": f"r{n}"}) for n in range(16))
    )
    assert {name for _, name in await names(router)} == {"m", *(f"r{n}" for n in range(16))}


async def test_a_dry_run_checks_and_changes_nothing(router: RunningRouter) -> None:
    before = await ask(router, "POST", "/admin/routes", {**ROUTE, "model": "r"})
    answer = await ask(router, "POST", "/admin/routes?dry_run=1", ROUTE)
    assert answer.content == {
        "status": "ok",
        "model": ROUTE["model"],
        "version": 1,
        "dry_run": True,
    }
    answer = await ask(router, "DELETE", "/admin/routes/r?dry_run=true")
    assert answer.content == {
        "status": "ok",
        "model": "r",
        "version": 1,
        "removed": True,
        "dry_run": True,
    }
    assert (await ask(router, "DELETE", f"{PATH_OF_ROUTE}?dry_run=1")).status == 404
    bad = {"model": "x", "endpoints": []}
    assert (await ask(router, "POST", "/admin/routes?dry_run=1", bad)).status == 400
    assert (await ask(router, "GET", "/admin/routes")).headers["ETag"] == before.headers["ETag"]
    assert await names(router) == [("dynamic", "r"), ("config", "m")]


@pytest.mark.parametrize("query", ["dry_run=", "dry_run=yes", "dry_run=1&dry_run=0"])
async def test_a_dry_run_that_is_not_clear_is_refused(router: RunningRouter, query: str) -> None:
    assert (await ask(router, "POST", f"/admin/routes?{query}", ROUTE)).status == 400
    assert await names(router) == [("config", "m")]
