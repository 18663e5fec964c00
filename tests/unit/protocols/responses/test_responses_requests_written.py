"""A request as a Responses provider gets it, from a client of any vendor."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import FunctionToolParam
from pydantic import TypeAdapter

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.protocols.responses.translator import ResponsesTranslator
from bitrouter.protocols.translator import Recipient
from tests.unit.protocols.responses.responseswire import (
    body_of,
    conversation,
    encode,
    neutral,
    sent,
)

CALL = ir.ToolCall("call_1", "f", '{"b": 1,"a":2}')
RESULT = ir.ToolResult("call_1", [ir.Text("42")])
PNG = ir.Media("image", "image/png", "iVBORw0KGgo=")
PDF = ir.Media("document", "application/pdf", "AAAA", name="a.pdf")
OWN = ir.Signature("o", "gAAA", "rs_1")
CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


def raw(value: Any) -> msgspec.Raw:
    """A value as the neutral form holds it."""
    return msgspec.Raw(json.dumps(value).encode())


def with_tools(*tools: ir.Tool, **fields: Any) -> ir.Request:
    """A request with these tools, or with a function `f`."""
    return neutral(tools=[*tools] or [ir.Tool("f")], **fields)


def content(*blocks: ir.Block, **traits: Any) -> Any:
    """The content of a user's message of these blocks."""
    (item,) = sent(neutral(*blocks), **traits)
    return item["content"]


# -- the smallest ---------------------------------------------------------------------------


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


# -- messages -------------------------------------------------------------------------------


def test_system_texts_are_instructions() -> None:
    asks = neutral(system=[ir.Text("One"), ir.Text(""), ir.Text("Two")])

    assert body_of(asks)["instructions"] == "One\n\nTwo"


def test_later_system_text_stays_where_it_is() -> None:
    asks = neutral(
        messages=[
            ir.Message("user", [ir.Text("Hi")]),
            ir.Message("system", [ir.Text("Be brief")]),
            ir.Message("user", [ir.Text("So?")]),
        ]
    )

    assert [item["role"] for item in sent(asks)] == ["user", "system", "user"]


def test_turns_become_items_in_order() -> None:
    asks = conversation(
        [ir.Text("Hi")],
        [ir.Reasoning("Hm", OWN), ir.Text("Well"), CALL],
        [ir.Text("And?"), RESULT],
        tools=[ir.Tool("f")],
    )

    assert sent(asks) == [
        {"role": "user", "content": "Hi"},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm"}],
            "encrypted_content": "gAAA",
        },
        {"role": "assistant", "content": "Well"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"b": 1,"a":2}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "42"},
        {"role": "user", "content": "And?"},
    ]


def test_texts_in_a_row_are_parts_of_one_message() -> None:
    citation = ir.Citation("https://a.org", "A", None, 1, 3)
    said: list[ir.Block] = [
        ir.Text("One"),
        ir.Text("Two", citations=(citation,)),
        ir.Refusal("No."),
    ]

    message = sent(conversation([ir.Text("Hi")], said, [ir.Text("So?")]))[1]

    page = {
        "type": "url_citation",
        "url": "https://a.org",
        "title": "A",
        "start_index": 1,
        "end_index": 3,
    }
    assert message == {
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "One", "annotations": []},
            {"type": "output_text", "text": "Two", "annotations": [page]},
            {"type": "refusal", "refusal": "No."},
        ],
    }


def test_call_of_a_free_text_tool_stays_one() -> None:
    call = ir.ToolCall("c", "sh", "ls", custom=True)
    asks = conversation(
        [ir.Text("Hi")],
        [call],
        [ir.ToolResult("c", [ir.Text("a.txt")])],
        tools=[ir.Tool("sh", custom=True)],
    )

    assert sent(asks)[1:] == [
        {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "a.txt"},
    ]


def test_empty_texts_are_left_out() -> None:
    asks = conversation([ir.Text("Hi"), ir.Text("")], [ir.Text("")], [ir.Text("So?")])

    assert [item["content"] for item in sent(asks)] == ["Hi", "So?"]


def test_request_that_says_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        encode(neutral(ir.Text("")))


def test_call_without_result_gets_one_and_a_result_without_call_goes() -> None:
    asks = conversation(
        [ir.Text("Hi")],
        [CALL],
        [ir.ToolResult("other", [ir.Text("?")]), ir.Text("So?")],
        tools=[ir.Tool("f")],
    )

    assert sent(asks)[2:] == [
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": "Error: no result provided",
        },
        {"role": "user", "content": "So?"},
    ]


def test_ids_of_calls_have_64_characters_at_most_and_fit_their_results() -> None:
    long = "x" * 65
    call = ir.ToolCall(long, "f", "")
    asks = conversation(
        [ir.Text("Hi")], [call], [ir.ToolResult(long, [ir.Text("1")])], tools=[ir.Tool("f")]
    )

    _, called, output = sent(asks)
    assert called["call_id"] == output["call_id"]
    assert len(called["call_id"]) <= 64
    assert called["arguments"] == "{}"
    assert called == sent(asks)[1]


def test_id_of_64_characters_stays() -> None:
    call = ir.ToolCall("x" * 64, "f", "{}")
    asks = conversation([ir.Text("Hi")], [call], [ir.Text("So?")], tools=[ir.Tool("f")])

    assert sent(asks)[1]["call_id"] == "x" * 64


# -- reasoning ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    [None, ir.Signature("a", "sig"), ir.Signature("g", "sig"), ir.Signature("o"), ir.Signature("")],
)
def test_reasoning_that_openai_cannot_read_is_left_out(signature: ir.Signature | None) -> None:
    asks = conversation([ir.Text("Hi")], [ir.Reasoning("Hm", signature), ir.Text("Well")])

    assert sent(asks)[1:] == [{"role": "assistant", "content": "Well"}]


def test_thinking_itself_is_left_out_and_its_signature_stays() -> None:
    asks = conversation([ir.Text("Hi")], [ir.Reasoning("Hm", OWN, raw=True), ir.Text("Well")])

    assert sent(asks)[1] == {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}


def test_reasoning_that_nothing_follows_is_left_out() -> None:
    asks = conversation(
        [ir.Text("Hi")], [ir.Text("Well"), ir.Reasoning("Hm", OWN)], [ir.Text("So?")]
    )

    assert [item.get("content") for item in sent(asks)] == ["Hi", "Well", "So?"]


def test_signature_of_a_call_is_left_out() -> None:
    call = ir.ToolCall("c", "f", "{}", signature=ir.Signature("g", "sig"))
    asks = conversation([ir.Text("Hi")], [call], [ir.Text("So?")], tools=[ir.Tool("f")])

    assert "sig" not in encode(asks).body.decode()


# -- results and media ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (ir.ToolResult("call_1", []), ""),
        (ir.ToolResult("call_1", [ir.Text("a"), ir.Text("b")]), "a\nb"),
        (ir.ToolResult("call_1", [ir.Text("no file")], is_error=True), "Error: no file"),
        (ir.ToolResult("call_1", [ir.Text("error 5")], is_error=True), "error 5"),
        (ir.ToolResult("call_1", [], is_error=True), "Error:"),
        (ir.ToolResult("call_1", [ir.Media("document", "text/plain", text="T")]), "T"),
        (
            ir.ToolResult("call_1", [ir.Text("See"), PNG]),
            [
                {"type": "input_text", "text": "See"},
                {
                    "type": "input_image",
                    "detail": "auto",
                    "image_url": "data:image/png;base64,iVBORw0KGgo=",
                },
            ],
        ),
        (
            ir.ToolResult("call_1", [PDF], is_error=True),
            [
                {"type": "input_text", "text": "Error:"},
                {
                    "type": "input_file",
                    "filename": "a.pdf",
                    "file_data": "data:application/pdf;base64,AAAA",
                },
            ],
        ),
    ],
)
def test_result_is_a_string_unless_it_holds_media(result: ir.ToolResult, output: Any) -> None:
    asks = conversation([ir.Text("Hi")], [CALL], [result], tools=[ir.Tool("f")])

    assert sent(asks)[2]["output"] == output


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (
            ir.Media("image", url="https://a.org/b.png", detail="low"),
            {"type": "input_image", "image_url": "https://a.org/b.png", "detail": "low"},
        ),
        (
            ir.Media("image", url="https://a.org/b.png", detail="enormous"),
            {"type": "input_image", "image_url": "https://a.org/b.png", "detail": "auto"},
        ),
        (
            ir.Media("image", file_id="file-1", origin="o"),
            {"type": "input_image", "file_id": "file-1", "detail": "auto"},
        ),
        (
            ir.Media("document", "application/pdf", "AAAA"),
            {
                "type": "input_file",
                "filename": "document.pdf",
                "file_data": "data:application/pdf;base64,AAAA",
            },
        ),
        (
            ir.Media("document", "application/rtf", "AAAA"),
            {
                "type": "input_file",
                "filename": "document.rtf",
                "file_data": "data:application/rtf;base64,AAAA",
            },
        ),
        (
            ir.Media("document", url="https://a.org/a.pdf", name="a.pdf"),
            {"type": "input_file", "file_url": "https://a.org/a.pdf"},
        ),
        (
            ir.Media("document", file_id="file-1", origin="o"),
            {"type": "input_file", "file_id": "file-1"},
        ),
        (
            ir.Media("document", "text/plain", "SGk="),
            {"type": "input_text", "text": "Hi"},
        ),
        (
            ir.Media("audio", "audio/mpeg", "AAAA"),
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ),
    ],
)
def test_media_have_their_parts(media: ir.Media, part: dict[str, Any]) -> None:
    assert content(media) == [part]


@pytest.mark.parametrize(
    "media",
    [
        ir.Media("image", file_id="file-1", origin="a"),
        ir.Media("document", file_id="files/1", origin="g"),
        ir.Media("audio", "audio/ogg", "AAAA"),
        ir.Media("audio", url="https://a.org/a.mp3"),
        ir.Media("video", "video/mp4", "AAAA"),
    ],
)
def test_media_without_a_part_are_refused(media: ir.Media) -> None:
    with pytest.raises(UnsupportedFeature):
        encode(neutral(media))


def test_sound_from_a_tool_is_refused() -> None:
    result = ir.ToolResult("call_1", [ir.Media("audio", "audio/wav", "AAAA")])

    with pytest.raises(UnsupportedFeature, match="sound"):
        encode(conversation([ir.Text("Hi")], [CALL], [result], tools=[ir.Tool("f")]))


def test_media_that_a_model_has_made_are_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="made"):
        encode(conversation([ir.Text("Hi")], [PNG], [ir.Text("So?")]))


# -- tools ----------------------------------------------------------------------------------


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


# -- settings -------------------------------------------------------------------------------


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


# -- thinking -------------------------------------------------------------------------------


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


# -- the form of the answer -----------------------------------------------------------------


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


# -- prompt caches --------------------------------------------------------------------------

MARKED = ir.Text("Hi", ir.CacheMark())


@pytest.mark.parametrize(
    ("hints", "mark", "written"),
    [
        ("breakpoints", ir.CacheMark(), {"prompt_cache_breakpoint": {"mode": "explicit"}}),
        ("breakpoints", ir.CacheMark(1800), {"prompt_cache_breakpoint": {"mode": "explicit"}}),
        (
            "breakpoints",
            ir.CacheMark(3600),
            {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        ),
        ("cache_control", ir.CacheMark(300), {"cache_control": {"type": "ephemeral"}}),
        (
            "cache_control",
            ir.CacheMark(3600),
            {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ),
    ],
)
def test_mark_is_written_as_the_provider_takes_it(
    hints: str, mark: ir.CacheMark, written: dict[str, Any]
) -> None:
    text = {"type": "input_text", "text": "Hi"}

    assert content(ir.Text("Hi", mark), cache_hints=hints) == [text | written]


def test_marks_are_announced_where_there_is_no_way_to_write_them() -> None:
    encoded = encode(neutral(MARKED))

    assert encoded.dropped == ("cache",)
    assert json.loads(encoded.body)["input"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    "asks",
    [
        with_tools(ir.Tool("f", cache=ir.CacheMark())),
        conversation([ir.Text("Hi")], [MARKED], [ir.Text("So?")]),
        neutral(ir.Media("audio", "audio/wav", "AAAA", cache=ir.CacheMark())),
    ],
    ids=["a tool", "the assistant", "a sound"],
)
def test_marks_in_places_that_take_none_are_announced(asks: ir.Request) -> None:
    assert encode(asks, cache_hints="breakpoints").dropped == ("cache",)


def test_marked_system_texts_are_a_message_that_leads() -> None:
    asks = neutral(system=[MARKED, ir.Text("there")])

    body = body_of(asks, cache_hints="breakpoints")

    assert "instructions" not in body
    assert body["input"][0] == {
        "role": "developer",
        "content": [
            {
                "type": "input_text",
                "text": "Hi",
                "prompt_cache_breakpoint": {"mode": "explicit"},
            },
            {"type": "input_text", "text": "there"},
        ],
    }
    assert body_of(asks)["instructions"] == "Hi\n\nthere"
    assert encode(asks).dropped == ("cache",)


def test_result_that_is_marked_is_a_list() -> None:
    result = ir.ToolResult("call_1", [ir.Text("42")], cache=ir.CacheMark())
    asks = conversation([ir.Text("Hi")], [CALL], [result], tools=[ir.Tool("f")])

    output = sent(asks, cache_hints="breakpoints")[2]["output"]

    assert output == [
        {"type": "input_text", "text": "42", "prompt_cache_breakpoint": {"mode": "explicit"}}
    ]
    assert sent(asks)[2]["output"] == "42"


def test_last_four_marks_are_kept() -> None:
    blocks = [ir.Text(str(number), ir.CacheMark()) for number in range(6)]

    parts = content(*blocks, cache_hints="breakpoints")

    assert ["prompt_cache_breakpoint" in part for part in parts] == [False] * 2 + [True] * 4


@pytest.mark.parametrize("last", [ir.Text("Bye"), ir.Text("Bye", ir.CacheMark())])
def test_mark_on_the_whole_is_one_on_its_end(last: ir.Text) -> None:
    asks = neutral(MARKED, MARKED, MARKED, last, cache=ir.CacheMark())

    (item,) = sent(asks, cache_hints="cache_control")

    assert ["cache_control" in part for part in item["content"]] == [True] * 4
    assert encode(asks).dropped == ("cache",)


def test_mark_on_the_whole_is_announced_where_there_is_no_place_for_it() -> None:
    asks = conversation([ir.Text("Hi")], [CALL], [RESULT], tools=[ir.Tool("f")])
    asks.cache = ir.CacheMark()

    assert encode(asks, cache_hints="breakpoints").dropped == ()
    assert encode(asks).dropped == ("cache",)
    asks.messages = [ir.Message("assistant", [ir.Text("Well")])]
    assert encode(asks, cache_hints="breakpoints").dropped == ("cache",)


def test_detail_of_a_document_is_kept() -> None:
    document = ir.Media("document", url="https://a.org/a.pdf", detail="low")

    assert content(document) == [
        {"type": "input_file", "file_url": "https://a.org/a.pdf", "detail": "low"}
    ]
