"""Every vector of x402 gets the verdict that it states."""

from typing import Any

import pytest

from bitrouter.payments.encoding import Undecodable, decode_header, encode_header
from bitrouter.payments.match import find_match, find_v1
from bitrouter.payments.terms import Authorization, PaymentRefused
from bitrouter.payments.verify import check_payment, check_v1
from tests.support.vectors import NOW, SKEW_S, VECTORS, terms_of, vector

each_vector = pytest.mark.parametrize("one", VECTORS["vectors"], ids=lambda one: one["id"])


def judge(header: str, requirements: dict[str, Any]) -> Authorization:
    """What the gate does with a header, up to the ledger."""
    payload = decode_header(header)
    terms = find_match(payload.get("accepted"), [terms_of(requirements)])
    if terms is None:
        raise PaymentRefused("no_match")
    return check_payment(terms, payload, now=NOW, min_remaining_s=SKEW_S)


@each_vector
def test_the_header_says_what_the_vector_says(one: dict[str, Any]) -> None:
    assert decode_header(one["header"]) == one["decoded"]
    assert decode_header(encode_header(one["decoded"])) == one["decoded"]


@each_vector
def test_the_verdict_is_that_of_the_vector(one: dict[str, Any]) -> None:
    if one["expect"] in ("valid", "defer"):
        authorization = judge(one["header"], one["requirements"])

        assert authorization.deferred == (one["expect"] == "defer")
        assert authorization.payer == one["payer"].lower()
    else:
        with pytest.raises(PaymentRefused) as refused:
            judge(one["header"], one["requirements"])

        reason = one["reason"] if one["expect"] == "invalid" else "no_match"
        assert refused.value.reason == reason


def test_there_are_as_many_vectors_as_their_specification_says() -> None:
    verdicts = [one["expect"] for one in VECTORS["vectors"]]

    assert (len(verdicts), verdicts.count("valid")) == (37, 9)


def test_an_authorization_names_its_payment() -> None:
    by_transfer, by_permit = vector("exact-ok"), vector("upto-ok")
    nonce = by_transfer["decoded"]["payload"]["authorization"]["nonce"]
    asset = by_transfer["requirements"]["asset"].lower()
    payer = by_transfer["payer"].lower()

    transfer = judge(by_transfer["header"], by_transfer["requirements"])
    permit = judge(by_permit["header"], by_permit["requirements"])

    permit_nonce = int(by_permit["decoded"]["payload"]["permit2Authorization"]["nonce"])
    assert transfer == Authorization(
        f"eip155:84532/{asset}/{payer}/{nonce[2:]}", payer, int(nonce, 16), NOW + 600, False
    )
    assert permit == Authorization(
        f"eip155:84532/permit2/{payer}/{permit_nonce:064x}", payer, permit_nonce, NOW + 600, False
    )


@pytest.mark.parametrize("one", VECTORS["v1"], ids=lambda one: one["id"])
def test_version_1_finds_its_terms_and_is_checked_like_version_2(one: dict[str, Any]) -> None:
    wanted = vector("exact-ok")["requirements"]
    assert wanted["amount"] == one["requirements"]["maxAmountRequired"]
    payload = decode_header(one["header"])
    offers = [terms_of(vector(name)["requirements"]) for name in ("upto-ok", "exact-ok")]

    terms = find_v1(payload, offers)

    assert terms == terms_of(wanted)
    authorization = check_v1(terms, payload, now=NOW, min_remaining_s=SKEW_S)
    assert authorization.payer == one["payer"].lower()


@pytest.mark.parametrize("one", VECTORS["malformedHeaders"], ids=lambda one: one["id"])
def test_a_malformed_header_is_undecodable_or_refused(one: dict[str, Any]) -> None:
    with pytest.raises((Undecodable, PaymentRefused)):
        judge(one["header"], vector("exact-ok")["requirements"])


@pytest.mark.parametrize("use", [0, 1])
def test_a_replay_is_not_for_these_checks_to_notice(use: int) -> None:
    """It is the ledger's: the checks remember nothing."""
    replay = VECTORS["replay"]

    assert judge(replay["header"], replay["requirements"]).deferred is False


@pytest.mark.parametrize(
    "one", [*VECTORS["paymentRequired"], *VECTORS["paymentResponse"]], ids=("402", "200", "failed")
)
def test_our_own_headers_are_those_of_the_vectors(one: dict[str, Any]) -> None:
    assert encode_header(one["decoded"]) == one["header"]
