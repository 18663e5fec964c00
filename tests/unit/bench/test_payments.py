"""The bench of payments: its wallet signs what the router takes, its figures are what they say."""

import pytest

from bench.customer import Load
from bench.micro.payments import Part, local_parts, parts_table
from bench.payments import SIDES, table
from bench.wallet import Wallet, wall
from bitrouter.payments.encoding import decode_header
from bitrouter.payments.match import find_match
from bitrouter.payments.terms import PaymentRefused, Terms
from bitrouter.payments.verify import check_payment

SELLER = "0x" + "5e" * 20
TOKEN = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"


def terms_of(scheme: str, amount: str = "5000") -> Terms:
    extra = {"name": "USDC", "version": "2"}
    if scheme == "upto":
        extra |= {"assetTransferMethod": "permit2", "facilitatorAddress": "0x" + "fa" * 20}
    return Terms(scheme, "eip155:84532", amount, TOKEN, SELLER, 600, extra)


def accepted(terms: Terms) -> dict[str, object]:
    return {
        "scheme": terms.scheme,
        "network": terms.network,
        "amount": terms.amount,
        "asset": terms.asset,
        "payTo": terms.pay_to,
        "maxTimeoutSeconds": terms.max_timeout_seconds,
        "extra": terms.extra,
    }


@pytest.mark.parametrize("scheme", ["exact", "upto"])
def test_the_wallet_signs_payments_that_pass_each_with_a_nonce_of_its_own(scheme: str) -> None:
    terms, wallet = terms_of(scheme), Wallet()
    keys = set()
    for _ in range(3):
        payload = decode_header(wallet.header(accepted(terms)))
        assert find_match(payload["accepted"], [terms]) is terms
        found = check_payment(terms, payload, now=wall(), min_remaining_s=120)
        assert found.payer == wallet.address
        assert not found.deferred
        keys.add(found.key)
    assert len(keys) == 3
    payload = decode_header(wallet.header(accepted(terms)))
    with pytest.raises(PaymentRefused, match=r"amount|value"):
        check_payment(terms_of(scheme, "5001"), payload, now=wall(), min_remaining_s=120)


def test_a_load_is_named_by_what_is_asked_and_makes_whole_shares() -> None:
    load = Load("upto", 0.3, stream=True, connections=64, requests=150)
    assert load.name == "0.3kB-stream50-c64"
    assert (load.each, load.made) == (2, 128)


def test_the_table_takes_differences_and_ratios_round_by_round() -> None:
    costs = {
        "bare proxy/key": [100.0, 200.0],
        "payments off/key": [110.0, 220.0],
        "payments on/key": [111.0, 222.0],
        "payments on/exact": [411.0, 822.0],
        "payments on/upto": [421.0, 842.0],
        "facilitator free/key": [111.0, 222.0],
        "facilitator free/exact": [211.0, 422.0],
        "facilitator free/upto": [221.0, 442.0],
    }
    assert {f"{target}/{means}" for target, means in SIDES} == set(costs)
    lines = {line[:29].strip(): line for line in table({"any": costs}).splitlines()}
    assert "+100 to +200" in lines["exact: the gate adds"]
    assert "+1.00 of the bare proxy" in lines["exact: the gate adds"]
    assert "+1.10 of the bare proxy" in lines["upto: the gate adds"]
    assert "+2.00 of the bare proxy" in lines["upto: the facilitator adds"]
    assert "+1 to +2" in lines["payments on, with a key"]


def test_the_parts_are_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.micro.payments._REPEATS", 1)
    parts = list(local_parts("exact"))
    assert [part.name.partition(": ")[2].partition(",")[0] for part in parts] == [
        *("header decode", "match", "check", "recovery alone", "ledger")
    ]
    assert all(part.us > 0 for part in parts)
    assert any(line.split()[-2:] == ["one", "1.5"] for line in parts_table([Part("one", 1.5)]))
