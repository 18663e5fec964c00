"""A request's turns as a chat server gets them."""

import json
import re
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from tests.unit.protocols.chat.chatwire import (
    body_of,
    check_request,
    encode,
    neutral,
    sent,
)
from tests.unit.protocols.chat.neutralturns import call, result, said, told

OPEN_PDF = ir.Media("document", "application/pdf", url="https://e.org/a.pdf")


def dialogue(*turns: ir.Message, **fields: Any) -> ir.Request:
    return neutral(messages=[told(ir.Text("Hi")), *turns], **fields)


# -- messages ---------------------------------------------------------------------------------


def test_system_is_one_message_and_the_first() -> None:
    asks = neutral(system=[ir.Text("one"), ir.Text(""), ir.Text("two")])

    assert sent(asks)[0] == {"role": "system", "content": "one\n\ntwo"}
    assert sent(neutral(system=[ir.Text("")])) == [{"role": "user", "content": "Hi"}]


def test_later_system_stays_where_it_is() -> None:
    messages = sent(dialogue(ir.Message("system", [ir.Text("later")]), told(ir.Text("go"))))

    assert [one["role"] for one in messages] == ["user", "system", "user"]


def test_empty_texts_and_turns_are_left_out() -> None:
    messages = sent(dialogue(said(ir.Text("")), told(ir.Text(""), ir.Text("go"))))

    assert messages == [
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("Hi", "go")]}
    ]


def test_nothing_but_empty_turns_is_a_mistake() -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        encode(neutral(ir.Text("")))


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            ir.Media("image", "image/png", "AAAA", detail="low"),
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
            },
        ),
        (
            ir.Media("image", url="https://e.org/x", detail="ultra"),
            {"type": "image_url", "image_url": {"url": "https://e.org/x"}},
        ),
        (
            ir.Media("document", "application/pdf", "AAAA", name="a.pdf"),
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
            },
        ),
        (
            ir.Media("document", "application/pdf", "AAAA"),
            {
                "type": "file",
                "file": {
                    "filename": "document.pdf",
                    "file_data": "data:application/pdf;base64,AAAA",
                },
            },
        ),
        (
            ir.Media("document", file_id="file-1", origin="o"),
            {"type": "file", "file": {"file_id": "file-1"}},
        ),
        (
            ir.Media("document", "text/plain", text="words"),
            {"type": "text", "text": "words"},
        ),
        (
            ir.Media("document", "text/plain", "d29yZHM="),
            {"type": "text", "text": "words"},
        ),
        (
            ir.Media("audio", "audio/wav", "AAAA"),
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ),
        (
            ir.Media("audio", "audio/mpeg", "AAAA"),
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ),
    ],
)
def test_media_is_written(block: ir.Media, part: dict[str, Any]) -> None:
    body = body_of(neutral(block))

    check_request(body)
    assert body["messages"] == [{"role": "user", "content": [part]}]


@pytest.mark.parametrize(
    "block",
    [
        OPEN_PDF,
        ir.Media("document", "application/zip", "AAAA"),
        ir.Media("document", file_id="file-1", origin="a"),
        ir.Media("image", file_id="file-1", origin="o"),
        ir.Media("audio", "audio/ogg", "AAAA"),
        ir.Media("audio", url="https://e.org/a.mp3"),
        ir.Media("video", "video/mp4", "AAAA"),
        ir.Media("video", url="https://e.org/a.mp4"),
    ],
)
def test_media_without_a_form_refuses_the_request(block: ir.Media) -> None:
    with pytest.raises(UnsupportedFeature):
        encode(neutral(block))
    with pytest.raises(UnsupportedFeature):
        encode(dialogue(said(call("1")), told(result("1", block))))


def test_assistants_texts_are_one_string_and_its_calls_beside_it() -> None:
    messages = sent(
        dialogue(
            said(ir.Text("a"), ir.Text("b"), call("1", arguments='{"b": 1,  "a": 2}')),
            told(result("1", ir.Text("r"))),
        )
    )

    assert messages[1] == {
        "role": "assistant",
        "content": "ab",
        "tool_calls": [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "f", "arguments": '{"b": 1,  "a": 2}'},
            }
        ],
    }


def test_assistant_with_nothing_but_calls_has_content_null() -> None:
    messages = sent(dialogue(said(call("1", arguments="")), told(result("1"))))

    assert messages[1]["content"] is None
    assert messages[1]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_free_text_call_stays_one() -> None:
    made = ir.ToolCall("1", "c", "ls -l", custom=True)

    messages = sent(dialogue(said(made), told(result("1", ir.Text("r")))))

    assert messages[1]["tool_calls"] == [
        {"id": "1", "type": "custom", "custom": {"name": "c", "input": "ls -l"}}
    ]


def test_refusal_in_the_history_is_a_part() -> None:
    body = body_of(dialogue(said(ir.Text("well"), ir.Refusal("no")), told(ir.Text("why"))))

    check_request(body)
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "well"},
        {"type": "refusal", "refusal": "no"},
    ]


def test_picture_that_an_assistant_made_is_a_note() -> None:
    picture = ir.Media("image", "image/png", "AAAA")

    assert sent(dialogue(said(picture, ir.Text("!"))))[1]["content"] == "[image]!"


def test_results_come_first_in_the_order_of_the_calls_and_then_the_rest_of_the_turn() -> None:
    messages = sent(
        dialogue(
            said(call("1"), call("2")),
            told(ir.Text("go on"), result("2", ir.Text("two")), result("1", ir.Text("one"))),
        )
    )

    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "1", "content": "one"},
        {"role": "tool", "tool_call_id": "2", "content": "two"},
        {"role": "user", "content": "go on"},
    ]


def test_result_with_media_has_a_note_and_the_media_follow_the_last_result() -> None:
    picture = ir.Media("image", "image/png", "AAAA")
    text = ir.Media("document", "text/plain", text="words")

    messages = sent(
        dialogue(
            said(call("1"), call("2")),
            told(
                result("1", ir.Text("see"), picture),
                result("2", text),
                ir.Text("go on"),
            ),
        )
    )

    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "1", "content": "see\n[image]"},
        {"role": "tool", "tool_call_id": "2", "content": "words"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "text", "text": "go on"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("no such file", "Error: no such file"),
        ("Error: no such file", "Error: no such file"),
        (" error 5", " error 5"),
        ("", "Error: "),
    ],
)
def test_failed_call_says_so_once(text: str, written: str) -> None:
    messages = sent(dialogue(said(call("1")), told(result("1", ir.Text(text), is_error=True))))

    assert messages[2]["content"] == written


def test_call_without_a_result_gets_one_and_a_result_without_a_call_goes() -> None:
    messages = sent(dialogue(said(call("1")), told(result("9", ir.Text("?")), ir.Text("go"))))

    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "1", "content": "Error: no result provided"},
        {"role": "user", "content": "go"},
    ]


def test_ids_too_long_for_the_api_are_hashed_in_call_and_result_alike() -> None:
    long = "x" * 41

    messages = sent(dialogue(said(call(long)), told(result(long, ir.Text("r")))))

    wire_id = messages[1]["tool_calls"][0]["id"]
    assert re.fullmatch(r"call_[0-9a-f]{12}", wire_id)
    assert messages[2]["tool_call_id"] == wire_id
    assert messages == sent(dialogue(said(call(long)), told(result(long, ir.Text("r")))))


# -- reasoning and signatures -----------------------------------------------------------------


THOUGHTS = (
    ir.Reasoning("unsigned "),
    ir.Reasoning("own", ir.Signature("o")),
    ir.Reasoning("secret", ir.Signature("o", "gAAA")),
    ir.Reasoning("claude", ir.Signature("a", "sig")),
)


def test_thoughts_are_not_sent() -> None:
    messages = sent(dialogue(said(*THOUGHTS, ir.Text("x"))))

    assert messages[1] == {"role": "assistant", "content": "x"}


def test_turn_of_nothing_but_thoughts_is_no_message() -> None:
    messages = sent(dialogue(said(*THOUGHTS), told(ir.Text("go"))))

    assert [one["role"] for one in messages] == ["user"]


def test_server_that_wants_its_thoughts_back_gets_its_own() -> None:
    messages = sent(dialogue(said(*THOUGHTS, ir.Text("x"))), replay_reasoning=True)

    assert messages[1] == {
        "role": "assistant",
        "content": "x",
        "reasoning_content": "unsigned own",
    }


def test_googles_signature_goes_only_where_it_is_wanted() -> None:
    signed = call("1", signature=ir.Signature("g", "c2ln"))
    foreign = call("2", signature=ir.Signature("a", "c2ln"))
    asks = dialogue(said(signed, foreign), told(result("1"), result("2")))

    without, wanted = sent(asks)[1], sent(asks, call_signatures=True)[1]

    assert all("extra_content" not in one for one in without["tool_calls"])
    first, second = wanted["tool_calls"]
    assert first["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert "extra_content" not in second


# -- cache marks ------------------------------------------------------------------------------


SHORT, LONG = ir.CacheMark(), ir.CacheMark(3600)


def test_marks_are_left_out_and_announced_where_they_would_be_refused() -> None:
    for asks in (
        neutral(ir.Text("x", SHORT)),
        neutral(system=[ir.Text("x", SHORT)]),
        neutral(tools=[ir.Tool("f", cache=SHORT)]),
        neutral(cache=SHORT),
        dialogue(said(ir.Text("x", SHORT)), told(ir.Text("go"))),
        dialogue(said(call("1")), told(result("1", ir.Text("x"), cache=SHORT))),
    ):
        encoded = encode(asks)

        assert b"cache" not in encoded.body
        assert encoded.dropped == ("cache",)


@pytest.mark.parametrize(
    ("hints", "mark", "written"),
    [
        ("cache_control", SHORT, {"cache_control": {"type": "ephemeral"}}),
        ("cache_control", ir.CacheMark(300), {"cache_control": {"type": "ephemeral"}}),
        ("cache_control", LONG, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}),
        ("breakpoints", SHORT, {"prompt_cache_breakpoint": {"mode": "explicit"}}),
        ("breakpoints", ir.CacheMark(1800), {"prompt_cache_breakpoint": {"mode": "explicit"}}),
        ("breakpoints", LONG, {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}),
    ],
)
def test_marks_are_written_as_the_server_takes_them(
    hints: str, mark: ir.CacheMark, written: dict[str, Any]
) -> None:
    asks = neutral(
        system=[ir.Text("one"), ir.Text("two", mark)],
        messages=[
            told(ir.Text("three", mark)),
            said(ir.Text("four", mark), call("1")),
            told(result("1", ir.Text("five", mark))),
        ],
    )

    encoded = encode(asks, cache_hints=hints)

    parts = [one["content"] for one in json.loads(encoded.body)["messages"]]
    assert parts == [
        [{"type": "text", "text": "one"}, {"type": "text", "text": "two", **written}],
        *([{"type": "text", "text": text, **written}] for text in ("three", "four", "five")),
    ]
    assert encoded.dropped == ()


def test_there_are_at_most_four_marks_the_last_ones() -> None:
    texts = [ir.Text(str(number), SHORT) for number in range(6)]

    content = sent(neutral(*texts), cache_hints="cache_control")[0]["content"]

    assert [part["text"] for part in content if "cache_control" in part] == ["2", "3", "4", "5"]


def test_mark_on_the_whole_request_is_one_on_its_end() -> None:
    messages = sent(dialogue(said(ir.Text("a"))), cache_hints="cache_control")
    marked = sent(dialogue(said(ir.Text("a")), cache=SHORT), cache_hints="cache_control")

    assert messages[1]["content"] == "a"
    assert marked[0] == messages[0]
    assert marked[1]["content"] == [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    ]


def test_what_cannot_carry_a_mark_is_passed_over() -> None:
    asks = dialogue(said(ir.Text("a"), ir.Refusal("no")), cache=SHORT)
    calls = dialogue(said(call("1")), told(result("1")), cache=SHORT)
    silent = dialogue(said(ir.Refusal("no")), cache=SHORT)

    answer = sent(asks, cache_hints="cache_control")[1]["content"]
    _, made, given = sent(calls, cache_hints="breakpoints")
    before, refused = sent(silent, cache_hints="cache_control")

    assert ["cache_control" in part for part in answer] == [True, False]
    assert (made["content"], given["content"]) == (None, "")
    assert "cache_control" in before["content"][0]
    assert "cache_control" not in refused["content"][0]


def test_mark_that_is_there_already_stays() -> None:
    asks = neutral(ir.Text("a", LONG), cache=SHORT)

    assert sent(asks, cache_hints="cache_control")[0]["content"] == [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
