"""Which of our terms a payment is for; and that extensions come back as they were sent."""

from typing import Any

import msgspec
import pytest

from bitrouter.payments.match import check_echo, find_match, find_v1
from bitrouter.payments.terms import PaymentRefused, Terms
from tests.support.vectors import VECTORS, terms_of, vector

EXACT = vector("exact-ok")["requirements"]
PERMIT = vector("exact-permit2-ok")["requirements"]
UPTO = vector("upto-ok")["requirements"]
OFFERS = [terms_of(one) for one in (UPTO, PERMIT, EXACT)]


def changed(requirements: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    return {**requirements, key: value}


@pytest.mark.parametrize("requirements", [UPTO, PERMIT, EXACT])
def test_what_was_offered_is_found_among_the_offers(requirements: dict[str, Any]) -> None:
    found = find_match(requirements, OFFERS)

    assert found is not None
    assert found == terms_of(requirements)


def test_an_offer_without_a_method_is_not_matched_by_one_with_it() -> None:
    """The client may add to `extra`, so the order decides; ours is what is checked."""
    assert find_match(PERMIT, [terms_of(EXACT)]) == terms_of(EXACT)
    assert find_match(EXACT, [terms_of(PERMIT)]) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scheme", "upto"),
        ("scheme", None),
        ("network", "eip155:8453"),
        ("network", "EIP155:84532"),
        ("amount", "12344"),
        ("amount", "012345"),
        ("amount", "12345.0"),
        ("amount", 12345),
        ("asset", VECTORS["addresses"]["other"]),
        ("asset", None),
        ("payTo", VECTORS["addresses"]["other"]),
        ("payTo", ["x"]),
        ("maxTimeoutSeconds", 599),
        ("maxTimeoutSeconds", 600.0),
        ("maxTimeoutSeconds", "600"),
        ("extra", None),
        ("extra", []),
        ("extra", {"name": "USDC"}),
        ("extra", {"name": "USDC", "version": 2}),
        ("extra", {"name": "usdc", "version": "2"}),
    ],
)
def test_what_differs_from_every_offer_is_not_found(key: str, value: object) -> None:
    assert find_match(changed(EXACT, key, value), OFFERS) is None


@pytest.mark.parametrize("key", [*EXACT])
def test_what_is_left_out_is_not_found(key: str) -> None:
    assert find_match({one: EXACT[one] for one in EXACT if one != key}, OFFERS) is None


def test_true_is_no_second() -> None:
    one = terms_of(changed(EXACT, "maxTimeoutSeconds", 1))

    assert find_match(changed(EXACT, "maxTimeoutSeconds", True), [one]) is None


@pytest.mark.parametrize("accepted", [None, "exact", 1, [], [EXACT], True])
def test_what_is_no_object_is_not_found(accepted: object) -> None:
    assert find_match(accepted, OFFERS) is None


@pytest.mark.parametrize("convert", [str.lower, str.upper])
def test_addresses_are_compared_without_regard_to_case(convert: Any) -> None:
    accepted = {**EXACT, "asset": convert(EXACT["asset"]), "payTo": convert(EXACT["payTo"])}

    found = find_match(accepted, OFFERS)

    assert found is not None
    assert found.asset == EXACT["asset"]


ADVERTISED = {
    "payment-identifier": {"info": {"required": False}, "schema": {"type": "object"}},
    "sign-in-with-x": {"info": {"domain": "router.example", "nonce": "1", "issuedAt": "now"}},
}


@pytest.mark.parametrize(
    "sent",
    [
        None,
        {},
        {"unknown": 1},
        {"payment-identifier": {"info": {"required": False}}},
        {"payment-identifier": {"info": {"required": False, "id": "x" * 16}, "more": 1}},
        {"sign-in-with-x": {"info": {"domain": "router.example", "nonce": "2"}}},
        {**ADVERTISED},
    ],
)
def test_an_extension_is_left_out_or_echoed(sent: object) -> None:
    check_echo(ADVERTISED, sent)


@pytest.mark.parametrize(
    "sent",
    [
        [],
        "payment-identifier",
        {"payment-identifier": None},
        {"payment-identifier": {}},
        {"payment-identifier": {"info": None}},
        {"payment-identifier": {"info": {"id": "x" * 16}}},
        {"payment-identifier": {"info": {"required": True}}},
        {"payment-identifier": {"info": {"required": 0}}},
        {"sign-in-with-x": {"info": {"domain": "evil.example", "nonce": "1"}}},
    ],
)
def test_an_extension_that_was_changed_is_refused(sent: object) -> None:
    with pytest.raises(PaymentRefused) as refused:
        check_echo(ADVERTISED, sent)

    assert refused.value.reason == "extension_echo_mismatch"


def test_nothing_is_compared_where_nothing_was_advertised() -> None:
    check_echo({}, {"anything": 1})


def v1(**changes: object) -> dict[str, Any]:
    return {**VECTORS["v1"][0]["decoded"], **changes}


def test_version_1_finds_the_first_offer_of_its_network_that_it_can_pay() -> None:
    base = msgspec.structs.replace(terms_of(EXACT), network="eip155:8453")

    assert find_v1(v1(), [base, *OFFERS]) == terms_of(EXACT)
    assert find_v1(v1(network="base"), [*OFFERS, base]) == base


@pytest.mark.parametrize(
    ("payload", "offers"),
    [
        (v1(scheme="upto"), OFFERS),
        (v1(scheme=None), OFFERS),
        (v1(network="eip155:84532"), OFFERS),
        (v1(network="base"), OFFERS),
        (v1(network=None), OFFERS),
        (v1(network=["base-sepolia"]), OFFERS),
        (v1(), OFFERS[:2]),
        (v1(), []),
        ({}, OFFERS),
    ],
)
def test_version_1_finds_nothing_else(payload: dict[str, Any], offers: list[Terms]) -> None:
    assert find_v1(payload, offers) is None
