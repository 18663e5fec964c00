"""Which payments are in use, and who owes what."""

import pytest

from bitrouter.config.schema import Duration, PaymentLimits
from bitrouter.errors import PayerLimited
from bitrouter.payments.ledger import Ledger
from bitrouter.payments.terms import Authorization, PaymentRefused

NOW = 1_800_000_000.0
LIMITS = PaymentLimits(unsettled_per_payer=2, cooldown_after_failed_settle=Duration(300))


def payment(nonce: int, payer: str = "0xaa", lives_s: int = 600) -> Authorization:
    return Authorization(
        key=f"eip155:1:usdc:{payer}:{nonce}",
        payer=payer,
        nonce=nonce,
        expires_at=int(NOW) + lives_s,
        deferred=False,
    )


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(LIMITS)


def reserve(ledger: Ledger, one: Authorization, now: float = NOW) -> None:
    ledger.reserve(one, now, permit2=False)


def test_a_payment_is_for_one_call(ledger: Ledger) -> None:
    reserve(ledger, payment(1))
    with pytest.raises(PaymentRefused, match="invalid_exact_evm_nonce_already_used"):
        reserve(ledger, payment(1))


def test_a_permit_has_its_own_word_for_it(ledger: Ledger) -> None:
    ledger.reserve(payment(1), NOW, permit2=True)
    with pytest.raises(PaymentRefused, match="permit2_invalid_nonce"):
        ledger.reserve(payment(1), NOW, permit2=True)


def test_what_was_given_back_can_be_used_again(ledger: Ledger) -> None:
    reserve(ledger, payment(1))
    ledger.release(payment(1))
    reserve(ledger, payment(1))


def test_what_was_settled_cannot_until_long_after_its_end(ledger: Ledger) -> None:
    reserve(ledger, payment(1))
    ledger.close(payment(1))
    with pytest.raises(PaymentRefused):
        reserve(ledger, payment(1), NOW + 660)
    reserve(ledger, payment(2), NOW + 721)
    assert len(ledger) == 1, "and then it is forgotten"


def test_a_payment_of_before_the_start_is_used(ledger: Ledger) -> None:
    ledger.remember(payment(1).key, payment(1).expires_at)
    with pytest.raises(PaymentRefused):
        reserve(ledger, payment(1))


def test_what_is_reserved_anew_is_not_forgotten_with_what_was_given_back(ledger: Ledger) -> None:
    reserve(ledger, payment(1, lives_s=60))
    ledger.release(payment(1))
    reserve(ledger, payment(1, lives_s=600))
    with pytest.raises(PaymentRefused):
        reserve(ledger, payment(1), NOW + 300)


def test_a_payer_may_owe_so_much(ledger: Ledger) -> None:
    reserve(ledger, payment(1))
    reserve(ledger, payment(2))
    with pytest.raises(PayerLimited) as refused:
        reserve(ledger, payment(3))
    assert refused.value.retry_after_s
    reserve(ledger, payment(3, payer="0xbb"))
    ledger.close(payment(1))
    reserve(ledger, payment(3))


def test_what_was_refused_owes_nothing(ledger: Ledger) -> None:
    reserve(ledger, payment(1))
    reserve(ledger, payment(2))
    with pytest.raises(PayerLimited):
        reserve(ledger, payment(3))
    ledger.release(payment(1))
    reserve(ledger, payment(3))


def test_a_payer_whose_settlement_failed_rests(ledger: Ledger) -> None:
    ledger.rest("0xaa", NOW)
    with pytest.raises(PayerLimited) as refused:
        reserve(ledger, payment(1), NOW + 100)
    assert refused.value.retry_after_s == 200
    reserve(ledger, payment(1, payer="0xbb"), NOW + 100)
    reserve(ledger, payment(1), NOW + 301)
