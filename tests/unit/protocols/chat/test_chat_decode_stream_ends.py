"""How a chat server's stream ends, and what is odd about it."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.sse import SSEEvent
from tests.support.neutral import answer_of, arguments, check_well_formed
from tests.unit.protocols.chat.chatwire import CHAT, chunk, events_of, read_stream
from tests.unit.protocols.chat.streamparts import answer, blocks_of, piece, transcript

# -- the end ----------------------------------------------------------------------------------


def test_content_after_a_finish_reason_is_not_lost() -> None:
    events = events_of(
        chunk({"content": "a"}, "stop"), chunk({"content": "b"}, "stop"), chunk({}, "length")
    )

    assert answer_of(events) == answer(
        ir.Text("ab"), finish=ir.Finish("length", "length"), id="c1", model="up-1"
    )


def test_calls_that_end_with_stop_end_with_calls() -> None:
    events = events_of(
        chunk(piece(0, id="1", name="f", arguments="{}")), chunk({}), chunk({}, "stop")
    )

    assert answer_of(events).candidates[0].finish == ir.Finish("tool_calls", "stop")


def test_marker_ends_an_answer_that_gave_no_reason() -> None:
    (candidate,) = answer_of(events_of(chunk({"content": "a"}))).candidates

    assert candidate.finish == ir.Finish("stop")


def test_marker_without_an_answer_is_a_failure() -> None:
    events = events_of()

    assert isinstance(events[0], ir.Failed)
    assert len(events) == 1


def test_last_usage_counts() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    events = events_of(
        chunk({"content": "a"}, usage=usage),
        chunk({"content": "b"}, "stop", usage=usage | {"completion_tokens": 2}),
        {"choices": [], "usage": None},
        {"choices": [], "usage": {"completion_tokens": "lots"}},
    )

    assert events[-1] == ir.End(ir.Usage(5, 2))


def test_usage_is_known_while_the_stream_runs() -> None:
    decoder = CHAT.stream_decoder()
    usage = {"prompt_tokens": 5, "completion_tokens": 1}

    decoder.decode(SSEEvent(b"", json.dumps(chunk({"content": "a"}, usage=usage)).encode()))

    assert decoder.usage == ir.Usage(5, 1)


# -- errors and oddities ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "failure"),
    [
        (
            {"error": {"message": "busy", "type": "rate_limit_error", "code": "slow_down"}},
            ir.Failure(429, "busy", "slow_down"),
        ),
        (
            {"error": {"message": "busy", "code": 503}, "choices": [{"delta": {"content": ""}}]},
            ir.Failure(503, "busy"),
        ),
        ({"error": "broken", "choices": []}, ir.Failure(502, "broken")),
        (
            {"error": {"message": "too long", "code": "context_length_exceeded"}},
            ir.Failure(400, "too long", "context_length_exceeded"),
        ),
        ({"object": "error", "message": "broken", "code": 400}, ir.Failure(400, "broken")),
        (
            {"error": {"code": "x"}},
            ir.Failure(502, "the upstream reported an error in its stream", "x"),
        ),
        ({"error": True}, ir.Failure(502, "the upstream reported an error in its stream")),
    ],
)
def test_error_in_the_stream_is_a_failure(event: dict[str, Any], failure: ir.Failure) -> None:
    assert events_of(event, chunk({"content": "x"})) == [ir.Failed(failure)]
    events = events_of(chunk({"content": "x"}), event)
    check_well_formed(events)
    assert events[-1] == ir.Failed(failure)


def test_event_that_is_named_an_error_is_one() -> None:
    decoder = CHAT.stream_decoder()

    events = decoder.decode(SSEEvent(b"error", b'{"message":"broken"}'))

    assert events == [ir.Failed(ir.Failure(502, "broken"))]


@pytest.mark.parametrize("error", [None, "", {}, False, []])
def test_empty_error_is_none(error: object) -> None:
    events = events_of(chunk({"content": "x"}, "stop", error=error))

    assert isinstance(events[-1], ir.End)


@pytest.mark.parametrize(
    "odd",
    [
        "ping",
        "null",
        "5",
        '"text"',
        "[]",
        "{}",
        '{"choices":null}',
        '{"choices":[]}',
        '{"choices":[{}]}',
        '{"choices":[{"delta":null}]}',
        '{"choices":[{"index":null,"delta":{"content":null,"tool_calls":null}}]}',
        '{"choices":[{"delta":5}]}',
        '{"choices":[{"delta":{"tool_calls":[5]}}]}',
        '{"choices":"many"}',
        '{"id":5,"choices":[{"delta":{"role":7,"content":5,"reasoning":[],"annotations":{}}}]}',
        '{"prompt_filter_results":[{"prompt_index":0}],"choices":[]}',
        '{"unknown":{"deeply":[1]}}',
    ],
)
def test_what_cannot_be_understood_is_passed_over(odd: str) -> None:
    events = events_of(odd, chunk({"content": "a"}), odd, chunk({"content": "b"}, "stop"), odd)

    check_well_formed(events)
    (candidate,) = answer_of(events).candidates
    assert candidate.blocks == [ir.Text("ab")]


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[{"delta"',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":' + b"[" * 5000,
    ],
)
def test_garbled_event_is_passed_over_when_the_rest_is_sound(data: bytes) -> None:
    garbled = b"data: %b\n\n" % data
    stream = transcript("text.sse")
    place = stream.index(b"\n\n") + 2

    inside = read_stream([stream[:place], garbled, stream[place:]])
    last = read_stream([stream[:place], garbled])

    assert inside == read_stream([stream])
    assert last[-1] == ir.Failed(
        ir.Failure(502, "the upstream closed the stream before the answer was complete")
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"a\ud83d", "a\ufffd"),
        (rb"\ude00b", "\ufffdb"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\\ud83d\ud83d", "\\ud83d\ufffd"),
        (rb"\u00fc\n\ud83d", "ü\n\ufffd"),
    ],
)
def test_half_a_character_costs_no_more_than_itself(written: bytes, read: str) -> None:
    decoder = CHAT.stream_decoder()

    told = decoder.decode(SSEEvent(b"", b'{"choices":[{"delta":{"content":"%b"}}]}' % written))

    assert told[-1] == ir.Delta(0, read)


@pytest.mark.parametrize("marker", [b"[DONE]", b" [DONE]", b"[DONE] "])
def test_marker_may_have_white_space_around_it(marker: bytes) -> None:
    decoder = CHAT.stream_decoder()
    decoder.decode(SSEEvent(b"", json.dumps(chunk({"content": "a"})).encode()))

    assert isinstance(decoder.decode(SSEEvent(b"", marker))[-1], ir.End)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


PIECES = st.builds(
    piece,
    st.none() | st.integers(0, 2),
    id=st.sampled_from(["", "1", "2"]),
    name=st.sampled_from([None, "", "f", "g"]),
    arguments=st.sampled_from([None, "", "{", "}", "{}", '"a":', "1"]),
)


DELTAS = (
    PIECES
    | st.dictionaries(st.sampled_from(["content", "reasoning", "refusal"]), st.text(max_size=3))
    | st.dictionaries(
        st.sampled_from(["content", "tool_calls", "function_call", "annotations"]), ANYTHING
    )
)


CHUNKS = st.builds(
    chunk,
    DELTAS,
    st.none() | st.sampled_from(["stop", "tool_calls"]) | ANYTHING,
    index=st.integers(0, 2),
    usage=ANYTHING,
)


@given(st.lists(CHUNKS, max_size=8), st.booleans())
def test_whatever_a_server_sends_is_well_formed(chunks: list[dict[str, Any]], done: bool) -> None:
    check_well_formed(events_of(*chunks, done=done))


@st.composite
def mixed_calls(draw: st.DrawFn) -> tuple[list[str], list[dict[str, Any]]]:
    """Arguments of some calls, and deltas that tell them, the pieces of all calls mixed."""
    wanted = draw(st.lists(arguments(), min_size=1, max_size=3))
    lanes = []
    for index, text in enumerate(wanted):
        cuts = sorted(draw(st.sets(st.integers(1, len(text)), max_size=4)) | {0, len(text)})
        pieces = [piece(index, arguments=text[a:b]) for a, b in itertools.pairwise(cuts)]
        lanes.append([piece(index, id=f"call_{index}", name=f"f{index}", arguments=""), *pieces])
    deltas = [lane.pop(0) for lane in lanes] if draw(st.booleans()) else [lanes[0].pop(0)]
    while any(lanes):
        begun = [place for place, rest in enumerate(lanes) if rest]
        deltas.append(lanes[draw(st.sampled_from(begun))].pop(0))
    return wanted, deltas


@given(mixed_calls())
def test_pieces_of_calls_may_be_mixed_in_any_way(
    mixed: tuple[list[str], list[dict[str, Any]]],
) -> None:
    wanted, deltas = mixed

    told = blocks_of(*deltas)

    assert {block.id: block.arguments for block in told if isinstance(block, ir.ToolCall)} == {
        f"call_{index}": text for index, text in enumerate(wanted)
    }
