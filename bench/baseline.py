"""Whether the router still costs what it did, compared with the bare proxy. `make bench-check`.

`bench/baseline.json` holds, for each scenario, the router's CPU time as a multiple of the bare
proxy's. Being ratios of one run on one machine they hold on any. The exit code is 1 if one of them
is worse by more than a tenth. What seems so is measured again, twice as often, before it counts: a
neighbour on the machine is no regression.

`--planted-us N` has the router waste so many microseconds on each request, which has to be found.
"""

import argparse
import contextlib
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.process import Child
from bench.run import run_round, start_targets
from bench.runs import BARE, ROUTER, Run, cpu_us, ratios
from bench.scenarios import MAX_RATIOS, SCENARIOS, Scenario

FILE: Final = Path(__file__).parent / "baseline.json"
TOLERANCE: Final = 0.10
_ROUNDS: Final = 5
_SECONDS: Final = 0.6

Ratios = Mapping[str, float]


class Finding(msgspec.Struct, frozen=True):
    """A scenario's ratio, and the one that it is held to."""

    scenario: str
    ratio: float
    baseline: float

    @property
    def change(self) -> float:
        """How much worse it is, as a share of the baseline."""
        return self.ratio / self.baseline - 1

    @property
    def is_worse(self) -> bool:
        """Whether it is worse by more than the tolerance."""
        return self.change > TOLERANCE

    def __str__(self) -> str:
        figures = f"{self.ratio:8.2f}{self.baseline:10.2f}{self.change:+9.0%}"
        return f"{self.scenario:33}{figures}  {'WORSE' if self.is_worse else 'met'}"


def compare(found: Ratios, baseline: Ratios) -> Sequence[Finding]:
    """Each scenario against the baseline. Raises KeyError for one that the baseline has not."""
    return [Finding(name, ratio, baseline[name]) for name, ratio in found.items()]


def ratios_of(runs: Sequence[Run], scenarios: Iterable[Scenario]) -> Ratios:
    """The median over the rounds of each scenario's ratio to the bare proxy."""
    return {
        one.name: statistics.median(ratios(cpu_us(runs, one, ROUTER), cpu_us(runs, one, BARE)))
        for one in scenarios
    }


def _measure(
    targets: Mapping[str, Child], scenarios: Sequence[Scenario], rounds: Iterable[int]
) -> Ratios:
    wanted = {*scenarios, *(one.twin for one in scenarios)}
    runs = [
        run
        for number in rounds
        for run in run_round(targets, [one for one in SCENARIOS if one in wanted], number, _SECONDS)
    ]
    return ratios_of(runs, scenarios)


def check(planted_us: int, only: str, baseline: Ratios) -> Sequence[Finding]:
    """Measure, and again what seems to be worse."""
    judged = [one for one in SCENARIOS if one.name in MAX_RATIOS and only in one.name]
    serve = ("bench.slowed", str(planted_us), "serve") if planted_us else ("bitrouter", "serve")
    with contextlib.ExitStack() as stack:
        targets = start_targets(stack, serve)
        findings = {
            one.scenario: one
            for one in compare(_measure(targets, judged, range(_ROUNDS)), baseline)
        }
        suspects = [one for one in judged if findings[one.name].is_worse]
        if suspects:
            again = _measure(targets, suspects, range(_ROUNDS, 3 * _ROUNDS))
            findings |= {one.scenario: one for one in compare(again, baseline)}
    return list(findings.values())


def main() -> int:
    """Compare, or write the baseline. 1 if something is worse, or answers wrongly."""
    parser = argparse.ArgumentParser(prog="python -m bench.baseline", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make what is measured the baseline")
    parser.add_argument("--planted-us", type=int, default=0, metavar="N")
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="scenarios with TEXT in the name"
    )
    given = parser.parse_args()
    unknown = dict.fromkeys(MAX_RATIOS, float("inf"))
    baseline = (
        unknown if given.write else msgspec.json.decode(FILE.read_bytes(), type=dict[str, float])
    )
    try:
        findings = check(given.planted_us, given.only, baseline)
    except RuntimeError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    if given.write:
        found = {one.scenario: round(one.ratio, 2) for one in findings}
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        print(FILE.read_text(), end="")
        return 0
    print(f"{'CPU time, router to bare proxy':33}{'ratio':>8}{'baseline':>10}{'change':>9}")
    print(*findings, sep="\n")
    return int(any(one.is_worse for one in findings))


if __name__ == "__main__":
    sys.exit(main())
