"""What single runs saw, and how to compare them."""

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

from bench.load import Seen
from bench.scenarios import Scenario

DIRECT: Final = "direct"
BARE: Final = "bare proxy"
ROUTER: Final = "bitrouter"
TARGETS: Final = (DIRECT, BARE, ROUTER)


class Run(msgspec.Struct, frozen=True):
    """One scenario against one target in one round. `cpu_us` is per request; 0 for `direct`."""

    scenario: str
    target: str
    round: int
    seen: Seen
    cpu_us: float


def targets_of(scenario: Scenario) -> tuple[str, ...]:
    """Whom its load is sent to: only the router translates, and a direct run tells latencies, which
    are shown at one connection.
    """
    if scenario.translated:
        return (ROUTER,)
    return TARGETS if scenario.connections == 1 else (BARE, ROUTER)


def select(runs: Sequence[Run], scenario: Scenario, target: str) -> list[Run]:
    """The runs of a scenario's load against one target, in the order of the rounds: where the
    target does not translate, those of the same asked in chat.
    """
    name = (scenario if target in targets_of(scenario) else scenario.twin).name
    found = [run for run in runs if run.scenario == name and run.target == target]
    return sorted(found, key=lambda run: run.round)


def cpu_us(runs: Sequence[Run], scenario: Scenario, target: str) -> list[float]:
    """CPU time per request in each round."""
    return [run.cpu_us for run in select(runs, scenario, target)]


def differences(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round, so that what slows a whole round weighs on both."""
    return [value - other for value, other in zip(values, others, strict=True)]


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round."""
    return [value / other for value, other in zip(values, others, strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    """The median, and in brackets the least and the most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
