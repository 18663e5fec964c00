"""When an endpoint is asked again, for how long it is waited, and who is told what in the end."""

import asyncio
import dataclasses
import email.utils
import json
import logging
import time

import pytest

from bitrouter.upstream import failover
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, Dialect, settings
from tests.support.faults import LIMIT_S, NEVER, ask, attempts_of, complete, error, in_turn
from tests.support.rawhttp import connect, post
from tests.support.rawserver import http, one_request, server
from tests.support.requestlog import RequestLog
from tests.support.upstream import Reply, ScriptedUpstream

JSON = "Content-Type: application/json"
WHOLE = complete(CHAT, stream=False)


# -- a pooled connection that was closed ------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("abort", [False, True], ids=["closed", "reset"])
async def test_a_pooled_connection_that_dies_unheard_is_replaced_without_a_word(
    start_router: StartRouter, dialect: Dialect, abort: bool
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await one_request(reader)
        writer.write(http(dialect.answer))
        await one_request(reader)
        if abort:
            writer.transport.abort()

    async with server(serve) as url:
        router = await start_router(settings(dialect, url))
        for _ in range(3):
            got = await ask(router, dialect)
            assert (got.status, got.body, got.attempts) == (200, dialect.answer, 1)
    assert connections == 3
    assert attempts_of(router) == {("p1:up-1", "ok"): 3}


@pytest.mark.usefixtures("way")
async def test_it_is_replaced_by_a_new_one_and_not_by_another_of_the_pool(
    start_router: StartRouter,
) -> None:
    together = asyncio.Event()
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await one_request(reader)
        if connections == 3:
            together.set()
        await together.wait()
        writer.write(http(CHAT.answer))
        await one_request(reader)  # and this one dies of it

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url))
        await asyncio.gather(*(ask(router, CHAT) for _ in range(3)))
        got = await ask(router, CHAT)
    assert (got.status, got.attempts, connections) == (200, 1, 4)


async def test_a_new_connection_that_dies_is_an_attempt(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = in_turn(None, WHOLE)
    got = await ask(router, CHAT)
    assert (got.status, got.attempts) == (200, 2)
    assert attempts_of(router) == {("p1:up-1", "reset"): 1, ("p1:up-1", "ok"): 1}


@pytest.mark.usefixtures("way")
async def test_a_pooled_connection_that_dies_within_the_head_is_an_attempt(
    start_router: StartRouter,
) -> None:
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while True:
            await one_request(reader)
            requests += 1
            if requests == 2:
                writer.write(http(CHAT.answer)[:40])
                return
            writer.write(http(CHAT.answer))

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url))
        assert (await ask(router, CHAT)).attempts == 1
        got = await ask(router, CHAT)
    assert (got.status, got.attempts, requests) == (200, 2, 3)


async def test_an_idle_connection_is_closed_before_the_provider_would_close_it(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, timeouts={"pool_idle": "100ms"}))
    upstream.script = WHOLE
    await ask(router, CHAT)
    async with asyncio.timeout(LIMIT_S):
        await upstream.gone.wait()


async def test_each_provider_has_its_own_time_for_idle_connections(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url)
    given["providers"]["p1"]["timeouts"] = {"pool_idle": "100ms"}
    router = await start_router(given)
    upstream.script = Reply(status=404)
    second_upstream.script = WHOLE
    body = CHAT.body() | {"model": "p2:up-1"}
    async with asyncio.timeout(LIMIT_S):
        for path, asked in ((CHAT.path(), body), (CHAT.path(), CHAT.body())):
            async with router.http.post(path, json=asked) as response:
                await response.read()
        await upstream.gone.wait()
        async with router.http.post(CHAT.path(), json=body) as response:
            await response.read()

    assert (second_upstream.gone.is_set(), second_upstream.connections) == (False, 1)


# -- Retry-After ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "0"},
        {"retry-after": "0.03"},
        {"retry-after-ms": "30"},
        {"retry-after": "900", "retry-after-ms": "30"},
    ],
    ids=str,
)
async def test_a_short_retry_after_is_obeyed_in_every_spelling(
    start_router: StartRouter, upstream: ScriptedUpstream, headers: dict[str, str]
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = in_turn(error(429, headers=headers), WHOLE)
    got = await ask(router, CHAT)
    assert (got.status, got.attempts) == (200, 2)


@pytest.mark.parametrize("spelling", ["seconds", "date"])
async def test_a_long_retry_after_is_handed_on_and_until_then_nobody_is_bothered(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
    spelling: str,
) -> None:
    router = await start_router(settings(dialect, upstream.url, second_upstream.url))
    at = email.utils.formatdate(time.time() + 60, usegmt=True)
    said = "60" if spelling == "seconds" else at
    upstream.script = second_upstream.script = error(429, headers={"retry-after": said})
    got = await ask(router, dialect)
    assert (got.status, got.headers["retry-after"], got.attempts) == (429, said, 2)
    got = await ask(router, dialect)
    status = 529 if dialect.name == "anthropic" else 503
    assert got.status == status
    assert "resting" in dialect.error(got.body, status)
    assert 40 < int(got.headers["retry-after"]) <= 60
    assert len(upstream.received) == len(second_upstream.received) == 1


@pytest.mark.parametrize(
    "said",
    ["-1", "soon", "1e3", "NaN", "0x10", "99999999", "Thu, 01 Jan 1970 00:00:00 GMT", "\u0661", ""],
)
async def test_a_retry_after_that_makes_no_sense_is_dropped(
    start_router: StartRouter, upstream: ScriptedUpstream, said: str
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = error(429, headers={"retry-after": said, "retry-after-ms": said})
    got = await ask(router, CHAT)
    assert (got.status, got.attempts) == (429, 1)
    assert "retry-after" not in got.headers
    assert "retry-after-ms" not in got.headers
    assert router.router.services.state_of("p1:up-1").value == "resting"


# -- how much there may be of it --------------------------------------------------------------


async def test_repeats_are_a_small_part_of_the_requests(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    breaker = {"failures": 1000}
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker=breaker))
    upstream.script = error(500)
    for _ in range(9):
        assert (await ask(router, CHAT)).status == 500
    assert len(upstream.received) == 9 + 3


async def test_the_budget_follows_a_reload(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, circuit_breaker={"failures": 1000})
    router = await start_router(given)
    router.configure(given | {"retry": {"budget_ratio": 1}})
    async with router.http.post("/admin/reload") as response:
        assert response.status == 200
    upstream.script = error(500)
    for _ in range(8):
        await ask(router, CHAT)
    assert len(upstream.received) == 8 * 2


async def test_a_client_that_leaves_during_the_pause_is_not_worked_for(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failover, "_PAUSE_S", (600.0, 600.0))
    router = await start_router(settings(CHAT, upstream.url, timeouts={"total": "2h"}))
    upstream.script = in_turn(error(500), WHOLE)
    failed = asyncio.Event()

    def note(endpoint: str, result: str) -> None:
        failed.set()

    monkeypatch.setattr(router.router.services.metrics, "record_attempt", note)
    async with connect(router.url) as connection, asyncio.timeout(LIMIT_S):
        await connection.send(post(CHAT.path(), json.dumps(CHAT.body()).encode(), JSON))
        await failed.wait()
        connection.close()
        line = await request_log.next_line()
    assert (line["outcome"], len(upstream.received)) == ("client_gone", 1)
    assert router.router.services.metrics.inflight == 0


async def test_a_client_that_leaves_while_a_connection_is_made_is_not_worked_for(
    start_router: StartRouter, request_log: RequestLog
) -> None:
    connected, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()  # and never a word of TLS
        gone.set()

    async with server(serve, "https") as url:
        router = await start_router(settings(CHAT, url, timeouts={"connect": "1h"}))
        async with connect(router.url) as connection, asyncio.timeout(LIMIT_S):
            await connection.send(post(CHAT.path(), json.dumps(CHAT.body()).encode(), JSON))
            await connected.wait()
            connection.close()
            await gone.wait()
    assert (await request_log.next_line())["outcome"] == "client_gone"


# -- timers -----------------------------------------------------------------------------------


async def test_a_connection_that_is_not_secured_in_time_goes_to_the_fallback(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # and never a word of TLS

    upstream.script = WHOLE
    async with server(serve, "https") as url:
        given = settings(CHAT, url, upstream.url, timeouts={"connect": "200ms"})
        router = await start_router(given)
        got = await ask(router, CHAT)
        assert (got.status, got.provider, got.attempts) == (200, "p2", 2)
        assert attempts_of(router)["p1:up-1", "timeout:connect"] == 1


async def test_a_connection_that_is_not_secured_in_time_is_a_504_that_names_the_timer(
    start_router: StartRouter, request_log: RequestLog, dialect: Dialect
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(serve, "https") as url:
        router = await start_router(settings(dialect, url, timeouts={"connect": "200ms"}))
        got = await ask(router, dialect)
    assert got.status == 504
    assert "timeouts.connect: 0.2 s" in dialect.error(got.body, 504)
    assert (await request_log.next_line())["outcome"] == "timeout:connect"


@pytest.mark.usefixtures("way")
async def test_a_head_that_comes_byte_by_byte_has_an_end(
    start_router: StartRouter, stream: bool
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url, timeouts={"first_byte": "300ms"}))
        got = await ask(router, CHAT, stream=stream)
    assert got.status == 504
    assert "timeouts.first_byte: 0.3 s" in CHAT.error(got.body, 504)


@pytest.mark.usefixtures("way")
async def test_a_body_that_comes_byte_by_byte_has_an_end(
    start_router: StartRouter, request_log: RequestLog, dialect: Dialect
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
        writer.write(head)
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    timers = {"first_byte": "200ms", "idle": "200ms", "total": "400ms"}
    async with server(serve) as url:
        router = await start_router(settings(dialect, url, timeouts=timers))
        got = await ask(router, dialect)
    assert got.status == 504
    assert "timeouts.total: 0.4 s" in dialect.error(got.body, 504)
    assert (await request_log.next_line())["outcome"] == "timeout:total"


async def test_all_attempts_together_have_an_end(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    stream: bool,
) -> None:
    timers = {"first_byte": "300ms", "total": "400ms"}
    urls = (upstream.url, second_upstream.url)
    router = await start_router(settings(CHAT, *urls, timeouts=timers))
    upstream.script = second_upstream.script = Reply(wait=NEVER)
    got = await ask(router, CHAT, stream=stream)
    assert got.status == 504
    assert "timeouts.total: 0.4 s" in CHAT.error(got.body, 504)
    assert (await request_log.next_line())["outcome"] == "timeout:total"
    assert attempts_of(router) == {
        ("p1:up-1", "timeout:first_byte"): 1,
        ("p2:up-1", "timeout:total"): 1,
    }


@pytest.mark.parametrize("where", ["everywhere", "for the route"])
async def test_a_deadline_bounds_all_attempts_whatever_each_of_them_may_take(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    stream: bool,
    where: str,
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url, timeouts={"first_byte": "300ms"})
    owner = given if where == "everywhere" else given["models"]["m"]
    owner["timeouts"] = {**owner.get("timeouts", {}), "deadline": "400ms"}
    router = await start_router(given)
    upstream.script = second_upstream.script = Reply(wait=NEVER)
    got = await ask(router, CHAT, stream=stream)
    assert got.status == 504
    assert "timeouts.deadline: 0.4 s" in CHAT.error(got.body, 504)
    assert (await request_log.next_line())["outcome"] == "timeout:deadline"
    assert attempts_of(router) == {
        ("p1:up-1", "timeout:first_byte"): 1,
        ("p2:up-1", "timeout:deadline"): 1,
    }


@pytest.mark.usefixtures("way")
async def test_a_body_that_drips_has_its_end_at_the_deadline(
    start_router: StartRouter, request_log: RequestLog
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
        writer.write(head)
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url, timeouts={"deadline": "300ms"}))
        got = await ask(router, CHAT)
    assert "timeouts.deadline: 0.3 s" in CHAT.error(got.body, 504)
    assert (await request_log.next_line())["outcome"] == "timeout:deadline"


async def test_the_last_attempt_does_not_have_all_of_the_time_again(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    timers = {"first_byte": "900ms", "total": "1s"}
    urls = (upstream.url, second_upstream.url)
    router = await start_router(settings(CHAT, *urls, timeouts=timers))
    upstream.script = Reply(wait=NEVER)
    late = asyncio.Event()  # within a second of its head, and not of the request
    asyncio.get_running_loop().call_later(1.5, late.set)
    second_upstream.script = Reply((CHAT.answer[:9], CHAT.answer[9:]), pause=late)
    got = await ask(router, CHAT)
    assert got.status == 504
    assert "timeouts.total: 1 s" in CHAT.error(got.body, 504)


async def test_a_stream_that_does_not_begin_ends_with_the_time_of_all_attempts(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    timers = {"first_byte": "300ms", "total": "400ms"}
    router = await start_router(settings(dialect, upstream.url, upstream.url, timeouts=timers))
    upstream.script = Reply(
        (b": thinking\n\n", b"x"), content_type="text/event-stream", chunked=True, pause=NEVER
    )
    got = await ask(router, dialect, stream=True)
    assert got.status == 504
    assert "timeouts.total: 0.4 s" in dialect.error(got.body, 504)


async def test_a_route_has_timers_of_its_own(
    start_router: StartRouter, upstream: ScriptedUpstream, stream: bool
) -> None:
    given = settings(CHAT, upstream.url)
    given["providers"]["p1"]["timeouts"] = {"first_byte": "250ms"}
    patient = dict(given["models"]["m"], timeouts={"first_byte": "60s"})
    hasty = dict(given["models"]["m"], timeouts={"first_byte": "200ms"})
    given["models"] |= {"patient": patient, "hasty/*": hasty}
    router = await start_router(given)
    upstream.script = Reply(wait=NEVER)
    for model, limit in (("m", "0.25"), ("hasty/x", "0.2")):
        got = await ask(router, CHAT, stream=stream, model=model)
        assert f"timeouts.first_byte: {limit} s" in CHAT.error(got.body, 504)
    slow = asyncio.Event()
    asyncio.get_running_loop().call_later(0.4, slow.set)
    upstream.script = dataclasses.replace(complete(CHAT, stream=stream), wait=slow)
    got = await ask(router, CHAT, stream=stream, model="patient")
    assert got.status == 200


async def test_the_silence_that_a_route_bears_in_a_stream_is_its_own(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    given = settings(dialect, upstream.url)
    given["models"]["m"]["timeouts"] = {"idle": "200ms"}
    router = await start_router(given)
    upstream.script = dataclasses.replace(complete(dialect, stream=True), pause=NEVER)
    got = await ask(router, dialect, stream=True)
    assert "timeouts.idle: 0.2 s" in dialect.error_in_stream(got.body)


# -- the router's own account -----------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_an_endpoint_that_refuses_our_key_raises_an_alarm_and_rests(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    router = await start_router(settings(CHAT, upstream.url, second_upstream.url))
    upstream.script = error(status)
    second_upstream.script = WHOLE
    for number_of_attempts in (2, 1, 1):
        got = await ask(router, CHAT)
        assert (got.status, got.provider, got.attempts) == (200, "p2", number_of_attempts)
    alarms = [one for one in caplog.records if one.levelno == logging.ERROR]
    shown = 502 if status == 402 else status
    assert [one.getMessage() for one in alarms] == [
        f"attempt at p1:up-1 failed: the provider answered with status {shown}"
    ]
    assert router.router.services.state_of("p1:up-1").value == "resting"


async def test_with_nobody_else_to_ask_it_is_asked_in_its_rest(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = in_turn(error(401), WHOLE)
    assert (await ask(router, CHAT)).status == 401
    assert (await ask(router, CHAT)).status == 200


async def test_an_account_without_money_is_not_the_clients_to_pay_for(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = error(402)
    got = await ask(router, dialect, stream=stream)
    assert got.status == 502
    assert "for the router's operator to mend" in dialect.error(got.body, 502)


async def test_a_stream_that_begins_with_a_refused_key_does_not_blame_the_clients(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    failure = {"message": "Incorrect API key provided: key-up", "code": "invalid_api_key"}
    told = {"error": failure | {"type": "authentication_error"}}
    upstream.script = Reply(
        (f"data: {json.dumps(told)}\n\n".encode(),), content_type="text/event-stream"
    )
    got = await ask(router, CHAT, stream=True)
    assert got.status == 502
    assert CHAT.error(got.body, 502).endswith("it refused the router's own credential")


# -- what every attempt has -------------------------------------------------------------------


async def test_every_attempt_sends_the_same_bytes(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, second_upstream.url))
    upstream.script = error(500)
    second_upstream.script = WHOLE
    body = b'{ "model":"m", "x": [1.0, 1E2, "\\u00e9"],  "messages": [ ] }'
    async with router.http.post(
        CHAT.path(), data=body, headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 200
    sent = [one.body for one in (*upstream.received, *second_upstream.received)]
    assert sent == [body.replace(b'"m"', b'"up-1"')] * 3


@pytest.mark.usefixtures("way")
async def test_a_redirect_is_not_followed_and_is_a_502(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = Reply((), status=308, headers={"Location": upstream.url + "/elsewhere"})
    got = await ask(router, dialect, stream=stream)
    assert got.status == 502
    assert "status 308" in dialect.error(got.body, 502)
    assert len(upstream.received) == 1


async def test_failed_attempts_are_counted_as_attempts_and_the_request_once(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, second_upstream.url))
    upstream.script = error(500)
    second_upstream.script = WHOLE
    await ask(router, CHAT)
    async with router.http.get("/metrics") as response:
        snapshot = await response.json()
    route = snapshot["routes"]["m"]
    assert (route["total_requests"], route["total_errors"]) == (1, 0)
    assert list(route["by_endpoint"]) == ["p2:up-1"]
    assert len(upstream.received) == 2
