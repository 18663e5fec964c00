"""What is no clear request is refused, and its connection closed: nothing in it is read twice."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, Dialect, settings
from tests.support.faults import LIMIT_S
from tests.support.rawhttp import RawAnswer, RawConnection, connect, post
from tests.support.router import RunningRouter
from tests.support.upstream import Received, Reply, ScriptedUpstream

JSON = "Content-Type: application/json"
BODY = json.dumps(CHAT.body()).encode()
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
POST = "POST /v1/chat/completions HTTP/1.1"
# A request that is served where the bytes before it are taken for less, or for more, than they are.
SECOND = post("/v1/chat/completions", BODY, JSON)

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
MAX_HEAD = 16 * 1024


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    limits = {"max_header_bytes": MAX_HEAD}
    return await start_router(settings(CHAT, upstream.url, limits=limits))


@pytest.fixture(autouse=True)
async def _nobody_is_alarmed(
    router: RunningRouter, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[None]:
    """After every test here: nothing above `info` was logged, and nothing is left running."""
    caplog.set_level(logging.DEBUG)
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert router.router.services.metrics.inflight == 0


def head(*lines: str, end: str = "\r\n") -> bytes:
    return end.join([*lines, "", ""]).encode("latin-1")


async def answers(connection: RawConnection) -> list[int]:
    """The statuses of all answers until the connection closes."""
    return [int(status) for status in STATUS.findall(await connection.receive_rest())]


def assert_closing(answer: RawAnswer, status: int, dialect: Dialect = CHAT) -> str:
    """The answer says that it is the last one, and why: its message."""
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["server"] == "bitrouter"
    assert answer.headers["x-request-id"]
    assert answer.headers["x-bitrouter-error-source"] == "router"
    return dialect.error(answer.body, status)


# -- framing ----------------------------------------------------------------------------------

AMBIGUOUS = {
    "a length and chunks": head(POST, "Host: x", LENGTH, CHUNKED) + CHUNKS,
    "chunks and a length": head(POST, "Host: x", CHUNKED, LENGTH) + CHUNKS,
    "two lengths": head(POST, "Host: x", LENGTH, "Content-Length: 0") + BODY,
    "the same length twice": head(POST, "Host: x", LENGTH, LENGTH) + BODY,
    "a list of lengths": head(POST, "Host: x", f"{LENGTH}, {len(BODY)}") + BODY,
    "a length with a sign": head(POST, "Host: x", f"Content-Length: +{len(BODY)}") + BODY,
    "a negative length": head(POST, "Host: x", "Content-Length: -1") + BODY,
    "a hexadecimal length": head(POST, "Host: x", f"Content-Length: {len(BODY):#x}") + BODY,
    "a length in two parts": head(POST, "Host: x", "Content-Length: 1 0") + BODY,
    "a length with an underscore": head(POST, "Host: x", "Content-Length: 1_0") + BODY,
    "an empty length": head(POST, "Host: x", "Content-Length:") + BODY,
    "a length beyond all bounds": head(POST, "Host: x", "Content-Length: " + "9" * 30) + BODY,
    "a fractional length": head(POST, "Host: x", "Content-Length: 1.0") + BODY,
    "gzip, then chunks": head(POST, "Host: x", "Transfer-Encoding: gzip, chunked") + CHUNKS,
    "gzip alone": head(POST, "Host: x", "Transfer-Encoding: gzip") + CHUNKS,
    "identity": head(POST, "Host: x", "Transfer-Encoding: identity") + CHUNKS,
    "chunks of chunks": head(POST, "Host: x", "Transfer-Encoding: chunked, chunked") + CHUNKS,
    "chunks, then identity": head(POST, "Host: x", "Transfer-Encoding: chunked, identity") + CHUNKS,
    "two codings": head(POST, "Host: x", CHUNKED, CHUNKED) + CHUNKS,
    "another coding, then chunks": head(POST, "Host: x", "Transfer-Encoding: x", CHUNKED) + CHUNKS,
    "nearly chunked": head(POST, "Host: x", "Transfer-Encoding: xchunked") + CHUNKS,
    "chunked with a parameter": head(POST, "Host: x", "Transfer-Encoding: chunked;q=1") + CHUNKS,
    "chunked in quotes": head(POST, "Host: x", 'Transfer-Encoding: "chunked"') + CHUNKS,
    "chunked after a tab that is none": head(POST, "Host: x", "Transfer-Encoding: \x0bchunked")
    + CHUNKS,
    "an empty coding": head(POST, "Host: x", "Transfer-Encoding:") + CHUNKS,
    "chunks in HTTP/1.0": head(POST.replace("1.1", "1.0"), "Host: x", CHUNKED) + CHUNKS,
    "gzip in HTTP/1.0": head(POST.replace("1.1", "1.0"), "Transfer-Encoding: gzip, chunked")
    + CHUNKS,
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_body_that_can_be_framed_in_two_ways_is_refused_and_nothing_after_it_is_read(
    router: RunningRouter, upstream: ScriptedUpstream, sent: bytes
) -> None:
    async with connect(router.url) as connection:
        await connection.send(sent + SECOND)
        assert_closing(await connection.receive(), 400)
        assert await connection.receive_rest() == b""
    assert upstream.received == []


MALFORMED = {
    "bare line feeds": head(POST, "Host: x", LENGTH, end="\n") + BODY,
    "one bare line feed": head(POST, "Host: x\nX: y", LENGTH) + BODY,
    "a bare carriage return": head(POST, "Host: x\rX: y", LENGTH) + BODY,
    "a carriage return in a value": head(POST, "Host: x", "X: a\rb", LENGTH) + BODY,
    "a NUL in a value": head(POST, "Host: x", "X: a\0b", LENGTH) + BODY,
    "a NUL in a name": head(POST, "Host: x", "X\0: a", LENGTH) + BODY,
    "a folded header": head(POST, "Host: x", "X: a\r\n b", LENGTH) + BODY,
    "a folded length": head(POST, "Host: x", "Content-Length:\r\n 5") + BODY,
    "a space before the colon": head(POST, "Host: x", LENGTH.replace(":", " :")) + BODY,
    "a tab before the colon": head(POST, "Host: x", LENGTH.replace(":", "\t:")) + BODY,
    "a space in a name": head(POST, "Host: x", "X Y: a", LENGTH) + BODY,
    "a name without a value": head(POST, "Host: x", "XY", LENGTH) + BODY,
    "no name": head(POST, "Host: x", ": a", LENGTH) + BODY,
    "a first header that is indented": head(POST, " Host: x", LENGTH) + BODY,
    "two hosts": head(POST, "Host: x", "Host: y", LENGTH) + BODY,
    "the same host twice": head(POST, "Host: x", "host: x", LENGTH) + BODY,
    "no host": head(POST, LENGTH) + BODY,
    "no version": head("POST /v1/chat/completions", "Host: x", LENGTH) + BODY,
    "HTTP/0.9": head(POST.replace("1.1", "0.9"), "Host: x", LENGTH) + BODY,
    "HTTP/1.2": head(POST.replace("1.1", "1.2"), "Host: x", LENGTH) + BODY,
    "HTTP/2.0": head(POST.replace("1.1", "2.0"), "Host: x", LENGTH) + BODY,
    "http/1.1": head(POST.replace("HTTP", "http"), "Host: x", LENGTH) + BODY,
    "an unknown method": head(POST.replace("POST", "PSOT"), "Host: x", LENGTH) + BODY,
    "a method in small letters": head(POST.replace("POST", "post"), "Host: x", LENGTH) + BODY,
    "a space in the target": head("GET /health /x HTTP/1.1", "Host: x"),
    "tabs for spaces": head("GET\t/health\tHTTP/1.1", "Host: x"),
    "a control character in the target": head("GET /he\x01alth HTTP/1.1", "Host: x"),
    "a byte that is no ASCII in the target": head("GET /h\xe9alth HTTP/1.1", "Host: x"),
    "a target that is no path": head("GET health HTTP/1.1", "Host: x"),
    "a target with a fragment": head("GET /health#x HTTP/1.1", "Host: x"),
    "a whole URL with a fragment": head("GET http://x/health#x HTTP/1.1", "Host: x"),
    "an asterisk": head("GET * HTTP/1.1", "Host: x"),
    "a whole URL without a host": head("GET file:///health HTTP/1.1", "Host: x"),
    "a whole URL with a port that is none": head("GET http://x:99999/health HTTP/1.1", "Host: x"),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_head_is_refused_and_nothing_after_it_is_read(
    router: RunningRouter, upstream: ScriptedUpstream, sent: bytes
) -> None:
    async with connect(router.url) as connection:
        await connection.send(sent + SECOND)
        assert_closing(await connection.receive(), 400)
        assert await connection.receive_rest() == b""
    assert upstream.received == []


@pytest.mark.parametrize("path", [ANTHROPIC.path(), "/messages"])
async def test_where_the_path_is_known_the_refusal_is_in_its_protocol(
    router: RunningRouter, path: str
) -> None:
    async with connect(router.url) as connection:
        coding = "Transfer-Encoding: gzip, chunked"
        await connection.send(post(path, CHUNKS, JSON, coding, "X-Request-Id: mine"))
        answer = await connection.receive()
    assert_closing(answer, 400, ANTHROPIC)
    assert answer.headers["x-request-id"] == "mine"


WELL_FORMED = {
    "a length": head(POST, "Host: x", LENGTH) + BODY,
    "chunks": head(POST, "Host: x", CHUNKED) + CHUNKS,
    "chunks in capitals": head(POST, "Host: x", "transfer-encoding:CHUNKED") + CHUNKS,
    "chunks after a tab": head(POST, "Host: x", "Transfer-Encoding:\tchunked") + CHUNKS,
    "chunks with extensions": head(POST, "Host: x", CHUNKED)
    + CHUNKS.replace(b"\r\n", b';a="b"\r\n', 1),
    "chunks with a trailer": head(POST, "Host: x", CHUNKED) + CHUNKS[:-2] + b"X: y\r\n\r\n",
    "a length with zeros before it": head(POST, "Host: x", f"Content-Length: 00{len(BODY)}") + BODY,
    "an empty line before it": b"\r\n" + head(POST, "Host: x", LENGTH) + BODY,
    "a whole URL": head(POST.replace(" /", " http://elsewhere/"), "Host: x", LENGTH) + BODY,
    "values beyond ASCII": head(POST, "Host: x", "X: \xff\xfe", LENGTH) + BODY,
}


@pytest.mark.parametrize("sent", WELL_FORMED.values(), ids=WELL_FORMED)
async def test_a_well_formed_request_is_served_and_so_is_the_next_one(
    router: RunningRouter, upstream: ScriptedUpstream, sent: bytes
) -> None:
    async with connect(router.url) as connection:
        await connection.send(sent + SECOND)
        for _ in range(2):
            assert (await connection.receive()).status == 200
    assert [json.loads(received.body)["messages"] for received in upstream.received] == [
        CHAT.body()["messages"]
    ] * 2


BROKEN_CHUNKS = {
    "no size": b"ZZ\r\n{}\r\n",
    "a size with a sign": b"+1\r\n{\r\n",
    "a negative size": b"-1\r\n",
    "a size with 0x": b"0x1\r\n{\r\n",
    "a size beyond all bounds": b"f" * 20 + b"\r\n",
    "a size and a space": b"1 \r\n{\r\n",
    "bare line feeds": b"1\n{\n0\n\n",
    "a chunk that is longer than its size": b"1\r\n{}\r\n0\r\n\r\n",
    "a line feed in an extension": b"1;a\n=b\r\n{\r\n",
    "a trailer without a colon": b"0\r\nXY\r\n\r\n",
    "a length in the trailer": b"0\r\nContent-Length: 5\r\n\r\n",
    "a coding in the trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("at_once", [True, False], ids=["with its head", "later"])
@pytest.mark.parametrize("chunk", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
async def test_a_broken_chunk_is_a_400_whenever_it_comes(
    router: RunningRouter, upstream: ScriptedUpstream, chunk: bytes, at_once: bool
) -> None:
    begin = head(POST, "Host: x", JSON, CHUNKED) + b"1\r\n \r\n"
    async with connect(router.url) as connection:
        if at_once:
            await connection.send(begin + chunk + SECOND)
        else:
            await connection.send(begin)
            async with asyncio.timeout(LIMIT_S):
                while not router.router.services.metrics.inflight:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.001)
            await connection.send(chunk + SECOND)
        assert_closing(await connection.receive(), 400)
        assert await connection.receive_rest() == b""
    assert upstream.received == []


async def test_a_broken_request_behind_a_good_one_does_not_disturb_it(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    async with connect(router.url) as connection:
        await connection.send(SECOND)
        await connection.send(SECOND)
        first = await connection.receive()
        await connection.send(b"GET / HTTP/1.1\r\nX Y: a\r\n\r\n" + SECOND)
        assert [first.status, *await answers(connection)] == [200, 200, 400]


# -- limits -----------------------------------------------------------------------------------


def large_heads() -> Iterator[tuple[str, int, bytes]]:
    """Name, status, and a head that is beyond one limit and within the others."""
    get = "GET /health HTTP/1.1"
    yield "one value", 431, head(get, "Host: x", "X: " + "a" * MAX_HEAD)
    yield "one name", 431, head(get, "Host: x", "a" * MAX_HEAD + ": x")
    many = [f"X-{number}: {'a' * (MAX_HEAD // 40)}" for number in range(50)]
    yield "all together", 431, head(get, "Host: x", *many)
    yield "headers", 431, head(get, "Host: x", *(f"X-{number}: a" for number in range(100)))
    yield "target", 414, head(f"GET /{'a' * 8192} HTTP/1.1", "Host: x")
    yield "query", 414, head(f"GET /health?{'a' * 8192} HTTP/1.1", "Host: x")
    yield "method", 400, head(f"{'A' * MAX_HEAD * 2} / HTTP/1.1", "Host: x")


LARGE = {name: (status, sent) for name, status, sent in large_heads()}


@pytest.mark.parametrize("pieces", [1, 20], ids=["at once", "in pieces"])
@pytest.mark.parametrize(("status", "sent"), LARGE.values(), ids=LARGE)
async def test_a_head_that_is_too_large_is_refused_as_what_it_is(
    router: RunningRouter, status: int, sent: bytes, pieces: int
) -> None:
    async with connect(router.url) as connection:
        size = len(sent) // pieces + 1
        for at in range(0, len(sent), size):
            await connection.send(sent[at : at + size])
            await asyncio.sleep(0)
        assert_closing(await connection.receive(), status)
        assert await connection.receive_rest() == b""


async def test_a_head_without_end_is_refused_while_it_is_still_coming(
    router: RunningRouter,
) -> None:
    async with connect(router.url) as connection:
        await connection.send(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        sending = asyncio.create_task(connection.send(*[b"X: %b\r\n" % (b"a" * 1000)] * 20_000))
        assert_closing(await connection.receive(), 431)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_as_much_as_is_allowed_is_served(router: RunningRouter) -> None:
    fields = [f"X-{number}: a" for number in range(98)]
    long = [*fields, "X: " + "a" * (MAX_HEAD - 2500)]
    sent = head("GET /health HTTP/1.1", "Host: x", *long)
    query = "a" * (8192 - len("/health?"))
    async with connect(router.url) as connection:
        await connection.send(sent + head(f"GET /health?{query} HTTP/1.1", "Host: x"))
        assert (await connection.receive()).status == 200
        assert (await connection.receive()).status == 200


async def test_a_large_body_is_not_counted_as_head(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    padded = BODY + b" " * (10 * MAX_HEAD)
    async with connect(router.url) as connection:
        for _ in range(3):
            await connection.send(post(CHAT.path(), padded, JSON))
            assert (await connection.receive()).status == 200


async def test_a_head_behind_a_running_request_is_bounded_too(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    def script(received: Received) -> Reply:
        asked.set()
        return Reply(wait=go_on)

    upstream.script = script
    async with connect(router.url) as connection:
        await connection.send(SECOND)
        await asked.wait()
        await connection.send(
            *[b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X: %b\r\n" % (b"a" * 1000)] * 30]
        )
        await asyncio.sleep(0.05)
        go_on.set()
        assert await answers(connection) == [200, 431]


# -- methods, targets, Upgrade -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
@pytest.mark.parametrize("target", ["/health", "/v1/chat/completions", "x:443"])
async def test_connect_and_trace_are_refused(
    router: RunningRouter, upstream: ScriptedUpstream, method: str, target: str
) -> None:
    async with connect(router.url) as connection:
        await connection.send(head(f"{method} {target} HTTP/1.1", "Host: x:443", "X: secret"))
        await connection.send(SECOND)
        answer = await connection.receive()
        assert await connection.receive_rest() == b""
    if ":" in target and method == "TRACE":
        assert_closing(answer, 400)
    else:
        assert_closing(answer, 405)
        assert answer.headers["allow"] == "GET, POST"
    assert b"secret" not in answer.body
    assert upstream.received == []


async def test_options_of_everything_is_nothing(router: RunningRouter) -> None:
    async with connect(router.url) as connection:
        await connection.send(head("OPTIONS * HTTP/1.1", "Host: x"))
        assert (await connection.receive()).status == 404


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0, HTTP/2.0"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in two"])
async def test_upgrade_is_ignored_and_what_follows_is_not_lost_in_silence(
    router: RunningRouter, upstream: ScriptedUpstream, protocol: str, at_once: bool
) -> None:
    upgrade = (f"Upgrade: {protocol}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: A")
    first = post(CHAT.path(), BODY, JSON, *upgrade)
    parts = [first + SECOND] if at_once else [first[:-20], first[-20:] + SECOND]
    async with connect(router.url) as connection:
        await connection.send(*parts)
        answer = await connection.receive()
        assert await connection.receive_rest() == b""
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert "upgrade" not in answer.headers
    assert len(upstream.received) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ("Host: evil.example",),
        ("Host: x", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example"),
        ("Host: x", "X-Original-URL: /admin/routes", "X-Rewrite-URL: /admin/routes"),
        ("Host: x", "X-HTTP-Method-Override: DELETE"),
    ],
)
@pytest.mark.parametrize("target", ["/health", "http://evil.example/health"])
async def test_only_the_path_says_what_is_asked_for(
    router: RunningRouter, target: str, lines: tuple[str, ...]
) -> None:
    async with connect(router.url) as connection:
        await connection.send(head(f"GET {target} HTTP/1.1", *lines))
        answer = await connection.receive()
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize(
    "target",
    ["//health", "/health/", "/HEALTH", "/./health", "/x/../health", "/health;x", "/%68ealth"],
)
async def test_another_spelling_of_a_path_is_another_path(
    router: RunningRouter, target: str
) -> None:
    async with connect(router.url) as connection:
        await connection.send(head(f"GET {target} HTTP/1.1", "Host: x"))
        assert (await connection.receive()).status == 404
