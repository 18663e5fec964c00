"""What a chat client's messages mean."""

from typing import Any

import pytest

from bitrouter import ir
from tests.unit.protocols.chat.chatwire import HI, asked, turns
from tests.unit.protocols.chat.requestparts import call, user

PIXEL = "iVBORw0KGgo="


def test_leading_instructions_are_the_systems() -> None:
    found = asked(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
            {"role": "system", "content": ""},
            *HI,
        ]
    )

    assert found.system == [ir.Text("one"), ir.Text("two")]
    assert found.messages == [ir.Message("user", [ir.Text("Hi")])]


def test_later_instructions_stay_where_they_are() -> None:
    assert turns(*HI, {"role": "developer", "content": "later"}) == [
        ir.Message("user", [ir.Text("Hi")]),
        ir.Message("system", [ir.Text("later")]),
    ]


@pytest.mark.parametrize(
    ("part", "meant"),
    [
        ({"type": "text", "text": "x"}, ir.Text("x")),
        (
            {"type": "image_url", "image_url": {"url": "https://e.org/x.png", "detail": "high"}},
            ir.Media("image", url="https://e.org/x.png", detail="high"),
        ),
        (
            {"type": "image_url", "image_url": "https://e.org/x.png"},
            ir.Media("image", url="https://e.org/x.png"),
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/PNG;x=y;BASE64,{PIXEL}"}},
            ir.Media("image", "image/png", PIXEL),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg%2F%3E"}},
            ir.Media("image", "image/svg+xml", "PHN2Zy8+"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            ir.Media("audio", "audio/mp3", "AAAA"),
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
            ir.Media("document", "application/pdf", "AAAA"),
        ),
        (
            {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}},
            ir.Media("document", "application/pdf", "AAAA", name="a.pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": "AA-_", "filename": "a.png"}},
            ir.Media("image", "image/png", "AA+/", name="a.png"),
        ),
        (
            {"type": "file", "file": {"file_id": "file-1"}},
            ir.Media("document", file_id="file-1", origin="o"),
        ),
        (
            {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
            ir.Media("video", "video/mp4", "AAAA"),
        ),
    ],
)
def test_part_is_understood(part: dict[str, Any], meant: ir.Block) -> None:
    assert turns(user(part)) == [ir.Message("user", [meant])]


@pytest.mark.parametrize(
    ("mark", "meant"),
    [
        ({"cache_control": {"type": "ephemeral"}}, ir.CacheMark()),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, ir.CacheMark(3600)),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, ir.CacheMark(300)),
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, ir.CacheMark()),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, ir.CacheMark(1800)),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, ir.CacheMark(43200)),
        ({"cache_control": None, "prompt_cache_breakpoint": None}, None),
    ],
)
def test_cache_mark_stays_with_its_part(mark: dict[str, Any], meant: ir.CacheMark | None) -> None:
    text = {"type": "text", "text": "x", **mark}
    image = {"type": "image_url", "image_url": "https://e.org/x", **mark}

    found = asked(messages=[{"role": "system", "content": [text]}, user(text, image)])

    assert [one.cache for one in found.system] == [meant]
    assert [getattr(one, "cache", ...) for one in found.messages[0].blocks] == [meant, meant]


def test_mark_on_a_message_is_one_on_its_last_part() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}

    found = asked(
        messages=[
            {"role": "system", "content": "s", **mark},
            {"role": "user", "content": "u", **mark},
            {"role": "assistant", "content": [{"type": "text", "text": "a"}], **mark},
        ]
    )

    marked = [*found.system, *(message.blocks[-1] for message in found.messages)]
    assert [getattr(one, "cache", ...) for one in marked] == [ir.CacheMark()] * 3


def test_assistant_says_its_thoughts_its_text_and_its_calls_in_this_order() -> None:
    said = {
        "role": "assistant",
        "content": "text",
        "refusal": "no",
        "reasoning_content": "thought",
        "tool_calls": [
            call(arguments='{"b": 1,\n"a":2}'),
            {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
            {"id": "c3", "function": {"name": "look_up", "arguments": ""}},
            call("c4", arguments={"x": 1.50}),
        ],
    }

    assert turns(*HI, said)[1].blocks == [
        ir.Reasoning("thought"),
        ir.Text("text"),
        ir.Refusal("no"),
        ir.ToolCall("call_1", "look_up", '{"b": 1,\n"a":2}'),
        ir.ToolCall("c2", "shell", "ls", custom=True),
        ir.ToolCall("c3", "look_up", "{}"),
        ir.ToolCall("c4", "look_up", '{"x":1.5}'),
    ]


def test_assistants_parts_are_texts_and_refusals() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]

    said = turns(*HI, {"role": "assistant", "content": parts})[1]

    assert said.blocks == [ir.Text("a"), ir.Refusal("no")]


@pytest.mark.parametrize("content", [None, "", []])
def test_empty_text_beside_calls_is_no_text(content: object) -> None:
    said = {"role": "assistant", "content": content, "tool_calls": [call()]}

    assert turns(*HI, said)[1].blocks == [ir.ToolCall("call_1", "look_up", "{}")]


def test_assistant_that_said_nothing_is_left_out() -> None:
    assert [one.role for one in turns(*HI, {"role": "assistant", "content": ""}, *HI)] == [
        "user",
        "user",
    ]


def test_reasoning_goes_by_two_names() -> None:
    said = turns(*HI, {"role": "assistant", "content": "x", "reasoning": "thought"})[1]

    assert said.blocks[0] == ir.Reasoning("thought")


def test_googles_signature_comes_back_with_its_call() -> None:
    signed = call() | {"extra_content": {"google": {"thought_signature": "c2ln"}}}

    said = turns(*HI, {"role": "assistant", "tool_calls": [signed]})[1]

    assert said.blocks == [
        ir.ToolCall("call_1", "look_up", "{}", signature=ir.Signature("g", "c2ln"))
    ]


def test_mark_of_our_own_answer_says_nothing() -> None:
    extra = {"google": {"thought_signature": "c2ln"}, "bitrouter": "Br1~"}
    said = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "thought",
        "extra_content": {"bitrouter": "Br1~"},
        "tool_calls": [call() | {"extra_content": extra}],
    }

    found = asked(messages=[*HI, said])

    assert found.dropped == []
    assert found.messages[1].blocks == [
        ir.Reasoning("thought"),
        ir.ToolCall("call_1", "look_up", "{}", signature=ir.Signature("g", "c2ln")),
    ]


@pytest.mark.parametrize(
    "extra",
    [5, "Br1~", ["Br1~"], {"bitrouter": 5}, {"bitrouter": "x"}, {"bitrouter": "Br1~", "own": 1}],
)
def test_extra_content_of_the_clients_own_is_announced(extra: object) -> None:
    said = {"role": "assistant", "content": "a", "extra_content": extra}

    assert asked(messages=[*HI, said]).dropped == ["messages.extra_content"]


@pytest.mark.parametrize(
    "extra", [None, 5, [], {}, {"google": None}, {"google": {"thought_signature": 5}}]
)
def test_extra_content_of_another_kind_is_no_signature(extra: object) -> None:
    said = turns(*HI, {"role": "assistant", "tool_calls": [call() | {"extra_content": extra}]})[1]

    assert said.blocks == [ir.ToolCall("call_1", "look_up", "{}")]


def test_results_in_a_row_are_one_turn() -> None:
    found = turns(
        *HI,
        {"role": "assistant", "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": "two", "name": "look_up"},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "one"}]},
        {"role": "user", "content": "go on"},
        {"role": "assistant", "tool_calls": [call("c")]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    )

    assert found[2] == ir.Message(
        "user",
        [
            ir.ToolResult("b", [ir.Text("two")], name="look_up"),
            ir.ToolResult("a", [ir.Text("one")]),
        ],
    )
    assert found[3] == ir.Message("user", [ir.Text("go on")])
    assert found[5] == ir.Message("user", [ir.ToolResult("c", [])])


def test_name_of_a_tool_is_not_one_of_a_participant() -> None:
    result = {"role": "tool", "tool_call_id": "a", "name": "look_up", "content": "x"}

    found = asked(messages=[*HI, {"role": "assistant", "tool_calls": [call("a")]}, result])

    assert found.dropped == []


def test_result_may_hold_a_picture() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    result = {"role": "tool", "tool_call_id": "a", "content": [image]}

    found = turns(*HI, {"role": "assistant", "tool_calls": [call("a")]}, result)

    assert found[2].blocks == [ir.ToolResult("a", [ir.Media("image", "image/png", PIXEL)])]


def test_legacy_call_and_its_result_belong_together() -> None:
    history: list[dict[str, Any]] = [
        *HI,
        {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "one"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a":2}'}},
        {"role": "function", "name": "f", "content": "two"},
    ]

    found, again = turns(*history), turns(*history)

    calls = [block for turn in found for block in turn.blocks if isinstance(block, ir.ToolCall)]
    results = [block for turn in found for block in turn.blocks if isinstance(block, ir.ToolResult)]
    assert [one.id for one in calls] == [one.call_id for one in results]
    assert calls[0].id != calls[1].id
    assert [one.name for one in results] == ["f", "f"]
    assert found == again
