"""The items of a Responses client's request in the neutral form."""

import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.continuity import seal
from tests.unit.protocols.responses.requestparts import CALL, DATA, OUTPUT, refused
from tests.unit.protocols.responses.responseswire import RESPONSES, asked, request, turns

THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}


USER = ir.Message("user", [ir.Text("Hi")])


def said(*parts: dict[str, Any]) -> list[ir.Block]:
    """What the parts of a user's message mean."""
    (turn,) = turns({"role": "user", "content": [*parts]})
    return turn.blocks


# -- messages ---------------------------------------------------------------------------------


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


# -- media ------------------------------------------------------------------------------------


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


# -- reasoning --------------------------------------------------------------------------------


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


# -- items that have no neutral form ----------------------------------------------------------


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
