"""The ground that the other tests stand on: chain, contracts and facilitator do what the real ones
do, and refuse what they refuse.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from x402.extensions.eip2612_gas_sponsoring import declare_eip2612_gas_sponsoring_extension
from x402.http import FacilitatorConfig, HTTPFacilitatorClientSync
from x402.schemas import PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo

from tests.payments.conftest import MakePayer
from tests.support.chain.addresses import NETWORK, USDC
from tests.support.chain.facilitator import FacilitatorServer
from tests.support.chain.payer import Payer, high_s
from tests.support.chain.shop import PURSE
from tests.support.chain.world import World

PRICE = 1000


@pytest.fixture
def client(facilitator: FacilitatorServer) -> Iterator[HTTPFacilitatorClientSync]:
    """The package's own client of a facilitator."""
    made = HTTPFacilitatorClientSync(FacilitatorConfig(url=facilitator.url))
    yield made
    made.close()


def requirements(world: World, seller: str, scheme: str, method: str) -> PaymentRequirements:
    extra: dict[str, Any] = {"name": "USDC", "version": "2"}
    if method == "permit2":
        extra["assetTransferMethod"] = "permit2"
    if scheme == "upto":
        extra["facilitatorAddress"] = world.facilitator_address
    return PaymentRequirements(
        scheme=scheme,
        network=NETWORK,
        asset=USDC,
        amount=str(PRICE),
        pay_to=seller,
        max_timeout_seconds=600,
        extra=extra,
    )


def signed(payer: Payer, wanted: PaymentRequirements, sponsored: bool = False) -> PaymentPayload:
    required = PaymentRequired(
        accepts=[wanted],
        resource=ResourceInfo(url="https://router.example/v1/chat/completions"),
        extensions=declare_eip2612_gas_sponsoring_extension() if sponsored else None,
    )
    return PaymentPayload.model_validate(payer.sign(required))


def signed_by_new_payer(
    world: World, make_payer: MakePayer, seller: str, scheme: str, method: str
) -> tuple[Payer, PaymentRequirements, PaymentPayload]:
    """Who pays and has approved what the method needs, what is wanted, and the payment of it."""
    payer = make_payer(scheme)
    if method == "permit2":
        world.approve_permit2(payer.account)
    wanted = requirements(world, seller, scheme, method)
    return payer, wanted, signed(payer, wanted)


METHODS = {
    "exact by EIP-3009": ("exact", "eip3009"),
    "exact by Permit2": ("exact", "permit2"),
    "upto": ("upto", "permit2"),
}


@pytest.mark.parametrize(("scheme", "method"), METHODS.values(), ids=METHODS)
def test_a_payment_moves_the_money_once(
    world: World,
    client: HTTPFacilitatorClientSync,
    make_payer: MakePayer,
    seller: str,
    scheme: str,
    method: str,
) -> None:
    payer, wanted, payment = signed_by_new_payer(world, make_payer, seller, scheme, method)

    assert client.verify(payment, wanted).is_valid
    assert world.balance(seller) == 0
    first = client.settle(payment, wanted)
    assert first.success
    assert world.chain.mined[first.transaction].succeeded
    second = client.settle(payment, wanted)
    assert not second.success
    assert not world.chain.mined[second.transaction].succeeded

    assert world.balance(seller) == PRICE
    assert world.balance(payer.address) == PURSE - PRICE


def test_upto_moves_what_was_used_and_its_permit_is_spent_by_it(
    world: World, client: HTTPFacilitatorClientSync, make_payer: MakePayer, seller: str
) -> None:
    payer = make_payer("upto")
    wanted = requirements(world, seller, "upto", "permit2")
    payment = signed(payer, wanted, sponsored=True)  # no gas, and nothing approved

    assert client.verify(payment, wanted).is_valid
    settled = client.settle(payment, wanted.model_copy(update={"amount": "138"}))
    assert settled.success
    assert settled.amount == "138"
    assert not client.settle(payment, wanted.model_copy(update={"amount": "1"})).success

    assert world.balance(seller) == 138
    assert world.balance(payer.address) == PURSE - 138


@pytest.mark.parametrize(("scheme", "method"), METHODS.values(), ids=METHODS)
def test_what_the_facilitator_says_of_a_payment_that_it_has_settled(
    world: World,
    client: HTTPFacilitatorClientSync,
    make_payer: MakePayer,
    seller: str,
    scheme: str,
    method: str,
) -> None:
    _, wanted, payment = signed_by_new_payer(world, make_payer, seller, scheme, method)
    assert client.settle(payment, wanted).success

    verdict = client.verify(payment, wanted)
    match scheme, method:
        case "exact", "eip3009":
            assert verdict.invalid_reason == "invalid_exact_evm_nonce_already_used"
        case "exact", "permit2":
            assert verdict.is_valid  # it simulates nothing, and does not read the bitmap
        case _:
            assert verdict.invalid_reason == "invalid_upto_evm_transaction_failed"


def test_without_an_approval_or_a_permit_permit2_may_take_nothing(
    world: World, client: HTTPFacilitatorClientSync, make_payer: MakePayer, seller: str
) -> None:
    payer = make_payer("upto")
    wanted = requirements(world, seller, "upto", "permit2")
    verdict = client.verify(signed(payer, wanted), wanted)
    assert verdict.invalid_reason == "permit2_allowance_required"


def test_the_dollar_refuses_the_high_twin_of_a_signature(
    world: World, client: HTTPFacilitatorClientSync, make_payer: MakePayer, seller: str
) -> None:
    payer = make_payer("exact")
    wanted = requirements(world, seller, "exact", "eip3009")
    payment = signed(payer, wanted)
    twin = PaymentPayload.model_validate(high_s(payment.model_dump(by_alias=True)))
    verdict = client.verify(twin, wanted)
    assert not verdict.is_valid
    assert not client.settle(twin, wanted).success
    assert world.balance(seller) == 0
    assert client.settle(payment, wanted).success


def test_a_payer_without_money_is_refused(
    world: World, client: HTTPFacilitatorClientSync, make_payer: MakePayer, seller: str
) -> None:
    payer = make_payer("exact", units=PRICE - 1)
    wanted = requirements(world, seller, "exact", "eip3009")
    payment = signed(payer, wanted)
    verdict = client.verify(payment, wanted)
    assert verdict.invalid_reason == "invalid_exact_evm_insufficient_balance"
    assert not client.settle(payment, wanted).success
