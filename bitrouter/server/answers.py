"""Answers that the router makes itself, and the headers that every answer carries."""

import math
import random
import re
from typing import Any, Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from bitrouter.errors import MethodNotAllowed, PaymentRequired, RouterError
from bitrouter.protocols.codec import Codec

_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_JSON: Final = "application/json"
_NONE: Final[list[str]] = []


def request_id_of(request: web.BaseRequest) -> str:
    """The client's own request id if it is short and printable, else a new one."""
    given = request.headers.get("X-Request-Id")
    if given and _SANE_ID.fullmatch(given):
        return given
    return f"req_{random.getrandbits(96):024x}"


def own_headers(request_id: str) -> dict[str, str]:
    """What stands on every answer. Anthropic's SDK looks for `request-id`."""
    return {"Server": "bitrouter", "x-request-id": request_id, "request-id": request_id}


def base_headers(request_id: str) -> CIMultiDict[str]:
    """The same for answers whose other headers may come in any case."""
    return CIMultiDict(own_headers(request_id))


class Headers:
    """A request's headers by name, as protocols.base.HeaderReader describes."""

    __slots__ = ("_headers",)

    def __init__(self, request: web.BaseRequest) -> None:
        self._headers = request.headers

    def __call__(self, name: str) -> str | None:
        """The header's value, repeated lines joined by a comma; None if there is none."""
        values = self._headers.getall(name, _NONE)
        if len(values) == 1:
            return values[0]
        return ", ".join(values) if values else None


def json_answer(
    request_id: str, body: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON answer of the router's own."""
    all_headers = base_headers(request_id)
    all_headers.update(headers or {})
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        headers=all_headers,
        content_type=_JSON,
    )


def error_answer(
    codec: Codec, error: RouterError, request_id: str, kind: type[web.Response] = web.Response
) -> web.Response:
    """An error in the protocol of the path."""
    answer = codec.encode_error(error, request_id)
    headers = base_headers(request_id)
    headers.update(error.headers)
    headers["x-bitrouter-error-source"] = error.source
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allow)
    body = answer.body
    if isinstance(error, PaymentRequired):
        body = b"%b%b}" % (body.removesuffix(b"}"), error.members)
    return kind(status=answer.status, body=body, headers=headers, content_type=_JSON)
