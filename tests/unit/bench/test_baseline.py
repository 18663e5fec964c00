"""A regression is told from what is as it was, and a planted one makes a request slower."""

import time

import msgspec
import pytest
from aiohttp import web

from bench import slowed
from bench.baseline import FILE, TOLERANCE, compare, ratios_of
from bench.load import Seen
from bench.runs import BARE, ROUTER, Run
from bench.scenarios import MAX_RATIOS, SCENARIOS, Scenario
from bitrouter.server.inference import Inference
from bitrouter.server.outgoing import OutStream

SCENARIO = Scenario(0.3, stream=False, connections=64)
SEEN = Seen(requests=1000, seconds=0.5, latency_p50_us=500.0, latency_p99_us=900.0)


def runs(router_us: float) -> list[Run]:
    """Three rounds, of which one was slow for the router alone."""
    return [
        Run(SCENARIO.name, target, number, SEEN, cpu_us)
        for number, slow in enumerate((1.0, 3.0, 1.0))
        for target, cpu_us in ((BARE, 200.0), (ROUTER, router_us * slow))
    ]


@pytest.mark.parametrize(
    ("router_us", "is_worse"), [(200.0, False), (218.0, False), (222.0, True), (100.0, False)]
)
def test_a_tenth_more_than_the_baseline_is_a_regression(router_us: float, is_worse: bool) -> None:
    found = ratios_of(runs(router_us), [SCENARIO])
    (finding,) = compare(found, {SCENARIO.name: 1.0})

    assert finding.is_worse is is_worse
    assert ("WORSE" in str(finding)) is is_worse


def test_the_committed_baseline_has_every_scenario_that_has_a_target() -> None:
    baseline = msgspec.json.decode(FILE.read_bytes(), type=dict[str, float])

    assert baseline.keys() == MAX_RATIOS.keys()
    assert MAX_RATIOS.keys() <= {one.name for one in SCENARIOS}
    assert 0 < TOLERANCE <= 0.1
    assert all(ratio > 0 for ratio in baseline.values())


async def test_a_planted_slowdown_takes_the_time_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = web.Response()

    async def handle(*_: object) -> web.StreamResponse:
        return answered

    monkeypatch.setattr(Inference, "handle", handle)
    monkeypatch.setattr(OutStream, "write_now", OutStream.write_now)  # restored afterwards
    slowed.plant(0.02)

    began_at = time.thread_time()
    assert await Inference.handle(*[None] * 5) is answered  # type: ignore[arg-type]  # unused
    assert time.thread_time() - began_at >= 0.02
