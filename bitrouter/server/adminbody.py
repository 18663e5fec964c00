"""What a request to the admin API says, and what is wrong with it."""

from typing import Final, TypeVar, get_args

import msgspec
from aiohttp import web

from bitrouter.config.schema import EndpointEntry, Strategy
from bitrouter.envelope import locate, split_fields
from bitrouter.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from bitrouter.routing.dynamic import DynamicRoute
from bitrouter.server.body import read_json_body

T = TypeVar("T", bound=msgspec.Struct)

MAX_BODY_BYTES: Final = 1 << 20

_FLAGS: Final = {"1": True, "true": True, "0": False, "false": False}


class _Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int | None = None


_route: Final = msgspec.json.Decoder(DynamicRoute)
_rollback: Final = msgspec.json.Decoder(_Rollback)


async def read_body(request: web.BaseRequest) -> bytes:
    """The body, which must say that it is JSON: a form on another site cannot."""
    if "Content-Type" not in request.headers:
        raise UnsupportedMediaType("Content-Type must be application/json")
    try:
        return await read_json_body(request, MAX_BODY_BYTES)
    except BodyTooLarge as error:
        raise BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes") from error


def decode_route(body: bytes) -> DynamicRoute:
    """The route in a body. Raises InvalidRequest, with the place, and what is allowed there."""
    return _decode(body, _route)


def decode_rollback(body: bytes) -> int | None:
    """The version in a body, None for the one before the last change. Raises InvalidRequest."""
    return _decode(body, _rollback).version


def is_dry_run(request: web.BaseRequest) -> bool:
    """Whether a change is only to be checked. Raises InvalidRequest unless that is clear."""
    given = request.rel_url.query.getall("dry_run", ["0"])
    flag = _FLAGS.get(given[0]) if len(given) == 1 else None
    if flag is None:
        raise InvalidRequest("dry_run must be 1 or 0")
    return flag


def _decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    locate(body, split_fields(body))  # finds duplicate keys, of which the decoder takes the last
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_explain(str(error), decoder.type)) from error


def _explain(problem: str, wanted: type[msgspec.Struct]) -> str:
    """The decoder's words, and for an unknown field or value those that there are."""
    if "enum value" in problem:
        return f"{problem}; allowed: {', '.join(get_args(Strategy))}"
    if "unknown field" not in problem:
        return problem
    struct = EndpointEntry if "$.endpoints" in problem else wanted
    return f"{problem}; allowed: {', '.join(struct.__struct_fields__)}"
