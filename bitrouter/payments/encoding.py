"""Payment headers: JSON in standard base64 (x402.md, section 2)."""

import binascii
from typing import Any, Final

import msgspec
import orjson

from bitrouter.envelope import nests_deeper
from bitrouter.payments.terms import Payload

MAX_HEADER_CHARS: Final = 16 << 10  # reliability.md, section 12
MAX_DEPTH: Final = 64  # what is passed on must be written again, which orjson does to 254 levels


class Undecodable(ValueError):
    """A payment header that is none. The text says what is wrong, and quotes nothing of it."""


def decode_header(text: str) -> Payload:
    """The JSON object in a payment header, with everything that it holds.

    Missing padding is accepted. Raises Undecodable when the header is too long, is not base64 of
    the standard alphabet, or holds anything but one JSON object in UTF-8.
    """
    if len(text) > MAX_HEADER_CHARS:
        raise Undecodable(f"the payment header is longer than {MAX_HEADER_CHARS} characters")
    try:
        # Strict: the lenient decoder drops what is not of the alphabet, white space among it.
        raw = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        raise Undecodable("the payment header is not base64 of the standard alphabet") from None
    try:
        raw.decode()  # for the better message: to orjson it is all "not JSON"
        # Not msgspec: what is passed on must be JSON that every encoder can write again. This
        # decoder refuses lone surrogates, makes floats of integers beyond 64 bits, and follows no
        # more than 1,024 levels.
        value = orjson.loads(raw)
    except UnicodeDecodeError:
        raise Undecodable("the payment header does not hold UTF-8") from None
    except orjson.JSONDecodeError:
        raise Undecodable("the payment header does not hold JSON") from None
    if nests_deeper(raw, MAX_DEPTH):
        raise Undecodable(f"the payment header's JSON is nested deeper than {MAX_DEPTH} levels")
    if type(value) is not dict:
        raise Undecodable("the payment header must hold a JSON object")
    return value


def encode_header(value: object) -> str:
    """A struct, or an object of such, as a header's text. Members that are None are left out."""
    raw = msgspec.json.encode(value)
    if b"null" in raw:  # some clients refuse `"extra": null`; it is rare enough to be done again
        raw = msgspec.json.encode(_without_none(msgspec.to_builtins(value)))
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_without_none(one) for one in value]
    return value
