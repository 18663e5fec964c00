"""What a 402 offers beside its terms (x402.md, section 14). Prepared once for a configuration."""

import re
from typing import Any, Final

from bitrouter.errors import InvalidPayment
from bitrouter.payments.terms import Payload

IDENTIFIER: Final = "payment-identifier"
SPONSORING: Final = "eip2612GasSponsoring"
_BAZAAR: Final = "bazaar"
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_ID: Final = "[a-zA-Z0-9_-]{16,128}"
_is_id: Final = re.compile(_ID).fullmatch

_ADDRESS: Final = {"type": "string", "pattern": "^0x[a-fA-F0-9]{40}$"}
_NUMBER: Final = {"type": "string", "pattern": "^[0-9]+$"}

_IDENTIFIER: Final[dict[str, Any]] = {
    "info": {"required": False},
    "schema": {
        "$schema": _DRAFT,
        "type": "object",
        "properties": {
            "required": {"type": "boolean"},
            "id": {"type": "string", "pattern": f"^{_ID}$"},
        },
        "required": ["required"],
    },
}
_SPONSORING: Final[dict[str, Any]] = {
    "info": {
        "description": "The facilitator pays for an EIP-2612 permit to the Permit2 contract.",
        "version": "1",
    },
    "schema": {
        "$schema": _DRAFT,
        "type": "object",
        "properties": {
            **dict.fromkeys(("from", "asset", "spender"), _ADDRESS),
            **dict.fromkeys(("amount", "nonce", "deadline"), _NUMBER),
            "signature": {"type": "string", "pattern": "^0x[a-fA-F0-9]+$"},
            "version": {"type": "string"},
        },
        "required": ["from", "asset", "spender", "amount", "nonce", "deadline", "signature"],
    },
}


def advertised(*, sponsoring: bool) -> dict[str, Any]:
    """The extensions of every 402. `sponsoring` says that a payer without gas can be helped."""
    found = {IDENTIFIER: _IDENTIFIER}
    if sponsoring:
        found[SPONSORING] = _SPONSORING
    return found


def discovery(body: object) -> dict[str, Any]:
    """The extension by which facilitators list what is sold, with `body` as the example."""
    http = {
        "type": {"const": "http"},
        "method": {"const": "POST"},
        "bodyType": {"const": "json"},
        "body": {"type": "object", "required": ["model"]},
    }
    schema = {
        "$schema": _DRAFT,
        "type": "object",
        "properties": {
            "input": {
                "type": "object",
                "properties": http,
                "required": ["type", "method", "bodyType", "body"],
            }
        },
        "required": ["input"],
    }
    example = {"type": "http", "method": "POST", "bodyType": "json", "body": body}
    return {_BAZAAR: {"info": {"input": example}, "schema": schema}}


def identifier_of(payload: Payload) -> str | None:
    """The client's payment identifier, None if it has given none. Raises InvalidPayment."""
    extensions = payload.get("extensions")
    extension = extensions.get(IDENTIFIER) if isinstance(extensions, dict) else None
    info = extension.get("info") if isinstance(extension, dict) else None
    given = info.get("id") if isinstance(info, dict) else None
    if given is None:
        return None
    if not isinstance(given, str) or not _is_id(given):
        raise InvalidPayment(
            "the payment identifier must be 16 to 128 letters, digits, hyphens and underscores"
        )
    return given
