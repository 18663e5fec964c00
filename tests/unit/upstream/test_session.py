"""Calls to a provider over real sockets, and what becomes of everything that can go wrong."""

import asyncio
import contextlib
import socket
import types
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import msgspec
import pytest

from bitrouter.config.schema import Duration, Limits, Size, Timeouts
from bitrouter.errors import BadResponse, ConnectFailed, UpstreamError, UpstreamTimeout
from bitrouter.protocols.base import Destination, UpstreamCall
from bitrouter.upstream.response import UpstreamResponse
from bitrouter.upstream.session import Upstream
from tests.support.upstream import Reply, ScriptedUpstream, sse

SHORT = Duration(0.05)
TIMEOUTS = Timeouts()


@pytest.fixture(params=[True, False], ids=["lane", "ordinary"])
async def session(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    session = Upstream(Limits(max_header_bytes=Size(8192)), by_lane=request.param)
    yield session
    await session.close()


def call(upstream: ScriptedUpstream, path: str = "/v1/x", body: bytes = b"{}") -> UpstreamCall:
    return call_to(upstream.url + path, {"Authorization": "Bearer k"}, {"X-Test": "1"}, body)


def call_to(
    url: str,
    headers: Mapping[str, str] = types.MappingProxyType({}),
    own: Mapping[str, str] = types.MappingProxyType({}),
    body: bytes = b"{}",
) -> UpstreamCall:
    return UpstreamCall(Destination(url, headers), own, body)


async def open_answer(
    session: Upstream,
    upstream: ScriptedUpstream,
    timeouts: Timeouts = TIMEOUTS,
    *,
    stream: bool = False,
) -> UpstreamResponse:
    return await session.open(call(upstream), timeouts, stream=stream)


async def test_call_goes_out_as_it_was_planned(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    body = '{"ä": 1.0}'.encode()

    answer = await session.open(call(upstream, "/v1/a%2Fb?x=%20&y", body), TIMEOUTS, stream=False)
    assert await answer.read_body(100) == b"{}"
    answer.release()

    received = upstream.last
    assert (received.method, received.target, received.body) == ("POST", "/v1/a%2Fb?x=%20&y", body)
    assert received.headers.keys() == {"host", "x-test", "authorization", "content-length"}


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 5_000_000])
async def test_large_body_goes_out_as_it_is_with_its_length(
    session: Upstream, upstream: ScriptedUpstream, size: int
) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    answer = await session.open(call(upstream, body=body), TIMEOUTS, stream=False)
    answer.close()

    assert upstream.last.body == body
    assert upstream.last.headers.keys() == {"host", "x-test", "authorization", "content-length"}


async def test_status_headers_and_type_are_there_with_the_head(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply(status=418, content_type="Text/Event-Stream; charset=utf-8")

    answer = await open_answer(session, upstream)

    assert (answer.status, answer.content_type) == (418, "text/event-stream")
    answer.close()


async def test_released_connection_serves_again_and_a_closed_one_does_not(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    for _ in range(3):
        answer = await open_answer(session, upstream)
        await answer.read_body(100)
        answer.release()
    assert not upstream.gone.is_set()

    upstream.script = Reply((b"{", b"}"), pause=asyncio.Event())
    (await open_answer(session, upstream)).close()
    async with asyncio.timeout(5):
        await upstream.gone.wait()


async def test_body_comes_whole_however_it_is_framed(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b'{"a', b'":1', b"}"), chunked=True)

    answer = await open_answer(session, upstream)

    assert await answer.read_body(7) == b'{"a":1}'
    answer.release()


async def test_body_above_the_limit_is_given_up(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b"x" * 60_000,) * 4)

    answer = await open_answer(session, upstream)

    with pytest.raises(BadResponse, match="larger than 100000 bytes"):
        await answer.read_body(100_000)
    answer.close()


@pytest.mark.parametrize("chunked", [True, False])
async def test_answer_that_is_cut_is_told(
    session: Upstream, upstream: ScriptedUpstream, chunked: bool
) -> None:
    upstream.script = Reply((b'{"a":1}',), chunked=chunked, cut=True)

    answer = await open_answer(session, upstream)

    with pytest.raises(BadResponse, match="broke off"):
        await answer.read_body(100)
    answer.close()


async def test_nobody_listening_is_a_failed_connection(session: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

    with pytest.raises(ConnectFailed) as caught:
        await session.open(call_to(url), TIMEOUTS, stream=False)

    assert caught.value.retryable
    assert "127.0.0.1" not in caught.value.detail


async def test_connection_closed_before_an_answer_is_the_upstreams_failure(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda received: None

    with pytest.raises(UpstreamError, match="closed the connection before answering"):
        await open_answer(session, upstream)


@pytest.mark.parametrize(
    "head",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
    ],
    ids=["no HTTP", "two lengths", "negative length", "two framings", "long header"],
)
async def test_what_is_not_http_is_a_bad_response_and_is_not_shown(
    session: Upstream, head: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(BadResponse) as caught:
        await session.open(call_to(url, {"Authorization": "Bearer k"}), TIMEOUTS, stream=False)
    server.close()

    assert caught.value.detail == "the upstream's answer is not valid HTTP"


async def test_redirect_is_not_followed(session: Upstream, upstream: ScriptedUpstream) -> None:
    upstream.script = Reply(status=307, headers={"Location": upstream.url + "/elsewhere"})

    answer = await open_answer(session, upstream)

    assert (answer.status, len(upstream.received)) == (307, 1)
    answer.close()


async def test_cookie_of_one_answer_is_not_sent_with_the_next_call(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply(headers={"Set-Cookie": "a=b; Path=/"})
    for _ in range(2):
        answer = await open_answer(session, upstream)
        await answer.read_body(100)
        answer.release()

    assert "cookie" not in upstream.last.headers


# -- timers ---------------------------------------------------------------------------------


@dataclass
class Silent:
    """A provider that takes a request and never says a word."""

    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        self.gone.set()
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    silent = Silent()
    server = await asyncio.start_server(silent.serve, "127.0.0.1", 0)
    silent.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    yield silent
    server.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_head_that_does_not_come_in_time_is_a_first_byte_timeout(
    session: Upstream, silent: Silent, stream: bool
) -> None:
    timeouts = msgspec.structs.replace(TIMEOUTS, first_byte=SHORT)

    with pytest.raises(UpstreamTimeout) as caught:
        await session.open(call_to(silent.url), timeouts, stream=stream)

    assert (caught.value.timer, caught.value.status) == ("first_byte", 504)
    async with asyncio.timeout(5):
        await silent.gone.wait()


async def test_first_byte_covers_the_wait_for_the_first_event_too(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    upstream.script = sse(b": thinking\n\n", b"data: 1\n\n", pause=asyncio.Event())
    timeouts = msgspec.structs.replace(TIMEOUTS, first_byte=Duration(0.2))

    answer = await open_answer(session, upstream, timeouts, stream=True)
    assert await answer.read_chunk() == b": thinking\n\n"

    with pytest.raises(UpstreamTimeout) as caught:
        await answer.read_chunk()
    assert caught.value.timer == "first_byte"
    answer.close()


async def test_silence_within_a_stream_is_an_idle_timeout(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    upstream.script = sse(b"data: 1\n\n", b"data: 2\n\n", pause=asyncio.Event())

    answer = await open_answer(session, upstream, stream=True)
    assert await answer.read_chunk() == b"data: 1\n\n"
    answer.streaming(0.05)

    with pytest.raises(UpstreamTimeout) as caught:
        await answer.read_chunk()
    assert caught.value.timer == "idle"
    answer.close()


@pytest.mark.parametrize(
    ("stream", "timer"), [(True, "stream_total"), (False, "total")], ids=["stream", "whole"]
)
async def test_whole_answer_has_its_own_limit(
    session: Upstream, upstream: ScriptedUpstream, stream: bool, timer: str
) -> None:
    upstream.script = Reply((b"{", b"}"), chunked=True, pause=asyncio.Event())
    timeouts = msgspec.structs.replace(TIMEOUTS, total=SHORT, stream_total=SHORT)

    answer = await open_answer(session, upstream, timeouts, stream=stream)
    with pytest.raises(UpstreamTimeout) as caught:
        await answer.read_body(100)

    assert (caught.value.timer, caught.value.retryable) == (timer, False)
    answer.close()


async def test_silence_within_a_body_is_an_idle_timeout(
    session: Upstream, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply((b"{", b"}"), chunked=True, pause=asyncio.Event())
    timeouts = msgspec.structs.replace(TIMEOUTS, idle=SHORT)

    answer = await open_answer(session, upstream, timeouts)
    with pytest.raises(UpstreamTimeout) as caught:
        await answer.read_body(100)

    assert caught.value.timer == "idle"
    answer.close()


async def test_cancelled_call_closes_its_connection(session: Upstream, silent: Silent) -> None:
    planned = call_to(silent.url)
    task = asyncio.ensure_future(session.open(planned, TIMEOUTS, stream=False))
    async with asyncio.timeout(5):
        await silent.asked.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with asyncio.timeout(5):
        await silent.gone.wait()
