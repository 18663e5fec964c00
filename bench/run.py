"""Measure what the router adds. `make bench`, or `make bench-quick` in under two minutes.

Rounds against the upstream directly, through the bare proxy and through the router take turns, so
that whatever else the machine does falls on all of them alike.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import report, startup
from bench.beside import LARGE, Beside
from bench.content import EVENT_GAP_S, MODEL, UPSTREAM_MODEL
from bench.driver import drive
from bench.micro.translate import QUICK_REPEATS, REPEATS, PairCost
from bench.openloop import Latency
from bench.process import (
    ROOT,
    Child,
    free_port,
    python,
    router_environ,
    run_module,
    running,
    split_cores,
)
from bench.report import Bench
from bench.runs import BARE, DIRECT, ROUTER, TARGETS, Run, targets_of
from bench.scenarios import SCENARIOS, Scenario, choose, groups


class Plan(msgspec.Struct, frozen=True):
    """How much is measured: rounds, seconds of load in each run, starts of the router, repeats of
    each translation, requests a second in open loops and their seconds, seconds of streams with
    large requests beside them.
    """

    rounds: int
    seconds: float
    starts: int
    repeats: int
    rates: tuple[int, ...]
    rate_seconds: float
    beside_seconds: float


FULL: Final = Plan(
    rounds=7,
    seconds=1.5,
    starts=startup.STARTS,
    repeats=REPEATS,
    rates=(100, 300, 1000),
    rate_seconds=5.0,
    beside_seconds=12.0,
)
QUICK: Final = Plan(
    rounds=3,
    seconds=0.5,
    starts=3,
    repeats=QUICK_REPEATS,
    rates=(300,),
    rate_seconds=2.0,
    beside_seconds=4.0,
)


def measure(plan: Plan, scenarios: Sequence[Scenario]) -> Bench:
    """Start everything, run all rounds, end everything."""
    host = report.describe_host()
    runs: list[Run] = []
    with contextlib.ExitStack() as stack:
        targets = start_targets(stack)
        for number in range(plan.rounds):
            runs += run_round(targets, scenarios, number, plan.seconds)
        open_loop = {target: _open_loop(child, plan) for target, child in targets.items()}
        beside = {target: _beside(target, child, plan) for target, child in targets.items()}
        peak_mb = {name: targets[name].memory_mb("VmHWM") for name in (BARE, ROUTER)}
    _show_progress("starts")
    starts = startup.measure_all(plan.starts)
    _show_progress("translators")
    measured = Bench(host, runs, peak_mb, starts, _measure_pairs(plan.repeats), open_loop, beside)
    _show_progress("")
    return measured


def _show_progress(text: str) -> None:
    """On a terminal: one line, written over by the next."""
    if sys.stderr.isatty():
        print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True)


def run_round(
    targets: Mapping[str, Child], scenarios: Sequence[Scenario], number: int, seconds: float
) -> Sequence[Run]:
    """Each scenario once against each of the targets."""
    runs: list[Run] = []
    for together in groups(scenarios):
        _show_progress(f"round {number + 1}: {together[0].name}")
        for target in _in_turn(number):
            runs += _run(together, target, targets[target], number, seconds)
    return runs


def _open_loop(child: Child, plan: Plan) -> list[Latency]:
    _show_progress(f"fixed rates at port {child.port}")
    return [
        run_module("bench.openloop", Latency, child.port, rate, plan.rate_seconds)
        for rate in plan.rates
    ]


def _beside(target: str, child: Child, plan: Plan) -> Beside:
    """Only the router translates: of the others the same is asked in chat."""
    _show_progress(f"large requests beside streams at port {child.port}")
    scenario = msgspec.structs.replace(LARGE, translated=target == ROUTER)
    given = msgspec.json.encode(scenario).decode()
    return run_module("bench.beside", Beside, child.port, plan.beside_seconds, given)


def _in_turn(number: int) -> Sequence[str]:
    """The targets, another one first in each round."""
    first = number % len(TARGETS)
    return TARGETS[first:] + TARGETS[:first]


def _run(
    together: Sequence[Scenario], target: str, child: Child, number: int, seconds: float
) -> Iterable[Run]:
    """Run those of the scenarios that the target can be asked, in turns."""
    asked = [scenario for scenario in together if target in targets_of(scenario)]
    for scenario, measured in zip(asked, drive(child, asked, seconds), strict=True):
        cpu_us = 0.0 if target == DIRECT else measured.cpu_us
        yield Run(scenario.name, target, number, measured.seen, cpu_us)


def _measure_pairs(repeats: int) -> list[PairCost]:
    """In a process that has done nothing else."""
    return run_module("bench.micro.translate", list[PairCost], "--json", "--repeats", repeats)


def start_targets(
    stack: contextlib.ExitStack,
    serve: Sequence[str] = ("bitrouter", "serve"),
    *,
    more_models: str = "",
    event_gap_s: float = EVENT_GAP_S,
) -> Mapping[str, Child]:
    """Start everything, the router by the module and the verb in `serve`, with more lines for
    section `models`. Proxies have a core of their own.
    """
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    up, bare, router = free_port(), free_port(), free_port()
    config = directory / "bitrouter.yaml"
    config.write_text(
        f"server: {{listen: '127.0.0.1:{router}'}}\n"
        f"providers: {{up: {{api_protocol: openai, api_base: 'http://127.0.0.1:{up}',"
        " api_key: bench}}\n"
        f"models:\n  {MODEL}: {{endpoints: [{{provider: up, model_id: {UPSTREAM_MODEL}}}]}}\n"
        f"{more_models}"
    )
    commands = {
        DIRECT: (python("bench.upstream", up, event_gap_s), up),
        BARE: (python("bench.bare_proxy", bare, up), bare),
        ROUTER: (python(*serve, "--config", config), router),
    }
    environ = router_environ(directory)
    measured, others = split_cores()
    return {
        target: stack.enter_context(
            running(command, port, environ, cores=others if target == DIRECT else measured)
        )
        for target, (command, port) in commands.items()
    }


def main() -> int:
    """Read the command line, measure, and report. 1 if something answered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="only the scenarios whose name has TEXT in it"
    )
    given = parser.parse_args()
    scenarios = choose(given.only)
    if not scenarios:
        names = ", ".join(scenario.name for scenario in SCENARIOS)
        parser.error(f"no scenario has {given.only!r} in its name; there are {names}")
    try:
        bench = measure(QUICK if given.quick else FULL, scenarios)
    except RuntimeError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(report.render(bench, scenarios))
    print(f"All of it: {report.write(bench).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
