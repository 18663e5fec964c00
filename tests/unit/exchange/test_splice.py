"""The joint of two answers: nothing twice, nothing left out, and always well-formed events."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.errors import AnswerDiffers, RouterError
from bitrouter.exchange import splice
from bitrouter.exchange.splice import Joint, SoFar
from bitrouter.ir import (
    BlockEnd,
    BlockStart,
    Citation,
    Cited,
    Delta,
    End,
    Event,
    Events,
    Finish,
    Finished,
    LogProb,
    Signature,
    Signed,
    Start,
    Usage,
)

STOP = Finished(Finish("stop"))
Blocks = Sequence[tuple[str, Sequence[str]]]  # kind and deltas


class Listener:
    """An encoder that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.answer_id: str | None = None

    def made(self, answer_id: str | None) -> "Listener":
        self.answer_id = answer_id
        return self

    def encode(self, events: Events) -> bytes:
        self.events += events
        return b"x" * len(events)

    def fail(self, error: RouterError) -> bytes:
        return error.detail.encode()


def answer(blocks: Blocks, usage: Usage | None = None) -> list[Event]:
    """The events of a whole answer."""
    out: list[Event] = [Start("a1", "m")]
    for index, (kind, texts) in enumerate(blocks):
        out.append(BlockStart(index, kind))  # type: ignore[arg-type]  # as the tests write it
        out += [Delta(index, text) for text in texts]
        out.append(BlockEnd(index))
    return [*out, STOP, End(usage)]


def text_of(events: Sequence[Event], kind: str = "text") -> str:
    kinds = {one.index: one.kind for one in events if isinstance(one, BlockStart)}
    deltas = [one for one in events if isinstance(one, Delta)]
    return "".join(one.text for one in deltas if kinds[one.index] == kind)


def assert_well_formed(events: Sequence[Event], *, ended: bool = True) -> None:
    """The grammar of ir.py, for one candidate."""
    assert isinstance(events[0], Start)
    is_open: int | None = None
    blocks = 0
    for event in events[1:-2] if ended else events[1:]:
        if isinstance(event, BlockStart):
            assert (event.index, is_open) == (blocks, None)
            is_open, blocks = blocks, blocks + 1
        else:
            assert isinstance(event, Delta | Signed | Cited | BlockEnd)
            assert event.index == is_open
            if isinstance(event, BlockEnd):
                is_open = None
    if ended:
        assert is_open is None
        assert isinstance(events[-2], Finished)
        assert isinstance(events[-1], End)


def told(events: Sequence[Event]) -> tuple[SoFar, Listener]:
    """A client that was told `events`."""
    listener = Listener()
    so_far = SoFar(listener.made)
    so_far.encode(events)
    return so_far, listener


def joined(so_far: SoFar, events: Sequence[Event], size: int = 1) -> Joint:
    """A fresh answer let through, committed as soon as it may be."""
    joint = Joint(so_far, so_far.text, None)
    committed = False
    for at in range(0, len(events), size):
        joint.encode(events[at : at + size])
        if joint.joined and not committed:
            committed = True
            joint.commit()
    return joint


@st.composite
def cut_up(draw: st.DrawFn, text: str) -> list[tuple[str, list[str]]]:
    """An answer of that text in some deltas and some blocks, with thinking between them or not."""
    places = draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    ends = [0, *places, len(text)]
    pieces = [text[a:b] for a, b in pairwise(ends) if a != b]
    blocks: list[tuple[str, list[str]]] = []
    for piece in pieces:
        goes_on: bool = draw(st.booleans())
        thinks: bool = draw(st.booleans())
        if goes_on and blocks:
            blocks[-1][1].append(piece)
            continue
        if thinks:
            blocks.append(("reasoning", ["hm"]))
        blocks.append(("text", [piece]))
    return blocks


@given(st.data(), st.text("ab \n", min_size=1, max_size=12), st.integers(1, 4))
def test_a_fresh_answer_is_joined_to_the_letter_wherever_the_first_was_cut(
    data: st.DataObject, text: str, size: int
) -> None:
    first = answer(data.draw(cut_up(text)))[:-2]
    first = first[: data.draw(st.integers(1, len(first)))]
    so_far, listener = told(first)
    thought = text_of(first, "reasoning")

    joined(so_far, answer(data.draw(cut_up(text))), size)

    assert text_of(listener.events) == text
    assert_well_formed(listener.events)
    if thought or text_of(first):
        assert text_of(listener.events, "reasoning") == thought


@given(st.data(), st.text("ab", min_size=1, max_size=8), st.text("ab", max_size=8))
def test_an_answer_that_differs_tells_nothing_at_all(
    data: st.DataObject, before: str, other: str
) -> None:
    so_far, listener = told(answer(data.draw(cut_up(before)))[:-2])
    known = len(listener.events)
    joint = Joint(so_far, before, None)
    fresh = answer(data.draw(cut_up(other)))

    if other.startswith(before):
        joint.encode(fresh)
        assert joint.joined
    else:
        with pytest.raises(AnswerDiffers):
            joint.encode(fresh)
        assert not joint.joined

    assert len(listener.events) == known
    assert so_far.plain


@given(st.data(), st.text("ab \n", max_size=8), st.text("ab \n", max_size=8))
def test_a_continuation_follows_at_once(data: st.DataObject, before: str, after: str) -> None:
    so_far, listener = told(answer(data.draw(cut_up(before)))[:-2])
    joint = Joint(so_far, "", None)
    for event in answer(data.draw(cut_up(after))):
        joint.encode([event])
        assert joint.joined
    joint.commit()

    assert text_of(listener.events) == before + after
    assert_well_formed(listener.events)


def test_a_text_goes_on_in_the_block_that_is_open() -> None:
    so_far, listener = told(answer([("text", ["ab"])])[:3])
    joined(so_far, answer([("text", ["abc", "d"])]))
    assert listener.events[3:] == [Delta(0, "c"), Delta(0, "d"), BlockEnd(0), STOP, End()]


def test_a_text_after_thinking_that_broke_off_gets_a_block_of_its_own() -> None:
    so_far, listener = told(answer([("reasoning", ["hm"])])[:3])
    joined(so_far, answer([("reasoning", ["well"]), ("text", ["a"])]))
    rest = [BlockEnd(0), BlockStart(1, "text"), Delta(1, "a"), BlockEnd(1), STOP, End()]
    assert listener.events[3:] == rest


def test_a_call_after_the_joint_ends_the_text() -> None:
    so_far, listener = told(answer([("text", ["ab"])])[:3])
    call = BlockStart(1, "tool_call", id="c1", name="f")
    signed = Signed(1, Signature("g", "sig"))
    fresh = answer([("text", ["ab"])])[:-2]
    joined(so_far, [*fresh, call, signed, Delta(1, "{}"), BlockEnd(1), STOP, End()])
    rest = [BlockEnd(0), call, signed, Delta(1, "{}"), BlockEnd(1), STOP, End()]
    assert listener.events[3:] == rest


def test_a_call_before_the_joint_is_another_answer() -> None:
    so_far, _ = told(answer([("text", ["ab"])])[:3])
    joint = Joint(so_far, "ab", None)
    with pytest.raises(AnswerDiffers):
        joint.encode([Start(), BlockStart(0, "tool_call", id="c1", name="f")])


def test_citations_of_texts_that_have_moved_are_left_out() -> None:
    so_far, listener = told(answer([("text", ["ab"])])[:3])
    cited = [Cited(index, Citation("https://x.example", start=0, end=1)) for index in (0, 1)]
    fresh: list[Event] = [Start(), BlockStart(0, "text"), Delta(0, "abc"), cited[0], BlockEnd(0)]
    fresh += [BlockStart(1, "text"), Delta(1, "d"), cited[1], BlockEnd(1), STOP, End()]
    joined(so_far, fresh)
    assert [one for one in listener.events if isinstance(one, Cited)] == [cited[1]]


@pytest.mark.parametrize(
    "event",
    [
        BlockStart(1, "tool_call", id="c1", name="f"),
        BlockStart(1, "refusal"),
        BlockStart(1, "reasoning", redacted=True),
        BlockStart(1, "text", candidate=1),
        Signed(0, Signature("a", "sig")),
        Cited(0, Citation("https://x.example")),
        Delta(0, "x", (LogProb("x", -1.0),)),
        STOP,
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_only_its_own_endpoint_could_go_on_with_is_not_plain(event: Event) -> None:
    so_far, _ = told(answer([("text", ["ab"])])[:3])
    assert (so_far.plain, so_far.text) == (True, "ab")
    so_far.encode([event])
    assert (so_far.plain, so_far.text) == (False, "")


def test_thinking_that_nobody_signed_is_plain() -> None:
    so_far, _ = told([Start(), BlockStart(0, "reasoning"), Delta(0, "hm")])
    so_far.encode([Signed(0, Signature("a")), BlockEnd(0)])
    assert (so_far.plain, so_far.text) == (True, "")


def test_what_is_kept_of_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splice, "MAX_TEXT", 4)
    so_far, listener = told(answer([("text", ["abcd"])])[:3])
    assert so_far.plain
    so_far.encode([Delta(0, "e"), Delta(0, "f")])
    assert (so_far.plain, so_far.text) == (False, "")
    assert text_of(listener.events) == "abcdef"


def test_the_encoder_gets_the_answers_own_id() -> None:
    assert told([Start("a1")])[1].answer_id == "a1"
    assert told([Start()])[1].answer_id is None


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        (None, Usage(5, 7), Usage(5, 7)),
        (Usage(5, None), Usage(8, 7), Usage(5, 7)),
        (Usage(5, 2, reasoning_tokens=1), Usage(8, 7, 6), Usage(5, 9, reasoning_tokens=1)),
        (Usage(None, 2), Usage(8, 7, 6), Usage(8, 9, 6)),
        (Usage(5, 2), None, Usage(5, 2)),
    ],
)
def test_the_usage_of_two_parts(
    before: Usage | None, after: Usage | None, whole: Usage | None
) -> None:
    so_far, listener = told(answer([("text", ["ab"])])[:3])
    joint = Joint(so_far, "", before)
    joint.encode(answer([("text", ["c"])], after))
    joint.commit()
    assert listener.events[-1] == End(whole)
    assert joint.usage(after) == whole
