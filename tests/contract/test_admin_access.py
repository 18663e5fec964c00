"""Who may use the admin API."""

from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import StartRouter
from tests.contract.adminapi import ROUTE, ask, names
from tests.support.dialects import CHAT, settings
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream


@pytest.fixture
async def guarded(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """The same with an admin token."""
    return await start_router(settings(CHAT, upstream.url, server={"admin_token": "admin-1"}))


EVERY_OPERATION = [
    (method, version + path)
    for version in ("", "/v1")
    for method, path in (
        ("GET", "/admin/routes"),
        ("POST", "/admin/routes"),
        ("DELETE", "/admin/routes/m"),
        ("GET", "/admin/explain?model=m"),
        ("GET", "/admin/history"),
        ("GET", "/admin/models"),
        ("GET", "/admin/status"),
        ("GET", "/admin/requests"),
        ("POST", "/admin/rollback"),
        ("POST", "/admin/reload"),
    )
]


@pytest.mark.parametrize(("method", "path"), EVERY_OPERATION)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer admin-2"},
        {"Authorization": "Bearer admin-11"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic admin-1"},
        {"Authorization": "admin-1"},
        {"x-api-key": "admin-1"},
        {"x-admin-token": "admin-1"},
    ],
    ids=lambda headers: "+".join(f"{name} {value}" for name, value in headers.items()) or "nothing",
)
async def test_with_a_token_nothing_else_opens(
    guarded: RunningRouter, method: str, path: str, headers: Mapping[str, str]
) -> None:
    answer = await ask(guarded, method, path, ROUTE if method == "POST" else None, headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.content["error"]["code"] == "invalid_api_key"
    assert "admin-1" not in answer.error


async def test_the_token_opens_also_to_a_proxy(guarded: RunningRouter) -> None:
    headers = {
        "Authorization": "bearer  admin-1",
        "Host": "router.example",
        "X-Forwarded-For": "192.0.2.1",
    }
    assert (await ask(guarded, "GET", "/admin/routes", headers=headers)).status == 200


async def test_a_token_that_a_reload_changes_counts_at_once(
    guarded: RunningRouter, upstream: ScriptedUpstream
) -> None:
    guarded.configure(settings(CHAT, upstream.url, server={"admin_token": "admin-2"}))
    old, new = ({"Authorization": f"Bearer admin-{number}"} for number in (1, 2))
    assert (await ask(guarded, "POST", "/admin/reload", headers=old)).status == 200
    assert (await ask(guarded, "GET", "/admin/routes", headers=old)).status == 401
    assert (await ask(guarded, "GET", "/admin/routes", headers=new)).status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:8787", "127.1.2.3", "[::1]", "[::1]:8787"]
)
async def test_without_a_token_the_machine_itself_may(router: RunningRouter, host: str) -> None:
    assert (await ask(router, "GET", "/admin/routes", headers={"Host": host})).status == 200
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert (await ask(router, "GET", "/admin/routes", headers=headers)).status == 200


@pytest.mark.parametrize(("method", "path"), EVERY_OPERATION)
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "localhost"},
        {"X-Real-IP": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Host": "router.example"},
        {"Host": "localhost.router.example"},
        {"Host": "127.0.0.1.router.example"},
        {"Host": "router.example@localhost"},
        {"Host": "192.0.2.1:8787"},
        {"Host": "unix:/localhost"},
        {"Host": "[2001:db8::1]"},
        {"Host": ""},
        {"Origin": "https://router.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
    ],
    ids=lambda headers: "+".join(f"{name} {value}" for name, value in headers.items()),
)
async def test_without_a_token_nobody_may_from_elsewhere(
    router: RunningRouter, method: str, path: str, headers: Mapping[str, str]
) -> None:
    answer = await ask(router, method, path, ROUTE if method == "POST" else None, headers)
    assert answer.status == 403
    assert "set server.admin_token" in answer.error
    assert await names(router) == [("config", "m")]


async def test_a_unix_socket_is_as_good_as_loopback(
    start_router: StartRouter, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    socket = tmp_path / "admin.sock"
    server = {"admin_listen": f"unix:{socket}"}
    await start_router(settings(CHAT, upstream.url, server=server))
    connector = aiohttp.UnixConnector(str(socket))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get("http://localhost/admin/routes") as response,
    ):
        assert response.status == 200


async def test_an_admin_listener_has_the_admin_api_to_itself(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(
        settings(CHAT, upstream.url, server={"admin_listen": "127.0.0.1:0"})
    )
    public, admin = router.router.addresses
    expected = {
        "/admin/routes": (404, 200),
        "/v1/admin/routes": (404, 200),
        "/metrics": (404, 200),
        "/v1/metrics": (404, 200),
        "/health": (200, 200),
        "/ready": (200, 200),
        "/v1/models": (200, 404),
        "/openapi.json": (200, 404),
    }
    found = {}
    async with aiohttp.ClientSession() as http:
        for path in expected:
            async with http.get(public + path) as one, http.get(admin + path) as other:
                found[path] = (one.status, other.status)
        async with http.post(admin + CHAT.path(), json=CHAT.body()) as response:
            assert response.status == 404
    assert found == expected
