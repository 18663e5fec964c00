"""The client of the payments' bench: each connection is a wallet, each request has a payment of its
own, or a key where the load says so.

Run as `python -m bench.customer PORT LOAD [KEY]`, the load as JSON. It asks for the terms, signs
all that it will need, warms up and writes a line. When it is sent a line it makes its requests, and
writes another one. A wrong answer ends it.
"""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any, Final, Literal, cast

import msgspec
import orjson
import uvloop

from bench import brief, chat
from bench.content import STAMP, question
from bench.http1 import Response, http_request
from bench.wallet import Wallet

Means = Literal["key", "exact", "upto"]

_ANSWER_WITHIN_S: Final = 30.0
_WARM_UP_REQUESTS: Final = 2  # of each connection
_RECEIPT: Final = b": x402-payment-response "


class Load(msgspec.Struct, frozen=True):
    """`requests` over so many `connections`, with bodies of `body_kb` thousand bytes, and how they
    are paid for.
    """

    means: Means
    body_kb: float
    stream: bool
    connections: int
    requests: int

    @property
    def name(self) -> str:
        """What is asked, whatever pays for it."""
        kind = f"stream{brief.EVENTS}" if self.stream else "whole"
        return f"{self.body_kb:g}kB-{kind}-c{self.connections}"

    @property
    def each(self) -> int:
        """The requests of a connection."""
        return self.requests // self.connections

    @property
    def made(self) -> int:
        """The requests of all connections."""
        return self.each * self.connections


class Connection(asyncio.Protocol):
    """One connection to the router."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._response = Response()
        self._answered: asyncio.Future[None] | None = None

    async def exchange(self, sent: bytes) -> Response:
        """Send a request and wait for all of its answer."""
        self._response = Response()
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(sent)
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await self._answered
        return self._response

    def data_received(self, data: bytes) -> None:
        """See whether the answer is whole."""
        if self._answered is None:
            raise ValueError("bytes that nobody has asked for")
        self._response.feed(data)
        if self._response.complete:
            self._answered.set_result(None)
            self._answered = None

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is waiting."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error or ConnectionError("closed before the answer"))


class Customer:
    """A wallet at a connection."""

    def __init__(self, connection: Connection, load: Load, key: str) -> None:
        self._connection = connection
        self._load = load
        frame = len(chat.request_body("", stream=load.stream))
        asked = question(int(load.body_kb * 1000) - frame)
        self._body = chat.request_body(asked, stream=load.stream)
        self._requests: list[bytes] = []
        self._key = key

    async def prepare(self, count: int) -> None:
        """Make so many requests."""
        if self._load.means == "key":
            line = f"Authorization: Bearer {self._key}\r\n"
            self._requests = [self._request(line)] * count
            return
        accepted = await self._terms()
        wallet = Wallet()
        self._requests = [
            self._request(f"PAYMENT-SIGNATURE: {wallet.header(accepted)}\r\n") for _ in range(count)
        ]

    async def ask(self, count: int) -> None:
        """Make so many of the requests, one after the other."""
        for _ in range(count):
            answer = await self._connection.exchange(self._requests.pop())
            if not self._is_right(answer):
                raise ValueError(f"not the expected answer: {answer.status} {answer.body!r:.2000}")

    def _request(self, line: str) -> bytes:
        return http_request(chat.PATH, line.encode(), self._body)

    async def _terms(self) -> Any:
        answer = await self._connection.exchange(self._request(""))
        if answer.status != 402:
            raise ValueError(f"no terms: {answer.status} {answer.body!r:.2000}")
        offers = orjson.loads(bytes(answer.body))["payment_required"]["accepts"]
        return next(one for one in offers if one["scheme"] == self._load.means)

    def _is_right(self, answer: Response) -> bool:
        body = bytes(answer.body)
        if answer.status != 200 or not self._load.stream:
            return answer.status == 200 and body == chat.WHOLE
        is_paid = self._load.means == "key" or _RECEIPT in body
        return is_paid and len(STAMP.findall(body)) == brief.WORDS and b"[DONE]" in body


async def run(port: int, load: Load, key: str) -> None:
    """Do as standard input says."""
    loop = asyncio.get_running_loop()
    customers = [
        Customer((await loop.create_connection(Connection, "127.0.0.1", port))[1], load, key)
        for _ in range(load.connections)
    ]
    for one in customers:
        await one.prepare(load.each + _WARM_UP_REQUESTS)
    await _together(customers, _WARM_UP_REQUESTS)
    print("ready", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        await _together(customers, load.each)
        print("done", flush=True)


async def _together(customers: Iterable[Customer], count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for one in customers:
            group.create_task(one.ask(count))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        given = msgspec.json.decode(sys.argv[2], type=Load)
        runner.run(run(int(sys.argv[1]), given, "".join(sys.argv[3:])))
