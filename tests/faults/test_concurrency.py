"""An endpoint that may have so many requests at a time never has more."""

import asyncio
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import CHAT, provider
from tests.support.faults import attempts_of
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream, sse

LIMIT_S = 10
SOON = {"timeouts": {"pool_wait": "50ms"}}


def limited(*urls: str, most: int = 1) -> dict[str, Any]:
    names = [f"p{number}" for number, _ in enumerate(urls, start=1)]
    endpoints: list[dict[str, Any]] = [{"provider": name, "model_id": "up-1"} for name in names]
    endpoints[0]["max_concurrency"] = most
    return {
        "providers": {name: provider(CHAT, url) for name, url in zip(names, urls, strict=True)},
        "models": {"m": {"endpoints": endpoints}},
    }


def taken(router: RunningRouter) -> int:
    return router.router.services.slots.taken("p1:up-1")


async def ask(router: RunningRouter, *, stream: bool = False) -> tuple[int, bytes, str | None]:
    async with router.http.post(CHAT.path(), json=CHAT.body(stream=stream)) as response:
        provider_name = response.headers.get("x-bitrouter-provider")
        return response.status, await response.read(), provider_name


async def test_one_more_waits_for_its_turn(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(limited(upstream.url))
    go = asyncio.Event()
    upstream.script = Reply((CHAT.answer,), wait=go)
    async with asyncio.timeout(LIMIT_S):
        first = asyncio.ensure_future(ask(router))
        await upstream.wait_for_request()
        second = asyncio.ensure_future(ask(router))
        await ask_metrics(router)
        assert len(upstream.received) == 1

        go.set()
        answers = await asyncio.gather(first, second)

    assert [status for status, *_ in answers] == [200, 200]
    assert (len(upstream.received), taken(router)) == (2, 0)


async def ask_metrics(router: RunningRouter) -> None:
    """Give what was begun before some turns of the loop."""
    async with router.http.get("/health") as response:
        await response.read()


async def test_the_next_endpoint_is_asked_when_no_slot_becomes_free(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
) -> None:
    router = await start_router(limited(upstream.url, second_upstream.url) | SOON)
    go = asyncio.Event()
    upstream.script = Reply((CHAT.answer,), wait=go)
    second_upstream.script = Reply((CHAT.answer,))
    async with asyncio.timeout(LIMIT_S):
        first = asyncio.ensure_future(ask(router))
        await upstream.wait_for_request()

        assert await ask(router) == (200, CHAT.answer, "p2")

        go.set()
        assert await first == (200, CHAT.answer, "p1")


async def test_an_endpoint_that_stays_busy_uses_up_no_attempt(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
) -> None:
    given = limited(upstream.url, second_upstream.url) | SOON | {"retry": {"max_attempts": 1}}
    router = await start_router(given)
    go = asyncio.Event()
    upstream.script = Reply((CHAT.answer,), wait=go)
    second_upstream.script = Reply((CHAT.answer,))
    async with asyncio.timeout(LIMIT_S):
        first = asyncio.ensure_future(ask(router))
        await upstream.wait_for_request()
        async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
            assert (response.status, response.headers["x-bitrouter-attempts"]) == (200, "1")
        go.set()
        await first


async def test_without_another_it_is_refused_and_told_when_to_come_back(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(limited(upstream.url) | SOON)
    go = asyncio.Event()
    upstream.script = Reply((CHAT.answer,), wait=go)
    async with asyncio.timeout(LIMIT_S):
        first = asyncio.ensure_future(ask(router))
        await upstream.wait_for_request()
        async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            message = CHAT.error(await response.read(), 503)
            assert "max_concurrency" in message
            assert "timeouts.pool_wait: 0.05 s" in message
        assert (await request_log.next_line())["outcome"] == "timeout:pool_wait"
        assert attempts_of(router)["p1:up-1", "timeout:pool_wait"] == 1
        go.set()
        assert (await first)[0] == 200


async def test_nobody_waits_for_a_slot_longer_than_a_request_may_take(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    timers = {"timeouts": {"pool_wait": "10m", "deadline": "300ms"}}
    router = await start_router(limited(upstream.url) | timers)
    upstream.script = sse(*CHAT.events, pause=asyncio.Event())
    async with asyncio.timeout(LIMIT_S):
        running = await router.http.post(CHAT.path(), json=CHAT.body(stream=True))
        await running.content.readany()
        async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
            assert response.status == 504
            assert "timeouts.deadline: 0.3 s" in CHAT.error(await response.read(), 504)
        running.close()

    assert (await request_log.next_line())["outcome"] == "timeout:deadline"
    assert router.router.services.breakers.wait_s("p1:up-1", 0.0) == 0


@pytest.mark.parametrize("failure", [None, Reply((b"{}",), status=400), Reply((b"{",), cut=True)])
async def test_a_slot_comes_back_however_the_answer_ends(
    start_router: StartRouter, upstream: ScriptedUpstream, failure: Reply | None
) -> None:
    router = await start_router(limited(upstream.url) | {"retry": {"max_attempts": 1}})
    upstream.script = failure
    async with asyncio.timeout(LIMIT_S):
        await ask(router)

    assert taken(router) == 0


async def test_a_stream_keeps_its_slot_until_its_end(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(limited(upstream.url))
    pause = asyncio.Event()
    upstream.script = sse(*CHAT.events, pause=pause)
    async with asyncio.timeout(LIMIT_S):
        async with router.http.post(CHAT.path(), json=CHAT.body(stream=True)) as response:
            await response.content.readany()
            assert taken(router) == 1
            pause.set()
            await response.read()
        await ask_metrics(router)

    assert taken(router) == 0


async def test_a_client_that_leaves_gives_its_slot_back(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(limited(upstream.url))
    upstream.script = sse(*CHAT.events, pause=asyncio.Event())
    async with asyncio.timeout(LIMIT_S):
        response = await router.http.post(CHAT.path(), json=CHAT.body(stream=True))
        await response.content.readany()
        response.close()
        while taken(router):  # noqa: ASYNC110 - the router has no event for it
            await asyncio.sleep(0.01)
