"""The local checks: order, limits, exact types, and who may have signed."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter.payments.terms import Authorization, Payload, PaymentRefused, Terms
from bitrouter.payments.verify import check_payment, check_v1
from tests.support.vectors import NOW, SKEW_S, VECTORS, sign, terms_of, vector

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
OTHER: str = VECTORS["addresses"]["other"]
OTHER_KEY: str = VECTORS["keys"]["other"]
KINDS = ("exact-ok", "exact-permit2-ok", "upto-ok")
SIGNATURE_REASON = {
    "exact-ok": "invalid_exact_evm_payload_signature",
    "exact-permit2-ok": "invalid_permit2_signature",
    "upto-ok": "invalid_permit2_signature",
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def case(kind: str) -> tuple[Terms, Payload]:
    one = vector(kind)
    return terms_of(one["requirements"]), one["decoded"]


def check(terms: Terms, payload: Payload, **changes: Any) -> Authorization:
    return check_payment(terms, payload, **{"now": NOW, "min_remaining_s": SKEW_S, **changes})


def reason(terms: Terms, payload: Payload, **changes: Any) -> str:
    with pytest.raises(PaymentRefused) as refused:
        check(terms, payload, **changes)
    return refused.value.reason


def put(payload: Payload, path: str, value: object) -> Payload:
    """A copy with one field of the inner payload changed; of a path without value, removed."""
    changed = copy.deepcopy(payload)
    *parents, name = path.split(".")
    holder = changed["payload"]
    for parent in parents:
        holder = holder[parent]
    if value is ...:
        del holder[name]
    else:
        holder[name] = value
    return changed


TRANSFER_FIELDS = [
    *(f"authorization.{name}" for name in ("from", "to")),
    *(f"authorization.{name}" for name in ("value", "validAfter", "validBefore", "nonce")),
]
PERMIT_FIELDS = [
    *(f"permit2Authorization.{name}" for name in ("from", "spender", "nonce", "deadline")),
    *(f"permit2Authorization.permitted.{name}" for name in ("token", "amount")),
    *(f"permit2Authorization.witness.{name}" for name in ("to", "validAfter")),
]
NUMBERS = {"value", "validAfter", "validBefore", "deadline", "amount"}
FIELDS = [
    *(("exact-ok", field) for field in ("signature", "authorization", *TRANSFER_FIELDS)),
    *(
        (kind, field)
        for kind in KINDS[1:]
        for field in ("signature", "permit2Authorization", *PERMIT_FIELDS)
    ),
    ("upto-ok", "permit2Authorization.witness.facilitator"),
]


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_field_that_is_missing_or_has_another_type_is_refused(kind: str, field: str) -> None:
    terms, payload = case(kind)

    values: tuple[object, ...] = (..., None, True, 5, 0.5, "", [], {}, "0xZZ", "0x0", "x" * 9000)
    for value in values:
        assert reason(terms, put(payload, field, value)) == "invalid_payload", value


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_numbers_and_hexadecimal_digits_are_written_in_one_way(kind: str, field: str) -> None:
    terms, payload = case(kind)
    name = field.rpartition(".")[2]
    if name in NUMBERS or (name == "nonce" and kind != "exact-ok"):
        wrong = ["01", "-1", "+1", "1_0", " 1", "1\n", "1.0", "1e3", "0x1", "\u0661", str(2**256)]
    elif name in ("authorization", "permit2Authorization"):
        return
    else:
        text = payload["payload"]["signature"] if name == "signature" else OTHER
        wrong = [
            text[2:],
            f"0X{text[2:]}",
            f"{text}\n",
            f" {text}",
            text[:-1],
            f"{text[:-1]}\u0661",
        ]
    for value in wrong:
        assert reason(terms, put(payload, field, value)) == "invalid_payload", value


@each_kind
@pytest.mark.parametrize("inner", [None, [], "x", 1, ...])
def test_a_payload_that_is_no_object_is_refused(kind: str, inner: object) -> None:
    terms, payload = case(kind)
    changed = {key: one for key, one in payload.items() if key != "payload"}

    assert reason(terms, {**changed, "payload": inner} if inner is not ... else changed) == (
        "invalid_payload"
    )


def test_a_payload_of_the_other_kind_is_refused() -> None:
    (transfer, by_transfer), (permit, by_permit) = case("exact-ok"), case("exact-permit2-ok")

    assert reason(transfer, by_permit) == reason(permit, by_transfer) == "invalid_payload"


@each_kind
@pytest.mark.parametrize("version", [1, 3, 99, True, 2.0, "2", None, ...])
def test_another_version_is_refused(kind: str, version: object) -> None:
    terms, payload = case(kind)
    changed = {key: one for key, one in payload.items() if key != "x402Version"}
    if version is not ...:
        changed["x402Version"] = version

    assert reason(terms, changed) == "invalid_x402_version"


@pytest.mark.parametrize(
    ("kind", "wrong", "reasons"),
    [
        (
            "exact-ok",
            [
                ("authorization.nonce", "0x1"),
                ("authorization.to", OTHER),
                ("authorization.value", "1"),
                ("authorization.validBefore", str(NOW)),
                ("authorization.validAfter", str(NOW + 1)),
                ("authorization.from", OTHER),
            ],
            [
                "invalid_payload",
                "invalid_exact_evm_payload_recipient_mismatch",
                "invalid_exact_evm_payload_authorization_value_mismatch",
                "invalid_exact_evm_payload_authorization_valid_before",
                "invalid_exact_evm_payload_authorization_valid_after",
                "invalid_exact_evm_payload_signature",
            ],
        ),
        (
            "upto-ok",
            [
                ("permit2Authorization.nonce", "01"),
                ("permit2Authorization.spender", OTHER),
                ("permit2Authorization.witness.to", OTHER),
                ("permit2Authorization.witness.facilitator", OTHER),
                ("permit2Authorization.deadline", str(NOW)),
                ("permit2Authorization.witness.validAfter", str(NOW + 1)),
                ("permit2Authorization.permitted.amount", "1"),
                ("permit2Authorization.permitted.token", OTHER),
                ("permit2Authorization.from", OTHER),
            ],
            [
                "invalid_payload",
                "invalid_permit2_spender",
                "invalid_permit2_recipient_mismatch",
                "upto_facilitator_mismatch",
                "permit2_deadline_expired",
                "permit2_not_yet_valid",
                "permit2_amount_mismatch",
                "permit2_token_mismatch",
                "invalid_permit2_signature",
            ],
        ),
    ],
)
def test_of_several_faults_the_first_in_order_is_told(
    kind: str, wrong: list[tuple[str, str]], reasons: list[str]
) -> None:
    terms, payload = case(kind)
    told = []
    for path, value in reversed(wrong):
        payload = put(payload, path, value)
        told.append(reason(terms, payload))

    assert told == reasons[::-1]


@each_kind
@pytest.mark.parametrize(
    ("remaining", "least", "good"),
    [
        (6, 6, True),
        (5, 6, False),
        (120, 120, True),
        (119, 120, False),
        (660, 6, True),
        (661, 6, False),
        (2**255, 6, False),
    ],
)
def test_the_rest_of_its_life_is_neither_too_short_nor_too_long(
    kind: str, remaining: int, least: int, good: bool
) -> None:
    terms, payload = case(kind)
    expiry = "permit2Authorization.deadline"
    refusal = "permit2_deadline_expired"
    if kind == "exact-ok":
        expiry = "authorization.validBefore"
        refusal = "invalid_exact_evm_payload_authorization_valid_before"
    payload = sign(terms, put(payload, expiry, str(NOW + remaining)))

    if good:
        assert check(terms, payload, min_remaining_s=least).expires_at == NOW + remaining
    else:
        assert reason(terms, payload, min_remaining_s=least) == refusal


@each_kind
def test_the_clock_may_have_a_fraction(kind: str) -> None:
    terms, payload = case(kind)

    assert check(terms, payload, now=NOW + 593.9).expires_at == NOW + 600
    assert reason(terms, payload, now=NOW + 594.1) != ""


@each_kind
@pytest.mark.parametrize("length", [0, 1, 64, 66, 97, 500])
def test_a_signature_of_another_length_is_a_contract_wallets(kind: str, length: int) -> None:
    terms, payload = case(kind)

    assert check(terms, put(payload, "signature", "0x" + "11" * length)).deferred


@each_kind
def test_a_contract_wallets_payment_is_checked_in_all_else(kind: str) -> None:
    terms, payload = case(kind)
    field = "authorization.to" if kind == "exact-ok" else "permit2Authorization.witness.to"
    payload = put(put(payload, "signature", "0x1122"), field, OTHER)

    assert reason(terms, payload).endswith("recipient_mismatch")


@each_kind
@pytest.mark.parametrize("defer", [False, True])
def test_a_mismatch_is_deferred_only_where_that_is_set(kind: str, defer: bool) -> None:
    terms, payload = case(kind)
    payload = sign(terms, payload, OTHER_KEY)

    if defer:
        assert check(terms, payload, defer_mismatch=True).deferred
    else:
        assert reason(terms, payload) == SIGNATURE_REASON[kind]


@each_kind
@pytest.mark.parametrize("defer", [False, True])
def test_the_high_twin_is_refused_in_any_case(kind: str, defer: bool) -> None:
    terms, payload = case(kind)
    signature = bytes.fromhex(payload["payload"]["signature"][2:])
    high = ORDER - int.from_bytes(signature[32:64])
    twin = signature[:32] + high.to_bytes(32) + bytes([55 - signature[64]])
    payload = put(payload, "signature", "0x" + twin.hex())

    assert reason(terms, payload, defer_mismatch=defer) == SIGNATURE_REASON[kind]


@each_kind
def test_the_recovery_bit_has_two_spellings(kind: str) -> None:
    terms, payload = case(kind)
    signature: str = payload["payload"]["signature"]
    bit = int(signature[-2:], 16) - 27
    spelled = {v: put(payload, "signature", f"{signature[:-2]}{v:02x}") for v in range(256)}

    for v in (bit, bit + 27):
        assert not check(terms, spelled.pop(v)).deferred
    assert {reason(terms, other) for other in spelled.values()} == {SIGNATURE_REASON[kind]}


@each_kind
@pytest.mark.parametrize("r", [0, 1, ORDER - 1, ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, ORDER // 2, ORDER, 2**256 - 1])
def test_numbers_that_are_on_no_curve_are_a_bad_signature(kind: str, r: int, s: int) -> None:
    terms, payload = case(kind)
    payload = put(payload, "signature", f"0x{r:064x}{s:064x}1b")

    assert reason(terms, payload) == SIGNATURE_REASON[kind]


@each_kind
@settings(max_examples=100)
@given(data=st.data())
def test_one_bit_changed_anywhere_in_the_signature_is_refused(kind: str, data: Any) -> None:
    terms, payload = case(kind)
    signature = bytearray.fromhex(payload["payload"]["signature"][2:])
    place = data.draw(st.integers(0, 8 * 64 - 1))
    signature[place // 8] ^= 1 << place % 8

    changed = put(payload, "signature", "0x" + signature.hex())

    assert reason(terms, changed) == SIGNATURE_REASON[kind]


@each_kind
def test_case_is_no_matter_and_the_key_is_the_same(kind: str) -> None:
    terms, payload = case(kind)
    inner = payload["payload"]
    shouted = {"payload": _upper(inner), "x402Version": 2}

    assert check(terms, shouted) == check(terms, payload)
    assert check(terms, payload).key == check(terms, payload).key.lower()


def _upper(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _upper(one) for key, one in value.items()}
    return "0x" + value[2:].upper() if value.startswith("0x") else value


@each_kind
def test_what_is_not_known_is_tolerated(kind: str) -> None:
    terms, payload = case(kind)
    payload["payload"]["more"] = {"a": [1]}

    assert check(terms, payload) == check(*case(kind))


def with_nonce(kind: str, nonce: int) -> Authorization:
    terms, payload = case(kind)
    if kind == "exact-ok":
        payload = put(payload, "authorization.nonce", f"0x{nonce:064x}")
    else:
        payload = put(payload, "permit2Authorization.nonce", str(nonce))
    return check(terms, sign(terms, payload))


def test_a_payment_is_named_by_its_nonce_and_by_who_keeps_count_of_it() -> None:
    """Permit2 has one count for both schemes, a token its own."""
    transfer, permit, metered = (with_nonce(kind, 2**256 - 1) for kind in KINDS)

    assert permit.key == metered.key != transfer.key
    assert len({with_nonce(kind, 7).key for kind in KINDS} | {transfer.key, permit.key}) == 4
    assert transfer.nonce == permit.nonce == 2**256 - 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"value": "1"}, "invalid_exact_evm_payload_authorization_value"),
        ({"to": OTHER}, "invalid_exact_evm_payload_recipient_mismatch"),
        ({"from": OTHER}, "invalid_exact_evm_payload_signature"),
    ],
)
def test_version_1_has_the_same_checks_with_one_other_word(
    changes: dict[str, str], expected: str
) -> None:
    terms = case("exact-ok")[0]
    payload = copy.deepcopy(VECTORS["v1"][0]["decoded"])
    payload["payload"]["authorization"] |= changes

    with pytest.raises(PaymentRefused) as refused:
        check_v1(terms, payload, now=NOW, min_remaining_s=SKEW_S)

    assert refused.value.reason == expected


def test_version_2_is_no_version_1() -> None:
    terms, payload = case("exact-ok")

    with pytest.raises(PaymentRefused) as refused:
        check_v1(terms, payload, now=NOW, min_remaining_s=SKEW_S)

    assert refused.value.reason == "invalid_x402_version"
