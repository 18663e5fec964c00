"""A facilitator that is away, slow or unheard, and a payer whose money is gone: nobody is charged
twice, and nobody gets an answer for nothing.
"""

import asyncio
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI

from tests.payments.conftest import MakePayer, OpenShop
from tests.support.chain.background import until
from tests.support.chain.front import Answer
from tests.support.chain.payer import receipt, receipts_in_stream
from tests.support.chain.shop import CHARGE, PURSE, Shop, answers, delivered
from tests.support.dialects import ANTHROPIC, CHAT, DIALECTS, Dialect
from tests.support.faults import NEVER
from tests.support.upstream import Reply, sse

OFFERS = pytest.mark.parametrize("offer", ["exact", "exact by Permit2", "upto"])


def scheme_of(offer: str) -> str:
    return offer.partition(" ")[0]


def no_terms(answer: Any) -> bool:
    return "PAYMENT-REQUIRED" not in answer.headers


# -- verify -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["down", "broken"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_without_a_verdict_the_answer_is_503_and_no_new_terms(
    open_shop: OpenShop, make_payer: MakePayer, dialect: Dialect, fault: str
) -> None:
    shop = await open_shop(dialect)
    payer = make_payer("upto")
    payment = await shop.signed(payer, dialect=dialect)
    setattr(shop.facilitator.verify, fault, True)
    answer = await shop.ask(payment, dialect)
    assert answer.status == 503  # in Messages too, where others of 503 are 529
    assert no_terms(answer)
    assert int(answer.headers["Retry-After"]) > 0
    assert dialect.error(answer.body, answer.status)
    assert shop.upstream.received == []

    setattr(shop.facilitator.verify, fault, False)
    assert (await shop.ask(payment, dialect)).status == 200  # the same payment will do
    assert shop.earned == CHARGE


async def test_a_verdict_that_takes_too_long_is_none(
    open_shop: OpenShop, make_payer: MakePayer, seller: str
) -> None:
    shop = await open_shop(CHAT, facilitator_settings={"verify_timeout": "200ms"})
    payment = await shop.signed(make_payer("upto"))
    shop.facilitator.verify.close()
    answer = await shop.ask(payment)
    assert answer.status == 503
    assert no_terms(answer)
    assert shop.upstream.received == []
    assert shop.facilitator.settle.calls == []


async def test_a_key_needs_no_facilitator(open_shop: OpenShop, key: str) -> None:
    shop = await open_shop(CHAT)
    shop.facilitator.verify.down = shop.facilitator.settle.down = True
    ours = {"Authorization": f"Bearer {key}"}
    answer = await shop.ask(headers=ours)
    assert answer.status == 200
    assert "PAYMENT-RESPONSE" not in answer.headers
    assert (await shop.ask(model="free", headers=ours)).status == 200
    assert (await shop.ask(headers={"Authorization": "Bearer none-of-ours"})).status == 402
    assert shop.earned == 0


# -- a settlement that is refused -------------------------------------------------------------


@OFFERS
@pytest.mark.parametrize("dialect", [CHAT, ANTHROPIC], ids=lambda dialect: dialect.name)
async def test_a_payer_who_takes_the_money_away_gets_no_answer(
    open_shop: OpenShop, make_payer: MakePayer, offer: str, dialect: Dialect
) -> None:
    shop = await open_shop(dialect, offer)
    payer = make_payer(scheme_of(offer))
    shop.world.give_gas(payer.account)
    payment = await shop.signed(payer, dialect=dialect)
    shop.facilitator.settle.close()
    asking = asyncio.create_task(shop.ask(payment, dialect))
    await shop.facilitator.settle.wait_until_reached()
    shop.world.drain(payer.account)
    shop.facilitator.settle.open()

    answer = await asking
    assert answer.status == 402
    assert b"Hello there" not in answer.body
    told = receipt(answer.headers)
    assert not told.success
    assert told.error_reason
    assert answer.required.accepts
    assert shop.earned == 0
    await shop.until_payment(answer.headers["x-request-id"], "failed")
    # Who has done this has to wait.
    again = await shop.ask(await shop.signed(payer, dialect=dialect), dialect)
    assert again.status == 429
    assert len(shop.upstream.received) == 1


async def test_a_stream_that_cannot_be_charged_has_a_receipt_that_says_so(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payer = make_payer("upto")
    shop.world.give_gas(payer.account)
    payment = await shop.signed(payer, stream=True)
    shop.facilitator.settle.close()
    asking = asyncio.create_task(shop.ask(payment, stream=True))
    await shop.facilitator.settle.wait_until_reached()
    shop.world.drain(payer.account)
    shop.facilitator.settle.open()
    answer = await asking
    assert answer.status == 200
    assert all(not told.success for told in receipts_in_stream(answer.body.decode()))
    assert answer.body.decode().endswith(CHAT.events[-1].decode())
    await shop.until_payment(answer.headers["x-request-id"], "failed")
    assert (await shop.ask(await shop.signed(payer))).status == 429


# -- a settlement whose outcome is not told ---------------------------------------------------


@pytest.mark.parametrize("knows_the_chain", [False, True], ids=["", "with a node"])
@OFFERS
async def test_an_answer_to_settle_that_is_lost_does_not_charge_twice(
    open_shop: OpenShop, make_payer: MakePayer, offer: str, knows_the_chain: bool, world: Any
) -> None:
    more = {"rpc_url": world.rpc.url} if knows_the_chain else {}
    shop = await open_shop(CHAT, offer, **more)
    payer = make_payer(scheme_of(offer))
    payment = await shop.signed(payer)
    shop.facilitator.settle.lost = 1
    answer = await shop.ask(payment)
    assert answer.status == 200
    assert receipt(answer.headers).success
    assert answer.body == CHAT.answer
    assert shop.earned == PURSE - shop.world.balance(payer.address) > 0
    assert (await shop.payment(answer.headers["x-request-id"]))["state"] == "settled"
    if knows_the_chain:
        assert len(shop.facilitator.settle.calls) == 1  # no gas was burned to find out


@OFFERS
async def test_an_outcome_unknown_is_502_without_terms_and_the_answer_can_be_had_later(
    open_shop: OpenShop, make_payer: MakePayer, offer: str
) -> None:
    shop = await open_shop(CHAT, offer, facilitator_settings={"settle_timeout": "300ms"})
    payer = make_payer(scheme_of(offer))
    payment = await shop.signed(payer)
    shop.facilitator.settle.close()
    answer = await shop.ask(payment)
    assert answer.status == 502
    assert no_terms(answer)
    assert b"Hello there" not in answer.body
    assert shop.earned == 0

    shop.facilitator.settle.open()
    await shop.until_payment(answer.headers["x-request-id"], "settled")
    assert shop.earned == PURSE - shop.world.balance(payer.address) > 0
    earned = shop.earned
    later = await shop.ask(payment)  # the same request, and the same payment
    assert later.status == 200
    assert later.body == CHAT.answer
    assert shop.earned == earned
    assert len(shop.upstream.received) == 1


async def test_an_outcome_unknown_makes_no_sdk_pay_again(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, facilitator_settings={"settle_timeout": "300ms"})
    payer = make_payer("upto")
    shop.facilitator.settle.close()
    http = payer.httpx2()
    async with AsyncOpenAI(base_url=shop.url + "/v1", api_key="none", http_client=http) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}]
            )
    assert caught.value.status_code == 502
    assert len(shop.upstream.received) == 1
    shop.facilitator.settle.open()
    await until(lambda: shop.earned > 0)
    assert shop.earned == CHARGE


async def test_a_settlement_that_nobody_heard_of_is_made_when_the_facilitator_is_back(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, facilitator_settings={"settle_timeout": "300ms"})
    payment = await shop.signed(make_payer("upto"))
    shop.facilitator.settle.down = True
    answer = await shop.ask(payment)
    assert answer.status == 502
    assert no_terms(answer)
    shop.facilitator.settle.down = False
    await shop.until_payment(answer.headers["x-request-id"], "settled")
    assert shop.earned == CHARGE


async def test_a_stream_does_not_wait_for_its_receipt_for_ever(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, streams={"receipt_hold": "100ms"})
    payment = await shop.signed(make_payer("upto"), stream=True)
    shop.facilitator.settle.close()
    answer = await shop.ask(payment, stream=True)
    assert answer.status == 200
    assert answer.body.decode() == "".join(delivered(CHAT))
    shop.facilitator.settle.open()
    found = await shop.until_payment(answer.headers["x-request-id"], "settled")
    assert shop.world.chain.mined[found["transaction"]].succeeded
    assert shop.earned == CHARGE


# -- a client that goes away ------------------------------------------------------------------


async def ask_until_settled(shop: Shop, payment: dict[str, Any]) -> "asyncio.Task[Answer]":
    """A paid call whose settlement has begun, and goes on when its gate is opened."""
    shop.facilitator.settle.close()
    asking = asyncio.create_task(shop.ask(payment))
    await shop.facilitator.settle.wait_until_reached()
    return asking


async def leave(asking: "asyncio.Task[Answer]") -> None:
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def stop_and_settle(shop: Shop) -> None:
    """Stop the router, and let settlements go on once it is being stopped."""
    draining = asyncio.create_task(shop.router.router.drain())
    await until(lambda: shop.router.router.services.draining)
    shop.facilitator.settle.open()
    await draining


async def test_who_leaves_before_there_is_an_answer_has_not_paid(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payer = make_payer("upto")
    payment = await shop.signed(payer)
    shop.upstream.script = Reply(wait=NEVER)
    named = {"x-request-id": "who-has-left-early"}
    asking = asyncio.create_task(shop.ask(payment, headers=named))
    await shop.upstream.wait_for_request()
    await leave(asking)
    await shop.until_payment(named["x-request-id"], "released")
    assert shop.facilitator.settle.calls == []

    shop.upstream.script = answers(CHAT)
    assert (await shop.ask(payment)).status == 200
    assert shop.earned == CHARGE == PURSE - shop.world.balance(payer.address)


async def test_who_leaves_during_the_settlement_has_paid(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto"))
    await leave(await ask_until_settled(shop, payment))
    shop.facilitator.settle.open()
    await until(lambda: shop.earned == CHARGE)
    assert (await shop.ask(payment)).status in (200, 402)  # as the ledger has it, but not anew
    assert len(shop.upstream.received) == 1
    assert shop.earned == CHARGE


async def test_an_answer_that_waits_for_its_settlement_takes_its_part_of_the_memory(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto"))
    answer = CHAT.answer.replace(b"Hello", b"x" * 300_000)
    shop.upstream.script = Reply((answer,))
    asking = await ask_until_settled(shop, payment)
    buffers = shop.router.router.services.buffers
    assert buffers.used > len(answer)
    shop.facilitator.settle.open()
    assert (await asking).body == answer
    assert buffers.used == 0


@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_who_leaves_a_stream_pays_for_what_was_made(
    open_shop: OpenShop, make_payer: MakePayer, scheme: str
) -> None:
    shop = await open_shop(CHAT, scheme)
    payer = make_payer(scheme)
    payment = await shop.signed(payer, stream=True)
    amount = int(payment["accepted"]["amount"])
    more = asyncio.Event()
    shop.upstream.script = sse(*CHAT.events, pause=more)
    async with shop.router.http.post(
        CHAT.path(), json=CHAT.body(stream=True), headers=shop.payment_header(payment)
    ) as answer:
        assert answer.status == 200
        await answer.content.readuntil(b"\n\n")
    await until(lambda: shop.earned > 0)
    assert shop.earned == amount if scheme == "exact" else 0 < shop.earned <= amount
    assert len(shop.facilitator.settle.calls) == 1


async def test_a_router_that_is_stopped_ends_its_settlements_first(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto"))
    asking = await ask_until_settled(shop, payment)
    await stop_and_settle(shop)
    assert (await asking).status == 200
    assert shop.earned == CHARGE


async def test_a_router_that_is_stopped_while_nobody_waits_ends_its_settlements_first(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto"))
    await leave(await ask_until_settled(shop, payment))
    await stop_and_settle(shop)
    assert shop.earned == CHARGE
