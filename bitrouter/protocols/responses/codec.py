"""Responses: the codec."""

import re
from typing import Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.envelope import read_flag, read_model, split_fields
from bitrouter.ir import Usage
from bitrouter.protocols import openai
from bitrouter.protocols.base import (
    Bound,
    Framing,
    Operation,
    Request,
    Transform,
    require,
    watch_answer,
)
from bitrouter.protocols.responses.metering import metered, read_bound
from bitrouter.protocols.responses.passthrough import ResponsesPassthrough
from bitrouter.protocols.responses.translator import ResponsesTranslator
from bitrouter.protocols.responses.usage import usage_holder

GENERATE: Final = Operation("generate", "/responses")
COUNT: Final = Operation("count_tokens", "/responses/input_tokens")
# What stands for the input where the provider keeps the state of a conversation.
_STATE: Final = ("previous_response_id", "conversation", "prompt")


class ResponsesCodec(openai.OpenAICodec):
    """protocols.md, 1.2."""

    name = "responses"
    api_protocol = "responses"
    operations = (GENERATE, COUNT)
    own_prefixes = ("/v1/responses",)
    last_event = re.compile(rb"^event: ?response\.(?:completed|incomplete|failed)\b", re.MULTILINE)
    translator = ResponsesTranslator()

    def read(
        self, operation: Operation, path_model: str | None, query: str, body: bytes
    ) -> Request:
        """See Codec.read."""
        fields = split_fields(body)
        model = read_model(fields)
        if "input" in fields or not any(name in fields for name in _STATE):
            require(fields, "input", "a string", "an array")
        stream = operation is GENERATE and read_flag(fields, "stream")
        framing = Framing.SSE if stream else Framing.WHOLE
        return Request(operation, model, stream, framing, body, fields, query)

    def read_bound(self, request: Request) -> Bound:
        """See Codec.read_bound."""
        return read_bound(request)

    def metered(self, request: Request, traits: Traits, limit: int | None) -> Request:
        """See Codec.metered."""
        return metered(request, traits, limit)

    def passthrough(self, request: Request, max_event_bytes: int, request_id: str) -> Transform:
        """See Codec.passthrough."""
        return ResponsesPassthrough(max_event_bytes)

    def read_usage(self, request: Request, body: bytes) -> Usage | None:
        """See Codec.read_usage."""
        answer = watch_answer(usage_holder, body)
        return answer.usage.neutral() if answer and answer.usage else None

    def encode_count(self, tokens: int) -> bytes:
        """See Codec.encode_count."""
        return b'{"object":"response.input_tokens","input_tokens":%d}' % tokens

    def example(self, model: str, prompt: str) -> tuple[str, bytes]:
        """See Codec.example."""
        body = {"model": model, "input": prompt, "max_output_tokens": 200}
        return f"/v1{GENERATE.suffix}", msgspec.json.encode(body)
