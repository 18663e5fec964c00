"""What may come at an awkward moment, and how a connection then ends."""

import asyncio
import json
import logging

import pytest
from aiohttp import web

from bitrouter.server import connection as connections
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, settings
from tests.support.faults import LIMIT_S
from tests.support.rawhttp import connect, post
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter, no_connections, server_of
from tests.support.upstream import Received, Reply, ScriptedUpstream

JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
BODY = json.dumps(CHAT.body()).encode()


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    return await start_router(settings(CHAT, upstream.url))


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_client_that_leaves_before_it_is_told_to_continue_alarms_nobody(
    router: RunningRouter, request_log: RequestLog, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(router.url) as client:
        await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.receive()).status == 200
        (connection,) = server_of(router).connections
        assert connection.transport is not None
        expects = (JSON, "Expect: 100-continue", "Content-Length: 10")
        connection.data_received(post(CHAT.path(), b"", *expects))
        # As the event loop does at the end of what the client sends; the request is about to be
        # taken up.
        connection.transport.close()
        assert await client.receive_rest() == b""
    assert (await request_log.next_line())["outcome"] == "client_gone"
    await no_connections(router)
    assert alarms(caplog) == []


async def test_a_chunk_may_break_before_the_request_has_taken_its_first_step(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    async with connect(router.url) as client:
        await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.receive()).status == 200
        (connection,) = server_of(router).connections
        connection.data_received(post(CHAT.path(), b"1\r\n \r\n", JSON, CHUNKED))
        # After the request was taken up, which the line above has asked for.
        asyncio.get_running_loop().call_soon(connection.data_received, b"ZZ\r\n")
        answer = await client.receive()
        assert await client.receive_rest() == b""
    assert answer.status == 400
    assert upstream.received == []


async def test_a_chunk_may_break_in_a_body_that_nobody_reads(
    router: RunningRouter, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await go_on.wait()
        return web.Response(text="answered")

    server_of(router).request_handler = handler
    async with connect(router.url) as client:
        await client.send(post("/", b"1\r\n \r\n", CHUNKED))
        await begun.wait()
        await client.send(b"ZZ\r\n")
        await asyncio.sleep(0.05)
        go_on.set()
        assert (await client.receive()).body == b"answered"
        assert await client.receive_rest() == b""
    assert alarms(caplog) == []


async def test_a_chunk_may_break_in_a_body_that_is_being_thrown_away(
    router: RunningRouter, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(router.url) as client:
        await client.send(post("/health", b" ", JSON, "Content-Length: 60000"))
        assert (await client.receive()).status == 405
        (connection,) = server_of(router).connections
        connection.data_received(b" " * 59_999 + b"\0\0\0\r\n\r\n")
        assert (await client.receive()).status == 400
        assert await client.receive_rest() == b""
    assert alarms(caplog) == []


async def test_what_was_sent_ahead_of_a_refusal_does_not_hinder_it(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    def script(received: Received) -> Reply:
        asked.set()
        return Reply(wait=go_on)

    upstream.script = script
    chunk = b" " * 65_536
    async with connect(router.url) as client:
        await client.send(post(CHAT.path(), BODY, JSON))
        await asked.wait()
        head = post(CHAT.path(), b"", "Content-Type: text/plain", "Content-Length: 100000000")
        ahead = asyncio.create_task(client.send(head, *[chunk] * 100))
        await asyncio.sleep(0.1)  # until no more is taken
        go_on.set()
        assert (await client.receive()).status == 200
        assert (await client.receive()).status == 415
        async with asyncio.timeout(LIMIT_S):  # all of it is heard out
            await ahead
            await client.send(*[chunk] * 300)


async def test_a_fault_where_none_is_expected_closes_the_connection(
    router: RunningRouter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: object) -> None:
        raise RuntimeError("unforeseen")

    async with connect(router.url) as client:
        with monkeypatch.context() as patched:
            patched.setattr(connections, "find_problem", fail)
            await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await client.receive_rest() == b""
    assert alarms(caplog) == ["a connection failed"]
    async with connect(router.url) as client:
        await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.receive()).status == 200


async def test_a_fault_outside_of_the_handlers_is_a_500_of_our_own(
    router: RunningRouter, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("with a secret in it")

    server_of(router).request_handler = handler
    async with connect(router.url) as client:
        await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await client.receive()
        assert await client.receive_rest() == b""
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert answer.headers["connection"] == "close"
    assert alarms(caplog) == ["a request failed outside its handler"]


async def test_of_a_client_that_is_refused_behind_a_running_request_no_more_is_kept(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    def script(received: Received) -> Reply:
        asked.set()
        return Reply(wait=go_on)

    upstream.script = script
    async with connect(router.url) as client:
        await client.send(post(CHAT.path(), BODY, JSON))
        await asked.wait()
        (connection,) = server_of(router).connections
        for _ in range(100):
            connection.data_received(b"no HTTP\r\n\r\n")
        assert len(connection._messages) == 1
        go_on.set()
        assert (await client.receive()).status == 200
        assert (await client.receive()).status == 400
        assert await client.receive_rest() == b""


async def test_a_refused_client_that_does_not_leave_is_left(
    start_router: StartRouter, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LINGER_S", 0.1)
    monkeypatch.setattr(connections, "_DRAIN_S", 3600.0)
    router = await start_router(settings(CHAT, upstream.url))
    async with connect(router.url) as client:
        await client.send(post(CHAT.path(), b"", JSON, "Content-Length: 10000000000"))
        assert (await client.receive()).status == 413
        await no_connections(router)
