"""Gemini requests whose use is paid for: how much may come out."""

from typing import Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.envelope import Fields, refuse_duplicates, set_value
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.base import Bound, Request, decode_body, read_count
from bitrouter.protocols.google.members import camel_case

_CONFIG: Final = ("generationConfig", "generation_config")
_RECALLED: Final = ("cachedContent", "cached_content")
_LIMIT: Final = "maxOutputTokens"
_ANSWERS: Final = "candidateCount"
_MAX_ANSWERS: Final = 8
_fields: Final = msgspec.json.Decoder(Fields | None)


def read_bound(request: Request) -> Bound:
    """See Codec.read_bound."""
    name, config = _config(request)
    found: dict[str, int | None] = {}
    for spelling in config:
        field = camel_case(spelling)
        if field not in (_LIMIT, _ANSWERS):
            continue
        if field in found:
            raise InvalidRequest(f"{name} has {field} in two spellings")
        found[field] = read_count(config, spelling, f"{name}.{spelling}")
    answers = found.get(_ANSWERS) or 1
    if answers > _MAX_ANSWERS:
        raise InvalidRequest(f"{name}.{_ANSWERS} must be at most {_MAX_ANSWERS}")
    recalls = any(name in request.fields for name in _RECALLED)
    return Bound(found.get(_LIMIT), answers, recalls)


def metered(request: Request, traits: Traits, limit: int | None) -> Request:
    """See Codec.metered. Every element of a stream has the usage so far."""
    if limit is None:
        return request
    name, config = _config(request)
    spelling = next((one for one in config if camel_case(one) == _LIMIT), _LIMIT)
    inner = bytes(request.fields[name]) if config else b"{}"
    value = set_value(inner, config, spelling, msgspec.json.encode(limit))
    return request.with_body(set_value(request.body, request.fields, name, value))


def _config(request: Request) -> tuple[str, Fields]:
    """The name under which the settings stand, or would stand, and their members.

    A member that is there twice is refused: one could be priced, and the other obeyed.
    """
    given = [name for name in _CONFIG if name in request.fields]
    if len(given) > 1:
        raise InvalidRequest(f"{_CONFIG[0]} is given in two spellings")
    name = given[0] if given else _CONFIG[0]
    raw = request.fields.get(name)
    config = decode_body(_fields, raw, name) if raw is not None else None
    if raw is not None and config:
        refuse_duplicates(bytes(raw), config)
    return name, config or {}
