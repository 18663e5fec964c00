"""Connections to providers that do not keep to HTTP, or to what is expected of a connection.

By both ways of a call: the usual one (upstream/lane.py), and aiohttp's own, which what is unusual
about a call makes it take.
"""

import asyncio
import json
import socket
import ssl
import struct
from pathlib import Path

import aiohttp.connector
import pytest

from bitrouter.upstream.resolver import GuardedResolver
from bitrouter.upstream.wire import Wire
from tests.conftest import StartRouter
from tests.support.certificates import write_certificate
from tests.support.dialects import CHAT, provider, route_to, settings
from tests.support.faults import LIMIT_S, NEVER, ask, complete
from tests.support.rawhttp import connect, post
from tests.support.rawserver import http, one_request, server
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream

ANSWER = http(CHAT.answer)
ONCE = {"retry": {"max_attempts": 1}}
JSON = "Content-Type: application/json"

pytestmark = pytest.mark.usefixtures("way")


# -- heads ------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n\r\n{}"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "said",
    [
        OK + b"Content-Length: 3\r\n" + TWO,
        OK + b"Content-Length: 2, 3\r\n\r\n{}",
        OK + b"Content-Length: -2\r\n\r\n{}",
        OK + b"Content-Length: +2\r\n\r\n{}",
        OK + b"Content-Length: 0x2\r\n\r\n{}",
        OK + b"Content-Length: 99999999999999999999\r\n\r\n{}",
        OK + CHUNKED + TWO,
        OK + b"Content-Length: 2\r\n" + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n",
        OK + CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n" + TWO,
        b"HTTP/1.1 000 None\r\n" + TWO,
        b"HTTP/1.1 1000 High\r\n" + TWO,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
        b"HTTP/3.0 200 OK\r\n" + TWO,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        OK + b"Bad Header: x\r\n" + TWO,
        OK + b"X-A: a\x00b\r\n" + TWO,
    ],
    ids=repr,
)
async def test_what_is_not_http_or_contradicts_itself_is_a_502(
    start_router: StartRouter, said: bytes
) -> None:
    assert await status_of(start_router, said) == 502


@pytest.mark.parametrize("parts", [1, 20])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"X: %b\r\n" % (b"x" * 60_000), 200),
        (b"X: %b\r\n" % (b"x" * 70_000), 502),
        (b"X: %b\r\n" % (b"x" * 1000) * 60, 200),
        (b"X: %b\r\n" % (b"x" * 1000) * 80, 502),
        (b"X: y\r\n" * 10_000, 502),
    ],
    ids=["a long line", "too long", "large", "too large", "too many"],
)
async def test_a_head_that_is_too_large_is_a_502(
    start_router: StartRouter, fields: bytes, status: int, parts: int
) -> None:
    said = OK + fields + b"Content-Type: application/json\r\n" + TWO
    assert await status_of(start_router, said, parts) == status


async def test_what_a_head_may_be_does_not_grow_with_its_body(start_router: StartRouter) -> None:
    assert await status_of(start_router, http(b"[%b1]" % (b"1," * 200_000))) == 200


async def test_a_head_without_end_is_given_up(start_router: StartRouter) -> None:
    said = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        await one_request(reader)
        writer.write(OK)
        while True:
            writer.write(b"X-Pad: " + b"x" * 4000 + b"\r\n")
            said += 4009
            await writer.drain()

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url, **ONCE))
        got = await ask(router, CHAT)
    assert got.status == 502
    assert b"limits.max_header_bytes" in got.body or b"not valid HTTP" in got.body
    assert said < 8 << 20  # most of it is in the buffers of the kernel


async def status_of(start_router: StartRouter, said: bytes, parts: int = 1) -> int:
    """What the client is told when a provider says that."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        size = -(-len(said) // parts)
        for start in range(0, len(said), size):
            writer.write(said[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url, **ONCE))
        return (await ask(router, CHAT)).status


# -- connections that serve again -------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True], ids=["with the answer", "after it"])
async def test_what_nobody_asked_for_is_nobodys_answer(
    start_router: StartRouter, late: bool
) -> None:
    surplus = http(b'{"of": "another"}')
    connections = 0
    said = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await one_request(reader)
            writer.write(ANSWER if late else ANSWER + surplus)
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(surplus if late else b"")
            await writer.drain()
            said.set()

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url))
        for _ in range(3):
            said.clear()
            got = await ask(router, CHAT)
            assert (got.status, got.body, got.attempts) == (200, CHAT.answer, 1)
            async with asyncio.timeout(LIMIT_S):
                await said.wait()
            await asyncio.sleep(0.01)
    assert connections == 3


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", b"HTTP/1.1 2"],
    ids=["an interim answer", "half a head"],
)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_pooled_connection_that_dies_after_a_word_is_an_attempt(
    start_router: StartRouter, said: bytes, reset: bool
) -> None:
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while True:
            await one_request(reader)
            requests += 1
            if requests == 2:
                writer.write(said)
                await writer.drain()
                await asyncio.sleep(0.02)
                if reset:
                    no_goodbye = struct.pack("ii", 1, 0)
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_goodbye)
                return
            writer.write(ANSWER)

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url))
        assert (await ask(router, CHAT)).attempts == 1
        got = await ask(router, CHAT)
    assert (got.status, got.attempts, requests) == (200, 2, 3)


async def test_connections_are_not_shared_between_credentials(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    names = ("a", "b")
    given = {name: provider(CHAT, upstream.url) | {"api_key": f"sk-{name}"} for name in names}
    models = {name: route_to(name) for name in names}
    router = await start_router({"providers": given, "models": models})
    upstream.script = complete(CHAT, stream=False)
    for _ in range(3):
        for name in names:
            assert (await ask(router, CHAT, model=name)).status == 200
    keys = [received.headers["authorization"] for received in upstream.received]
    assert keys == ["Bearer sk-a", "Bearer sk-b"] * 3
    assert upstream.connections == 2


# -- connections that nobody wants any more ---------------------------------------------------


def idle_or_none(router: RunningRouter) -> bool:
    pool = router.router.services.upstream._session.connector
    assert pool is not None
    return not pool._acquired


@pytest.mark.parametrize("size", [900_000, 3_000_000])
async def test_a_provider_that_takes_no_request_keeps_no_connection(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    made: list[asyncio.Transport] = []

    def small(wire: Wire, transport: asyncio.Transport) -> None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        made.append(transport)
        connected(wire, transport)

    connected = Wire.connection_made
    monkeypatch.setattr(Wire, "connection_made", small)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a Transport
        await NEVER.wait()

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url, timeouts={"first_byte": "100ms"}, **ONCE))
        body = json.dumps(CHAT.body() | {"user": "x" * size}).encode()
        async with asyncio.timeout(LIMIT_S), connect(router.url) as connection:
            await connection.send(post(CHAT.path(), body, JSON))
            assert (await connection.receive()).status == 504
        async with asyncio.timeout(LIMIT_S):
            while made[0].get_write_buffer_size():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert idle_or_none(router)


@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "in the stream"])
async def test_over_tls_a_provider_need_not_answer_a_goodbye(
    start_router: StartRouter,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    begun: bool,
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    write_certificate(cert, key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=str(cert))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    asked = asyncio.Event()
    serving: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        if begun:
            writer.write(OK + b"Content-Type: text/event-stream\r\n\r\n" + CHAT.events[0])
            await writer.drain()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a Transport
        serving.append(writer)
        asked.set()
        await NEVER.wait()

    async with server(serve, "https", tls) as url, asyncio.timeout(LIMIT_S):
        router = await start_router(settings(CHAT, url.replace("127.0.0.1", "localhost")))
        async with connect(router.url) as connection:
            body = json.dumps(CHAT.body(stream=True)).encode()
            await connection.send(post(CHAT.path(), body, JSON))
            await asked.wait()
            if begun:
                await connection.receive_until(CHAT.events[0])
            connection.close()
        assert (await request_log.next_line())["outcome"] == "client_gone"
        while not serving[0].transport.is_closing():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


# -- names ------------------------------------------------------------------------------------


async def test_a_name_that_is_not_found_in_time_is_a_504_that_names_the_timer(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object, **__: object) -> object:
        return await NEVER.wait()

    monkeypatch.setattr(GuardedResolver, "resolve", resolve)
    given = settings(CHAT, "http://provider.test:1", timeouts={"connect": "50ms"}, **ONCE)
    router = await start_router(given)
    got = await ask(router, CHAT)
    assert got.status == 504
    assert "timeouts.connect" in CHAT.error(got.body, 504)
    assert idle_or_none(router)
