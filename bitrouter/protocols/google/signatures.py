"""Thought signatures: Google's own, those of others in an envelope, and the value for none.

Source: protocols.md, 1.4 ("API rules") and 2.5 ("Envelope", "Last resort").
"""

from typing import Final

from bitrouter.ir import Signature
from bitrouter.protocols.continuity import seal_in_base64, unseal_from_base64
from bitrouter.protocols.media import standard_base64

ORIGIN: Final = "g"

SKIP: Final = "skip_thought_signature_validator"
"""What Google documents for a call that it did not make, or whose signature is lost."""

_SKIP_IN_STANDARD: Final = standard_base64(SKIP, "")


def read_signature(carried: str | None, where: str) -> Signature | None:
    """Whose signature a `thoughtSignature` is. Raises InvalidRequest when it is not base64."""
    if not carried:
        return None
    sealed = unseal_from_base64(carried)
    if sealed is not None:
        return sealed
    native = standard_base64(carried, where)
    return Signature(ORIGIN, native) if native != _SKIP_IN_STANDARD else None


def write_signature(signature: Signature | None, *, redacted: bool = False) -> str | None:
    """The `thoughtSignature` for a client; None if there is nothing that it has to keep.

    `redacted` is Reasoning.redacted, which a part has no other place for.
    """
    if signature is None:
        return None
    if signature.origin == ORIGIN:
        return signature.value or None
    return seal_in_base64(signature, redacted=redacted)
