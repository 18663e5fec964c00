"""Whole answers, from a provider and to a client (protocols.md, 1.3, 2.5 and 2.7)."""

import json
from typing import Any

import pytest
from anthropic.types import Message

from bitrouter import ir
from bitrouter.errors import BadResponse
from bitrouter.protocols.continuity import seal
from tests.support.splits import WIRE
from tests.unit.protocols.anthropic.wire import TRANSLATOR, Body, answer, answered, reply

OWN = ir.Signature("a", "EqQB")
GOOGLES = ir.Signature("g", "c2ln")


def blocks_of(*blocks: Body) -> list[ir.Block]:
    return answer(*blocks).candidates[0].blocks


def finish_of(stop_reason: str | None, *blocks: Body, **fields: Any) -> ir.Finish:
    return answer(*blocks, stop_reason=stop_reason, **fields).candidates[0].finish


# -- from a provider --------------------------------------------------------------------------


def test_recorded_answer() -> None:
    assert TRANSLATOR.decode_answer((WIRE / "anthropic/message.json").read_bytes()) == ir.Answer(
        [ir.Candidate([ir.Text("Hi!")], ir.Finish("stop", raw="end_turn"))],
        usage=ir.Usage(35, 12, 7, 3),
        id="msg_1",
        model="claude-sonnet-4-5",
    )


def test_blocks_keep_their_order() -> None:
    assert blocks_of(
        {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "text", "text": "Look"},
        {"type": "text", "text": "here."},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"z": 1.5, "a": "ü"}},
        {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
    ) == [
        ir.Reasoning("hm", OWN),
        ir.Reasoning("", ir.Signature("a", "EmwK"), redacted=True),
        ir.Text("Look"),
        ir.Text("here."),
        ir.ToolCall("toolu_1", "f", '{"z":1.5,"a":"\\u00fc"}'),
        ir.ToolCall("toolu_2", "f", "{}"),
    ]


def test_unsigned_thinking_is_still_the_vendors() -> None:
    assert blocks_of({"type": "thinking", "thinking": "hm"}) == [
        ir.Reasoning("hm", ir.Signature("a"))
    ]


def test_what_the_vendors_own_tools_did_and_what_is_empty_is_passed_over() -> None:
    assert (
        blocks_of(
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "x"}]},
            {"type": "text", "text": ""},
            {"type": "text", "text": None},
            {"type": "from_the_future", "text": 5},
        )
        == []
    )


def test_citations_of_web_pages() -> None:
    page = {
        "type": "web_search_result_location",
        "url": "https://example.org/",
        "title": "Boxing",
        "cited_text": "1867",
        "encrypted_index": "Eo8=",
    }
    passage = {"type": "char_location", "cited_text": "x", "document_index": 0}

    assert blocks_of({"type": "text", "text": "In 1867.", "citations": [page, passage]}) == [
        ir.Text("In 1867.", citations=(ir.Citation("https://example.org/", "Boxing", "1867"),))
    ]


@pytest.mark.parametrize("call_id", [None, ""])
def test_call_without_an_id_gets_one_of_its_own(call_id: str | None) -> None:
    call: Body = {"type": "tool_use", "id": call_id, "name": "f", "input": {}}

    first, second = blocks_of(call, call)

    assert isinstance(first, ir.ToolCall)
    assert isinstance(second, ir.ToolCall)
    assert first.id.startswith("toolu_")
    assert first.id != second.id


@pytest.mark.parametrize(
    ("stop_reason", "expected"),
    [
        ("end_turn", ir.Finish("stop", "end_turn")),
        ("max_tokens", ir.Finish("length", "max_tokens")),
        ("model_context_window_exceeded", ir.Finish("context", "model_context_window_exceeded")),
        ("tool_use", ir.Finish("tool_calls", "tool_use")),
        ("pause_turn", ir.Finish("paused", "pause_turn")),
        ("refusal", ir.Finish("filtered", "refusal")),
        ("stop_sequence", ir.Finish("stop_sequence", "stop_sequence")),
        ("compaction", ir.Finish("other", "compaction")),
        (None, ir.Finish("stop")),
    ],
)
def test_stop_reason(stop_reason: str | None, expected: ir.Finish) -> None:
    assert finish_of(stop_reason) == expected


def test_stop_sequence_says_which() -> None:
    finish = finish_of("stop_sequence", stop_sequence="END")

    assert finish == ir.Finish("stop_sequence", "stop_sequence", sequence="END")


@pytest.mark.parametrize(
    ("details", "detail"),
    [
        ({"type": "refusal", "category": "bio", "explanation": "No recipes."}, "No recipes."),
        ({"type": "refusal", "category": "bio", "explanation": None}, "bio"),
        ({"type": "refusal", "category": None, "explanation": None}, None),
        (None, None),
        ("odd", None),
    ],
)
def test_refusal_may_say_why(details: Any, detail: str | None) -> None:
    assert finish_of("refusal", stop_details=details).detail == detail


@pytest.mark.parametrize("stop_reason", ["end_turn", None])
def test_calls_are_the_finish_whatever_a_server_says(stop_reason: str | None) -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}

    assert finish_of(stop_reason, call).reason == "tool_calls"
    assert finish_of("max_tokens", call).reason == "length"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "input_tokens": 5,
                "cache_creation_input_tokens": 10,
                "cache_read_input_tokens": 100,
                "output_tokens": 7,
                "output_tokens_details": {"thinking_tokens": 3},
            },
            ir.Usage(115, 7, 100, 10, 3),
        ),
        ({"input_tokens": 5, "output_tokens": 7}, ir.Usage(5, 7)),
        ({"output_tokens": 7, "cache_read_input_tokens": None}, ir.Usage(None, 7)),
        (None, None),
        ("odd", None),
        ({"input_tokens": "5"}, None),
    ],
)
def test_usage_from_a_provider(usage: Any, expected: ir.Usage | None) -> None:
    assert answer(usage=usage).usage == expected


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"null", b"[]", b"{}", b'"x"', b'{"content":5}', b'{"content":[5]}'),
        *(b'{"type":"error","error":{"type":"api_error","message":"m"}}', b'{"content":[{}]'),
        b'{"content":[{"type":"text","text":["a"]}]}',
        b'{"content":[{"type":"tool_use","id":"t"}]}',
        b'{"content":[{"type":"text","text":"\xff"}]}',
        b'{"content":[{"type":"tool_use","name":"f","input":' + b'{"a":' * 5000,
    ],
)
def test_what_is_no_message_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponse):
        TRANSLATOR.decode_answer(body)


# -- to a client ------------------------------------------------------------------------------


def content(*blocks: ir.Block, finish: ir.Finish | None = None) -> list[Body]:
    written: list[Body] = answered(*blocks, finish=finish)["content"]
    return written


def test_answer_is_a_message_of_the_model_that_was_asked_for() -> None:
    body = answered(ir.Text("Hi"), id="chatcmpl-1", model="gpt", usage=ir.Usage(3, 4))

    assert body == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "asked-for",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 4,
        },
    }
    Message.model_validate(body, strict=True)


def test_answer_without_blocks_is_legal() -> None:
    assert content() == []
    assert content(ir.Text(""), ir.Refusal(""), ir.Reasoning("")) == []


def test_refusal_is_text() -> None:
    assert content(ir.Refusal("No.")) == [{"type": "text", "text": "No."}]


def test_own_thinking_is_as_it_was_and_all_other_is_sealed() -> None:
    assert content(
        ir.Reasoning("own", OWN),
        ir.Reasoning("", ir.Signature("a", "EmwK"), redacted=True),
        ir.Reasoning("Google's", GOOGLES),
        ir.Reasoning("", ir.Signature("o", "enc", "rs_1")),
        ir.Reasoning("", GOOGLES, redacted=True),
        ir.Reasoning("nobody's"),
        ir.Reasoning("unsigned", ir.Signature("a")),
    ) == [
        {"type": "thinking", "thinking": "own", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "thinking", "thinking": "Google's", "signature": seal(GOOGLES)},
        {
            "type": "thinking",
            "thinking": "",
            "signature": seal(ir.Signature("o", "enc", "rs_1")),
        },
        {"type": "redacted_thinking", "data": seal(GOOGLES)},
        {"type": "thinking", "thinking": "nobody's", "signature": seal(ir.Signature("o"))},
        {"type": "thinking", "thinking": "unsigned", "signature": seal(ir.Signature("a"))},
    ]


def test_calls_signature_stands_in_thinking_before_it() -> None:
    finish = ir.Finish("tool_calls")

    assert content(ir.ToolCall("t1", "f", "{}", signature=GOOGLES), finish=finish) == [
        {"type": "thinking", "thinking": "", "signature": seal(GOOGLES)},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    ]


def test_citations_stand_at_their_text() -> None:
    citation = ir.Citation("https://example.org/", "T", "1867", 0, 5)

    assert content(ir.Text("x", citations=(citation, ir.Citation("https://b.org/")))) == [
        {
            "type": "text",
            "text": "x",
            "citations": [
                {
                    "type": "web_search_result_location",
                    "url": "https://example.org/",
                    "title": "T",
                    "cited_text": "1867",
                    "encrypted_index": "",
                },
                {
                    "type": "web_search_result_location",
                    "url": "https://b.org/",
                    "title": None,
                    "cited_text": "",
                    "encrypted_index": "",
                },
            ],
        }
    ]


def test_arguments_become_the_input_as_they_were_written() -> None:
    call = ir.ToolCall("t1", "f", '{"z": 1.50,"a":12345678901234567890123}')
    candidate = ir.Candidate([call], ir.Finish("tool_calls"))

    written = TRANSLATOR.encode_answer(ir.Answer([candidate]), reply())

    assert b'"input":{"z": 1.50,"a":12345678901234567890123}' in written


@pytest.mark.parametrize("reason", ["length", "context"])
@pytest.mark.parametrize("arguments", ['{"a":', '{"a":1', '{"a"'])
def test_half_written_call_is_left_out(reason: ir.FinishReason, arguments: str) -> None:
    whole, half = ir.ToolCall("t1", "f", '{"a":1}'), ir.ToolCall("t2", "f", arguments)

    body = answered(ir.Text("so"), whole, half, finish=ir.Finish(reason))

    assert [block["type"] for block in body["content"]] == ["text", "tool_use"]
    assert body["content"][1]["id"] == "t1"
    assert body["stop_reason"] in ("max_tokens", "model_context_window_exceeded")


def test_call_that_the_model_wrote_wrongly_is_handed_on() -> None:
    finish = ir.Finish("tool_calls")

    [block] = content(ir.ToolCall("t1", "f", "{a: 1}"), finish=finish)

    assert block["input"] == {"arguments": "{a: 1}"}


@pytest.mark.parametrize("arguments", ["", " "])
def test_call_without_arguments_has_an_empty_input(arguments: str) -> None:
    [block] = content(ir.ToolCall("t1", "f", arguments), finish=ir.Finish("tool_calls"))

    assert block["input"] == {}


@pytest.mark.parametrize(
    ("finish", "stop_reason", "stop_sequence"),
    [
        (ir.Finish("stop"), "end_turn", None),
        (ir.Finish("stop_sequence", sequence="END"), "stop_sequence", "END"),
        (ir.Finish("stop_sequence"), "end_turn", None),
        (ir.Finish("length"), "max_tokens", None),
        (ir.Finish("context"), "model_context_window_exceeded", None),
        (ir.Finish("filtered"), "refusal", None),
        (ir.Finish("paused"), "pause_turn", None),
        (ir.Finish("other", raw="MALFORMED_FUNCTION_CALL"), "end_turn", None),
    ],
)
def test_finish(finish: ir.Finish, stop_reason: str, stop_sequence: str | None) -> None:
    body = answered(ir.Text("x"), finish=finish)

    assert (body["stop_reason"], body["stop_sequence"]) == (stop_reason, stop_sequence)
    assert "stop_details" not in body
    Message.model_validate(body, strict=True)


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_finish_with_calls(reason: ir.FinishReason) -> None:
    body = answered(ir.ToolCall("t", "f", "{}"), finish=ir.Finish(reason))

    assert body["stop_reason"] == "tool_use"


def test_refusal_says_why() -> None:
    body = answered(finish=ir.Finish("filtered", detail="No recipes."))

    assert body["stop_details"] == {
        "type": "refusal",
        "category": None,
        "explanation": "No recipes.",
    }
    Message.model_validate(body, strict=True)


@pytest.mark.parametrize(
    ("usage", "written"),
    [
        (ir.Usage(115, 7, 100, 10), (5, 10, 100, 7)),
        (ir.Usage(100, 7, 100, 10), (0, 10, 100, 7)),
        (ir.Usage(5, 7), (5, 0, 0, 7)),
        (ir.Usage(None, 7), (0, 0, 0, 7)),
        (None, (0, 0, 0, 0)),
    ],
)
def test_usage_to_a_client(usage: ir.Usage | None, written: tuple[int, ...]) -> None:
    fields = answered(usage=usage)["usage"]

    assert "output_tokens_details" not in fields
    assert written == tuple(
        fields[name]
        for name in (
            *("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
            "output_tokens",
        )
    )


def test_usage_tells_what_thinking_took_where_that_is_known() -> None:
    fields = answered(usage=ir.Usage(5, 7, reasoning_tokens=3))["usage"]

    assert fields["output_tokens_details"] == {"thinking_tokens": 3}


def test_only_the_first_candidate_is_an_answer() -> None:
    one = ir.Candidate([ir.Text("one")], ir.Finish("stop"))
    two = ir.Candidate([ir.Text("two")], ir.Finish("length"), 1)

    body = json.loads(TRANSLATOR.encode_answer(ir.Answer([one, two]), reply()))

    assert body["content"] == [{"type": "text", "text": "one"}]
