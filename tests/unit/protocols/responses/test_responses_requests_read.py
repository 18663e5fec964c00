"""What a Responses client's request means, member by member."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.continuity import seal
from tests.unit.protocols.responses.responseswire import RESPONSES, asked, request, turns

DATA = "data:image/png;base64,iVBORw0KGgo="
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"b": 1,"a":2}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}
USER = ir.Message("user", [ir.Text("Hi")])


def said(*parts: dict[str, Any]) -> list[ir.Block]:
    """What the parts of a user's message mean."""
    (turn,) = turns({"role": "user", "content": [*parts]})
    return turn.blocks


def refused(**members: Any) -> str:
    """What a client is told of a request with these members."""
    with pytest.raises(InvalidRequest) as caught:
        asked(**members)
    return caught.value.detail


def tool(**members: Any) -> ir.Tool:
    """What a function with these members means."""
    (found,) = asked(tools=[{"type": "function", "name": "f"} | members]).tools
    return found


# -- messages -------------------------------------------------------------------------------


def test_input_that_is_a_string_is_a_users_turn() -> None:
    assert asked(input="Hi").messages == [USER]


@pytest.mark.parametrize("kind", [{}, {"type": "message"}, {"type": None}])
@pytest.mark.parametrize(
    "content",
    ["Hi", [{"type": "input_text", "text": "Hi"}], [{"type": "text", "text": "Hi"}]],
)
def test_message_needs_no_type(kind: dict[str, Any], content: Any) -> None:
    assert turns({"role": "user", "content": content, **kind}) == [USER]


def test_instructions_lead_and_system_and_developer_messages_follow() -> None:
    asks = asked(
        instructions="One",
        input=[
            {"role": "system", "content": "Two"},
            {"role": "developer", "content": [{"type": "input_text", "text": "Three"}]},
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": "Later"},
        ],
    )

    assert asks.system == [ir.Text("One"), ir.Text("Two"), ir.Text("Three")]
    assert asks.messages == [USER, ir.Message("system", [ir.Text("Later")])]


def test_empty_instructions_are_none() -> None:
    assert asked(instructions="").system == []
    assert asked(instructions=None, input=[{"role": "system", "content": ""}]).system == []


def test_what_the_assistant_said_is_one_turn() -> None:
    found = turns(
        {"role": "user", "content": "Hi"},
        THOUGHT | {"summary": [{"type": "summary_text", "text": "Hm"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Well"}], "id": "msg_1"},
        {"role": "assistant", "content": "so"},
        CALL,
        CALL | {"call_id": "call_2"},
        OUTPUT,
        OUTPUT | {"call_id": "call_2", "output": "43"},
        {"role": "user", "content": "And?"},
    )

    assert found == [
        USER,
        ir.Message(
            "assistant",
            [
                ir.Reasoning("Hm"),
                ir.Text("Well"),
                ir.Text("so"),
                ir.ToolCall("call_1", "f", '{"b": 1,"a":2}'),
                ir.ToolCall("call_2", "f", '{"b": 1,"a":2}'),
            ],
        ),
        ir.Message(
            "user",
            [ir.ToolResult("call_1", [ir.Text("42")]), ir.ToolResult("call_2", [ir.Text("43")])],
        ),
        ir.Message("user", [ir.Text("And?")]),
    ]


def test_refusal_and_citations_of_the_assistant_are_kept() -> None:
    page = {
        "type": "url_citation",
        "url": "https://a.org",
        "title": "A",
        "start_index": 1,
        "end_index": 3,
    }
    text = {"type": "output_text", "text": "Well", "annotations": [page], "logprobs": []}
    refusal = {"type": "refusal", "refusal": "No."}

    (turn,) = turns({"role": "assistant", "content": [text, refusal]})

    citation = ir.Citation("https://a.org", "A", None, 1, 3)
    assert turn.blocks == [ir.Text("Well", citations=(citation,)), ir.Refusal("No.")]


def test_arguments_stay_as_they_were_written() -> None:
    (turn,) = turns(CALL | {"arguments": '{ "z":1, "a": "\\u00fc" }'})

    assert turn.blocks == [ir.ToolCall("call_1", "f", '{ "z":1, "a": "\\u00fc" }')]


@pytest.mark.parametrize("arguments", ["", None])
def test_no_arguments_are_an_empty_object(arguments: str | None) -> None:
    (turn,) = turns(CALL | {"arguments": arguments})

    assert turn.blocks == [ir.ToolCall("call_1", "f", "{}")]


def test_arguments_that_are_an_object_are_its_text() -> None:
    (turn,) = turns(CALL | {"arguments": {"a": 1}})

    assert turn.blocks == [ir.ToolCall("call_1", "f", '{"a":1}')]


def test_call_of_a_free_text_tool_is_custom() -> None:
    found = turns(
        {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls\n"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "a.txt"},
    )

    assert found[0].blocks == [ir.ToolCall("c", "sh", "ls\n", custom=True)]
    assert found[1].blocks == [ir.ToolResult("c", [ir.Text("a.txt")])]


def test_output_of_a_call_may_hold_media() -> None:
    parts = [{"type": "input_text", "text": "See"}, {"type": "input_image", "image_url": DATA}]

    (turn,) = turns(OUTPUT | {"output": parts})

    image = ir.Media("image", "image/png", "iVBORw0KGgo=")
    assert turn.blocks == [ir.ToolResult("call_1", [ir.Text("See"), image])]


# -- media ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "input_image", "image_url": DATA, "detail": "low"},
            ir.Media("image", "image/png", "iVBORw0KGgo=", detail="low"),
        ),
        (
            {"type": "input_image", "image_url": "https://a.org/b.png"},
            ir.Media("image", url="https://a.org/b.png"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://a.org/b.png", "detail": "high"}},
            ir.Media("image", url="https://a.org/b.png", detail="high"),
        ),
        (
            {"type": "input_image", "file_id": "file-1"},
            ir.Media("image", file_id="file-1", origin="o"),
        ),
        (
            {
                "type": "input_file",
                "file_data": "data:application/pdf;base64,AAAA",
                "filename": "a.pdf",
            },
            ir.Media("document", "application/pdf", "AAAA", name="a.pdf"),
        ),
        (
            {"type": "input_file", "file_data": "AAAA", "filename": "a.docx"},
            ir.Media(
                "document",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "AAAA",
                name="a.docx",
            ),
        ),
        (
            {"type": "input_file", "file_data": "AAAA"},
            ir.Media("document", "application/pdf", "AAAA"),
        ),
        (
            {"type": "input_file", "file_url": "https://a.org/a.pdf"},
            ir.Media("document", url="https://a.org/a.pdf"),
        ),
        (
            {"type": "input_file", "file_id": "file-1"},
            ir.Media("document", file_id="file-1", origin="o"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            ir.Media("audio", "audio/mp3", "AAAA"),
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
def test_media_are_given_in_one_way(part: dict[str, Any], expected: ir.Media) -> None:
    assert said(part) == [expected]


@pytest.mark.parametrize(
    ("mark", "ttl_s"),
    [
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, None),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, 1800),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, 43_200),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, 3600),
    ],
)
def test_cache_marks_stay_on_their_parts(mark: dict[str, Any], ttl_s: int | None) -> None:
    text = {"type": "input_text", "text": "Hi", **mark}
    image = {"type": "input_image", "image_url": "https://a.org/b.png", **mark}

    cache = ir.CacheMark(ttl_s)
    assert said(text, image) == [
        ir.Text("Hi", cache),
        ir.Media("image", url="https://a.org/b.png", cache=cache),
    ]


# -- reasoning ------------------------------------------------------------------------------


def test_reasoning_of_openais_own_goes_to_openai_alone() -> None:
    summary = [{"type": "summary_text", "text": "One"}, {"type": "summary_text", "text": "Two"}]

    (turn,) = turns(THOUGHT | {"summary": summary, "encrypted_content": "gAAA"}, CALL)

    assert turn.blocks[0] == ir.Reasoning("One\n\nTwo", ir.Signature("o", "gAAA", "rs_1"))


@pytest.mark.parametrize("origin", ["a", "g", "o"])
def test_reasoning_of_another_vendor_is_taken_from_its_envelope(origin: str) -> None:
    signature = ir.Signature(origin, "sig", "id")
    summary = [{"type": "summary_text", "text": "Hm"}]

    (turn,) = turns(THOUGHT | {"summary": summary, "encrypted_content": seal(signature)}, CALL)

    assert turn.blocks[0] == ir.Reasoning("Hm", signature)


def test_redacted_reasoning_is_known_again() -> None:
    signature = ir.Signature("a", "sig")

    (turn,) = turns(THOUGHT | {"encrypted_content": seal(signature, redacted=True)}, CALL)

    assert turn.blocks[0] == ir.Reasoning("", signature, redacted=True)


def test_reasoning_that_nobody_signed_stays_unsigned() -> None:
    summary = [{"type": "summary_text", "text": "Hm"}]
    item = THOUGHT | {"summary": summary}

    for one in (item, item | {"encrypted_content": seal(ir.Signature(""))}):
        (turn,) = turns(one, CALL)
        assert turn.blocks[0] == ir.Reasoning("Hm")


def test_damaged_envelope_vouches_for_nothing() -> None:
    (turn,) = turns(THOUGHT | {"encrypted_content": "Br1~a.???"}, CALL)

    assert turn.blocks == [ir.ToolCall("call_1", "f", '{"b": 1,"a":2}')]


def test_thinking_itself_is_raw_and_the_signature_is_on_the_last() -> None:
    item = THOUGHT | {
        "summary": [{"type": "summary_text", "text": "In short"}],
        "content": [{"type": "reasoning_text", "text": "At length"}],
        "encrypted_content": "gAAA",
    }

    (turn,) = turns(item)

    signature = ir.Signature("o", "gAAA", "rs_1")
    assert turn.blocks == [
        ir.Reasoning("In short"),
        ir.Reasoning("At length", signature, raw=True),
    ]


def test_signature_of_a_call_is_carried_by_the_reasoning_before_it() -> None:
    carrier = THOUGHT | {"encrypted_content": seal(ir.Signature("g", "sig"))}

    (turn,) = turns(
        carrier, CALL, carrier, {"type": "custom_tool_call", "call_id": "c", "name": "s"}
    )

    signature = ir.Signature("g", "sig")
    assert turn.blocks == [
        ir.ToolCall("call_1", "f", '{"b": 1,"a":2}', signature=signature),
        ir.ToolCall("c", "s", "", custom=True, signature=signature),
    ]


@pytest.mark.parametrize("origin", ["a", "o"])
def test_signature_of_a_vendor_that_signs_no_calls_stays_with_its_reasoning(origin: str) -> None:
    carrier = THOUGHT | {"encrypted_content": seal(ir.Signature(origin, "sig"))}

    (turn,) = turns(carrier, CALL)

    assert turn.blocks[0] == ir.Reasoning("", ir.Signature(origin, "sig"))


def test_reasoning_with_text_is_no_carrier() -> None:
    summary = [{"type": "summary_text", "text": "Hm"}]
    item = THOUGHT | {"summary": summary, "encrypted_content": seal(ir.Signature("g", "sig"))}

    (turn,) = turns(item, CALL)

    assert turn.blocks[0] == ir.Reasoning("Hm", ir.Signature("g", "sig"))


# -- items that have no neutral form --------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search"},
        },
        {"type": "file_search_call", "id": "fs_1", "queries": ["a"], "results": None},
        {"type": "computer_call", "call_id": "c", "action": {"type": "click"}},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "", "stderr": ""}]},
        {"type": "mcp_list_tools", "tools": [{"name": "f", "input_schema": {}}]},
        {"type": "tool_search_call", "arguments": {"query": "weather"}},
        {"type": "something_new"},
    ],
    ids=lambda item: item["type"],
)
def test_items_of_a_vendors_own_tools_are_dropped_and_announced(item: dict[str, Any]) -> None:
    asks = asked(input=[{"role": "user", "content": "Hi"}, item])

    assert asks.messages == [USER]
    assert asks.dropped == ["input"]


def test_phase_of_a_message_is_announced() -> None:
    asks = asked(input=[{"role": "assistant", "content": "Hm", "phase": "commentary"}])

    assert asks.dropped == ["phase"]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "rs_1"},
        {"type": "compaction", "encrypted_content": "gAAA"},
        {"type": "compaction_trigger"},
    ],
    ids=lambda item: item["type"],
)
def test_items_that_only_their_provider_can_read_are_refused(item: dict[str, Any]) -> None:
    assert refused(input=[{"role": "user", "content": "Hi"}, item]).startswith("input[1]: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("conversation", {"id": "conv_1"}),
        ("prompt", {"id": "pmpt_1"}),
        ("background", True),
    ],
)
def test_state_that_lies_at_another_provider_is_refused(name: str, value: Any) -> None:
    assert refused(**{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt", "background"])
def test_no_state_is_no_state(name: str) -> None:
    assert asked(**{name: None}).messages == [USER]


def test_prompt_in_the_place_of_an_input_is_refused() -> None:
    raw = json.dumps({"model": "m", "prompt": {"id": "pmpt_1"}}).encode()

    with pytest.raises(InvalidRequest, match=r"^prompt: "):
        RESPONSES.decode_request(request(raw))


def test_input_is_required() -> None:
    raw = json.dumps({"model": "m", "prompt": None, "previous_response_id": None}).encode()

    with pytest.raises(InvalidRequest, match="input is required"):
        RESPONSES.decode_request(request(raw))


# -- tools ----------------------------------------------------------------------------------


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


# -- settings -------------------------------------------------------------------------------


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


# -- what is wrong --------------------------------------------------------------------------


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
