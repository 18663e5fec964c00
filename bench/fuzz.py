"""Malformed requests by the hundred thousand, to a router in a process of its own.

Run as `python -m bench.fuzz`; the exit code is 1 if it did harm. Requests depend on the seed and
their number alone: `--seed S --from N --count 1` sends number N again. What was found is to be kept
in tests/fixtures/fuzz, which the tests send.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvloop
import yaml

from tests.support.fuzz.requests import Case, case
from tests.support.fuzz.run import Provider, Report, run, settings
from tests.support.process import RouterProcess
from tests.support.upstream import ScriptedUpstream

_AT_A_TIME: Final = 64
_TOLD_EVERY: Final = 10_000
_SETTLED_WITHIN_S: Final = 30.0
_SHOWN: Final = 20


def cases(seed: str, first: int, count: int) -> Iterator[Case]:
    """The cases of these numbers; a line now and then tells how far it is."""
    for number in range(first, first + count):
        if number > first and (number - first) % _TOLD_EVERY == 0:
            print(f"  {number - first:,} of {count:,}", flush=True)
        yield case(seed, number)


def descriptors(router: RouterProcess) -> int:
    """How many files the process has open."""
    return len([*Path(f"/proc/{router.pid}/fd").iterdir()])


def resident_mb(router: RouterProcess) -> float:
    """Its resident set, in MB of 1,000,000 bytes."""
    status = Path(f"/proc/{router.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


async def settled(router: RouterProcess, wanted: int) -> int:
    """The descriptors that are open once there are no more than `wanted`, or after some time."""
    until = time.monotonic() + _SETTLED_WITHIN_S
    while (found := descriptors(router)) > wanted and time.monotonic() < until:  # noqa: ASYNC110 - another process has them
        await asyncio.sleep(0.1)
    return found


async def fuzz(seed: str, first: int, count: int, directory: Path) -> bool:
    """Send the cases and print what came of them: whether no harm was done."""
    provider = Provider()
    upstream = ScriptedUpstream(provider)
    await upstream.start()
    server = {"listen": "127.0.0.1:0", "log": {"level": "warning"}}
    given = settings(upstream.url) | {"server": server}
    (directory / "bitrouter.yaml").write_text(yaml.safe_dump(given))
    router = RouterProcess(cwd=directory)
    try:
        opened, resident = descriptors(router), resident_mb(router)
        began = time.monotonic()
        report = await run(router.url, cases(seed, first, count), _AT_A_TIME)
        took_s = time.monotonic() - began
        still = await run(router.url, cases("again", 0, 200), _AT_A_TIME)
        await upstream.stop()
        left = await settled(router, opened)
        print(_figures(report, provider, count, took_s))
        print(
            f"  descriptors {opened} -> {left}, resident {resident:.1f} -> "
            f"{resident_mb(router):.1f} MB"
        )
        router.send(signal.SIGTERM)
        code = router.wait()
    finally:
        router.stop()
    said = [line for line in router.lines if line != router.banner]
    wrong = [*report.wrong, *still.wrong, *provider.wrong, *said]
    for one in wrong[:_SHOWN]:
        print(f"  WRONG {one:.500}")
    print(f"  wrong: {len(wrong)}, lines logged: {len(said)}, exit code: {code}")
    return not wrong and left <= opened and code == 0 and still.statuses[200] > 0


def _figures(report: Report, provider: Provider, count: int, took_s: float) -> str:
    statuses = ", ".join(
        f"{status}: {times:,}" for status, times in sorted(report.statuses.items())
    )
    return (
        f"{count:,} cases in {took_s:.0f} s: {report.statuses.total():,} answers ({statuses}),\n"
        f"  {report.unanswered:,} cases without any, {provider.asked:,} requests passed on"
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--seed", default="bitrouter")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N")
    parser.add_argument("--count", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        good = uvloop.run(fuzz(given.seed, given.first, given.count, Path(directory)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
