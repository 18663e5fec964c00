"""Clients that are not the plainest: an older protocol, a wallet that is a contract, a call that is
named so that it can be repeated.
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from x402 import x402ClientSync
from x402.extensions.payment_identifier import append_payment_identifier_to_extensions
from x402.http import decode_payment_response_header
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.schemas import SettleResponse
from x402.schemas.v1 import PaymentRequiredV1

from bitrouter import log
from tests.payments.conftest import MakePayer, OpenShop
from tests.support.chain.addresses import NETWORK
from tests.support.chain.payer import Payer, encode, receipt
from tests.support.chain.shop import CHARGE, PURSE
from tests.support.chain.world import World
from tests.support.dialects import CHAT

NAME = "call-0123456789abcdef"


# -- version 1 --------------------------------------------------------------------------------


def v1_terms(body: bytes) -> PaymentRequiredV1:
    """What a client of version 1 reads: the error beside it is its protocol's own object."""
    said = json.loads(body)
    return PaymentRequiredV1.model_validate(
        {"x402Version": said["x402Version"], "accepts": said["accepts"], "error": ""}
    )


async def test_a_client_of_version_1_finds_its_terms_in_the_body_and_pays(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, "exact")
    payer = make_payer("exact")
    required = v1_terms((await shop.ask()).body)
    amount = int(required.accepts[0].max_amount_required)
    client = x402ClientSync()
    register_exact_evm_client(client, EthAccountSigner(payer.account))
    made = client.create_payment_payload(required).model_dump(by_alias=True, mode="json")

    answer = await shop.ask(headers={"X-PAYMENT": encode(made)})
    assert answer.status == 200
    told = decode_payment_response_header(answer.headers["X-PAYMENT-RESPONSE"])
    assert told.success
    assert shop.earned == amount == PURSE - shop.world.balance(payer.address)
    assert (await shop.ask(headers={"X-PAYMENT": encode(made)})).status == 402


# -- contract wallets -------------------------------------------------------------------------


class ContractSigner(EthAccountSigner):
    """Signs for the contract wallet: its owner's signature, and whose it is."""

    def __init__(self, owner: Payer, wallet: str) -> None:
        super().__init__(owner.account)
        self._wallet = wallet

    @property
    def address(self) -> str:
        """The wallet's, not the owner's."""
        return self._wallet

    def sign_typed_data(self, *said: Any) -> bytes:
        """Longer than a key's signature, so that nobody takes it for one."""
        return super().sign_typed_data(*said) + bytes.fromhex(self._account.address[2:])


async def test_a_contract_wallet_is_judged_by_the_chain_and_pays(
    open_shop: OpenShop, make_payer: MakePayer, world: World
) -> None:
    shop = await open_shop(CHAT, "exact")
    owner, stranger = make_payer("exact"), make_payer("exact")
    wallet = world.own_contract_wallet(owner.account, PURSE)

    stranger.sign_with(ContractSigner(stranger, wallet))
    refused = await shop.ask(await shop.signed(stranger))
    assert refused.status == 402
    assert refused.reason.startswith("invalid_")
    assert shop.upstream.received == []

    owner.sign_with(ContractSigner(owner, wallet))
    answer = await shop.ask(await shop.signed(owner))
    assert answer.status == 200
    told = receipt(answer.headers)
    assert told.success
    assert told.payer is not None
    assert told.payer.lower() == wallet.lower()
    assert shop.earned == PURSE - world.balance(wallet) > 0
    assert world.balance(owner.address) == PURSE


# -- calls that have a name -------------------------------------------------------------------


def named(payment: dict[str, Any], name: str) -> dict[str, Any]:
    append_payment_identifier_to_extensions(payment["extensions"], name)
    return payment


async def test_a_named_call_can_be_repeated_and_is_paid_once(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payment = named(await shop.signed(make_payer("upto")), NAME)
    first = await shop.ask(payment)
    again = await shop.ask(payment)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert receipt(again.headers) == receipt(first.headers)
    assert len(shop.upstream.received) == 1
    assert shop.earned == CHARGE


async def test_repetitions_of_a_named_call_wait_for_the_first(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payment = named(await shop.signed(make_payer("upto")), NAME)
    got = await asyncio.gather(*(shop.ask(payment) for _ in range(5)))
    assert [one.status for one in got] == 5 * [200]
    assert {one.body for one in got} == {CHAT.answer}
    assert len(shop.upstream.received) == 1
    assert shop.earned == CHARGE


async def test_a_name_stands_for_one_payment_and_one_request(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payer = make_payer("upto")
    payment = named(await shop.signed(payer), NAME)
    assert (await shop.ask(payment)).status == 200
    other_request = {**CHAT.body(), "messages": [{"role": "user", "content": "Ho"}]}
    assert (await shop.ask(payment, body=other_request)).status == 409
    assert (await shop.ask(named(await shop.signed(payer), NAME))).status == 409
    assert len(shop.upstream.received) == 1

    # Somebody else's calls have names of their own.
    assert (await shop.ask(named(await shop.signed(make_payer("upto")), NAME))).status == 200


@pytest.mark.parametrize("name", ["short", 129 * "x", "with spaces in the name", 5, None])
async def test_a_name_that_is_none_is_told_so(
    open_shop: OpenShop, make_payer: MakePayer, name: object
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto"))
    payment["extensions"]["payment-identifier"]["info"]["id"] = name
    answer = await shop.ask(payment)
    assert answer.status == (200 if name is None else 400)
    if answer.status == 400:
        assert "identifier" in json.loads(answer.body)["error"]["message"]


# -- what a client can ask later --------------------------------------------------------------


async def test_a_receipt_can_be_asked_for_and_holds_no_signature(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payer = make_payer("upto")
    payment = await shop.signed(payer)
    answer = await shop.ask(payment)
    told: SettleResponse = receipt(answer.headers)
    request_id = answer.headers["x-request-id"]
    found = await shop.payment(request_id)
    assert found["state"] == "settled"
    assert found["transaction"] == told.transaction
    assert found["payer"].lower() == payer.address.lower()
    assert found["network"] == NETWORK
    assert int(found["amount"]) == CHARGE
    assert payment["payload"]["signature"][2:] not in json.dumps(found)
    async with shop.router.http.get("/v1/payments/nobody-has-made-it") as missing:
        assert missing.status == 404


async def test_signatures_are_neither_logged_nor_left_behind(
    open_shop: OpenShop,
    make_payer: MakePayer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="bitrouter")
    told: list[str] = []
    log.message_listeners.append(lambda _, message: told.append(message))
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto"))
    permit = payment["extensions"]["eip2612GasSponsoring"]["info"]["signature"]
    assert (await shop.ask(payment)).status == 200
    await shop.router.stop()
    left = files_of(tmp_path)
    assert "payments.db" in left
    assert len(told) == 1  # the settlement
    for secret in (payment["payload"]["signature"][2:], permit[2:], encode(payment)):
        assert secret not in caplog.text + "".join(told)
        assert not any(secret.encode() in content for content, _ in left.values())
    assert all(mode & 0o077 == 0 for name, (_, mode) in left.items() if "payments" in name)
    await shop.router.start()


def files_of(directory: Path) -> dict[str, tuple[bytes, int]]:
    """The content and the mode of every file below, by name."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path.name: (path.read_bytes(), path.stat().st_mode) for path in files}


# -- browsers ---------------------------------------------------------------------------------


async def test_a_browser_may_read_what_it_has_to(open_shop: OpenShop) -> None:
    shop = await open_shop(CHAT)
    answer = await shop.ask(headers={"Origin": "https://app.example"})
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    for name in ("payment-required", "payment-response", "x-payment-response", "x-request-id"):
        assert name in exposed
    wanted = "payment-signature, content-type, access-control-expose-headers, x-payment"
    async with shop.router.http.options(
        CHAT.path(),
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": wanted,
        },
    ) as preflight:
        assert preflight.status in (200, 204)
        allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    for name in wanted.split(", "):
        assert name in allowed or allowed == "*"
