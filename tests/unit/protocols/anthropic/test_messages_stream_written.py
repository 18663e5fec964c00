"""A stream of Messages events for a client (protocols.md, 1.3, 2.10, 3.3 and 4, G1 to G7)."""

from typing import Final

import pytest
from anthropic import APIStatusError
from hypothesis import given, settings

from bitrouter import ir
from bitrouter.errors import StreamFailed, UpstreamTimeout
from bitrouter.protocols.continuity import seal
from tests.support.neutral import answer_of, neutral_events
from tests.unit.protocols.anthropic.sdk import final_message
from tests.unit.protocols.anthropic.wire import (
    STOP,
    TRANSLATOR,
    Body,
    block_delta,
    block_start,
    block_stop,
    reply,
    wire_events,
    written,
)

GOOGLES: Final = ir.Signature("g", "c2ln")
OWN: Final = ir.Signature("a", "EqQB")


def stream(
    *blocks: ir.Event, finish: ir.Finish | None = None, usage: ir.Usage | None = None
) -> bytes:
    """What is sent for an answer of these blocks."""
    last = ir.Finished(finish or ir.Finish("stop"))
    return written([ir.Start(), *blocks, last, ir.End(usage)])


def body_of(*blocks: ir.Event) -> list[Body]:
    """The events between the start and the end of the message."""
    start, *inner, delta, stop = wire_events(stream(*blocks))
    assert (start["type"], delta["type"], stop) == ("message_start", "message_delta", STOP)
    return inner


def text(index: int, *pieces: str) -> list[ir.Event]:
    deltas = [ir.Delta(index, piece) for piece in pieces]
    return [ir.BlockStart(index, "text"), *deltas, ir.BlockEnd(index)]


def call(index: int, *pieces: str, custom: bool = False) -> list[ir.Event]:
    deltas = [ir.Delta(index, piece) for piece in pieces]
    start = ir.BlockStart(index, "tool_call", id=f"t{index}", name="f", custom=custom)
    return [start, *deltas, ir.BlockEnd(index)]


def tool_use(index: int, number: int) -> Body:
    """The start of a call, which was block `number` of what the provider said."""
    return block_start(index, type="tool_use", id=f"t{number}", name="f", input={})


def test_stream_of_text_byte_for_byte() -> None:
    assert stream(*text(0, 'Grüße "\n', "x"), usage=ir.Usage(35, 15, 7, 3)).decode() == (
        "event: message_start\n"
        'data: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        '"role":"assistant","model":"asked-for","content":[],"stop_reason":null,'
        '"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,'
        '"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
        "\n\n"
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        '"text":"Grüße \\"\\n"}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}'
        "\n\n"
        "event: content_block_stop\n"
        'data: {"type":"content_block_stop","index":0}\n\n'
        "event: message_delta\n"
        'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        '"usage":{"input_tokens":25,"cache_creation_input_tokens":3,"cache_read_input_tokens":7,'
        '"output_tokens":15}}\n\n'
        "event: message_stop\n"
        'data: {"type":"message_stop"}\n\n'
    )


def test_what_one_delta_says_is_sent_at_once() -> None:
    encoder = TRANSLATOR.stream_encoder(reply())

    assert encoder.encode([ir.Start()]).startswith(b"event: message_start\n")
    assert encoder.encode([ir.BlockStart(0, "text")]) == b""
    assert encoder.encode([ir.Delta(0, "a")]).endswith(b'"text":"a"}}\n\n')
    assert encoder.encode([ir.Delta(0, "b")]).startswith(b"event: content_block_delta\n")


def test_usage_known_at_the_start_is_told_there_and_kept_if_none_follows() -> None:
    events = wire_events(
        written(
            [
                ir.Start(usage=ir.Usage(35, 1, 7, 3)),
                ir.Finished(ir.Finish("stop")),
                ir.End(),
            ]
        )
    )

    told = events[0]["message"]["usage"], events[1]["usage"]
    assert told[0] == told[1]
    assert told[0]["input_tokens"] == 25


# -- blocks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "refusal"])
def test_empty_blocks_are_never_begun(kind: ir.StreamedKind) -> None:
    blocks: list[ir.Event] = [ir.BlockStart(0, kind), ir.BlockEnd(0)]

    assert body_of(*blocks, *call(1, "{}"))[0] == tool_use(0, 1)


def test_empty_reasoning_is_never_begun() -> None:
    assert body_of(ir.BlockStart(0, "reasoning"), ir.BlockEnd(0)) == []


def test_refusal_is_text() -> None:
    blocks: list[ir.Event] = [ir.BlockStart(0, "refusal"), ir.Delta(0, "No."), ir.BlockEnd(0)]

    assert body_of(*blocks) == [
        block_start(0, type="text", text=""),
        block_delta(0, type="text_delta", text="No."),
        block_stop(0),
    ]


def test_blocks_are_numbered_in_order_and_never_overlap() -> None:
    events = body_of(*text(0, "a"), *text(1), *call(2, "{}"), *call(3, "{}"), *text(4, "b"))

    assert [(event["type"], event["index"]) for event in events] == [
        (f"content_block_{step}", index)
        for index in range(4)
        for step in ("start", "delta", "stop")
    ]


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        (OWN, "EqQB"),
        (GOOGLES, seal(GOOGLES)),
        (ir.Signature("a"), seal(ir.Signature("a"))),
        (None, seal(ir.Signature("o"))),
    ],
)
def test_thinking_ends_with_a_signature_wherever_it_is_from(
    signature: ir.Signature | None, value: str
) -> None:
    signed = [ir.Signed(0, signature)] if signature else []
    thinking: list[ir.Event] = [
        ir.BlockStart(0, "reasoning"),
        *signed,
        ir.Delta(0, "h"),
        ir.BlockEnd(0),
    ]

    assert body_of(*thinking) == [
        block_start(0, type="thinking", thinking="", signature=""),
        block_delta(0, type="thinking_delta", thinking="h"),
        block_delta(0, type="signature_delta", signature=value),
        block_stop(0),
    ]


def test_thinking_that_is_only_signed_is_begun() -> None:
    thinking: list[ir.Event] = [
        ir.BlockStart(0, "reasoning"),
        ir.Signed(0, GOOGLES),
        ir.BlockEnd(0),
    ]

    assert body_of(*thinking) == [
        block_start(0, type="thinking", thinking="", signature=""),
        block_delta(0, type="signature_delta", signature=seal(GOOGLES)),
        block_stop(0),
    ]


@pytest.mark.parametrize(("signature", "data"), [(OWN, "EqQB"), (GOOGLES, seal(GOOGLES))])
def test_redacted_thinking_is_one_event(signature: ir.Signature, data: str) -> None:
    start = ir.BlockStart(0, "reasoning", redacted=True)

    assert body_of(start, ir.Signed(0, signature), ir.BlockEnd(0)) == [
        block_start(0, type="redacted_thinking", data=data),
        block_stop(0),
    ]


def test_citation_stands_in_its_text() -> None:
    cited = ir.Cited(0, ir.Citation("https://example.org/", "T", "1867", 0, 2))

    events = body_of(ir.BlockStart(0, "text"), ir.Delta(0, "a"), cited, ir.BlockEnd(0))

    assert events[2] == block_delta(
        0,
        type="citations_delta",
        citation={
            "type": "web_search_result_location",
            "url": "https://example.org/",
            "title": "T",
            "cited_text": "1867",
            "encrypted_index": "",
        },
    )


# -- calls ------------------------------------------------------------------------------------


def fragments(events: list[Body]) -> list[str]:
    """The pieces of a call's input."""
    return [
        event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"
    ]


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [
        (('{"a":', '"ü"}'), ['{"a":', '"ü"}']),
        (('{"a":1}',), ['{"a":1}']),
        ((), ["{}"]),
        (('{"a":',), ['{"a":']),
    ],
    ids=["pieces", "whole", "none", "half"],
)
def test_call(pieces: tuple[str, ...], sent: list[str]) -> None:
    events = body_of(*call(0, *pieces))

    assert events[0] == tool_use(0, 0)
    assert fragments(events) == sent
    assert events[-1] == block_stop(0)


def test_call_of_a_free_text_tool_is_json_in_pieces() -> None:
    pieces = ('a "b', '"\n\\', "🥊 é")

    sent = fragments(body_of(*call(0, *pieces, custom=True)))
    message = final_message(stream(*call(0, *pieces, custom=True)))

    assert sent[0] == '{"input":"'
    assert len(sent) == 5
    assert message.content[0].type == "tool_use"
    assert message.content[0].input == {"input": "".join(pieces)}


def test_free_text_tool_may_be_called_without_text() -> None:
    assert "".join(fragments(body_of(*call(0, custom=True)))) == '{"input":""}'


@pytest.mark.parametrize("one_by_one", [False, True])
def test_calls_signature_stands_in_thinking_before_it(one_by_one: bool) -> None:
    start, *rest = call(0, "{}")
    events = [ir.Start(), start, ir.Signed(0, GOOGLES), *rest]

    assert wire_events(written(events, one_by_one=one_by_one))[1:] == [
        block_start(0, type="thinking", thinking="", signature=""),
        block_delta(0, type="signature_delta", signature=seal(GOOGLES)),
        block_stop(0),
        tool_use(1, 0),
        block_delta(1, type="input_json_delta", partial_json="{}"),
        block_stop(1),
    ]


def test_calls_signature_that_comes_after_its_arguments_began_is_lost() -> None:
    start, delta, end = call(0, "{}")

    assert body_of(start, delta, ir.Signed(0, GOOGLES), end) == body_of(start, delta, end)


def test_other_candidates_are_not_sent() -> None:
    events: list[ir.Event] = [
        ir.Start(),
        ir.BlockStart(0, "text"),
        ir.BlockStart(1, "text", 1),
        ir.Delta(1, "other"),
        ir.Delta(0, "first"),
        ir.BlockEnd(1),
        ir.BlockEnd(0),
        ir.Finished(ir.Finish("length"), 1),
        ir.Finished(ir.Finish("stop")),
        ir.End(),
    ]

    message = final_message(written(events))

    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].type == "text"
    assert message.content[0].text == "first"
    assert message.stop_reason == "end_turn"


# -- the end ----------------------------------------------------------------------------------


def ending(finish: ir.Finish, *blocks: ir.Event) -> Body:
    found: Body = wire_events(stream(*blocks, finish=finish))[-2]["delta"]
    return found


@pytest.mark.parametrize(
    ("finish", "stop_reason"),
    [
        (ir.Finish("stop"), "end_turn"),
        (ir.Finish("stop_sequence"), "end_turn"),
        (ir.Finish("length"), "max_tokens"),
        (ir.Finish("context"), "model_context_window_exceeded"),
        (ir.Finish("filtered"), "refusal"),
        (ir.Finish("paused"), "pause_turn"),
        (ir.Finish("other"), "end_turn"),
    ],
)
def test_finish(finish: ir.Finish, stop_reason: str) -> None:
    assert ending(finish) == {"stop_reason": stop_reason, "stop_sequence": None}


def test_stop_sequence_says_which() -> None:
    assert ending(ir.Finish("stop_sequence", sequence="END")) == {
        "stop_reason": "stop_sequence",
        "stop_sequence": "END",
    }


def test_refusal_says_why() -> None:
    assert ending(ir.Finish("filtered", detail="No recipes."))["stop_details"] == {
        "type": "refusal",
        "category": None,
        "explanation": "No recipes.",
    }


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
def test_finish_with_calls(reason: ir.FinishReason) -> None:
    assert ending(ir.Finish(reason), *call(0, "{}"))["stop_reason"] == "tool_use"
    assert ending(ir.Finish("length"), *call(0, "{}"))["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StreamFailed("why", status=529, code=None), "overloaded_error"),
        (StreamFailed("why", status=503, code=None), "overloaded_error"),
        (StreamFailed("why", status=429, code="rate_limit_exceeded"), "rate_limit_error"),
        (StreamFailed("why", status=400, code=None), "invalid_request_error"),
        (StreamFailed("why", status=502, code=None), "api_error"),
        (UpstreamTimeout("idle", 5.0), "timeout_error"),
    ],
)
def test_failure_is_the_protocols_error_event(error: StreamFailed, kind: str) -> None:
    encoder = TRANSLATOR.stream_encoder(reply())
    begun = encoder.encode([ir.Start(), ir.BlockStart(0, "text"), ir.Delta(0, "a")])

    [event] = wire_events(encoder.fail(error))

    assert event == {
        "type": "error",
        "error": {"type": kind, "message": error.detail},
        "request_id": "req_1",
    }
    with pytest.raises(APIStatusError) as caught:
        final_message(begun + encoder.fail(error))
    assert caught.value.type == kind


# -- what the SDK makes of it -----------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(neutral_events(candidates=1))
def test_sdk_gathers_what_was_sent(events: list[ir.Event]) -> None:
    [candidate] = answer_of(events).candidates
    expected: list[str] = []
    for block in candidate.blocks:
        match block:
            case ir.Text() | ir.Refusal():
                expected.append("text")
            case ir.Reasoning():
                expected.append("redacted_thinking" if block.redacted else "thinking")
            case ir.ToolCall():
                expected += ["thinking", "tool_use"] if block.signature else ["tool_use"]
            case _:
                raise AssertionError(block)

    message = final_message(written(events))

    assert [block.type for block in message.content] == expected
    said = "".join(block.text for block in message.content if block.type == "text")
    assert said == "".join(
        block.text for block in candidate.blocks if isinstance(block, ir.Text | ir.Refusal)
    )
    assert message.model == "asked-for"
    assert message.usage.input_tokens >= 0
