"""What holds while a stream runs: it is never faked, never outlives its client, never piles up."""

import asyncio
import io
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, GOOGLE, RESPONSES, Dialect, event, settings
from tests.support.faults import attempts_of
from tests.support.rawhttp import connect, post
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

JSON = "Content-Type: application/json"
LIMIT_S = 10


async def begin(router: RunningRouter, dialect: Dialect) -> aiohttp.ClientResponse:
    """Ask for a stream, and wait for its head alone."""
    return await router.http.post(dialect.path(stream=True), json=dialect.body(stream=True))


async def whole_stream(router: RunningRouter, dialect: Dialect) -> bytes:
    """Ask for a stream: all that the client gets."""
    async with await begin(router, dialect) as response:
        assert response.status == 200
        return await response.read()


# -- as it comes ------------------------------------------------------------------------------


async def test_a_stream_is_passed_on_byte_for_byte(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(*dialect.events)
    async with await begin(router, dialect) as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "Content-Length" not in response.headers
        assert await response.read() == b"".join(dialect.events)
    line = await request_log.next_line()
    assert (line["outcome"], line["status"], line["stream"]) == ("ok", 200, True)


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_it_does_not_matter_where_the_upstream_cuts_its_bytes(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, size: int
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    stream = b"".join(dialect.events)
    upstream.script = sse(*(stream[i : i + size] for i in range(0, len(stream), size)))
    assert await whole_stream(router, dialect) == stream


async def test_an_event_reaches_the_client_before_the_next_one_exists(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    go_on = asyncio.Event()
    upstream.script = sse(dialect.events[0], b"".join(dialect.events[1:]), pause=go_on)
    async with await begin(router, dialect) as response, asyncio.timeout(LIMIT_S):
        first = await response.content.readexactly(len(dialect.events[0]))
        assert first == dialect.events[0]
        go_on.set()
        assert await response.read() == b"".join(dialect.events[1:])


async def test_a_connection_serves_the_next_stream_after_one_has_ended(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(*dialect.events)
    for _ in range(3):
        assert await whole_stream(router, dialect) == b"".join(dialect.events)
    assert not upstream.gone.is_set()  # it was one connection, still open


# -- a client that goes away ------------------------------------------------------------------


async def assert_gone(
    upstream: ScriptedUpstream, request_log: RequestLog, router: RunningRouter
) -> None:
    """The upstream's connection is closed, and the request counted as the client's leaving."""
    async with asyncio.timeout(LIMIT_S):
        await upstream.gone.wait()
    line = await request_log.next_line()
    assert line["outcome"] == "client_gone"
    assert router.router.services.metrics.inflight == 0


async def test_a_client_that_leaves_in_the_middle_of_a_stream_ends_the_upstreams_work(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(*dialect.events, pause=asyncio.Event())
    response = await begin(router, dialect)
    await response.content.readexactly(len(dialect.events[0]))
    response.close()
    await assert_gone(upstream, request_log, router)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_client_that_leaves_while_the_upstream_thinks_ends_its_work(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    stream: bool,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    asked, answer = asyncio.Event(), asyncio.Event()

    def script(received: Received) -> Reply:
        asked.set()
        return Reply(wait=answer)

    upstream.script = script
    body = json.dumps(dialect.body(stream=stream)).encode()
    async with connect(router.url) as connection:
        await connection.send(post(dialect.path(stream=stream), body, JSON))
        await asked.wait()
        connection.close()
        line = await request_log.next_line()
    assert line["outcome"] == "client_gone"
    answer.set()  # nobody is there to take it
    async with asyncio.timeout(LIMIT_S):
        await upstream.gone.wait()
    assert router.router.services.metrics.inflight == 0


async def test_a_client_that_leaves_while_a_whole_answer_comes_ends_the_upstreams_work(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    half = len(dialect.answer) // 2
    asked = asyncio.Event()

    def script(received: Received) -> Reply:
        asked.set()
        return Reply((dialect.answer[:half], dialect.answer[half:]), pause=asyncio.Event())

    upstream.script = script
    async with connect(router.url) as connection:
        body = json.dumps(dialect.body()).encode()
        await connection.send(post(dialect.path(), body, JSON))
        await asked.wait()
        connection.close()
        await assert_gone(upstream, request_log, router)


async def test_a_client_that_leaves_is_not_the_upstreams_failure(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = sse(*CHAT.events, pause=asyncio.Event())
    response = await begin(router, CHAT)
    await response.content.readany()
    response.close()
    await assert_gone(upstream, request_log, router)
    metrics = router.router.services.metrics
    assert attempts_of(router) == {("p1:up-1", "ok"): 1}
    tally = metrics.routes["m"].by_endpoint["p1:up-1"]
    assert (tally.total_requests, tally.total_errors) == (1, 0)


# -- a client that is slow --------------------------------------------------------------------

CHUNK = event({"choices": [{"index": 0, "delta": {"content": "x" * 65_000}}]})
CHUNKS = 1000  # 65 MB, several times what the buffers of four sockets hold


class Counted(Sequence[bytes]):
    """A long stream that counts how much of it has been taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __len__(self) -> int:
        return CHUNKS + 1

    def __getitem__(self, index: Any) -> Any:
        self.taken = max(self.taken, index + 1)
        return CHUNK if index < CHUNKS else CHAT.events[-1]

    def __iter__(self) -> Iterator[bytes]:
        return (self[index] for index in range(len(self)))


async def stopped_growing(router: RunningRouter, stream: Counted) -> int:
    """How much was taken when 50 other requests in a row have seen no more being taken."""
    before, same = -1, 0
    while same < 50:
        async with router.http.get("/health") as response:
            assert response.status == 200
        same = same + 1 if stream.taken == before else 0
        before = stream.taken
    return before


async def test_a_client_that_does_not_read_stops_the_upstream(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    stream = Counted()
    upstream.script = Reply(stream, content_type="text/event-stream", chunked=True)
    body = json.dumps(CHAT.body(stream=True)).encode()
    async with connect(router.url) as connection:
        await connection.send(post(CHAT.path(), body, JSON))
        status, headers = await connection.receive_head()
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        assert await stopped_growing(router, stream) < CHUNKS / 2
        # Once it reads, it gets all that there is.
        async with asyncio.timeout(60):
            while not (await connection.receive_some()).endswith(b"0\r\n\r\n"):
                pass
    assert stream.taken == CHUNKS + 1
    assert (await request_log.next_line())["outcome"] == "ok"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_request_of_several_megabytes_passes(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(*dialect.events) if stream else Reply((dialect.answer,))
    body = dialect.body(stream=stream) | {"image": "x" * (4 << 20)}
    sent = io.BytesIO(json.dumps(body).encode())
    headers = {"Content-Type": "application/json"}
    path = dialect.path(stream=stream)
    async with router.http.post(path, data=sent, headers=headers) as response:
        assert response.status == 200
    assert json.loads(upstream.last.body)["image"] == body["image"]


async def test_the_request_is_not_kept_while_its_answer_runs(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = sse(*CHAT.events)
    size = 1_000_000
    go_on = asyncio.Event()

    def script(received: Received) -> Reply:
        assert len(received.body) > size
        object.__setattr__(received, "body", b"")  # the test's own copy
        return sse(*CHAT.events, pause=go_on)

    await whole_stream(router, CHAT)  # whatever is allocated only once
    upstream.script = script
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        fields = CHAT.body(stream=True) | {"user": "x" * size}
        async with connect(router.url) as connection:
            await connection.send(post(CHAT.path(), json.dumps(fields).encode(), JSON))
            del fields
            await connection.receive_until(CHAT.events[0])
            during, peak = tracemalloc.get_traced_memory()
            assert peak - before > size  # the measurement sees such a body
            assert during - before < size / 4
            go_on.set()
            await connection.receive_until(CHAT.events[-1])
    finally:
        tracemalloc.stop()


# -- an upstream that does not finish ---------------------------------------------------------


@pytest.mark.parametrize("cut", [True, False], ids=["broken off", "ended early"])
async def test_a_stream_that_was_cut_ends_with_the_protocols_error_event(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    cut: bool,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    begun = dialect.events[: -dialect.end]
    upstream.script = sse(*begun, cut=cut)
    body = await whole_stream(router, dialect)
    assert body.startswith(b"".join(begun))
    assert dialect.error_in_stream(body)
    for end in dialect.events[-dialect.end :]:
        assert end not in body
    line = await request_log.next_line()
    assert (line["outcome"], line["status"]) == ("truncated", 200)
    tally = router.router.services.metrics.routes["m"].by_endpoint["p1:up-1"]
    assert (tally.total_requests, tally.total_errors) == (1, 1)


async def test_half_an_event_is_never_followed_by_another(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    half = dialect.events[1][: len(dialect.events[1]) // 2]
    upstream.script = sse(dialect.events[0], half, cut=True)
    body = await whole_stream(router, dialect)
    assert dialect.error_in_stream(body)
    *events, _ = body.removesuffix(b"\n\n").split(b"\n\n")
    assert events == [dialect.events[0].removesuffix(b"\n\n")]


async def test_a_stream_that_stalls_ends_with_an_error_event_that_names_the_timer(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url, timeouts={"idle": "200ms"}))
    upstream.script = sse(*dialect.events, pause=asyncio.Event())
    body = await whole_stream(router, dialect)
    assert body.startswith(dialect.events[0])
    assert "timeouts.idle: 0.2 s" in dialect.error_in_stream(body)
    assert (await request_log.next_line())["outcome"] == "timeout:idle"
    async with asyncio.timeout(LIMIT_S):
        await upstream.gone.wait()


async def test_a_stream_that_lasts_too_long_ends_with_an_error_event_though_it_is_not_idle(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(CHAT, upstream.url, timeouts={"stream_total": "300ms"}))

    class Endless(Counted):
        def __len__(self) -> int:
            return 1 << 40

        def __getitem__(self, index: Any) -> Any:
            return CHAT.events[1]

    upstream.script = Reply(Endless(), content_type="text/event-stream", chunked=True)
    async with asyncio.timeout(LIMIT_S):
        body = await whole_stream(router, CHAT)
    assert "timeouts.stream_total: 0.3 s" in CHAT.error_in_stream(body)
    assert (await request_log.next_line())["outcome"] == "timeout:stream_total"


async def test_a_providers_own_error_event_passes_as_it_is_and_counts_as_its_error(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    events = (dialect.events[0], dialect.error_event("we are overloaded"))
    upstream.script = sse(*events)
    assert await whole_stream(router, dialect) == b"".join(events)
    assert (await request_log.next_line())["outcome"] == "upstream_error"


async def test_an_event_beyond_the_limit_ends_the_stream(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    limits = {"max_event_bytes": "64KiB"}
    router = await start_router(settings(dialect, upstream.url, limits=limits))
    upstream.script = sse(dialect.events[0], b"data: " + b"x" * 100_000, cut=True)
    body = await whole_stream(router, dialect)
    assert "limits.max_event_bytes" in dialect.error_in_stream(body)
    assert (await request_log.next_line())["outcome"] == "upstream_error"


# -- an upstream that has finished and does not say so ----------------------------------------


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, ANTHROPIC], ids=lambda one: one.name)
async def test_an_answer_ends_soon_after_its_end_marker_though_the_upstream_stays_connected(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(b"".join(dialect.events), b": \n\n", pause=asyncio.Event())
    async with asyncio.timeout(LIMIT_S):  # and not the minute of timeouts.idle
        assert await whole_stream(router, dialect) == b"".join(dialect.events)
    assert (await request_log.next_line())["outcome"] == "ok"


async def test_a_google_answer_whose_end_was_seen_is_whole_though_the_upstream_falls_silent(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(GOOGLE, upstream.url, timeouts={"idle": "200ms"}))
    upstream.script = sse(b"".join(GOOGLE.events), b": \n\n", pause=asyncio.Event())
    assert await whole_stream(router, GOOGLE) == b"".join(GOOGLE.events)
    assert (await request_log.next_line())["outcome"] == "ok"


async def test_an_answer_whose_end_was_seen_is_whole_though_the_connection_breaks(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(*dialect.events, cut=True)
    assert await whole_stream(router, dialect) == b"".join(dialect.events)
    assert (await request_log.next_line())["outcome"] == "ok"


# -- the other framings of google -------------------------------------------------------------

ELEMENTS = [one.removeprefix(b"data: ").removesuffix(b"\n\n") for one in GOOGLE.events]


async def test_a_google_stream_without_alt_is_a_json_array(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(GOOGLE, upstream.url))
    array = b"[" + b",\r\n".join(ELEMENTS) + b"]"
    upstream.script = Reply([array[i : i + 50] for i in range(0, len(array), 50)], chunked=True)
    path = "/v1beta/models/m:streamGenerateContent"
    async with router.http.post(path, json=GOOGLE.body()) as response:
        assert response.content_type == "application/json"
        assert await response.read() == array
    assert upstream.last.target == "/v1beta/models/up-1:streamGenerateContent"


async def test_a_google_array_that_was_cut_still_is_json_and_ends_with_an_error(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(GOOGLE, upstream.url))
    upstream.script = Reply((b"[" + ELEMENTS[0], b"," + ELEMENTS[1][:20]), chunked=True, cut=True)
    path = "/v1beta/models/m:streamGenerateContent"
    async with router.http.post(path, json=GOOGLE.body()) as response:
        first, last = json.loads(await response.read())
    assert first == json.loads(ELEMENTS[0])
    assert list(last) == ["error"]
    assert (await request_log.next_line())["outcome"] == "truncated"


async def test_a_google_stream_asked_for_in_the_body_is_one_element_a_line(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(GOOGLE, upstream.url))
    upstream.script = sse(*GOOGLE.events)
    async with router.http.post(GOOGLE.path(), json=GOOGLE.body() | {"stream": True}) as response:
        assert response.content_type == "application/x-ndjson"
        assert (await response.read()).splitlines() == ELEMENTS
    assert upstream.last.target == "/v1beta/models/up-1:streamGenerateContent?alt=sse"
    assert "stream" not in json.loads(upstream.last.body)
