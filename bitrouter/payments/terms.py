"""The objects that a seller and its facilitator exchange (x402.md, sections 3, 4, 6 and 7).

Amounts are decimal strings of the token's smallest unit on the wire, and integers everywhere else.
What a client sent stays the JSON that it was, as `dict`s: fields that we do not know go on to the
facilitator.
"""

from typing import Any

import msgspec

X402_VERSION = 2

# A PaymentPayload as the client sent it.
Payload = dict[str, Any]


class Terms(msgspec.Struct, frozen=True, rename="camel"):
    """PaymentRequirements: one way to pay for one request. `amount` is the price of `exact`, the
    ceiling of `upto`. `extra` holds the token's EIP-712 `name` and `version`, and what the scheme
    needs.
    """

    scheme: str
    network: str
    amount: str
    asset: str
    pay_to: str
    max_timeout_seconds: int
    extra: dict[str, str]

    @property
    def chain_id(self) -> int:
        """The number in a CAIP-2 name such as eip155:8453."""
        return int(self.network.partition(":")[2])

    @property
    def uses_permit2(self) -> bool:
        """Whether the payer signs for the Permit2 contract, and not for the token itself."""
        return self.scheme == "upto" or self.extra.get("assetTransferMethod") == "permit2"


class Authorization(msgspec.Struct, frozen=True):
    """A payment whose local checks have passed.

    `key` names it among all payments there can be: network, token or `permit2`, payer and nonce, in
    lower case. `payer` is lower case. `expires_at` is the Unix second from which the chain refuses
    it. `deferred` says that the signature is a contract wallet's, which the chain alone can judge.
    """

    key: str
    payer: str
    nonce: int
    expires_at: int
    deferred: bool


class PaymentRefused(Exception):
    """A payment that does not do. `reason` is a code of x402.md, section 11; `wanted` says in words
    what would have done, and quotes nothing of the payment.
    """

    def __init__(self, reason: str, wanted: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.wanted = wanted


class Verdict(msgspec.Struct, frozen=True):
    """What the facilitator says of a payment: `reason` is None when it is good."""

    reason: str | None
    payer: str | None = None


class Receipt(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """SettleResponse: how a settlement ended. `transaction` is a hash, or empty."""

    success: bool
    transaction: str
    network: str
    payer: str | None = None
    amount: str | None = None
    error_reason: str | None = None
