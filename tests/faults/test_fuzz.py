"""Thousands of malformed requests: no fault of the router's own, nothing left behind.

Each depends on the seed and its number alone. `python -m bench.fuzz` sends more of them to a router
in a process of its own; what once went wrong is kept in tests/fixtures/fuzz, and sent here first.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import DIALECTS
from tests.support.faults import ask
from tests.support.fuzz.requests import MODELS, Case, cases
from tests.support.fuzz.run import Provider, Report, run, settings
from tests.support.router import RunningRouter, no_connections
from tests.support.upstream import ScriptedUpstream

SEED = "bitrouter"
COUNT = 4000
AT_A_TIME = 32


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    return await start_router(settings(upstream.url))


@pytest.fixture
def provider(upstream: ScriptedUpstream) -> Provider:
    """Judges what the router sends on."""
    upstream.script = judge = Provider()
    return judge


@pytest.fixture
async def loop_faults() -> AsyncIterator[list[str]]:
    """What the event loop would have reported: tasks that failed unseen, callbacks that raised."""
    faults: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(repr(context)))
    yield faults
    loop.set_exception_handler(None)


async def send(
    sent: Iterator[Case],
    router: RunningRouter,
    provider: Provider,
    loop_faults: list[str],
    caplog: pytest.LogCaptureFixture,
) -> Report:
    """Send the cases; afterwards all is as it was before."""
    tasks = len(asyncio.all_tasks())
    report = await run(router.url, sent, AT_A_TIME)
    await no_connections(router)
    services = router.router.services
    assert report.wrong == []
    assert provider.wrong == []
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert loop_faults == []
    assert (services.metrics.inflight, services.buffers.used, services.running) == (0, 0, set())
    assert len(asyncio.all_tasks()) <= tasks + len(DIALECTS) * AT_A_TIME  # those of the provider
    for dialect in DIALECTS:
        got = await ask(router, dialect, model=MODELS[dialect.name])
        assert (got.status, got.body) == (200, dialect.answer)
    return report


async def test_malformed_requests_do_no_harm(
    router: RunningRouter,
    provider: Provider,
    loop_faults: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = await send(cases(SEED, COUNT), router, provider, loop_faults, caplog)
    # They are of every kind, or this test would say little.
    assert {100, 200, 400, 404, 405, 414, 415, 431} <= report.statuses.keys()
    assert report.statuses[200] > COUNT / 20
    assert report.statuses[400] > COUNT / 4
    assert provider.asked > COUNT / 20


@dataclass(frozen=True)
class Kept:
    """A request that once did harm: what it `was` then, and the statuses of its `answers` now.

    In the file its `pieces` are text, in which each character is a byte.
    """

    was: str
    pieces: list[str]
    answers: list[int]

    def case(self) -> Case:
        return Case(0, tuple(piece.encode("latin-1") for piece in self.pieces), pause_s=0.02)


KEPT = {
    file.stem: Kept(**json.loads(file.read_text()))
    for file in sorted((Path(__file__).parents[1] / "fixtures" / "fuzz").glob("*.json"))
}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
async def test_what_once_went_wrong_does_not(
    router: RunningRouter,
    provider: Provider,
    loop_faults: list[str],
    caplog: pytest.LogCaptureFixture,
    kept: Kept,
) -> None:
    report = await send(iter([kept.case()]), router, provider, loop_faults, caplog)
    assert report.statuses == Counter(kept.answers)


def test_the_same_seed_gives_the_same_requests_at_any_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [*cases(SEED, 50)]
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert [*cases(SEED, 50)] == now
    assert [*cases(SEED, 50)] != [*cases("another", 50)]
