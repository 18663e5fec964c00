"""What the official SDK says of a request, and what it makes of a stream."""

import json
from typing import Any, Final

import httpx2
from anthropic import Anthropic
from anthropic.types import (
    CacheControlEphemeralParam,
    Message,
    MessageParam,
    MetadataParam,
    OutputConfigParam,
    TextBlockParam,
    ThinkingConfigParam,
    ToolChoiceParam,
    ToolUnionParam,
)
from anthropic.types.content_block_param import ContentBlockParam
from anthropic.types.tool_result_block_param import Content as ResultContent
from pydantic import TypeAdapter

_MEMBERS: Final[dict[str, TypeAdapter[Any]]] = {
    "model": TypeAdapter(str),
    "max_tokens": TypeAdapter(int),
    "stream": TypeAdapter(bool),
    "temperature": TypeAdapter(float),
    "top_p": TypeAdapter(float),
    "top_k": TypeAdapter(int),
    "stop_sequences": TypeAdapter(list[str]),
    "tools": TypeAdapter(list[ToolUnionParam]),
    "tool_choice": TypeAdapter(ToolChoiceParam),
    "thinking": TypeAdapter(ThinkingConfigParam),
    "output_config": TypeAdapter(OutputConfigParam),
    "metadata": TypeAdapter(MetadataParam),
    "service_tier": TypeAdapter(str),
    "cache_control": TypeAdapter(CacheControlEphemeralParam),
}
_TEXTS: Final[TypeAdapter[Any]] = TypeAdapter(str | list[TextBlockParam])
_TURN: Final[TypeAdapter[Any]] = TypeAdapter(MessageParam)
# Blocks one by one: what stands in an Iterable the types look at only when it is asked for.
_BLOCK: Final[TypeAdapter[Any]] = TypeAdapter(ContentBlockParam)
_RESULT_BLOCK: Final[TypeAdapter[Any]] = TypeAdapter(ResultContent)


def check_request(body: dict[str, Any]) -> None:
    """Raise what the SDK's types raise for a body that they do not fit."""
    for name, value in body.items():
        if name == "messages":
            for turn in value:
                _check_turn(turn)
        elif name == "system":
            _TEXTS.validate_python(value, strict=True)
        else:
            _MEMBERS[name].validate_python(value, strict=True)


def _check_turn(turn: dict[str, Any]) -> None:
    _TURN.validate_python(turn)
    for block in turn["content"] if isinstance(turn["content"], list) else ():
        _BLOCK.validate_python(block)
        inner = block.get("content") if block["type"] == "tool_result" else None
        for one in inner if isinstance(inner, list) else ():
            _RESULT_BLOCK.validate_python(one)


def final_message(stream: bytes) -> Message:
    """The answer that the SDK's own helper gathers from a stream; it raises what that raises."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert json.loads(request.content)["stream"]
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    transport = httpx2.MockTransport(answer)
    with (
        httpx2.Client(transport=transport) as http,
        Anthropic(api_key="k", base_url="http://h", max_retries=0, http_client=http) as client,
        client.messages.stream(
            model="m", max_tokens=10, messages=[{"role": "user", "content": "hi"}]
        ) as running,
    ):
        return running.get_final_message()
