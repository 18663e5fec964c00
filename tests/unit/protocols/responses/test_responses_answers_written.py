"""A whole answer as a Responses client gets it, from a provider of any vendor."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from bitrouter import ir
from bitrouter.protocols.continuity import seal, unseal
from tests.unit.protocols.responses.responseswire import (
    CREATED_S,
    RESPONSES,
    answer_with,
    answered,
    asked,
    reply,
    request,
)

CALL = ir.ToolCall("call_1", "f", '{"b": 1,"a":2}')


def output(*blocks: ir.Block, finish: ir.FinishReason = "stop", **members: Any) -> list[Any]:
    """The items of an answer of these blocks, to a client that sent these members."""
    items: list[Any] = answered(answer_with(*blocks, finish=finish), **members)["output"]
    return items


# -- the response object --------------------------------------------------------------------


def test_answer_is_complete() -> None:
    assert answered(answer_with(ir.Text("Hi"), usage=ir.Usage(3, 4), id="up", model="up-1")) == {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED_S,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "asked-model",
        "previous_response_id": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "user": None,
        "output": [
            {
                "id": "msg_2",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
                ],
            }
        ],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
    }


SAID = {
    "instructions": "Be brief",
    "max_output_tokens": 100,
    "metadata": {"a": "b"},
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low"},
    "store": True,
    "temperature": 0.5,
    "text": {"format": {"type": "json_object"}},
    "tool_choice": "required",
    "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
    "top_p": 0.9,
    "truncation": "auto",
    "user": "u",
    "max_tool_calls": 3,
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "service_tier": "flex",
    "top_logprobs": 2,
}


def test_members_of_the_request_are_repeated() -> None:
    body = answered(answer_with(ir.Text("Hi")), **SAID)

    assert {name: body[name] for name in SAID} == SAID


def test_members_that_were_null_have_what_is_true_without_them() -> None:
    assert answered(answer_with(), **dict.fromkeys(SAID)) == answered(answer_with())


@pytest.mark.parametrize(
    ("usage", "written"),
    [
        (None, None),
        (ir.Usage(), None),
        (
            ir.Usage(10, 5, 4, 2, 3),
            {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": 15,
            },
        ),
    ],
)
def test_usage_has_both_details_or_is_null(usage: ir.Usage | None, written: Any) -> None:
    assert answered(answer_with(ir.Text("Hi"), usage=usage))["usage"] == written


# -- items ----------------------------------------------------------------------------------


def test_texts_in_a_row_are_one_message_and_all_else_an_item_each() -> None:
    items = output(
        ir.Reasoning("One"),
        ir.Reasoning("Two"),
        ir.Text("a"),
        ir.Text("b"),
        CALL,
        ir.ToolCall("c2", "sh", "ls", custom=True),
        ir.Text("c"),
        ir.Refusal("No."),
        finish="tool_calls",
    )

    assert [item["type"] for item in items] == [
        *("reasoning", "reasoning", "message", "function_call", "custom_tool_call", "message")
    ]
    assert [part["type"] for part in items[5]["content"]] == ["output_text", "refusal"]
    assert len({item["id"] for item in items}) == 6
    assert items[3] == {
        "id": "fc_5",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "f",
        "arguments": '{"b": 1,"a":2}',
    }
    assert items[4] == {
        "id": "ctc_6",
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "c2",
        "name": "sh",
        "input": "ls",
    }


@pytest.mark.parametrize(
    "block",
    [ir.Text(""), ir.Refusal(""), ir.Reasoning(""), ir.Media("image", "image/png", "AAAA")],
)
def test_what_says_nothing_and_what_cannot_be_said_is_no_item(block: ir.Block) -> None:
    assert [item["type"] for item in output(block, ir.Text("Hi"))] == ["message"]


def test_call_without_arguments_is_one_of_an_empty_object() -> None:
    (item,) = output(ir.ToolCall("c", "f", ""), finish="tool_calls")

    assert item["arguments"] == "{}"


def test_web_page_has_all_its_members() -> None:
    citations = (ir.Citation("https://a.org", "A", "quoted", 1, 3), ir.Citation("https://b.org"))

    (item,) = output(ir.Text("Hi", citations=citations))

    assert item["content"][0]["annotations"] == [
        {
            "type": "url_citation",
            "url": "https://a.org",
            "title": "A",
            "start_index": 1,
            "end_index": 3,
        },
        {
            "type": "url_citation",
            "url": "https://b.org",
            "title": "https://b.org",
            "start_index": 0,
            "end_index": 0,
        },
    ]


def test_probabilities_are_on_the_text() -> None:
    logprobs = (ir.LogProb("ü", -0.5, top=(ir.LogProb("u", -1.0, (117,)),)),)
    answer = ir.Answer([ir.Candidate([ir.Text("ü")], ir.Finish("stop"), 0, logprobs)])

    (item,) = answered(answer)["output"]

    assert item["content"][0]["logprobs"] == [
        {
            "token": "ü",
            "logprob": -0.5,
            "bytes": [195, 188],
            "top_logprobs": [{"token": "u", "logprob": -1.0, "bytes": [117]}],
        }
    ]


# -- reasoning ------------------------------------------------------------------------------


def test_summary_and_thinking_itself_have_their_own_places() -> None:
    summary, thought = output(ir.Reasoning("In short"), ir.Reasoning("At length", raw=True))

    assert summary["summary"] == [{"type": "summary_text", "text": "In short"}]
    assert "content" not in summary
    assert thought["summary"] == []
    assert thought["content"] == [{"type": "reasoning_text", "text": "At length"}]


@pytest.mark.parametrize(
    ("signature", "carried"),
    [
        (ir.Signature("o", "gAAA", "rs_9"), "gAAA"),
        (ir.Signature("a", "sig"), seal(ir.Signature("a", "sig"))),
        (ir.Signature("g", "sig"), seal(ir.Signature("g", "sig"))),
        (ir.Signature("o"), seal(ir.Signature("o"))),
        (None, seal(ir.Signature(""))),
    ],
)
def test_signature_is_native_for_openai_and_else_in_an_envelope(
    signature: ir.Signature | None, carried: str
) -> None:
    (item,) = output(ir.Reasoning("Hm", signature))

    assert item["encrypted_content"] == carried


@pytest.mark.parametrize(
    "block",
    [
        ir.Reasoning("Hm", ir.Signature("a", "sig")),
        ir.Reasoning("Hm", ir.Signature("o", "gAAA")),
        ir.Reasoning("Hm", raw=True),
        ir.Reasoning("Hm"),
        ir.Reasoning("", ir.Signature("a", "data"), redacted=True),
        ir.Reasoning("", ir.Signature("a", "sig")),
        ir.ToolCall("c", "f", "{}", signature=ir.Signature("g", "sig")),
        ir.ToolCall("c", "sh", "ls", custom=True, signature=ir.Signature("g", "sig")),
        ir.ToolCall("c", "f", "{}"),
        ir.Text("Hi", citations=(ir.Citation("https://a.org", "A", None, 0, 2),)),
        ir.Refusal("No."),
    ],
)
@pytest.mark.parametrize("before", [[], [ir.Text("First")]])
def test_what_a_client_replays_is_what_was_said(block: ir.Block, before: list[ir.Block]) -> None:
    items = output(*before, block, finish="tool_calls")

    (turn,) = asked(input=items).messages

    (said,) = turn.blocks[len(before) :]
    if isinstance(said, ir.Reasoning) and said.signature and said.signature.origin == "o":
        said.signature = ir.Signature("o", said.signature.value)  # ours has its item's id
    assert said == block


def test_signature_of_a_call_stands_before_it() -> None:
    carrier, call = output(
        ir.ToolCall("c", "f", "{}", signature=ir.Signature("g", "sig")), finish="tool_calls"
    )

    assert carrier["type"] == "reasoning"
    assert carrier["summary"] == []
    assert unseal(carrier["encrypted_content"]) == ir.Signature("g", "sig")
    assert call["type"] == "function_call"


# -- namespaces -----------------------------------------------------------------------------

SPACE = {"type": "namespace", "name": "mail", "tools": [{"type": "function", "name": "send"}]}


@pytest.mark.parametrize(
    "members",
    [
        {"tools": [SPACE]},
        {"input": [{"type": "additional_tools", "role": "developer", "tools": [SPACE]}]},
    ],
    ids=["declared", "later"],
)
def test_call_of_a_tool_in_a_namespace_has_both_names(members: dict[str, Any]) -> None:
    (item,) = output(ir.ToolCall("c", "mail__send", "{}"), finish="tool_calls", **members)

    assert (item["namespace"], item["name"]) == ("mail", "send")


def test_tool_that_is_called_like_one_in_a_namespace_is_meant_first() -> None:
    tools = [SPACE, {"type": "function", "name": "mail__send"}]

    (item,) = output(ir.ToolCall("c", "mail__send", "{}"), finish="tool_calls", tools=tools)

    assert item["name"] == "mail__send"
    assert "namespace" not in item


# -- how it ended ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blocks", "finish", "status", "incomplete"),
    [
        ([ir.Text("Hi")], "stop", "completed", None),
        ([ir.Text("Hi")], "stop_sequence", "completed", None),
        ([ir.Text("Hi")], "paused", "completed", None),
        ([ir.Text("Hi")], "other", "completed", None),
        ([CALL], "tool_calls", "completed", None),
        ([ir.Text("Hi")], "length", "incomplete", "max_output_tokens"),
        ([ir.Text("Hi")], "context", "incomplete", "max_output_tokens"),
        ([CALL], "length", "incomplete", "max_output_tokens"),
        ([], "filtered", "incomplete", "content_filter"),
        ([ir.Text("Hi")], "filtered", "incomplete", "content_filter"),
        ([ir.Refusal("No.")], "filtered", "completed", None),
        ([], "stop", "completed", None),
    ],
)
def test_finish_is_a_status(
    blocks: list[ir.Block], finish: ir.FinishReason, status: str, incomplete: str | None
) -> None:
    body = answered(answer_with(*blocks, finish=finish))

    assert body["status"] == status
    assert body["error"] is None
    assert body["incomplete_details"] == ({"reason": incomplete} if incomplete else None)


def test_message_that_was_cut_is_incomplete() -> None:
    first, _, last = output(ir.Text("a"), CALL, ir.Text("b"), finish="length")

    assert (first["status"], last["status"]) == ("completed", "incomplete")


@pytest.mark.parametrize("candidates", [[], [ir.Candidate([], ir.Finish("other", "MALFORMED"))]])
def test_answer_that_went_wrong_and_says_nothing_has_failed(candidates: list[ir.Candidate]) -> None:
    body = answered(ir.Answer(candidates))

    assert body["status"] == "failed"
    assert body["error"]["code"] == "server_error"
    assert body["error"]["message"]
    Response.model_validate(body)


def test_only_the_first_of_several_answers_is_told() -> None:
    second = ir.Candidate([ir.Text("b")], ir.Finish("stop"), 1)
    answer = answer_with(ir.Text("a"))
    answer.candidates.append(second)

    assert len(answered(answer)["output"]) == 1


def test_members_may_be_written_on_many_lines() -> None:

    body = json.dumps({"model": "m", "input": "Hi", "metadata": {"a": "b\n"}}, indent=2).encode()
    pretty = msgspec.structs.replace(reply(), request=request(body))

    written = RESPONSES.encode_answer(answer_with(ir.Text("Hi")), pretty)

    assert b"\n" not in written
    assert json.loads(written)["metadata"] == {"a": "b\n"}
