"""What OpenAI's two protocols share: paths, base URL, credential, headers, the error body."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import msgspec

from bitrouter import ir
from bitrouter.envelope import Fields, replace_value
from bitrouter.errors import RouterError
from bitrouter.ir import Failure, LogProb
from bitrouter.protocols.base import (
    ErrorAnswer,
    HeaderReader,
    Operation,
    Request,
    decode_part,
    path_spellings,
    versioned_base,
)
from bitrouter.protocols.failure import error_words

# protocols.md, 1.1: "worth relaying". The provider's own x-request-id is relayed under another
# name by the server, because every answer carries the router's.
RESPONSE_HEADERS: Final = frozenset(
    {"openai-processing-ms", "openai-version", "retry-after", "retry-after-ms", "x-should-retry"}
    | {
        f"x-ratelimit-{figure}-{unit}"
        for figure in ("limit", "remaining", "reset")
        for unit in ("requests", "tokens")
    }
)

ORIGIN: Final = "o"  # in signatures and envelopes

# protocols.md, 2.12: the type and the code. A status that is not here is one of its hundred.
_TYPES: Final[dict[int, tuple[str, str | None]]] = {
    401: ("authentication_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("permission_error", "permission_denied"),
    404: ("not_found_error", "model_not_found"),
    408: ("timeout", "timeout"),
    409: ("conflict_error", "conflict"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", "internal_error"),
    502: ("server_error", "upstream_error"),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "upstream_timeout"),
    529: ("server_error", "overloaded"),
}
_NO_QUOTA: Final = "insufficient_quota"
_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "insufficient_quota": 429,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "requests": 429,
    "tokens": 429,
    "rate_limit_exceeded": 429,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "content_policy_violation": 400,
    "invalid_prompt": 400,
    "server_error": 500,
}


class _ErrorFields(msgspec.Struct):
    message: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _ErrorFields | str | None = None


_error_body: Final = msgspec.json.Decoder(_ErrorBody)


def read_error(body: bytes) -> str | None:
    """The text at `error.message`, or at `error` where a server puts a string there."""
    decoded = decode_part(_error_body, body)
    if decoded is None or not decoded.error:
        return None
    return decoded.error if isinstance(decoded.error, str) else decoded.error.message or ""


def error_object(error: RouterError) -> dict[str, str | None]:
    """The value of `error` in an error body or an error event."""
    kind, code = _TYPES.get(
        error.status, ("invalid_request_error" if error.status < 500 else "server_error", None)
    )
    if error.code == _NO_QUOTA:  # whose status is that of a rate limit
        kind = _NO_QUOTA
    return {"message": error.detail, "type": kind, "param": None, "code": error.code or code}


def decode_failure(event: dict[str, Any]) -> Failure:
    """The error in a stream's event: what `error` holds, or the flat event itself.

    Its class is that of its type or code, and of a number in `code` that is a status.
    """
    message, code = error_words(event)
    fields = event.get("error")
    fields = fields if isinstance(fields, dict) else event
    kind, number = fields.get("type"), fields.get("code")
    status = _STATUSES.get(code or "") or _STATUSES.get(kind if isinstance(kind, str) else "", 502)
    if isinstance(number, int) and 400 <= number < 600:
        status = number
    return Failure(status, message or "", code)


_fields: Final = msgspec.json.Decoder(dict[str, Any])


def failure_in(data: bytes) -> Failure | None:
    """A chunk of a stream, if it is an error: one with something in a member `error`."""
    event = decode_part(_fields, data)
    return decode_failure(event) if event and event.get("error") else None


class TokenLogProb(msgspec.Struct, omit_defaults=True):
    """One entry of `logprobs`, the same in both protocols."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: "tuple[TokenLogProb, ...]" = ()

    def neutral(self) -> LogProb:
        """The same in the neutral form."""
        top = tuple(one.neutral() for one in self.top_logprobs)
        return LogProb(self.token, self.logprob, self.bytes, top)


def token_logprobs(logprobs: Iterable[LogProb]) -> list[dict[str, Any]]:
    """The value of `logprobs.content` in chat, of `logprobs` in Responses."""
    return [
        _token_logprob(one) | {"top_logprobs": [*map(_token_logprob, one.top)]} for one in logprobs
    ]


def _token_logprob(one: LogProb) -> dict[str, Any]:
    spelled = one.bytes if one.bytes is not None else tuple(one.token.encode())
    return {"token": one.token, "logprob": one.logprob, "bytes": spelled}


# Members of a request that both protocols have and no other vendor's: protocols.md, 2.2 and 2.8.
_FAMILY_FIELDS: Final = frozenset(
    {
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "moderation",
        "store",
    }
)


def family_fields(fields: Fields) -> dict[str, msgspec.Raw]:
    """The members of a request that go on to the other protocol of the family as they are."""
    if _FAMILY_FIELDS.isdisjoint(fields):
        return {}
    return {
        name: raw
        for name, raw in fields.items()
        if name in _FAMILY_FIELDS and bytes(raw) != b"null"
    }


def user_member(request: ir.Request) -> str:
    """The member for the end user: `user`, which every server knows, unless the client said
    `safety_identifier`, its successor.
    """
    return request.spellings.get("user", "user") if request.origin == ORIGIN else "user"


_schema: Final = msgspec.json.Decoder()


def is_strict_shape(schema: msgspec.Raw) -> bool:
    """Whether a schema is already as `strict: true` wants it: every object closed, and all of its
    properties required (protocols.md, 2.6). It is never rewritten to get there.
    """
    try:
        return _is_strict(_schema.decode(schema))
    except RecursionError:
        return False


def _is_strict(node: Any) -> bool:
    if isinstance(node, list):
        return all(map(_is_strict, node))
    if not isinstance(node, dict):
        return True
    properties = node.get("properties")
    if node.get("type") == "object" or isinstance(properties, dict):
        required = node.get("required")
        names = sorted(properties) if isinstance(properties, dict) else []
        if node.get("additionalProperties") is not False or names != _names(required):
            return False
    inner = [*properties.values()] if isinstance(properties, dict) else []
    for name in ("$defs", "definitions"):
        if isinstance(node.get(name), dict):
            inner += node[name].values()
    inner += [node[name] for name in ("items", "anyOf", "oneOf", "allOf") if name in node]
    return all(map(_is_strict, inner))


def _names(required: Any) -> list[str]:
    """What an object schema requires, in order; whatever is no name does not count."""
    if not isinstance(required, list):
        return []
    return sorted({name for name in required if isinstance(name, str)})


class OpenAICodec:
    """The part of a codec that is the same for both: how OpenAI is addressed, not what is said."""

    family = "openai"
    keepalive = b": keep-alive\n\n"
    response_headers = RESPONSE_HEADERS
    operations: ClassVar[tuple[Operation, ...]]

    def __init__(self) -> None:
        self._paths = {
            path: operation
            for operation in self.operations
            for path in path_spellings(operation.suffix)
        }

    def match(self, path: str) -> tuple[Operation, str | None] | None:
        """See Codec.match."""
        operation = self._paths.get(path)
        return (operation, None) if operation else None

    def passthrough_body(self, request: Request, model_id: str) -> bytes:
        """See Codec.passthrough_body."""
        return replace_value(request.body, request.fields, "model", msgspec.json.encode(model_id))

    def upstream_url(self, api_base: str, request: Request, model_id: str) -> str:
        """See Codec.upstream_url."""
        return versioned_base(api_base, "v1", only_hosts=True) + request.operation.suffix

    def credential_headers(self, key: str) -> dict[str, str]:
        """See Codec.credential_headers."""
        return {"Authorization": f"Bearer {key}"}

    def request_headers(self, header: HeaderReader) -> dict[str, str]:
        """Only the beta switch: organisation and project belong to the client's own key."""
        beta = header("openai-beta")
        return {"OpenAI-Beta": beta} if beta else {}

    def read_error(self, body: bytes) -> str | None:
        """See Codec.read_error."""
        return read_error(body)

    def blames_key(self, body: bytes) -> bool:
        """See Codec.blames_key. The status says it."""
        return False

    def encode_error(self, error: RouterError, request_id: str) -> ErrorAnswer:
        """See Codec.encode_error. Anthropic's 529 does not exist here and becomes 503."""
        status = 503 if error.status == 529 else error.status
        return ErrorAnswer(status, msgspec.json.encode({"error": error_object(error)}))
