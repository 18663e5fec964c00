"""What is told of an error, to the client and in the log: no more than is its business."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from bitrouter.sse import SSEDecoder, SSEEvent
from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, GOOGLE, RESPONSES, Dialect, settings
from tests.support.faults import LIMIT_S, NEVER, ask, complete
from tests.support.rawhttp import connect, post
from tests.support.requestlog import RequestLog
from tests.support.upstream import ScriptedUpstream, sse

JSON = "Content-Type: application/json"
PROMPT = "what-the-client-has-said"


class Fault(Exception):
    """A fault of the router's own, whose text could hold anything."""

    def __init__(self) -> None:
        super().__init__(f"cannot handle {PROMPT!r}")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All that is logged, from the least important on."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


async def test_a_fault_of_our_own_is_a_500_that_does_not_show_it(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    told: pytest.LogCaptureFixture,
    dialect: Dialect,
    stream: bool,
) -> None:
    router = await start_router(settings(dialect, upstream.url))

    async def fails(provider: object) -> None:
        raise Fault

    router.router.services.find_target = fails  # type: ignore[assignment]  # it never returns
    told.clear()
    got = await ask(router, dialect, stream=stream)
    assert got.status == 500
    assert dialect.error(got.body, 500) == "an error of the router's own"
    assert got.headers["x-bitrouter-error-source"] == "router"
    line = await request_log.next_line()
    assert (line["outcome"], line["status"]) == ("internal_error", 500)
    errors = [one for one in told.records if one.levelno >= logging.WARNING]
    assert [one.getMessage() for one in errors] == [f"request {line['request_id']} failed"]
    assert PROMPT not in "".join(map(str, request_log.lines))


async def test_a_fault_of_our_own_within_a_stream_breaks_the_connection_off(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    told: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = sse(*CHAT.events, pause=(go_on := asyncio.Event()))
    body = json.dumps(CHAT.body(stream=True)).encode()
    async with connect(router.url) as connection:
        await connection.send(post(CHAT.path(), body, JSON))
        await connection.receive_until(CHAT.events[0])

        def fails(decoder: SSEDecoder, chunk: bytes) -> list[SSEEvent]:
            raise Fault

        monkeypatch.setattr(SSEDecoder, "feed", fails)
        go_on.set()
        rest = await connection.receive_rest()
    assert not rest.endswith(b"0\r\n\r\n")  # which would say that all is there
    assert PROMPT.encode() not in rest
    line = await request_log.next_line()
    assert line["outcome"] == "internal_error"
    errors = [one.getMessage() for one in told.records if one.levelno >= logging.WARNING]
    assert errors == [f"request {line['request_id']} failed"]
    async with asyncio.timeout(LIMIT_S):
        await upstream.gone.wait()


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"model": []}',
    b'{"model": NaN}',
    b'{"model": "m", "model": "m"}',
    b'{"model": "\\ud800"}',
    b'{"model": "m\\u0000"}',
    b'{"model": ' + b"9" * 5000 + b"}",
    b'{"model": "m", "x": ' + b"[" * 100_000,
    b'\xff{"model": "m"}',
]


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, ANTHROPIC], ids=lambda one: one.name)
async def test_a_malformed_request_is_the_clients_error_and_one_line(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    told: pytest.LogCaptureFixture,
    dialect: Dialect,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    told.clear()
    for body in MALFORMED:
        async with router.http.post(
            dialect.path(), data=body, headers={"Content-Type": "application/json"}
        ) as response:
            assert 400 <= response.status < 500, body[:24]
            assert dialect.error(await response.read(), response.status)
        assert (await request_log.next_line())["outcome"] == "client_error"
    assert [one for one in told.records if one.name.startswith("bitrouter")] == []
    assert len(request_log.lines) == len(MALFORMED)
    assert upstream.received == []


async def test_an_answer_that_cannot_be_had_is_one_line_for_each_attempt_and_one_for_the_request(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    told: pytest.LogCaptureFixture,
    dialect: Dialect,
) -> None:
    timers = {"first_byte": "200ms"}
    router = await start_router(settings(dialect, upstream.url, timeouts=timers))
    upstream.script = sse(b": \n\n", *dialect.events, pause=NEVER)
    told.clear()
    assert (await ask(router, dialect, stream=True)).status == 504
    lines = [one.getMessage() for one in told.records if one.name == "bitrouter"]
    assert lines == [
        "attempt at p1:up-1 failed: the upstream did not answer in time"
        " (timeouts.first_byte: 0.2 s)"
    ]
    assert len(request_log.lines) == 1


@pytest.mark.parametrize("dialect", [GOOGLE], ids=lambda one: one.name)
async def test_after_an_error_the_router_is_as_it_was(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    find_target = router.router.services.find_target

    async def fails(provider: object) -> None:
        raise Fault

    router.router.services.find_target = fails  # type: ignore[assignment]  # it never returns
    assert (await ask(router, dialect)).status == 500
    router.router.services.find_target = find_target
    upstream.script = complete(dialect, stream=False)
    assert (await ask(router, dialect)).status == 200
    assert router.router.services.metrics.inflight == 0
