"""Errors as Google's APIs word them (protocols.md, 1.4 and 2.12)."""

import re
from typing import Any, Final

import msgspec

from bitrouter.errors import RouterError
from bitrouter.ir import Failure
from bitrouter.protocols.base import ErrorAnswer, decode_part
from bitrouter.protocols.failure import read_failure

_STATUS: Final = {
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# The other way, where an error has no number.
_HTTP: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_BAD_KEY: Final = "API_KEY_INVALID"
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_DELAY: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
# Google has no word for it: "The input token count (…) exceeds the maximum number of tokens …".
_TOO_LONG: Final = re.compile(r"token count .{0,40}exceeds the maximum", re.DOTALL)


class _Detail(msgspec.Struct, rename="camel"):
    type: str | None = msgspec.field(default=None, name="@type")
    reason: str | None = None
    retry_delay: str | None = None


class _ErrorFields(msgspec.Struct):
    message: str | None = None
    code: int | str | None = None
    status: str | None = None
    details: msgspec.Raw = msgspec.Raw()


class ErrorBody(msgspec.Struct):
    """An error body, and the element of a stream that reports one."""

    error: _ErrorFields | None = None


_Bodies = ErrorBody | list[ErrorBody]
_error_body: "Final[msgspec.json.Decoder[_Bodies]]" = msgspec.json.Decoder(_Bodies)
_details: Final = msgspec.json.Decoder(list[_Detail])


def read_error(body: bytes) -> str | None:
    """The text at `error.message`; unframed streams wrap the object in an array of one."""
    fields = _fields(body)
    return (fields.message or "") if fields else None


def failure_in(element: bytes) -> Failure | None:
    """An element of a stream, if it is an error. Its `code` is an HTTP status, or none is."""
    fields = _fields(element)
    if fields is None:
        return None
    status = fields.code
    if not isinstance(status, int) or not 400 <= status < 600:
        status = _HTTP.get(fields.status or "", 502)
    return _failure(fields, status, fields.message or "")


def decode_error(status: int, body: bytes) -> Failure:
    """See Translator.decode_error. A wrong key is a 400 by its status alone."""
    failure = read_failure(status, body)
    fields = _fields(body)
    return _failure(fields, status, failure.message) if fields else failure


def _fields(body: bytes) -> _ErrorFields | None:
    decoded = decode_part(_error_body, body)
    if isinstance(decoded, list):
        decoded = decoded[0] if decoded else None
    return decoded.error if decoded is not None else None


def _failure(fields: _ErrorFields, status: int, message: str) -> Failure:
    details = decode_part(_details, bytes(fields.details)) or []
    if status == 400 and any(detail.reason == _BAD_KEY for detail in details):
        status = 401
    code = "context_length_exceeded" if status == 400 and _TOO_LONG.search(message) else None
    return Failure(status, message, code, _retry_after_s(details))


def _retry_after_s(details: list[_Detail]) -> float | None:
    for detail in details:
        if detail.type == _RETRY_INFO and detail.retry_delay:
            delay = _DELAY.fullmatch(detail.retry_delay)
            return float(delay[1]) if delay else None
    return None


def encode_error(error: RouterError) -> ErrorAnswer:
    """An error body: `error` is the first key and `code` a number, which google-genai relies on.

    Anthropic's 529 does not exist here and becomes 503.
    """
    status = 503 if error.status == 529 else error.status
    name = _STATUS.get(status) or ("INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    fields: dict[str, Any] = {"code": status, "message": error.detail, "status": name}
    if error.retry_after_s is not None:
        fields["details"] = [{"@type": _RETRY_INFO, "retryDelay": _duration(error.retry_after_s)}]
    return ErrorAnswer(status, msgspec.json.encode({"error": fields}))


def _duration(seconds: float) -> str:
    """A duration as protobuf's JSON has it, to the millisecond."""
    return f"{max(seconds, 0):.3f}".rstrip("0").rstrip(".") + "s"
