"""The report's figures, from runs whose figures are known."""

from collections.abc import Callable, Sequence

import pytest

from bench.content import EVENTS
from bench.load import Seen
from bench.runs import BARE, DIRECT, ROUTER, Run, select, targets_of
from bench.scenarios import SCENARIOS, Scenario
from bench.tables import MAX_EVENT_US, MAX_REQUEST_US, cpu_table, latency_table, translation_table

PASSED_US = 300.0
WHOLE = Scenario(1, False, 32, translated=True)
STREAM = Scenario(1, True, 32, translated=True)
SEEN = Seen(requests=1000, seconds=0.5, latency_p50_us=500.0, latency_p99_us=900.0)


def runs_of(
    scenarios: Sequence[Scenario], added_us: Callable[[int], float] = lambda number: 0.0
) -> list[Run]:
    """Three rounds, in which translating costs `added_us` of the round's number."""
    return [
        Run(
            scenario.name,
            target,
            number,
            SEEN,
            0.0
            if target == DIRECT
            else PASSED_US / 2
            if target == BARE
            else PASSED_US + (added_us(number) if scenario.translated else 0.0),
        )
        for number in range(3)
        for scenario in scenarios
        for target in targets_of(scenario)
    ]


def line_of(lines: Sequence[str], scenario: Scenario) -> str:
    return next(line for line in lines if line.split()[0] == scenario.name)


def test_translated_load_goes_to_the_router_alone() -> None:
    assert targets_of(WHOLE) == (ROUTER,)
    assert BARE in targets_of(WHOLE.twin)


def test_bare_proxy_of_a_translated_scenario_is_that_of_its_twin() -> None:
    runs = runs_of([WHOLE.twin, WHOLE])

    assert select(runs, WHOLE, BARE) == select(runs, WHOLE.twin, BARE) != []


def test_runs_are_compared_round_by_round() -> None:
    runs = runs_of([WHOLE.twin, WHOLE])[::-1]

    assert [run.round for run in select(runs, WHOLE, ROUTER)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("added_us", "verdict"), [(MAX_REQUEST_US - 1, "met"), (MAX_REQUEST_US + 1, "MISSED")]
)
def test_translation_is_held_to_its_limit_for_a_request(added_us: float, verdict: str) -> None:
    runs = runs_of([WHOLE.twin, WHOLE], lambda number: added_us + number - 1)

    line = line_of([*translation_table(runs, [WHOLE.twin, WHOLE])], WHOLE)

    assert f"{added_us:.0f} ({added_us - 1:.0f} to {added_us + 1:.0f})" in line
    assert line.endswith(f"60 a request: {verdict}")


@pytest.mark.parametrize(
    ("event_us", "verdict"), [(MAX_EVENT_US - 1, "met"), (MAX_EVENT_US + 1, "MISSED")]
)
def test_translation_is_held_to_its_limit_for_an_event(event_us: float, verdict: str) -> None:
    runs = runs_of([STREAM.twin, STREAM], lambda number: event_us * EVENTS)

    line = line_of([*translation_table(runs, [STREAM.twin, STREAM])], STREAM)

    assert f"{event_us:.1f} ({event_us:.1f} to {event_us:.1f})" in line
    assert line.endswith(f"12 an event: {verdict}")


def test_without_translated_scenarios_there_is_no_such_table() -> None:
    assert [*translation_table(runs_of([WHOLE.twin]), [WHOLE.twin])] == []


def test_every_scenario_has_a_line_with_its_ratio_to_bare() -> None:
    lines = [*cpu_table(runs_of(SCENARIOS), SCENARIOS)]

    assert all("2.00 (2.00 to 2.00)" in line_of(lines, scenario) for scenario in SCENARIOS)


def test_latencies_are_those_at_one_connection() -> None:
    lines = [*latency_table(runs_of(SCENARIOS), SCENARIOS)]

    shown = {line.split()[0] for line in lines}
    alone = {scenario.name for scenario in SCENARIOS if scenario.connections == 1}
    assert {scenario.name for scenario in SCENARIOS} & shown == alone
