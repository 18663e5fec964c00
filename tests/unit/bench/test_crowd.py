"""A crowd counts every fault, goes on after it, and believes neither side alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench import chat
from bench.crowd import Account, Tally, agree, describe, keep_asking
from bench.http1 import http_request
from bench.scenarios import Scenario
from bench.upstream import Upstream

WHOLE = Scenario(1, False, 1)
STREAM = Scenario(1, True, 1)
LIMIT_S = 20.0

RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(chat.WHOLE), chat.WHOLE)
WRONG = RIGHT.replace(b"quickly", b"quietly")
ERROR = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 2\r\n\r\n{}"
CUT = RIGHT[:-5]


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[int]:
    """A server that gives these answers, one to each request, and closes after one that is cut."""
    left = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b'"stream":false}'):
                answer = next(left)
                writer.write(answer)
                if answer is CUT:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(LIMIT_S):
        yield server.sockets[0].getsockname()[1]


async def test_each_fault_is_counted_and_the_client_goes_on() -> None:
    tally = Tally()

    async with answering(RIGHT, WRONG, RIGHT, ERROR, CUT, RIGHT) as port:
        await keep_asking(port, WHOLE, tally, lambda: tally.asked < 6)

    assert (tally.done, tally.failed) == (3, 3)
    assert [failure.split(":")[1].strip() for failure in tally.failures] == [
        "ValueError",
        "ValueError",
        "ConnectionError",
    ]


async def test_nobody_who_listens_is_a_failure() -> None:
    tally = Tally()
    async with answering() as port:
        pass

    async with asyncio.timeout(LIMIT_S):
        await keep_asking(port, WHOLE, tally, lambda: not tally.failed)

    assert (tally.done, tally.failed) == (0, 1)


async def test_a_stream_that_runs_is_read_to_its_end() -> None:
    """From the bench's own provider, at a pace of its own."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(0.0005), "127.0.0.1", 0)
    turns = iter([True, True, False, False])

    async with server, asyncio.timeout(LIMIT_S):
        port = server.sockets[0].getsockname()[1]
        await keep_asking(port, STREAM, tally, lambda: next(turns))

    assert (tally.done, tally.failed) == (1, 0)


@pytest.mark.parametrize(
    "account",
    [
        Account({"ok": 1}, {}, 0),
        Account({"ok": 3}, {}, 0),
        Account({"ok": 2, "client_gone": 1}, {}, 0),
        Account({"ok": 2}, {}, 1),
        Account({}, {}, 0),
    ],
)
def test_an_account_that_differs_is_noticed(account: Account) -> None:
    tally = Tally()
    tally.done = 2

    assert agree(tally, Account({"ok": 2}, {}, 0))
    assert not agree(tally, account)


def test_a_failure_is_shown_and_is_no_agreement() -> None:
    tally = Tally()
    tally.done = 1
    tally.fail(WHOLE, ValueError("503 said somebody"))
    account = Account({"ok": 1}, {}, 0)

    assert not agree(tally, account)
    assert "1 failed" in describe(tally, account)
    assert "FAILED 1kB-whole-c1: ValueError: 503 said somebody" in describe(tally, account)


def test_what_the_clients_send_ends_as_the_server_here_expects() -> None:
    body = chat.request_body("q", stream=False)

    assert http_request(chat.PATH, chat.HEADER_LINES, body).endswith(b'"stream":false}')
