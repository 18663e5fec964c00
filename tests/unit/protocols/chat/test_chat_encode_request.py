"""A request as a chat server gets it: settings, tools, the form of the answer."""

import json
import re
from typing import Any

import msgspec
import pytest

from bitrouter import ir
from bitrouter.errors import UnsupportedFeature
from tests.unit.protocols.chat.chatwire import (
    body_of,
    check_request,
    encode,
    neutral,
)
from tests.unit.protocols.chat.neutralturns import call, result, said, told

STRICT = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


# -- settings ---------------------------------------------------------------------------------


def test_smallest_request_is_the_model_and_the_messages() -> None:
    assert body_of(neutral()) == {
        "model": "up-1",
        "messages": [{"role": "user", "content": "Hi"}],
    }


@pytest.mark.parametrize(
    ("fields", "members"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"temperature": 1.5}, {"temperature": 1.5}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"stop": ("x", "y")}, {"stop": ["x", "y"]}),
        ({"presence_penalty": 1.0}, {"presence_penalty": 1.0}),
        ({"frequency_penalty": 0.0}, {"frequency_penalty": 0.0}),
        ({"seed": 7}, {"seed": 7}),
        ({"n": 2}, {"n": 2}),
        ({"n": 1}, {}),
        ({"logprobs": True}, {"logprobs": True}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 0}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"logprobs": False, "top_logprobs": 3}, {}),
        ({"verbosity": "low"}, {"verbosity": "low"}),
        ({"user": "u"}, {"user": "u"}),
        ({"metadata": raw({"a": "b"})}, {"metadata": {"a": "b"}}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"service_tier": "standard"}, {"service_tier": "default"}),
        ({"service_tier": "flex"}, {"service_tier": "flex"}),
        ({"thinking": ir.Thinking("high")}, {"reasoning_effort": "high"}),
        ({"thinking": ir.Thinking(budget_tokens=1024)}, {"reasoning_effort": "minimal"}),
        ({"thinking": ir.Thinking(budget_tokens=4096)}, {"reasoning_effort": "low"}),
        ({"thinking": ir.Thinking(budget_tokens=12288)}, {"reasoning_effort": "medium"}),
        ({"thinking": ir.Thinking(budget_tokens=20480)}, {"reasoning_effort": "high"}),
        ({"thinking": ir.Thinking(budget_tokens=20481)}, {"reasoning_effort": "xhigh"}),
        ({"thinking": ir.Thinking(budget_tokens=-1)}, {}),
        ({"thinking": ir.Thinking(adaptive=True)}, {}),
        ({"thinking": ir.Thinking(visible=True)}, {}),
        ({"thinking": ir.Thinking("none")}, {}),
        ({"thinking": ir.Thinking("none"), "origin": "o"}, {"reasoning_effort": "none"}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ],
)
def test_setting_is_written(fields: dict[str, Any], members: dict[str, Any]) -> None:
    encoded = encode(neutral(**fields))

    body = json.loads(encoded.body)
    check_request(body)
    assert {name: body[name] for name in body if name not in ("model", "messages")} == members
    assert encoded.dropped == ()


@pytest.mark.parametrize(
    ("fields", "traits", "dropped"),
    [
        ({"top_k": 5}, {}, ("top_k",)),
        ({"service_tier": "ultrafast"}, {}, ("service_tier",)),
        ({"temperature": 1.0}, {"unsupported": ("temperature",)}, ("temperature",)),
        ({"stop": ("x",)}, {"unsupported": ("stop",)}, ("stop",)),
        (
            {"logprobs": True, "top_logprobs": 2},
            {"unsupported": ("logprobs",)},
            ("logprobs", "top_logprobs"),
        ),
        ({"thinking": ir.Thinking("high")}, {"reasoning": "none"}, ("thinking",)),
        ({"thinking": ir.Thinking("none")}, {"reasoning": "none"}, ()),
        ({"thinking": ir.Thinking("none")}, {"efforts": ("high",)}, ("thinking",)),
    ],
)
def test_what_the_model_does_not_take_is_left_out_and_announced(
    fields: dict[str, Any], traits: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    encoded = encode(neutral(**fields), **traits)

    assert json.loads(encoded.body).keys() == {"model", "messages"}
    assert encoded.dropped == dropped


@pytest.mark.parametrize(
    ("wanted", "taken", "written"),
    [
        ("max", ("low", "medium", "high"), "high"),
        ("minimal", ("low", "high"), "low"),
        ("none", ("none", "low"), "none"),
        ("none", ("minimal", "low"), "minimal"),
        ("medium", ("low", "high"), "low"),
    ],
)
def test_effort_is_the_nearest_that_the_model_knows(
    wanted: ir.Effort, taken: tuple[str, ...], written: str
) -> None:
    body = body_of(neutral(thinking=ir.Thinking(wanted)), efforts=taken)

    assert body["reasoning_effort"] == written


def test_more_stop_strings_than_there_may_be_are_cut_and_announced() -> None:
    encoded = encode(neutral(stop=("a", "b", "c", "d", "e")))

    assert json.loads(encoded.body)["stop"] == ["a", "b", "c", "d"]
    assert encoded.dropped == ("stop",)


def test_limit_has_the_name_that_the_server_knows() -> None:
    body = body_of(neutral(max_tokens=5), max_tokens_field="max_completion_tokens")

    assert (body["max_completion_tokens"], "max_tokens" in body) == (5, False)


def test_server_that_refuses_stream_options_is_not_asked_for_usage() -> None:
    assert "stream_options" not in body_of(neutral(stream=True), stream_usage=False)


@pytest.mark.parametrize(("origin", "member"), [("o", "safety_identifier"), ("a", "user")])
def test_end_user_is_called_what_a_client_of_the_family_calls_it(origin: str, member: str) -> None:
    asks = neutral(user="u", origin=origin, spellings={"user": "safety_identifier"})

    assert body_of(asks)[member] == "u"


# -- the vendor's own members -----------------------------------------------------------------


def family(**members: Any) -> dict[str, msgspec.Raw]:
    return {name: raw(value) for name, value in members.items()}


def test_members_of_the_family_go_on() -> None:
    members = {
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "moderation": {"model": "omni"},
        "store": True,
    }

    encoded = encode(neutral(origin="o", family_fields=family(**members)))

    body = json.loads(encoded.body)
    assert {name: body[name] for name in members} == members
    assert encoded.dropped == ()


@pytest.mark.parametrize(
    ("given", "kept", "dropped"),
    [
        ({"mode": "explicit", "ttl": "30m"}, {"mode": "explicit", "ttl": "30m"}, ()),
        ({"mode": "explicit", "ttl": "12h", "prewarm": True}, {"mode": "explicit"}, ()),
        ({"prewarm": True}, None, ("prompt_cache_options",)),
        (5, None, ("prompt_cache_options",)),
    ],
)
def test_cache_options_that_only_responses_has_are_left_out(
    given: object, kept: object, dropped: tuple[str, ...]
) -> None:
    encoded = encode(neutral(origin="o", family_fields=family(prompt_cache_options=given)))

    assert json.loads(encoded.body).get("prompt_cache_options") == kept
    assert encoded.dropped == dropped


def test_storing_is_asked_for_only_in_so_many_words() -> None:
    body = body_of(neutral(origin="o", family_fields=family(store=False)))

    assert "store" not in body


def test_another_vendors_own_members_do_not_leak() -> None:
    encoded = encode(neutral(origin="a", family_fields=family(store=True, cache_shape="x")))

    assert json.loads(encoded.body).keys() == {"model", "messages"}
    assert encoded.dropped == ("cache_shape",)


# -- tools ------------------------------------------------------------------------------------


def test_tools_are_nested_and_without_what_nobody_said() -> None:
    tools = [ir.Tool("f", "d", raw(LOOSE)), ir.Tool("g"), ir.Tool("c", "d", custom=True)]

    body = body_of(neutral(tools=tools))

    check_request(body)
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": LOOSE}},
        {"type": "function", "function": {"name": "g"}},
        {"type": "custom", "custom": {"name": "c", "description": "d"}},
    ]


def test_schema_goes_as_it_was_written() -> None:
    schema = msgspec.Raw(b'{"type": "object",  "x":1.0}')

    assert bytes(schema) in encode(neutral(tools=[ir.Tool("f", parameters=schema)])).body


@pytest.mark.parametrize(
    ("flat", "nested"),
    [
        ({"type": "text"}, {"type": "text"}),
        (
            {"type": "grammar", "definition": "x", "syntax": "lark"},
            {"type": "grammar", "grammar": {"definition": "x", "syntax": "lark"}},
        ),
    ],
)
def test_grammar_is_nested(flat: object, nested: object) -> None:
    body = body_of(neutral(tools=[ir.Tool("c", custom=True, format=raw(flat))]))

    check_request(body)
    assert body["tools"][0]["custom"]["format"] == nested


@pytest.mark.parametrize(
    ("schema", "strict", "takes", "written", "dropped"),
    [
        (STRICT, True, True, True, ()),
        (LOOSE, True, True, None, ("strict",)),
        (STRICT, True, False, None, ("strict",)),
        (STRICT, False, True, None, ()),
        (STRICT, None, True, None, ()),
    ],
)
def test_tool_is_strict_if_its_schema_has_the_shape(
    schema: object, strict: bool | None, takes: bool, written: bool | None, dropped: tuple[str, ...]
) -> None:
    tool = ir.Tool("f", parameters=raw(schema), strict=strict)

    encoded = encode(neutral(tools=[tool]), strict_tools=takes)

    function = json.loads(encoded.body)["tools"][0]["function"]
    assert function.get("strict") is written
    assert function["parameters"] == schema
    assert encoded.dropped == dropped


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (ir.ToolChoice("none"), "none"),
        (ir.ToolChoice("auto"), "auto"),
        (ir.ToolChoice("required"), "required"),
        (
            ir.ToolChoice("required", ("f",)),
            {"type": "function", "function": {"name": "f"}},
        ),
        (ir.ToolChoice("required", ("c",)), {"type": "custom", "custom": {"name": "c"}}),
        (
            ir.ToolChoice("auto", ("f",)),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
        ),
        (
            ir.ToolChoice("required", ("f", "c")),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "custom", "custom": {"name": "c"}},
                    ],
                },
            },
        ),
    ],
)
def test_tool_choice_is_written(choice: ir.ToolChoice, written: object) -> None:
    tools = [ir.Tool("f"), ir.Tool("g"), ir.Tool("c", custom=True)]

    body = body_of(neutral(tools=tools, tool_choice=choice, parallel_tools=False))

    check_request(body)
    assert body["tool_choice"] == written
    assert body["parallel_tool_calls"] is False


def test_settings_of_tools_go_with_the_tools() -> None:
    body = body_of(neutral(tool_choice=ir.ToolChoice("auto"), parallel_tools=False))

    assert body.keys() == {"model", "messages"}


def test_names_that_the_api_refuses_are_rewritten_everywhere_and_back() -> None:
    long = "x" * 65
    history = [told(ir.Text("Hi")), said(call("1", "a.b")), told(result("1", ir.Text("r")))]
    tools = [ir.Tool("a.b"), ir.Tool(long), ir.Tool("plain")]

    encoded = encode(
        neutral(messages=history, tools=tools, tool_choice=ir.ToolChoice("required", ("a.b",)))
    )

    body = json.loads(encoded.body)
    names = [tool["function"]["name"] for tool in body["tools"]]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert (names[0], names[2]) == ("a_b", "plain")
    assert body["tool_choice"]["function"]["name"] == "a_b"
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "a_b"
    assert encoded.names == {"a_b": "a.b", names[1]: long}


def test_search_is_asked_for_where_there_is_one() -> None:
    search = ir.WebSearch("low", ("e.org",))

    encoded = encode(neutral(web_search=search), web_search="web_search_options")

    assert json.loads(encoded.body)["web_search_options"] == {"search_context_size": "low"}
    assert encoded.dropped == ("web_search",)  # of where to search nothing can be said


@pytest.mark.parametrize(
    ("search", "written"),
    [(ir.WebSearch(), {}), (ir.WebSearch("high"), {"search_context_size": "high"})],
)
def test_search_is_as_large_as_it_was_asked_to_be(search: ir.WebSearch, written: object) -> None:
    encoded = encode(neutral(web_search=search), web_search="web_search_options")

    assert json.loads(encoded.body)["web_search_options"] == written
    assert encoded.dropped == ()


def test_search_without_a_counterpart_refuses_the_request_or_is_dropped() -> None:
    with pytest.raises(UnsupportedFeature, match="web_search"):
        encode(neutral(web_search=ir.WebSearch()))

    assert encode(neutral(web_search=ir.WebSearch()), hosted_tools="drop").dropped == ("tools",)


# -- the form of the answer -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "strict", "written"),
    [
        (STRICT, None, True),
        (STRICT, True, True),
        (STRICT, False, False),
        (LOOSE, None, False),
        (LOOSE, True, False),
    ],
)
def test_schema_of_the_answer_is_nested_and_strict_if_it_can_be(
    schema: object, strict: bool | None, written: bool
) -> None:
    body = body_of(neutral(output=ir.OutputFormat(raw(schema), strict=strict)))

    check_request(body)
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": schema, "strict": written},
    }


def test_name_and_description_of_the_answers_schema_are_kept() -> None:
    output = ir.OutputFormat(raw(LOOSE), "my schema", "what it is")

    written = body_of(neutral(output=output))["response_format"]["json_schema"]

    assert (written["name"], written["description"]) == ("my_schema", "what it is")


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("Hi", [{"role": "system", "content": "Answer with one JSON object and nothing else."}]),
        ("Answer in Json, please", []),
    ],
)
def test_json_mode_is_asked_for_in_words_too(text: str, system: list[Any]) -> None:
    body = body_of(neutral(ir.Text(text), output=ir.OutputFormat()))

    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"] == [*system, {"role": "user", "content": text}]


def test_answer_is_a_tools_arguments_for_a_model_without_structured_output() -> None:
    output = ir.OutputFormat(raw(LOOSE), description="d")

    encoded = encode(neutral(output=output), structured_output="tool")

    body = json.loads(encoded.body)
    assert encoded.answer_tool == "structured_output"
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "structured_output", "description": "d", "parameters": LOOSE},
        }
    ]
    assert body["tool_choice"]["function"]["name"] == "structured_output"
    assert "response_format" not in body


def test_answers_tool_leaves_the_clients_own_tools_to_be_called() -> None:
    tools = [ir.Tool("structured_output")]

    encoded = encode(
        neutral(output=ir.OutputFormat(raw(LOOSE)), tools=tools), structured_output="tool"
    )

    body = json.loads(encoded.body)
    assert encoded.answer_tool == "structured_output_"
    assert [tool["function"]["name"] for tool in body["tools"]] == [
        "structured_output",
        "structured_output_",
    ]
    assert body["tool_choice"] == "required"


def test_call_that_must_be_made_comes_before_the_form_of_the_answer() -> None:
    asks = neutral(
        output=ir.OutputFormat(raw(LOOSE)),
        tools=[ir.Tool("f"), ir.Tool("g")],
        tool_choice=ir.ToolChoice("required", ("f",)),
    )

    encoded = encode(asks, structured_output="tool")

    assert json.loads(encoded.body)["tool_choice"]["function"]["name"] == "f"
    assert encoded.answer_tool is None


def test_model_without_structured_output_is_asked_for_json_in_words() -> None:
    body = body_of(neutral(output=ir.OutputFormat()), structured_output="tool")

    assert "response_format" not in body
    assert "tools" not in body
    assert body["messages"][0]["role"] == "system"
