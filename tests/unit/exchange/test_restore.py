"""What had to be written differently in a request does not show in its answer."""

import pytest

from bitrouter.exchange.restore import StreamRestorer, needs_restoring, restored
from bitrouter.ir import (
    Answer,
    Block,
    BlockEnd,
    BlockStart,
    Candidate,
    Delta,
    Event,
    Finish,
    Finished,
    FinishReason,
    Reasoning,
    Signature,
    Signed,
    Text,
    ToolCall,
)
from bitrouter.protocols.translator import Encoded

PLAIN = Encoded(b"{}")
RENAMED = Encoded(b"{}", names={"get_weather": "get.weather"})
WRAPPED = Encoded(b"{}", wrapped=frozenset({"sh"}))
ANSWERED = Encoded(b"{}", answer_tool="structured_output")


def answer(*blocks: Block, finish: FinishReason = "tool_calls") -> Answer:
    return Answer([Candidate(list(blocks), Finish(finish))])


def call(index: int, name: str, *parts: str) -> list[Event]:
    deltas = [Delta(index, part) for part in parts]
    return [BlockStart(index, "tool_call", id="c1", name=name), *deltas, BlockEnd(index)]


def test_an_answer_is_the_same_object_where_nothing_was_changed() -> None:
    whole = answer(ToolCall("c1", "f", "{}"))

    assert not needs_restoring(PLAIN)
    assert restored(whole, PLAIN) is whole


def test_a_tool_has_the_clients_name_again() -> None:
    got = restored(answer(ToolCall("c1", "get_weather", "{}"), ToolCall("c2", "f", "{}")), RENAMED)

    assert got == answer(ToolCall("c1", "get.weather", "{}"), ToolCall("c2", "f", "{}"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [('{"input":"ls -l\\n\\u00e9"}', "ls -l\né"), ("{}", "{}"), ('{"input"', '{"input"')],
)
def test_a_free_text_tool_gets_its_text(arguments: str, text: str) -> None:
    got = restored(answer(ToolCall("c1", "sh", arguments)), WRAPPED)

    assert got == answer(ToolCall("c1", "sh", text, custom=True))


def test_an_answer_in_a_tools_arguments_is_text_and_a_normal_end() -> None:
    got = restored(answer(ToolCall("c1", "structured_output", '{"a":1}')), ANSWERED)

    assert got == answer(Text('{"a":1}'), finish="stop")


def test_other_calls_beside_it_remain_calls() -> None:
    got = restored(
        answer(ToolCall("c1", "structured_output", "{}"), ToolCall("c2", "f", "{}")), ANSWERED
    )

    assert got == answer(Text("{}"), ToolCall("c2", "f", "{}"))


def test_other_endings_stay_as_they_are() -> None:
    cut = answer(ToolCall("c1", "structured_output", '{"a"'), finish="length")

    assert restored(cut, ANSWERED).candidates[0].finish == Finish("length")


def test_stream_of_a_renamed_tool() -> None:
    got = StreamRestorer(RENAMED).restored(call(0, "get_weather", "{", "}"))

    assert got == call(0, "get.weather", "{", "}")


def test_stream_of_a_free_text_tool_comes_in_one_piece() -> None:
    restorer = StreamRestorer(WRAPPED)
    start, *parts, end = call(1, "sh", '{"inp', 'ut":"l', 's"}')

    first = restorer.restored([start, *parts])
    rest = restorer.restored([end])

    assert first == [BlockStart(1, "tool_call", id="c1", name="sh", custom=True)]
    assert rest == [Delta(1, "ls"), BlockEnd(1)]


def test_stream_of_a_free_text_tool_without_text_has_no_empty_delta() -> None:
    got = StreamRestorer(WRAPPED).restored(call(1, "sh", '{"input":""}'))

    assert got == [BlockStart(1, "tool_call", id="c1", name="sh", custom=True), BlockEnd(1)]


def test_stream_of_an_answer_in_arguments_is_text_as_it_comes() -> None:
    restorer = StreamRestorer(ANSWERED)
    start, one, two, end = call(0, "structured_output", '{"a"', ":1}")

    events: list[Event] = [start, Signed(0, Signature("g", "x")), one, two, end]
    got = [restorer.restored([event]) for event in events]
    last = restorer.restored([Finished(Finish("tool_calls"))])

    assert got == [[BlockStart(0, "text")], [], [one], [two], [end]]
    assert last == [Finished(Finish("stop"))]


def test_stream_with_another_call_ends_in_tool_calls() -> None:
    restorer = StreamRestorer(ANSWERED)
    restorer.restored(call(0, "f", "{}"))

    assert restorer.restored([Finished(Finish("tool_calls"))]) == [Finished(Finish("tool_calls"))]


def test_what_is_no_call_passes() -> None:
    thought: list[Event] = [BlockStart(0, "reasoning"), Delta(0, "hm"), BlockEnd(0)]

    assert StreamRestorer(ANSWERED).restored(thought) == thought
    assert restored(answer(Reasoning("hm")), RENAMED) == answer(Reasoning("hm"))
