"""A provider's stream of Messages events (protocols.md, 1.3 and 2.9)."""

from typing import Any, Final

import pytest

from bitrouter import ir
from bitrouter.protocols.anthropic.decode_stream import MessagesStreamDecoder
from bitrouter.sse import SSEDecoder
from tests.support.neutral import answer_of, check_well_formed
from tests.support.splits import WIRE, cut, same_at_every_split
from tests.unit.protocols.anthropic.wire import (
    START,
    STOP,
    Body,
    block_delta,
    block_start,
    block_stop,
    events_of,
    message_delta,
    read_stream,
    sse,
)

OPENING: Final = ir.Start("msg_1", "claude-sonnet-4-5", ir.Usage(35, 1, 7, 3))
ENDING: Final = (
    ir.Finished(ir.Finish("stop", raw="end_turn")),
    ir.End(ir.Usage(35, 15, 7, 3)),
)
RECORDED: Final[dict[str, list[ir.Event]]] = {
    "text.sse": [
        OPENING,
        ir.BlockStart(0, "text"),
        ir.Delta(0, 'Zwölf "error"'),
        ir.Delta(0, "\u2028 event: message_stop 🥊\n\n"),
        ir.BlockEnd(0),
        *ENDING,
    ],
    "without_stop.sse": [OPENING, *ENDING],
    "thinking_and_tools.sse": [
        OPENING,
        ir.BlockStart(0, "reasoning"),
        ir.Delta(0, "Let me look."),
        ir.Signed(0, ir.Signature("a", "EqQBCgIYAhIM")),
        ir.BlockEnd(0),
        ir.BlockStart(1, "tool_call", id="toolu_1", name="look_up"),
        ir.Delta(1, '{"usage":1}'),
        ir.BlockEnd(1),
        ir.Finished(ir.Finish("tool_calls", raw="tool_use")),
        ir.End(ir.Usage(34, 89, 8, 0, 9)),
    ],
    "parallel_tools.sse": [
        ir.Start("msg_1", "claude-sonnet-4-5", ir.Usage(40, 2, 0, 0)),
        ir.BlockStart(0, "text"),
        ir.Delta(0, "Both."),
        ir.BlockEnd(0),
        ir.BlockStart(1, "tool_call", id="toolu_1", name="find"),
        ir.Delta(1, '{"ort": "Mün'),
        ir.Delta(1, 'chen", "n": 1.50}'),
        ir.BlockEnd(1),
        ir.BlockStart(2, "tool_call", id="toolu_2", name="now"),
        ir.Delta(2, "{}"),
        ir.BlockEnd(2),
        ir.Finished(ir.Finish("tool_calls", raw="tool_use")),
        ir.End(ir.Usage(40, 61, 0, 0)),
    ],
    "web_search.sse": [
        ir.Start("msg_1", "claude-sonnet-4-5", ir.Usage(12, 3)),
        ir.BlockStart(0, "text"),
        ir.Delta(0, "In 1867."),
        ir.Cited(0, ir.Citation("https://example.org/", "Boxing", "The rules of 1867")),
        ir.BlockEnd(0),
        ir.Finished(ir.Finish("paused", raw="pause_turn")),
        ir.End(ir.Usage(912, 40)),
    ],
    "refused.sse": [
        ir.Start("msg_1", "claude-sonnet-4-5", ir.Usage(9, 1)),
        ir.BlockStart(0, "reasoning", redacted=True),
        ir.Signed(0, ir.Signature("a", "EmwKAhgBEgy3")),
        ir.BlockEnd(0),
        ir.BlockStart(1, "text"),
        ir.Delta(1, "I"),
        ir.BlockEnd(1),
        ir.Finished(ir.Finish("filtered", raw="refusal", detail="No recipes.")),
        ir.End(ir.Usage(9, 8)),
    ],
    "error.sse": [
        OPENING,
        ir.BlockStart(0, "text"),
        ir.Failed(ir.Failure(529, "Overloaded")),
    ],
}


def test_every_transcript_is_read() -> None:
    assert {path.name for path in (WIRE / "anthropic").glob("*.sse")} == RECORDED.keys()


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_transcript_means_the_same_wherever_it_is_cut(name: str, end: bytes) -> None:
    transcript = (WIRE / "anthropic" / name).read_bytes().replace(b"\n", end)

    events = same_at_every_split(transcript, read_stream)

    assert events == RECORDED[name]
    check_well_formed(events)


@pytest.mark.parametrize("name", [name for name in RECORDED if name != "error.sse"])
def test_transcript_that_ends_before_its_stop_reason_fails(name: str) -> None:
    transcript = (WIRE / "anthropic" / name).read_bytes()
    ending = transcript.index(b"event: message_delta")

    for place in range(ending):
        events = read_stream(cut(transcript[:place], ()) if place else [])
        check_well_formed(events)
        assert [e.failure.status for e in events if isinstance(e, ir.Failed)] == [502]
        assert not any(isinstance(event, ir.Finished | ir.End) for event in events)


def test_delta_is_told_on_its_own_event() -> None:
    decoder = MessagesStreamDecoder()
    stream = sse(
        START, block_start(0, type="text", text=""), block_delta(0, type="text_delta", text="a")
    )

    told = [decoder.decode(event) for event in SSEDecoder(1000).feed(stream)]

    assert told == [
        [ir.Start("msg_1", "claude", ir.Usage(5, 1))],
        [ir.BlockStart(0, "text")],
        [ir.Delta(0, "a")],
    ]


# -- usage and the end ------------------------------------------------------------------------


def test_usage_is_known_as_it_comes() -> None:
    decoder = MessagesStreamDecoder()
    stream = sse(START, message_delta(output_tokens=9, cache_read_input_tokens=4))
    known = [decoder.usage]

    for event in SSEDecoder(1000).feed(stream):
        decoder.decode(event)
        known.append(decoder.usage)

    assert known == [None, ir.Usage(5, 1), ir.Usage(9, 9, 4)]


def test_nothing_is_told_after_the_end() -> None:
    text = block_start(0, type="text", text="more")

    events = events_of(START, message_delta(), STOP, text, STOP, START)

    assert isinstance(events[-1], ir.End)
    assert len(events) == 3


def test_nothing_is_told_after_a_failure() -> None:
    error = {"type": "error", "error": {"type": "api_error", "message": "m"}}

    assert events_of(error, START, message_delta(), STOP) == [ir.Failed(ir.Failure(500, "m"))]


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [([], "stop"), ([block_start(0, type="tool_use", id="t", name="f", input={})], "tool_calls")],
)
def test_end_without_a_stop_reason_is_what_was_said(
    blocks: list[Body], reason: ir.FinishReason
) -> None:
    events = events_of(START, *blocks, STOP)

    check_well_formed(events)
    assert events[-2:] == [ir.Finished(ir.Finish(reason)), ir.End(ir.Usage(5, 1))]


def test_stop_reason_is_kept_when_another_message_delta_has_none() -> None:
    events = events_of(START, message_delta("max_tokens"), message_delta(None, output_tokens=3))

    assert events[-2:] == [
        ir.Finished(ir.Finish("length", raw="max_tokens")),
        ir.End(ir.Usage(5, 3)),
    ]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("billing_error", 402),
        ("permission_error", 403),
        ("not_found_error", 404),
        ("conflict_error", 409),
        ("request_too_large", 413),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("overloaded_error", 529),
        ("from_the_future", 502),
    ],
)
def test_error_event_has_the_class_of_its_type(kind: str, status: int) -> None:
    events = events_of(START, {"type": "error", "error": {"type": kind, "message": "why"}})

    assert events[-1] == ir.Failed(ir.Failure(status, "why"))


@pytest.mark.parametrize("data", ["{}", "null", "nonsense", '{"error":5}', '{"error":{}}'])
def test_error_event_without_words_is_an_error(data: str) -> None:
    events = read_stream([f"event: error\ndata: {data}\n\n".encode()])

    check_well_formed(events)
    assert events == [ir.Failed(ir.Failure(502, "the upstream reported an error"))]


def test_error_of_another_shape_is_an_error() -> None:
    events = read_stream([b'data: {"error":{"message":"why","code":"odd"}}\n\n'])

    assert events == [ir.Failed(ir.Failure(502, "why", "odd"))]


# -- servers that imitate the API -------------------------------------------------------------


def test_event_lines_may_be_missing() -> None:
    transcript = (WIRE / "anthropic/thinking_and_tools.sse").read_bytes()
    lines = [line for line in transcript.splitlines() if not line.startswith(b"event:")]

    events = read_stream([b"\n".join(lines) + b"\n\n"])

    assert events == RECORDED["thinking_and_tools.sse"]


def test_comments_pings_and_unknown_events_are_passed_over() -> None:
    future = {"type": "content_block_checkpoint", "index": 0}

    events = read_stream([b": keep-alive\n\n", sse(START, future, {"type": "ping"}, STOP)])

    assert [type(event) for event in events] == [ir.Start, ir.Finished, ir.End]


def test_block_may_come_with_text() -> None:
    events = events_of(
        START,
        block_start(0, type="thinking", thinking="h", signature="EqQB"),
        block_delta(0, type="thinking_delta", thinking="m"),
        block_stop(0),
        block_start(1, type="text", text="a"),
        block_stop(1),
        message_delta(),
        STOP,
    )

    assert answer_of(events).candidates[0].blocks == [
        ir.Reasoning("hm", ir.Signature("a", "EqQB")),
        ir.Text("a"),
    ]


@pytest.mark.parametrize(
    ("given", "deltas", "arguments"),
    [
        ({}, [], "{}"),
        ({}, [""], "{}"),
        (None, [], "{}"),
        ([1], [], "{}"),
        ({"a": [1, 2]}, [], '{"a":[1,2]}'),
        ({"a": 1}, ['{"b":', "2}"], '{"b":2}'),
        ({}, ["{}"], "{}"),
    ],
)
def test_input_is_in_the_deltas_or_else_in_the_start(
    given: Any, deltas: list[str], arguments: str
) -> None:
    events = events_of(
        START,
        block_start(0, type="tool_use", id="t", name="f", input=given),
        *(block_delta(0, type="input_json_delta", partial_json=piece) for piece in deltas),
        block_stop(0),
        STOP,
    )

    check_well_formed(events)
    assert answer_of(events).candidates[0].blocks == [ir.ToolCall("t", "f", arguments)]


def test_call_without_an_id_gets_one() -> None:
    events = events_of(
        START,
        *(block_start(0, type="tool_use", name="f", input={}), block_stop(0)),
        *(block_start(1, type="tool_use", id="", name="f", input={}), block_stop(1)),
        STOP,
    )

    check_well_formed(events)
    ids = [event.id for event in events if isinstance(event, ir.BlockStart)]
    assert len(set(ids)) == 2
    assert all(one.startswith("toolu_") for one in ids)


def test_unsigned_thinking_is_still_the_vendors() -> None:
    events = events_of(START, block_start(0, type="thinking", thinking="h"), block_stop(0), STOP)

    assert ir.Signed(0, ir.Signature("a")) in events


def test_blocks_that_overlap_do_not_mix() -> None:
    events = events_of(
        START,
        block_start(0, type="tool_use", id="t0", name="f", input={}),
        block_start(1, type="tool_use", id="t1", name="g", input={}),
        block_delta(1, type="input_json_delta", partial_json='{"b":'),
        block_delta(0, type="input_json_delta", partial_json='{"a":1}'),
        block_delta(1, type="input_json_delta", partial_json="2}"),
        block_stop(1),
        block_stop(0),
        block_start(2, type="text", text=""),
        block_delta(2, type="text_delta", text="x"),
        message_delta("tool_use"),
        STOP,
    )

    check_well_formed(events)
    assert answer_of(events).candidates[0].blocks == [
        ir.ToolCall("t0", "f", '{"a":1}'),
        ir.ToolCall("t1", "g", '{"b":2}'),
        ir.Text("x"),
    ]


def test_blocks_that_nobody_ended_are_ended() -> None:
    events = events_of(
        START,
        block_start(0, type="text", text="a"),
        block_start(1, type="text", text="b"),
        message_delta(),
    )

    check_well_formed(events)
    assert answer_of(events).candidates[0].blocks == [ir.Text("a"), ir.Text("b")]


def test_blocks_that_nobody_began_are_begun() -> None:
    events = events_of(
        block_delta(0, type="thinking_delta", thinking="h"),
        block_stop(0),
        block_delta(1, type="text_delta", text="a"),
        block_delta(1, type="text_delta", text="b"),
        message_delta(),
        STOP,
    )

    check_well_formed(events)
    assert answer_of(events).candidates[0].blocks == [
        ir.Reasoning("h", ir.Signature("a")),
        ir.Text("ab"),
    ]


def test_arguments_that_belong_to_no_call_are_passed_over() -> None:
    events = events_of(
        START,
        block_delta(0, type="input_json_delta", partial_json="{}"),
        block_stop(0),
        block_start(1, type="text", text=""),
        block_delta(1, type="input_json_delta", partial_json="{}"),
        block_delta(1, type="text_delta", text="a"),
        STOP,
    )

    check_well_formed(events)
    assert answer_of(events).candidates[0].blocks == [ir.Text("a")]


def test_citation_that_belongs_to_no_text_is_passed_over() -> None:
    citation = {"type": "web_search_result_location", "url": "https://example.org/"}

    events = events_of(
        START,
        block_start(0, type="thinking", thinking="h"),
        block_delta(0, type="citations_delta", citation=citation),
        STOP,
    )

    check_well_formed(events)
    assert not any(isinstance(event, ir.Cited) for event in events)


def test_unknown_blocks_are_passed_over_and_leave_no_gap() -> None:
    events = events_of(
        START,
        block_start(0, type="from_the_future", text="x"),
        block_delta(0, type="text_delta", text="x"),
        block_stop(0),
        block_start(1, type="text", text=""),
        block_delta(1, type="from_the_future", text="x"),
        block_delta(1, type="text_delta", text="a"),
        block_stop(1),
        STOP,
    )

    check_well_formed(events)
    assert [event for event in events if isinstance(event, ir.BlockStart | ir.Delta)] == [
        ir.BlockStart(0, "text"),
        ir.Delta(0, "a"),
    ]
