"""A closed-loop client: each connection sends its next request when the last one is answered.

Run as `python -m bench.load PORT SCENARIO`, the scenario as JSON. It connects, warms up and writes
a line. Then for each line with a number it runs for so many seconds and writes a line; at the end
of its input it writes what it saw in all of them as JSON (`Seen`). An answer that is not exactly
the expected one ends it.
"""

import asyncio
import functools
import resource
import sys
import time
from collections.abc import Sequence
from typing import Final, cast

import msgspec
import uvloop

from bench.content import EVENT_GAP_S, STAMP
from bench.http1 import Response
from bench.scenarios import Scenario, is_answer, request

_WARM_UP_REQUESTS: Final = 64
_ANSWER_WITHIN_S: Final = 30.0


class Seen(msgspec.Struct, frozen=True):
    """What was seen. Latencies are microseconds; of a stream, until its first event. Delays are
    those of its events, from when the provider says each until it is here.
    """

    requests: int
    seconds: float
    latency_p50_us: float
    latency_p99_us: float
    delay_p50_us: float = 0.0
    delay_p99_us: float = 0.0


class Client(asyncio.Protocol):
    """One connection. `delays` takes those of the events that come, in microseconds."""

    def __init__(self, delays: list[float] | None = None) -> None:
        self._delays = delays

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._response = Response()
        self._answered: asyncio.Future[None] | None = None
        self._first_at = 0.0

    @property
    def is_last(self) -> bool:
        """Whether the last answer said that there will be no other on this connection."""
        return self._response.closes

    async def exchange(self, scenario: Scenario, sent: bytes) -> float:
        """Send a request, wait for all of its answer, and check that. Latency in seconds."""
        self._response = response = Response()
        self._first_at = 0.0
        self._answered = self._loop.create_future()
        sent_at = time.perf_counter()
        self._transport.write(sent)
        await self._answered
        body = bytes(response.body)
        if response.status != 200 or not is_answer(scenario, body):
            raise ValueError(f"not the expected answer: {response.status} {body[:2000]!r}")
        return self._first_at - sent_at

    def data_received(self, data: bytes) -> None:
        """Note when the answer's body begins, and see whether it is whole."""
        if self._answered is None:
            raise ValueError("bytes that nobody has asked for")
        if self._delays is not None:
            now_us = time.monotonic_ns() / 1000
            self._delays += [now_us - int(said_at) for said_at in STAMP.findall(data)]
        self._response.feed(data)
        if not self._first_at and self._response.body:
            self._first_at = time.perf_counter()
        if self._response.complete:
            self._answered.set_result(None)
            self._answered = None

    def close(self) -> None:
        """Ask no more."""
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is waiting: a proxy has no reason to close."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error or ConnectionError("closed before the answer"))


async def run(port: int, scenario: Scenario) -> Seen:
    """Do as standard input says."""
    loop = asyncio.get_running_loop()
    delays: list[float] = []
    make = functools.partial(Client, delays if scenario.stream else None)
    clients = [
        (await loop.create_connection(make, "127.0.0.1", port))[1]
        for _ in range(scenario.connections)
    ]
    await asyncio.gather(*(_warm_up(one, scenario) for one in clients))
    latencies: list[float] = []
    took_s = 0.0
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        took_s += await _run_for(float(line), clients, scenario, latencies)
        print("done", flush=True)
    latencies.sort()
    delays.sort()
    return Seen(
        len(latencies),
        took_s,
        percentile(latencies, 0.5) * 1e6,
        percentile(latencies, 0.99) * 1e6,
        percentile(delays, 0.5),
        percentile(delays, 0.99),
    )


async def _run_for(
    seconds: float, clients: Sequence[Client], scenario: Scenario, latencies: list[float]
) -> float:
    """How long it took: streams that run after so many seconds are still read to their end."""
    sent = request(scenario)
    began_at = time.perf_counter()
    until = began_at + seconds

    spread_s = EVENT_GAP_S / len(clients) if scenario.stream else 0.0

    async def repeat(number: int, client: Client) -> None:
        await asyncio.sleep(number * spread_s)  # or all streams would speak at one moment
        while time.perf_counter() < until:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                latencies.append(await client.exchange(scenario, sent))

    await asyncio.gather(*(repeat(number, client) for number, client in enumerate(clients)))
    return time.perf_counter() - began_at


async def _warm_up(client: Client, scenario: Scenario) -> None:
    """Open what stays open, and fill every cache, with the scenario's request but no stream."""
    whole = msgspec.structs.replace(scenario, stream=False)
    sent = request(whole)
    for _ in range(max(_WARM_UP_REQUESTS // scenario.connections, 1)):
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await client.exchange(whole, sent)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The sample that this share of them does not exceed; 0 if there is none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def allow_descriptors() -> None:
    """Raise the soft limit of open files, which thousands of connections need."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Run the scenario of the command line."""
    port, given = sys.argv[1:]
    scenario = msgspec.json.decode(given, type=Scenario)
    allow_descriptors()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(run(int(port), scenario))
    print(msgspec.json.encode(seen).decode(), flush=True)


if __name__ == "__main__":
    main()
