"""Many streams for many minutes, in which memory must not grow and no answer be lost.

Run as `python -m bench.soak`, or `make soak`. With `--changes`: requests without a stream, while
routes and the configuration change. The exit code is 1 if a promise was broken.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from bench.changes import change_under_load, write_config
from bench.content import EVENTS
from bench.crowd import Tally, agree, describe, keep_asking, settled_account
from bench.growth import growth
from bench.process import Child, free_port, python, router_environ, running
from bench.scenarios import Scenario

_WARM_UP_S: Final = 60.0
_MIN_MINUTES: Final = 1.5
_SAMPLE_S: Final = 1.0
# As a model writes, so that many streams run at once though the machine is small: 200 of them are
# 4,000 events a second.
_EVENT_GAP_S: Final = 0.05
_STREAM_S: Final = EVENTS * _EVENT_GAP_S

_Soak = Callable[[Child, int, Path], Coroutine[Any, Any, bool]]


async def stream(router: Child, minutes: float, streams: int) -> bool:
    """So many streams at a time for so long: whether all were whole and memory stayed flat.

    Prints the figures, and how far it is once a minute. Every second client speaks Messages, so
    that its answers are translated. Memory is judged from a minute on.
    """
    tally = Tally()
    samples_mb: list[float] = []
    until = time.monotonic() + minutes * 60

    async def repeat(number: int) -> None:
        # Not all at once: streams of one length would begin and end together for ever.
        await asyncio.sleep(_STREAM_S * number / streams)
        scenario = Scenario(1, True, 1, translated=bool(number % 2))
        await keep_asking(router.port, scenario, tally, lambda: time.monotonic() < until)

    cpu_before_ns, began = router.cpu_ns(), time.monotonic()
    await asyncio.gather(_sample(router, until, samples_mb, tally), *map(repeat, range(streams)))
    share = (router.cpu_ns() - cpu_before_ns) / 1e9 / (time.monotonic() - began)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{router.port}") as session:
        account = await settled_account(session, tally.asked)
    judged = growth(samples_mb[round(_WARM_UP_S / _SAMPLE_S) :])
    print(describe(tally, account))
    print(f"load: {streams} streams at a time, {minutes:g} minutes, {share:.0%} of a core")
    print(f"memory after {_WARM_UP_S:.0f} s: {judged}")
    return agree(tally, account) and judged.is_flat


async def _sample(router: Child, until: float, samples_mb: list[float], tally: Tally) -> None:
    """Note the resident set once a second, and say once a minute how it goes."""
    due = time.monotonic()
    while due < until:
        samples_mb.append(router.memory_mb("VmRSS"))
        if len(samples_mb) % 60 == 0:
            print(
                f"  {len(samples_mb) // 60} min: {samples_mb[-1]:.1f} MB, {tally.done:,} answers,"
                f" {tally.failed} failed",
                flush=True,
            )
        due += _SAMPLE_S
        await asyncio.sleep(due - time.monotonic())


def run(soak: _Soak) -> bool:
    """Start an upstream and a router as a user does, have them soaked, and end them.

    `soak` gets the router, the upstream's port and the router's file, and tells whether all is
    well. The router logs each request.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream_port, router_port = free_port(), free_port()
        file = directory / "bitrouter.yaml"
        write_config(file, router_port, upstream_port)
        upstream = python("bench.upstream", upstream_port, _EVENT_GAP_S)
        stack.enter_context(running(upstream, upstream_port))
        serve = python("bitrouter", "serve", "--config", file)
        router = stack.enter_context(running(serve, router_port, router_environ(directory)))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(soak(router, upstream_port, file))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long")
    parser.add_argument("--streams", type=int, default=200, metavar="N", help="how many at a time")
    parser.add_argument(
        "--changes", action="store_true", help="change routes under load, instead of streams"
    )
    given = parser.parse_args()
    if given.minutes < _MIN_MINUTES or given.streams < 1:
        parser.error(f"needs {_MIN_MINUTES:g} minutes, the first to warm up, and one stream")
    return given


def main() -> int:
    """The command."""
    given = _arguments()

    async def streams(router: Child, upstream_port: int, file: Path) -> bool:
        return await stream(router, given.minutes, given.streams)

    try:
        good = run(change_under_load if given.changes else streams)
    except (RuntimeError, OSError, TimeoutError, aiohttp.ClientError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
