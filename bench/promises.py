"""Measure the times that docs/reliability.md promises: `make bench-promises`, some three minutes.

Each promise is provoked many times, of a router that does nothing else and of one under load. The
exit code is 1 if the 99th percentile of one is beyond what is promised. How long a page takes is
how late the event loop is as well, for it is served in a turn of it.
"""

import argparse
import asyncio
import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench.driver import Load, loading
from bench.load import percentile
from bench.process import Child, free_port, python, router_environ, running, split_cores
from bench.provoke import (
    DEAF,
    HALF,
    SILENT,
    STREAM,
    Provider,
    ask,
    ask_together,
    get,
    hold,
    leave,
    post,
)
from bench.pulse import STALL_S, Span, Stalls, watched
from bench.scenarios import Scenario

LOADS: Final = {
    "no load": None,
    "32 clients": Scenario(0.3, stream=False, connections=32),
    "4 clients, 1 MB, translated": Scenario(1000, stream=False, connections=4, translated=True),
}
_PHASES: Final = {
    DEAF: "connecting (TLS)",
    SILENT: "waiting for the head",
    HALF: "reading a body",
    STREAM: "in a stream",
}
_PAGES: Final = ("/health", "/ready", "/metrics", "/admin/routes")
_LEFT_WITHIN_MS: Final = 50.0
_REFUSED_WITHIN_MS: Final = 100.0
_RESTING_WITHIN_MS: Final = 50.0
_PAGE_WITHIN_MS: Final = 100.0
_PLACES: Final = 2
_AT_ONCE: Final = 32
_LOAD_TURN_S: Final = 0.5
_NICE: Final = 10


class Times(msgspec.Struct, frozen=True):
    """From when until when a promise took, each time that it was provoked, under a load."""

    promise: str
    load: str
    limit_ms: float
    spans: list[Span]


class Found(msgspec.Struct, frozen=True):
    """How long a promise took, under a load: median, p99 and longest of so many, in ms. So many
    more are `left_out`: the machine stood still in them.
    """

    promise: str
    load: str
    limit_ms: float
    count: int
    left_out: int
    median_ms: float
    p99_ms: float
    worst_ms: float

    @property
    def is_kept(self) -> bool:
        """Whether it is, but for one of a hundred."""
        return self.p99_ms <= self.limit_ms

    def __str__(self) -> str:
        figures = "".join(f"{ms:<9.1f}" for ms in (self.median_ms, self.p99_ms, self.worst_ms))
        verdict = "kept" if self.is_kept else "BROKEN"
        return (
            f"{self.promise:35}{self.load:30}{self.count:<7}{self.left_out:<10}{figures}"
            f"{self.limit_ms:.0f}: {verdict}"
        )


def judge(times: Times, stalls: Stalls) -> Found:
    """What the times of a promise come to, but for those in which the machine stood still."""
    judged = [span for span in times.spans if not stalls.touch(span)]
    if not judged:
        raise RuntimeError(f"the machine stood still whenever there was to be: {times.promise}")
    found = sorted(1000 * (until - since) for since, until in judged)
    return Found(
        times.promise,
        times.load,
        times.limit_ms,
        len(found),
        len(times.spans) - len(found),
        percentile(found, 0.5),
        percentile(found, 0.99),
        found[-1],
    )


class Ports(msgspec.Struct, frozen=True):
    """Where everything is: the provider of the load, those that are provoked, and two routers, of
    which one has hardly any places.
    """

    up: int
    odd: int
    deaf: int
    dead: int
    router: int
    narrow: int


def config(ports: Ports, port: int, places: int) -> str:
    """bitrouter.yaml of a router at `port`."""
    return f"""
server: {{listen: '127.0.0.1:{port}'}}
providers:
  up: {{api_protocol: openai, api_base: 'http://127.0.0.1:{ports.up}', api_key: bench}}
  odd: {{api_protocol: openai, api_base: 'http://127.0.0.1:{ports.odd}', api_key: bench}}
  deaf: {{api_protocol: openai, api_base: 'https://127.0.0.1:{ports.deaf}', api_key: bench}}
  dead: {{api_protocol: openai, api_base: 'http://127.0.0.1:{ports.dead}', api_key: bench}}
models:
  bench: {{endpoints: [{{provider: up, model_id: bench-1}}]}}
  resting: {{endpoints: [{{provider: dead, model_id: one}}, {{provider: dead, model_id: two}}]}}
limits: {{max_concurrent_requests: {places}}}
circuit_breaker: {{failures: 1, cooldown: 10m}}
"""


async def repeat(times: int, measured: Callable[[], Awaitable[Span]]) -> list[Span]:
    """One after the other."""
    return [await measured() for _ in range(times)]


async def provoke(ports: Ports, provider: Provider, load: str, times: int) -> list[Times]:
    """All that is provoked of the router that has the load."""
    found = []
    for model, phase in _PHASES.items():
        left = await repeat(times, functools.partial(leave, ports.router, model, provider))
        found.append(Times(f"client gone, {phase}", load, _LEFT_WITHIN_MS, left))
    resting = await repeat(times, lambda: ask(ports.router, post("resting"), 503))
    found.append(Times("all endpoints open: 503", load, _RESTING_WITHIN_MS, resting))
    for path in _PAGES:
        asked = await repeat(times, functools.partial(ask, ports.router, get(path), 200))
        found.append(Times(path, load, _PAGE_WITHIN_MS, asked))
    return found


async def shed(ports: Ports, provider: Provider, times: int) -> list[Times]:
    """What becomes of requests for which there is no place, one at a time and many at once."""
    held = [await hold(ports.narrow, STREAM, provider) for _ in range(_PLACES)]
    sent = post("bench")
    alone = await repeat(times, lambda: ask(ports.narrow, sent, 503))
    together: list[Span] = []
    while len(together) < times:
        together += await ask_together(ports.narrow, [sent] * _AT_ONCE, 503)
    for client in held:
        client.transport.abort()
    return [
        Times("no place: 503", "one at a time", _REFUSED_WITHIN_MS, alone),
        Times("no place: 503", f"{_AT_ONCE} at once", _REFUSED_WITHIN_MS, together),
    ]


@contextlib.asynccontextmanager
async def under(load: Load | None) -> AsyncIterator[None]:
    """Have the load going on for the length of a `with`."""
    going_on = True

    def run() -> None:
        while load is not None and going_on:
            load.run(_LOAD_TURN_S)

    running_load = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        yield
    finally:
        going_on = False
        await running_load


def yield_to_measuring(pid: int) -> None:
    """Clients and provider of the load share the cores with this process, whose own waits for them
    would count as the router's.
    """
    os.setpriority(os.PRIO_PROCESS, pid, _NICE)


async def measure(ports: Ports, router: Child, times: int) -> list[Times]:
    """Everything, under each of the loads."""
    provider = Provider()
    servers = [
        await provider.listen(ports.odd, at_once=False),
        await provider.listen(ports.deaf, at_once=True),
    ]
    for _ in range(_PLACES):  # the first failure opens a breaker, and is told as what it is
        with contextlib.suppress(RuntimeError):
            await ask(ports.router, post("resting"), 503)
    found = await shed(ports, provider, times)
    for name, scenario in LOADS.items():
        with contextlib.ExitStack() as stack:
            load = None
            if scenario is not None:
                load = stack.enter_context(loading(scenario, router))
                yield_to_measuring(load.pid)
            async with under(load):
                found += await provoke(ports, provider, name, times)
    for server in servers:
        server.close()
    return found


@contextlib.contextmanager
def everything() -> Iterator[tuple[Ports, Child]]:
    """Both routers, on a core of their own, and the load's provider."""
    ports = Ports(*(free_port() for _ in Ports.__struct_fields__))
    measured, others = split_cores()
    os.sched_setaffinity(0, others)
    with contextlib.ExitStack() as stack:
        upstream = running(python("bench.upstream", ports.up), ports.up, cores=others)
        yield_to_measuring(stack.enter_context(upstream).pid)
        routers = []
        for port, places in ((ports.router, 2000), (ports.narrow, _PLACES)):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            file = directory / "bitrouter.yaml"
            file.write_text(config(ports, port, places))
            serve = python("bitrouter", "serve", "--config", file)
            environ = router_environ(directory)
            routers.append(stack.enter_context(running(serve, port, environ, cores=measured)))
        yield ports, routers[0]


def render(found: Sequence[Found]) -> str:
    """The table."""
    columns = f"{'times':7}{'left out':10}{'median':9}{'p99':9}{'longest':9}promised"
    head = f"{'milliseconds':35}{'':30}{columns}"
    return "\n".join([head, *map(str, found)])


def main() -> int:
    """The command. 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.promises", description=__doc__)
    parser.add_argument("--times", type=int, default=200, metavar="N", help="of each promise")
    given = parser.parse_args()
    if given.times < 1:
        parser.error("--times must be at least 1")
    with everything() as (ports, router), asyncio.Runner(loop_factory=uvloop.new_event_loop) as run:
        try:
            cores = os.sched_getaffinity(router.pid) | os.sched_getaffinity(0)
            with watched(sorted(cores)) as stalls:
                times = run.run(measure(ports, router, given.times))
            found = [judge(one, stalls) for one in times]
        except (RuntimeError, OSError, TimeoutError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
    print(render(found))
    print(f"left out: a core stood still for more than {1000 * STALL_S:.0f} ms meanwhile")
    return 0 if all(one.is_kept for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
