"""The digests that payers sign (EIP-712), for the three kinds of payment of x402.md, section 4.

Written out field by field: each kind is one fixed struct of 32-byte words, so that no type needs
to be looked at while a request waits. Addresses are `0x` and 40 hexadecimal digits, numbers are
below 2**256; nothing is checked here.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from sha3 import keccak_256

PERMIT2: Final = "0x000000000022d473030f116ddee9f6b43ac78ba3"  # lower case, the same on every chain


class _Hash(Protocol):
    def digest(self) -> bytes: ...


_keccak_256: Final[Callable[[bytes], _Hash]] = keccak_256


def keccak(data: bytes) -> bytes:
    """Keccak-256, which is not SHA3-256: the padding differs."""
    return _keccak_256(data).digest()


def _type(encoded: str) -> str:
    """The hash of a struct's type, in hexadecimal digits."""
    return keccak(encoded.encode()).hex()


_TOKEN_PERMISSIONS: Final = "TokenPermissions(address token,uint256 amount)"
_WITNESS: Final = "Witness(address to,uint256 validAfter)"
_METERED_WITNESS: Final = "Witness(address to,address facilitator,uint256 validAfter)"
_PERMIT: Final = (
    "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,"
    f"uint256 deadline,Witness witness){_TOKEN_PERMISSIONS}"
)

_TRANSFER_TYPE: Final = _type(
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
    "uint256 validBefore,bytes32 nonce)"
)
_TOKEN_PERMISSIONS_TYPE: Final = _type(_TOKEN_PERMISSIONS)
_WITNESS_TYPE: Final = _type(_WITNESS)
_METERED_WITNESS_TYPE: Final = _type(_METERED_WITNESS)
_PERMIT_TYPE: Final = _type(_PERMIT + _WITNESS)
_METERED_PERMIT_TYPE: Final = _type(_PERMIT + _METERED_WITNESS)
_DOMAIN_TYPE: Final = _type(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_UNVERSIONED_DOMAIN_TYPE: Final = _type(
    "EIP712Domain(string name,uint256 chainId,address verifyingContract)"
)
_PAD: Final = "0" * 24  # what makes a word of an address


@lru_cache(maxsize=256)
def domain_separator(name: str, version: str | None, chain_id: int, contract: str) -> bytes:
    """The hash of the domain, which is the same for all payments in a token.

    Cached: there are as many as offers. To be called with our own terms only, never with what a
    client claims.
    """
    words = keccak(name.encode()).hex()
    domain_type = _UNVERSIONED_DOMAIN_TYPE
    if version is not None:
        domain_type = _DOMAIN_TYPE
        words += keccak(version.encode()).hex()
    return keccak(bytes.fromhex(f"{domain_type}{words}{chain_id:064x}{_PAD}{contract[2:]}"))


def transfer_digest(
    domain: bytes, payer: str, to: str, value: int, valid_after: int, valid_before: int, nonce: int
) -> bytes:
    """What is signed for a transfer by EIP-3009."""
    # One conversion of one text: seven of single words take three times as long.
    struct = bytes.fromhex(
        f"{_TRANSFER_TYPE}{_PAD}{payer[2:]}{_PAD}{to[2:]}{value:064x}"
        f"{valid_after:064x}{valid_before:064x}{nonce:064x}"
    )
    return _digest(domain, struct)


def permit_digest(
    domain: bytes,
    token: str,
    amount: int,
    spender: str,
    nonce: int,
    deadline: int,
    to: str,
    valid_after: int,
    facilitator: str | None,
) -> bytes:
    """What is signed for a transfer by Permit2. The witness names a facilitator under `upto`."""
    permitted = keccak(
        bytes.fromhex(f"{_TOKEN_PERMISSIONS_TYPE}{_PAD}{token[2:]}{amount:064x}")
    ).hex()
    if facilitator is None:
        permit_type = _PERMIT_TYPE
        words = f"{_WITNESS_TYPE}{_PAD}{to[2:]}{valid_after:064x}"
    else:
        permit_type = _METERED_PERMIT_TYPE
        words = f"{_METERED_WITNESS_TYPE}{_PAD}{to[2:]}{_PAD}{facilitator[2:]}{valid_after:064x}"
    witness = keccak(bytes.fromhex(words)).hex()
    struct = bytes.fromhex(
        f"{permit_type}{permitted}{_PAD}{spender[2:]}{nonce:064x}{deadline:064x}{witness}"
    )
    return _digest(domain, struct)


def _digest(domain: bytes, struct: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain + keccak(struct))
