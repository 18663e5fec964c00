"""Settlements: what is called how often, what the journal says, and what becomes of doubt."""

import asyncio
import logging
from pathlib import Path

import pytest
from aiohttp import web

from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator
from bitrouter.payments.journal import Entry
from bitrouter.payments.settle import Pace
from bitrouter.payments.terms import Receipt, Terms
from tests.features.payments.settlements import (
    EXACT,
    PERMIT2,
    UPTO,
    each_scheme,
    ended,
    settle,
)
from tests.support.facilitator import (
    Behaviour,
    Call,
    FakeFacilitator,
    answers,
    answers_json,
    hang_up,
    leave_pending,
    move_and_hang_up,
    moves_and_says,
    moves_then,
    refuses,
    settle_honestly,
    transaction_hash,
    waits,
)
from tests.support.settling import SettlingRouter


@each_scheme
async def test_a_settlement_moves_the_money_and_is_written_down(
    fake: FakeFacilitator, router: SettlingRouter, terms: Terms
) -> None:
    receipt = await settle(router, terms)

    assert receipt is not None
    assert receipt.success
    assert receipt.transaction == transaction_hash(1)
    assert fake.total_moved == 5000
    assert [path for path, _, _ in fake.calls] == ["/settle"]
    row = await router.row()
    assert (row.state, row.amount, row.transaction) == ("settled", 5000, transaction_hash(1))
    assert row.payload == b""
    assert [entry.state for entry, _ in router.final] == ["settled"]
    assert (router.counters.settled, router.counters.units_charged) == (1, 5000)
    assert (router.counters.unsettled, router.counters.unknown) == (0, 0)
    assert sum(router.counters.settle_seconds.counts) == 1


async def test_upto_settles_what_was_used(fake: FakeFacilitator, router: SettlingRouter) -> None:
    receipt = await settle(router, UPTO, 1234)

    assert receipt is not None
    assert receipt.amount == "1234"
    assert fake.total_moved == 1234
    assert (await router.row()).ceiling == 5000


@each_scheme
async def test_nothing_used_is_not_settled_at_all(
    fake: FakeFacilitator, router: SettlingRouter, terms: Terms
) -> None:
    receipt = await settle(router, terms, 0)

    assert receipt is not None
    assert (receipt.success, receipt.amount, receipt.transaction) == (True, "0", "")
    assert fake.calls == []
    assert (await router.row()).state == "released"
    assert router.counters.settled == router.counters.unsettled == 0
    assert len(router.final) == 1


@pytest.mark.parametrize(
    ("terms", "amount"), [(EXACT, 4999), (EXACT, 5001), (UPTO, 5001), (UPTO, -1)]
)
async def test_an_amount_that_was_not_authorised_is_a_mistake_of_ours(
    fake: FakeFacilitator, router: SettlingRouter, terms: Terms, amount: int
) -> None:
    with pytest.raises(ValueError, match="units of a"):
        await settle(router, terms, amount)
    assert fake.calls == []


async def test_the_journal_has_it_before_the_facilitator_is_called(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    seen: list[str] = []

    async def look(call: object, facilitator: FakeFacilitator) -> None:
        seen.append((await router.row()).state)

    fake.on_settle.append(look)
    await settle(router, EXACT)

    assert seen == ["settling"]


@each_scheme
async def test_a_refusal_is_final(
    fake: FakeFacilitator, router: SettlingRouter, terms: Terms
) -> None:
    fake.on_settle.append(refuses("insufficient_funds"))

    receipt = await settle(router, terms)

    assert receipt is not None
    assert (receipt.success, receipt.error_reason) == (False, "insufficient_funds")
    assert [path for path, _, _ in fake.calls] == ["/settle"]
    row = await router.row()
    assert (row.state, row.error_reason, row.payload) == ("failed", "insufficient_funds", b"")
    assert router.counters.refused == 1


async def test_a_nonce_that_others_used_is_refused(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    """Without a call of ours that went unanswered it was none of ours that used it."""
    fake.on_settle.append(refuses("invalid_exact_evm_nonce_already_used"))

    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert not receipt.success


async def test_a_reverted_transaction_is_a_refusal_with_its_hash(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    fake.on_settle.append(refuses("transaction_failed", transaction_hash(77)))

    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert (receipt.success, receipt.transaction) == (False, transaction_hash(77))
    assert fake.count("/settle") == 1


UNANSWERED_AFTER_MOVING: dict[str, Behaviour] = {
    "connection cut": move_and_hang_up,
    "500": moves_then(answers(500, "oops")),
    "HTML": moves_then(answers(200, "<html>")),
    "429": moves_then(answers(429, "")),
    "own fault": moves_then(refuses("unexpected_settle_error", status=500)),
    "another network": moves_and_says(network="eip155:1"),
    "another payer": moves_and_says(payer="0x" + "bb" * 20),
    "another amount": moves_and_says(amount="1"),
    "no transaction": moves_and_says(transaction=""),
}


@each_scheme
@pytest.mark.parametrize("behaviour", UNANSWERED_AFTER_MOVING.values(), ids=UNANSWERED_AFTER_MOVING)
async def test_a_settlement_that_nobody_told_of_is_found_out(
    fake: FakeFacilitator, router: SettlingRouter, terms: Terms, behaviour: Behaviour
) -> None:
    fake.on_settle.append(behaviour)

    receipt = await settle(router, terms)

    assert receipt is not None
    assert (receipt.success, receipt.amount) == (True, "5000")
    # Whatever hash is heard after that is of a transaction that moved nothing.
    assert receipt.transaction == ""
    assert fake.total_moved == 5000
    assert (router.counters.settled, router.counters.unknown) == (1, 1)
    # Verify of `exact` by Permit2 does not look at the nonce: a repetition has to.
    assert fake.reverted == (1 if terms is PERMIT2 else 0)
    assert (await router.row()).state == "settled"


UNANSWERED: dict[str, Behaviour] = {
    "connection cut": hang_up,
    "500": answers(500, "oops"),
    "HTML": answers(200, "<html>"),
    "429": answers(429, ""),
    "own fault": refuses("unexpected_settle_error", status=500),
    "success of nothing": answers_json({"success": True, "transaction": "", "network": ""}),
}


@each_scheme
@pytest.mark.parametrize("behaviour", UNANSWERED.values(), ids=UNANSWERED)
async def test_a_settlement_that_did_not_happen_is_repeated_as_it_was(
    fake: FakeFacilitator, router: SettlingRouter, terms: Terms, behaviour: Behaviour
) -> None:
    fake.on_settle += [behaviour, behaviour]

    receipt = await settle(router, terms)

    assert receipt is not None
    assert receipt.success
    assert receipt.transaction == transaction_hash(1)
    assert fake.total_moved == 5000
    settles = [call for path, call, _ in fake.calls if path == "/settle"]
    assert len(settles) == 3
    assert settles[0] == settles[1] == settles[2]


async def test_doubt_is_verified_with_the_ceiling_and_settled_with_the_amount(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    fake.on_settle.append(hang_up)

    await settle(router, UPTO, 77)

    amounts = [(path, call["paymentRequirements"]["amount"]) for path, call, _ in fake.calls]
    assert amounts == [("/settle", "77"), ("/verify", "5000"), ("/settle", "77")]


async def test_pending_is_repeated_at_once_and_reports_the_same_transaction(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    fake.on_settle.append(leave_pending)

    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert (receipt.success, receipt.transaction) == (True, transaction_hash(1))
    assert [path for path, _, _ in fake.calls] == ["/settle", "/settle"]
    assert fake.reverted == 0


async def test_pending_that_was_reverted_is_a_refusal(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    fake.on_settle += [
        refuses("settlement_pending", transaction_hash(9)),
        refuses("transaction_failed", transaction_hash(9)),
    ]

    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert (receipt.success, receipt.error_reason) == (False, "transaction_failed")
    assert fake.count("/settle") == 2


@each_scheme
async def test_pending_that_the_facilitator_forgot_is_found_out(
    fake: FakeFacilitator, router: SettlingRouter, terms: Terms
) -> None:
    fake.on_settle += [leave_pending, forget_then_settle]

    receipt = await settle(router, terms)

    assert receipt is not None
    # Not the second transaction's hash, which moved nothing.
    assert (receipt.success, receipt.transaction) == (True, transaction_hash(1))
    assert (fake.total_moved, fake.reverted) == (5000, 1)


async def forget_then_settle(call: Call, facilitator: FakeFacilitator) -> web.Response:
    facilitator.pending.clear()
    return await settle_honestly(call, facilitator)


async def test_pending_without_an_end_goes_on_in_the_background(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    fake.on_settle += [refuses("settlement_pending", transaction_hash(9))] * 5

    assert await settle(router, EXACT, wait_s=0.01) is None

    entry, receipt = await ended(router)
    assert (entry.state, receipt.success) == ("settled", True)
    assert fake.total_moved == 5000


async def test_pending_is_repeated_at_once_only_once(
    fake: FakeFacilitator, tmp_path: Path, client: Facilitator, counters: Counters
) -> None:
    router = SettlingRouter(tmp_path, client, counters, pace=Pace(3600.0, 3600.0))
    fake.on_settle += [refuses("settlement_pending", transaction_hash(9))] * 5

    assert await settle(router, EXACT, wait_s=0.3) is None

    assert fake.count("/settle") == 2
    row = await router.row()
    assert (row.state, row.transaction) == ("unknown", transaction_hash(9))
    await router.stop()


async def test_a_repetition_is_spared_while_it_would_fail(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    """An empty wallet may be the work of our own settlement, so it decides nothing."""
    broke = answers_json({"isValid": False, "invalidReason": "permit2_insufficient_balance"})
    fake.on_settle.append(hang_up)
    fake.on_verify += [broke] * 4

    receipt = await settle(router, UPTO)

    assert receipt is not None
    assert receipt.success
    assert (fake.count("/verify"), fake.count("/settle")) == (5, 2)


async def test_nobody_waits_longer_than_asked_and_the_end_is_told(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    go_on = asyncio.Event()
    fake.on_settle.append(waits(go_on, settle_honestly))

    assert await settle(router, EXACT, wait_s=0.05) is None
    assert router.counters.unsettled == 1
    assert router.final == []

    go_on.set()
    entry, receipt = await ended(router)
    assert (entry.state, receipt.success) == ("settled", True)
    assert router.counters.unsettled == 0


async def test_a_client_that_hangs_up_does_not_stop_it(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    go_on = asyncio.Event()
    fake.on_settle.append(waits(go_on, settle_honestly))
    request = asyncio.create_task(settle(router, EXACT))
    await fake.wait_for("/settle", 1)

    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    go_on.set()

    assert (await ended(router))[0].state == "settled"
    assert fake.total_moved == 5000


async def test_a_denial_is_told_and_the_settlement_kept(
    fake: FakeFacilitator, router: SettlingRouter, caplog: pytest.LogCaptureFixture
) -> None:
    fake.on_settle += [answers(401, "no")] * 5

    with caplog.at_level(logging.ERROR):
        receipt = await settle(router, EXACT)

    assert receipt is not None
    assert receipt.success
    # Nothing was done, so there is no doubt either, and told once.
    assert (fake.count("/settle"), fake.count("/verify")) == (6, 0)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("reason", ["invalid_exact_evm_payload_authorization_valid_before", "x"])
async def test_what_is_never_known_is_lost_when_the_authorisation_is(
    fake: FakeFacilitator, router: SettlingRouter, reason: str
) -> None:
    async def expire(call: object, facilitator: FakeFacilitator) -> None:
        router.now += 700

    fake.on_settle.append(expire)
    fake.on_verify.append(answers_json({"isValid": False, "invalidReason": reason}))

    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert (receipt.success, receipt.error_reason) == (False, "outcome_unknown")
    assert fake.count("/settle") == 1
    assert (router.counters.lost, router.counters.unsettled) == (1, 0)
    assert (await router.row()).state == "failed"


async def test_an_authorisation_that_ran_out_is_asked_for_once_more(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    async def move_and_expire(call: dict[str, object], facilitator: FakeFacilitator) -> None:
        facilitator.move(call)
        router.now += 700

    fake.on_settle.append(move_and_expire)

    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert receipt.success


async def test_a_fault_of_whoever_listens_does_no_harm(
    tmp_path: Path, client: Facilitator, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    router = SettlingRouter(tmp_path, client, counters)

    def fail(entry: Entry, receipt: Receipt) -> None:
        raise RuntimeError("a fault")

    router.settler._on_final = fail
    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert receipt.success
    assert "RuntimeError" in caplog.text
    await router.stop()


async def test_a_full_disk_does_not_keep_the_money_back(
    fake: FakeFacilitator, router: SettlingRouter
) -> None:
    await refuse_writes(router)

    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert receipt.success
    assert not router.journal.healthy
    await accept_writes(router)


async def refuse_writes(router: SettlingRouter) -> None:
    await router.journal._submit(lambda connection: connection.execute("PRAGMA query_only = ON"))


async def accept_writes(router: SettlingRouter) -> None:
    """Past the queue, for what cannot be written fails what stands behind it too."""
    router.journal._connection.execute("PRAGMA query_only = OFF")
    assert (await router.row()).state == "settled"
    assert router.journal.healthy
