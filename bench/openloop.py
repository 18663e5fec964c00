"""An open-loop client: it asks at a fixed rate, whether or not the last answer has come.

Run as `python -m bench.openloop PORT RATE SECONDS`. A closed loop asks less often while the target
is slow, and so leaves out just the waits that a user would have met (coordinated omission). Here
each request has the moment at which it was due, and its latency counts from then, be it that it was
sent later.
"""

import asyncio
import os
import sys
import threading
import time
from collections import deque
from typing import Final

import msgspec
import uvloop

from bench.load import Client, percentile
from bench.scenarios import Scenario, request

SCENARIO: Final = Scenario(0.3, stream=False, connections=1)
_CONNECTIONS: Final = 64  # at most so many requests are on their way; more wait, and that counts
_WARM_UP: Final = 200
_ANSWER_WITHIN_S: Final = 30.0


class Latency(msgspec.Struct, frozen=True):
    """Of the requests due in one run at `rate` a second, in microseconds from when they were."""

    rate: float
    requests: int
    p50_us: float
    p99_us: float
    worst_us: float


class _Arrivals:
    """Says when a request is due. A thread does, because the event loop's own timers are exact to
    a millisecond alone, which is more than what is measured.
    """

    def __init__(self, rate: float, count: int) -> None:
        self.due: deque[float] = deque()
        self.descriptor, self._sender = os.pipe()
        os.set_blocking(self.descriptor, False)
        self._thread = threading.Thread(target=self._run, args=(rate, count))
        self._thread.start()

    def _run(self, rate: float, count: int) -> None:
        began_at = time.perf_counter()
        for number in range(count):
            due = began_at + number / rate
            while (wait_s := due - time.perf_counter()) > 0:
                time.sleep(wait_s)
            self.due.append(due)
            os.write(self._sender, b".")

    def close(self) -> None:
        self._thread.join()
        os.close(self._sender)
        os.close(self.descriptor)


class _Asking:
    """The requests of one run: each is sent when it is due and there is a connection for it."""

    def __init__(self, arrivals: _Arrivals, idle: deque[Client], count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrivals = arrivals
        self._idle = idle
        self._count = count
        self._sent = request(SCENARIO)
        self._tasks: set[asyncio.Task[None]] = set()
        self.latencies: list[float] = []
        self.over: asyncio.Future[None] = self._loop.create_future()

    def arrived(self) -> None:
        """Something is due."""
        os.read(self._arrivals.descriptor, 4096)
        self._begin()

    def _begin(self) -> None:
        while self._arrivals.due and self._idle:
            due, client = self._arrivals.due.popleft(), self._idle.popleft()
            task = self._loop.create_task(self._ask(due, client))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _ask(self, due: float, client: Client) -> None:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await client.exchange(SCENARIO, self._sent)
        self.latencies.append(time.perf_counter() - due)
        self._idle.append(client)
        self._begin()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if self.over.done():
            return
        if error := task.exception():
            self.over.set_exception(error)
        elif len(self.latencies) == self._count:
            self.over.set_result(None)


async def run(port: int, rate: float, seconds: float) -> Latency:
    """Ask for so many seconds, and wait for all answers."""
    loop = asyncio.get_running_loop()
    idle: deque[Client] = deque()
    for _ in range(_CONNECTIONS):
        idle.append((await loop.create_connection(Client, "127.0.0.1", port))[1])
    for _ in range(_WARM_UP):
        await idle[0].exchange(SCENARIO, request(SCENARIO))
        idle.rotate()
    count = int(rate * seconds)
    arrivals = _Arrivals(rate, count)
    asking = _Asking(arrivals, idle, count)
    loop.add_reader(arrivals.descriptor, asking.arrived)
    try:
        await asking.over
    finally:
        loop.remove_reader(arrivals.descriptor)
        arrivals.close()
    for client in idle:
        client.close()
    latencies = sorted(asking.latencies)
    p50, p99 = (percentile(latencies, share) * 1e6 for share in (0.5, 0.99))
    return Latency(rate, count, p50, p99, latencies[-1] * 1e6)


def main() -> None:
    """Do as the command line says."""
    port, rate, seconds = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(run(int(port), float(rate), float(seconds)))
    print(msgspec.json.encode(seen).decode(), flush=True)


if __name__ == "__main__":
    main()
