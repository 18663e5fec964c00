"""What a client gets of a stream that goes wrong after it has begun well."""

import asyncio
from itertools import product

import aiohttp
import pytest

from bitrouter.server import keepalive
from tests.conftest import StartRouter
from tests.support.answers import events_of, read_stream
from tests.support.dialects import CHAT, DIALECTS, Dialect, settings
from tests.support.rawserver import one_request, server
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream, sse

LIMIT_S = 10
each_client = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)
each_cell = pytest.mark.parametrize(
    ("dialect", "spoken"),
    list(product(DIALECTS, DIALECTS)),
    ids=lambda one: one.name,
)
BROKEN = b'data: {"choices":[{"del\n\n'


async def begin(router: RunningRouter, dialect: Dialect) -> aiohttp.ClientResponse:
    return await router.http.post(dialect.path(stream=True), json=dialect.body(stream=True))


async def whole_stream(router: RunningRouter, dialect: Dialect) -> bytes:
    async with asyncio.timeout(LIMIT_S), await begin(router, dialect) as response:
        assert response.status == 200
        return await response.read()


# -- the answer is there, and something about it is not right ---------------------------------


@each_cell
@pytest.mark.usefixtures("way")
async def test_an_event_that_is_no_json_is_left_out(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    first, *others = spoken.events
    upstream.script = sse(BROKEN, first, BROKEN, *others)

    body = await whole_stream(router, dialect)

    if dialect is spoken:
        assert body == b"".join(spoken.events)
    else:
        told = read_stream(dialect, body)
        assert (told.text, told.ended) == ("Hello there", True)
    assert (await request_log.next_line())["outcome"] == "ok"


@each_cell
@pytest.mark.usefixtures("way")
async def test_an_end_marker_that_is_missing_is_made_up_for(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    marker = spoken.name in ("chat", "anthropic")
    upstream.script = sse(*(spoken.events[:-1] if marker else spoken.events))

    body = await whole_stream(router, dialect)

    if dialect is spoken:
        assert events_of(body) == events_of(b"".join(spoken.events))
        assert body.count(b"data: [DONE]\n\n") == (dialect.name == "chat")
    else:
        told = read_stream(dialect, body)
        assert (told.text, told.ended) == ("Hello there", True)
    assert (await request_log.next_line())["outcome"] == "ok"


# -- bytes that are no chunks -----------------------------------------------------------------


@pytest.mark.parametrize("wrong", [b"zz\r\n", b"0x5\r\nhello\r\n", b"5\r\nhello!!"], ids=repr)
@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda one: one.name)
async def test_broken_framing_ends_a_stream_without_waiting_for_the_timer(
    start_router: StartRouter, request_log: RequestLog, spoken: Dialect, wrong: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for piece in (*(b"%x\r\n%b\r\n" % (len(one), one) for one in spoken.events[:2]), wrong):
            writer.write(piece)
            await asyncio.sleep(0.01)  # so that each comes by itself
        await reader.read()  # the end

    async with server(answer) as url:
        router = await start_router(settings(spoken, url, timeouts={"idle": "1h"}))
        body = await whole_stream(router, spoken)

    assert spoken.error_in_stream(body) == "the upstream broke off its answer"
    assert (await request_log.next_line())["outcome"] == "truncated"


# -- silence ----------------------------------------------------------------------------------

SILENT = "the upstream did not answer in time (timeouts.idle: 0.3 s)"


@each_cell
@pytest.mark.usefixtures("way")
async def test_a_stall_is_an_error_event_that_names_the_timer(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url, timeouts={"idle": "300ms"}))
    upstream.script = sse(*spoken.events[:-1], pause=asyncio.Event())

    body = await whole_stream(router, dialect)

    assert dialect.error_in_stream(body) == SILENT
    assert (await request_log.next_line())["outcome"] == "timeout:idle"


@each_cell
@pytest.mark.usefixtures("way")
async def test_comments_are_no_sign_that_the_answer_goes_on(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, spoken: Dialect
) -> None:
    router = await start_router(settings(spoken, upstream.url, timeouts={"idle": "300ms"}))
    upstream.script = sse(spoken.events[0], *[b": thinking\n\n"] * 200, gap_s=0.05)

    body = await whole_stream(router, dialect)

    assert dialect.error_in_stream(body) == SILENT


@each_client
async def test_a_silent_stream_shows_that_it_is_alive(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    monkeypatch: pytest.MonkeyPatch,
    dialect: Dialect,
) -> None:
    monkeypatch.setattr(keepalive, "_EVERY_S", 0.05)
    router = await start_router(settings(dialect, upstream.url, timeouts={"idle": "500ms"}))
    upstream.script = sse(*dialect.events[:-1], pause=asyncio.Event())
    sign = {
        "chat": b": keep-alive\n\n",
        "responses": b": keep-alive\n\n",
        "anthropic": b'event: ping\ndata: {"type": "ping"}\n\n',
    }.get(dialect.name)

    body = await whole_stream(router, dialect)

    assert dialect.error_in_stream(body).endswith("(timeouts.idle: 0.5 s)")
    if sign is None:
        assert len(events_of(body)) == 2  # the first of the answer, and the error
    else:
        assert body.startswith(dialect.events[0] + sign)
        assert 2 <= body.count(sign) <= 12


async def test_a_stream_that_is_not_silent_has_no_signs_of_life(
    start_router: StartRouter, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepalive, "_EVERY_S", 1.0)
    router = await start_router(settings(CHAT, upstream.url))
    events = (CHAT.events[0], *[CHAT.events[1]] * 60, *CHAT.events[2:])
    upstream.script = sse(*events, gap_s=0.02)

    assert await whole_stream(router, CHAT) == b"".join(events)


# -- the router is stopped --------------------------------------------------------------------


@each_cell
async def test_what_has_not_ended_when_the_drain_is_over_is_told_so(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url, timeouts={"drain": "50ms"}))
    upstream.script = sse(*spoken.events[:-1], pause=asyncio.Event())

    async with asyncio.timeout(LIMIT_S), await begin(router, dialect) as response:
        await router.router.drain()
        body = await response.read()

    assert "the router was stopped" in dialect.error_in_stream(body)
    assert (await request_log.next_line())["outcome"] == "refused"


@each_client
async def test_what_waits_for_its_answer_then_is_refused(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url, timeouts={"drain": "50ms"}))
    upstream.script = sse(b"", wait=asyncio.Event())
    asked = asyncio.create_task(begin(router, dialect))
    async with asyncio.timeout(LIMIT_S):
        await upstream.wait_for_request()
        await router.router.drain()
        async with await asked as response:
            status = 529 if dialect.name == "anthropic" else 503
            assert response.status == status
            assert "the router was stopped" in dialect.error(await response.read(), status)


@each_client
async def test_what_ends_in_time_is_not_disturbed(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url, timeouts={"drain": "5s"}))
    pause = asyncio.Event()
    upstream.script = sse(*dialect.events, pause=pause)

    async with asyncio.timeout(LIMIT_S), await begin(router, dialect) as response:
        draining = asyncio.create_task(router.router.drain())
        await asyncio.sleep(0)
        pause.set()
        assert await response.read() == b"".join(dialect.events)
        await draining
