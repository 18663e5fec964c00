"""A request as a Responses provider gets it, from a client of any vendor: tools and settings."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import FunctionToolParam
from pydantic import TypeAdapter

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.errors import UnsupportedFeature
from bitrouter.protocols.responses.translator import ResponsesTranslator
from bitrouter.protocols.translator import Recipient
from tests.unit.protocols.responses.neutralparts import with_tools
from tests.unit.protocols.responses.responseswire import (
    body_of,
    conversation,
    encode,
    neutral,
)

CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


def raw(value: Any) -> msgspec.Raw:
    """A value as the neutral form holds it."""
    return msgspec.Raw(json.dumps(value).encode())


# -- the smallest -----------------------------------------------------------------------------


def test_plain_request_says_no_more_than_it_has_to() -> None:
    assert body_of(neutral()) == {
        "model": "up-1",
        "input": [{"role": "user", "content": "Hi"}],
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }


def test_encrypted_reasoning_is_not_asked_of_a_model_that_does_not_reason() -> None:
    assert "include" not in body_of(neutral(), reasoning="none")


def test_stream_is_asked_for() -> None:
    assert body_of(neutral(stream=True))["stream"] is True


# -- tools ------------------------------------------------------------------------------------


def test_every_function_says_whether_it_is_strict_and_has_parameters() -> None:
    (tool,) = body_of(with_tools())["tools"]

    assert tool == {
        "type": "function",
        "name": "f",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    TypeAdapter(FunctionToolParam).validate_python(tool)


def test_empty_schema_is_none() -> None:
    (tool,) = body_of(with_tools(ir.Tool("f", parameters=raw({}))))["tools"]

    assert tool["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("origin", "schema", "strict", "written"),
    [
        ("o", OPEN, True, True),
        ("o", OPEN, False, False),
        ("o", OPEN, None, False),
        ("a", CLOSED, True, True),
        ("a", OPEN, True, False),
        ("a", None, True, False),
        ("g", CLOSED, None, False),
    ],
)
def test_strict_is_what_the_client_said_if_the_schema_has_the_shape(
    origin: str, schema: Any, strict: bool | None, written: bool
) -> None:
    tool = ir.Tool("f", parameters=raw(schema) if schema else None, strict=strict)
    encoded = encode(with_tools(tool, origin=origin))

    assert json.loads(encoded.body)["tools"][0]["strict"] is written
    assert encoded.dropped == (("strict",) if strict and not written else ())


def test_strict_is_left_out_for_a_model_that_does_not_take_it() -> None:
    tool = ir.Tool("f", parameters=raw(CLOSED), strict=True)
    encoded = encode(with_tools(tool), strict_tools=False)

    assert json.loads(encoded.body)["tools"][0]["strict"] is False
    assert encoded.dropped == ("strict",)


def test_free_text_tool_stays_one() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "x"}
    tools = [ir.Tool("sh", "Shell", custom=True, format=raw(grammar)), ir.Tool("x", custom=True)]

    assert body_of(with_tools(*tools))["tools"] == [
        {"type": "custom", "name": "sh", "description": "Shell", "format": grammar},
        {"type": "custom", "name": "x"},
    ]


def test_names_that_are_forbidden_are_written_otherwise_and_can_be_read_back() -> None:
    tools = [ir.Tool("a.b"), ir.Tool("a:b"), ir.Tool("y" * 70), ir.Tool("fine")]
    call = ir.ToolCall("c", "a.b", "{}")
    asks = conversation(
        [ir.Text("Hi")],
        [call],
        [ir.Text("So?")],
        tools=tools,
        tool_choice=ir.ToolChoice("required", ("a:b",)),
    )

    encoded = encode(asks)

    body = json.loads(encoded.body)
    written = [tool["name"] for tool in body["tools"]]
    assert len({*written}) == 4
    assert all(len(name) <= 64 and name.replace("_", "").isalnum() for name in written)
    assert [encoded.names.get(name, name) for name in written] == [tool.name for tool in tools]
    assert encoded.names.get(body["input"][1]["name"]) == "a.b"
    assert encoded.names.get(body["tool_choice"]["name"]) == "a:b"


def test_web_search_is_the_providers_own() -> None:
    asks = neutral(web_search=ir.WebSearch("low", ("a.org",)))

    assert body_of(asks, web_search="web_search")["tools"] == [
        {
            "type": "web_search",
            "search_context_size": "low",
            "filters": {"allowed_domains": ["a.org"]},
        }
    ]


def test_web_search_that_the_provider_lacks_is_refused_or_dropped() -> None:
    asks = neutral(web_search=ir.WebSearch())

    with pytest.raises(UnsupportedFeature, match="web_search"):
        encode(asks)
    encoded = encode(asks, hosted_tools="drop")
    assert encoded.dropped == ("tools",)
    assert "tools" not in json.loads(encoded.body)


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (ir.ToolChoice("auto"), "auto"),
        (ir.ToolChoice("none"), "none"),
        (ir.ToolChoice("required"), "required"),
        (ir.ToolChoice("required", ("f",)), {"type": "function", "name": "f"}),
        (ir.ToolChoice("required", ("sh",)), {"type": "custom", "name": "sh"}),
        (
            ir.ToolChoice("auto", ("f",)),
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            },
        ),
        (
            ir.ToolChoice("required", ("f", "sh")),
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "sh"}],
            },
        ),
    ],
)
def test_tool_choice_is_flat(choice: ir.ToolChoice, written: Any) -> None:
    tools = [ir.Tool("f"), ir.Tool("sh", custom=True)]

    assert body_of(with_tools(*tools, tool_choice=choice))["tool_choice"] == written


def test_choice_and_parallel_calls_go_with_tools_alone() -> None:
    body = body_of(neutral(tool_choice=ir.ToolChoice("auto"), parallel_tools=False))

    assert "tool_choice" not in body
    assert "parallel_tool_calls" not in body
    assert body_of(with_tools(parallel_tools=False))["parallel_tool_calls"] is False


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked_for", "written"), [(1, 16), (16, 16), (500, 500)])
def test_limit_of_the_answer_is_16_at_least(asked_for: int, written: int) -> None:
    assert body_of(neutral(max_tokens=asked_for))["max_output_tokens"] == written


def test_limit_of_the_answer_is_what_the_model_can_give() -> None:
    recipient = Recipient("up-1", Traits(), max_output_tokens=1000)

    encoded = ResponsesTranslator().encode_request(neutral(max_tokens=5000), recipient)

    assert json.loads(encoded.body)["max_output_tokens"] == 1000
    assert encoded.dropped == ("max_tokens",)


@pytest.mark.parametrize("asked_for", [1, 999, 1000])
def test_limit_of_the_answer_that_was_not_cut_down_is_not_announced(asked_for: int) -> None:
    recipient = Recipient("up-1", Traits(), max_output_tokens=1000)

    assert (
        ResponsesTranslator().encode_request(neutral(max_tokens=asked_for), recipient).dropped == ()
    )


def test_settings_that_exist_are_written() -> None:
    body = body_of(
        neutral(
            temperature=0.5,
            top_p=0.9,
            user="u",
            metadata=raw({"a": "b"}),
            verbosity="low",
            logprobs=True,
            top_logprobs=3,
        )
    )

    assert body["temperature"] == 0.5
    assert body["top_p"] == 0.9
    assert body["user"] == "u"
    assert body["metadata"] == {"a": "b"}
    assert body["text"] == {"verbosity": "low"}
    assert body["include"] == ["message.output_text.logprobs", "reasoning.encrypted_content"]
    assert body["top_logprobs"] == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_k", 5),
        ("stop", ("x",)),
        ("seed", 7),
        ("presence_penalty", 0.5),
        ("frequency_penalty", 0.5),
    ],
)
def test_settings_that_do_not_exist_are_announced(field: str, value: Any) -> None:
    encoded = encode(neutral(**{field: value}))

    assert encoded.dropped == (field,)
    assert json.loads(encoded.body) == body_of(neutral())


def test_several_answers_are_refused() -> None:
    with pytest.raises(UnsupportedFeature, match=r"^n: "):
        encode(neutral(n=2))
    assert encode(neutral(n=1)).dropped == ()


def test_what_the_model_refuses_is_announced() -> None:
    asks = neutral(temperature=0.5, logprobs=True, top_logprobs=2)
    encoded = encode(asks, unsupported=("temperature", "logprobs"))

    assert json.loads(encoded.body) == body_of(neutral())
    assert {"temperature", "logprobs"} <= {*encoded.dropped}


@pytest.mark.parametrize(
    ("spellings", "member"), [({}, "user"), ({"user": "safety_identifier"}, "safety_identifier")]
)
def test_end_user_keeps_the_name_that_openais_client_gave(
    spellings: dict[str, str], member: str
) -> None:
    assert body_of(neutral(user="u", origin="o", spellings=spellings))[member] == "u"


@pytest.mark.parametrize(
    ("tier", "written"),
    [
        ("auto", "auto"),
        ("flex", "flex"),
        ("standard_only", "default"),
        ("standard", "default"),
        ("ultrafast", "ultrafast"),
    ],
)
def test_service_tier_has_openais_words(tier: str, written: str) -> None:
    assert body_of(neutral(service_tier=tier))["service_tier"] == written


def test_service_tier_that_does_not_exist_is_announced() -> None:
    encoded = encode(neutral(service_tier="batch"))

    assert encoded.dropped == ("service_tier",)
    assert "service_tier" not in json.loads(encoded.body)


def test_what_all_of_openais_protocols_have_is_passed_on_between_them() -> None:
    fields = {"store": raw(True), "prompt_cache_key": raw("k")}

    body = body_of(neutral(origin="o", family_fields=fields))

    assert body["store"] is True
    assert body["prompt_cache_key"] == "k"


def test_what_another_vendors_protocols_have_is_announced() -> None:
    encoded = encode(neutral(origin="g", family_fields={"store": raw(True), "labels": raw({})}))

    assert encoded.dropped == ("labels",)
    assert json.loads(encoded.body)["store"] is False


# -- thinking ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        (ir.Thinking("high"), {"effort": "high"}),
        (ir.Thinking("max"), {"effort": "max"}),
        (ir.Thinking("low", visible=True), {"effort": "low", "summary": "auto"}),
        (ir.Thinking("low", visible=False), {"effort": "low"}),
        (ir.Thinking(budget_tokens=1024), {"effort": "minimal"}),
        (ir.Thinking(budget_tokens=4096), {"effort": "low"}),
        (ir.Thinking(budget_tokens=12288), {"effort": "medium"}),
        (ir.Thinking(budget_tokens=20480), {"effort": "high"}),
        (ir.Thinking(budget_tokens=30000), {"effort": "xhigh"}),
        (ir.Thinking(budget_tokens=-1, visible=True), {"summary": "auto"}),
        (ir.Thinking(adaptive=True), None),
        (ir.Thinking(visible=True), {"summary": "auto"}),
        (ir.Thinking("none"), None),
        (ir.Thinking(budget_tokens=0), None),
    ],
)
def test_thinking_is_an_effort(thinking: ir.Thinking, reasoning: dict[str, str] | None) -> None:
    assert body_of(neutral(thinking=thinking)).get("reasoning") == reasoning


@pytest.mark.parametrize(
    ("effort", "efforts", "written", "dropped"),
    [
        ("max", ("low", "medium", "high"), {"effort": "high"}, ()),
        ("none", ("none", "low"), {"effort": "none"}, ()),
        ("none", ("low", "medium"), {"effort": "low"}, ()),
        ("none", ("medium", "high"), {"effort": "medium"}, ("thinking",)),
    ],
)
def test_effort_is_the_nearest_that_the_model_takes(
    effort: ir.Effort, efforts: tuple[str, ...], written: dict[str, str], dropped: tuple[str, ...]
) -> None:
    encoded = encode(neutral(thinking=ir.Thinking(effort)), efforts=efforts)

    assert json.loads(encoded.body)["reasoning"] == written
    assert encoded.dropped == dropped


def test_openais_client_may_switch_thinking_off() -> None:
    asks = neutral(thinking=ir.Thinking("none"), origin="o")

    assert body_of(asks)["reasoning"] == {"effort": "none"}


def test_thinking_of_a_model_that_does_not_reason_is_announced() -> None:
    encoded = encode(neutral(thinking=ir.Thinking("high")), reasoning="none")

    assert encoded.dropped == ("thinking",)
    assert "reasoning" not in json.loads(encoded.body)
    assert encode(neutral(thinking=ir.Thinking("none")), reasoning="none").dropped == ()


# -- the form of the answer -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "output", "form"),
    [
        (
            "o",
            ir.OutputFormat(raw(OPEN), "n", "d", True),
            {
                "type": "json_schema",
                "name": "n",
                "schema": OPEN,
                "description": "d",
                "strict": True,
            },
        ),
        (
            "o",
            ir.OutputFormat(raw(OPEN), "n"),
            {"type": "json_schema", "name": "n", "schema": OPEN},
        ),
        (
            "a",
            ir.OutputFormat(raw(OPEN)),
            {"type": "json_schema", "name": "response", "schema": OPEN, "strict": False},
        ),
        (
            "g",
            ir.OutputFormat(raw(CLOSED)),
            {"type": "json_schema", "name": "response", "schema": CLOSED, "strict": True},
        ),
    ],
)
def test_schema_of_the_answer_is_flat_and_has_a_name(
    origin: str, output: ir.OutputFormat, form: dict[str, Any]
) -> None:
    assert body_of(neutral(origin=origin, output=output))["text"] == {"format": form}


def test_any_json_is_asked_for_in_words_too() -> None:
    body = body_of(neutral(output=ir.OutputFormat()))

    assert body["text"] == {"format": {"type": "json_object"}}
    assert "JSON" in body["instructions"]


@pytest.mark.parametrize("place", ["system", "user"])
def test_words_that_ask_for_json_are_not_repeated(place: str) -> None:
    word = ir.Text("Give me json")
    asks = neutral(*([word] if place == "user" else []), output=ir.OutputFormat())
    asks.system = [word] if place == "system" else []

    assert body_of(asks).get("instructions") == ("Give me json" if place == "system" else None)


def test_model_without_formats_is_given_a_tool_to_answer_with() -> None:
    asks = neutral(output=ir.OutputFormat(raw(OPEN)))
    encoded = encode(asks, structured_output="tool")

    body = json.loads(encoded.body)
    assert encoded.answer_tool == "structured_output"
    assert body["tool_choice"] == {"type": "function", "name": "structured_output"}
    assert [(one["name"], one["parameters"]) for one in body["tools"]] == [
        ("structured_output", OPEN)
    ]
    assert "text" not in body


def test_tool_to_answer_with_leaves_the_others_to_be_called() -> None:
    tools = [ir.Tool("structured_output")]
    encoded = encode(
        neutral(tools=tools, output=ir.OutputFormat(raw(OPEN))), structured_output="tool"
    )

    body = json.loads(encoded.body)
    assert encoded.answer_tool == "structured_output_"
    assert body["tool_choice"] == "required"
    assert [one["name"] for one in body["tools"]] == ["structured_output", "structured_output_"]


def test_model_that_must_call_needs_no_tool_to_answer_with() -> None:
    asks = with_tools(output=ir.OutputFormat(raw(OPEN)), tool_choice=ir.ToolChoice("required"))
    encoded = encode(asks, structured_output="tool")

    assert encoded.answer_tool is None
    assert json.loads(encoded.body)["tool_choice"] == "required"
