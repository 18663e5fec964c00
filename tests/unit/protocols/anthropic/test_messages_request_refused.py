"""What is wrong with a Messages client's request."""

from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from tests.unit.protocols.anthropic.requests import refusal
from tests.unit.protocols.anthropic.wire import (
    TRANSLATOR,
    Body,
    raw_request,
)


def refusal_of_block(block: Any, role: str = "user") -> str:
    return refusal(messages=[{"role": role, "content": [block]}])


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": [1]}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"system": [{"type": "text"}]}, "system[0]"),
        ({"system": ["text"]}, "system[0]"),
        ({"metadata": "u"}, "metadata"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
        ({"cache_control": {"type": "forever"}}, "cache_control.type"),
        ({"tools": {}}, "tools"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0]"),
        ({"tools": [{"name": ""}]}, "tools[0].name"),
        ({"tools": [{"name": "f", "strict": "yes"}]}, "tools[0].strict"),
        ({"tools": [{"type": ["x"]}]}, "tools[0].type"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {}}, "tool_choice"),
        ({"thinking": True}, "thinking"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": "1k"}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "a"}]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": 5, "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
    ],
)
def test_wrong_type_is_refused_naming_its_place(body: Body, place: str) -> None:
    words = refusal(**body)

    assert words.startswith((f"{place}:", f"{place} "))


@pytest.mark.parametrize(
    ("block", "role", "place"),
    [
        ({"type": "text", "text": ["a"]}, "user", ".text"),
        ({"type": "text"}, "user", ""),
        ({"type": 5}, "user", ".type"),
        ({"type": "text", "text": "a", "cache_control": "yes"}, "user", ".cache_control"),
        ({"type": "image"}, "user", ""),
        ({"type": "image", "source": "https://x"}, "user", ".source"),
        ({"type": "image", "source": {"type": "base64", "data": "x"}}, "user", ".source"),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "!"}},
            "user",
            ".source.data",
        ),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "audio/wav", "data": "AAAA"},
            },
            "user",
            ".source.media_type",
        ),
        ({"type": "image", "source": {"type": "url", "url": "ftp://x"}}, "user", ".source.url"),
        ({"type": "image", "source": {"type": "magic"}}, "user", ".source.type"),
        ({"type": "image", "source": {"type": "text", "data": "x"}}, "user", ".source"),
        ({"type": "document", "source": {"type": "content"}}, "user", ".source.content"),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "audio"}]}},
            "user",
            ".source.content[0].type",
        ),
        ({"type": "search_result", "source": "s", "title": "t"}, "user", ""),
        ({"type": "tool_result"}, "user", ""),
        ({"type": "tool_result", "tool_use_id": "t", "content": 5}, "user", ".content"),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "video"}]},
            "user",
            ".content[0].type",
        ),
        ({"type": "tool_use", "id": "t", "name": "f", "input": "{}"}, "assistant", ".input"),
        ({"type": "tool_use", "id": "t", "name": "f", "input": None}, "assistant", ".input"),
        ({"type": "tool_use", "id": "t", "name": "f"}, "assistant", ""),
        ({"type": "tool_use", "id": "t", "name": "", "input": {}}, "assistant", ".name"),
        ({"type": "tool_use", "id": "", "name": "f", "input": {}}, "assistant", ".id"),
        ({"type": "thinking", "thinking": 5}, "assistant", ".thinking"),
        ({"type": "redacted_thinking"}, "assistant", ""),
    ],
)
def test_malformed_block_is_refused_naming_its_place(block: Body, role: str, place: str) -> None:
    words = refusal_of_block(block, role)

    assert words.startswith((f"messages[0].content[0]{place}:", f"messages[0].content[0]{place} "))


@pytest.mark.parametrize("levels", [200, 980, 5000])
def test_depth_is_followed_or_refused(levels: int) -> None:
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use"'
        b',"id":"t","name":"f","input":%b}]}],"tools":[{"name":"f","input_schema":%b}]}'
    ) % (deep, deep)

    try:
        asked = TRANSLATOR.decode_request(raw_request(body))
    except InvalidRequest:
        assert levels > 200
    else:
        call = asked.messages[0].blocks[0]
        assert isinstance(call, ir.ToolCall)
        assert call.arguments == deep.decode()
