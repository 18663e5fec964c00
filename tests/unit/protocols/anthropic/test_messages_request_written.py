"""How a request is written for an Anthropic model (protocols.md, 1.3 and 2.2 to 2.8)."""

import json
from typing import Any

import msgspec
import pytest

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from tests.unit.protocols.anthropic.sdk import check_request
from tests.unit.protocols.anthropic.wire import (
    ADAPTIVE,
    Body,
    asked,
    assistant,
    body_of,
    encoded,
    encoded_blocks,
    user,
)


def lost(request: ir.Request, traits: Traits = ADAPTIVE) -> tuple[str, ...]:
    return encoded(request, traits).dropped


# -- the request as a whole -------------------------------------------------------------------


def test_least_request() -> None:
    assert body_of(asked()) == {
        "model": "claude-test",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_headers_are_the_versions_of_the_traits() -> None:
    plain = encoded(asked())
    special = encoded(asked(), Traits(version="2026-10-21", betas=("a-1", "b-2")))

    assert plain.headers == {"anthropic-version": "2023-06-01"}
    assert special.headers == {"anthropic-version": "2026-10-21", "anthropic-beta": "a-1,b-2"}


@pytest.mark.parametrize(
    ("given", "most", "expected"),
    [(None, None, 8192), (None, 64000, 64000), (5, 64000, 5), (0, None, 0)],
)
def test_max_tokens_is_always_said(given: int | None, most: int | None, expected: int) -> None:
    assert body_of(asked(max_tokens=given), max_output_tokens=most)["max_tokens"] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stream": True}, {"stream": True}),
        ({"stream": False}, {}),
        ({"temperature": 0.0}, {"temperature": 0.0}),
        ({"temperature": 1.7}, {"temperature": 1.0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"top_k": 7}, {"top_k": 7}),
        ({"stop": ("a", "b")}, {"stop_sequences": ["a", "b"]}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"service_tier": "priority"}, {"service_tier": "auto"}),
        ({"service_tier": "fast"}, {"service_tier": "auto"}),
        ({"cache": ir.CacheMark()}, {"cache_control": {"type": "ephemeral"}}),
        ({"cache": ir.CacheMark(3600)}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}),
        ({"n": 1}, {}),
        ({"logprobs": False}, {}),
        ({"presence_penalty": 0.0, "frequency_penalty": 0.0}, {}),
        ({"family_fields": {"store": msgspec.Raw(b"true")}}, {}),
    ],
)
def test_setting(fields: Body, expected: Body) -> None:
    request = asked(**fields)
    body = body_of(request)

    assert body == body_of(asked()) | expected
    assert lost(request) == ()
    check_request(body)


@pytest.mark.parametrize(
    ("fields", "announced", "kept"),
    [
        ({"seed": 1}, ("seed",), {}),
        ({"presence_penalty": 0.5}, ("presence_penalty",), {}),
        ({"frequency_penalty": 0.5}, ("frequency_penalty",), {}),
        ({"logprobs": True, "top_logprobs": 2}, ("logprobs", "top_logprobs"), {}),
        ({"verbosity": "low"}, ("verbosity",), {}),
        ({"metadata": msgspec.Raw(b'{"a":"b"}')}, ("metadata",), {}),
        ({"temperature": 0.5, "top_p": 0.9}, ("top_p",), {"temperature": 0.5}),
        ({"temperature": 0.5, "top_p": 1.0}, (), {"temperature": 0.5}),
        ({"stop": ("a", " \n", "")}, ("stop",), {"stop_sequences": ["a"]}),
        ({"stop": ("\n",)}, ("stop",), {}),
        ({"service_tier": "flex"}, ("service_tier",), {}),
        ({"service_tier": "scale"}, ("service_tier",), {}),
        (
            {"family_fields": {"prompt_cache_key": msgspec.Raw(b'"k"')}},
            ("prompt_cache_key",),
            {},
        ),
    ],
)
def test_setting_without_a_place_is_announced(
    fields: Body, announced: tuple[str, ...], kept: Body
) -> None:
    request = asked(**fields)

    assert lost(request) == announced
    assert body_of(request) == body_of(asked()) | kept


def test_what_the_model_refuses_is_announced() -> None:
    newest = Traits(reasoning="adaptive", unsupported=("temperature", "top_p", "top_k"))
    request = asked(temperature=0.5, top_p=0.5, top_k=5)

    assert lost(request, newest) == ("temperature", "top_p", "top_k")
    assert body_of(request, newest) == body_of(asked())


def test_several_answers_are_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="n: "):
        encoded(asked(n=2))


# -- system -----------------------------------------------------------------------------------


def test_system_texts_are_one_string() -> None:
    request = asked(system=[ir.Text("a"), ir.Text(""), ir.Text("b")])

    assert body_of(request)["system"] == "a\n\nb"


def test_system_texts_with_a_mark_are_blocks() -> None:
    request = asked(system=[ir.Text("a"), ir.Text("b", ir.CacheMark())])

    assert body_of(request)["system"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
    ]


def test_later_system_texts_join_the_first() -> None:
    request = asked(
        user("hi"),
        ir.Message("system", [ir.Text("later")]),
        user("go on"),
        system=[ir.Text("first")],
    )

    body = body_of(request)

    assert body["system"] == "first\n\nlater"
    assert body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "go on"}],
        }
    ]


@pytest.mark.parametrize("texts", [[], [ir.Text("")], [ir.Text(" \n")]])
def test_empty_system_is_no_system(texts: list[ir.Text]) -> None:
    assert "system" not in body_of(asked(system=texts))


# -- turns ------------------------------------------------------------------------------------


def turns(*messages: ir.Message, **fields: Any) -> list[Body]:
    body = body_of(asked(*messages, **fields))
    check_request(body)
    found: list[Body] = body["messages"]
    return found


def test_turns_of_one_side_in_a_row_are_one() -> None:
    written = turns(user("a"), user("b"), assistant("c"), assistant("d"), user("e"))

    assert written == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}],
        },
        {"role": "user", "content": "e"},
    ]


def test_assistants_first_turn_gets_a_users_before_it() -> None:
    assert turns(assistant("a"), user("b"))[0] == {"role": "user", "content": "."}


def test_empty_and_blank_texts_are_left_out() -> None:
    assert turns(user("a", "", " \n\t"), assistant(""), user("\u2003", "b")) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [user("")],
        [user(" "), assistant("\n")],
        [assistant(ir.Reasoning("foreign", ir.Signature("g", "x")))],
        [user(ir.ToolResult("nobody's", [ir.Text("x")]))],
    ],
    ids=["empty", "blank", "foreign", "orphan"],
)
def test_conversation_without_content_is_refused(messages: list[ir.Message]) -> None:
    with pytest.raises(InvalidRequest, match="messages"):
        encoded(asked(*messages))


def test_prefill_goes_on_where_it_ends() -> None:
    assert turns(user("a"), assistant("It is \n"))[-1] == {"role": "assistant", "content": "It is"}
    two = turns(user("a"), assistant("b ", "c "))[-1]["content"]
    assert [block["text"] for block in two] == ["b ", "c"]


def test_refusal_in_a_history_is_text() -> None:
    assert turns(user("a"), assistant(ir.Refusal("No.")), user("b"))[1]["content"] == "No."


# -- calls and results ------------------------------------------------------------------------


def call(call_id: str = "t1", arguments: str = "{}", **fields: Any) -> ir.ToolCall:
    return ir.ToolCall(call_id, "f", arguments, **fields)


def result(call_id: str = "t1", *content: Any, **fields: Any) -> ir.ToolResult:
    return ir.ToolResult(
        call_id, [ir.Text(one) if isinstance(one, str) else one for one in content], **fields
    )


def test_results_of_a_turn_stand_first_in_one_turn() -> None:
    written = turns(
        user("go"),
        assistant("Both.", call("t1"), call("t2")),
        user("an aside"),
        user(result("t2", "two")),
        user(result("t1", "one"), "and?"),
    )

    assert written[1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Both."},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
                {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
                {"type": "text", "text": "an aside"},
                {"type": "text", "text": "and?"},
            ],
        },
    ]


def test_call_without_result_gets_one_and_result_without_call_goes() -> None:
    written = turns(user("go"), assistant(call("t1")), user(result("t9", "?"), "so"))

    assert written[2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "t1",
            "content": "no result provided",
            "is_error": True,
        },
        {"type": "text", "text": "so"},
    ]


def test_turn_of_nothing_but_an_orphaned_result_leaves_no_gap() -> None:
    written = turns(user("a"), assistant("b"), user(result("t9", "?")), assistant("c"), user("d"))

    assert [turn["role"] for turn in written] == ["user", "assistant", "user"]


def test_ids_are_in_the_alphabet_and_unlike_each_other() -> None:
    written = turns(
        user("go"),
        assistant(call("call:1"), call("call.1"), call("")),
        user(result("call:1", "a"), result("call.1", "b"), result("", "c")),
    )

    ids = [block["id"] for block in written[1]["content"]]
    assert len(set(ids)) == 3
    assert all(one.replace("_", "").replace("-", "").isalnum() for one in ids if one.strip("_"))
    assert [block["tool_use_id"] for block in written[2]["content"]] == ids
    assert [block["content"] for block in written[2]["content"]] == ["a", "b", "c"]


def test_arguments_go_as_they_were_written() -> None:
    body = encoded(asked(user("go"), assistant(call("t1", '{"z": 1.50,\n"a":"\\u00fc"}')))).body

    assert b'"input":{"z": 1.50,\n"a":"\\u00fc"}' in body


@pytest.mark.parametrize(
    ("arguments", "custom", "written"),
    [
        ("", False, {}),
        ("  ", False, {}),
        ('{"a":', False, {"arguments": '{"a":'}),
        ("[1]", False, {"arguments": "[1]"}),
        ("null", False, {"arguments": "null"}),
        ("free text", True, {"input": "free text"}),
        ('{"a":1}', True, {"input": '{"a":1}'}),
    ],
)
def test_input_is_always_an_object(arguments: str, custom: bool, written: Body) -> None:
    blocks = turns(user("go"), assistant(call("t1", arguments, custom=custom)))[1]["content"]

    assert blocks[0]["input"] == written


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (result("t1"), {}),
        (result("t1", ""), {}),
        (result("t1", "x"), {"content": "x"}),
        (
            result("t1", "x", "y"),
            {"content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
        ),
        (result("t1", is_error=True), {"content": "the tool failed", "is_error": True}),
        (result("t1", "why", is_error=True), {"content": "why", "is_error": True}),
        (
            result("t1", ir.Media("image", url="https://example.org/a.png"), " "),
            {
                "content": [
                    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
                ]
            },
        ),
    ],
)
def test_result(given: ir.ToolResult, written: Body) -> None:
    blocks = turns(user("go"), assistant(call()), user(given))[2]["content"]

    assert blocks == [{"type": "tool_result", "tool_use_id": "t1"} | written]


# -- thinking in the history ------------------------------------------------------------------


def test_only_anthropics_own_signed_thinking_comes_back() -> None:
    written = turns(
        user("a"),
        assistant(
            ir.Reasoning("signed", ir.Signature("a", "EqQB")),
            ir.Reasoning("", ir.Signature("a", "EmwK"), redacted=True),
            ir.Reasoning("unsigned"),
            ir.Reasoning("its own, unsigned", ir.Signature("a")),
            ir.Reasoning("Google's", ir.Signature("g", "x")),
            ir.Reasoning("damaged", ir.Signature("")),
            "so",
            call(signature=ir.Signature("g", "x")),
        ),
        user(result()),
    )

    assert written[1]["content"] == [
        {"type": "thinking", "thinking": "signed", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    ]


def test_turn_of_nothing_but_foreign_thinking_leaves_no_gap() -> None:
    thought = ir.Reasoning("x", ir.Signature("o", "y"))

    assert len(turns(user("a"), assistant(thought), user("b"))) == 1


# -- media ------------------------------------------------------------------------------------

URL = "https://example.org/a"


@pytest.mark.parametrize(
    ("media", "written"),
    [
        *(
            (
                ir.Media("image", f"image/{kind}", "AAAA"),
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": f"image/{kind}", "data": "AAAA"},
                },
            )
            for kind in ("jpeg", "png", "gif", "webp")
        ),
        (
            ir.Media("image", "image/jpg", "AAAA"),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"},
            },
        ),
        (
            ir.Media("image", url=URL),
            {"type": "image", "source": {"type": "url", "url": URL}},
        ),
        (
            ir.Media("image", file_id="f", origin="a"),
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
        ),
        (
            ir.Media("document", "application/pdf", "AAAA", name="a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                "title": "a.pdf",
            },
        ),
        (
            ir.Media("document", url=URL),
            {"type": "document", "source": {"type": "url", "url": URL}},
        ),
        (
            ir.Media("document", "text/plain", text="plain"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "plain"},
            },
        ),
        (
            ir.Media("document", "text/csv", "YSxi"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "a,b"},
            },
        ),
    ],
)
def test_media(media: ir.Media, written: Body) -> None:
    assert encoded_blocks(media) == [written]
    check_request(body_of(asked(user(media))))


@pytest.mark.parametrize(
    "media",
    [
        ir.Media("image", "image/svg+xml", "AAAA"),
        ir.Media("image", "image/heic", "AAAA"),
        ir.Media("image", file_id="f", origin="o"),
        ir.Media("document", "application/msword", "AAAA"),
        ir.Media("document", file_id="f", origin="g"),
        ir.Media("audio", "audio/wav", "AAAA"),
        ir.Media("audio", url=URL),
        ir.Media("video", "video/mp4", "AAAA"),
        ir.Media("video", url=URL),
    ],
)
def test_media_that_the_models_do_not_take_is_refused(media: ir.Media) -> None:
    with pytest.raises(UnsupportedFeature, match="cannot be sent to an Anthropic model"):
        encoded(asked(user("look", media)))


@pytest.mark.parametrize(
    ("detail", "announced"), [(None, ()), ("auto", ()), ("high", ("detail",)), ("low", ("detail",))]
)
def test_detail_of_an_image_is_announced(detail: str | None, announced: tuple[str, ...]) -> None:
    assert lost(asked(user(ir.Media("image", url=URL, detail=detail)))) == announced


# -- cache marks ------------------------------------------------------------------------------

MARK = ir.CacheMark()
AN_HOUR = ir.CacheMark(3600)


def marks_in(body: Body) -> list[Any]:
    """The marks of a request in the order of its prompt, None for a block without."""
    blocks = [*body.get("tools", ())]
    blocks += body["system"] if isinstance(body.get("system"), list) else ()
    for turn in body["messages"]:
        blocks += turn["content"] if isinstance(turn["content"], list) else ()
    return [block.get("cache_control") for block in blocks]


def test_only_the_last_four_marks_are_kept() -> None:
    request = asked(
        user(*(ir.Text(str(number), MARK) for number in range(3))),
        system=[ir.Text("s", MARK)],
        tools=[ir.Tool("f", cache=MARK), ir.Tool("g", cache=MARK)],
    )

    found = marks_in(body_of(request))

    assert [mark is not None for mark in found] == [False, False, True, True, True, True]


def test_a_mark_for_the_whole_request_is_one_of_the_four() -> None:
    request = asked(user(*(ir.Text(str(number), MARK) for number in range(5))), cache=MARK)

    found = marks_in(body_of(request))

    assert [mark is not None for mark in found] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("ttl_s", "written"),
    [
        (None, {"type": "ephemeral"}),
        (300, {"type": "ephemeral"}),
        (1800, {"type": "ephemeral", "ttl": "1h"}),
        (43200, {"type": "ephemeral", "ttl": "1h"}),
    ],
)
def test_mark_lives_five_minutes_or_an_hour(ttl_s: int | None, written: Body) -> None:
    assert marks_in(body_of(asked(user(ir.Text("a", ir.CacheMark(ttl_s)))))) == [written]


def test_no_mark_outlives_one_before_it() -> None:
    request = asked(
        user(ir.Text("a", AN_HOUR), ir.Text("b", MARK), ir.Text("c", AN_HOUR), ir.Text("d", MARK))
    )

    lives = [mark.get("ttl", "5m") for mark in marks_in(body_of(request))]

    assert lives == ["1h", "5m", "5m", "5m"]


def test_marks_stand_on_calls_results_and_media_but_never_on_thinking() -> None:
    request = asked(
        user(ir.Media("image", url=URL, cache=MARK)),
        assistant(ir.Reasoning("x", ir.Signature("a", "y")), call(cache=MARK)),
        user(result("t1", "r", cache=MARK), ir.Text("", MARK)),
        tools=[ir.Tool("f")],
    )

    tool, *found = marks_in(body_of(request))

    assert tool is None
    assert [mark is not None for mark in found] == [True, False, True, True]


def test_marks_inside_a_result_are_kept() -> None:
    inner = ir.ToolResult("t1", [ir.Text("r", MARK)])

    written = turns(user("go"), assistant(call()), user(inner))

    assert written[2]["content"][0]["content"] == [
        {"type": "text", "text": "r", "cache_control": {"type": "ephemeral"}}
    ]


def test_body_is_json_of_any_text() -> None:
    awkward = 'a "b" \\ \u2028\u0000 🥊\r\n'

    assert json.loads(encoded(asked(user(awkward))).body)["messages"][0]["content"] == awkward
