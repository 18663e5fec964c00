"""An endpoint that fails is left alone, and found again when it is back."""

import asyncio
import json
import logging
import math
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, Dialect, settings
from tests.support.faults import LIMIT_S, NEVER, ask, complete, error
from tests.support.rawhttp import connect, post
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

JSON = "Content-Type: application/json"
WHOLE = complete(CHAT, stream=False)
FOR_EVER = {"failures": 2, "cooldown": "1h"}
SHORT = {"failures": 2, "cooldown": "150ms"}


def state(router: RunningRouter, key: str = "p1:up-1") -> str:
    return router.router.services.state_of(key).value


async def fail(router: RunningRouter, upstream: ScriptedUpstream, times: int = 2) -> None:
    """Let the first endpoint fail so often, in a way that is not repeated."""
    upstream.script = error(504)
    for _ in range(times):
        await ask(router, CHAT)


async def half_open(router: RunningRouter) -> None:
    async with asyncio.timeout(LIMIT_S):
        while state(router) != "half_open":  # noqa: ASYNC110 - time alone brings it
            await asyncio.sleep(0.01)


# -- open -------------------------------------------------------------------------------------


async def test_an_open_endpoint_is_not_asked_and_the_next_one_is_at_once(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=FOR_EVER)
    router = await start_router(given)
    second_upstream.script = WHOLE
    await fail(router, upstream)
    assert state(router) == "open"
    for _ in range(20):
        got = await ask(router, CHAT)
        assert (got.status, got.provider, got.attempts) == (200, "p2", 1)
    assert len(upstream.received) == 2


async def test_with_all_open_the_client_is_told_at_once_and_nobody_is_asked(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    stream: bool,
) -> None:
    breaker = {"failures": 2, "cooldown": "90s"}
    router = await start_router(settings(dialect, upstream.url, circuit_breaker=breaker))
    upstream.script = error(504)
    for _ in range(2):
        await ask(router, dialect)
        await request_log.next_line()
    upstream.script = Reply(wait=NEVER)
    async with asyncio.timeout(LIMIT_S):
        answers = await asyncio.gather(*(ask(router, dialect, stream=stream) for _ in range(20)))
    status = 529 if dialect is ANTHROPIC else 503
    for got in answers:
        assert (got.status, got.attempts) == (status, 0)
        assert "resting after failures" in dialect.error(got.body, status)
        assert 60 < int(got.headers["retry-after"]) <= 90
        assert got.headers["x-bitrouter-error-source"] == "router"
    assert len(upstream.received) == 2
    assert (await request_log.next_line())["outcome"] == "refused"


async def test_half_of_twenty_answers_that_are_none_open_it(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    turns = [error(504), WHOLE] * 9 + [error(504)] * 2
    upstream.script = lambda received: turns.pop(0)
    states = []
    for _ in range(20):
        await ask(router, CHAT)
        states.append(state(router))
    assert states == ["closed"] * 19 + ["open"]


# -- half open --------------------------------------------------------------------------------


async def start_half_open(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> RunningRouter:
    """A router whose first endpoint has failed, and is to be probed; the second one answers."""
    given = settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=SHORT)
    router = await start_router(given)
    second_upstream.script = WHOLE
    await fail(router, upstream)
    await half_open(router)
    return router


async def test_one_request_at_a_time_finds_out_whether_it_is_back(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_half_open(start_router, upstream, second_upstream)
    go_on = asyncio.Event()
    upstream.script = Reply((CHAT.answer,), wait=go_on)
    answers = asyncio.as_completed([ask(router, CHAT) for _ in range(20)], timeout=LIMIT_S)
    others = [await next(answers) for _ in range(19)]
    assert {got.provider for got in others} == {"p2"}
    assert len(upstream.received) == 2 + 1
    go_on.set()
    assert (await next(answers)).provider == "p1"
    assert state(router) == "closed"


async def test_during_an_outage_a_dead_endpoint_sees_one_request_a_pause(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    breaker = {"failures": 2, "cooldown": "400ms"}
    given = settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=breaker)
    router = await start_router(given)
    second_upstream.script = WHOLE
    await fail(router, upstream)
    upstream.script = error(503)  # which would be repeated in place
    for probes in (1, 2):
        await half_open(router)
        answers = await asyncio.gather(*(ask(router, CHAT) for _ in range(20)))
        assert {got.provider for got in answers} == {"p2"}
        assert len(upstream.received) == 2 + probes


async def test_a_silent_endpoint_that_is_probed_keeps_no_client_waiting(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
    stream: bool,
) -> None:
    given = settings(dialect, upstream.url, second_upstream.url, circuit_breaker=SHORT)
    given["timeouts"] = {"first_byte": "1h"}
    router = await start_router(given)
    second_upstream.script = complete(dialect, stream=False)
    upstream.script = error(504)
    for _ in range(2):
        await ask(router, dialect)
    await half_open(router)
    upstream.script = silent = Reply(wait=NEVER)
    second_upstream.script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert (got.status, got.provider, got.attempts) == (200, "p2", 2)
    for _ in range(5):
        assert (await ask(router, dialect, stream=stream)).attempts == 1
    assert (len(upstream.received), upstream.script) == (3, silent)
    assert len(router.router.services.probes) == 1


async def test_a_probe_that_outlasts_its_request_finds_the_endpoint_back(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_half_open(start_router, upstream, second_upstream)
    second_upstream.script = complete(CHAT, stream=True)
    upstream.gone.clear()
    go_on = asyncio.Event()
    upstream.script = sse(*CHAT.events, wait=go_on, pause=NEVER)
    assert (await ask(router, CHAT, stream=True)).provider == "p2"
    assert state(router) == "half_open"
    go_on.set()
    async with asyncio.timeout(LIMIT_S):
        await upstream.gone.wait()  # the rest of its answer is wanted by nobody
    assert state(router) == "closed"


@pytest.mark.parametrize("end", ["the client leaves", "429", "400", "an error of another protocol"])
async def test_a_probe_that_says_nothing_makes_room_for_the_next_request(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, end: str
) -> None:
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=SHORT))
    await fail(router, upstream)
    for _ in range(2):
        await request_log.next_line()
    await half_open(router)
    match end:
        case "the client leaves":
            asked = asyncio.Event()

            def script(received: Received) -> Reply:
                asked.set()
                return Reply(wait=NEVER)

            upstream.script = script
            async with connect(router.url) as connection, asyncio.timeout(LIMIT_S):
                await connection.send(post(CHAT.path(), json.dumps(CHAT.body()).encode(), JSON))
                await asked.wait()
                connection.close()
                assert (await request_log.next_line())["outcome"] == "client_gone"
        case "an error of another protocol":
            body = ANTHROPIC.body() | {"messages": [{"role": "nobody", "content": "Hi"}]}
            async with router.http.post(ANTHROPIC.path(), json=body) as response:
                assert response.status == 400
        case _:
            upstream.script = error(int(end))
            assert (await ask(router, CHAT)).status == int(end)
    assert state(router) == "half_open"
    upstream.script = WHOLE
    assert (await ask(router, CHAT)).status == 200
    assert state(router) == ("resting" if end == "429" else "closed")


async def test_the_load_comes_back_little_by_little(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_half_open(start_router, upstream, second_upstream)
    upstream.script = WHOLE
    assert (await ask(router, CHAT)).provider == "p1"
    just_after = [(await ask(router, CHAT)).provider for _ in range(10)]
    assert just_after.count("p2") >= 5


# -- what is a failure ------------------------------------------------------------------------


async def test_a_stream_that_breaks_off_after_it_began_is_the_endpoints_failure(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url, circuit_breaker=FOR_EVER))
    upstream.script = sse(dialect.events[0], cut=True)
    for expected in ("closed", "open"):
        got = await ask(router, dialect, stream=True)
        assert (got.status, bool(dialect.error_in_stream(got.body))) == (200, True)
        assert state(router) == expected


async def test_a_stream_that_ends_well_is_a_success(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url, circuit_breaker=FOR_EVER))
    cut = sse(dialect.events[0], cut=True)
    for reply in (cut, complete(dialect, stream=True), cut):
        upstream.script = reply
        await ask(router, dialect, stream=True)
    assert state(router) == "closed"


async def test_a_client_that_leaves_a_stream_says_nothing_of_the_endpoint(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=FOR_EVER))
    upstream.script = sse(*CHAT.events, pause=NEVER)
    body = json.dumps(CHAT.body(stream=True)).encode()
    for _ in range(3):
        async with connect(router.url) as connection:
            await connection.send(post(CHAT.path(stream=True), body, JSON))
            await connection.receive_until(CHAT.events[0])
            connection.close()
            assert (await request_log.next_line())["outcome"] == "client_gone"
    assert state(router) == "closed"


@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422, 501])
async def test_what_the_endpoint_says_to_the_client_is_no_failure_of_it(
    start_router: StartRouter, upstream: ScriptedUpstream, status: int
) -> None:
    breaker = {"failures": 1, "cooldown": "1h"}
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=breaker))
    upstream.script = error(status)
    for _ in range(3):
        assert (await ask(router, CHAT)).status == status
    assert state(router) == "closed"


# -- where it shows ---------------------------------------------------------------------------


async def test_its_state_is_shown_wherever_one_looks(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=FOR_EVER)
    router = await start_router(given)
    second_upstream.script = WHOLE
    assert await _shown(router) == (None, None, [1, 1], 0)
    await fail(router, upstream)
    assert await _shown(router) == ({"p1:up-1": "open"}, "open", [0, 1], 1)


async def _shown(
    router: RunningRouter,
) -> tuple[Mapping[str, str] | None, str | None, list[int], int]:
    """The list of routes, the explanation, the metrics, and the page for people."""
    async with router.http.get("/admin/routes") as response:
        (route,) = (await response.json())["routes"]
    async with router.http.get("/admin/explain?model=m&protocol=openai") as response:
        first, second = (await response.json())["clients"][0]["endpoints"]
    assert "state" not in second
    async with router.http.get("/metrics", headers={"Accept": "text/plain"}) as response:
        text = await response.text()
    up = [
        int(float(text.split(f'bitrouter_endpoint_up{{endpoint="{key}"}} ')[1].split()[0]))
        for key in ("p1:up-1", "p2:up-1")
    ]
    async with router.http.get("/") as response:
        page = await response.text()
    return route.get("states"), first.get("state"), up, page.count('<span class="bad">open</span>')


async def test_it_is_logged_once_that_it_opened_and_once_that_it_closed(
    start_router: StartRouter, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=SHORT))
    with caplog.at_level(logging.INFO, "bitrouter"):
        await fail(router, upstream, 2)
        await half_open(router)
        await fail(router, upstream, 1)
        await half_open(router)
        upstream.script = WHOLE
        assert (await ask(router, CHAT)).status == 200
    told = [one.getMessage() for one in caplog.records if "circuit breaker" in one.getMessage()]
    assert told == [
        "p1:up-1 is left alone for 0.15 s: the circuit breaker is open, after 2 failures in a row"
        " and 2 among the last 2 answers",
        "p1:up-1 answers again: the circuit breaker is closed",
    ]


# -- a configuration that changes -------------------------------------------------------------


async def reload(router: RunningRouter, given: Mapping[str, Any]) -> None:
    router.configure(given)
    async with router.http.post("/admin/reload") as response:
        assert response.status == 200


async def test_a_reload_that_does_not_change_an_endpoint_does_not_reset_it(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=FOR_EVER)
    router = await start_router(given)
    await fail(router, upstream)
    for key in ("p1:unlisted", "p1:unlisted"):
        await ask(router, CHAT, model=key)
    given["providers"]["p1"]["models"] = {"new": {}}
    given["models"]["another"] = {"endpoints": [{"provider": "p2", "model_id": "x"}]}
    await reload(router, given)
    assert (state(router), state(router, "p1:unlisted")) == ("open", "open")


@pytest.mark.parametrize("change", ["address", "key", "gone"])
async def test_a_breaker_does_not_outlive_its_endpoint(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    change: str,
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=FOR_EVER)
    router = await start_router(given)
    await fail(router, upstream)
    changed = settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=FOR_EVER)
    match change:
        case "address":
            changed["providers"]["p1"]["api_base"] = second_upstream.url
        case "key":
            changed["providers"]["p1"]["api_key"] = "another"
        case _:
            changed["models"]["m"]["endpoints"].pop(0)
    await reload(router, changed)
    await reload(router, given)
    assert state(router) == "closed"


async def test_its_settings_follow_a_reload(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, circuit_breaker={"failures": 100})
    router = await start_router(given)
    await fail(router, upstream, 3)
    await reload(router, given | {"circuit_breaker": {"failures": 4, "cooldown": "1h"}})
    await fail(router, upstream, 1)
    got = await ask(router, CHAT)
    assert math.ceil(int(got.headers["retry-after"]) / 60) == 60


async def test_a_dynamic_routes_breakers_go_with_it(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=FOR_EVER))
    route = {"model": "d", "endpoints": [{"provider": "p1", "model_id": "up-2"}]}
    async with router.http.post("/admin/routes", json=route) as response:
        assert response.status == 200
    upstream.script = error(504)
    for model in ("d", "d", "m", "m"):
        await ask(router, CHAT, model=model)
    assert (state(router, "p1:up-2"), state(router)) == ("open", "open")
    async with router.http.delete("/admin/routes/d") as response:
        assert response.status == 200
    assert (state(router, "p1:up-2"), state(router)) == ("closed", "open")
