"""The history of the dynamic routes: who changed what, and the way back."""

import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartRouter
from tests.support.dialects import CHAT, provider, settings
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router with the provider `p1` and the route `m`."""
    upstream.script = Reply((CHAT.answer,))
    return await start_router(settings(CHAT, upstream.url))


async def ask(
    router: RunningRouter, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, Any]:
    async with router.http.request(method, path, json=body, headers=headers) as response:
        return response.status, await response.json()


async def set_route(router: RunningRouter, model: str, model_id: str) -> int:
    """Set a route; its version."""
    body = {"model": model, "endpoints": [{"provider": "p1", "model_id": model_id}]}
    status, answer = await ask(router, "POST", "/admin/routes", body)
    assert status == 200
    version: int = answer["version"]
    return version


async def dynamic(router: RunningRouter) -> dict[str, str]:
    """The dynamic routes and where they lead."""
    _, listed = await ask(router, "GET", "/admin/routes")
    return {
        one["model"]: one["endpoints"][0]["model_id"]
        for one in listed["routes"]
        if one["source"] == "dynamic"
    }


async def test_every_change_is_a_version_that_outlives_restarts(
    start_router: StartRouter, router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    assert (await ask(router, "GET", "/admin/routes"))[1]["version"] == 0
    assert await set_route(router, "a", "1") == 1
    assert await set_route(router, "b", "1") == 2
    _, answer = await ask(router, "DELETE", "/admin/routes/a")
    assert answer["version"] == 3
    await router.router.stop()

    again = await start_router(settings(CHAT, upstream.url))
    assert (await ask(again, "GET", "/admin/routes"))[1]["version"] == 3
    assert await set_route(again, "c", "1") == 4
    status, answer = await ask(again, "POST", "/admin/rollback", {"version": 2})
    assert (status, answer["version"]) == (200, 5)
    assert await dynamic(again) == {"a": "1", "b": "1"}


async def test_a_rollback_undoes_the_last_change_unless_it_says_which(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    await set_route(router, "a", "1")
    await set_route(router, "a", "2")
    await set_route(router, "b", "1")

    status, answer = await ask(router, "POST", "/v1/admin/rollback", {})
    assert (status, answer) == (
        200,
        {
            "status": "ok",
            "to": 2,
            "version": 4,
            "changes": {"added": [], "removed": ["b"], "changed": []},
        },
    )
    _, answer = await ask(router, "POST", "/admin/rollback", {"version": 1})
    assert answer["changes"] == {"added": [], "removed": [], "changed": ["a"]}
    async with router.http.post(CHAT.path(), json=CHAT.body("a")) as response:
        assert response.status == 200
    assert json.loads(upstream.last.body)["model"] == "1"
    # A rollback is a change like any other.
    await ask(router, "POST", "/admin/rollback", {})
    assert await dynamic(router) == {"a": "2"}


async def test_the_history_says_who_changed_what_the_newest_first(
    router: RunningRouter,
) -> None:
    await set_route(router, "a", "1")
    headers = {"User-Agent": "deploy (alice)", "X-Request-Id": "change-42"}
    await ask(router, "DELETE", "/admin/routes/a", None, **headers)
    await ask(router, "POST", "/admin/rollback", {"version": 1})

    _, told = await ask(router, "GET", "/admin/history")

    assert (told["version"], told["oldest"]) == (3, 0)
    third, second, first = told["changes"]
    route = {"model": "a", "endpoints": [{"provider": "p1", "model_id": "1", "weight": 1}]}
    assert [(one["version"], one["action"], one["before"]) for one in told["changes"]] == [
        (3, "rollback", {"a": None}),
        (2, "remove", {"a": route}),
        (1, "set", {"a": None}),
    ]
    assert third["to"] == 1
    assert (second["by"], second["agent"]) == ("127.0.0.1", "deploy (alice)")
    assert second["request_id"] == "change-42"
    assert first["time"].endswith("Z")


async def test_every_change_is_a_line_of_the_audit_file(router: RunningRouter) -> None:
    await set_route(router, "a", "1")
    await ask(router, "DELETE", "/admin/routes/a", None, **{"User-Agent": "deploy (alice)"})
    await ask(router, "DELETE", "/admin/routes/a")  # refused: no change
    await ask(router, "POST", "/admin/rollback?dry_run=1", {})
    await ask(router, "POST", "/admin/rollback", {})
    await ask(router, "POST", "/admin/reload", {})

    file = router.file.parent / "state" / "audit.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(one["action"], one.get("version"), one["by"]) for one in lines] == [
        ("set", 1, "127.0.0.1"),
        ("remove", 2, "127.0.0.1"),
        ("rollback", 3, "127.0.0.1"),
        ("reload", None, "127.0.0.1"),
    ]
    assert lines[0]["detail"] == {"endpoints": "p1:1", "strategy": "priority"}
    assert (lines[1]["route"], lines[1]["agent"]) == ("a", "deploy (alice)")
    assert lines[2]["detail"] == {"to": 1, "routes": ["a"]}


async def test_a_unix_socket_tells_whose_process_asked(
    start_router: StartRouter, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    given = settings(CHAT, upstream.url, server={"admin_listen": f"unix:{tmp_path}/admin.sock"})
    await start_router(given)
    connector = aiohttp.UnixConnector(f"{tmp_path}/admin.sock")
    body = {"model": "a", "endpoints": [{"provider": "p1", "model_id": "x"}]}
    async with aiohttp.ClientSession("http://localhost", connector=connector) as http:
        async with http.post("/admin/routes", json=body) as response:
            assert response.status == 200
        async with http.get("/admin/history") as response:
            (change,) = (await response.json())["changes"]
    assert change["by"] == f"unix socket, uid {os.getuid()}"


async def test_setting_what_is_set_already_is_no_change(router: RunningRouter) -> None:
    await set_route(router, "a", "1")
    body = {"model": "a", "endpoints": [{"provider": "p1", "model_id": "1"}]}
    _, answer = await ask(router, "POST", "/admin/routes", body)
    assert answer == {"status": "ok", "model": "a", "version": 1, "unchanged": True}
    assert len((await ask(router, "GET", "/admin/history"))[1]["changes"]) == 1


async def test_a_dry_run_of_a_rollback_says_what_it_would_change(router: RunningRouter) -> None:
    await set_route(router, "a", "1")
    _, answer = await ask(router, "POST", "/admin/rollback?dry_run=1", {})
    assert answer == {
        "status": "ok",
        "to": 0,
        "version": 1,
        "changes": {"added": [], "removed": ["a"], "changed": []},
        "dry_run": True,
    }
    assert await dynamic(router) == {"a": "1"}


async def test_a_rollback_is_refused_when_the_routes_are_not_those_that_were_seen(
    router: RunningRouter,
) -> None:
    async with router.http.get("/admin/history") as response:
        seen = response.headers["ETag"]
    await set_route(router, "a", "1")
    status, _ = await ask(router, "POST", "/admin/rollback", {}, **{"If-Match": seen})
    assert status == 412
    assert await dynamic(router) == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"version": 1}, 400, "the routes are at version 1"),
        ({"version": 2}, 404, "there is no version 2 to go back to; there is 0"),
        ({"version": -1}, 404, "there is no version -1"),
        ({"version": "1"}, 400, "Expected `int | null`, got `str`"),
        ({"versions": 1}, 400, "allowed: version"),
        ([], 400, "must be a JSON object"),
    ],
)
async def test_a_rollback_to_nowhere_is_refused(
    router: RunningRouter, body: object, status: int, said: str
) -> None:
    await set_route(router, "a", "1")
    found, answer = await ask(router, "POST", "/admin/rollback", body)
    assert (found, said in answer["error"]["message"]) == (status, True), answer
    assert await dynamic(router) == {"a": "1"}


async def test_a_route_whose_provider_has_gone_comes_back_with_a_warning(
    router: RunningRouter, second_upstream: ScriptedUpstream
) -> None:
    await set_route(router, "a", "1")
    await ask(router, "DELETE", "/admin/routes/a")
    router.configure({"providers": {"p2": provider(CHAT, second_upstream.url)}})
    assert (await ask(router, "POST", "/admin/reload", {}))[0] == 200

    status, answer = await ask(router, "POST", "/admin/rollback", {})

    assert (status, answer["warnings"]) == (200, ["route 'a' is out of use: no provider 'p1'"])


async def test_a_rollback_that_cannot_be_saved_is_not_made(router: RunningRouter) -> None:
    async def no_space(routes: object, history: object) -> None:
        raise OSError(28, "No space left on device")

    await set_route(router, "a", "1")
    router.router.services.save_dynamic = no_space
    status, answer = await ask(router, "POST", "/admin/rollback", {})
    assert (status, "No space left" in answer["error"]["message"]) == (503, True)
    assert await dynamic(router) == {"a": "1"}
    assert (await ask(router, "GET", "/admin/routes"))[1]["version"] == 1


async def test_a_damaged_file_does_not_keep_the_router_from_starting(
    start_router: StartRouter, router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    await set_route(router, "a", "1")
    await set_route(router, "b", "1")
    await router.router.stop()
    (router.file.parent / "state" / "routes.json").write_text('{"routes": [{"mod')

    again = await start_router(settings(CHAT, upstream.url))

    assert await dynamic(again) == {"a": "1"}
    assert await set_route(again, "c", "1") == 2


async def test_a_model_that_may_have_been_meant_is_told(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url)
    given["providers"]["p1"]["models"] = {"gpt-large": {}, "gpt-small": {}}
    router = await start_router(given)
    body = {"model": "a", "endpoints": [{"provider": "p1", "model_id": "gpt-larg"}]}
    _, answer = await ask(router, "POST", "/admin/routes?dry_run=1", body)
    (warning,) = answer["warnings"]
    assert (
        "'gpt-larg' is not in the catalogue of 'p1'; the nearest names are gpt-large, gpt-small"
        in warning
    )


async def test_a_removal_that_is_none_names_the_nearest(router: RunningRouter) -> None:
    await set_route(router, "research", "1")
    status, answer = await ask(router, "DELETE", "/admin/routes/reserch")
    assert status == 404
    assert "the nearest name is research" in answer["error"]["message"]
