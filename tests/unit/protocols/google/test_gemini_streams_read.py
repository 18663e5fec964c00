"""What a provider's stream means, at every split of its bytes and at every early end."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.errors import BadResponse
from bitrouter.sse import SSEEvent
from tests.support.neutral import answer_of, check_well_formed
from tests.support.splits import WIRE, same_at_every_split, transcripts
from tests.unit.protocols.google.geminiwire import (
    TRANSLATOR,
    Body,
    called,
    element,
    events_of,
    read_stream,
    sse,
)

OWN = ir.Signature("g", "AAAA")
SIGNED: Body = {"thoughtSignature": "AAAA"}


def thought(text: str, **members: Any) -> Body:
    return {"text": text, "thought": True} | members


def blocks_of(*elements: Body) -> list[ir.Block]:
    """The blocks of the first candidate of a stream."""
    events = events_of(*elements)
    check_well_formed(events)
    return answer_of(events).candidates[0].blocks


def without_made_ids(events: list[ir.Event]) -> list[ir.Event]:
    """The events with the same id for every call that had none."""
    for event in events:
        if isinstance(event, ir.BlockStart) and event.kind == "tool_call":
            event.id = event.id and "id"
    return events


# -- the transcripts ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", transcripts("google", ".sse"), ids=lambda path: path.name)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_transcript_means_the_same_wherever_it_is_cut(path: Any, end: bytes) -> None:
    transcript = path.read_bytes().replace(b"\n", end)
    events = same_at_every_split(transcript, lambda chunks: without_made_ids(read_stream(chunks)))
    check_well_formed(events)


@pytest.mark.parametrize(
    "name", ["text.sse", "thinking_and_tools.sse", "grounded.sse", "candidates.sse"]
)
def test_a_stream_that_ends_early_failed(name: str) -> None:
    transcript = (WIRE / "google" / name).read_bytes().rstrip(b"\n")
    for length in range(len(transcript)):
        events = read_stream([transcript[:length]])
        check_well_formed(events)
        assert isinstance(events[-1], ir.Failed)
        assert events[-1].failure.status == 502


def test_text() -> None:
    found = answer_of(read_stream([(WIRE / "google" / "text.sse").read_bytes()]))
    assert found == ir.Answer(
        [
            ir.Candidate(
                [ir.Text('Zwölf "error" [{]}\\ \u2028Boxkämpfer\x85 🥊\n\n')],
                ir.Finish("stop", "STOP"),
            )
        ],
        usage=ir.Usage(8, 42, cached_tokens=2, reasoning_tokens=30),
        id="r1",
        model="gemini-2.5-flash",
    )


def test_thoughts_and_parallel_calls_over_several_elements() -> None:
    """The reason to stop comes in an element of its own, after the calls."""
    found = answer_of(read_stream([(WIRE / "google" / "thinking_and_tools.sse").read_bytes()]))
    candidate = found.candidates[0]
    assert candidate.finish == ir.Finish("tool_calls", "STOP")
    reasoning, text, *calls = candidate.blocks
    assert reasoning == ir.Reasoning("**Weather** in Zürich and Genève.\n")
    assert text == ir.Text("I will look.")
    assert [
        (call.name, call.arguments, call.signature)
        for call in calls
        if isinstance(call, ir.ToolCall)
    ] == [
        (
            "get_weather",
            '{"city":"Zürich","days":2,"units":["C","%"]}',
            ir.Signature("g", "Co8CAdHtim9+/aa="),
        ),
        ("get_weather", '{"city":"Genève"}', None),
        ("now", "{}", None),
    ]
    assert len({call.id for call in calls if isinstance(call, ir.ToolCall)}) == 3
    assert found.usage == ir.Usage(57, 76, reasoning_tokens=31)


def test_citations_come_before_the_end_of_their_text() -> None:
    found = answer_of(read_stream([(WIRE / "google" / "grounded.sse").read_bytes()]))
    (text,) = found.candidates[0].blocks
    assert isinstance(text, ir.Text)
    assert [(one.title, one.cited_text, one.start, one.end) for one in text.citations] == [
        ("uefa.com", "Spain won Euro 2024.", 0, 20),
        ("bbc.com", "Spain won Euro 2024.", 0, 20),
    ]


def test_candidates_side_by_side() -> None:
    found = answer_of(read_stream([(WIRE / "google" / "candidates.sse").read_bytes()]))
    assert [(one.index, one.blocks, one.finish.reason) for one in found.candidates] == [
        (0, [ir.Text("Heads!")], "stop"),
        (1, [ir.Text("Tails it is")], "length"),
    ]


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    events = read_stream([(WIRE / "google" / "blocked.sse").read_bytes()])
    check_well_formed(events)
    found = answer_of(events)
    assert found.candidates == [ir.Candidate([], ir.Finish("filtered", "SAFETY"))]
    assert found.usage == ir.Usage(8, 0)


def test_a_prompt_that_is_blocked_late_filters_what_has_no_end() -> None:
    events = events_of(element("a"), {"promptFeedback": {"blockReason": "SAFETY"}})
    check_well_formed(events)
    (candidate,) = answer_of(events).candidates
    assert candidate == ir.Candidate([ir.Text("a")], ir.Finish("filtered", "SAFETY"))


def test_an_error_is_a_failure_of_its_class() -> None:
    events = read_stream([(WIRE / "google" / "error.sse").read_bytes()])
    check_well_formed(events)
    assert events[-1] == ir.Failed(ir.Failure(503, "The model is overloaded."))


# -- each event ---------------------------------------------------------------------------------


def test_each_part_is_told_on_the_element_that_has_it() -> None:
    decoder = TRANSLATOR.stream_decoder()

    def decode(body: Body) -> list[ir.Event]:
        return list(decoder.decode(SSEEvent(b"", json.dumps(body).encode())))

    usage = {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1}}
    assert decode(element(thought("hm")) | usage | {"responseId": "r", "modelVersion": "m"}) == [
        ir.Start("r", "m", ir.Usage(5)),
        ir.BlockStart(0, "reasoning"),
        ir.Delta(0, "hm"),
    ]
    assert decode(element(thought(" so"))) == [ir.Delta(0, " so")]
    assert decode(element("a", "b")) == [
        ir.BlockEnd(0),
        ir.BlockStart(1, "text"),
        ir.Delta(1, "a"),
        ir.Delta(1, "b"),
    ]
    assert decode(element(called("f", "1") | SIGNED)) == [
        ir.BlockEnd(1),
        ir.BlockStart(2, "tool_call", id="1", name="f"),
        ir.Signed(2, OWN),
        ir.Delta(2, "{}"),
        ir.BlockEnd(2),
    ]
    assert decode(element("", finish="STOP")) == []
    assert decoder.usage == ir.Usage(5, 1)
    assert decoder.finish() == [
        ir.Finished(ir.Finish("tool_calls", "STOP")),
        ir.End(ir.Usage(5, 1)),
    ]
    assert decoder.finish() == []
    assert decode(element("late")) == []


def test_what_comes_after_the_reason_to_stop_is_not_lost() -> None:
    found = blocks_of(element("a", finish="STOP"), element("b"), element(called("f", "1")))
    assert found == [ir.Text("ab"), ir.ToolCall("1", "f", "{}")]


@pytest.mark.parametrize("finish", ["MAX_TOKENS", "SAFETY"])
def test_the_last_reason_counts(finish: str) -> None:
    events = events_of(element("a", finish="STOP"), element(finish=finish))
    assert isinstance(events[-2], ir.Finished)
    assert events[-2].finish.raw == finish


def test_calls_of_one_function_get_ids_of_their_own() -> None:
    found = blocks_of(element(called(), called()), element(called()), element(finish="STOP"))
    assert len({block.id for block in found if isinstance(block, ir.ToolCall)}) == 3


def test_signatures_of_thoughts_and_of_texts() -> None:
    assert blocks_of(
        element(thought("a")),
        element(thought("b", **SIGNED)),
        element(thought("c")),
        element(thought("", **SIGNED)),
        element("d"),
        element({"text": "e", **SIGNED}),
        element({"text": "", **SIGNED}),
        element("f", finish="STOP"),
    ) == [
        ir.Reasoning("ab", OWN),
        ir.Reasoning("c", OWN),
        ir.Text("de"),
        ir.Reasoning("", OWN),
        ir.Reasoning("", OWN),
        ir.Text("f"),
    ]


@pytest.mark.parametrize(
    "candidate",
    [
        {},
        {"content": None},
        {"content": {"role": "model"}},
        {"content": {"parts": []}},
        {"content": {"parts": [{}, {"text": ""}, {"inlineData": {"data": "AAAA"}}]}},
        {"content": {"parts": [{"functionCall": {}}, {"functionCall": {"name": "f", "args": []}}]}},
        {"safetyRatings": [], "tokenCount": 3, "avgLogprobs": -0.1},
    ],
)
def test_elements_that_say_nothing(candidate: Body) -> None:
    found = blocks_of(element("a"), {"candidates": [candidate]}, element("b", finish="STOP"))
    assert found == [ir.Text("ab")]


@pytest.mark.parametrize("data", [b"[DONE]", b"", b"nonsense", b"3", b"null", b'{"half":', b"\xff"])
def test_what_is_no_element_is_passed_over(data: bytes) -> None:
    stream = sse(element("a")) + b"data: %b\n\n" % data + sse(element("b", finish="STOP"))
    assert answer_of(read_stream([stream])).candidates[0].blocks == [ir.Text("ab")]


def test_arguments_that_are_no_text_are_a_bad_response() -> None:
    stream = sse(element(called("f", args={"a": "bytes"}))).replace(b"bytes", b"\xff")
    with pytest.raises(BadResponse, match="UTF-8"):
        read_stream([stream])


def test_comments_and_names_are_passed_over() -> None:
    stream = b": hello\n\nevent: x\n" + sse(element("a", finish="STOP")) + b": bye\n\n"
    assert answer_of(read_stream([stream])).candidates[0].blocks == [ir.Text("a")]


def test_usage_that_comes_last_counts() -> None:
    events = events_of(
        element("a") | {"usageMetadata": {"promptTokenCount": 5}},
        element("b", finish="STOP"),
        {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}},
    )
    assert events[-1] == ir.End(ir.Usage(5, 2))


def test_probabilities_go_with_the_text_of_their_element() -> None:
    result = {"chosenCandidates": [{"token": "a", "logProbability": -0.5}]}
    events = events_of(
        element(thought("hm"), "a", "b", logprobsResult=result),
        element("c", finish="STOP"),
    )
    check_well_formed(events)
    deltas = {event.text: event.logprobs for event in events if isinstance(event, ir.Delta)}
    told = (ir.LogProb("a", -0.5),)
    assert deltas == {"hm": (), "a": told, "b": (), "c": ()}


def cited(*elements: Body) -> list[tuple[int | None, int | None]]:
    """Where the citations of a stream stand."""
    return [
        (event.citation.start, event.citation.end)
        for event in events_of(*elements)
        if isinstance(event, ir.Cited)
    ]


def grounding(start: int, end: int) -> Body:
    segment = {"startIndex": start, "endIndex": end}
    return {
        "groundingChunks": [{"web": {"uri": "https://a.org"}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
    }


def test_citations_count_from_the_start_of_their_text() -> None:
    end = element("de", finish="STOP", groundingMetadata=grounding(3, 5))
    assert cited(element("abc"), element(called("f", "1")), end) == [(0, 2)]


def test_citations_of_text_that_is_not_ascii_say_no_place() -> None:
    end = element("de", finish="STOP", groundingMetadata=grounding(3, 5))
    assert cited(element("äbc"), end) == [(None, None)]


def test_the_newest_citations_replace_those_before() -> None:
    first = element("abc", groundingMetadata=grounding(0, 1))
    assert cited(first, element(finish="STOP", groundingMetadata=grounding(1, 3))) == [(1, 3)]


def test_citations_without_a_text_are_passed_over() -> None:
    end = element(finish="STOP", groundingMetadata=grounding(0, 1))
    check_well_formed(events_of(element(called("f", "1")), end))
    assert cited(element(called("f", "1")), end) == []


# -- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}, ir.Failure(429, "slow")),
        ({"message": "slow", "status": "RESOURCE_EXHAUSTED"}, ir.Failure(429, "slow")),
        ({"code": 200, "message": "odd", "status": "NEW"}, ir.Failure(502, "odd")),
        ({"code": "oops", "message": "odd"}, ir.Failure(502, "odd")),
        (
            {
                "code": 400,
                "message": "API key not valid",
                "details": [{"@type": "x", "reason": "API_KEY_INVALID"}],
            },
            ir.Failure(401, "API key not valid"),
        ),
        (
            {
                "code": 429,
                "message": "slow",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.RetryInfo",
                        "retryDelay": "17.5s",
                    }
                ],
            },
            ir.Failure(429, "slow", retry_after_s=17.5),
        ),
    ],
)
@pytest.mark.parametrize("in_array", [False, True])
def test_errors_in_the_stream(error: Body, failure: ir.Failure, in_array: bool) -> None:
    told: Any = {"error": error}
    events = events_of(element("a"), [told] if in_array else told, element("b", finish="STOP"))
    check_well_formed(events)
    assert events[-1] == ir.Failed(failure)


def test_an_error_without_a_word_is_one_all_the_same() -> None:
    events = events_of({"error": {"code": 500}})
    check_well_formed(events)
    assert isinstance(events[-1], ir.Failed)
    assert events[-1].failure.status == 500


@pytest.mark.parametrize(
    "elements",
    [
        (),
        (element("a"),),
        (element(called("f", "1")),),
        ({"usageMetadata": {"promptTokenCount": 3}},),
        ({"promptFeedback": {}},),
        (element("a", finish="STOP"), element("b", index=1)),
    ],
)
def test_no_reason_to_stop_is_a_failure(elements: tuple[Body, ...]) -> None:
    events = events_of(*elements)
    check_well_formed(events)
    assert isinstance(events[-1], ir.Failed)
    assert events[-1].failure.status == 502


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.sampled_from(["STOP", "model", "a", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("candidates", "content", "parts", "text", "functionCall", "name", "args"),
                    *("finishReason", "index", "usageMetadata", "error", "message", "code"),
                    *("promptFeedback", "blockReason", "groundingMetadata", "logprobsResult"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_values, max_size=4))
def test_nothing_that_an_upstream_may_say_breaks_the_grammar(elements: list[Any]) -> None:
    check_well_formed(events_of(element("a"), *elements, element("b", finish="STOP")))
