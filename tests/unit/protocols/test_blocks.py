"""Blocks of a stream are numbered, and one is open at a time for each candidate."""

from bitrouter.ir import BlockEnd, BlockStart, Event
from bitrouter.protocols.blocks import OpenBlocks


def test_a_block_goes_on_while_its_kind_does() -> None:
    blocks, out = OpenBlocks(), list[Event]()

    assert [blocks.ensure(out, "text") for _ in range(3)] == [0, 0, 0]
    assert out == [BlockStart(0, "text")]


def test_another_kind_ends_it() -> None:
    blocks, out = OpenBlocks(), list[Event]()

    numbers = [blocks.ensure(out, kind) for kind in ("reasoning", "text", "refusal")]

    assert numbers == [0, 1, 2]
    assert out == [
        BlockStart(0, "reasoning"),
        BlockEnd(0),
        BlockStart(1, "text"),
        BlockEnd(1),
        BlockStart(2, "refusal"),
    ]


def test_raw_thinking_and_its_summary_are_two_blocks() -> None:
    blocks, out = OpenBlocks(), list[Event]()

    assert [blocks.ensure(out, "reasoning", raw=raw) for raw in (True, False)] == [0, 1]


def test_every_call_is_a_block_of_its_own() -> None:
    blocks, out = OpenBlocks(), list[Event]()

    numbers = [blocks.start(out, BlockStart(0, "tool_call", id=one)) for one in "ab"]

    assert numbers == [0, 1]
    assert out == [
        BlockStart(0, "tool_call", id="a"),
        BlockEnd(0),
        BlockStart(1, "tool_call", id="b"),
    ]


def test_candidates_have_blocks_of_their_own() -> None:
    blocks, out = OpenBlocks(), list[Event]()

    numbers = [blocks.ensure(out, "text", candidate) for candidate in (0, 1, 0)]
    blocks.end_all(out)

    assert numbers == [0, 1, 0]
    assert out == [BlockStart(0, "text"), BlockStart(1, "text", 1), BlockEnd(0), BlockEnd(1)]
    assert blocks.current() is None


def test_nothing_open_is_nothing_to_end() -> None:
    blocks, out = OpenBlocks(), list[Event]()

    blocks.end(out)
    blocks.end_all(out)

    assert out == []
