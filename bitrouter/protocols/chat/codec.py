"""Chat Completions, and Embeddings beside it: the codec."""

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
from bitrouter.protocols.chat.metering import metered, read_bound
from bitrouter.protocols.chat.passthrough import ChatPassthrough
from bitrouter.protocols.chat.translator import ChatTranslator
from bitrouter.protocols.chat.usage import usage_holder

GENERATE: Final = Operation("generate", "/chat/completions")
EMBEDDINGS: Final = Operation("embeddings", "/embeddings")


class ChatCodec(openai.OpenAICodec):
    """protocols.md, 1.1."""

    name = "chat"
    api_protocol = "openai"
    operations = (GENERATE, EMBEDDINGS)
    own_prefixes = ("/v1/chat/", "/v1/embeddings")
    last_event = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)
    translator = ChatTranslator()

    def read(
        self, operation: Operation, path_model: str | None, query: str, body: bytes
    ) -> Request:
        """See Codec.read."""
        fields = split_fields(body)
        model = read_model(fields)
        stream = False
        if operation is GENERATE:
            require(fields, "messages", "an array")
            stream = read_flag(fields, "stream")
        else:
            require(fields, "input", "a string", "an array")
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
        return ChatPassthrough(max_event_bytes, hides_usage=request.hides_usage)

    def read_usage(self, request: Request, body: bytes) -> Usage | None:
        """See Codec.read_usage."""
        answer = watch_answer(usage_holder, body)
        return answer.usage.neutral() if answer and answer.usage else None

    def encode_count(self, tokens: int) -> bytes:
        """See Codec.encode_count. There is no counter."""
        return b""

    def example(self, model: str, prompt: str) -> tuple[str, bytes]:
        """See Codec.example."""
        messages = [{"role": "user", "content": prompt}]
        body = {"model": model, "messages": messages, "max_completion_tokens": 200}
        return f"/v1{GENERATE.suffix}", msgspec.json.encode(body)
