"""Responses requests whose use is paid for: how much may come out."""

from typing import Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.envelope import read_flag, set_value
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.base import Bound, Request, read_count

_LIMIT: Final = "max_output_tokens"
_RECALLED: Final = ("previous_response_id", "conversation", "prompt")
_LEAST: Final = 16  # what the API takes


def read_bound(request: Request) -> Bound:
    """See Codec.read_bound."""
    if read_flag(request.fields, "background"):
        raise InvalidRequest(
            "background cannot be true in a request that is paid for by the call: nobody would"
            " know what it comes to"
        )
    recalls = any(name in request.fields for name in _RECALLED)
    return Bound(read_count(request.fields, _LIMIT), recalls=recalls)


def metered(request: Request, traits: Traits, limit: int | None) -> Request:
    """See Codec.metered. The last event always has the usage."""
    if limit is None:
        return request
    value = msgspec.json.encode(max(limit, _LEAST))
    return request.with_body(set_value(request.body, request.fields, _LIMIT, value))
