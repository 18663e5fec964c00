"""Whatever stands in a body, or stands for one, ends in a clear answer and in bounded memory."""

import asyncio
import contextlib
import gzip
import json
import logging
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import CHAT, Dialect, settings
from tests.support.rawhttp import RawAnswer, RawConnection, connect, post
from tests.support.router import RunningRouter, no_connections
from tests.support.upstream import Received, Reply, ScriptedUpstream

JSON = "Content-Type: application/json"
MIB = 1 << 20
MAX_BODY = 8 * MIB


@pytest.fixture(autouse=True)
async def _nobody_is_alarmed(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """After every test here: nothing above `info` was logged."""
    caplog.set_level(logging.DEBUG)
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def start(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> RunningRouter:
    limits = {"max_body_bytes": MAX_BODY}
    return await start_router(settings(dialect, upstream.url, limits=limits))


def body_of(dialect: Dialect) -> bytes:
    return json.dumps(dialect.body()).encode()


async def ask(
    router: RunningRouter, dialect: Dialect, body: bytes, *headers: str, path: str | None = None
) -> RawAnswer:
    async with connect(router.url) as connection:
        await connection.send(post(path or dialect.path(), body, *(headers or (JSON,))))
        return await connection.receive()


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


# -- Content-Encoding -------------------------------------------------------------------------


def bare_deflate(data: bytes) -> bytes:
    """Deflate without zlib's header, as some clients send it."""
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


CODINGS = {
    "gzip": ("gzip", gzip.compress),
    "GZIP": (" GZIP ", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare_deflate),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize("framed", ["length", "chunks"])
@pytest.mark.parametrize(("name", "compress"), CODINGS.values(), ids=CODINGS)
async def test_a_compressed_body_is_read_and_passed_on_as_it_was_before(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    name: str,
    compress: type[bytes],
    framed: str,
) -> None:
    router = await start(start_router, upstream, CHAT)
    text = "häuser " * 500_000  # some MiB: several pieces
    body = json.dumps(CHAT.body() | {"x": text}, ensure_ascii=False).encode()
    headers = [JSON, f"Content-Encoding:{name}"]
    sent = compress(body)
    if framed == "chunks":
        headers, sent = [*headers, "Transfer-Encoding: chunked"], chunked(sent)
    assert (await ask(router, CHAT, sent, *headers)).status == 200
    assert json.loads(upstream.last.body)["x"] == text
    assert "content-encoding" not in upstream.last.headers


UNKNOWN = [
    ("Content-Encoding: br",),
    ("Content-Encoding: zstd",),
    ("Content-Encoding: compress",),
    ("Content-Encoding: x-gzip",),
    ("Content-Encoding: gzip, gzip",),
    ("Content-Encoding: gzip", "Content-Encoding: gzip"),
    ("Content-Encoding:",),
]


@pytest.mark.parametrize("headers", UNKNOWN, ids=" ".join)
async def test_another_coding_is_a_415(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    headers: tuple[str, ...],
) -> None:
    router = await start(start_router, upstream, dialect)
    answer = await ask(router, dialect, gzip.compress(body_of(dialect)), JSON, *headers)
    assert answer.status == 415
    assert "gzip, deflate" in dialect.error(answer.body, 415)
    assert upstream.received == []


def broken_gzip() -> Iterator[tuple[str, bytes]]:
    whole = gzip.compress(body_of(CHAT))
    yield "cut", whole[:-12]
    yield "no checksum", whole[:-8]
    yield "a wrong checksum", whole[:-8] + bytes(8)
    yield "a header alone", whole[:10]
    yield "something after it", whole + b"{}"
    yield "another member after it", whole + gzip.compress(b" ")
    yield "many empty members", whole + gzip.compress(b"") * 1000
    yield "nothing", b" "
    yield "no gzip", body_of(CHAT)


BROKEN = dict(broken_gzip())


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_a_broken_coding_is_a_400(
    start_router: StartRouter, upstream: ScriptedUpstream, body: bytes
) -> None:
    router = await start(start_router, upstream, CHAT)
    answer = await ask(router, CHAT, body, JSON, "Content-Encoding: gzip")
    assert answer.status == 400
    assert "content coding" in CHAT.error(answer.body, 400)
    assert upstream.received == []


@pytest.mark.parametrize(
    ("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_bomb_is_a_413_and_what_it_holds_is_never_there(
    start_router: StartRouter, upstream: ScriptedUpstream, name: str, compress: type[bytes]
) -> None:
    router = await start(start_router, upstream, CHAT)
    bomb = compress(b" " * (10 * MAX_BODY))
    assert len(bomb) < MAX_BODY
    tracemalloc.start()
    try:
        answer = await ask(router, CHAT, bomb, JSON, f"Content-Encoding: {name}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 413
    assert "limits.max_body_bytes" in CHAT.error(answer.body, 413)
    assert peak < 2 * MAX_BODY


async def test_a_bomb_does_not_stop_the_others(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    limits = {"max_body_bytes": "256MiB", "max_buffered_bytes": "1GiB"}
    router = await start_router(settings(CHAT, upstream.url, limits=limits))
    bomb = gzip.compress(b" " * (300 * MIB), 1)
    async with connect(router.url) as other:
        exploding = asyncio.create_task(ask(router, CHAT, bomb, JSON, "Content-Encoding: gzip"))
        served = 0
        while not exploding.done():
            await other.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await other.receive()).status == 200
            served += 1
    assert (await exploding).status == 413
    assert served > 10  # were it decompressed on the event loop, it would be one or two


# -- Expect -----------------------------------------------------------------------------------


async def test_another_expectation_is_a_417(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start(start_router, upstream, dialect)
    answer = await ask(router, dialect, body_of(dialect), JSON, "Expect: 200-ok")
    assert answer.status == 417
    dialect.error(answer.body, 417)
    assert upstream.received == []


async def test_in_http_1_0_there_are_no_expectations(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start(start_router, upstream, CHAT)
    body = body_of(CHAT)
    sent = post(CHAT.path(), body, JSON, "Expect: 100-continue")
    async with connect(router.url) as connection:
        await connection.send(sent.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert (await connection.receive()).status == 200


@pytest.mark.parametrize(
    ("status", "path", "headers"),
    [
        (413, None, (JSON, f"Content-Length: {MAX_BODY + 1}")),
        (415, None, ("Content-Type: text/plain", "Content-Length: 100")),
        (404, "/v1/nothing", (JSON, "Content-Length: 100")),
    ],
)
async def test_who_is_refused_while_waiting_to_continue_cannot_be_misread(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    status: int,
    path: str | None,
    headers: tuple[str, ...],
) -> None:
    router = await start(start_router, upstream, CHAT)
    async with connect(router.url) as connection:
        await connection.send(post(path or CHAT.path(), b"", "Expect: 100-continue", *headers))
        answer = await connection.receive()
        await connection.send(post(CHAT.path(), body_of(CHAT), JSON))  # or is it the body?
        assert await connection.receive_rest() == b""
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert upstream.received == []


# -- refused before the body was read -----------------------------------------------------------

REFUSED = {
    "no such path": (404, "/v1/nothing", JSON),
    "no such content type": (415, CHAT.path(), "Content-Type: text/plain"),
    "no such method here": (405, "/health", JSON),
}


@pytest.mark.parametrize(("status", "path", "header"), REFUSED.values(), ids=REFUSED)
async def test_after_a_refusal_a_small_body_is_drained_and_the_connection_goes_on(
    start_router: StartRouter, upstream: ScriptedUpstream, status: int, path: str, header: str
) -> None:
    router = await start(start_router, upstream, CHAT)
    body = body_of(CHAT)
    async with connect(router.url) as connection:
        await connection.send(post(path, body[:10], header, f"Content-Length: {len(body)}"))
        answer = await connection.receive()
        assert answer.status == status
        assert "connection" not in answer.headers
        await connection.send(body[10:])
        await connection.send(post(CHAT.path(), body, JSON))
        assert (await connection.receive()).status == 200
    assert len(upstream.received) == 1


async def flood(connection: RawConnection, chunk: bytes) -> None:
    """Send for as long as the other side takes it."""
    with contextlib.suppress(ConnectionError):
        while True:
            await connection.send(chunk)


@pytest.mark.parametrize("framing", ["Content-Length: 100000000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("status", "path", "header"),
    [*REFUSED.values(), (413, CHAT.path(), JSON)],
    ids=[*REFUSED, "too large"],
)
async def test_a_client_that_goes_on_sending_gets_its_refusal_and_is_not_heard_for_ever(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    status: int,
    path: str,
    header: str,
    framing: str,
) -> None:
    router = await start(start_router, upstream, CHAT)
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    async with connect(router.url) as connection:
        await connection.send(post(path, b"", header, framing))
        sending = asyncio.create_task(flood(connection, chunk))
        answer = await connection.receive()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert await connection.receive_rest() == b""
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert upstream.received == []


async def test_what_a_refused_client_still_sends_is_not_kept(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start(start_router, upstream, CHAT)
    async with connect(router.url) as connection:
        await connection.send(post("/v1/nothing", b"", JSON, "Content-Length: 100000000000"))
        assert (await connection.receive()).status == 404
        tracemalloc.start()
        try:
            await connection.send(*[b" " * 65_536] * 500)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 4 * MIB


async def test_requests_ahead_of_their_turn_wait_in_the_network(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start(start_router, upstream, CHAT)
    asked, go_on = asyncio.Event(), asyncio.Event()

    def script(received: Received) -> Reply:
        asked.set()
        return Reply(wait=go_on)

    upstream.script = script
    ahead = post(CHAT.path(), body_of(CHAT) + b" " * 400_000, JSON)
    async with connect(router.url) as connection:
        await connection.send(post(CHAT.path(), body_of(CHAT), JSON))
        await asked.wait()
        tracemalloc.start()
        try:
            sending = asyncio.create_task(flood(connection, ahead))
            await asyncio.sleep(0.3)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        go_on.set()
        for _ in range(3):  # and none is lost
            assert (await connection.receive()).status == 200
    assert peak < 4 * MIB
    await no_connections(router)


async def test_requests_ahead_of_their_turn_are_served_in_it(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start(start_router, upstream, CHAT)
    padded = body_of(CHAT) + b" " * 100_000
    many = 60
    async with connect(router.url) as connection, asyncio.TaskGroup() as group:
        group.create_task(connection.send(*[post(CHAT.path(), padded, JSON)] * many))
        for _ in range(many):
            assert (await connection.receive()).status == 200
    assert [received.body.count(b" ") for received in upstream.received] == [
        padded.count(b" ")
    ] * many
