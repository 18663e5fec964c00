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
from bitrouter.slices import LARGE

# Its last byte, and the first that base64 makes of it, are the rarest that their alphabets have in
# prose and in code: some two to twenty, and one to six, in 100 kB. See `may_hold`.
_PREFIX: Final = "Br1~"
# How base64 of any envelope begins: the first three characters of the prefix, and a bit more.
_PREFIX_IN_BASE64: Final = base64.b64encode(_PREFIX[:3].encode()).decode()

MARKS: Final = (f'"{_PREFIX}'.encode(), f'"{_PREFIX_IN_BASE64}'.encode())
"""One of these is in every body that holds an envelope, which is a string of JSON: the first where
its protocol carries text, the second where it carries bytes.
"""

MARK: Final = _PREFIX
"""What stands beside the router's own additions where a protocol has no field for an envelope."""


class _Content(msgspec.Struct, omit_defaults=True):
    sig: str
    id: str | None = None
    redacted: bool = False


_content: Final = msgspec.json.Decoder(_Content)


def seal(signature: Signature, *, redacted: bool = False) -> str:
    """The envelope, in letters, digits and `.-_~`: for carriers that are text. `redacted` is what
    Reasoning.redacted says, for carriers that have no other place for it.
    """
    content = msgspec.json.encode(_Content(signature.value, signature.id, redacted))
    text = base64.urlsafe_b64encode(content).decode().rstrip("=")
    return f"{_PREFIX}{signature.origin}.{text}"


def seal_in_base64(signature: Signature, *, redacted: bool = False) -> str:
    """The envelope as standard base64: for carriers that are bytes."""
    return base64.b64encode(seal(signature, redacted=redacted).encode()).decode()


def unseal(carried: str) -> Signature | None:
    """What is in an envelope; None if `carried` is no envelope. A damaged one holds nothing, of
    origin "": it can go to nobody.
    """
    if not carried.startswith(_PREFIX):
        return None
    origin, content = _open(carried)
    return Signature(origin, content.sig, content.id) if content else Signature("")


def unseal_from_base64(carried: str) -> Signature | None:
    """The same for a carrier that is bytes, in either alphabet, padded or not."""
    text = _text_of_base64(carried)
    return None if text is None else unseal(text)


def holds_redacted(carried: str) -> bool:
    """Whether an envelope, in either form, was sealed as `redacted`."""
    text = carried if carried.startswith(_PREFIX) else _text_of_base64(carried)
    if text is None or not text.startswith(_PREFIX):
        return False
    _, content = _open(text)
    return content is not None and content.redacted


def _open(envelope: str) -> tuple[str, _Content | None]:
    origin, _, text = envelope.removeprefix(_PREFIX).partition(".")
    try:
        return origin, _content.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        return origin, None


def _text_of_base64(carried: str) -> str | None:
    if not carried.startswith(_PREFIX_IN_BASE64):
        return None
    standard = carried.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4)).decode()
    except ValueError:
        return None


def may_hold_envelope(body: bytes) -> bool:
    """Whether a body has to be looked through. False says that there is none for sure."""
    return any(may_hold(body, mark) for mark in MARKS)


# Bytes of each mark, and how many others stand before them.
_LANDMARKS: Final = {
    MARKS[0]: ((b"~", 4), (b'"', 0)),
    MARKS[1]: ((b"Q", 1), (b'"', 0)),
}
_LEAST_TRIES: Final = 16
_BYTES_A_TRY: Final = 4096


def may_hold(body: bytes, mark: bytes) -> bool:
    """The same for one of the marks.

    From one of its rare bytes to the next, for which the C library needs 2 us in 100 kB, where all
    of the mark takes 40 to 70. What has too many of them, as base64 of an image has of letters, is
    gone through from quote to quote; and what has too many of these as well is searched for the
    mark itself: from the end, which takes CPython 3.11 half the time.
    """
    landmarks = _LANDMARKS[mark]
    if landmarks[0][0] not in body:  # as it is not in nearly all
        return False
    tries = _LEAST_TRIES + len(body) // _BYTES_A_TRY
    for byte, before in landmarks:
        at = body.find(byte)
        for _ in range(tries):
            if at < 0:
                return False
            if at >= before and body.startswith(mark, at - before):
                return True
            at = body.find(byte, at + 1)
    starts = range(0, len(body), LARGE)  # see bitrouter.slices
    return any(body.rfind(mark, start, start + LARGE + len(mark) - 1) >= 0 for start in starts)
