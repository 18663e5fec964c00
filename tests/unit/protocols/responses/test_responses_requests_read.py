"""A Responses client's request in the neutral form: tools, settings, what is wrong."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from tests.unit.protocols.responses.requestparts import CALL, DATA, OUTPUT, refused
from tests.unit.protocols.responses.responseswire import RESPONSES, asked, request


def tool(**members: Any) -> ir.Tool:
    """What a function with these members means."""
    (found,) = asked(tools=[{"type": "function", "name": "f"} | members]).tools
    return found


# -- tools ------------------------------------------------------------------------------------


def test_function_is_flat() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}

    found = tool(description="Does", parameters=schema, strict=True)

    assert (found.name, found.description, found.strict) == ("f", "Does", True)
    assert found.parameters is not None
    assert json.loads(bytes(found.parameters)) == schema


@pytest.mark.parametrize("absent", [{}, {"parameters": None, "strict": None, "description": None}])
def test_function_may_have_nothing_but_a_name(absent: dict[str, Any]) -> None:
    assert tool(**absent) == ir.Tool("f")


def test_free_text_tool_keeps_its_grammar() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": 'start: "a"'}

    (found,) = asked(tools=[{"type": "custom", "name": "sh", "format": grammar}]).tools

    assert found.custom
    assert found.format is not None
    assert json.loads(bytes(found.format)) == grammar


def test_tools_of_a_namespace_bear_both_names() -> None:
    space = {
        "type": "namespace",
        "name": "mail",
        "description": "Mail",
        "tools": [{"type": "function", "name": "send"}, {"type": "custom", "name": "raw"}],
    }
    call = CALL | {"name": "send", "namespace": "mail"}
    choice = {"type": "function", "name": "send", "namespace": "mail"}

    asks = asked(tools=[space], input=[call], tool_choice=choice)

    assert [(one.name, one.custom) for one in asks.tools] == [
        ("mail__send", False),
        ("mail__raw", True),
    ]
    assert asks.messages[0].blocks == [ir.ToolCall("call_1", "mail__send", '{"b": 1,"a":2}')]
    assert asks.tool_choice == ir.ToolChoice("required", ("mail__send",))


def test_long_names_of_a_namespace_are_cut_and_told_apart() -> None:
    names = ["x" * 50 + "1", "x" * 50 + "2"]
    space = {
        "type": "namespace",
        "name": "n" * 40,
        "tools": [{"type": "function", "name": name} for name in names],
    }

    found = [one.name for one in asked(tools=[space]).tools]

    assert len({*found}) == 2
    assert all(len(name) <= 64 for name in found)


@pytest.mark.parametrize(
    "kind",
    ["web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"],
)
def test_web_search_is_one_in_all_its_versions(kind: str) -> None:
    search = {
        "type": kind,
        "search_context_size": "low",
        "filters": {"allowed_domains": ["a.org"]},
        "user_location": {"type": "approximate", "city": "Köln"},
    }

    asks = asked(tools=[search])

    assert asks.web_search == ir.WebSearch("low", ("a.org",))
    assert asks.dropped == ["user_location"]


@pytest.mark.parametrize(
    ("members", "dropped"),
    [
        ({"filters": {"blocked_domains": ["b.org"]}}, ["blocked_domains"]),
        ({"filters": {"allowed_domains": None}}, []),
        ({"external_web_access": False}, ["external_web_access"]),
        ({"external_web_access": True, "user_location": None}, []),
    ],
)
def test_limits_of_a_web_search_without_neutral_form_are_announced(
    members: dict[str, Any], dropped: list[str]
) -> None:
    asks = asked(tools=[{"type": "web_search", **members}])

    assert asks.web_search == ir.WebSearch()
    assert asks.dropped == dropped


def test_other_hosted_tools_go_by_their_type() -> None:
    hosted = [
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "mcp", "server_label": "a", "server_url": "https://a.org"},
        {"type": "mcp", "server_label": "b", "server_url": "https://b.org"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ]

    assert asked(tools=hosted).hosted_tools == ("file_search", "mcp", "code_interpreter")


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output"])
def test_tools_that_come_later_are_there_from_the_beginning(kind: str) -> None:
    item = {"type": kind, "role": "developer", "tools": [{"type": "function", "name": "late"}]}

    asks = asked(
        tools=[{"type": "function", "name": "f"}], input=[item, {"role": "user", "content": "Hi"}]
    )

    assert [one.name for one in asks.tools] == ["f", "late"]
    assert asks.dropped == []


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ir.ToolChoice("auto")),
        ("required", ir.ToolChoice("required")),
        ("none", ir.ToolChoice("none")),
        ({"type": "function", "name": "f"}, ir.ToolChoice("required", ("f",))),
        ({"type": "custom", "name": "sh"}, ir.ToolChoice("required", ("sh",))),
        ({"type": "mcp", "server_label": "a"}, ir.ToolChoice("required", ("mcp",))),
        ({"type": "web_search_preview"}, ir.ToolChoice("required", ("web_search",))),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "sh"}],
            },
            ir.ToolChoice("auto", ("f", "sh")),
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}],
            },
            ir.ToolChoice("required", ("f",)),
        ),
        (None, None),
    ],
    ids=str,
)
def test_tool_choice_in_all_its_forms(choice: Any, expected: ir.ToolChoice | None) -> None:
    assert asked(tool_choice=choice).tool_choice == expected


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "value", "field", "expected"),
    [
        ("max_output_tokens", 5, "max_tokens", 5),
        ("temperature", 1, "temperature", 1.0),
        ("top_p", 0.5, "top_p", 0.5),
        ("parallel_tool_calls", False, "parallel_tools", False),
        ("user", "u1", "user", "u1"),
        ("safety_identifier", "s1", "user", "s1"),
        ("service_tier", "flex", "service_tier", "flex"),
        ("stream", True, "stream", True),
        ("include", ["message.output_text.logprobs"], "logprobs", True),
        ("top_logprobs", 3, "logprobs", True),
        ("text", {"verbosity": "low"}, "verbosity", "low"),
        ("text", {"format": {"type": "text"}}, "output", None),
        ("text", {"format": {"type": "json_object"}}, "output", ir.OutputFormat()),
        ("reasoning", {"effort": "high"}, "thinking", ir.Thinking("high")),
        ("reasoning", {"summary": "auto"}, "thinking", ir.Thinking(visible=True)),
        ("reasoning", {"generate_summary": "concise"}, "thinking", ir.Thinking(visible=True)),
        (
            "reasoning",
            {"effort": "low", "summary": "none"},
            "thinking",
            ir.Thinking("low", visible=False),
        ),
        ("reasoning", {"effort": None, "summary": None}, "thinking", None),
    ],
)
def test_setting_has_its_neutral_field(member: str, value: Any, field: str, expected: Any) -> None:
    asks = asked(**{member: value})

    assert getattr(asks, field) == expected
    assert asks.dropped == []


def test_schema_of_the_answer_is_flat() -> None:
    schema = {"type": "object", "properties": {}}
    form = {
        "type": "json_schema",
        "name": "n",
        "schema": schema,
        "strict": True,
        "description": "d",
    }

    output = asked(text={"format": form}).output

    assert output is not None
    assert (output.name, output.description, output.strict) == ("n", "d", True)
    assert output.schema is not None
    assert json.loads(bytes(output.schema)) == schema


def test_metadata_stay_as_they_are() -> None:
    metadata = asked(metadata={"a": "ü"}).metadata

    assert metadata is not None
    assert json.loads(bytes(metadata)) == {"a": "ü"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("store", True),
        ("prompt_cache_key", "k"),
        ("prompt_cache_retention", "24h"),
        ("prompt_cache_options", {"mode": "explicit"}),
        ("moderation", {"model": "omni-moderation-latest"}),
    ],
)
def test_what_all_of_openais_protocols_have_goes_on_between_them(name: str, value: Any) -> None:
    asks = asked(**{name: value})

    assert {key: json.loads(bytes(raw)) for key, raw in asks.family_fields.items()} == {name: value}
    assert asks.dropped == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("truncation", "auto"),
        ("max_tool_calls", 3),
        ("context_management", [{"type": "compaction", "compact_threshold": 1000}]),
        ("background_options", {"completion_window": "2h"}),
        ("access_programs", {"cyber": "standard"}),
        ("include", ["file_search_call.results"]),
        ("stream_options", {"include_obfuscation": True}),
        ("top_k", 5),
        ("something_new", False),
    ],
)
def test_what_has_no_neutral_form_is_announced_by_its_name(name: str, value: Any) -> None:
    assert asked(**{name: value}).dropped == [name]


@pytest.mark.parametrize(
    ("settings_", "name"),
    [({"mode": "pro"}, "reasoning.mode"), ({"context": "all_turns"}, "reasoning.context")],
)
def test_settings_of_reasoning_without_neutral_form_are_announced(
    settings_: dict[str, str], name: str
) -> None:
    assert asked(reasoning=settings_).dropped == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("truncation", "disabled"),
        ("store", False),
        ("background", False),
        ("include", []),
        ("include", ["reasoning.encrypted_content"]),
        ("include", ["message.input_image.image_url"]),
        ("stream_options", {"include_obfuscation": False}),
        ("stream_options", None),
        ("metadata", {}),
        ("tools", []),
        ("reasoning", {"mode": "standard", "context": "auto"}),
        ("something_new", None),
        ("something_new", []),
        ("something_new", {}),
        ("something_new", ""),
    ],
)
def test_what_happens_anyway_is_not_announced(name: str, value: Any) -> None:
    assert asked(**{name: value}).dropped == []


def test_null_is_the_same_as_absent() -> None:
    names = [
        *("instructions", "max_output_tokens", "temperature", "top_p", "top_logprobs", "reasoning"),
        *("text", "tools", "tool_choice", "parallel_tool_calls", "include", "metadata", "user"),
        *("safety_identifier", "service_tier", "store", "truncation", "stream", "stream_options"),
        *("prompt_cache_key", "prompt_cache_options", "moderation", "max_tool_calls"),
    ]

    assert asked(**dict.fromkeys(names)) == asked()


def test_names_that_differ_are_told() -> None:
    spelled = asked(safety_identifier="s").spellings

    assert spelled["max_tokens"] == "max_output_tokens"
    assert spelled["thinking"] == "reasoning"
    assert spelled["user"] == "safety_identifier"
    assert "user" not in asked(user="u").spellings
    assert {*spelled} <= {*ir.Request.__struct_fields__}


# -- what is wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role: 'tool'"),
        ({"input": [{"role": ["user"], "content": "x"}]}, "input[0].role: expected"),
        ({"input": [{"role": "user"}]}, "input[0].content is required"),
        ({"input": [{}]}, "input[0] needs a type"),
        ({"input": ["Hi"]}, "input[0]: expected `object`"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0].type: ''"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text is required",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": 3}]}]},
            "input[0].content[0].text: expected `str | null`, got `int`",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_video"}]}]},
            "input[0].content[0].type: 'input_video'",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0] needs an image_url",
        ),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_image", "image_url": "ftp://a"}]}
                ]
            },
            "input[0].content[0].image_url",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
            "input[0].content[0] needs file_data",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "?"}]}]},
            "input[0].content[0].file_data is not base64",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "input[0].content[0].input_audio is required",
        ),
        (
            {
                "input": [
                    {"role": "assistant", "content": [{"type": "input_image", "image_url": DATA}]}
                ]
            },
            "input[0].content[0].type: 'input_image'",
        ),
        (
            {
                "input": [
                    {"role": "system", "content": [{"type": "input_image", "image_url": DATA}]}
                ]
            },
            "input[0].content[0].type: 'input_image'",
        ),
        ({"input": [CALL | {"call_id": None}]}, "input[0] needs a call_id and a name"),
        ({"input": [CALL | {"name": ""}]}, "input[0] needs a call_id and a name"),
        ({"input": [OUTPUT | {"call_id": ""}]}, "input[0].call_id is required"),
        ({"input": [OUTPUT | {"output": None}]}, "input[0].output must be"),
        ({"input": [OUTPUT | {"output": {"a": 1}}]}, "input[0].output must be"),
        ({"input": [OUTPUT | {"output": [{"type": "x"}]}]}, "input[0].output[0].type: 'x'"),
        ({"tools": [{"name": "f"}]}, "tools[0].type is required"),
        ({"tools": [{"type": "function"}]}, "tools[0].name is required"),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": []}]},
            "tools[0].parameters must",
        ),
        ({"tools": [{"type": "namespace"}]}, "tools[0].name is required"),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]},
            "tools[0].tools[0].type must be",
        ),
        ({"tools": {}}, "tools: expected `array | null`"),
        ({"tool_choice": "any"}, "tool_choice: 'any'"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name is required"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools must"),
        ({"tool_choice": {}}, "tool_choice: object missing required field `type`"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type: 'xml'"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema must"),
        ({"reasoning": {"effort": "enormous"}}, "reasoning.effort: invalid enum value"),
        ({"temperature": "hot"}, "temperature: expected"),
        ({"max_output_tokens": 0}, "max_output_tokens: expected"),
        ({"max_output_tokens": 10**400}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs: expected"),
        ({"metadata": {"a": 1}}, "metadata[...]: expected `str`"),
        ({"instructions": ["x"]}, "instructions: expected"),
    ],
)
def test_mistake_is_a_400_that_names_its_place(members: dict[str, Any], place: str) -> None:
    assert refused(**members).startswith(place)


def test_nesting_too_deep_to_follow_is_a_400() -> None:
    deep = b"[" * 50_000 + b"]" * 50_000

    with pytest.raises(InvalidRequest):
        RESPONSES.decode_request(request(b'{"model":"m","input":%b}' % deep))


@pytest.mark.parametrize("text", [b'"\\ud800"', b'[{"role":"user","content":"\\udc00x"}]'])
def test_lone_surrogate_is_a_400(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        RESPONSES.decode_request(request(b'{"model":"m","input":%b}' % text))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


_ANY_ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "function_call_output"])},
    optional={
        "role": st.sampled_from(["user", "assistant", "system"]) | _JSON,
        "content": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["input_text", "input_image", "input_file", "refusal"])},
                optional={"text": _JSON, "image_url": _JSON, "file_data": _JSON, "detail": _JSON},
            ),
            max_size=2,
        )
        | _JSON,
        "call_id": st.just("c") | _JSON,
        "name": st.just("f") | _JSON,
        "output": _JSON,
        "arguments": _JSON,
        "summary": _JSON,
        "encrypted_content": st.just("Br1~g.x") | _JSON,
    },
)


_ANY_BODY = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.lists(_ANY_ITEM | _JSON, max_size=4) | st.text(max_size=5)},
    optional={
        "tools": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["function", "namespace", "mcp"])},
                optional={"name": _JSON, "parameters": _JSON, "tools": _JSON},
            ),
            max_size=2,
        ),
        **dict.fromkeys(
            ("tool_choice", "text", "reasoning", "include", "metadata", "temperature"), _JSON
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(_ANY_BODY)
def test_whatever_a_client_sends_it_is_understood_or_a_400(body: dict[str, Any]) -> None:
    try:
        asks = RESPONSES.decode_request(request(body))
    except InvalidRequest as error:
        assert error.detail  # noqa: PT017 - both outcomes are right
    else:
        assert isinstance(asks, ir.Request)
        assert msgspec.json.encode(asks.dropped)
