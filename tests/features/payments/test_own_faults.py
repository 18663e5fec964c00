"""What becomes of a payment when the router itself is at fault, or cannot start at all."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitrouter.config.schema import X402, Duration
from bitrouter.config.schema import Facilitator as Settings
from bitrouter.errors import ConfigError
from bitrouter.payments import database
from bitrouter.payments.facilitator import Facilitator
from bitrouter.payments.journal import DATABASE_FILE
from bitrouter.payments.opening import open_gate
from bitrouter.payments.outcome import OUTCOME_UNKNOWN
from bitrouter.routing.table import RouteTable
from tests.support.chain.background import until
from tests.support.chain.shop import CHARGE
from tests.support.dialects import CHAT
from tests.support.facilitator import FakeFacilitator, answers_json, payload_of, terms_of
from tests.support.scrape import scrape, total
from tests.support.settling import SettlingRouter, entry_of
from tests.support.stall import OpenStall, wallet
from tests.support.upstream import Reply

UNSETTLED = "bitrouter_payments_unsettled"


async def fail(*given: object, **named: object) -> None:
    """Not one of the errors that are expected of a facilitator."""
    raise RuntimeError("a fault")


async def test_a_fault_in_a_settlement_is_an_unknown_outcome_and_nothing_is_left_hanging(
    sell: OpenStall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stall = await sell(limits={"unsettled_per_payer": 1})
    payment = await stall.signed(wallet())
    monkeypatch.setattr(Facilitator, "settle", fail)
    answer = await stall.ask(payment)
    assert answer.status == 502
    assert answer.headers["x-should-retry"] == "false"  # or an SDK would pay once more
    assert "PAYMENT-REQUIRED" not in answer.headers
    assert "RuntimeError" in caplog.text
    assert total(await scrape(stall.router), UNSETTLED) == 0

    # The payer owes nothing, and may buy again at once; but not with the same signature.
    monkeypatch.undo()
    assert (await stall.ask(await stall.signed(wallet()))).status == 200
    assert (await stall.ask(payment)).status == 402

    # The next start finds out what had become of it.
    await stall.router.stop()
    await stall.router.start()
    await stall.until_payment(answer.headers["x-request-id"], "settled")
    assert stall.amounts == [CHARGE, CHARGE]


async def test_a_fault_ends_a_settlement_once_and_its_row_stays_for_the_next_start(
    tmp_path: Path, client: Facilitator, counters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = SettlingRouter(tmp_path, client, counters)
    monkeypatch.setattr(client, "settle", fail)
    terms = terms_of()
    payload = payload_of(terms)
    assert await router.settler.settle(entry_of(payload, terms), payload, terms, 5000, 10) is None
    ((entry, receipt),) = router.final
    assert (entry.state, receipt.success) == ("settling", False)
    assert receipt.error_reason == OUTCOME_UNKNOWN
    assert (counters.unsettled, counters.lost) == (0, 1)
    assert (await router.row()).state == "settling"
    await router.stop()


# -- a start that fails -----------------------------------------------------------------------


def no_routes() -> RouteTable:
    return RouteTable({}, ())


def journals() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "payments-journal"]


NO_TOKEN = Settings(url="http://127.0.0.1:1", auth="bearer")


@pytest.mark.parametrize(
    ("settings", "spoil", "said"),
    [
        (NO_TOKEN, lambda path: None, "facilitator.token"),
        (Settings(url="http://127.0.0.1:1"), lambda path: path.write_bytes(b"x" * 9000), "journal"),
    ],
    ids=["credential", "journal"],
)
async def test_a_start_that_fails_leaves_nothing_open(
    tmp_path: Path, settings: Settings, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(tmp_path / DATABASE_FILE)
    with pytest.raises(ConfigError, match=said):
        await open_gate(X402(facilitator=settings), no_routes, tmp_path, wall=lambda: 0.0)
    assert journals() == []


async def test_a_start_that_cannot_read_the_journal_says_so(
    tmp_path: Path, fake: FakeFacilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "UNFINISHED", "SELECT nothing FROM nowhere")
    settings = X402(facilitator=Settings(url=fake.url, verify_timeout=Duration(1)))
    with pytest.raises(ConfigError, match=r"payments\.db.*cannot be read"):
        await open_gate(settings, no_routes, tmp_path, wall=lambda: 0.0)
    assert journals() == []


# -- names ------------------------------------------------------------------------------------

NAME = "my-own-call-0123456789"


def named(payment: dict[str, Any]) -> dict[str, Any]:
    """The payment with a name of the client's."""
    extension = {"info": {"required": False, "id": NAME}}
    extensions = {**(payment.get("extensions") or {}), "payment-identifier": extension}
    return {**payment, "extensions": extensions}


async def test_of_several_that_waited_for_a_call_that_failed_one_makes_it_anew(
    sell: OpenStall,
) -> None:
    stall = await sell()
    payment = named(await stall.signed(wallet()))
    first, go_on = asyncio.Event(), asyncio.Event()
    replies = iter([Reply(status=400, wait=first), Reply((CHAT.answer,), wait=go_on)])
    stall.upstream.script = lambda received: next(replies)
    failing = asyncio.create_task(stall.ask(payment))
    await until(lambda: len(stall.upstream.received) == 1)
    waiting = [asyncio.create_task(stall.ask(payment)) for _ in range(3)]
    await until(lambda: stall.router.router.services.metrics.inflight == 4)
    first.set()
    assert (await failing).status == 400
    await until(lambda: len(stall.upstream.received) == 2)
    go_on.set()
    assert [(one.status, one.body) for one in await asyncio.gather(*waiting)] == [
        (200, CHAT.answer)
    ] * 3
    assert len(stall.upstream.received) == 2
    assert stall.amounts == [CHARGE]


async def test_who_only_claims_to_be_the_payer_cannot_disturb_a_named_call(
    sell: OpenStall,
) -> None:
    stall = await sell()
    payment = named(await stall.signed(wallet()))
    assert (await stall.ask(payment)).status == 200
    forged = named(await stall.signed(wallet()))
    forged["payload"]["signature"] += "00"  # of the length that only a contract's can have
    stall.facilitator.on_verify.append(
        answers_json({"isValid": False, "invalidReason": "invalid_permit2_signature"})
    )
    refused = await stall.ask(forged)
    assert refused.status == 402  # and not 409, which would tell that the name is known
    again = await stall.ask(payment)
    assert (again.status, again.body) == (200, CHAT.answer)
    assert stall.amounts == [CHARGE]
