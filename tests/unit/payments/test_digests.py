"""Our digests and recovery are those of eth_account, for any values."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils.crypto import keccak as reference_keccak
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.errors import ConfigError
from bitrouter.payments import curve
from bitrouter.payments.curve import has_high_s, recover_address, require_coincurve
from bitrouter.payments.eip712 import (
    PERMIT2,
    domain_separator,
    keccak,
    permit_digest,
    transfer_digest,
)
from tests.support.vectors import VECTORS, domain_of, message_of, terms_of, types_of, vector

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
numbers = st.integers(0, 2**256 - 1) | st.integers(0, 2000)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
with_digests = [one for one in [*VECTORS["vectors"], *VECTORS["v1"]] if "eip712" in one]


def digest_of(signable: SignableMessage) -> bytes:
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


@given(st.binary(max_size=300))
def test_the_hash_is_that_of_ethereum(data: bytes) -> None:
    assert keccak(data) == reference_keccak(data)


@given(
    name=names,
    version=names,
    chain_id=st.integers(1, 2**63),
    contract=addresses,
    message=st.fixed_dictionaries(
        {
            "from": addresses,
            "to": addresses,
            "value": numbers,
            "validAfter": numbers,
            "validBefore": numbers,
            "nonce": st.binary(min_size=32, max_size=32),
        }
    ),
)
def test_the_digest_of_a_transfer(
    name: str, version: str, chain_id: int, contract: str, message: dict[str, Any]
) -> None:
    domain = {
        "name": name,
        "version": version,
        "chainId": chain_id,
        "verifyingContract": contract,
    }
    types = types_of(terms_of(vector("exact-ok")["requirements"]))
    expected = encode_typed_data(domain, types, message)

    separator = domain_separator(name, version, chain_id, contract)
    digest = transfer_digest(
        separator,
        message["from"],
        message["to"],
        message["value"],
        message["validAfter"],
        message["validBefore"],
        int.from_bytes(message["nonce"]),
    )

    assert separator == expected.header
    assert digest == digest_of(expected)


@pytest.mark.parametrize("kind", ["exact-permit2-ok", "upto-ok"])
@given(
    chain_id=st.integers(1, 2**63),
    spender=addresses,
    nonce=numbers,
    deadline=numbers,
    token=addresses,
    amount=numbers,
    to=addresses,
    facilitator=addresses,
    valid_after=numbers,
)
def test_the_digest_of_a_permit(
    kind: str,
    chain_id: int,
    spender: str,
    nonce: int,
    deadline: int,
    token: str,
    amount: int,
    to: str,
    facilitator: str,
    valid_after: int,
) -> None:
    witness = {"to": to, "validAfter": valid_after}
    if kind == "upto-ok":
        witness["facilitator"] = facilitator
    domain = {"name": "Permit2", "chainId": chain_id, "verifyingContract": PERMIT2}
    message = {
        "permitted": {"token": token, "amount": amount},
        "spender": spender,
        "nonce": nonce,
        "deadline": deadline,
        "witness": witness,
    }
    types = types_of(terms_of(vector(kind)["requirements"]))
    expected = encode_typed_data(domain, types, message)

    digest = permit_digest(
        domain_separator("Permit2", None, chain_id, PERMIT2),
        token,
        amount,
        spender,
        nonce,
        deadline,
        to,
        valid_after,
        facilitator if kind == "upto-ok" else None,
    )

    assert digest == digest_of(expected)


@pytest.mark.parametrize("one", with_digests, ids=lambda one: one["id"])
def test_the_digests_of_the_vectors(one: dict[str, Any]) -> None:
    name = "exact-ok" if one["id"].startswith("v1") else one["id"]
    terms = terms_of(vector(name)["requirements"])
    sent = message_of(one["decoded"])
    if terms.uses_permit2:
        separator = domain_separator("Permit2", None, terms.chain_id, PERMIT2)
        permitted, witness = sent["permitted"], sent["witness"]
        digest = permit_digest(
            *(separator, permitted["token"], permitted["amount"], sent["spender"]),
            *(sent["nonce"], sent["deadline"], witness["to"], witness["validAfter"]),
            witness.get("facilitator"),
        )
    else:
        extra = terms.extra
        separator = domain_separator(extra["name"], extra["version"], terms.chain_id, terms.asset)
        digest = transfer_digest(
            *(separator, sent["from"], sent["to"], sent["value"]),
            *(sent["validAfter"], sent["validBefore"], int.from_bytes(sent["nonce"])),
        )

    assert "0x" + separator.hex() == one["eip712"]["domainSeparator"]
    assert "0x" + digest.hex() == one["eip712"]["digest"]
    assert digest == digest_of(encode_typed_data(domain_of(terms), types_of(terms), sent))


@given(message=st.binary(max_size=64), key=st.integers(1, 2**200).map(lambda n: n.to_bytes(32)))
def test_who_signed_is_recovered(message: bytes, key: bytes) -> None:
    signable = SignableMessage(b"\x45", b"header", message)
    signature = bytes(Account.sign_message(signable, key).signature)

    recovered = recover_address(digest_of(signable), signature)

    assert recovered == Account.recover_message(signable, signature=signature).lower()
    assert recovered == Account.from_key(key).address.lower()
    assert not has_high_s(signature)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=65, max_size=65))
def test_any_bytes_recover_to_an_address_or_to_none(digest: bytes, signature: bytes) -> None:
    recovered = recover_address(digest, signature)

    assert recovered is None or len(recovered) == 42


def test_payments_do_not_start_without_the_fast_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    require_coincurve()
    monkeypatch.setattr(curve, "PublicKey", None)

    with pytest.raises(ConfigError, match=r"payments\.x402\.enabled.*coincurve"):
        require_coincurve()
