"""Envelopes bring one vendor's signatures through another vendor's clients, unharmed."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.ir import Signature
from bitrouter.protocols.continuity import (
    MARKS,
    holds_redacted,
    may_hold,
    may_hold_envelope,
    seal,
    seal_in_base64,
    unseal,
    unseal_from_base64,
)

signatures = st.builds(
    Signature,
    st.sampled_from("ago"),
    st.text(alphabet=st.characters(codec="utf-8"), max_size=80),
    st.none() | st.text(alphabet=string.ascii_letters, min_size=1),
)


@given(signatures)
def test_what_was_sealed_comes_back(signature: Signature) -> None:
    assert unseal(seal(signature)) == signature
    assert unseal_from_base64(seal_in_base64(signature)) == signature


@given(signatures, st.booleans())
def test_envelope_tells_what_was_redacted(signature: Signature, redacted: bool) -> None:
    text = seal(signature, redacted=redacted)
    carried = seal_in_base64(signature, redacted=redacted)

    assert (unseal(text), holds_redacted(text)) == (signature, redacted)
    assert (unseal_from_base64(carried), holds_redacted(carried)) == (signature, redacted)


@pytest.mark.parametrize("carried", ["", "EqQBCgIYAhIM", "Br1~a.???", "QnIx", "Br1"])
def test_what_is_no_envelope_holds_nothing_redacted(carried: str) -> None:
    assert not holds_redacted(carried)


@given(signatures)
def test_envelope_fits_its_carrier(signature: Signature) -> None:
    assert set(seal(signature)) <= {*string.ascii_letters, *string.digits, *".-_~"}
    base64.b64decode(seal_in_base64(signature), validate=True)


@given(signatures)
def test_carrier_may_come_back_in_the_other_alphabet_and_without_padding(
    signature: Signature,
) -> None:
    carried = base64.b64decode(seal_in_base64(signature))

    assert unseal_from_base64(base64.urlsafe_b64encode(carried).decode().rstrip("=")) == signature


@given(signatures)
def test_body_with_an_envelope_is_looked_through(signature: Signature) -> None:
    assert may_hold_envelope(b'{"x":"%b"}' % seal(signature).encode())
    assert may_hold_envelope(b'{"x":"%b"}' % seal_in_base64(signature).encode())


pieces = st.lists(
    st.sampled_from(
        [*MARKS, b"Br1~", b"QnIx", b'"', b'"Br1', b"~", b"r1~", b"1~", b"Q", b"QnI", b"nIx", b" "]
    ),
    max_size=12,
).map(b"".join)


@given(
    pieces,
    st.sampled_from([b"", b"~", b"Q", b'"', b'~"', b'Q"', b'"Br1', b'"QnI']),
    st.integers(0, 60),
    pieces,
)
def test_mark_is_found_wherever_it_stands(
    before: bytes, repeated: bytes, times: int, after: bytes
) -> None:
    body = before + repeated * times + after

    assert [may_hold(body, mark) for mark in MARKS] == [mark in body for mark in MARKS]


@pytest.mark.parametrize("native", ["", "EqQBCgIYAhIM", "gAAAAABo", "Br2~a.e30", "Br1"])
def test_a_vendors_own_value_is_no_envelope(native: str) -> None:
    assert unseal(native) is None
    assert unseal_from_base64(native) is None


@pytest.mark.parametrize(
    "damaged", ["Br1~", "Br1~a", "Br1~a.", "Br1~a.!!", "Br1~a.e30", "Br1~a.W10"]
)
def test_a_damaged_envelope_can_go_to_nobody(damaged: str) -> None:
    assert unseal(damaged) == Signature("")


@pytest.mark.parametrize("damaged", ["QnIx", "QnIxfg", "QnIxfmE", "QnIx*"])
def test_a_damaged_carrier_is_not_taken_for_a_whole_one(damaged: str) -> None:
    assert unseal_from_base64(damaged) in (None, Signature(""))
