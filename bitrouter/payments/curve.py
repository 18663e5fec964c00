"""Who signed a digest: secp256k1, by libsecp256k1."""

from typing import Final

from bitrouter.errors import ConfigError, Problem
from bitrouter.payments.eip712 import keccak

try:
    from coincurve import PublicKey
except ImportError:
    PublicKey = None  # type: ignore[assignment, misc]  # require_coincurve says so, in good time

SIGNATURE_BYTES: Final = 65
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
# The recovery bit is written in two ways; both occur (x402.md, section 4.1).
_RECOVERY: Final = {0: b"\x00", 1: b"\x01", 27: b"\x00", 28: b"\x01"}


def require_coincurve() -> None:
    """Raise ConfigError when coincurve cannot be imported: payments must not start then.

    In pure Python one recovery takes some 5 ms (x402.md, section 4.1), during which the loop would
    serve nobody.
    """
    if PublicKey is None:
        message = (
            "payments need the package coincurve, which cannot be imported; install it"
            " (pip install coincurve), or write false"
        )
        raise ConfigError([Problem("(configuration)", 0, 0, "payments.x402.enabled", message)])


def recover_address(digest: bytes, signature: bytes) -> str | None:
    """The address, in lower case, whose key signed; None when no key can have.

    `signature` are 65 bytes: r, s, and the recovery bit as 0, 1, 27 or 28.
    """
    recovery = _RECOVERY.get(signature[64])
    if recovery is None:
        return None
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + recovery, digest, hasher=None)
    except ValueError:
        return None
    return "0x" + keccak(key.format(compressed=False)[1:])[12:].hex()


def has_high_s(signature: bytes) -> bool:
    """Whether it is the twin of a signature, made without the key. Tokens refuse it."""
    return int.from_bytes(signature[32:64]) > _HALF_ORDER
