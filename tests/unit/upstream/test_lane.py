"""The lane alone: which calls take it, how their heads look, which connections serve again."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest

from bitrouter.config.schema import Duration, Limits, Timeouts
from bitrouter.errors import UpstreamTimeout
from bitrouter.protocols.base import Destination, UpstreamCall
from bitrouter.upstream.lane import Lane
from bitrouter.upstream.pool import Pool
from bitrouter.upstream.resolver import GuardedResolver
from bitrouter.upstream.session import Upstream
from bitrouter.upstream.wire import _PIECE, AT_ONCE, Wire
from tests.support.upstream import Reply, ScriptedUpstream

URL = "http://127.0.0.1:9/v1/x"
TIMEOUTS = Timeouts()


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    resolver = GuardedResolver()
    pool = Pool(resolver)
    session = aiohttp.ClientSession(connector=pool)
    yield Lane(session, pool, Limits())
    await session.close()
    await resolver.close()


@pytest.fixture
async def client() -> AsyncIterator[Upstream]:
    client = Upstream(Limits())
    yield client
    await client.close()


def call(
    own: Mapping[str, str], *, body: bytes = b"{}", query: str = "", url: str = URL
) -> UpstreamCall:
    return UpstreamCall(Destination(url, {"X-Fixed": "1"}), own, body, query)


@pytest.mark.parametrize(
    ("planned", "is_usual"),
    [
        (call({}), True),
        (call({"X-Own": "2"}, query="a=%20&b"), True),
        (call({}, body=b"x" * (AT_ONCE + 1)), True),
        (call({"x-fixed": "2"}), False),
        (call({"Host": "elsewhere"}), False),
        (call({}, query="a=ä"), False),
        (call({}, query="a b"), False),
    ],
    ids=["plain", "own", "large", "twice", "host", "not ASCII", "space"],
)
async def test_what_is_unusual_about_a_call_takes_the_ordinary_way(
    lane: Lane, planned: UpstreamCall, is_usual: bool
) -> None:
    assert lane.takes(planned) is is_usual
    assert lane.takes(planned) is is_usual  # what is known by now says the same


@pytest.mark.parametrize("own", [{"X": "a\r\nY: b"}, {"X\n": "a"}, {"X": "a\x00"}])
async def test_a_header_that_would_be_two_is_not_sent(
    client: Upstream, upstream: ScriptedUpstream, own: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="control character"):
        await client.open(call(own, url=upstream.url), TIMEOUTS, stream=False)

    assert upstream.received == []


@pytest.mark.parametrize("by_lane", [True, False])
async def test_headers_and_query_of_one_call_are_not_those_of_the_next(
    upstream: ScriptedUpstream, by_lane: bool
) -> None:
    client = Upstream(Limits(), by_lane=by_lane)
    to = Destination(upstream.url + "/v1/x?a=1", {"X-Fixed": "1"})
    for number in ("1", "2"):
        planned = UpstreamCall(to, {"X-Own": number}, b"{}", f"b={number}")
        answer = await client.open(planned, TIMEOUTS, stream=False)
        await answer.read_body(100)
        answer.release()
        received = upstream.last
        assert (received.target, received.headers["x-own"], received.headers["x-fixed"]) == (
            f"/v1/x?a=1&b={number}",
            number,
            "1",
        )
    await client.close()


async def test_a_connection_that_said_what_nobody_asked_for_does_not_serve_again(
    client: Upstream,
) -> None:
    served = 0
    spoken = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % served
        await reader.readuntil(b"{}")
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
        spoken.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    to = Destination(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
    bodies = []
    async with asyncio.timeout(5):
        for _ in range(2):
            answer = await client.open(UpstreamCall(to, {}, b"{}"), TIMEOUTS, stream=False)
            bodies.append(await answer.read_body(100))
            answer.release()
            await spoken.wait()
            await asyncio.sleep(0.02)
    server.close()

    assert bodies == [b"1", b"2"]


@pytest.mark.parametrize("size", [AT_ONCE, 16 * AT_ONCE])
async def test_an_early_answer_to_a_body_that_is_still_sent_ends_the_connection(
    client: Upstream, size: int
) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        try:
            while await reader.read(1 << 20):
                pass
        except ConnectionError:
            pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    to = Destination(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
    async with asyncio.timeout(5):
        planned = UpstreamCall(to, {}, b"x" * size)
        answer = await client.open(planned, TIMEOUTS, stream=False)
        assert (answer.status, await answer.read_body(100)) == (413, b"{}")
        answer.close()
        await gone.wait()
    server.close()


async def test_a_large_body_goes_as_fast_as_it_is_taken(client: Upstream) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    body = bytes(range(256)) * (AT_ONCE // 16)
    taken: list[bytes] = []
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            begun.set()
            await go_on.wait()
            taken.append(await reader.readexactly(len(body)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    to = Destination(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
    planned = UpstreamCall(to, {}, body)
    async with asyncio.timeout(10):
        opening = asyncio.create_task(client.open(planned, TIMEOUTS, stream=False))
        await begun.wait()
        (wire,) = wires(client)
        assert waiting(wire) == (True, True)  # the rest is not copied
        go_on.set()
        for turn in range(2):
            answer = await (client.open(planned, TIMEOUTS, stream=False) if turn else opening)
            assert await answer.read_body(100) == b"{}"
            assert waiting(wire) == (False, True)
            answer.release()
    server.close()

    assert (taken, served) == ([body, body], 1)


def waiting(wire: Wire) -> tuple[bool, bool]:
    """Whether a request is still being sent; and whether the transport has little of it."""
    assert wire.transport is not None
    return wire.is_sending, wire.transport.get_write_buffer_size() <= 2 * _PIECE


async def test_who_takes_no_large_body_meets_the_timer(client: Upstream) -> None:
    given_up, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await given_up.wait()
        writer.transport.abort()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    to = Destination(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
    planned = UpstreamCall(to, {}, b"x" * 16 * AT_ONCE)
    async with asyncio.timeout(5):
        with pytest.raises(UpstreamTimeout) as caught:
            await client.open(planned, Timeouts(first_byte=Duration(0.2)), stream=False)
        assert wires(client) == []
        given_up.set()
        await gone.wait()
    server.close()

    assert caught.value.timer == "first_byte"


def wires(client: Upstream) -> list[Wire]:
    """The connections that are in use."""
    pool = client._session.connector
    assert isinstance(pool, Pool)
    return [wire for wire in pool._acquired if isinstance(wire, Wire)]


async def test_an_interim_answer_is_passed_over(client: Upstream) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    to = Destination(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
    answer = await client.open(UpstreamCall(to, {}, b"{}"), TIMEOUTS, stream=False)

    assert (answer.status, await answer.read_body(100)) == (200, b"{}")
    answer.close()
    server.close()


async def test_connections_of_the_pool_are_wires(
    client: Upstream, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool makes them by an attribute that aiohttp calls its own."""
    made = []
    begin = Wire.connection_made

    def note(self: Wire, transport: asyncio.BaseTransport) -> None:
        made.append(self)
        begin(self, transport)

    monkeypatch.setattr(Wire, "connection_made", note)
    upstream.script = Reply()

    answer = await client.open(call({}, url=upstream.url), TIMEOUTS, stream=False)
    await answer.read_body(100)
    answer.release()

    assert len(made) == 1
