"""What somebody tries who would rather not pay. None of it gets an answer, none an error 5xx."""

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from x402.schemas import PaymentRequired

from tests.payments.conftest import MakePayer, OpenShop
from tests.support.chain.background import until
from tests.support.chain.payer import Payer, encode, high_s
from tests.support.chain.shop import CHARGE, PURSE, Shop
from tests.support.dialects import ANTHROPIC, CHAT
from tests.support.rawhttp import connect, post
from tests.support.vectors import VECTORS

PREFIX = "invalid_exact_evm_payload_"
NO_MATCH = "no_matching_payment_requirements"


async def check_refused(shop: Shop, payer: Payer, payment: object, reason: str) -> None:
    """It is told why, nobody works for it, and nothing is taken."""
    answer = await shop.ask(payment)
    assert answer.status == 402
    assert answer.reason == reason
    assert answer.required.accepts  # terms to do it right
    assert shop.upstream.received == []
    assert shop.facilitator.settle.calls == []
    assert shop.world.balance(payer.address) == PURSE


# -- a payment that is not what was asked for -------------------------------------------------

Forge = Callable[[dict[str, Any]], None]


def _accepted(**changed: Any) -> Forge:
    return lambda payment: payment["accepted"].update(changed)


CLAIMS: dict[str, Forge] = {
    "a lower price": _accepted(amount="1"),
    "a price of nothing": _accepted(amount="0"),
    "another payee": _accepted(payTo="0x" + 40 * "1"),
    "another token": _accepted(asset="0x" + 40 * "2"),
    "another network": _accepted(network="eip155:8453"),
    "a scheme that is not offered": _accepted(scheme="batch-settlement"),
    "a longer time": _accepted(maxTimeoutSeconds=10**6),
    "a token by another name": lambda payment: payment["accepted"]["extra"].update(name="Gold"),
    "no name of the token": lambda payment: payment["accepted"]["extra"].pop("name"),
}


@pytest.mark.parametrize("forge", CLAIMS.values(), ids=CLAIMS)
async def test_terms_are_ours_not_the_clients(
    open_shop: OpenShop, make_payer: MakePayer, forge: Forge
) -> None:
    shop = await open_shop(CHAT, "exact")
    payer = make_payer("exact")
    payment = await shop.signed(payer)
    forge(payment)
    await check_refused(shop, payer, payment, NO_MATCH)
    assert shop.facilitator.verify.calls == []


def _terms(**changed: Any) -> Callable[[PaymentRequired], None]:
    def change(required: PaymentRequired) -> None:
        required.accepts = [required.accepts[0].model_copy(update=changed)]

    return change


SIGNED: dict[str, tuple[Callable[[PaymentRequired], None], str]] = {
    "less": (_terms(amount="1"), PREFIX + "authorization_value_mismatch"),
    "more": (_terms(amount="999999"), PREFIX + "authorization_value_mismatch"),
    "for another payee": (_terms(pay_to="0x" + 40 * "1"), PREFIX + "recipient_mismatch"),
    "that has almost expired": (
        _terms(max_timeout_seconds=1),
        PREFIX + "authorization_valid_before",
    ),
    "for another chain": (_terms(network="eip155:8453"), PREFIX + "signature"),
    "for a token by another name": (
        _terms(extra={"name": "USD Coin", "version": "2"}),
        PREFIX + "signature",
    ),
}


@pytest.mark.parametrize(("change", "reason"), SIGNED.values(), ids=SIGNED)
async def test_what_was_signed_must_be_what_was_asked_for(
    open_shop: OpenShop,
    make_payer: MakePayer,
    change: Callable[[PaymentRequired], None],
    reason: str,
) -> None:
    shop = await open_shop(CHAT, "exact")
    payer = make_payer("exact")
    wanted = await shop.offer()
    forged = wanted.model_copy(deep=True)
    change(forged)
    payer.networks = "eip155:*"
    payment = payer.sign(forged)
    payment["accepted"] = wanted.model_dump(by_alias=True, mode="json")["accepts"][0]
    await check_refused(shop, payer, payment, reason)


async def test_an_authorisation_must_live_as_long_as_a_call_may_take(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, "exact", min_remaining="2m")
    payer = make_payer("exact")
    wanted = await shop.offer()
    forged = wanted.model_copy(deep=True)
    _terms(max_timeout_seconds=60)(forged)
    payment = payer.sign(forged)
    payment["accepted"] = wanted.model_dump(by_alias=True, mode="json")["accepts"][0]
    await check_refused(shop, payer, payment, PREFIX + "authorization_valid_before")


def _signature(change: Callable[[str], str]) -> Forge:
    def forge(payment: dict[str, Any]) -> None:
        payment["payload"]["signature"] = change(payment["payload"]["signature"])

    return forge


def _authorization(**changed: str) -> Forge:
    return lambda payment: payment["payload"]["authorization"].update(changed)


TAMPERED: dict[str, tuple[Forge, str]] = {
    "the signature": (
        _signature(lambda text: text[:10] + f"{int(text[10], 16) ^ 1:x}" + text[11:]),
        PREFIX + "signature",
    ),
    "the nonce": (_authorization(nonce="0x" + 64 * "7"), PREFIX + "signature"),
    "the payer": (_authorization(**{"from": "0x" + 40 * "3"}), PREFIX + "signature"),
    "the end": (_authorization(validBefore=str(2**40)), ""),
    "the beginning": (_authorization(validAfter=str(2**40)), PREFIX + "authorization_valid_after"),
    "the value, beyond all numbers": (_authorization(value=str(2**256)), "invalid_payload"),
    "the value, into a word": (_authorization(value="much"), "invalid_payload"),
}


@pytest.mark.parametrize(("forge", "reason"), TAMPERED.values(), ids=TAMPERED)
async def test_a_payment_that_was_tampered_with_is_refused(
    open_shop: OpenShop, make_payer: MakePayer, forge: Forge, reason: str
) -> None:
    shop = await open_shop(CHAT, "exact")
    payer = make_payer("exact")
    payment = await shop.signed(payer)
    forge(payment)
    answer = await shop.ask(payment)
    assert answer.status == 402
    assert answer.reason == reason or (not reason and answer.reason.startswith("invalid_"))
    assert shop.upstream.received == []
    assert shop.earned == 0


async def test_the_high_twin_of_a_signature_is_refused_before_anybody_is_asked(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, "exact")
    payer = make_payer("exact")
    payment = await shop.signed(payer)
    await check_refused(shop, payer, high_s(payment), PREFIX + "signature")
    assert shop.facilitator.verify.calls == []
    assert (await shop.ask(payment)).status == 200  # the twin has not used it up


async def test_the_advertised_extensions_come_back_as_they_were(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payer = make_payer("upto")
    payment = await shop.signed(payer)
    payment["extensions"]["eip2612GasSponsoring"]["info"]["version"] = "9"
    await check_refused(shop, payer, payment, "extension_echo_mismatch")


async def test_a_payer_without_money_is_refused_by_the_chain(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, "exact")
    payment = await shop.signed(make_payer("exact", units=1))
    answer = await shop.ask(payment)
    assert answer.status == 402
    assert answer.reason == "invalid_exact_evm_insufficient_balance"
    assert shop.upstream.received == []


# -- a payment used twice ---------------------------------------------------------------------

USED = {
    "exact": "invalid_exact_evm_nonce_already_used",
    "exact by Permit2": "permit2_invalid_nonce",
    "upto": "permit2_invalid_nonce",
}


@pytest.mark.parametrize(("offer", "reason"), USED.items(), ids=USED)
async def test_a_payment_pays_one_answer(
    open_shop: OpenShop, make_payer: MakePayer, offer: str, reason: str
) -> None:
    shop = await open_shop(CHAT, offer)
    payer = make_payer(offer.partition(" ")[0])
    payment = await shop.signed(payer)
    assert (await shop.ask(payment)).status == 200
    earned = shop.earned
    again = await shop.ask(payment)
    assert again.status == 402
    assert again.reason == reason
    assert len(shop.upstream.received) == 1
    assert shop.earned == earned
    assert len(shop.facilitator.settle.calls) == 1


@pytest.mark.parametrize(("offer", "reason"), USED.items(), ids=USED)
async def test_ten_uses_at_once_get_one_answer(
    open_shop: OpenShop, make_payer: MakePayer, offer: str, reason: str
) -> None:
    shop = await open_shop(CHAT, offer)
    payer = make_payer(offer.partition(" ")[0])
    payment = await shop.signed(payer)
    got = await asyncio.gather(*(shop.ask(payment) for _ in range(10)))
    assert sorted(one.status for one in got) == [200] + 9 * [402]
    assert {one.reason for one in got if one.status == 402} == {reason}
    assert len(shop.upstream.received) == 1
    assert len(shop.facilitator.settle.calls) == 1
    assert shop.earned == PURSE - shop.world.balance(payer.address) > 0


async def test_a_payment_is_not_good_for_another_request(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, "exact")
    payer = make_payer("exact")
    payment = await shop.signed(payer)
    dear = {**CHAT.body(), "max_tokens": 100_000}
    assert (await shop.ask(payment, body=dear)).reason == NO_MATCH
    assert (await shop.ask(payment)).status == 200
    assert (await shop.ask(payment, dialect=ANTHROPIC)).status == 402
    assert len(shop.upstream.received) == 1


async def test_a_payment_stays_used_when_the_router_is_started_anew(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto"))
    assert (await shop.ask(payment)).status == 200
    await shop.router.stop()
    await shop.router.start()
    await shop.until_it_sells()
    again = await shop.ask(payment)
    assert again.status == 402
    assert again.reason == "permit2_invalid_nonce"
    assert shop.earned == CHARGE


async def test_a_payer_may_owe_so_much_and_no_more(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, limits={"unsettled_per_payer": 2})
    payer = make_payer("upto")
    shop.world.approve_permit2(payer.account)  # permits in the payments would get in their way
    payments = [await shop.signed(payer) for _ in range(3)]
    shop.facilitator.settle.close()
    owing = [asyncio.create_task(shop.ask(payment)) for payment in payments[:2]]
    await until(lambda: len(shop.facilitator.settle.calls) == 2)
    third = await shop.ask(payments[2])
    assert third.status == 429
    assert "Retry-After" in third.headers
    assert len(shop.upstream.received) == 2
    shop.facilitator.settle.open()
    assert [(await one).status for one in owing] == [200, 200]
    assert (await shop.ask(payments[2])).status == 200


# -- headers that are none --------------------------------------------------------------------

HEADERS: dict[str, str] = {one["id"]: one["header"] for one in VECTORS["malformedHeaders"]} | {
    "deep nesting": encode({"x402Version": 2, "payload": json.loads("[" * 500 + "]" * 500)}),
    "a version of the future": encode({"x402Version": 99, "accepted": {}, "payload": {}}),
    "accepted is a list": encode({"x402Version": 2, "accepted": [], "payload": {}}),
    "payload is a number": encode({"x402Version": 2, "accepted": {}, "payload": 5}),
    "a price as a number": encode({"x402Version": 2, "accepted": {"amount": 1}, "payload": {}}),
    "nothing": "",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
async def test_garbage_is_told_so(open_shop: OpenShop, header: str) -> None:
    shop = await open_shop(CHAT)
    answer = await shop.ask(header)
    assert answer.status in (400, 402)
    assert json.loads(answer.body)["error"]["message"]
    assert shop.upstream.received == []
    assert shop.facilitator.verify.calls == []


ABSURD: tuple[Any, ...] = (None, 0, -1, 1.5, True, "", [], {}, "0x", str(2**256))


@pytest.mark.parametrize("scheme", ["exact", "upto"])
async def test_every_field_of_a_payment_may_be_missing_or_absurd(
    open_shop: OpenShop, make_payer: MakePayer, scheme: str
) -> None:
    shop = await open_shop(CHAT, scheme)
    payment = await shop.signed(make_payer(scheme))
    for path in _paths({name: payment[name] for name in ("x402Version", "accepted", "payload")}):
        for absurd in ABSURD:
            forged = copy.deepcopy(payment)
            _set(forged, path, absurd)
            answer = await shop.ask(forged)
            assert answer.status in (400, 402), (path, absurd, answer)
    assert shop.upstream.received == []
    assert shop.facilitator.settle.calls == []
    assert (await shop.ask(payment)).status == 200


def _paths(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    here = [path] if path else []
    if not isinstance(value, dict):
        return here
    return here + [found for key, one in value.items() for found in _paths(one, (*path, key))]


def _set(value: dict[str, Any], path: tuple[str, ...], new: object) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


@pytest.mark.parametrize("size", [16 << 10, 60 << 10, 100 << 10, 1 << 20])
async def test_an_oversized_header_is_refused(open_shop: OpenShop, size: int) -> None:
    shop = await open_shop(CHAT)
    body = json.dumps(CHAT.body()).encode()
    header = "PAYMENT-SIGNATURE: " + encode({"x402Version": 2, "fill": size * "x"})
    async with connect(shop.url) as connection:
        await connection.send(post(CHAT.path(), body, "Content-Type: application/json", header))
        answer = await connection.receive()
    assert answer.status in (400, 431)
    assert shop.upstream.received == []
    assert (await shop.ask()).status == 402  # and is as it was


async def test_two_payments_in_one_request_are_one_too_many(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    header = "PAYMENT-SIGNATURE: " + encode(await shop.signed(make_payer("upto")))
    body = json.dumps(CHAT.body()).encode()
    async with connect(shop.url) as connection:
        await connection.send(
            post(CHAT.path(), body, "Content-Type: application/json", header, header)
        )
        answer = await connection.receive()
    assert answer.status == 400
    assert shop.upstream.received == []


async def test_the_host_header_does_not_name_what_is_sold(open_shop: OpenShop) -> None:
    shop = await open_shop(CHAT)
    answer = await shop.ask(headers={"Host": "evil.example"})
    assert answer.required.resource is not None
    assert answer.required.resource.url == "https://router.example/v1/chat/completions"
    assert "evil.example" not in answer.body.decode()
