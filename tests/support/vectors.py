"""The test vectors of x402, and payments that are signed as a wallet signs them."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from eth_account import Account
from eth_account.messages import encode_typed_data

from bitrouter.payments.terms import Payload, Terms

VECTORS: dict[str, Any] = json.loads(
    Path(__file__).parents[1].joinpath("fixtures/payments/x402_vectors.json").read_text()
)
NOW: int = VECTORS["now"]
SKEW_S: int = VECTORS["skewSeconds"]
PAYER_KEY: str = VECTORS["keys"]["payer"]


def vector(name: str) -> dict[str, Any]:
    """One of `vectors`, by its id; a copy that may be changed."""
    return copy.deepcopy(next(one for one in VECTORS["vectors"] if one["id"] == name))


def terms_of(requirements: Mapping[str, Any]) -> Terms:
    """Requirements in JSON as our own terms."""
    return msgspec.convert(requirements, Terms)


def domain_of(terms: Terms) -> dict[str, object]:
    """The EIP-712 domain in which a payment for these terms is signed."""
    if terms.uses_permit2:
        contract = VECTORS["contracts"]["permit2"]
        return {"name": "Permit2", "chainId": terms.chain_id, "verifyingContract": contract}
    return {
        "name": terms.extra["name"],
        "version": terms.extra["version"],
        "chainId": terms.chain_id,
        "verifyingContract": terms.asset,
    }


def types_of(terms: Terms) -> dict[str, list[dict[str, str]]]:
    """The EIP-712 types of a payment for these terms, without the domain's."""
    if not terms.uses_permit2:
        names = ("value", "validAfter", "validBefore")
        return {
            "TransferWithAuthorization": [
                {"name": "from", "type": "address"},
                {"name": "to", "type": "address"},
                *({"name": name, "type": "uint256"} for name in names),
                {"name": "nonce", "type": "bytes32"},
            ]
        }
    witness = [{"name": "to", "type": "address"}, {"name": "validAfter", "type": "uint256"}]
    if terms.scheme == "upto":
        witness.insert(1, {"name": "facilitator", "type": "address"})
    return {
        "PermitWitnessTransferFrom": [
            {"name": "permitted", "type": "TokenPermissions"},
            {"name": "spender", "type": "address"},
            {"name": "nonce", "type": "uint256"},
            {"name": "deadline", "type": "uint256"},
            {"name": "witness", "type": "Witness"},
        ],
        "TokenPermissions": [
            {"name": "token", "type": "address"},
            {"name": "amount", "type": "uint256"},
        ],
        "Witness": witness,
    }


def message_of(payload: Payload) -> dict[str, Any]:
    """What was signed, as `eth_account` takes it: numbers as integers, the nonce as bytes."""
    inner = payload["payload"]
    if "authorization" in inner:
        message = dict(inner["authorization"])
        message["nonce"] = bytes.fromhex(message["nonce"][2:])
        return _with_numbers(message, "value", "validAfter", "validBefore")
    message = {key: one for key, one in inner["permit2Authorization"].items() if key != "from"}
    message["permitted"] = _with_numbers(message["permitted"], "amount")
    message["witness"] = _with_numbers(message["witness"], "validAfter")
    return _with_numbers(message, "nonce", "deadline")


def _with_numbers(message: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: int(one) if key in names else one for key, one in message.items()}


def sign(terms: Terms, payload: Payload, key: str = PAYER_KEY) -> Payload:
    """A copy of the payload with the signature that belongs to what it says now."""
    signable = encode_typed_data(
        domain_data=domain_of(terms),
        message_types=types_of(terms),
        message_data=message_of(payload),
    )
    signed = copy.deepcopy(payload)
    signature = Account.sign_message(signable, key).signature
    signed["payload"]["signature"] = "0x" + bytes(signature).hex()
    return signed
