"""What a chat client's request means, member by member."""

import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import UnsupportedFeature
from bitrouter.protocols.chat.decode_request import is_legacy
from tests.unit.protocols.chat.chatwire import CHAT, HI, asked, request
from tests.unit.protocols.chat.requestparts import FUNCTION

CUSTOM = {"type": "custom", "custom": {"name": "shell"}}


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "field", "value"),
    [
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_completion_tokens": 6}, "max_tokens", 6),
        ({"max_completion_tokens": 6, "max_tokens": 5}, "max_tokens", 6),
        ({"max_completion_tokens": None, "max_tokens": 5}, "max_tokens", 5),
        ({"temperature": 0}, "temperature", 0.0),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"top_k": 40}, "top_k", 40),
        ({"stop": "x"}, "stop", ("x",)),
        ({"stop": ["x", "y"]}, "stop", ("x", "y")),
        ({"stop": ""}, "stop", ()),
        ({"presence_penalty": -2}, "presence_penalty", -2.0),
        ({"frequency_penalty": 1.5}, "frequency_penalty", 1.5),
        ({"seed": -7}, "seed", -7),
        ({"n": 3}, "n", 3),
        ({"logprobs": True, "top_logprobs": 2}, "top_logprobs", 2),
        ({"verbosity": "low"}, "verbosity", "low"),
        ({"service_tier": "flex"}, "service_tier", "flex"),
        ({"user": "u"}, "user", "u"),
        ({"safety_identifier": "s"}, "user", "s"),
        ({"safety_identifier": "s", "user": "u"}, "user", "s"),
        ({"parallel_tool_calls": False}, "parallel_tools", False),
        ({"reasoning_effort": "xhigh"}, "thinking", ir.Thinking("xhigh", visible=True)),
        ({"reasoning_effort": "none"}, "thinking", ir.Thinking("none")),
        ({"web_search_options": {}}, "web_search", ir.WebSearch()),
        (
            {"web_search_options": {"search_context_size": "low"}},
            "web_search",
            ir.WebSearch("low"),
        ),
        ({"stream": True}, "stream", True),
    ],
)
def test_setting_is_understood(members: dict[str, Any], field: str, value: object) -> None:
    found = asked(**members)

    assert getattr(found, field) == value


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "temperature", "top_p", "stop", "seed", "n", "logprobs", "tools", "user"),
        *("tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "metadata"),
        *("stream_options", "functions", "function_call", "service_tier", "web_search_options"),
        *("logit_bias", "prediction", "audio", "modalities", "verbosity", "prompt_cache_key"),
        *("store", "stream", "safety_identifier", "anything_else"),
    ],
)
def test_null_is_the_same_as_absent(name: str) -> None:
    assert asked(**{name: None}) == asked()


def test_nothing_said_is_nothing_meant() -> None:
    assert asked() == ir.Request(
        model="m",
        messages=[ir.Message("user", [ir.Text("Hi")])],
        origin="o",
        spellings=asked().spellings,
    )


def test_metadata_stays_as_it_was_written() -> None:
    found = asked(metadata={"b": "1", "a": "2"}).metadata

    assert found is not None
    assert json.loads(bytes(found)) == {"b": "1", "a": "2"}
    assert list(json.loads(bytes(found))) == ["b", "a"]
    assert asked(metadata={}).metadata is None


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, ir.OutputFormat()),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, ir.OutputFormat(name="n")),
    ],
)
def test_response_format_without_schema(given: object, meant: ir.OutputFormat | None) -> None:
    assert asked(response_format=given).output == meant


def test_response_format_with_schema_keeps_every_byte_of_it() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"response_format":{"type":'
        b'"json_schema","json_schema":{"name":"n","description":"d","strict":true,"schema":'
        b'{"type": "object",  "minimum":1.0}}}}'
    )

    output = CHAT.decode_request(request(body)).output

    assert output is not None
    assert (output.name, output.description, output.strict) == ("n", "d", True)
    assert output.schema is not None
    assert bytes(output.schema) == b'{"type": "object",  "minimum":1.0}'


# -- what has no place ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "dropped"),
    [
        ({"logit_bias": {"5": -100}}, ["logit_bias"]),
        ({"prediction": {"type": "content", "content": "x"}}, ["prediction"]),
        ({"audio": {"voice": "v", "format": "wav"}}, ["audio"]),
        ({"min_p": 0.1, "repetition_penalty": 1.1}, ["min_p", "repetition_penalty"]),
        ({"user": "u", "safety_identifier": "s"}, ["user"]),
        (
            {"web_search_options": {"user_location": {"type": "approximate"}}},
            ["web_search_options.user_location"],
        ),
        (
            {"stream_options": {"include_obfuscation": True}},
            ["stream_options.include_obfuscation"],
        ),
        ({"messages": [{"role": "user", "content": "Hi", "name": "bob"}]}, ["messages.name"]),
        ({"messages": [{"role": "user", "content": "Hi", "weight": 1}]}, ["messages.weight"]),
    ],
)
def test_what_has_no_place_is_announced(members: dict[str, Any], dropped: list[str]) -> None:
    assert asked(**members).dropped == dropped


@pytest.mark.parametrize(
    "members",
    [
        {"store": False},
        {"n": 1},
        {"logit_bias": {}},
        {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"modalities": ["text"]},
        {"made_up": ""},
        {"messages": [{"role": "user", "content": "Hi", "name": None, "weight": None}]},
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": "x", "annotations": [], "audio": None},
            ]
        },
    ],
)
def test_what_happens_anyway_is_not_announced(members: dict[str, Any]) -> None:
    assert asked(**members).dropped == []


def test_what_belongs_to_the_vendor_goes_on_to_its_other_protocol() -> None:
    found = asked(
        prompt_cache_key="k",
        prompt_cache_options={"mode": "implicit"},
        prompt_cache_retention="24h",
        moderation={"model": "x"},
        store=True,
    )

    assert found.origin == "o"
    assert {name: json.loads(bytes(one)) for name, one in found.family_fields.items()} == {
        "prompt_cache_key": "k",
        "prompt_cache_options": {"mode": "implicit"},
        "prompt_cache_retention": "24h",
        "moderation": {"model": "x"},
        "store": True,
    }
    assert found.dropped == []


def test_fields_are_announced_under_the_clients_names() -> None:
    new, old = asked(max_completion_tokens=1).spellings, asked(max_tokens=1, functions=[]).spellings

    assert (new["max_tokens"], old.get("max_tokens")) == ("max_completion_tokens", None)
    assert new["thinking"] == "reasoning_effort"
    assert new["output"] == "response_format"
    assert asked(safety_identifier="s").spellings["user"] == "safety_identifier"
    assert asked(functions=[{"name": "f"}]).spellings["tools"] == "functions"


def test_sound_can_be_asked_only_of_its_vendor() -> None:
    with pytest.raises(UnsupportedFeature, match="modalities"):
        asked(modalities=["text", "audio"], audio={"voice": "v", "format": "wav"})


# -- tools ------------------------------------------------------------------------------------


def test_tools_are_understood() -> None:
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}}
    function = {"name": "f", "description": "d", "parameters": parameters, "strict": True}

    tools = asked(
        tools=[
            {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}},
            FUNCTION,
            {"type": "custom", "custom": {"name": "c", "description": "d"}},
        ]
    ).tools

    first, second, third = tools
    assert (first.name, first.description, first.strict) == ("f", "d", True)
    assert first.cache == ir.CacheMark()
    assert first.parameters is not None
    assert json.loads(bytes(first.parameters)) == parameters
    assert second == ir.Tool("look_up")
    assert third == ir.Tool("c", "d", custom=True)


@pytest.mark.parametrize(
    ("given", "flat"),
    [
        ({"type": "text"}, {"type": "text"}),
        (
            {"type": "grammar", "grammar": {"definition": "x", "syntax": "regex"}},
            {"type": "grammar", "definition": "x", "syntax": "regex"},
        ),
    ],
)
def test_grammar_of_a_free_text_tool_is_as_responses_has_it(given: object, flat: object) -> None:
    tools = asked(tools=[{"type": "custom", "custom": {"name": "c", "format": given}}]).tools

    assert tools[0].format is not None
    assert json.loads(bytes(tools[0].format)) == flat


def test_other_types_of_tools_are_the_vendors_own() -> None:
    found = asked(tools=[{"type": "browser_search"}, FUNCTION])

    assert found.hosted_tools == ("browser_search",)
    assert [tool.name for tool in found.tools] == ["look_up"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("none", ir.ToolChoice("none")),
        ("auto", ir.ToolChoice("auto")),
        ("required", ir.ToolChoice("required")),
        (FUNCTION, ir.ToolChoice("required", ("look_up",))),
        (CUSTOM, ir.ToolChoice("required", ("shell",))),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [FUNCTION, CUSTOM]},
            },
            ir.ToolChoice("auto", ("look_up", "shell")),
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [FUNCTION]}},
            ir.ToolChoice("required", ("look_up",)),
        ),
    ],
)
def test_tool_choice_is_understood(given: object, meant: ir.ToolChoice) -> None:
    assert asked(tools=[FUNCTION, CUSTOM], tool_choice=given).tool_choice == meant


@pytest.mark.parametrize(
    ("function_call", "meant"),
    [
        (None, None),
        ("auto", ir.ToolChoice("auto")),
        ("none", ir.ToolChoice("none")),
        ({"name": "f"}, ir.ToolChoice("required", ("f",))),
    ],
)
def test_functions_are_tools_of_which_one_is_called(
    function_call: object, meant: ir.ToolChoice | None
) -> None:
    members = {"functions": [{"name": "f"}], "function_call": function_call}

    found = asked(**members)

    assert found.tools == [ir.Tool("f")]
    assert found.tool_choice == meant
    assert found.parallel_tools is False
    assert is_legacy(request({"model": "m", "messages": HI, **members}).fields)
    assert not is_legacy(request({"model": "m", "messages": HI, "tools": [FUNCTION]}).fields)
