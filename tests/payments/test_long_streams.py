"""A stream goes on as long as its payment is good, and is settled before that is over."""

import asyncio

import pytest

from bitrouter.server import till
from tests.payments.conftest import MakePayer, OpenShop
from tests.support.chain.payer import receipts_in_stream
from tests.support.dialects import CHAT
from tests.support.upstream import sse


@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_a_stream_that_would_outlive_its_payment_ends_and_pays_for_what_came(
    open_shop: OpenShop,
    make_payer: MakePayer,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    monkeypatch.setattr(till, "_lasts_s", lambda remaining_s: 0.2)
    shop = await open_shop(CHAT, scheme, streams={"receipt_hold": "20s"})
    payer = make_payer(scheme)
    payment = await shop.signed(payer, stream=True)
    shop.upstream.script = sse(*CHAT.events, pause=asyncio.Event())  # it falls silent

    answer = await shop.ask(payment, stream=True)

    assert answer.status == 200
    text = answer.body.decode()
    assert "payment_expired" in text
    assert "[DONE]" not in text
    (told,) = receipts_in_stream(text)
    amount = int(payment["accepted"]["amount"])
    assert told.amount is not None
    assert shop.earned == int(told.amount)
    assert shop.earned == amount if scheme == "exact" else 0 < shop.earned < amount


def test_a_stream_ends_a_minute_before_its_payment_does() -> None:
    assert till._lasts_s(600) == 540
    assert till._lasts_s(30) == 15
