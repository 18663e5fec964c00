"""How the router's cost grows: with connections, routes, the size of bodies, and open streams.

Run as `python -m bench.scaling`, some five minutes. For each step: CPU time a request (of a stream:
an event), requests a second, and the resident memory after it. What a step costs more than the one
before must not grow faster than the step itself. Writes JSON and charts under bench/results/.
"""

import contextlib
import statistics
import sys
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bench import report
from bench.chart import Line, lines
from bench.content import EVENT_GAP_S, EVENTS
from bench.driver import drive
from bench.process import ROOT
from bench.run import start_targets
from bench.runs import BARE, ROUTER
from bench.scenarios import Scenario

_ROUNDS: Final = 3
_SECONDS: Final = 1.0
_STREAM_GAP_S: Final = 0.1

CONNECTIONS: Final = (1, 8, 64, 500, 2000)
ROUTES: Final = (10, 100, 1000, 10_000)
BODIES_KB: Final = (1, 10, 100, 1000, 10_000)
STREAMS: Final = (10, 100, 1000)


class Step(msgspec.Struct, frozen=True):
    """What was seen at one size. `bare_us` and `cpu_us` are for a request, or an event of a
    stream; `memory_mb` is the router's VmRSS.
    """

    size: float
    cpu_us: float
    bare_us: float
    a_second: float
    memory_mb: float


class Axis(msgspec.Struct, frozen=True):
    """All steps along one axis; `unit` is what the sizes count."""

    name: str
    unit: str
    steps: list[Step]

    def table(self) -> Iterable[str]:
        """For people."""
        yield (
            f"{self.name:16}{'CPU us':>10}{'bare':>10}{'ratio':>8}{'a second':>12}{'memory MB':>12}"
        )
        for one in self.steps:
            yield (
                f"{one.size:<16,g}{one.cpu_us:10.0f}{one.bare_us:10.0f}"
                f"{one.cpu_us / one.bare_us:8.2f}{one.a_second:12,.0f}{one.memory_mb:12.1f}"
            )


def _other_routes(count: int) -> str:
    return "".join(
        f"  other-{number}: {{endpoints: [{{provider: up, model_id: m{number}}}]}}\n"
        for number in range(count)
    )


def _step(
    size: float, scenario: Scenario, *, routes: int = 0, event_gap_s: float = EVENT_GAP_S
) -> Step:
    """Measure in processes of their own, so that memory is that of this step alone."""
    costs: dict[str, list[float]] = {BARE: [], ROUTER: []}
    rates = []
    parts = EVENTS if scenario.stream else 1
    with contextlib.ExitStack() as stack:
        targets = start_targets(stack, more_models=_other_routes(routes), event_gap_s=event_gap_s)
        for _ in range(1 if scenario.stream else _ROUNDS):
            for name in (BARE, ROUTER):
                (measured,) = drive(targets[name], [scenario], _SECONDS)
                costs[name].append(measured.cpu_us / parts)
                if name == ROUTER:
                    rates.append(measured.seen.requests * parts / measured.seen.seconds)
        memory_mb = targets[ROUTER].memory_mb("VmHWM" if scenario.stream else "VmRSS")
    cpu_us, bare_us = (statistics.median(costs[name]) for name in (ROUTER, BARE))
    return Step(size, cpu_us, bare_us, statistics.median(rates), memory_mb)


def _whole(body_kb: float, connections: int) -> Scenario:
    return Scenario(body_kb, stream=False, connections=connections)


def measure() -> Iterable[Axis]:
    """One axis after the other."""
    yield Axis("connections", "requests", [_step(size, _whole(0.3, size)) for size in CONNECTIONS])
    yield Axis("routes", "requests", [_step(size, _whole(0.3, 64), routes=size) for size in ROUTES])
    yield Axis(
        "body kB",
        "requests",
        [_step(size, _whole(size, 4 if size > 1000 else 16)) for size in BODIES_KB],
    )
    yield Axis(
        "open streams",
        "events",
        [
            _step(size, Scenario(0.3, stream=True, connections=size), event_gap_s=_STREAM_GAP_S)
            for size in STREAMS
        ],
    )


def _write(host: report.Host, axes: Sequence[Axis]) -> None:
    report.result_file(host, "scaling.json").write_bytes(
        msgspec.json.format(msgspec.json.encode({"host": host, "axes": axes}), indent=2)
    )
    where = f"{host.processor}, {host.python}, commit {host.commit}"
    for axis in axes:
        shown = [
            Line("bitrouter", [(one.size, one.cpu_us) for one in axis.steps]),
            Line("bare proxy", [(one.size, one.bare_us) for one in axis.steps]),
            Line("memory, MB", [(one.size, one.memory_mb) for one in axis.steps]),
        ]
        file = report.result_file(host, f"{axis.name.replace(' ', '-')}.svg")
        title = f"CPU time in microseconds for each of the {axis.unit}, and memory"
        file.write_text(lines(title, where, (axis.name, "us, MB"), shown))
        print(f"The chart: {file.relative_to(ROOT)}")


def main() -> int:
    """Measure and show. 1 if something answered wrongly."""
    host = report.describe_host()
    axes = []
    try:
        for axis in measure():
            axes.append(axis)
            print(*axis.table(), "", sep="\n", flush=True)
    except RuntimeError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    _write(host, axes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
