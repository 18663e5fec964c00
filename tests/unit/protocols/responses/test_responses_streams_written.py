"""A stream as a Responses client gets it: every event, in the order that clients insist on."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from bitrouter import ir
from bitrouter.errors import BadResponse, Rejected, StreamFailed
from bitrouter.protocols.continuity import seal
from tests.support.neutral import neutral_events
from tests.unit.protocols.responses.responseswire import (
    RESPONSES,
    data_of,
    reply,
    request,
    written,
)

STREAMED: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
START = ir.Start("up", "up-1")
STOP: list[ir.Event] = [ir.Finished(ir.Finish("stop")), ir.End(ir.Usage(3, 4))]
CALLED: list[ir.Event] = [ir.Finished(ir.Finish("tool_calls")), ir.End()]


def text(*pieces: str, index: int = 0) -> list[ir.Event]:
    """A text that comes in these pieces."""
    return [
        ir.BlockStart(index, "text"),
        *(ir.Delta(index, one) for one in pieces),
        ir.BlockEnd(index),
    ]


def text_part(text: str) -> dict[str, Any]:
    """A text as a part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def events(*told: ir.Event, **members: Any) -> list[dict[str, Any]]:
    """What a client gets of these events, after the two that begin."""
    stream = data_of(written([START, *told], **members))
    assert [one["type"] for one in stream[:2]] == ["response.created", "response.in_progress"]
    return stream[2:]


def kinds(stream: list[dict[str, Any]]) -> list[str]:
    """The types of events, without what all have in common."""
    return [one["type"].removeprefix("response.") for one in stream]


def final(*told: ir.Event, **members: Any) -> dict[str, Any]:
    """The response object at the end."""
    response: dict[str, Any] = events(*told, **members)[-1]["response"]
    return response


# -- the grammar ----------------------------------------------------------------------------


def test_answer_begins_before_anything_is_said() -> None:
    created, in_progress = data_of(written([START]))

    assert created["type"] == "response.created"
    assert in_progress["type"] == "response.in_progress"
    assert created["response"] == in_progress["response"]
    assert created["response"]["status"] == "in_progress"
    assert created["response"]["output"] == []
    assert created["response"]["model"] == "asked-model"


def test_text_has_its_whole_life() -> None:
    stream = events(*text("He", "llo"), *STOP)

    place = {"item_id": "msg_2", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    item = {"id": "msg_2", "type": "message", "status": "completed", "role": "assistant"}
    assert [{k: v for k, v in one.items() if k != "sequence_number"} for one in stream[:-1]] == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": item | {"status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": part | {"text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "He", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "llo", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "Hello", "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": item | {"content": [part]},
        },
    ]
    assert stream[-1]["type"] == "response.completed"
    assert stream[-1]["response"]["output"] == [item | {"content": [part]}]
    assert stream[-1]["response"]["usage"]["total_tokens"] == 7


def test_call_has_its_whole_life() -> None:
    stream = events(
        ir.BlockStart(0, "tool_call", id="call_1", name="f"),
        ir.Delta(0, '{"a":'),
        ir.Delta(0, "1}"),
        ir.BlockEnd(0),
        *CALLED,
    )

    place = {"item_id": "fc_2", "output_index": 0}
    item = {"id": "fc_2", "type": "function_call", "call_id": "call_1", "name": "f"}
    done = item | {"status": "completed", "arguments": '{"a":1}'}
    assert [{k: v for k, v in one.items() if k != "sequence_number"} for one in stream[:-1]] == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": item | {"status": "in_progress", "arguments": ""},
        },
        {"type": "response.function_call_arguments.delta", **place, "delta": '{"a":'},
        {"type": "response.function_call_arguments.delta", **place, "delta": "1}"},
        {
            "type": "response.function_call_arguments.done",
            **place,
            "arguments": '{"a":1}',
            "name": "f",
        },
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]
    assert stream[-1]["response"]["output"] == [done]


@pytest.mark.parametrize(
    ("start", "kinds_", "whole"),
    [
        (
            ir.BlockStart(0, "reasoning"),
            [
                *("output_item.added", "reasoning_summary_part.added"),
                *("reasoning_summary_text.delta", "reasoning_summary_text.done"),
                *("reasoning_summary_part.done", "output_item.done", "completed"),
            ],
            {"summary": [{"type": "summary_text", "text": "Hm"}]},
        ),
        (
            ir.BlockStart(0, "reasoning", raw=True),
            [
                *("output_item.added", "content_part.added", "reasoning_text.delta"),
                *("reasoning_text.done", "content_part.done", "output_item.done", "completed"),
            ],
            {"summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
        ),
        (
            ir.BlockStart(0, "refusal"),
            [
                *("output_item.added", "content_part.added", "refusal.delta", "refusal.done"),
                *("content_part.done", "output_item.done", "completed"),
            ],
            {"content": [{"type": "refusal", "refusal": "Hm"}]},
        ),
        (
            ir.BlockStart(0, "tool_call", id="c", name="sh", custom=True),
            [
                *("output_item.added", "custom_tool_call_input.delta"),
                *("custom_tool_call_input.done", "output_item.done", "completed"),
            ],
            {"type": "custom_tool_call", "call_id": "c", "input": "Hm"},
        ),
    ],
    ids=["summary", "thinking itself", "refusal", "free-text tool"],
)
def test_every_kind_of_block_has_its_whole_life(
    start: ir.BlockStart, kinds_: list[str], whole: dict[str, Any]
) -> None:
    stream = events(start, ir.Delta(0, "Hm"), ir.BlockEnd(0), *STOP)

    assert kinds(stream) == kinds_
    item = stream[-2]["item"]
    assert {name: item[name] for name in whole} == whole
    assert stream[-1]["response"]["output"] == [item]
    assert item["id"] == stream[0]["item"]["id"]
    for one in stream:
        STREAMED.validate_python(one)


def test_items_are_numbered_as_they_open() -> None:
    stream = events(
        ir.BlockStart(0, "reasoning"),
        ir.Delta(0, "Hm"),
        ir.BlockEnd(0),
        *text("Hi", index=1),
        ir.BlockStart(2, "tool_call", id="c", name="f"),
        ir.BlockEnd(2),
        *CALLED,
    )

    opened = [one for one in stream if one["type"] == "response.output_item.added"]
    assert [(one["output_index"], one["item"]["type"]) for one in opened] == [
        (0, "reasoning"),
        (1, "message"),
        (2, "function_call"),
    ]
    done = [one["item"] for one in stream if one["type"] == "response.output_item.done"]
    assert stream[-1]["response"]["output"] == done


def test_texts_in_a_row_are_parts_of_one_message() -> None:
    stream = events(*text("a", index=0), *text("b", index=1), *STOP)

    deltas = [one for one in stream if one["type"] == "response.output_text.delta"]
    assert [(one["output_index"], one["content_index"]) for one in deltas] == [(0, 0), (0, 1)]
    (message,) = stream[-1]["response"]["output"]
    assert [part["text"] for part in message["content"]] == ["a", "b"]


@pytest.mark.parametrize("kind", ["text", "refusal", "reasoning"])
def test_block_that_says_nothing_is_not_told(kind: ir.StreamedKind) -> None:
    stream = events(ir.BlockStart(0, kind), ir.BlockEnd(0), *STOP)

    assert kinds(stream) == ["completed"]
    assert stream[-1]["response"]["output"] == []


def test_call_without_arguments_is_one_of_an_empty_object() -> None:
    stream = events(ir.BlockStart(0, "tool_call", id="c", name="f"), ir.BlockEnd(0), *CALLED)

    assert [one.get("delta") for one in stream[1:2]] == ["{}"]
    assert stream[-1]["response"]["output"][0]["arguments"] == "{}"


def test_free_text_tool_may_be_called_with_nothing() -> None:
    start = ir.BlockStart(0, "tool_call", id="c", name="sh", custom=True)
    stream = events(start, ir.BlockEnd(0), *CALLED)

    assert kinds(stream)[:2] == ["output_item.added", "custom_tool_call_input.done"]
    assert stream[-1]["response"]["output"][0]["input"] == ""


def test_there_is_no_done_marker() -> None:
    assert b"[DONE]" not in written([START, *text("Hi"), *STOP])


# -- when -----------------------------------------------------------------------------------


def test_every_piece_is_sent_at_once() -> None:
    encoder = RESPONSES.stream_encoder(reply())
    encoder.encode([START, ir.BlockStart(0, "text")])

    for piece in ("a", "b\u2028", '"c"\n'):
        (delta,) = data_of(encoder.encode([ir.Delta(0, piece)]))[-1:]
        assert delta["delta"] == piece


def test_nothing_is_sent_for_nothing() -> None:
    encoder = RESPONSES.stream_encoder(reply())

    assert encoder.encode([]) == b""
    encoder.encode([START])
    assert encoder.encode([ir.BlockStart(0, "text")]) == b""


def test_call_is_announced_with_the_first_of_its_arguments() -> None:
    encoder = RESPONSES.stream_encoder(reply())
    encoder.encode([START, ir.BlockStart(0, "tool_call", id="c", name="f")])

    assert kinds(data_of(encoder.encode([ir.Delta(0, "{")]))) == [
        "output_item.added",
        "function_call_arguments.delta",
    ]


# -- signatures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "carried"),
    [
        (ir.Signature("o", "gAAA", "rs_9"), "gAAA"),
        (ir.Signature("a", "sig"), seal(ir.Signature("a", "sig"))),
        (None, seal(ir.Signature(""))),
    ],
)
def test_signature_of_reasoning_is_told_with_its_item(
    signature: ir.Signature | None, carried: str
) -> None:
    signed = [ir.Signed(0, signature)] if signature else []
    stream = events(
        ir.BlockStart(0, "reasoning"), ir.Delta(0, "Hm"), *signed, ir.BlockEnd(0), *STOP
    )

    assert "encrypted_content" not in stream[0]["item"]
    assert stream[-2]["item"]["encrypted_content"] == carried


def test_redacted_reasoning_is_an_item_without_text() -> None:
    start = ir.BlockStart(0, "reasoning", redacted=True)
    signature = ir.Signature("a", "data")
    stream = events(start, ir.Signed(0, signature), ir.BlockEnd(0), *STOP)

    assert kinds(stream) == ["output_item.added", "output_item.done", "completed"]
    assert stream[1]["item"]["summary"] == []
    assert stream[1]["item"]["encrypted_content"] == seal(signature, redacted=True)


def test_signature_of_a_call_is_an_item_before_it() -> None:
    signature = ir.Signature("g", "sig")
    stream = events(
        ir.BlockStart(0, "tool_call", id="c", name="f"),
        ir.Signed(0, signature),
        ir.Delta(0, "{}"),
        ir.BlockEnd(0),
        *CALLED,
    )

    carrier, call = stream[-1]["response"]["output"]
    assert carrier["type"] == "reasoning"
    assert carrier["summary"] == []
    assert carrier["encrypted_content"] == seal(signature)
    assert call["call_id"] == "c"
    assert kinds(stream)[:3] == ["output_item.added", "output_item.done", "output_item.added"]


def test_signature_that_comes_after_the_arguments_has_no_place() -> None:
    stream = events(
        ir.BlockStart(0, "tool_call", id="c", name="f"),
        ir.Delta(0, "{}"),
        ir.Signed(0, ir.Signature("g", "sig")),
        ir.BlockEnd(0),
        *CALLED,
    )

    assert [item["type"] for item in stream[-1]["response"]["output"]] == ["function_call"]


# -- what hangs on a text -------------------------------------------------------------------


def test_web_page_is_told_when_it_is_cited_and_in_the_whole() -> None:
    page = ir.Citation("https://a.org", "A", None, 0, 2)
    stream = events(
        ir.BlockStart(0, "text"), ir.Delta(0, "Hi"), ir.Cited(0, page), ir.BlockEnd(0), *STOP
    )

    added = next(one for one in stream if one["type"].endswith("annotation.added"))
    assert added["annotation_index"] == 0
    assert added["annotation"]["url"] == "https://a.org"
    (item,) = stream[-1]["response"]["output"]
    assert item["content"][0]["annotations"] == [added["annotation"]]


def test_probabilities_are_told_with_the_piece_and_in_the_whole() -> None:
    one = ir.LogProb("Hi", -0.5)
    stream = events(ir.BlockStart(0, "text"), ir.Delta(0, "Hi", (one,)), ir.BlockEnd(0), *STOP)

    expected = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]
    told = [one["logprobs"] for one in stream if "logprobs" in one]
    assert told == [expected, expected]
    assert stream[-1]["response"]["output"][0]["content"][0]["logprobs"] == expected


def test_call_of_a_tool_in_a_namespace_has_both_names() -> None:
    space = {"type": "namespace", "name": "mail", "tools": [{"type": "function", "name": "send"}]}
    start = ir.BlockStart(0, "tool_call", id="c", name="mail__send")

    stream = events(start, ir.BlockEnd(0), *CALLED, tools=[space])

    for item in (stream[0]["item"], stream[-1]["response"]["output"][0]):
        assert (item["namespace"], item["name"]) == ("mail", "send")


# -- how it ends ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finish", "event", "reason"),
    [
        (ir.Finish("stop"), "response.completed", None),
        (ir.Finish("paused"), "response.completed", None),
        (ir.Finish("other"), "response.completed", None),
        (ir.Finish("length"), "response.incomplete", "max_output_tokens"),
        (ir.Finish("context"), "response.incomplete", "max_output_tokens"),
        (ir.Finish("filtered"), "response.incomplete", "content_filter"),
    ],
)
def test_end_is_named_for_the_finish(finish: ir.Finish, event: str, reason: str | None) -> None:
    stream = events(*text("Hi"), ir.Finished(finish), ir.End())

    last = stream[-1]
    assert last["type"] == event
    assert last["response"]["status"] == event.removeprefix("response.")
    assert last["response"]["incomplete_details"] == ({"reason": reason} if reason else None)
    assert last["response"]["usage"] is None
    assert last["response"]["output"][0]["status"] == last["response"]["status"]
    STREAMED.validate_python(last)


def test_refusal_is_complete() -> None:
    refusal: list[ir.Event] = [ir.BlockStart(0, "refusal"), ir.Delta(0, "No."), ir.BlockEnd(0)]

    assert final(*refusal, ir.Finished(ir.Finish("filtered")), ir.End())["status"] == "completed"


def test_answer_that_went_wrong_and_says_nothing_has_failed() -> None:
    stream = events(ir.Finished(ir.Finish("other", "MALFORMED_RESPONSE")), ir.End())

    assert stream[-1]["type"] == "response.failed"
    assert "MALFORMED_RESPONSE" in stream[-1]["response"]["error"]["message"]


def test_usage_of_the_beginning_is_told_if_the_end_has_none() -> None:
    stream = data_of(written([ir.Start(usage=ir.Usage(3)), *text("Hi"), STOP[0], ir.End()]))

    assert stream[-1]["response"]["usage"]["input_tokens"] == 3


def test_only_the_first_of_several_answers_is_told() -> None:
    other: list[ir.Event] = [
        ir.BlockStart(1, "text", 1),
        ir.Delta(1, "no"),
        ir.Cited(1, ir.Citation("https://a.org")),
        ir.BlockEnd(1),
        ir.Finished(ir.Finish("length"), 1),
    ]
    stream = events(*text("Hi"), *other, *STOP)

    assert stream == events(*text("Hi"), *STOP)


def test_other_answers_may_come_in_between() -> None:
    stream = events(
        ir.BlockStart(0, "text"),
        ir.BlockStart(1, "text", 1),
        ir.Delta(1, "no"),
        ir.Delta(0, "Hi"),
        ir.BlockEnd(1),
        ir.BlockEnd(0),
        *STOP,
    )

    assert stream == events(*text("Hi"), *STOP)


# -- how it fails ---------------------------------------------------------------------------


def failed(*told: ir.Event, error: Exception | None = None) -> list[dict[str, Any]]:
    """What a client gets of a stream that breaks off after these events."""
    encoder = RESPONSES.stream_encoder(reply())
    sent = encoder.encode(told)
    broke = StreamFailed("Slow down", status=429, code=None) if error is None else error
    return data_of(sent + encoder.fail(broke))  # type: ignore[arg-type]  # all are RouterErrors


def test_error_before_the_beginning_is_flat() -> None:
    assert failed() == [
        {
            "type": "error",
            "sequence_number": 0,
            "message": "Slow down",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    ]


def test_error_after_the_beginning_is_a_response_that_failed() -> None:
    stream = failed(START, *text("Hi"))

    last = stream[-1]
    assert last["type"] == "response.failed"
    assert last["sequence_number"] == len(stream) - 1
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Slow down"}
    assert last["response"]["id"] == stream[0]["response"]["id"]


@pytest.mark.parametrize(
    ("told", "output"),
    [
        (
            [ir.BlockStart(0, "text"), ir.Delta(0, "H")],
            [
                (
                    "message",
                    [text_part("H")],
                )
            ],
        ),
        (
            [*text("Hi"), ir.BlockStart(1, "text"), ir.Delta(1, "H")],
            [
                (
                    "message",
                    [
                        text_part("Hi"),
                        text_part("H"),
                    ],
                )
            ],
        ),
        ([ir.BlockStart(0, "text")], []),
        ([ir.BlockStart(0, "reasoning")], []),
        ([ir.BlockStart(0, "reasoning"), ir.Delta(0, "Hm")], [("reasoning", None)]),
        ([ir.BlockStart(0, "tool_call", id="c", name="f")], []),
        (
            [*text("Hi"), ir.BlockStart(1, "tool_call", id="c", name="f"), ir.Delta(1, "{")],
            [
                (
                    "message",
                    [text_part("Hi")],
                ),
                ("function_call", None),
            ],
        ),
    ],
)
def test_failed_response_has_the_output_so_far(
    told: list[ir.Event], output: list[tuple[str, Any]]
) -> None:
    last = failed(START, *told)[-1]

    found = [(item["type"], item.get("content")) for item in last["response"]["output"]]
    assert found == output
    STREAMED.validate_python(last)


def test_call_that_was_cut_is_incomplete() -> None:
    start = ir.BlockStart(0, "tool_call", id="c", name="f")

    (item,) = failed(START, start, ir.Delta(0, '{"a'))[-1]["response"]["output"]

    assert (item["status"], item["arguments"]) == ("incomplete", '{"a')


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadResponse("cut"), "upstream_error"),
        (StreamFailed("x", status=500, code=None), "internal_error"),
        (StreamFailed("x", status=503, code=None), "service_unavailable"),
        (StreamFailed("x", status=400, code="context_length_exceeded"), "context_length_exceeded"),
        (StreamFailed("x", status=418, code=None), None),
        (
            Rejected(401, "x", headers={}, body=b"", retryable=False, code=None),
            "invalid_api_key",
        ),
    ],
)
def test_code_of_an_error_is_that_of_its_class(error: Exception, code: str | None) -> None:
    assert failed(START, error=error)[-1]["response"]["error"]["code"] == (code or "server_error")
    assert failed(error=error)[-1]["code"] == code


@settings(max_examples=40, deadline=None)
@given(neutral_events(candidates=1))
def test_stream_that_breaks_off_anywhere_is_one_for_the_sdk(told: list[ir.Event]) -> None:
    for length in range(1, len(told)):
        stream = failed(*told[:length])
        state: ResponseStreamState[None] = ResponseStreamState(input_tools=omit, text_format=omit)
        for data in stream:
            state.handle_event(STREAMED.validate_python(data))
        assert [one["sequence_number"] for one in stream] == list(range(len(stream)))
        assert sum(one["type"] == "response.failed" for one in stream) == 1


# -- what was asked -------------------------------------------------------------------------


def test_members_of_the_request_are_repeated_three_times() -> None:
    stream = data_of(
        written([START, *text("Hi"), *STOP], instructions="Be brief", metadata={"a": "b"})
    )

    told = [one["response"] for one in stream if "response" in one]
    assert [one["instructions"] for one in told] == ["Be brief"] * 3
    assert [one["metadata"] for one in told] == [{"a": "b"}] * 3


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_in_the_request_do_not_cut_an_event(end: str) -> None:
    tools = [{"type": "function", "name": "f"}]
    pretty = json.dumps({"model": "m", "input": "Hi", "tools": tools}, indent=2)
    asked = request(pretty.replace("\n", end).encode())
    encoder = RESPONSES.stream_encoder(msgspec.structs.replace(reply(), request=asked))

    stream = encoder.encode([START])

    assert b"\r" not in stream
    assert data_of(stream)[0]["response"]["tools"] == tools
