"""Errors as the Messages API words them (protocols.md, 1.3 and 2.12)."""

from typing import Final

import msgspec

from bitrouter.errors import PaymentsUnavailable, RouterError
from bitrouter.ir import Failure
from bitrouter.protocols.base import ErrorAnswer, decode_part
from bitrouter.protocols.failure import error_words, read_failure

_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class _ErrorFields(msgspec.Struct):
    type: str = "api_error"
    message: str | None = None


class ErrorBody(msgspec.Struct):
    """An error body, and the data of an error event."""

    error: _ErrorFields | None = None


_error_body: Final = msgspec.json.Decoder(ErrorBody)


def read_error(body: bytes) -> str | None:
    """The text at `error.message`."""
    decoded = decode_part(_error_body, body)
    return (decoded.error.message or "") if decoded and decoded.error else None


class _Details(msgspec.Struct):
    error_code: str | None = None


class _Kind(msgspec.Struct):
    type: str | None = None
    details: _Details | None = None


class _KindHolder(msgspec.Struct):
    error: _Kind | None = None


_kind_holder: Final = msgspec.json.Decoder(_KindHolder)
_any: Final = msgspec.json.Decoder()

# Types that an error event may have, by the status that they have elsewhere.
_STATUSES: Final = {kind: status for status, kind in _TYPES.items() if status not in (408, 503)} | {
    "invalid_request_error": 400,
    "api_error": 500,
}
# There is no code for it here, and programs that shorten their history look for OpenAI's.
_TOO_LONG: Final = "prompt is too long"
_CONTEXT_EXCEEDED: Final = "context_length_exceeded"


def decode_error(status: int, body: bytes) -> Failure:
    """See Translator.decode_error. The code is `error.details.error_code`, where there is one."""
    failure = read_failure(status, body)
    return Failure(status, failure.message, _code(body, failure.message) or failure.code)


def failure_in(data: bytes) -> Failure:
    """What an error event says. Its class is that of its type."""
    message, code = error_words(decode_part(_any, data))
    holder = decode_part(_kind_holder, data)
    kind = holder.error.type if holder and holder.error else None
    words = message or "the upstream reported an error"
    return Failure(_STATUSES.get(kind or "", 502), words, _code(data, words) or code)


def _code(body: bytes, message: str) -> str | None:
    holder = decode_part(_kind_holder, body)
    details = holder.error.details if holder and holder.error else None
    if details is not None and details.error_code:
        return details.error_code
    return _CONTEXT_EXCEEDED if message.startswith(_TOO_LONG) else None


def encode_body(error: RouterError, request_id: str) -> bytes:
    """The error object, of which an error event's data is made too."""
    kind = _TYPES.get(error.status)
    if kind is None:
        kind = "invalid_request_error" if error.status < 500 else "api_error"
    return msgspec.json.encode(
        {
            "type": "error",
            "error": {"type": kind, "message": error.detail},
            "request_id": request_id,
        }
    )


def encode_error(error: RouterError, request_id: str) -> ErrorAnswer:
    """An error body. What others call 503 is 529 here, which the SDK knows as overloaded; but who
    pays by x402 knows 503 alone (x402.md, section 8).
    """
    is_overloaded = error.status == 503 and not isinstance(error, PaymentsUnavailable)
    status = 529 if is_overloaded else error.status
    return ErrorAnswer(status, encode_body(error, request_id))


def error_event(error: RouterError, request_id: str) -> bytes:
    """The event that ends a stream which cannot be completed. No message_stop follows."""
    return b"event: error\ndata: %b\n\n" % encode_body(error, request_id)
