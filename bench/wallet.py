"""Wallets that sign payments, faster than stock clients do and by the same rules (x402.md, 4)."""

import base64
import os
import time
from typing import Any, Final

import orjson
from coincurve import PrivateKey

from bitrouter.payments.eip712 import (
    PERMIT2,
    domain_separator,
    keccak,
    permit_digest,
    transfer_digest,
)

_UPTO_PROXY: Final = "0x4020a4f3b7b90cca423b9fabcc0ce57c6c240002"

Terms = dict[str, Any]

wall: Final = time.time  # noqa: TID251 - a signature runs out at a time of the day


class Wallet:
    """A key of its own. What it signs, it signs once: each payment has a nonce of its own."""

    def __init__(self) -> None:
        self._key = PrivateKey()
        public = self._key.public_key.format(compressed=False)
        self.address = "0x" + keccak(public[1:])[12:].hex()

    def header(self, accepted: Terms) -> str:
        """The value of PAYMENT-SIGNATURE for these terms, `exact` by EIP-3009 or `upto`."""
        signed = (
            self._permit(accepted) if accepted["scheme"] == "upto" else self._transfer(accepted)
        )
        return base64.b64encode(
            orjson.dumps({"x402Version": 2, "accepted": accepted, "payload": signed})
        ).decode()

    def _transfer(self, accepted: Terms) -> dict[str, Any]:
        until = _until(accepted)
        nonce = os.urandom(32)
        extra = accepted["extra"]
        domain = domain_separator(
            extra["name"], extra["version"], _chain(accepted), accepted["asset"].lower()
        )
        digest = transfer_digest(
            domain,
            self.address,
            accepted["payTo"].lower(),
            int(accepted["amount"]),
            0,
            until,
            int.from_bytes(nonce),
        )
        authorization = {
            "from": self.address,
            "to": accepted["payTo"],
            "value": accepted["amount"],
            "validAfter": "0",
            "validBefore": str(until),
            "nonce": "0x" + nonce.hex(),
        }
        return {"signature": self._sign(digest), "authorization": authorization}

    def _permit(self, accepted: Terms) -> dict[str, Any]:
        until = _until(accepted)
        nonce = int.from_bytes(os.urandom(32))
        facilitator = accepted["extra"]["facilitatorAddress"]
        digest = permit_digest(
            domain_separator("Permit2", None, _chain(accepted), PERMIT2),
            accepted["asset"].lower(),
            int(accepted["amount"]),
            _UPTO_PROXY,
            nonce,
            until,
            accepted["payTo"].lower(),
            0,
            facilitator.lower(),
        )
        permit = {
            "permitted": {"token": accepted["asset"], "amount": accepted["amount"]},
            "from": self.address,
            "spender": _UPTO_PROXY,
            "nonce": str(nonce),
            "deadline": str(until),
            "witness": {"to": accepted["payTo"], "facilitator": facilitator, "validAfter": "0"},
        }
        return {"signature": self._sign(digest), "permit2Authorization": permit}

    def _sign(self, digest: bytes) -> str:
        signature = self._key.sign_recoverable(digest, hasher=None)
        return "0x" + (signature[:64] + bytes((signature[64] + 27,))).hex()


def _until(accepted: Terms) -> int:
    seconds: int = accepted["maxTimeoutSeconds"]
    return int(wall()) + seconds


def _chain(accepted: Terms) -> int:
    return int(accepted["network"].partition(":")[2])
