"""What the admin API says of a reload."""

from tests.contract.adminapi import ROUTE, ask
from tests.support.dialects import CHAT, provider, route_to
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream


async def test_a_reload_says_what_changed_by_name(
    router: RunningRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    await ask(router, "POST", "/admin/routes", ROUTE)
    router.configure(
        {
            "providers": {
                "p1": provider(CHAT, upstream.url) | {"api_key": "key-secret-2"},
                "p2": provider(CHAT, second_upstream.url),
            },
            "models": {"n": route_to("p2")},
            "limits": {"max_concurrent_requests": 7, "max_header_bytes": "32KiB"},
            "server": {"admin_token": "admin-2"},
        }
    )
    answer = await ask(router, "POST", "/admin/reload")
    assert answer.status == 200
    assert answer.content == {
        "status": "ok",
        "changes": {
            "providers": {"added": ["p2"], "removed": [], "changed": ["p1"]},
            "models": {"added": ["n"], "removed": ["m"], "changed": []},
            "keys_rotated": ["p1"],
            "settings": [
                "server.admin_token",
                "limits.max_header_bytes",
                "limits.max_concurrent_requests",
            ],
        },
        "restart_needed": ["limits.max_header_bytes"],
    }
    assert router.router.services.metrics.reloads == {"ok": 1, "error": 0}
    async with router.http.post(CHAT.path(), json=CHAT.body("n")) as response:
        assert response.status == 200
    async with router.http.post(CHAT.path(), json=CHAT.body("team/re:search")) as response:
        assert response.status == 200


async def test_a_reload_of_a_bad_file_changes_nothing_and_says_all_that_is_wrong(
    router: RunningRouter,
) -> None:
    tag = (await ask(router, "GET", "/admin/routes")).headers["ETag"]
    router.configure(
        {"models": {"n": {"endpoints": [{"provider": "nope", "model_id": "x"}]}}, "x": 1}
    )
    answer = await ask(router, "POST", "/v1/admin/reload")
    assert answer.status == 400
    assert answer.content["error"]["code"] == "invalid_config"
    problems = answer.content["error"]["problems"]
    assert [problem["path"] for problem in problems] == [
        "models.n.endpoints[0].provider",
        "(whole file)",
    ]
    for problem in problems:
        assert problem.keys() == {"file", "line", "column", "path", "message"}
        assert problem["line"] > 0
        assert problem["message"] in answer.error
    assert (await ask(router, "GET", "/admin/routes")).headers["ETag"] == tag
    assert router.router.services.metrics.reloads == {"ok": 0, "error": 1}
    async with router.http.post(CHAT.path(), json=CHAT.body("m")) as response:
        assert response.status == 200


async def test_a_dry_run_of_a_reload_changes_nothing(router: RunningRouter) -> None:
    tag = (await ask(router, "GET", "/admin/routes")).headers["ETag"]
    router.configure({})
    answer = await ask(router, "POST", "/admin/reload?dry_run=1")
    assert answer.content["changes"]["models"]["removed"] == ["m"]
    assert answer.content["dry_run"] is True
    assert (await ask(router, "GET", "/admin/routes")).headers["ETag"] == tag
    assert router.router.services.metrics.reloads == {"ok": 0, "error": 0}
