"""What a chat server's stream means. Every transcript runs at every split."""

import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.sse import SSEEvent
from tests.support.neutral import answer_of, check_well_formed
from tests.support.splits import same_at_every_split, transcripts
from tests.unit.protocols.chat.chatwire import CHAT, chunk, events_of, read_stream
from tests.unit.protocols.chat.streamparts import answer, blocks_of, piece, transcript

TRANSCRIPTS = [path.name for path in transcripts("chat", ".sse")]


def call(call_id: str, name: str, arguments: str, **more: Any) -> ir.ToolCall:
    return ir.ToolCall(call_id, name, arguments, **more)


STOP = ir.Finish("stop", "stop")


CALLS = ir.Finish("tool_calls", "tool_calls")


EXPECTED = {
    "text.sse": answer(
        ir.Text('Zwölf "error" Boxkämpfer \u2028jagen 🥊\n\n'),
        finish=STOP,
        usage=ir.Usage(19, 10, 4, None, 3),
        id="chatcmpl-1",
        model="gpt-4o",
    ),
    "comments.sse": answer(ir.Text("Hi"), finish=STOP, id="chatcmpl-1", model="gpt-4o"),
    "without_done.sse": answer(
        ir.Text("Hi"),
        finish=ir.Finish("length", "length"),
        usage=ir.Usage(19, 10, 4, None, 3),
        id="chatcmpl-1",
        model="gpt-4o",
    ),
    "tools.sse": answer(
        call("call_1", "look_up", '{"error":"data: [DONE]\\n\\n"}'),
        finish=CALLS,
        id="chatcmpl-1",
        model="gpt-4o",
    ),
    "parallel_tools.sse": answer(
        ir.Text("Both at once."),
        call("call_1", "look_up", '{"city":"Z\\u00fcrich"}'),
        call("call_2", "look_up", '{"city":"Bern"}'),
        finish=CALLS,
        usage=ir.Usage(61, 48, 0, None, 0),
        id="chatcmpl-2",
        model="gpt-4o",
    ),
    "interleaved_tools.sse": answer(
        call("call_1", "add", '{"a":1}'),
        call("call_2", "subtract", '{"b":2}'),
        finish=CALLS,
        id="chatcmpl-2",
        model="gpt-4o",
    ),
    "same_index.sse": answer(
        call("call_a", "look_up", '{"city":"Bern"}', signature=ir.Signature("g", "c2lnbmF0dXJl")),
        call("call_b", "look_up", '{"city":"Chur"}'),
        finish=ir.Finish("tool_calls", "stop"),
        usage=ir.Usage(20, 9),
        id="g-1",
        model="gemini-3-pro",
    ),
    "reasoning.sse": answer(
        ir.Reasoning("Two and two…"),
        ir.Text("Four."),
        finish=STOP,
        usage=ir.Usage(12, 30, 8, None, 25),
        id="7f3",
        model="deepseek-reasoner",
    ),
    "imitator.sse": answer(
        ir.Reasoning("Let me see."),
        ir.Text("Yes."),
        finish=STOP,
        usage=ir.Usage(5, 4),
        id="gen-1",
        model="vendor/model",
    ),
    "candidates.sse": ir.Answer(
        [
            ir.Candidate([ir.Text("Heads!")], STOP),
            ir.Candidate([ir.Text("Tails")], ir.Finish("length", "length"), 1),
        ],
        id="chatcmpl-2",
        model="gpt-4o",
    ),
    "refused.sse": answer(
        ir.Refusal("I cannot help."),
        finish=ir.Finish("filtered", "stop"),
        id="chatcmpl-2",
        model="gpt-4o",
    ),
}


FAILED = {
    "error.sse": ir.Failure(500, "The server had an error"),
}


WITHOUT_ID = {"legacy_function.sse"}  # which gets one that is new every time


def test_every_transcript_has_its_meaning() -> None:
    assert {*EXPECTED, *FAILED, *WITHOUT_ID} == {*TRANSCRIPTS}


@pytest.mark.parametrize("name", EXPECTED)
def test_stream_means_the_same_however_it_is_cut(name: str) -> None:
    events = same_at_every_split(transcript(name), read_stream)

    check_well_formed(events)
    assert answer_of(events) == EXPECTED[name]


@pytest.mark.parametrize("name", FAILED)
def test_providers_error_is_the_last_event(name: str) -> None:
    events = same_at_every_split(transcript(name), read_stream)

    check_well_formed(events)
    assert events[-1] == ir.Failed(FAILED[name])


def test_legacy_call_is_a_call_with_an_id_of_its_own() -> None:
    (candidate,) = answer_of(read_stream([transcript("legacy_function.sse")])).candidates

    (block,) = candidate.blocks
    assert isinstance(block, ir.ToolCall)
    assert block == call(block.id, "look_up", '{"city":"Bern"}')
    assert block.id.startswith("call_")
    assert candidate.finish == ir.Finish("tool_calls", "function_call")


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_stream_with_crlf_means_the_same(name: str) -> None:
    stream = transcript(name)

    events = read_stream([stream.replace(b"\n", b"\r\n")])

    if name not in WITHOUT_ID:
        assert events == read_stream([stream])
    check_well_formed(events)


def place_of_the_last_reason(stream: bytes) -> int:
    """Where the event begins with which, for the first time, every candidate has a reason."""
    read = b""
    for event in stream.split(b"\n\n"):
        longer = read + event + b"\n\n"
        if isinstance(read_stream([longer])[-1], ir.End):
            break
        read = longer
    return len(read)


@pytest.mark.parametrize("name", sorted({*TRANSCRIPTS} - {*FAILED}))
def test_stream_cut_before_its_finish_reason_fails(name: str) -> None:
    stream = transcript(name)
    end = place_of_the_last_reason(stream)
    assert b'"finish_reason":"' in stream[end:].split(b"\n\n")[0]

    for place in range(end):
        events = read_stream([stream[:place]])
        assert isinstance(events[-1], ir.Failed), f"cut at {place}"
        check_well_formed(events)


@pytest.mark.parametrize("name", sorted({*TRANSCRIPTS} - {*FAILED}))
def test_stream_cut_after_its_finish_reason_is_complete(name: str) -> None:
    stream = transcript(name)
    after = stream.index(b"\n\n", place_of_the_last_reason(stream)) + 2

    for place in range(after, len(stream) + 1):
        assert isinstance(read_stream([stream[:place]])[-1], ir.End), f"cut at {place}"


def test_end_of_every_candidate_is_awaited() -> None:
    events = events_of(
        chunk({"content": "a"}, "stop"), chunk({"content": "b"}, index=1), done=False
    )

    assert isinstance(events[-1], ir.Failed)


# -- when things are told ---------------------------------------------------------------------


def decoded_one_by_one(*chunks: dict[str, Any] | str) -> list[list[ir.Event]]:
    decoder = CHAT.stream_decoder()
    texts = [one if isinstance(one, str) else json.dumps(one) for one in chunks]
    return [decoder.decode(SSEEvent(b"", text.encode())) for text in texts]


def test_each_delta_is_told_on_its_own_event() -> None:
    told = decoded_one_by_one(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "a"}),
        chunk({"content": "b"}),
        chunk(piece(0, id="1", name="f", arguments="")),
        chunk(piece(0, arguments="{")),
        chunk(piece(0, arguments="}")),
        chunk({}, "tool_calls"),
        "[DONE]",
    )

    assert told == [
        [ir.Start("c1", "up-1")],
        [ir.BlockStart(0, "reasoning"), ir.Delta(0, "a")],
        [ir.BlockEnd(0), ir.BlockStart(1, "text"), ir.Delta(1, "b")],
        [ir.BlockEnd(1), ir.BlockStart(2, "tool_call", id="1", name="f")],
        [ir.Delta(2, "{")],
        [ir.Delta(2, "}")],
        [],
        [ir.BlockEnd(2), ir.Finished(CALLS), ir.End()],
    ]


def test_second_call_is_told_as_it_comes_once_the_first_is_whole() -> None:
    told = decoded_one_by_one(
        chunk(piece(0, id="1", name="f", arguments='{"a"')),
        chunk(piece(1, id="2", name="g", arguments='{"b"')),
        chunk(piece(0, arguments=":1}")),
        chunk(piece(1, arguments=":2}")),
    )

    assert told[1] == []
    assert told[2] == [
        ir.Delta(0, ":1}"),
        ir.BlockEnd(0),
        ir.BlockStart(1, "tool_call", id="2", name="g"),
        ir.Delta(1, '{"b"'),
    ]
    assert told[3] == [ir.Delta(1, ":2}")]


def test_call_waits_for_its_name() -> None:
    told = decoded_one_by_one(
        chunk(piece(0, id="1", arguments="{")),
        chunk(piece(0, name="", arguments='"a":')),
        chunk(piece(0, name="f", arguments="1}")),
    )

    assert told[1] == []
    assert told[2] == [
        ir.BlockStart(0, "tool_call", id="1", name="f"),
        ir.Delta(0, "{"),
        ir.Delta(0, '"a":'),
        ir.Delta(0, "1}"),
    ]


def test_nothing_is_said_after_the_end() -> None:
    told = decoded_one_by_one(chunk({}, "stop"), "[DONE]", chunk({"content": "x"}), "[DONE]")

    assert told[2:] == [[], []]


# -- calls, as servers that imitate the API write them ----------------------------------------


def test_repeated_id_and_name_are_the_same_call() -> None:
    assert blocks_of(
        piece(0, id="1", name="f", arguments='{"a":'),
        piece(0, id="1", name="f", arguments="1"),
        piece(0, id="1", name="f", arguments="}"),
    ) == [call("1", "f", '{"a":1}')]


def test_new_id_with_every_piece_is_the_same_call() -> None:
    assert blocks_of(
        piece(0, id="1", name="f", arguments=""),
        piece(0, id="2", arguments="{}"),
        piece(0, id="3", arguments=" "),
    ) == [call("1", "f", "{} ")]


def test_calls_without_index_are_told_apart_by_their_ids() -> None:
    assert blocks_of(
        piece(None, id="1", name="f", arguments='{"a":'),
        piece(None, arguments="1}"),
        piece(None, id="2", name="g", arguments="{}"),
    ) == [call("1", "f", '{"a":1}'), call("2", "g", "{}")]


def test_calls_without_index_and_id_are_told_apart_by_their_names() -> None:
    first, second = blocks_of(
        piece(None, name="f", arguments="{}"), piece(None, name="f", arguments='{"a":1}')
    )

    assert isinstance(first, ir.ToolCall)
    assert isinstance(second, ir.ToolCall)
    assert (first.arguments, second.arguments) == ("{}", '{"a":1}')
    assert first.id != second.id


def test_calls_without_arguments_have_an_empty_object_of_them() -> None:
    assert blocks_of(
        piece(0, id="1", name="f"), piece(1, id="2", name="g", arguments=""), {"content": ""}
    ) == [call("1", "f", "{}"), call("2", "g", "{}")]


def test_arguments_may_be_an_object() -> None:
    assert blocks_of(piece(0, id="1", name="f", arguments={"b": 1, "a": [2]})) == [
        call("1", "f", '{"b":1,"a":[2]}')
    ]


def test_several_calls_may_come_in_one_piece() -> None:
    both = piece(0, id="1", name="f", arguments="{}")
    both["tool_calls"] += piece(1, id="2", name="g", arguments="{}")["tool_calls"]

    assert blocks_of(both) == [call("1", "f", "{}"), call("2", "g", "{}")]


def test_free_text_call_is_one() -> None:
    custom = {"index": 0, "id": "1", "type": "custom", "custom": {"name": "sh", "input": "l"}}
    more = {"index": 0, "custom": {"input": "s"}}

    assert blocks_of({"tool_calls": [custom]}, {"tool_calls": [more]}) == [
        call("1", "sh", "ls", custom=True)
    ]


def test_signature_may_come_after_its_call_has_begun() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}

    assert blocks_of(
        piece(0, id="1", name="f", arguments="{"), piece(0, arguments="}", **signed)
    ) == [call("1", "f", "{}", signature=ir.Signature("g", "c2ln"))]


@pytest.mark.parametrize("extra", [{}, {"google": {}}, 5])
def test_extra_content_of_another_kind_is_no_signature(extra: object) -> None:
    assert blocks_of(piece(0, id="1", name="f", arguments="{}", extra_content=extra)) == [
        call("1", "f", "{}")
    ]


def test_call_without_a_name_is_none() -> None:
    assert blocks_of({"content": "x"}, piece(0, id="1", arguments="{}")) == [ir.Text("x")]


def test_text_after_a_call_is_a_block_of_its_own() -> None:
    assert blocks_of(
        {"content": "a"}, piece(0, id="1", name="f", arguments="{}"), {"content": "b"}
    ) == [ir.Text("a"), call("1", "f", "{}"), ir.Text("b")]


def test_whole_message_in_a_chunk_is_an_answer_but_not_said_twice() -> None:
    message = {"role": "assistant", "content": "all of it"}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    alone = answer_of(events_of(whole)).candidates[0]
    after = answer_of(events_of(chunk({"content": "all of "}), chunk({"content": "it"}), whole))

    assert alone.blocks == [ir.Text("all of it")]
    assert after.candidates[0].blocks == [ir.Text("all of it")]


def test_empty_list_of_calls_and_empty_text_say_nothing() -> None:
    assert blocks_of({"content": "a", "tool_calls": []}, {"content": "", "refusal": ""}) == [
        ir.Text("a")
    ]


# -- text, logprobs, citations ----------------------------------------------------------------


def test_parts_of_content_are_understood() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}

    assert blocks_of({"content": [thinking]}, {"content": [{"type": "text", "text": "a"}]}) == [
        ir.Reasoning("hm"),
        ir.Text("a"),
    ]


def test_logprobs_come_with_their_text() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}]}

    told = decoded_one_by_one(chunk({"content": "a"}, logprobs=logprobs))

    assert told[0][-1] == ir.Delta(0, "a", (ir.LogProb("a", -1.0, (97,)),))


def test_citations_count_the_characters_of_their_block() -> None:
    cited = {"url": "https://e.org", "title": "t", "start_index": 3, "end_index": 4}
    annotations = [{"type": "url_citation", "url_citation": cited}]

    assert blocks_of(
        {"content": "ab"},
        piece(0, id="1", name="f", arguments="{}"),
        {"content": "cde"},
        {"annotations": annotations},
    )[-1] == ir.Text("cde", citations=(ir.Citation("https://e.org", "t", start=1, end=2),))


def test_citation_without_a_text_is_passed_over() -> None:
    annotations = [{"type": "url_citation", "url_citation": {"url": "https://e.org"}}]

    assert blocks_of({"annotations": annotations}) == []
