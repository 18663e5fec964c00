"""What is wrong with a payment, in words for who writes the wallet: what is wanted in its place.

Nothing here decides anything, and nothing of the payment is quoted: only our own terms are.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from bitrouter.config.tokens import v1_name
from bitrouter.payments.match import differences
from bitrouter.payments.terms import Terms

_AGAIN: Final = "it was used before, or is in use; sign a new one"
_PLAIN: Final[Mapping[str, str]] = {
    "invalid_x402_version": "x402Version must be 2 in PAYMENT-SIGNATURE, and 1 in X-PAYMENT",
    "extension_echo_mismatch": "an extension that comes back must have its `info` as it was sent",
    "invalid_exact_evm_nonce_already_used": _AGAIN,
    "permit2_invalid_nonce": _AGAIN,
    "permit2_allowance_required": "the wallet must approve the Permit2 contract for the token once",
    "invalid_permit2_spender": "spender must be the x402 proxy of the scheme",
}
_SUFFIXES: Final[Mapping[str, str]] = {
    "_valid_after": "validAfter must not be in the future",
    "_not_yet_valid": "witness.validAfter must not be in the future",
}


def why_no_match(accepted: object, terms: Sequence[Terms]) -> str:
    """Why `accepted` is none of our terms: where it differs from those it differs least from."""
    if not isinstance(accepted, dict):
        return "`accepted` must be one of the terms in `accepts`, as it stands there"
    told = [(differences(accepted, one), one) for one in terms]
    if not told:
        return "nothing is offered for this request now"
    found, nearest = min(told, key=lambda one: len(one[0]))
    return (
        f"`accepted` is none of the terms; for {nearest.scheme} on {nearest.network},"
        f" {', '.join(found)}"
    )


def why_no_match_v1(terms: Sequence[Terms]) -> str:
    """The same for version 1 of the protocol."""
    names = [
        v1_name(one.network) for one in terms if one.scheme == "exact" and not one.uses_permit2
    ]
    known = ", ".join(name for name in names if name)
    if not known:
        return "nothing that is offered can be paid by version 1"
    return f"version 1 pays scheme exact, on network {known}"


def what_is_wanted(reason: str, terms: Terms, min_remaining_s: int) -> str:
    """What the payment should have been, for a reason of x402.md, section 11; empty for one that
    speaks for itself, or that the facilitator knows more of.
    """
    if reason in _PLAIN:
        return _PLAIN[reason]
    for suffix, wanted in _SUFFIXES.items():
        if reason.endswith(suffix):
            return wanted
    return _by_terms(reason, terms, min_remaining_s)


def _by_terms(reason: str, terms: Terms, min_remaining_s: int) -> str:
    if reason == "invalid_payload":
        members = "permit2Authorization" if terms.uses_permit2 else "authorization"
        return f"payload must hold signature and {members}, its numbers as decimal strings"
    if reason.endswith(("_value_mismatch", "_authorization_value", "_amount_mismatch")):
        return f"the amount that is signed must be {terms.amount}, no less and no more"
    if reason.endswith("_recipient_mismatch"):
        return f"the money must go to {terms.pay_to}"
    if reason.endswith("_token_mismatch"):
        return f"permitted.token must be {terms.asset}"
    if reason == "upto_facilitator_mismatch":
        return f"witness.facilitator must be {terms.extra.get('facilitatorAddress')}"
    if reason.endswith(("_valid_before", "_deadline_expired")):
        return (
            f"it must be good for {min_remaining_s} to {terms.max_timeout_seconds} seconds from"
            " now, by the router's clock"
        )
    if reason.endswith("_signature"):
        return f"it is not that of `from` for the domain {_domain(terms)}"
    return ""


def _domain(terms: Terms) -> str:
    if terms.uses_permit2:
        return f"Permit2, chainId {terms.chain_id}"
    name, version = terms.extra["name"], terms.extra["version"]
    return f"{name!r}, version {version!r}, chainId {terms.chain_id}, contract {terms.asset}"
