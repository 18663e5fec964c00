"""Reading a provider's error answer, whose shape is not always its protocol's own.

Servers that imitate an API often do not imitate its errors. Source: protocols.md, 2.12.
"""

import re
from http import HTTPStatus
from typing import Any, Final

import msgspec

from bitrouter.errors import CONTEXT_TOO_LONG
from bitrouter.ir import Failure
from bitrouter.protocols.base import decode_part

_any: Final = msgspec.json.Decoder()
# Servers that imitate OpenAI's say it, and seldom have its word for it.
_TOO_LONG: Final = re.compile(r"maximum context length|context window|available context size")


def read_failure(status: int, body: bytes) -> Failure:
    """The message of an error answer wherever it stands, and the vendor's word for it (`code`,
    else `type`). Without a message, or when the body is no JSON, the name of the status.
    """
    message, code = error_words(decode_part(_any, body))
    if code is None and status in (400, 413) and message and _TOO_LONG.search(message):
        code = CONTEXT_TOO_LONG
    return Failure(status, message or _status_words(status), code)


def error_words(body: Any) -> tuple[str | None, str | None]:
    """The message and the code in a decoded error body or error event, None where there is none."""
    if isinstance(body, list):
        body = body[0] if body else None
    if not isinstance(body, dict):
        return None, None
    error = body.get("error", body)
    if isinstance(error, str):
        return error, None
    if not isinstance(error, dict):
        return None, None
    message = error.get("message") or body.get("message") or error.get("detail")
    code = error.get("code")
    return (
        message if isinstance(message, str) else None,
        code if isinstance(code, str) else None,
    )


def _status_words(status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase.lower()
    except ValueError:
        phrase = "overloaded" if status == 529 else "unknown status"
    return f"the upstream answered with status {status} ({phrase})"
