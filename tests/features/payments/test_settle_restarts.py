"""Settlements that a drain, a restart or a crowd meets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator
from bitrouter.payments.settle import Pace
from bitrouter.payments.terms import Terms
from tests.features.payments.settlements import (
    EXACT,
    LIMIT_S,
    each_scheme,
    ended,
    settle,
)
from tests.support.facilitator import (
    FakeFacilitator,
    answers_json,
    hang_up,
    leave_pending,
    move_and_hang_up,
    payload_of,
    settle_honestly,
    waits,
)
from tests.support.settling import SettlingRouter, entry_of

Restart = Callable[[], SettlingRouter]


@pytest.fixture
async def restart(
    tmp_path: Path, client: Facilitator, counters: Counters
) -> AsyncIterator[Restart]:
    started: list[SettlingRouter] = []

    def start() -> SettlingRouter:
        started.append(SettlingRouter(tmp_path, client, counters))
        return started[-1]

    yield start
    for router in started:
        await router.stop()


async def test_draining_waits_for_settlements_that_are_being_made(
    fake: FakeFacilitator, restart: Restart
) -> None:
    router = restart()
    go_on = asyncio.Event()
    fake.on_settle.append(waits(go_on, settle_honestly))
    waiting = asyncio.create_task(settle(router, EXACT))
    await fake.wait_for("/settle", 1)
    draining = asyncio.create_task(router.settler.drain(LIMIT_S))
    await asyncio.sleep(0)
    go_on.set()

    assert await draining == 0
    receipt = await waiting
    assert receipt is not None
    assert receipt.success


@each_scheme
async def test_what_draining_leaves_is_settled_by_the_next_start(
    fake: FakeFacilitator, restart: Restart, terms: Terms
) -> None:
    first = restart()
    never = asyncio.Event()
    fake.on_settle.append(waits(never, settle_honestly))
    waiting = asyncio.create_task(settle(first, terms, wait_s=LIMIT_S))
    await fake.wait_for("/settle", 1)

    assert await first.settler.drain(0.01) == 1
    assert await waiting is None
    await first.stop()
    never.set()

    second = restart()
    assert [entry.id for entry in await second.settler.resume()] == ["req-1"]
    _, receipt = await ended(second)
    assert receipt.success
    assert fake.total_moved == 5000
    assert (await second.row()).state == "settled"
    assert await second.journal.unfinished() == []


async def test_draining_does_not_wait_for_what_only_rests(
    fake: FakeFacilitator, tmp_path: Path, client: Facilitator, counters: Counters
) -> None:
    router = SettlingRouter(tmp_path, client, counters, pace=Pace(3600.0, 3600.0))
    fake.on_settle.append(hang_up)
    assert await settle(router, EXACT, wait_s=0.2) is None

    async with asyncio.timeout(LIMIT_S):
        assert await router.settler.drain(3600.0) == 1

    assert (await router.row()).state == "unknown"
    await router.stop()


@each_scheme
async def test_a_restart_finds_out_what_went_through(
    fake: FakeFacilitator, restart: Restart, terms: Terms
) -> None:
    """A crash between the facilitator's success and the note of it."""
    payload = payload_of(terms)
    first = restart()
    await first.journal.keep(entry_of(payload, terms, state="settling", amount=5000))
    await first.stop()
    fake.move({"paymentPayload": payload, "paymentRequirements": {"amount": "5000"}})

    second = restart()
    await second.settler.resume()
    entry, receipt = await ended(second)

    assert (entry.state, receipt.success, receipt.transaction) == ("settled", True, "")
    assert fake.total_moved == 5000
    assert sum(second.counters.settle_seconds.counts) == 0


async def test_a_restart_releases_what_was_not_settled(
    fake: FakeFacilitator, restart: Restart
) -> None:
    first = restart()
    await first.journal.keep(entry_of(payload_of(EXACT), EXACT))
    await first.stop()

    second = restart()
    assert await second.settler.resume() == []

    row = await second.row()
    assert (row.state, row.payload) == ("released", b"")
    assert fake.calls == []


async def test_a_restart_after_expiry_asks_once_and_gives_up(
    fake: FakeFacilitator, restart: Restart
) -> None:
    first = restart()
    await first.journal.keep(
        entry_of(payload_of(EXACT), EXACT, state="unknown", amount=5000, expires_at=1000)
    )
    await first.stop()
    said = {
        "isValid": False,
        "invalidReason": "invalid_exact_evm_payload_authorization_valid_before",
    }
    fake.on_verify.append(answers_json(said))

    second = restart()
    await second.settler.resume()
    entry, _ = await ended(second)

    assert (entry.state, entry.error_reason) == ("failed", "outcome_unknown")
    assert [path for path, _, _ in fake.calls] == ["/verify"]


async def test_an_entry_that_cannot_be_read_is_given_up_and_told(
    restart: Restart, caplog: pytest.LogCaptureFixture
) -> None:
    first = restart()
    broken = entry_of({"x": 1}, EXACT, state="settling", amount=5000)
    await first.journal.keep(msgspec.structs.replace(broken, terms=b"{"))
    await first.stop()

    second = restart()
    assert await second.settler.resume() == []

    assert (await second.row()).state == "failed"
    assert "req-1" in caplog.text
    assert second.counters.lost == 1


async def test_many_at_once_are_settled_each_once(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    fake.on_settle += [move_and_hang_up, hang_up, leave_pending] * 10
    settlements = []
    for number in range(50):
        payload = payload_of(EXACT, number)
        entry = entry_of(payload, EXACT, str(number))
        settlements.append(router.settler.settle(entry, payload, EXACT, 5000, LIMIT_S))

    receipts = await asyncio.gather(*settlements)

    assert all(receipt is not None and receipt.success for receipt in receipts)
    assert len(fake.moved) == 50
    assert fake.total_moved == 50 * 5000
    assert router.counters.settled == 50
