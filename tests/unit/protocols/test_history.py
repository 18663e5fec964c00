"""Conversations are put into the order that providers insist on."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.errors import InvalidRequest
from bitrouter.ir import (
    Block,
    CacheMark,
    Citation,
    Media,
    Message,
    Reasoning,
    Request,
    Role,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from bitrouter.protocols.history import (
    all_system_texts,
    id_within,
    merged,
    only_own,
    plain_turns,
    settled,
    tool_names,
    wire_names,
    without_empty_texts,
)

BOTH: frozenset[Role] = frozenset({"user", "assistant"})


def user(*blocks: Block | str) -> Message:
    return Message("user", [Text(one) if isinstance(one, str) else one for one in blocks])


def assistant(*blocks: Block | str) -> Message:
    return Message("assistant", [Text(one) if isinstance(one, str) else one for one in blocks])


def call(number: int, name: str = "f") -> ToolCall:
    return ToolCall(f"c{number}", name, "{}")


def result(number: int, text: str = "ok", name: str | None = None) -> ToolResult:
    return ToolResult(f"c{number}", [Text(text)], name=name)


def same(call_id: str) -> str:
    return call_id


def test_conversation_of_single_texts_in_turns_is_plain() -> None:
    turns = [user("a"), assistant(" b "), user("c")]

    assert plain_turns(turns) == [("user", "a"), ("assistant", " b "), ("user", "c")]


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [assistant("a")],
        [user("a"), user("b")],
        [user("a"), assistant("b"), assistant("c")],
        [Message("system", [Text("a")])],
        [user("a"), Message("system", [Text("b")])],
        [user()],
        [user("a", "b")],
        [user("")],
        [user(" \n")],
        [user(Text("a", CacheMark()))],
        [user("a"), assistant(Text("b", citations=(Citation("https://example.com"),)))],
        [user(Media("image", url="https://example.com/a.png"))],
        [user("a"), assistant(call(1))],
        [user("a"), assistant(Reasoning("b"))],
    ],
)
def test_any_other_conversation_is_not(turns: list[Message]) -> None:
    assert plain_turns(turns) is None


@given(
    st.lists(
        st.builds(
            Message,
            st.sampled_from(["user", "assistant"]),
            st.lists(
                st.builds(Text, st.sampled_from(["a", "b ", " ", ""])) | st.just(call(1)),
                min_size=1,
                max_size=2,
            ),
        ),
        max_size=4,
    )
)
def test_nothing_is_to_be_put_in_order_where_it_is_plain(turns: list[Message]) -> None:
    plain = plain_turns(turns)

    if plain is not None:
        own = [Message(turn.role, only_own(turn.blocks, "a")) for turn in turns]
        assert settled(merged(without_empty_texts(own, blank=True), BOTH), same) == turns
        assert [Message(role, [Text(text)]) for role, text in plain] == turns


def test_system_texts_are_gathered_wherever_they_stand() -> None:
    later = Message("system", [Text("later"), Text("")])
    request = Request("m", [user("a"), later, user("b")], "o", system=[Text("first"), Text("")])

    assert all_system_texts(request) == ([Text("first"), Text("later")], [user("a"), user("b")])


def test_empty_texts_go_and_turns_that_have_nothing_else() -> None:
    turns = [user("", "a"), assistant(""), user(result(1), ""), assistant(" ")]

    assert without_empty_texts(turns) == [user("a"), user(result(1)), assistant(" ")]
    assert without_empty_texts(turns, blank=True) == [user("a"), user(result(1))]


def test_nothing_but_emptiness_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="all empty"):
        without_empty_texts([user(""), assistant("")])


def test_turns_of_one_side_in_a_row_become_one() -> None:
    turns = [user("a"), user("b"), assistant("c"), assistant("d"), user("e")]

    assert merged(turns, BOTH) == [user("a", "b"), assistant("c", "d"), user("e")]
    assert merged(turns, frozenset[Role]({"assistant"})) == [
        user("a"),
        user("b"),
        assistant("c", "d"),
        user("e"),
    ]


def test_merging_leaves_the_clients_turns_as_they_are() -> None:
    turns = [user("a"), user("b")]

    merged(turns, BOTH)

    assert turns == [user("a"), user("b")]


def test_results_come_first_in_the_order_of_their_calls() -> None:
    turns = [
        user("q"),
        assistant(call(1), call(2)),
        user("and", result(2, "two"), result(1, "one")),
    ]

    assert settled(turns, same)[2] == user(
        result(1, "one", "f"), result(2, "two", "f"), Text("and")
    )


def test_missing_result_is_made_up_and_says_so() -> None:
    turns = [user("q"), assistant(call(1), call(2)), user(result(2), "go on")]

    made_up = ToolResult("c1", [Text("no result provided")], is_error=True, name="f")
    assert settled(turns, same)[2] == user(made_up, result(2, name="f"), "go on")


@pytest.mark.parametrize("after", [[], [assistant("done")]])
def test_calls_without_a_turn_after_them_get_one(after: list[Message]) -> None:
    got = settled([user("q"), assistant(call(1)), *after], same)

    assert got[2].role == "user"
    assert isinstance(got[2].blocks[0], ToolResult)
    assert got[3:] == after


def test_result_without_a_call_goes() -> None:
    assert settled([user("q", result(9)), assistant("a")], same) == [user("q"), assistant("a")]
    assert settled([user("q"), assistant("a"), user(result(9))], same) == [
        user("q"),
        assistant("a"),
    ]


def test_late_result_goes_to_its_call() -> None:
    turns = [user("q"), assistant(call(1)), user("wait"), assistant("ok"), user(result(1, "late"))]

    assert settled(turns, same) == [
        user("q"),
        assistant(call(1)),
        user(result(1, "late", "f"), "wait"),
        assistant("ok"),
    ]


def test_second_result_of_a_call_goes() -> None:
    got = settled([assistant(call(1)), user(result(1, "one"), result(1, "two"))], same)

    assert got[1] == user(result(1, "one", "f"))


def test_ids_that_come_again_are_told_apart() -> None:
    turns = [
        assistant(call(1)),
        user(result(1, "first")),
        assistant(call(1)),
        user(result(1, "second")),
    ]

    first, first_result, second, second_result = settled(turns, same)

    assert (first, first_result) == (assistant(call(1)), user(result(1, "first", "f")))
    assert second == assistant(ToolCall("c1_2", "f", "{}"))
    assert second_result == user(ToolResult("c1_2", [Text("second")], name="f"))


def test_ids_are_rewritten_for_calls_and_results_alike() -> None:
    turns = [assistant(ToolCall("a:b", "f", "{}")), user(ToolResult("a:b", [Text("x")]))]

    got = settled(turns, lambda one: one.replace(":", "_"))

    assert got == [
        assistant(ToolCall("a_b", "f", "{}")),
        user(ToolResult("a_b", [Text("x")], name="f")),
    ]


def test_different_ids_do_not_become_one() -> None:
    turns = [assistant(ToolCall("a:b", "f", "{}"), ToolCall("a.b", "f", "{}"))]

    got = settled(turns, lambda one: re.sub(r"\W", "_", one))

    ids = [block.id for block in got[0].blocks if isinstance(block, ToolCall)]
    assert ids == ["a_b", "a_b_2"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user", "assistant"]),
            st.lists(
                st.one_of(
                    st.builds(call, st.integers(1, 3)),
                    st.builds(result, st.integers(1, 3)),
                    st.builds(Text, st.sampled_from("ab")),
                ),
                min_size=1,
                max_size=4,
            ),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_the_history_every_call_is_answered_once_right_after_it(
    history: list[tuple[str, list[Block]]],
) -> None:
    turns = []
    for role, blocks in history:
        unlike = ToolResult if role == "assistant" else ToolCall
        kept = [block for block in blocks if not isinstance(block, unlike)]
        turns.append(user(*kept) if role == "user" else assistant(*kept))

    got = settled(merged([turn for turn in turns if turn.blocks], BOTH), same)

    ids: list[str] = []
    for turn, following in zip(got, [*got, None][1:], strict=True):
        calls = [block.id for block in turn.blocks if isinstance(block, ToolCall)]
        ids += calls
        results = (
            [b.call_id for b in following.blocks if isinstance(b, ToolResult)] if following else []
        )
        if turn.role == "assistant":
            assert results == calls
            if following:
                assert all(isinstance(b, ToolResult) for b in following.blocks[: len(calls)])
    assert len(ids) == len(set(ids))


def test_long_ids_are_shortened_the_same_way_each_time() -> None:
    shorten = id_within(40)

    assert shorten("call_1") == "call_1"
    assert shorten("x" * 41) == shorten("x" * 41)
    assert len(shorten("x" * 900)) <= 40
    assert shorten("x" * 41) != shorten("x" * 42)
    assert shorten("").startswith("call_")


def test_names_are_written_so_that_each_is_taken_and_none_becomes_another() -> None:
    forbidden = re.compile(r"[^A-Za-z0-9_-]")

    wire = wire_names(["a.b", "a:b", "a_b", "ok", "x" * 70, "x" * 71], forbidden, 64)

    assert wire["ok"] == "ok"
    assert wire["a.b"] == "a_b"
    assert len(set(wire.values())) == 6
    assert all(len(name) <= 64 and not forbidden.search(name) for name in wire.values())


def test_every_tool_name_of_a_request_is_found_once() -> None:
    request = Request(
        "m",
        [assistant(call(1, "old"), call(2, "f"))],
        "o",
        tools=[Tool("f"), Tool("g")],
        tool_choice=ToolChoice("required", ("g",)),
    )

    assert tool_names(request) == ["f", "g", "old"]


def test_only_a_vendors_own_signatures_are_shown_to_it() -> None:
    own = Reasoning("mine", Signature("a", "sig"))
    foreign = ToolCall("c1", "f", "{}", signature=Signature("g", "sig"))
    blocks: list[Block] = [
        own,
        Reasoning("theirs", Signature("o", "sig")),
        Reasoning("unsigned", Signature("a")),
        Reasoning("nobody's"),
        Text("hi"),
        foreign,
    ]

    assert only_own(blocks, "a") == [own, Text("hi"), ToolCall("c1", "f", "{}")]
    assert only_own([foreign], "g") == [foreign]
