"""How a Responses provider's stream ends, and what is not understood of it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.sse import SSEEvent
from tests.support.neutral import answer_of, check_well_formed
from tests.unit.protocols.responses.responseswire import (
    RESPONSES,
    completed,
    created,
    events_of,
    function_call,
    message,
    output_text,
    text_delta,
    told,
)
from tests.unit.protocols.responses.streamparts import PAGE, blocks_of, finish_of


def failure_of(*events: dict[str, Any]) -> ir.Failure:
    """How a stream of these events fails."""
    last = events_of(*events)[-1]
    assert isinstance(last, ir.Failed)
    return last.failure


# -- how it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "filtered"),
        ({"reason": "steered"}, "other"),
        ({"reason": None}, "length"),
        (None, "length"),
    ],
)
def test_incomplete_says_why(details: dict[str, Any] | None, reason: str) -> None:
    end = completed(message("Hi"), status="incomplete", incomplete_details=details)

    assert finish_of(created(), end | {"type": "response.incomplete"}).reason == reason


def test_cut_call_ends_for_its_length() -> None:
    end = completed(function_call(), incomplete_details={"reason": "max_output_tokens"})

    assert finish_of(created(), end | {"type": "response.incomplete"}).reason == "length"


def test_nothing_follows_the_end() -> None:
    events = events_of(created(), text_delta("Hi"), completed(), text_delta("more"), completed())

    assert isinstance(events[-1], ir.End)
    assert sum(isinstance(event, ir.Delta) for event in events) == 1


def test_done_marker_says_nothing() -> None:
    decoder = RESPONSES.stream_decoder()

    assert decoder.decode(SSEEvent(b"", b"[DONE]")) == []
    assert isinstance(decoder.finish()[-1], ir.Failed)


def test_end_without_a_beginning_is_a_whole_answer() -> None:
    events = events_of(completed(message("Hi"), id="resp_9", model="up-9"))

    assert events[0] == ir.Start("resp_9", "up-9")
    assert answer_of(events).candidates[0].blocks == [ir.Text("Hi")]


@pytest.mark.parametrize(
    ("event", "failure"),
    [
        (
            {
                "type": "response.failed",
                "response": {"error": {"code": "rate_limit_exceeded", "message": "Slow"}},
            },
            ir.Failure(429, "Slow", "rate_limit_exceeded"),
        ),
        (
            {"type": "error", "code": "server_error", "message": "Oops", "param": None},
            ir.Failure(500, "Oops", "server_error"),
        ),
        (
            {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow"}},
            ir.Failure(429, "Slow"),
        ),
        ({"error": {"message": "Oops", "code": 503}}, ir.Failure(503, "Oops")),
        (
            completed(error={"code": "server_error", "message": "Oops"}),
            ir.Failure(500, "Oops", "server_error"),
        ),
    ],
    ids=["failed", "flat error", "nested error", "no type", "completed with an error"],
)
def test_error_is_a_failure_of_its_class(event: dict[str, Any], failure: ir.Failure) -> None:
    assert failure_of(created(), event) == failure
    assert failure_of(event) == failure


@pytest.mark.parametrize("event", [{"type": "error"}, {"type": "response.failed", "response": {}}])
def test_error_without_words_is_a_failure_all_the_same(event: dict[str, Any]) -> None:
    assert failure_of(created(), event).message


def test_usage_of_a_failed_answer_is_known() -> None:
    decoder = RESPONSES.stream_decoder()
    failed = {
        "type": "response.failed",
        "response": {
            "error": {"message": "Oops"},
            "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        },
    }

    decoder.decode(SSEEvent(b"", json.dumps(failed).encode()))

    assert decoder.usage == ir.Usage(3, 4)


# -- what cannot be understood ----------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
        {"type": "response.something.new", "delta": "x"},
        {"type": "keepalive"},
        {"type": 7},
        text_delta(""),
        text_delta(["list"]),  # type: ignore[arg-type]  # what a server must not send
        told("output_item.added", item={"type": "web_search_call", "id": "ws_1"}),
        told("output_item.added", item="what"),
        told("output_item.done", item={"type": "function_call", "arguments": 7}),
        told("output_item.done", item={"type": "function_call", "call_id": "c"}),
        told("output_text.annotation.added", annotation={"type": "url_citation", "url": 1}),
        [],
        "text",
        None,
    ],
)
def test_what_is_not_understood_is_passed_over(event: Any) -> None:
    assert blocks_of(created(), event, text_delta("Hi"), completed()) == [ir.Text("Hi")]


def test_first_event_may_be_any() -> None:
    assert blocks_of(text_delta("Hi"), completed()) == [ir.Text("Hi")]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


_TYPES = st.sampled_from(
    [
        *("created", "in_progress", "completed", "incomplete", "failed"),
        *("output_item.added", "output_item.done", "output_text.delta", "output_text.done"),
        *("refusal.delta", "refusal.done", "reasoning_summary_text.delta", "reasoning_text.delta"),
        *("function_call_arguments.delta", "function_call_arguments.done"),
        *("custom_tool_call_input.delta", "output_text.annotation.added"),
    ]
)


_ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call"])},
    optional={
        "id": st.sampled_from(["a", "b"]) | _JSON,
        "call_id": st.sampled_from(["c", "d"]) | _JSON,
        "name": st.just("f") | _JSON,
        "arguments": st.just("{}") | _JSON,
        "input": _JSON,
        "content": st.just([output_text("Hi")]) | _JSON,
        "summary": st.just([{"type": "summary_text", "text": "Hm"}]) | _JSON,
        "encrypted_content": st.just("enc") | _JSON,
    },
)


_EVENTS = st.fixed_dictionaries(
    {"type": _TYPES.map(lambda name: f"response.{name}")},
    optional={
        "output_index": st.integers(0, 2) | _JSON,
        "item_id": st.sampled_from(["a", "b"]) | _JSON,
        "content_index": st.integers(0, 1) | _JSON,
        "summary_index": st.integers(0, 1) | _JSON,
        "delta": st.just("x") | _JSON,
        "text": st.just("x") | _JSON,
        "arguments": _JSON,
        "item": _ITEMS | _JSON,
        "annotation": st.just(PAGE) | _JSON,
        "logprobs": _JSON,
        "response": st.fixed_dictionaries(
            {"output": st.lists(_ITEMS | _JSON, max_size=3)},
            optional={"usage": _JSON, "error": _JSON, "id": _JSON, "status": _JSON},
        )
        | _JSON,
    },
)


@settings(max_examples=120, deadline=None)
@given(st.lists(_EVENTS, max_size=12))
def test_whatever_comes_the_events_are_well_formed(events: list[Any]) -> None:
    check_well_formed(events_of(*events))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_are_too_odd(data: bytes) -> None:
    check_well_formed(RESPONSES.stream_decoder().decode(SSEEvent(b"x", data)), complete=False)
