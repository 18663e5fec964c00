"""What is wrong with a chat client's request."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.errors import InvalidRequest
from bitrouter.protocols.chat.decode_request import wants_usage
from tests.unit.protocols.chat.chatwire import CHAT, HI, asked, request
from tests.unit.protocols.chat.requestparts import FUNCTION, call, user


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "owner", "content": "x"}, "messages[0].role"),
        ({"role": 5, "content": "x"}, "messages[0].role"),
        ({"content": "x"}, "messages[0]"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": [5]}, "messages[0].content[0]"),
        ({"role": "user", "content": [None]}, "messages[0].content[0]"),
        (user({"type": "text", "text": "x"}, {"type": "tape"}), "messages[0].content[1].type"),
        (user({"type": "text"}), "messages[0].content[0].text"),
        (user({"type": "text", "text": ["x"]}), "messages[0].content[0].text"),
        (user({"type": "image_url"}), "messages[0].content[0].image_url"),
        (
            user({"type": "image_url", "image_url": {"url": "ftp://x"}}),
            "messages[0].content[0].image_url.url",
        ),
        (
            user({"type": "image_url", "image_url": "data:image/png;base64,%%%"}),
            "messages[0].content[0].image_url",
        ),
        (
            user({"type": "image_url", "image_url": "data:image/png;base64"}),
            "messages[0].content[0].image_url",
        ),
        (
            user({"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}}),
            "messages[0].content[0].input_audio.data",
        ),
        (
            user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "a/b"}}),
            "messages[0].content[0].input_audio.format",
        ),
        (user({"type": "input_audio"}), "messages[0].content[0].input_audio"),
        (user({"type": "file", "file": {}}), "messages[0].content[0].file"),
        (user({"type": "file"}), "messages[0].content[0].file"),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": "https://x"}]},
            "messages[0].content[0]",
        ),
        (
            {"role": "assistant", "content": [{"type": "image_url", "image_url": "https://x"}]},
            "messages[0].content[0]",
        ),
        ({"role": "assistant", "tool_calls": "x"}, "messages[0].tool_calls"),
        (
            {"role": "assistant", "tool_calls": [{"id": "a"}]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
            "messages[0].tool_calls[0].id",
        ),
        (
            {"role": "assistant", "tool_calls": [call(), call("x", "")]},
            "messages[0].tool_calls[1].function.name",
        ),
        (
            {"role": "assistant", "tool_calls": [call() | {"type": "robot"}]},
            "messages[0].tool_calls[0].type",
        ),
        (
            {"role": "assistant", "tool_calls": [call(arguments=["x"])]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"role": "assistant", "function_call": {}}, "messages[0].function_call.name"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio"),
    ],
)
def test_mistake_in_a_message_is_named_by_its_place(message: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(messages=[message])

    assert caught.value.status == 400
    assert caught.value.detail.startswith((f"{place}:", f"{place} "))


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"messages": []}, "messages"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"seed": 10**30}, "seed"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": 5}, "stop"),
        ({"stop": ["x", 5]}, "stop[1]"),
        ({"n": 1.5}, "n"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"metadata": "x"}, "metadata"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": []}}},
            "response_format.json_schema.schema",
        ),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
        (
            {"tools": [FUNCTION, {"type": "function", "function": {"name": ""}}]},
            "tools[1].function.name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [{"type": "custom"}]}, "tools[0].custom.name"),
        (
            {
                "tools": [
                    {"type": "custom", "custom": {"name": "c", "format": {"grammar": "x"}}},
                ]
            },
            "tools[0].custom.format.grammar",
        ),
        ({"functions": [{"name": "f", "parameters": 5}]}, "functions[0].parameters"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": []},
                }
            },
            "tool_choice.allowed_tools.tools",
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "never", "tools": [FUNCTION]},
                }
            },
            "tool_choice.allowed_tools.mode",
        ),
        ({"function_call": "required_"}, "function_call"),
        ({"stream_options": 5}, "stream_options"),
        ({"modalities": "text"}, "modalities"),
    ],
)
def test_mistake_in_a_setting_is_named_by_its_place(members: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(**members)

    assert caught.value.status == 400
    assert caught.value.detail.startswith((f"{place}:", f"{place} "))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


RICH: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        user(
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": {"url": "https://e.org/x"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}},
        ),
        {"role": "assistant", "content": "x", "reasoning": "y", "tool_calls": [call()]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "x"},
    ],
    "tools": [FUNCTION, {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}],
    "functions": [{"name": "f", "parameters": {"type": "object"}}],
    "tool_choice": FUNCTION,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "web_search_options": {"user_location": {}},
    "stream_options": {"include_usage": True},
    "metadata": {"a": "b"},
    "stop": ["x"],
    "max_tokens": 5,
}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, one in inner:
        found.append((*at, key))
        if isinstance(one, dict | list):
            found += places(one, (*at, key))
    return found


@given(st.sampled_from([one for one in places(RICH) if one != ("model",)]), ANYTHING)
def test_whatever_stands_anywhere_is_understood_or_a_mistake_of_the_client(
    place: tuple[Any, ...], value: object
) -> None:
    body = json.loads(json.dumps(RICH))
    target = body
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value

    try:
        asks = CHAT.decode_request(request(body))
    except InvalidRequest:
        return
    assert asks.messages or asks.system


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": True}, True),
        ({"include_usage": False}, False),
        ({"include_usage": None}, False),
        ({"include_usage": "yes"}, False),
        (5, False),
    ],
)
def test_usage_in_the_stream_is_for_clients_that_ask(options: object, wanted: bool) -> None:
    body = {"model": "m", "messages": HI, "stream": True, "stream_options": options}

    assert wants_usage(request(body).fields) is wanted
    assert wants_usage(request({"model": "m", "messages": HI}).fields) is False
