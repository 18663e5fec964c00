"""Chat requests whose use is paid for: how much may come out, and how much did."""

from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.envelope import set_value
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.base import Bound, Request, decode_body, read_count
from bitrouter.protocols.chat.decode_request import wants_usage

_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_MAX_ANSWERS: Final = 128  # OpenAI's own limit of `n`
_options: Final = msgspec.json.Decoder(dict[str, Any] | None)


def read_bound(request: Request) -> Bound:
    """See Codec.read_bound. Given both spellings of the limit, a server may obey either."""
    given = [read_count(request.fields, name) for name in _LIMITS]
    answers = read_count(request.fields, "n") or 1
    if answers > _MAX_ANSWERS:
        raise InvalidRequest(f"n must be at most {_MAX_ANSWERS}")
    return Bound(max((one for one in given if one is not None), default=None), answers)


def metered(request: Request, traits: Traits, limit: int | None) -> Request:
    """See Codec.metered. Usage comes in a stream only if it is asked for."""
    if limit is not None:
        value = msgspec.json.encode(limit)
        body = set_value(request.body, request.fields, traits.max_tokens_field, value)
        request = request.with_body(body)
    if not request.stream or not traits.stream_usage or wants_usage(request.fields):
        return request
    raw = request.fields.get("stream_options")
    options = (decode_body(_options, raw, "stream_options") if raw is not None else None) or {}
    value = msgspec.json.encode({**options, "include_usage": True})
    asked = request.with_body(set_value(request.body, request.fields, "stream_options", value))
    return msgspec.structs.replace(asked, hides_usage=True)
