"""Whether a payment is what we asked for, as far as that can be said without the chain (x402.md,
sections 4.1 to 4.3).

The terms are our own. Checks are made in the order of the specification, and the first that fails
gives the reason. A payment that passes is none yet: only the facilitator knows balances, and what
was spent already.
"""

from typing import Annotated, Final, TypeVar

import msgspec

from bitrouter.payments.curve import SIGNATURE_BYTES, has_high_s, recover_address
from bitrouter.payments.eip712 import PERMIT2, domain_separator, permit_digest, transfer_digest
from bitrouter.payments.terms import (
    X402_VERSION,
    Authorization,
    Payload,
    PaymentRefused,
    Terms,
)

# Whom the payer allows to take the tokens: the same on every chain (x402.md, section 4.2).
_EXACT_PROXY: Final = "0x402085c248eea27d92e8b30b2c58ed07f9e20001"
_UPTO_PROXY: Final = "0x4020a4f3b7b90cca423b9fabcc0ce57c6c240002"

# A payer's clock may be ahead of ours. What lives longer would have to be remembered longer.
_CLOCKS_DIFFER_S: Final = 60
_UINT256: Final = 1 << 256

# \A and \Z: `$` would let a line break pass.
_Address = Annotated[str, msgspec.Meta(pattern=r"\A0x[0-9a-fA-F]{40}\Z")]
_Word = Annotated[str, msgspec.Meta(pattern=r"\A0x[0-9a-fA-F]{64}\Z")]
_Number = Annotated[str, msgspec.Meta(pattern=r"\A(?:0|[1-9][0-9]{0,77})\Z")]
# That its digits are pairs is seen to by `_read`: as a group in the pattern it takes 1 us.
_Signature = Annotated[str, msgspec.Meta(pattern=r"\A0x[0-9a-fA-F]*\Z")]


class _Transfer(msgspec.Struct, rename="camel"):
    payer: _Address = msgspec.field(name="from")
    to: _Address
    value: _Number
    valid_after: _Number
    valid_before: _Number
    nonce: _Word


class _Signed(msgspec.Struct):
    signature: _Signature


class _ByTransfer(_Signed):
    authorization: _Transfer


class _Permitted(msgspec.Struct):
    token: _Address
    amount: _Number


class _Witness(msgspec.Struct, rename="camel"):
    to: _Address
    valid_after: _Number
    facilitator: _Address | None = None


class _Permit(msgspec.Struct):
    permitted: _Permitted
    spender: _Address
    nonce: _Number
    deadline: _Number
    witness: _Witness
    payer: _Address = msgspec.field(name="from")


class _ByPermit(_Signed, rename="camel"):
    permit2_authorization: _Permit


T = TypeVar("T", bound=_Signed)


def check_payment(
    terms: Terms,
    payload: Payload,
    *,
    now: float,
    min_remaining_s: int,
    defer_mismatch: bool = False,
) -> Authorization:
    """Check a payment of version 2 against our terms that it matches (`match.find_match`).

    `now` is Unix time; `min_remaining_s` is how long the authorisation must still live. With
    `defer_mismatch`, a signature that is not the payer's own may be that of a deployed contract
    wallet, and is left to the facilitator (x402.md, section 4.6). Raises PaymentRefused.
    """
    _require_version(payload, X402_VERSION)
    if terms.uses_permit2:
        return _check_permit(terms, payload, now, min_remaining_s, defer_mismatch)
    return _check_transfer(
        terms,
        payload,
        now,
        min_remaining_s,
        defer_mismatch,
        "invalid_exact_evm_payload_authorization_value_mismatch",
    )


def check_v1(
    terms: Terms,
    payload: Payload,
    *,
    now: float,
    min_remaining_s: int,
    defer_mismatch: bool = False,
) -> Authorization:
    """The same for a payment of version 1 and our terms for it (`match.find_v1`)."""
    _require_version(payload, 1)
    reason = "invalid_exact_evm_payload_authorization_value"
    return _check_transfer(terms, payload, now, min_remaining_s, defer_mismatch, reason)


def _require_version(payload: Payload, wanted: int) -> None:
    version = payload.get("x402Version")
    if type(version) is not int or version != wanted:  # True == 1, and 2.0 == 2
        raise PaymentRefused("invalid_x402_version")


def _check_transfer(
    terms: Terms,
    payload: Payload,
    now: float,
    min_remaining_s: int,
    defer_mismatch: bool,
    value_reason: str,
) -> Authorization:
    """`exact` by EIP-3009."""
    sent = _read(payload, _ByTransfer)
    transfer = sent.authorization
    value, valid_after = _number(transfer.value), _number(transfer.valid_after)
    valid_before, nonce = _number(transfer.valid_before), int(transfer.nonce, 16)
    to = transfer.to.lower()
    _expect(to == terms.pay_to.lower(), "invalid_exact_evm_payload_recipient_mismatch")
    _expect(value == int(terms.amount), value_reason)
    _expect(
        _lives(valid_before, terms, now, min_remaining_s),
        "invalid_exact_evm_payload_authorization_valid_before",
    )
    _expect(valid_after <= now, "invalid_exact_evm_payload_authorization_valid_after")
    asset = terms.asset.lower()
    domain = domain_separator(terms.extra["name"], terms.extra["version"], terms.chain_id, asset)
    payer = transfer.payer.lower()
    digest = transfer_digest(domain, payer, to, value, valid_after, valid_before, nonce)
    deferred = _check_signature(
        digest, sent.signature, payer, defer_mismatch, "invalid_exact_evm_payload_signature"
    )
    return _authorization(terms, asset, payer, nonce, valid_before, deferred)


def _check_permit(
    terms: Terms, payload: Payload, now: float, min_remaining_s: int, defer_mismatch: bool
) -> Authorization:
    """`exact` by Permit2, and `upto`, whose witness names the facilitator too."""
    sent = _read(payload, _ByPermit)
    permit = sent.permit2_authorization
    permitted, witness = permit.permitted, permit.witness
    amount, nonce = _number(permitted.amount), _number(permit.nonce)
    deadline, valid_after = _number(permit.deadline), _number(witness.valid_after)
    spender, token, to = permit.spender.lower(), permitted.token.lower(), witness.to.lower()
    proxy = _UPTO_PROXY if terms.scheme == "upto" else _EXACT_PROXY
    _expect(spender == proxy, "invalid_permit2_spender")
    _expect(to == terms.pay_to.lower(), "invalid_permit2_recipient_mismatch")
    facilitator = _check_facilitator(terms, witness)
    _expect(_lives(deadline, terms, now, min_remaining_s), "permit2_deadline_expired")
    _expect(valid_after <= now, "permit2_not_yet_valid")
    _expect(amount == int(terms.amount), "permit2_amount_mismatch")
    _expect(token == terms.asset.lower(), "permit2_token_mismatch")
    domain = domain_separator("Permit2", None, terms.chain_id, PERMIT2)
    digest = permit_digest(
        domain, token, amount, spender, nonce, deadline, to, valid_after, facilitator
    )
    payer = permit.payer.lower()
    deferred = _check_signature(
        digest, sent.signature, payer, defer_mismatch, "invalid_permit2_signature"
    )
    return _authorization(terms, "permit2", payer, nonce, deadline, deferred)


def _check_facilitator(terms: Terms, witness: _Witness) -> str | None:
    """The account that alone can settle, in lower case; None under `exact`, where any can."""
    if terms.scheme != "upto":
        return None
    _expect(witness.facilitator is not None, "invalid_payload")
    facilitator = str(witness.facilitator).lower()
    wanted = terms.extra["facilitatorAddress"].lower()
    _expect(facilitator == wanted, "upto_facilitator_mismatch")
    return facilitator


def _read(payload: Payload, wanted: type[T]) -> T:
    """The inner payload. Types are exact: a number is a text of digits. Unknown fields may be."""
    try:
        sent = msgspec.convert(payload.get("payload"), wanted)
    except msgspec.ValidationError:
        # Its text may quote the payload.
        raise PaymentRefused("invalid_payload") from None
    _expect(len(sent.signature) % 2 == 0, "invalid_payload")
    return sent


def _number(digits: str) -> int:
    number = int(digits)
    _expect(number < _UINT256, "invalid_payload")
    return number


def _expect(holds: bool, reason: str) -> None:
    if not holds:
        raise PaymentRefused(reason)


def _lives(expires_at: int, terms: Terms, now: float, min_remaining_s: int) -> bool:
    """Whether it lives long enough, and not longer than was asked for."""
    latest = now + terms.max_timeout_seconds + _CLOCKS_DIFFER_S
    return now + min_remaining_s <= expires_at <= latest


def _check_signature(
    digest: bytes, text: str, payer: str, defer_mismatch: bool, reason: str
) -> bool:
    """Whether the signature is left to the chain. Raises PaymentRefused when it is not good."""
    signature = bytes.fromhex(text[2:])
    if len(signature) != SIGNATURE_BYTES:
        return True
    if recover_address(digest, signature) == payer:
        _expect(not has_high_s(signature), reason)
        return False
    _expect(defer_mismatch, reason)
    return True


def _authorization(
    terms: Terms, source: str, payer: str, nonce: int, expires_at: int, deferred: bool
) -> Authorization:
    key = f"{terms.network}/{source}/{payer}/{nonce:064x}"
    return Authorization(key, payer, nonce, expires_at, deferred)
