"""The words for what is wrong with a payment."""

from typing import Any

import pytest

from bitrouter.payments.wanted import what_is_wanted, why_no_match, why_no_match_v1
from tests.support.vectors import VECTORS, terms_of, vector

EXACT = terms_of(vector("exact-ok")["requirements"])
PERMIT = terms_of(vector("exact-permit2-ok")["requirements"])
UPTO = terms_of(vector("upto-ok")["requirements"])
REFUSED = [one for one in VECTORS["vectors"] if one["expect"] == "invalid"]
# What the facilitator alone knows, or says all by itself.
SILENT = "invalid_exact_evm_insufficient_balance"


@pytest.mark.parametrize("case", REFUSED, ids=lambda one: one["id"])
def test_every_reason_of_the_local_checks_comes_with_what_is_wanted(case: dict[str, Any]) -> None:
    terms = terms_of(case["requirements"])
    assert what_is_wanted(case["reason"], terms, 120)


@pytest.mark.parametrize("case", REFUSED, ids=lambda one: one["id"])
def test_nothing_of_the_payment_is_quoted(case: dict[str, Any]) -> None:
    said = what_is_wanted(case["reason"], terms_of(case["requirements"]), 120).lower()
    assert case["decoded"]["payload"]["signature"][2:].lower() not in said


@pytest.mark.parametrize(
    ("reason", "terms", "said"),
    [
        ("invalid_exact_evm_payload_authorization_value_mismatch", EXACT, EXACT.amount),
        ("invalid_exact_evm_payload_recipient_mismatch", EXACT, EXACT.pay_to),
        ("invalid_exact_evm_payload_authorization_valid_before", EXACT, "120 to 600 seconds"),
        ("permit2_deadline_expired", UPTO, "120 to 600 seconds"),
        ("permit2_token_mismatch", PERMIT, PERMIT.asset),
        ("permit2_amount_mismatch", PERMIT, PERMIT.amount),
        ("upto_facilitator_mismatch", UPTO, UPTO.extra["facilitatorAddress"]),
        ("invalid_exact_evm_payload_signature", EXACT, "'USDC', version '2', chainId 84532"),
        ("invalid_permit2_signature", UPTO, "Permit2, chainId 84532"),
        ("invalid_payload", UPTO, "permit2Authorization"),
        ("invalid_payload", EXACT, "and authorization"),
    ],
)
def test_it_names_our_own_terms(reason: str, terms: Any, said: str) -> None:
    assert said in what_is_wanted(reason, terms, 120)


def test_a_reason_that_is_not_ours_speaks_for_itself() -> None:
    assert what_is_wanted(SILENT, EXACT, 120) == ""
    assert what_is_wanted("whatever_it_says", UPTO, 120) == ""


def test_a_claim_is_compared_with_the_terms_it_is_nearest_to() -> None:
    claim = {**vector("upto-ok")["requirements"], "amount": "1", "payTo": None}
    said = why_no_match(claim, [EXACT, UPTO])
    assert said.startswith("`accepted` is none of the terms; for upto on eip155:84532, ")
    assert f'amount must be "{UPTO.amount}"' in said
    assert f'payTo must be "{UPTO.pay_to}"' in said
    assert said.count("must be") == 2


@pytest.mark.parametrize("claim", [None, [], "exact", 1])
def test_a_claim_that_is_no_object_is_told_what_it_should_be(claim: object) -> None:
    assert why_no_match(claim, [EXACT]).startswith("`accepted` must be one of the terms")


def test_where_nothing_is_offered_that_is_said() -> None:
    assert why_no_match({}, []) == "nothing is offered for this request now"


def test_version_1_is_told_what_it_can_pay() -> None:
    assert why_no_match_v1([UPTO, EXACT]).endswith("on network base-sepolia")
    assert why_no_match_v1([UPTO, PERMIT]) == "nothing that is offered can be paid by version 1"
