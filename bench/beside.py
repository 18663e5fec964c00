"""Small streams, and large requests beside them, one at a time: how much later do events come?

Run as `python -m bench.beside PORT SECONDS SCENARIO`, the large requests' scenario as JSON. Each
event says when it was said. Those that were on their way while a large request was are compared
with those of a moment before, so that whatever else the machine does weighs on both alike.
"""

import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import uvloop

from bench.content import EVENT_GAP_S, STAMP
from bench.load import Client, percentile
from bench.scenarios import Scenario, request

STREAMS: Final = 20
LARGE: Final = Scenario(1000, stream=False, connections=1)
_SMALL: Final = Scenario(0.3, stream=True, connections=STREAMS)
_PAUSE_S: Final = 0.1  # between two large requests, in which events meet none
_WARM_UP: Final = 5
_APART_US: Final = 30_000  # from the span that is compared with a large request to the request
_ANSWER_WITHIN_S: Final = 30.0

Span = tuple[int, int]


class Delays(msgspec.Struct, frozen=True):
    """Of so many events, from when each was said until it was there, in microseconds.

    `longest_p50_us` is the median of the latest event of each span of time that was looked at: what
    else the machine does makes a few events late by any amount, and hardly moves that.
    """

    events: int
    p50_us: float
    p99_us: float
    longest_p50_us: float


class Beside(msgspec.Struct, frozen=True):
    """What was seen: the delays of events that were on their way together with one of the `large`
    requests, and of those in a span as long before each. One took `large_p50_us` at the median.
    """

    large: int
    large_p50_us: float
    alone: Delays
    met: Delays

    @property
    def added_us(self) -> tuple[float, float, float]:
        """By how much events are later beside a large request: p50, p99, median of the longest."""
        met, alone = self.met, self.alone
        return (
            met.p50_us - alone.p50_us,
            met.p99_us - alone.p99_us,
            met.longest_p50_us - alone.longest_p50_us,
        )


class _Listener(Client):
    """Notes of each event when it was said and when it was there, in microseconds."""

    def __init__(self, heard: list[Span]) -> None:
        super().__init__()
        self._heard = heard

    def data_received(self, data: bytes) -> None:
        """See Client."""
        now_us = _now_us()
        self._heard += [(int(said_at), now_us) for said_at in STAMP.findall(data)]
        super().data_received(data)


def _now_us() -> int:
    return time.monotonic_ns() // 1000


def judge(heard: Iterable[Span], large: Sequence[Span]) -> Beside:
    """Compare the events that were on their way during a large request with others. Events and
    large requests are pairs of microseconds, from and until.
    """
    events = sorted(heard)
    before = [(2 * begin - end - _APART_US, begin - _APART_US) for begin, end in large]
    took = sorted(end - begin for begin, end in large)
    return Beside(
        len(large), percentile(took, 0.5), _delays(events, before), _delays(events, large)
    )


def _delays(events: Sequence[Span], spans: Iterable[Span]) -> Delays:
    """Those of the events that were on their way in one of the spans."""
    found = [
        [here_at - said_at for said_at, here_at in events if said_at <= end and begin <= here_at]
        for begin, end in spans
    ]
    values = sorted(value for values in found for value in values)
    longest = sorted(max(values) for values in found if values)
    p50, p99 = (percentile(values, share) for share in (0.5, 0.99))
    return Delays(len(values), p50, p99, percentile(longest, 0.5))


async def run(port: int, seconds: float, scenario: Scenario = LARGE) -> Beside:
    """Ask for so many seconds, and until the streams that run then are over."""
    loop = asyncio.get_running_loop()
    heard: list[Span] = []
    large: list[Span] = []
    sent = request(scenario)
    _, disturber = await loop.create_connection(Client, "127.0.0.1", port)
    for _ in range(_WARM_UP):
        await disturber.exchange(scenario, sent)
    until = time.monotonic() + seconds

    async def exchange(client: Client, asked: Scenario, sent: bytes) -> None:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await client.exchange(asked, sent)

    async def listen(number: int) -> None:
        _, client = await loop.create_connection(lambda: _Listener(heard), "127.0.0.1", port)
        await asyncio.sleep(number * EVENT_GAP_S / STREAMS)
        while time.monotonic() < until:
            await exchange(client, _SMALL, request(_SMALL))
        client.close()

    async def disturb() -> None:
        while time.monotonic() < until:
            began_at = _now_us()
            await exchange(disturber, scenario, sent)
            large.append((began_at, _now_us()))
            await asyncio.sleep(_PAUSE_S)
        disturber.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(disturb())
        for number in range(STREAMS):
            tasks.create_task(listen(number))
    return judge(heard, large)


def main() -> None:
    """Do as the command line says."""
    port, seconds, given = sys.argv[1:]
    scenario = msgspec.json.decode(given, type=Scenario)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(run(int(port), float(seconds), scenario))
    print(msgspec.json.encode(seen).decode(), flush=True)


if __name__ == "__main__":
    main()
