"""Messages and its token counter: the codec."""

import re
from typing import Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.envelope import read_flag, read_model, replace_value, split_fields
from bitrouter.errors import RouterError
from bitrouter.ir import Usage
from bitrouter.protocols.anthropic.error import encode_error, read_error
from bitrouter.protocols.anthropic.metering import metered, read_bound
from bitrouter.protocols.anthropic.passthrough import AnthropicPassthrough
from bitrouter.protocols.anthropic.translator import AnthropicTranslator
from bitrouter.protocols.anthropic.usage import usage_holder
from bitrouter.protocols.base import (
    Bound,
    ErrorAnswer,
    Framing,
    HeaderReader,
    Operation,
    Request,
    Transform,
    path_spellings,
    require,
    versioned_base,
    watch_answer,
)

GENERATE: Final = Operation("generate", "/messages")
COUNT: Final = Operation("count_tokens", "/messages/count_tokens")
_PATHS: Final = {
    path: operation for operation in (GENERATE, COUNT) for path in path_spellings(operation.suffix)
}
# What a provider is told when the client named no version; the client's own is opaque to us.
_DEFAULT_VERSION: Final = "2023-06-01"


class AnthropicCodec:
    """protocols.md, 1.3."""

    name = "anthropic"
    api_protocol = "anthropic"
    family = "anthropic"
    keepalive = b'event: ping\ndata: {"type": "ping"}\n\n'
    operations = (GENERATE, COUNT)
    own_prefixes = ("/v1/messages",)
    last_event = re.compile(rb"^event: ?message_stop\b", re.MULTILINE)
    translator = AnthropicTranslator()
    response_headers = frozenset(
        {"retry-after", "retry-after-ms", "x-should-retry"}
        | {
            f"anthropic-ratelimit-{unit}-{figure}"
            for unit in ("requests", "tokens", "input-tokens", "output-tokens")
            for figure in ("limit", "remaining", "reset")
        }
    )

    def match(self, path: str) -> tuple[Operation, str | None] | None:
        """See Codec.match."""
        operation = _PATHS.get(path)
        return (operation, None) if operation else None

    def read(
        self, operation: Operation, path_model: str | None, query: str, body: bytes
    ) -> Request:
        """See Codec.read."""
        fields = split_fields(body)
        model = read_model(fields)
        require(fields, "messages", "an array")
        stream = False
        if operation is GENERATE:
            require(fields, "max_tokens", "a number")
            stream = read_flag(fields, "stream")
        framing = Framing.SSE if stream else Framing.WHOLE
        return Request(operation, model, stream, framing, body, fields, query)

    def read_bound(self, request: Request) -> Bound:
        """See Codec.read_bound."""
        return read_bound(request)

    def metered(self, request: Request, traits: Traits, limit: int | None) -> Request:
        """See Codec.metered."""
        return metered(request, traits, limit)

    def passthrough_body(self, request: Request, model_id: str) -> bytes:
        """See Codec.passthrough_body."""
        return replace_value(request.body, request.fields, "model", msgspec.json.encode(model_id))

    def upstream_url(self, api_base: str, request: Request, model_id: str) -> str:
        """See Codec.upstream_url."""
        return versioned_base(api_base, "v1", only_hosts=False) + request.operation.suffix

    def credential_headers(self, key: str) -> dict[str, str]:
        """See Codec.credential_headers."""
        return {"x-api-key": key}

    def request_headers(self, header: HeaderReader) -> dict[str, str]:
        """The version, which the API insists on, and the betas, both verbatim."""
        headers = {"anthropic-version": header("anthropic-version") or _DEFAULT_VERSION}
        if betas := header("anthropic-beta"):
            headers["anthropic-beta"] = betas
        return headers

    def passthrough(self, request: Request, max_event_bytes: int, request_id: str) -> Transform:
        """See Codec.passthrough."""
        return AnthropicPassthrough(max_event_bytes, request_id)

    def read_usage(self, request: Request, body: bytes) -> Usage | None:
        """See Codec.read_usage."""
        answer = watch_answer(usage_holder, body)
        return answer.usage.neutral() if answer and answer.usage else None

    def read_error(self, body: bytes) -> str | None:
        """See Codec.read_error."""
        return read_error(body)

    def blames_key(self, body: bytes) -> bool:
        """See Codec.blames_key. The status says it."""
        return False

    def encode_error(self, error: RouterError, request_id: str) -> ErrorAnswer:
        """See Codec.encode_error."""
        return encode_error(error, request_id)

    def encode_count(self, tokens: int) -> bytes:
        """See Codec.encode_count."""
        return b'{"input_tokens":%d}' % tokens

    def example(self, model: str, prompt: str) -> tuple[str, bytes]:
        """See Codec.example."""
        messages = [{"role": "user", "content": prompt}]
        body = {"model": model, "max_tokens": 200, "messages": messages}
        return f"/v1{GENERATE.suffix}", msgspec.json.encode(body)
