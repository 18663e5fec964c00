"""Connections to providers that do not keep to HTTP, or to what is expected of a connection.

By both ways of a call: the usual one (upstream/lane.py), and aiohttp's own, which what is unusual
about a call makes it take.
"""

import asyncio
import json

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import CHAT, settings
from tests.support.faults import LIMIT_S, ask, attempts_of
from tests.support.rawserver import http, one_request, server

ANSWER = http(CHAT.answer)
ONCE = {"retry": {"max_attempts": 1}}

pytestmark = pytest.mark.usefixtures("way")


# -- heads that are none ----------------------------------------------------------------------

BODY = b"Content-Type: application/json\r\n"
CHUNKED = b"2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n" + CHUNKED,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 000 Zero\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 1000 High\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
        b"HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\r\nBad Header: x\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X-Pad: %b\r\n" % (b"x" * 70_000) + b"Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X-Pad: %b\r\n" % (b"x" * 1000) * 80 + b"Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"Content-Length: 2\r\n\r\n{}",
    ],
    ids=lambda said: repr(said[:70]),
)
async def test_what_is_not_http_or_contradicts_itself_is_a_502(
    start_router: StartRouter, said: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(said)
        await reader.read()

    async with server(serve) as url:
        router = await start_router(settings(CHAT, url, **ONCE, timeouts={"first_byte": "1s", "idle": "1s"}))
        got = await ask(router, CHAT)
    assert got.status == 502, got.body
    print(attempts_of(router), got.body)
