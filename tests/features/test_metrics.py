"""What is counted, when, and under which name."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartRouter
from tests.support.dialects import (
    CHAT,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    Dialect,
    provider,
    settings,
)
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.scrape import sample, scrape, total
from tests.support.upstream import Reply, ScriptedUpstream, sse


async def ask(
    router: RunningRouter, dialect: Dialect, model: str = "m", *, stream: bool = False
) -> int:
    """One request, read to its end: its status."""
    path = dialect.path(model, stream=stream)
    async with router.http.post(path, json=dialect.body(model, stream=stream)) as response:
        await response.read()
        return response.status


async def snapshot(router: RunningRouter) -> dict[str, Any]:
    """The JSON of GET /v1/metrics."""
    async with router.http.get("/v1/metrics") as response:
        assert response.status == 200
        found: dict[str, Any] = await response.json()
        return found


def answers(dialect: Dialect, *, stream: bool) -> Reply:
    return sse(*dialect.events) if stream else Reply((dialect.answer,))


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router with the route `m` for chat, which is asked however often it fails."""
    breaker = {"failures": 1000}
    return await start_router(settings(CHAT, upstream.url, circuit_breaker=breaker))


# -- requests and usage -----------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_requests_are_counted_with_the_usage_that_their_answers_report(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    stream: bool,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = answers(dialect, stream=stream)
    for _ in range(3):
        assert await ask(router, dialect, stream=stream) == 200
        await request_log.next_line()
    route = (await snapshot(router))["routes"]["m"]
    assert (route["total_requests"], route["total_errors"], route["error_rate"]) == (3, 0, 0)
    assert (route["avg_input_tokens"], route["avg_output_tokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert list(route["by_endpoint"]) == ["p1:up-1"]
    assert route["by_endpoint"]["p1:up-1"]["total_requests"] == 3
    samples = await scrape(router)
    labels = {"route": "m", "protocol": dialect.name, "outcome": "ok"}
    assert sample(samples, "bitrouter_requests_total", **labels) == 3
    tokens = {"input": 3 * INPUT_TOKENS, "output": 3 * OUTPUT_TOKENS}
    for kind, count in tokens.items():
        assert sample(samples, "bitrouter_tokens_total", route="m", kind=kind) == count


async def test_the_log_line_says_the_same(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = answers(dialect, stream=True)
    await ask(router, dialect, stream=True)
    line = await request_log.next_line()
    expected = {
        "protocol": dialect.name,
        "route": "m",
        "provider": "p1",
        "model": "up-1",
        "attempts": 1,
        "status": 200,
        "outcome": "ok",
        "stream": True,
        "input_tokens": INPUT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
    }
    assert expected.items() <= line.items()
    assert 0 < line["ttft_ms"] <= line["duration_ms"]


async def test_an_answer_without_usage_does_not_count_as_zero_tokens(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b'{"choices": []}',))
    await ask(router, CHAT)
    upstream.script = Reply((CHAT.answer,))
    await ask(router, CHAT)
    assert (await snapshot(router))["routes"]["m"]["avg_input_tokens"] == INPUT_TOKENS


async def test_an_answer_costs_what_the_catalogue_says(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    given = settings(CHAT, upstream.url)
    given["providers"]["p1"]["models"] = {"up-1": {"price": {"input": 3, "output": 15}}}
    router = await start_router(given)
    upstream.script = Reply((CHAT.answer,))
    await ask(router, CHAT)
    cost = (3 * INPUT_TOKENS + 15 * OUTPUT_TOKENS) / 1e6
    assert (await request_log.next_line())["cost_usd"] == pytest.approx(cost)
    samples = await scrape(router)
    assert sample(samples, "bitrouter_cost_usd_total", route="m") == pytest.approx(cost)


# -- streams ----------------------------------------------------------------------------------


async def test_a_stream_is_counted_when_it_ends_and_in_flight_until_then(
    router: RunningRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    go_on = asyncio.Event()
    upstream.script = sse(*CHAT.events, pause=go_on)
    async with router.http.post(CHAT.path(), json=CHAT.body(stream=True)) as response:
        await response.content.readexactly(len(CHAT.events[0]))
        assert (await snapshot(router))["routes"] == {}
        assert sample(await scrape(router), "bitrouter_inflight_requests") == 1
        go_on.set()
        await response.read()
    await request_log.next_line()
    assert (await snapshot(router))["routes"]["m"]["total_requests"] == 1
    assert sample(await scrape(router), "bitrouter_inflight_requests") == 0


async def test_the_time_to_the_first_token_is_counted_for_streams_alone(
    router: RunningRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    for stream, count in ((False, 0), (True, 1), (False, 1), (True, 2)):
        upstream.script = answers(CHAT, stream=stream)
        await ask(router, CHAT, stream=stream)
        await request_log.next_line()
        assert total(await scrape(router), "bitrouter_ttft_seconds_count") == count
    assert total(await scrape(router), "bitrouter_request_duration_seconds_count") == 4


async def test_the_first_token_of_a_slow_stream_is_not_its_end(
    router: RunningRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    go_on = asyncio.Event()
    upstream.script = sse(*CHAT.events, pause=go_on)
    async with router.http.post(CHAT.path(), json=CHAT.body(stream=True)) as response:
        await response.content.readexactly(len(CHAT.events[0]))
        for _ in range(20):  # time passes: other requests are answered
            await snapshot(router)
        go_on.set()
        await response.read()
    line = await request_log.next_line()
    assert line["ttft_ms"] < line["duration_ms"] / 2


# -- errors -----------------------------------------------------------------------------------


async def test_errors_are_counted_for_the_route_and_the_endpoint_that_was_tried_last(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, second_upstream.url))
    broken = Reply((b"{}",), status=500)
    upstream.script = broken
    assert await ask(router, CHAT) == 200  # by the second
    second_upstream.script = broken
    assert await ask(router, CHAT) == 500
    route = (await snapshot(router))["routes"]["m"]
    assert (route["total_requests"], route["total_errors"], route["error_rate"]) == (2, 1, 0.5)
    assert list(route["by_endpoint"]) == ["p2:up-1"]
    assert route["by_endpoint"]["p2:up-1"]["total_errors"] == 1
    samples = await scrape(router)
    attempts = "bitrouter_upstream_attempts_total"
    assert sample(samples, attempts, endpoint="p1:up-1", result="5xx") == 4
    assert sample(samples, attempts, endpoint="p2:up-1", result="ok") == 1
    assert sample(samples, attempts, endpoint="p2:up-1", result="5xx") == 1


async def test_the_clients_own_mistakes_are_its_errors(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b'{"error": {"message": "no"}}',), status=400)
    assert await ask(router, CHAT) == 400
    labels = {"route": "m", "protocol": "chat"}
    samples = await scrape(router)
    assert sample(samples, "bitrouter_requests_total", outcome="client_error", **labels) == 1
    assert sample(samples, "bitrouter_requests_total", outcome="upstream_error", **labels) == 0


async def test_what_reaches_no_route_is_not_in_the_snapshot_and_is_counted_as_other(
    router: RunningRouter, dialect: Dialect
) -> None:
    assert await ask(router, dialect, "no-such-model") == 404
    async with router.http.post(dialect.path("m"), data=b"{") as response:
        assert response.status in (400, 415)
    assert (await snapshot(router))["routes"] == {}
    labels = {"route": "other", "protocol": dialect.name, "outcome": "client_error"}
    assert sample(await scrape(router), "bitrouter_requests_total", **labels) == 2


# -- names ------------------------------------------------------------------------------------


async def test_names_that_clients_make_up_are_counted_together(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((CHAT.answer,))
    for number in range(20):
        assert await ask(router, CHAT, f"p1:made-up-{number}") == 200
        assert await ask(router, CHAT, f"p1/made-up-{number}") == 200
    route = (await snapshot(router))["routes"]
    assert list(route) == ["other"]
    assert route["other"]["total_requests"] == 40
    assert list(route["other"]["by_endpoint"]) == ["other"]
    samples = await scrape(router)
    assert not [labels for _, labels in samples if "made-up" in str(labels)]


async def test_names_of_the_catalogue_are_counted_under_themselves(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = {"providers": {"p1": provider(CHAT, upstream.url, models={"known": {}})}}
    router = await start_router(given)
    for name in ("p1:known", "p1/known"):
        assert await ask(router, CHAT, name) == 200
    routes = (await snapshot(router))["routes"]
    assert list(routes) == ["p1:known"]
    assert routes["p1:known"]["by_endpoint"]["p1:known"]["total_requests"] == 2


async def test_names_under_a_wildcard_are_counted_under_the_wildcard(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url)
    given["models"] = {"any/*": {"endpoints": [{"provider": "p1", "model_id": "*"}]}}
    router = await start_router(given)
    for number in range(5):
        assert await ask(router, CHAT, f"any/model-{number}") == 200
    assert json.loads(upstream.last.body)["model"] == "model-4"
    routes = (await snapshot(router))["routes"]
    assert list(routes) == ["any/*"]
    assert list(routes["any/*"]["by_endpoint"]) == ["p1:*"]


async def test_a_dynamic_route_is_counted_until_it_is_removed(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    route = {"model": "d", "endpoints": [{"provider": "p1", "model_id": "up-2"}]}
    async with router.http.post("/admin/routes", json=route) as response:
        assert response.status == 200
    assert await ask(router, CHAT, "d") == 200
    assert list((await snapshot(router))["routes"]) == ["d"]
    async with router.http.delete("/admin/routes/d") as response:
        assert response.status == 200
    assert (await snapshot(router))["routes"] == {}


# -- everything else --------------------------------------------------------------------------


@pytest.fixture
async def stranger(router: RunningRouter) -> AsyncIterator[aiohttp.ClientSession]:
    """Another client."""
    async with aiohttp.ClientSession(router.url) as session:
        yield session


async def test_every_request_ends_in_exactly_one_outcome(
    router: RunningRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    stranger: aiohttp.ClientSession,
) -> None:
    script: list[tuple[Reply | None, bool]] = [
        (Reply((CHAT.answer,)), False),
        (sse(*CHAT.events), True),
        (sse(CHAT.events[0], cut=True), True),
        (Reply((b"{}",), status=500), False),
        (Reply((b"{}",), status=400), False),
        (None, False),
        (Reply((b"",)), True),
    ]
    for reply, stream in script:
        upstream.script = reply
        await ask(router, CHAT, stream=stream)
    async with stranger.post(CHAT.path(), data=b"nonsense") as response:
        assert response.status == 415
    await ask(router, CHAT, "nowhere")
    upstream.script = sse(*CHAT.events, pause=asyncio.Event())
    response = await stranger.post(CHAT.path(), json=CHAT.body(stream=True))
    await response.content.readany()
    response.close()
    lines = [await request_log.next_line() for _ in range(len(script) + 3)]
    samples = await scrape(router)
    assert total(samples, "bitrouter_requests_total") == len(lines)
    assert sample(samples, "bitrouter_inflight_requests") == 0
    outcomes = [line["outcome"] for line in lines]
    assert outcomes == [
        *("ok", "ok", "truncated", "upstream_error", "client_error", "upstream_error"),
        *("upstream_error", "client_error", "client_error", "client_gone"),
    ]


async def test_reloads_are_counted(router: RunningRouter, upstream: ScriptedUpstream) -> None:
    await router.router.reload_and_log()
    router.file.write_text("nonsense: 1\n")
    await router.router.reload_and_log()
    samples = await scrape(router)
    assert sample(samples, "bitrouter_config_reloads_total", result="ok") == 1
    assert sample(samples, "bitrouter_config_reloads_total", result="error") == 1


async def test_an_endpoint_without_a_key_is_shown_as_down(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, upstream.url)
    given["providers"]["p1"]["api_key"] = "${SURELY_NOT_SET}"
    samples = await scrape(await start_router(given))
    assert sample(samples, "bitrouter_endpoint_up", endpoint="p1:up-1") == 0
    assert ("bitrouter_endpoint_up", frozenset({("endpoint", "p1:up-1")})) in samples
    assert sample(samples, "bitrouter_endpoint_up", endpoint="p2:up-1") == 1


async def test_two_routers_in_one_process_do_not_see_each_other(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    one = await start_router(settings(CHAT, upstream.url))
    two = await start_router(settings(CHAT, upstream.url))
    await ask(one, CHAT)
    labels = {"route": "m", "protocol": "chat", "outcome": "ok"}
    assert sample(await scrape(one), "bitrouter_requests_total", **labels) == 1
    assert sample(await scrape(two), "bitrouter_requests_total", **labels) == 0
