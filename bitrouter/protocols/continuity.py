"""Envelopes: how one vendor's opaque data travels through the client of another.

A client that replays its history has to bring a thinking signature back unharmed, and it must
never reach a vendor that did not make it. So in every answer to a client of another vendor it is
wrapped with the letter of its origin, in the alphabet of the field that carries it.
Source: protocols.md, 2.5, "Envelope".
"""

import base64
import binascii
from typing import Final

import msgspec

from bitrouter.ir import Signature

_PREFIX: Final = "br1."
# How base64 of any envelope begins: the first three characters of the prefix, and a bit more.
_PREFIX_IN_BASE64: Final = base64.b64encode(_PREFIX[:3].encode()).decode()

MARKS: Final = (_PREFIX.encode(), _PREFIX_IN_BASE64.encode())
"""One of these bytes is in every body that holds an envelope."""


class _Content(msgspec.Struct, omit_defaults=True):
    sig: str
    id: str | None = None


_content: Final = msgspec.json.Decoder(_Content)


def seal(signature: Signature) -> str:
    """The envelope, in letters, digits and `.-_`: for carriers that are text."""
    content = msgspec.json.encode(_Content(signature.value, signature.id))
    text = base64.urlsafe_b64encode(content).decode().rstrip("=")
    return f"{_PREFIX}{signature.origin}.{text}"


def seal_in_base64(signature: Signature) -> str:
    """The envelope as standard base64: for carriers that are bytes."""
    return base64.b64encode(seal(signature).encode()).decode()


def unseal(carried: str) -> Signature | None:
    """What is in an envelope; None if `carried` is no envelope. A damaged one holds nothing, of
    origin "": it can go to nobody.
    """
    if not carried.startswith(_PREFIX):
        return None
    origin, _, text = carried.removeprefix(_PREFIX).partition(".")
    try:
        content = _content.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        return Signature("")
    return Signature(origin, content.sig, content.id)


def unseal_from_base64(carried: str) -> Signature | None:
    """The same for a carrier that is bytes, in either alphabet, padded or not."""
    if not carried.startswith(_PREFIX_IN_BASE64):
        return None
    standard = carried.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        text = base64.b64decode(standard + "=" * (-len(standard) % 4)).decode()
    except ValueError:
        return None
    return unseal(text)


def may_hold_envelope(body: bytes) -> bool:
    """Whether a body has to be looked through. False says that there is none for sure."""
    return MARKS[0] in body or MARKS[1] in body
