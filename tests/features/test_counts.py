"""Sums agree whatever happens, and the number of series follows the configuration alone."""

import asyncio
import random
import string
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from bitrouter.metrics.store import OUTCOMES, PHASES
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, DIALECTS, Dialect, provider, settings
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter, no_connections
from tests.support.scrape import Samples, sample, scrape, total
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

REQUESTS = "bitrouter_requests_total"
GONE = "bitrouter_clients_gone_total"
ATTEMPTS = "bitrouter_upstream_attempts_total"
RETRIES = "bitrouter_upstream_retries_total"
FAILOVERS = "bitrouter_upstream_failovers_total"
CHANGES = "bitrouter_circuit_breaker_changes_total"
STATE = "bitrouter_circuit_breaker_state"
INFLIGHT = "bitrouter_upstream_inflight_requests"

OFTEN_FAILING = {"failures": 1000}


@pytest.fixture
async def stranger() -> AsyncIterator[Callable[[RunningRouter], aiohttp.ClientSession]]:
    """Makes clients whose connections are closed at the end of the test."""
    sessions: list[aiohttp.ClientSession] = []

    def make(router: RunningRouter) -> aiohttp.ClientSession:
        sessions.append(aiohttp.ClientSession(router.url))
        return sessions[-1]

    yield make
    for session in sessions:
        await session.close()


async def ask(
    router: RunningRouter, dialect: Dialect = CHAT, model: str = "m", *, stream: bool = False
) -> int:
    """One request, read to its end: its status."""
    path = dialect.path(model, stream=stream)
    async with router.http.post(path, json=dialect.body(model, stream=stream)) as response:
        await response.read()
        return response.status


def by_outcome(samples: Samples) -> dict[str, float]:
    """The requests of each outcome."""
    found: dict[str, float] = {}
    for (name, labels), value in samples.items():
        if name == REQUESTS:
            outcome = dict(labels)["outcome"]
            found[outcome] = found.get(outcome, 0) + value
    return found


# -- sums ---------------------------------------------------------------------------------------


def moody(received: Received) -> Reply | None:
    """A provider whose answers follow the model: how it behaves is the end of the model's id."""
    match received.body.partition(b'"up-')[2].partition(b'"')[0]:
        case b"fails":
            return Reply((b"{}",), status=500)
        case b"refuses":
            return Reply((b'{"error": {"message": "no"}}',), status=400)
        case b"cuts":
            return sse(CHAT.events[0], cut=True)
        case b"hangs":
            return Reply(wait=asyncio.Event())
        case b"vanishes":
            return None
        case b"drips":
            return sse(*CHAT.events, pause=asyncio.Event())
        case _:
            return sse(*CHAT.events) if b'"stream"' in received.body else Reply((CHAT.answer,))


MOODS = ("answers", "fails", "refuses", "cuts", "hangs", "vanishes", "drips")


async def _read_all(router: RunningRouter, model: str) -> None:
    async with router.http.post(CHAT.path(), json=CHAT.body(model)) as response:
        await response.read()


async def _read_stream(router: RunningRouter, model: str) -> None:
    body = CHAT.body(model, stream=True)
    async with router.http.post(CHAT.path(), json=body) as response:
        await response.read()


async def _walk_the_wrong_way(router: RunningRouter, model: str) -> None:
    async with router.http.post(f"/v2/{model}", json={}) as response:
        assert response.status == 404


async def _talk_nonsense(router: RunningRouter, model: str) -> None:
    async with router.http.post(CHAT.path(), data=b"{" + model.encode()) as response:
        assert response.status in (400, 415)


async def test_outcomes_add_up_to_requests_over_a_mix_of_everything(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    stranger: Callable[[RunningRouter], aiohttp.ClientSession],
) -> None:
    """Good, failing, cut, hanging, shed, astray, nonsense, and clients that leave at any moment."""
    upstream.script = moody
    endpoints = {mood: [{"provider": "p1", "model_id": f"up-{mood}"}] for mood in MOODS}
    router = await start_router(
        {
            "providers": {"p1": provider(CHAT, upstream.url)},
            "models": {mood: {"endpoints": one} for mood, one in endpoints.items()},
            "timeouts": {"first_byte": "300ms", "idle": "300ms"},
            "limits": {"max_concurrent_requests": 6},
            "circuit_breaker": OFTEN_FAILING,
        }
    )
    choose = random.Random(1)
    kinds: list[Callable[[RunningRouter, str], Coroutine[Any, Any, None]]] = [
        *(_read_all, _read_stream, _walk_the_wrong_way, _talk_nonsense)
    ]
    asked = answered = 0

    async def client() -> None:
        nonlocal asked, answered
        for _ in range(12):
            kind = choose.choices(kinds, (4, 4, 1, 1))[0]
            task = asyncio.ensure_future(kind(router, choose.choice(MOODS)))
            asked += 1
            await asyncio.wait((task,), timeout=choose.choice((0.05, 0.1, 5.0)))
            if not task.cancel():  # it has ended by itself
                answered += 1
            await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(client() for _ in range(16)))
    await router.http.close()  # what was never sent is seen now, if it was
    await no_connections(router)
    router.http = stranger(router)
    samples = await scrape(router)
    outcomes = by_outcome(samples)
    # A client that leaves at once may not have sent its request.
    assert 0 < answered <= sum(outcomes.values()) <= asked
    assert sum(outcomes.values()) == sample(samples, "bitrouter_request_duration_seconds_count")
    assert total(samples, GONE) == outcomes["client_gone"]
    assert {"ok", "client_error", "upstream_error", "client_gone", "shed"} <= outcomes.keys()
    assert outcomes.keys() <= set(OUTCOMES)
    assert sample(samples, "bitrouter_inflight_requests") == 0
    assert total(samples, INFLIGHT) == 0


async def test_every_request_is_counted_once_and_under_its_outcome(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = moody
    endpoints = {mood: [{"provider": "p1", "model_id": f"up-{mood}"}] for mood in MOODS}
    router = await start_router(
        {
            "providers": {"p1": provider(CHAT, upstream.url)},
            "models": {mood: {"endpoints": one} for mood, one in endpoints.items()},
            "timeouts": {"first_byte": "200ms"},
            "circuit_breaker": OFTEN_FAILING,
        }
    )
    for mood in ("answers", "fails", "refuses", "hangs"):
        await _read_all(router, mood)
    await _read_stream(router, "cuts")
    await _walk_the_wrong_way(router, "x")
    await _talk_nonsense(router, "x")
    assert by_outcome(await scrape(router)) == {
        "ok": 1,
        "upstream_error": 1,
        "client_error": 3,
        "timeout:first_byte": 1,
        "truncated": 1,
    }


# -- attempts -----------------------------------------------------------------------------------


async def test_a_repeat_and_a_fail_over_are_counted_for_the_endpoint_that_failed(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b"{}",), status=500)
    second_upstream.script = Reply((CHAT.answer,))
    router = await start_router(
        settings(CHAT, upstream.url, second_upstream.url, circuit_breaker=OFTEN_FAILING)
    )
    assert await ask(router) == 200
    samples = await scrape(router)
    assert sample(samples, ATTEMPTS, endpoint="p1:up-1", result="5xx") == 2
    assert sample(samples, ATTEMPTS, endpoint="p2:up-1", result="ok") == 1
    assert sample(samples, RETRIES, endpoint="p1:up-1") == 1
    assert sample(samples, FAILOVERS, endpoint="p1:up-1") == 1
    assert sample(samples, RETRIES, endpoint="p2:up-1") == 0
    assert sample(samples, FAILOVERS, endpoint="p2:up-1") == 0


async def test_a_request_that_fails_over_says_nothing_of_the_routers_own_share(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b"{}",), status=504)
    second_upstream.script = Reply((CHAT.answer,))
    router = await start_router(settings(CHAT, upstream.url, second_upstream.url))
    name = "bitrouter_overhead_seconds_count"
    assert await ask(router) == 200
    assert sample(await scrape(router), name, stage="route") == 0
    upstream.script = Reply((CHAT.answer,))
    assert await ask(router) == 200
    assert sample(await scrape(router), name, stage="route") == 1


def changes(samples: Samples) -> dict[str, float]:
    """How often the breaker of the only endpoint went to each state."""
    states = ("open", "half_open", "closed")
    return {one: sample(samples, CHANGES, endpoint="p1:up-1", state=one) for one in states}


async def test_the_state_of_a_breaker_is_shown(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b"{}",), status=504)
    breaker = {"failures": 2, "cooldown": "10m"}
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=breaker))
    assert await ask(router) == 504
    assert sample(await scrape(router), STATE, endpoint="p1:up-1") == 0
    assert await ask(router) == 504
    samples = await scrape(router)
    assert sample(samples, STATE, endpoint="p1:up-1") == 3
    assert sample(samples, "bitrouter_endpoint_up", endpoint="p1:up-1") == 0
    assert changes(samples) == {"open": 1, "half_open": 0, "closed": 0}


async def test_the_changes_of_a_breaker_are_counted(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    breaker = {"failures": 1, "cooldown": "50ms"}
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=breaker))
    loop, breakers = asyncio.get_running_loop(), router.router.services.breakers
    for status in (504, 504, 504, 200):
        await asyncio.sleep(breakers.wait_s("p1:up-1", loop.time()))
        upstream.script = Reply((CHAT.answer if status == 200 else b"{}",), status=status)
        assert await ask(router) == status
    samples = await scrape(router)
    assert changes(samples) == {"open": 3, "half_open": 3, "closed": 1}
    assert sample(samples, STATE, endpoint="p1:up-1") == 0


async def test_attempts_are_in_flight_until_their_streams_have_ended(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    go_on = asyncio.Event()
    upstream.script = sse(*CHAT.events, pause=go_on)
    router = await start_router(settings(CHAT, upstream.url))
    async with router.http.post(CHAT.path(), json=CHAT.body(stream=True)) as response:
        await response.content.readexactly(len(CHAT.events[0]))
        assert sample(await scrape(router), INFLIGHT, endpoint="p1:up-1") == 1
        go_on.set()
        await response.read()
    await request_log.next_line()
    samples = await scrape(router)
    assert sample(samples, INFLIGHT, endpoint="p1:up-1") == 0
    assert (INFLIGHT, frozenset({("endpoint", "p1:up-1")})) in samples


async def test_a_stream_that_another_endpoint_finishes_is_counted(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url)
    given["models"]["m"]["rescue"] = "restart"
    router = await start_router(given)
    upstream.script = sse(*CHAT.events[:-3], cut=True)
    second_upstream.script = sse(*CHAT.events)
    assert await ask(router, stream=True) == 200
    samples = await scrape(router)
    assert by_outcome(samples) == {"ok": 1}
    assert sample(samples, "bitrouter_upstream_rescues_total", endpoint="p1:up-1") == 1
    assert sample(samples, "bitrouter_upstream_rescues_total", endpoint="p2:up-1") == 0


# -- bytes, silences, clients that leave --------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_bytes_are_counted_both_ways(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, stream: bool
) -> None:
    said = sum(map(len, CHAT.events)) if stream else len(CHAT.answer)
    upstream.script = sse(*CHAT.events) if stream else Reply((CHAT.answer,))
    router = await start_router(settings(CHAT, upstream.url))
    body = b'{"model": "m", "messages": [], "stream": %s}' % (b"true" if stream else b"false")
    headers = {"Content-Type": "application/json"}
    async with router.http.post(CHAT.path(), data=body, headers=headers) as response:
        assert len(await response.read()) == said
    await request_log.next_line()
    samples = await scrape(router)
    assert sample(samples, "bitrouter_request_bytes_total", route="m") == len(body)
    sent = sample(samples, "bitrouter_response_bytes_total", route="m")
    assert said < sent < said + 1500  # the head, and the framing of the chunks


async def test_an_errors_bytes_are_counted(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    async with router.http.post(CHAT.path(), json=CHAT.body("nowhere")) as response:
        told = len(await response.read())
    name = "bitrouter_response_bytes_total"
    assert sample(await scrape(router), name, route="other") == told


async def test_the_longest_silence_of_a_stream_is_one_sample(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    """What comes before the first event is none, nor the wait for the connection's end."""
    go_on = asyncio.Event()
    upstream.script = sse(CHAT.events[0], b"".join(CHAT.events[1:]), pause=go_on)
    router = await start_router(settings(CHAT, upstream.url))
    async with router.http.post(CHAT.path(), json=CHAT.body(stream=True)) as response:
        await response.content.readexactly(len(CHAT.events[0]))
        await asyncio.sleep(0.2)
        go_on.set()
        await response.read()
    await request_log.next_line()
    samples = await scrape(router)
    name = "bitrouter_stream_gap_seconds"
    assert sample(samples, f"{name}_count") == 1
    assert sample(samples, f"{name}_bucket", le="0.1") == 0
    assert 0.15 < sample(samples, f"{name}_sum") < 2.0
    upstream.script = Reply((CHAT.answer,))
    await ask(router)
    assert sample(await scrape(router), f"{name}_count") == 1


async def test_when_a_client_left_is_counted(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    host, _, port = router.url.removeprefix("http://").partition(":")
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    body = b'{"model": "m", "messages": [], "stream": true}'
    upload = head % 1000 + body
    upstream.script = Reply(wait=asyncio.Event())
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(upload)
    async with asyncio.timeout(10):
        while not router.router.services.metrics.inflight:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    writer.close()
    assert (await request_log.next_line())["outcome"] == "client_gone"
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(head % len(body) + body)
    await upstream.wait_for_request()
    writer.close()
    assert (await request_log.next_line())["outcome"] == "client_gone"
    upstream.script = sse(*CHAT.events, pause=asyncio.Event())
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head % len(body) + body)
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert (await request_log.next_line())["outcome"] == "client_gone"
    samples = await scrape(router)
    assert total(samples, GONE) == 3
    assert all(sample(samples, GONE, phase=phase) == 1 for phase in PHASES)


# -- series -------------------------------------------------------------------------------------


def made_up(choose: random.Random) -> str:
    """A name of a model, a path or a key, of all sorts of characters."""
    alphabet = string.ascii_letters + string.digits + '-_.:/*@ \u00e4\u202e"{}'
    return "".join(choose.choices(alphabet, k=choose.randrange(1, 60)))


async def _send_rubbish(router: RunningRouter, choose: random.Random, count: int) -> None:
    for _ in range(count):
        name = made_up(choose)
        dialect = choose.choice(DIALECTS)
        model = choose.choice((name, f"p1:{name}", f"p1/{name}", f"any/{name}", "m"))
        quoted = "".join(one for one in name if one.isalnum() and one.isascii()) or "x"
        path = choose.choice(
            (CHAT.path(), f"/{quoted}", f"/v1beta/models/p1:{quoted}:generateContent")
        )
        headers = {
            choose.choice(("Authorization", "x-api-key")): f"Bearer {quoted}",
            "x-request-id": quoted,
            "User-Agent": quoted,
        }
        body = dialect.body(model)
        async with router.http.post(path, json=body, headers=headers) as response:
            await response.read()


async def test_names_paths_and_keys_that_clients_make_up_make_no_series(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((CHAT.answer,))
    given = settings(CHAT, upstream.url, circuit_breaker=OFTEN_FAILING)
    given["models"]["any/*"] = {"endpoints": [{"provider": "p1", "model_id": "*"}]}
    router = await start_router(given)
    choose = random.Random(7)
    await _send_rubbish(router, choose, 150)
    before = await scrape(router)
    await _send_rubbish(router, choose, 300)
    after = await scrape(router)
    grown = {key for key in after.keys() - before.keys() if key[0].startswith("bitrouter_")}
    # A protocol or an outcome that had not been seen yet may come to it, of those that there are.
    assert {name for name, _ in grown} <= {REQUESTS}
    assert len(grown) < 5
    routes = {dict(labels).get("route") for name, labels in after if name == REQUESTS}
    assert routes == {"m", "any/*", "other"}
    assert total(after, REQUESTS) == 450
