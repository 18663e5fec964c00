"""GET /admin/requests: what has just happened, without a word of what was said."""

import asyncio
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import CHAT, Dialect, settings
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream, sse

PATH = "/admin/requests"
TOKEN = "admin-token-of-this-test"


async def ask(
    router: RunningRouter, dialect: Dialect = CHAT, model: str = "m", *, stream: bool = False
) -> int:
    """One request, read to its end: its status."""
    path = dialect.path(model, stream=stream)
    async with router.http.post(path, json=dialect.body(model, stream=stream)) as response:
        await response.read()
        return response.status


async def recent(router: RunningRouter, **query: str) -> list[dict[str, Any]]:
    """The requests that the page shows."""
    async with router.http.get(PATH, params=query) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Cache-Control"] == "no-store"
        found: list[dict[str, Any]] = (await response.json())["requests"]
        return found


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router that has answered three requests, each in another way."""
    upstream.script = Reply((CHAT.answer,))
    breaker = {"failures": 1000}
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=breaker))
    assert await ask(router) == 200
    upstream.script = Reply((b"{}",), status=504)
    assert await ask(router) == 504
    assert await ask(router, model="nowhere") == 404
    return router


async def test_the_newest_come_first_with_what_the_log_says_of_them(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    logged = []
    for stream in (False, True):
        upstream.script = sse(*dialect.events) if stream else Reply((dialect.answer,))
        assert await ask(router, dialect, stream=stream) == 200
        logged.append(await request_log.next_line())
    shown = await recent(router)
    assert [one.pop("time")[-1] for one in shown] == ["Z", "Z"]
    for line in logged:
        line.pop("time", None)
    assert shown == [
        {name: value for name, value in line.items() if value is not None}
        for line in reversed(logged)
    ]


async def test_they_are_there_though_the_log_has_none(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = Reply((CHAT.answer,))
    assert await ask(router) == 200
    assert [one["outcome"] for one in await recent(router)] == ["ok"]


@pytest.mark.parametrize(
    ("query", "outcomes"),
    [
        ({}, ["client_error", "upstream_error", "ok"]),
        ({"limit": "2"}, ["client_error", "upstream_error"]),
        ({"route": "m"}, ["upstream_error", "ok"]),
        ({"route": "other"}, ["client_error"]),
        ({"route": "none-such"}, []),
        ({"outcome": "ok"}, ["ok"]),
        ({"outcome": "error"}, ["client_error", "upstream_error"]),
        ({"outcome": "timeout"}, []),
        ({"outcome": "error", "route": "m", "limit": "1"}, ["upstream_error"]),
    ],
    ids=str,
)
async def test_they_can_be_chosen(
    router: RunningRouter, query: dict[str, str], outcomes: list[str]
) -> None:
    assert [one["outcome"] for one in await recent(router, **query)] == outcomes


async def test_a_name_under_a_wildcard_is_found_by_both(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url)
    given["models"] = {"any/*": {"endpoints": [{"provider": "p1", "model_id": "*"}]}}
    router = await start_router(given)
    upstream.script = Reply((CHAT.answer,))
    for number in range(2):
        assert await ask(router, model=f"any/{number}") == 200
    assert len(await recent(router, route="any/*")) == 2
    assert [one["route"] for one in await recent(router, route="any/1")] == ["any/1"]


async def test_a_timer_is_an_outcome_by_its_name_and_by_what_it_is(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply(wait=asyncio.Event())
    router = await start_router(settings(CHAT, upstream.url, timeouts={"first_byte": "100ms"}))
    assert await ask(router) == 504
    for word in ("timeout", "timeout:first_byte", "error"):
        shown = await recent(router, outcome=word)
        assert [one["outcome"] for one in shown] == ["timeout:first_byte"], word
    assert await recent(router, outcome="timeout:idle") == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=0", "limit must be a number from 1 to 1000, not '0'"),
        ("limit=1001", "limit must be a number from 1 to 1000"),
        ("limit=-1", "limit must be a number from 1 to 1000"),
        ("limit=many", "limit must be a number from 1 to 1000, not 'many'"),
        ("limit=99999999999999999999", "limit must be a number from 1 to 1000"),
        ("outcome=okay", "outcome: there is no 'okay' (did you mean 'ok'?); allowed: ok, "),
        ("outcome=timeout:firstbyte", "did you mean 'timeout:first_byte'?"),
        ("outcom=ok", "the query: there is no 'outcom' (did you mean 'outcome'?); allowed: route"),
        ("route=a&route=b", "route must be given once"),
    ],
)
async def test_a_wrong_question_is_told_what_is_allowed(
    router: RunningRouter, query: str, told: str
) -> None:
    async with router.http.get(f"{PATH}?{query}") as response:
        assert response.status == 400
        assert told in (await response.json())["error"]["message"]


async def test_only_so_many_are_kept_and_a_reload_changes_how_many(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, server={"recent_requests": 3})
    router = await start_router(given)
    for number in range(5):
        await ask(router, model=f"none-{number}")
    assert len(await recent(router)) == 3
    for size, kept in ((2, 2), (0, 0), (10, 0)):
        router.configure({**given, "server": {"recent_requests": size}})
        async with router.http.post("/admin/reload") as response:
            assert response.status == 200
        assert len(await recent(router)) == kept
    for _ in range(12):
        await ask(router, model="none")
    assert len(await recent(router)) == 10


async def test_the_admins_token_is_asked_for(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, server={"admin_token": TOKEN}))
    async with router.http.get(PATH) as response:
        assert response.status == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for path in (PATH, f"/v1{PATH}"):
        async with router.http.get(path, headers=headers) as response:
            assert (response.status, await response.json()) == (200, {"requests": []})
    async with router.http.post(PATH, headers=headers) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")


async def test_nothing_of_what_was_said_or_shown_is_in_them(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b'{"error": {"message": "SECRET-WORDS"}}',), status=400)
    router = await start_router(settings(CHAT, upstream.url))
    body = CHAT.body() | {"messages": [{"role": "user", "content": "SECRET-PROMPT"}]}
    headers = {"Authorization": "Bearer SECRET-KEY", "x-request-id": "told"}
    path = f"{CHAT.path()}?key=SECRET-QUERY"
    async with router.http.post(path, json=body, headers=headers) as refused:
        assert refused.status == 400
    upstream.script = Reply((CHAT.answer,), headers={"x-request-id": "u" * 4000})
    assert await ask(router) == 200
    async with router.http.get(PATH) as response:
        text = await response.text()
    assert "told" in text
    assert "SECRET" not in text
    assert "key-up" not in text
    assert "u" * 256 in text
    assert "u" * 257 not in text
