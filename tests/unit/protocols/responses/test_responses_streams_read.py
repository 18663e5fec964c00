"""A provider's stream in the neutral form: as OpenAI writes it, and as others do."""

from typing import Any

import pytest

from bitrouter import ir
from tests.support.neutral import answer_of, check_well_formed
from tests.support.splits import WIRE, same_at_every_split, transcripts
from tests.unit.protocols.responses.responseswire import (
    completed,
    created,
    events_of,
    function_call,
    message,
    output_text,
    read_stream,
    reasoning,
    text_delta,
    told,
)
from tests.unit.protocols.responses.streamparts import PAGE, blocks_of, finish_of

CALL_1 = ir.ToolCall("call_1", "get_weather", '{"city":"Köln"}')


CALL_2 = ir.ToolCall("call_2", "get_weather", '{"city":"Bonn"}')


COMPLETE = [
    path for path in transcripts("responses", ".sse") if path.stem not in ("error", "failed")
]


# -- transcripts ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", transcripts("responses", ".sse"), ids=lambda path: path.name)
def test_events_are_well_formed_wherever_the_network_cuts(path: Any) -> None:
    check_well_formed(same_at_every_split(path.read_bytes(), read_stream))


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: path.name)
def test_stream_that_is_cut_fails_and_never_ends(path: Any) -> None:
    transcript = path.read_bytes()
    last_event = transcript.rstrip().rindex(b"\n\n")
    for end in range(0, last_event, 7):
        read = read_stream([transcript[:end]])
        check_well_formed(read)
        assert isinstance(read[-1], ir.Failed)
        assert read[-1].failure.status == 502


@pytest.mark.parametrize("name", ["text.sse", "without_names.sse"])
def test_text_is_told_piece_by_piece(name: str) -> None:
    read = read_stream([(WIRE / "responses" / name).read_bytes()])

    assert read == [
        ir.Start("resp_1", "gpt-4o"),
        ir.BlockStart(0, "text"),
        ir.Delta(0, 'Zwölf "error"'),
        ir.Delta(0, '\u2028 "response.completed" 🥊'),
        ir.BlockEnd(0),
        ir.Finished(ir.Finish("stop", raw="completed")),
        ir.End(ir.Usage(37, 11, 5, None, 2)),
    ]


def test_reasoning_text_and_calls_keep_their_order() -> None:
    read = read_stream([(WIRE / "responses" / "reasoning_and_tools.sse").read_bytes()])

    answer = answer_of(read)
    assert answer.usage == ir.Usage(37, 61, 5, 2, 40)
    assert answer.candidates[0].finish == ir.Finish("tool_calls", raw="completed")
    assert answer.candidates[0].blocks == [
        ir.Reasoning(
            "**Wetter** prüfen\n\nZwei Orte.", ir.Signature("o", "gAAAAABo_ENC==", "rs_1")
        ),
        ir.Text("Ich sehe nach 🌦"),
        CALL_1,
        CALL_2,
        ir.ToolCall("call_3", "shell", "ls -l", custom=True),
    ]


def test_arguments_are_told_as_they_come() -> None:
    read = read_stream([(WIRE / "responses" / "reasoning_and_tools.sse").read_bytes()])

    start = next(event for event in read if isinstance(event, ir.BlockStart) and event.id)
    deltas = [e.text for e in read if isinstance(e, ir.Delta) and e.index == start.index]
    assert deltas == ['{"city":', '"Köln"}']


def test_answer_is_rebuilt_from_items_where_the_final_output_is_empty() -> None:
    read = read_stream([(WIRE / "responses" / "unannounced.sse").read_bytes()])

    assert answer_of(read).candidates[0].blocks == [ir.Text("Ich sehe nach 🌦"), CALL_1, CALL_2]


def test_incomplete_is_a_normal_end() -> None:
    read = read_stream([(WIRE / "responses" / "incomplete.sse").read_bytes()])

    assert read[-2:] == [
        ir.Finished(ir.Finish("length", raw="max_output_tokens")),
        ir.End(ir.Usage(37, 11, 5, None, 2)),
    ]


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        (
            "failed.sse",
            ir.Failure(500, "The model failed to generate a response.", "server_error"),
        ),
        ("error.sse", ir.Failure(502, "Something went wrong", "ERR_SOMETHING")),
    ],
)
def test_providers_own_error_is_its_words_and_its_class(name: str, failure: ir.Failure) -> None:
    read = read_stream([(WIRE / "responses" / name).read_bytes()])

    assert read[-1] == ir.Failed(failure)


# -- what is told once ------------------------------------------------------------------------


def test_what_came_in_pieces_is_not_told_again_when_it_is_there_whole() -> None:
    blocks = blocks_of(
        created(),
        text_delta("Hi"),
        told("output_text.done", content_index=0, text="Hi"),
        told("content_part.done", content_index=0, part=output_text("Hi")),
        told("output_item.done", item=message("Hi")),
        completed(message("Hi")),
    )

    assert blocks == [ir.Text("Hi")]


@pytest.mark.parametrize(
    "events",
    [
        [told("output_text.done", content_index=0, text="Hi")],
        [told("output_item.done", item=message("Hi"))],
        [completed(message("Hi"))],
    ],
    ids=["its end", "its item", "the answer"],
)
def test_text_without_pieces_is_told_by_whatever_has_it_whole(events: list[Any]) -> None:
    assert blocks_of(created(), *events, completed(message("Hi"))) == [ir.Text("Hi")]


@pytest.mark.parametrize(
    "events",
    [
        [told("refusal.delta", content_index=0, delta="No.")],
        [told("refusal.done", content_index=0, refusal="No.")],
        [told("output_item.done", item=message({"type": "refusal", "refusal": "No."}))],
        [],
    ],
    ids=["pieces", "its end", "its item", "the answer"],
)
def test_refusal_is_told_once_and_filters_the_answer(events: list[Any]) -> None:
    whole = completed(message({"type": "refusal", "refusal": "No."}))

    assert blocks_of(created(), *events, whole) == [ir.Refusal("No.")]
    assert finish_of(created(), *events, whole).reason == "filtered"


@pytest.mark.parametrize(
    "events",
    [
        [
            told("output_item.added", item=function_call(arguments="")),
            told("function_call_arguments.delta", item_id="fc_call_1", delta='{"a":1}'),
            told("function_call_arguments.done", item_id="fc_call_1", arguments='{"a":1}'),
            told("output_item.done", item=function_call()),
        ],
        [
            told("output_item.added", item=function_call(arguments="")),
            told("function_call_arguments.done", item_id="fc_call_1", arguments='{"a":1}'),
        ],
        [
            told("output_item.added", item=function_call(arguments="")),
            told("function_call_arguments.done", arguments={"a": 1}),
        ],
        [told("output_item.added", item=function_call())],
        [told("output_item.done", item=function_call())],
        [told("function_call_arguments.delta", delta='{"a":1}')],
        [
            told("function_call_arguments.delta", delta="{"),
            told("output_item.done", item=function_call()),
        ],
        [told("output_item.done", item=function_call(arguments={"a": 1}))],
        [],
    ],
    ids=[
        *("as it should be", "only the end of the arguments", "an object at the end"),
        *("all of it when it begins", "only the item", "not announced", "announced too late"),
        *("an object", "only the answer"),
    ],
)
def test_call_is_told_once_however_it_comes(events: list[Any]) -> None:
    blocks = blocks_of(created(), *events, completed(function_call()))

    assert blocks == [ir.ToolCall("call_1", "f", '{"a":1}')]


def test_call_without_arguments_is_one_of_an_empty_object() -> None:
    call = function_call(arguments="")
    events = [told("output_item.added", item=call), told("output_item.done", item=call)]

    assert blocks_of(created(), *events, completed()) == [ir.ToolCall("call_1", "f", "{}")]


def test_free_text_tool_may_be_called_with_nothing() -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": ""}
    events = [told("output_item.added", item=call), told("output_item.done", item=call)]

    assert blocks_of(created(), *events, completed()) == [ir.ToolCall("c", "f", "", custom=True)]


def test_identity_of_a_call_is_its_call_id() -> None:
    call = function_call("call_A", id="fc_Z")

    blocks = blocks_of(
        created(),
        told("output_item.added", item=call | {"arguments": ""}),
        told("function_call_arguments.delta", item_id="fc_Z", delta="{}"),
        completed(call | {"id": "fc_other", "arguments": "{}"}),
    )

    assert blocks == [ir.ToolCall("call_A", "f", "{}")]


@pytest.mark.parametrize(("ids", "expected"), [({"id": "fc_1"}, "fc_1"), ({}, "call_")])
def test_call_without_call_id_has_another(ids: dict[str, str], expected: str) -> None:
    call = {"type": "function_call", "name": "f", "arguments": "{}", **ids}

    (block,) = blocks_of(created(), told("output_item.done", item=call), completed())

    assert isinstance(block, ir.ToolCall)
    assert block.id.startswith(expected)


def test_calls_that_overlap_are_told_one_after_the_other() -> None:
    first, second = function_call("c1", name="a"), function_call("c2", name="b")
    blocks = blocks_of(
        created(),
        told("output_item.added", 0, item=first | {"arguments": ""}),
        told("output_item.added", 1, item=second | {"arguments": ""}),
        told("function_call_arguments.delta", 1, item_id="fc_c2", delta='{"y":'),
        told("function_call_arguments.delta", 0, item_id="fc_c1", delta='{"x":'),
        text_delta("and", 2),
        told("function_call_arguments.delta", 1, item_id="fc_c2", delta="2}"),
        told("function_call_arguments.delta", 0, item_id="fc_c1", delta="1}"),
        told("output_item.done", 0, item=first | {"arguments": '{"x":1}'}),
        told("output_item.done", 1, item=second | {"arguments": '{"y":2}'}),
        completed(),
    )

    assert blocks == [
        ir.ToolCall("c1", "a", '{"x":1}'),
        ir.ToolCall("c2", "b", '{"y":2}'),
        ir.Text("and"),
    ]


def test_calls_that_never_end_are_told_at_the_end_of_the_answer() -> None:
    blocks = blocks_of(
        created(),
        told("output_item.added", 0, item=function_call("c1", arguments="")),
        told("output_item.added", 1, item=function_call("c2", arguments="")),
        told("function_call_arguments.delta", 0, delta='{"x":1}'),
        told("function_call_arguments.delta", 1, delta='{"y":2}'),
        completed(),
    )

    assert blocks == [ir.ToolCall("c1", "f", '{"x":1}'), ir.ToolCall("c2", "f", '{"y":2}')]


@pytest.mark.parametrize("place", ["output_index", "item_id"])
def test_items_go_by_their_number_or_their_id(place: str) -> None:
    def event(name: str, number: int, **members: Any) -> dict[str, Any]:
        where = number if place == "output_index" else f"fc_{number}"
        return {"type": f"response.{name}", place: where, **members}

    blocks = blocks_of(
        created(),
        event("output_item.added", 0, item=function_call("c0", id="fc_0", arguments="")),
        event("output_item.added", 1, item=function_call("c1", id="fc_1", arguments="")),
        event("function_call_arguments.delta", 1, delta="[1]"),
        event("function_call_arguments.delta", 0, delta="[0]"),
        completed(),
    )

    assert blocks == [ir.ToolCall("c0", "f", "[0]"), ir.ToolCall("c1", "f", "[1]")]


def test_server_that_numbers_all_items_alike_is_understood() -> None:
    first, second = function_call("c1"), function_call("c2")
    blocks = blocks_of(
        created(),
        told("output_item.done", item=reasoning("Hm", id="rs_1")),
        told("output_item.added", item=first | {"arguments": ""}),
        told("function_call_arguments.done", arguments='{"a":1}'),
        told("output_item.done", item=first),
        told("output_item.added", item=second | {"arguments": ""}),
        told("function_call_arguments.delta", delta='{"a":1}'),
        told("output_item.done", item=second),
        completed(reasoning("Hm", id="rs_1"), first, second),
    )

    call = ir.ToolCall("c1", "f", '{"a":1}')
    assert blocks == [ir.Reasoning("Hm"), call, ir.ToolCall("c2", "f", '{"a":1}')]


def test_text_with_a_new_item_id_for_each_piece_is_one_text() -> None:
    pieces = [text_delta(text, item_id=f"msg_{text}") for text in ("a", "b", "c")]

    assert blocks_of(created(), *pieces, completed(message("abc", id="msg_z"))) == [ir.Text("abc")]


def test_texts_of_two_messages_are_two_blocks() -> None:
    blocks = blocks_of(created(), text_delta("a", 0), text_delta("b", 1), completed())

    assert blocks == [ir.Text("a"), ir.Text("b")]


def test_items_of_the_final_output_that_were_not_streamed_are_told() -> None:
    blocks = blocks_of(
        created(),
        text_delta("Hi", 0, item_id="msg_1"),
        completed(message("Hi"), function_call(), message("Bye", id="msg_2")),
    )

    assert blocks == [ir.Text("Hi"), ir.ToolCall("call_1", "f", '{"a":1}'), ir.Text("Bye")]


# -- reasoning --------------------------------------------------------------------------------


def test_parts_of_a_summary_are_paragraphs() -> None:
    blocks = blocks_of(
        created(),
        told("reasoning_summary_text.delta", summary_index=0, delta="One"),
        told("reasoning_summary_text.delta", summary_index=0, delta=" more"),
        told("reasoning_summary_text.delta", summary_index=1, delta="Two"),
        completed(),
    )

    assert blocks == [ir.Reasoning("One more\n\nTwo")]


def test_thinking_itself_is_raw() -> None:
    delta = told("reasoning_text.delta", content_index=0, delta="Hm")
    item = reasoning(content=[{"type": "reasoning_text", "text": "Hm"}])

    blocks = blocks_of(created(), delta, told("output_item.done", item=item), completed(item))

    assert blocks == [ir.Reasoning("Hm", raw=True)]


def test_signature_is_that_of_the_complete_item() -> None:
    events = events_of(
        created(),
        told("output_item.added", item=reasoning(encrypted_content="part")),
        told("reasoning_summary_text.delta", summary_index=0, delta="Hm"),
        told("output_item.done", item=reasoning("Hm", encrypted_content="whole")),
        completed(),
    )

    assert events[1:5] == [
        ir.BlockStart(0, "reasoning"),
        ir.Delta(0, "Hm"),
        ir.Signed(0, ir.Signature("o", "whole", "rs_1")),
        ir.BlockEnd(0),
    ]


@pytest.mark.parametrize("streamed", [True, False])
def test_reasoning_without_text_carries_its_signature(streamed: bool) -> None:
    item = reasoning(encrypted_content="enc")
    events = [told("output_item.done", item=item)] if streamed else []

    blocks = blocks_of(created(), *events, completed(item, message("Hi")))

    assert blocks == [ir.Reasoning("", ir.Signature("o", "enc", "rs_1")), ir.Text("Hi")]


def test_signature_that_comes_with_the_answer_alone_is_not_lost() -> None:
    blocks = blocks_of(
        created(),
        told("reasoning_summary_text.delta", item_id="rs_1", summary_index=0, delta="Hm"),
        completed(reasoning("Hm", encrypted_content="enc")),
    )

    said = [block for block in blocks if isinstance(block, ir.Reasoning)]
    assert "".join(block.text for block in said) == "Hm"
    assert said[-1].signature == ir.Signature("o", "enc", "rs_1")


def test_two_reasoning_items_are_two_blocks() -> None:
    blocks = blocks_of(
        created(),
        told("reasoning_summary_text.delta", 0, summary_index=0, delta="One"),
        told("reasoning_summary_text.delta", 1, summary_index=0, delta="Two"),
        completed(),
    )

    assert blocks == [ir.Reasoning("One"), ir.Reasoning("Two")]


# -- what hangs on a text ---------------------------------------------------------------------


CITED = ir.Text("Hi", citations=(ir.Citation("https://example.org/", "Example", None, 0, 2),))


@pytest.mark.parametrize(
    "events",
    [
        [text_delta("Hi"), told("output_text.annotation.added", content_index=0, annotation=PAGE)],
        [text_delta("Hi")],
        [],
    ],
    ids=["its event", "its item after the text", "its item"],
)
def test_web_page_is_cited_once(events: list[Any]) -> None:
    item = message(output_text("Hi", annotations=[PAGE, {"type": "file_citation", "index": 1}]))
    done = told("output_item.done", item=item)

    assert blocks_of(created(), *events, done, completed(item)) == [CITED]


def test_web_page_may_be_cited_before_the_first_word() -> None:
    cited = told("output_text.annotation.added", content_index=0, annotation=PAGE)

    assert blocks_of(created(), cited, text_delta("Hi"), completed()) == [CITED]


def test_item_that_is_complete_twice_is_told_once() -> None:
    done = told("output_item.done", item=message(output_text("Hi", annotations=[PAGE])))
    signed = told("output_item.done", 1, item=reasoning("Hm", encrypted_content="enc"))

    blocks = blocks_of(created(), done, done, signed, signed, completed())

    assert blocks == [CITED, ir.Reasoning("Hm", ir.Signature("o", "enc", "rs_1"))]


def test_citation_of_a_text_that_is_over_is_passed_over() -> None:
    late = told("output_text.annotation.added", 0, content_index=0, annotation=PAGE)

    blocks = blocks_of(created(), text_delta("a", 0), text_delta("b", 1), late, completed())

    assert blocks == [ir.Text("a"), ir.Text("b")]


def test_each_of_two_texts_has_its_own_citations() -> None:
    other = PAGE | {"url": "https://example.com/"}
    item = message(output_text("a", annotations=[PAGE]), output_text("b", annotations=[other]))

    blocks = blocks_of(
        created(),
        text_delta("a", content_index=0),
        told("output_text.annotation.added", content_index=0, annotation=PAGE),
        text_delta("b", content_index=1),
        told("output_item.done", item=item),
        completed(item),
    )

    cited = [[one.url for one in b.citations] for b in blocks if isinstance(b, ir.Text)]
    assert cited == [["https://example.org/"], ["https://example.com/"]]


def test_probabilities_are_those_of_the_piece() -> None:
    one = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}

    events = events_of(created(), text_delta("Hi", logprobs=[one]), completed())

    assert events[2] == ir.Delta(0, "Hi", (ir.LogProb("Hi", -0.5, (72, 105)),))
