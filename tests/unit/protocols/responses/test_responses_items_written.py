"""A request's turns as items for a Responses provider."""

import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from tests.unit.protocols.responses.neutralparts import with_tools
from tests.unit.protocols.responses.responseswire import (
    body_of,
    conversation,
    encode,
    neutral,
    sent,
)

CALL = ir.ToolCall("call_1", "f", '{"b": 1,"a":2}')


RESULT = ir.ToolResult("call_1", [ir.Text("42")])


PNG = ir.Media("image", "image/png", "iVBORw0KGgo=")


PDF = ir.Media("document", "application/pdf", "AAAA", name="a.pdf")


OWN = ir.Signature("o", "gAAA", "rs_1")


def content(*blocks: ir.Block, **traits: Any) -> Any:
    """The content of a user's message of these blocks."""
    (item,) = sent(neutral(*blocks), **traits)
    return item["content"]


# -- messages ---------------------------------------------------------------------------------


def test_system_texts_are_instructions() -> None:
    asks = neutral(system=[ir.Text("One"), ir.Text(""), ir.Text("Two")])

    assert body_of(asks)["instructions"] == "One\n\nTwo"


def test_later_system_text_stays_where_it_is() -> None:
    asks = neutral(
        messages=[
            ir.Message("user", [ir.Text("Hi")]),
            ir.Message("system", [ir.Text("Be brief")]),
            ir.Message("user", [ir.Text("So?")]),
        ]
    )

    assert [item["role"] for item in sent(asks)] == ["user", "system", "user"]


def test_turns_become_items_in_order() -> None:
    asks = conversation(
        [ir.Text("Hi")],
        [ir.Reasoning("Hm", OWN), ir.Text("Well"), CALL],
        [ir.Text("And?"), RESULT],
        tools=[ir.Tool("f")],
    )

    assert sent(asks) == [
        {"role": "user", "content": "Hi"},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm"}],
            "encrypted_content": "gAAA",
        },
        {"role": "assistant", "content": "Well"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"b": 1,"a":2}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "42"},
        {"role": "user", "content": "And?"},
    ]


def test_texts_in_a_row_are_parts_of_one_message() -> None:
    citation = ir.Citation("https://a.org", "A", None, 1, 3)
    said: list[ir.Block] = [
        ir.Text("One"),
        ir.Text("Two", citations=(citation,)),
        ir.Refusal("No."),
    ]

    message = sent(conversation([ir.Text("Hi")], said, [ir.Text("So?")]))[1]

    page = {
        "type": "url_citation",
        "url": "https://a.org",
        "title": "A",
        "start_index": 1,
        "end_index": 3,
    }
    assert message == {
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "One", "annotations": []},
            {"type": "output_text", "text": "Two", "annotations": [page]},
            {"type": "refusal", "refusal": "No."},
        ],
    }


def test_call_of_a_free_text_tool_stays_one() -> None:
    call = ir.ToolCall("c", "sh", "ls", custom=True)
    asks = conversation(
        [ir.Text("Hi")],
        [call],
        [ir.ToolResult("c", [ir.Text("a.txt")])],
        tools=[ir.Tool("sh", custom=True)],
    )

    assert sent(asks)[1:] == [
        {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "a.txt"},
    ]


def test_empty_texts_are_left_out() -> None:
    asks = conversation([ir.Text("Hi"), ir.Text("")], [ir.Text("")], [ir.Text("So?")])

    assert [item["content"] for item in sent(asks)] == ["Hi", "So?"]


def test_request_that_says_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        encode(neutral(ir.Text("")))


def test_call_without_result_gets_one_and_a_result_without_call_goes() -> None:
    asks = conversation(
        [ir.Text("Hi")],
        [CALL],
        [ir.ToolResult("other", [ir.Text("?")]), ir.Text("So?")],
        tools=[ir.Tool("f")],
    )

    assert sent(asks)[2:] == [
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": "Error: no result provided",
        },
        {"role": "user", "content": "So?"},
    ]


def test_ids_of_calls_have_64_characters_at_most_and_fit_their_results() -> None:
    long = "x" * 65
    call = ir.ToolCall(long, "f", "")
    asks = conversation(
        [ir.Text("Hi")], [call], [ir.ToolResult(long, [ir.Text("1")])], tools=[ir.Tool("f")]
    )

    _, called, output = sent(asks)
    assert called["call_id"] == output["call_id"]
    assert len(called["call_id"]) <= 64
    assert called["arguments"] == "{}"
    assert called == sent(asks)[1]


def test_id_of_64_characters_stays() -> None:
    call = ir.ToolCall("x" * 64, "f", "{}")
    asks = conversation([ir.Text("Hi")], [call], [ir.Text("So?")], tools=[ir.Tool("f")])

    assert sent(asks)[1]["call_id"] == "x" * 64


# -- reasoning --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    [None, ir.Signature("a", "sig"), ir.Signature("g", "sig"), ir.Signature("o"), ir.Signature("")],
)
def test_reasoning_that_openai_cannot_read_is_left_out(signature: ir.Signature | None) -> None:
    asks = conversation([ir.Text("Hi")], [ir.Reasoning("Hm", signature), ir.Text("Well")])

    assert sent(asks)[1:] == [{"role": "assistant", "content": "Well"}]


def test_thinking_itself_is_left_out_and_its_signature_stays() -> None:
    asks = conversation([ir.Text("Hi")], [ir.Reasoning("Hm", OWN, raw=True), ir.Text("Well")])

    assert sent(asks)[1] == {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}


def test_reasoning_that_nothing_follows_is_left_out() -> None:
    asks = conversation(
        [ir.Text("Hi")], [ir.Text("Well"), ir.Reasoning("Hm", OWN)], [ir.Text("So?")]
    )

    assert [item.get("content") for item in sent(asks)] == ["Hi", "Well", "So?"]


def test_signature_of_a_call_is_left_out() -> None:
    call = ir.ToolCall("c", "f", "{}", signature=ir.Signature("g", "sig"))
    asks = conversation([ir.Text("Hi")], [call], [ir.Text("So?")], tools=[ir.Tool("f")])

    assert "sig" not in encode(asks).body.decode()


# -- results and media ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (ir.ToolResult("call_1", []), ""),
        (ir.ToolResult("call_1", [ir.Text("a"), ir.Text("b")]), "a\nb"),
        (ir.ToolResult("call_1", [ir.Text("no file")], is_error=True), "Error: no file"),
        (ir.ToolResult("call_1", [ir.Text("error 5")], is_error=True), "error 5"),
        (ir.ToolResult("call_1", [], is_error=True), "Error:"),
        (ir.ToolResult("call_1", [ir.Media("document", "text/plain", text="T")]), "T"),
        (
            ir.ToolResult("call_1", [ir.Text("See"), PNG]),
            [
                {"type": "input_text", "text": "See"},
                {
                    "type": "input_image",
                    "detail": "auto",
                    "image_url": "data:image/png;base64,iVBORw0KGgo=",
                },
            ],
        ),
        (
            ir.ToolResult("call_1", [PDF], is_error=True),
            [
                {"type": "input_text", "text": "Error:"},
                {
                    "type": "input_file",
                    "filename": "a.pdf",
                    "file_data": "data:application/pdf;base64,AAAA",
                },
            ],
        ),
    ],
)
def test_result_is_a_string_unless_it_holds_media(result: ir.ToolResult, output: Any) -> None:
    asks = conversation([ir.Text("Hi")], [CALL], [result], tools=[ir.Tool("f")])

    assert sent(asks)[2]["output"] == output


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (
            ir.Media("image", url="https://a.org/b.png", detail="low"),
            {"type": "input_image", "image_url": "https://a.org/b.png", "detail": "low"},
        ),
        (
            ir.Media("image", url="https://a.org/b.png", detail="enormous"),
            {"type": "input_image", "image_url": "https://a.org/b.png", "detail": "auto"},
        ),
        (
            ir.Media("image", file_id="file-1", origin="o"),
            {"type": "input_image", "file_id": "file-1", "detail": "auto"},
        ),
        (
            ir.Media("document", "application/pdf", "AAAA"),
            {
                "type": "input_file",
                "filename": "document.pdf",
                "file_data": "data:application/pdf;base64,AAAA",
            },
        ),
        (
            ir.Media("document", "application/rtf", "AAAA"),
            {
                "type": "input_file",
                "filename": "document.rtf",
                "file_data": "data:application/rtf;base64,AAAA",
            },
        ),
        (
            ir.Media("document", url="https://a.org/a.pdf", name="a.pdf"),
            {"type": "input_file", "file_url": "https://a.org/a.pdf"},
        ),
        (
            ir.Media("document", file_id="file-1", origin="o"),
            {"type": "input_file", "file_id": "file-1"},
        ),
        (
            ir.Media("document", "text/plain", "SGk="),
            {"type": "input_text", "text": "Hi"},
        ),
        (
            ir.Media("audio", "audio/mpeg", "AAAA"),
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ),
    ],
)
def test_media_have_their_parts(media: ir.Media, part: dict[str, Any]) -> None:
    assert content(media) == [part]


@pytest.mark.parametrize(
    "media",
    [
        ir.Media("image", file_id="file-1", origin="a"),
        ir.Media("document", file_id="files/1", origin="g"),
        ir.Media("audio", "audio/ogg", "AAAA"),
        ir.Media("audio", url="https://a.org/a.mp3"),
        ir.Media("video", "video/mp4", "AAAA"),
    ],
)
def test_media_without_a_part_are_refused(media: ir.Media) -> None:
    with pytest.raises(UnsupportedFeature):
        encode(neutral(media))


def test_sound_from_a_tool_is_refused() -> None:
    result = ir.ToolResult("call_1", [ir.Media("audio", "audio/wav", "AAAA")])

    with pytest.raises(UnsupportedFeature, match="sound"):
        encode(conversation([ir.Text("Hi")], [CALL], [result], tools=[ir.Tool("f")]))


def test_media_that_a_model_has_made_are_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="made"):
        encode(conversation([ir.Text("Hi")], [PNG], [ir.Text("So?")]))


# -- prompt caches ----------------------------------------------------------------------------


MARKED = ir.Text("Hi", ir.CacheMark())


@pytest.mark.parametrize(
    ("hints", "mark", "written"),
    [
        ("breakpoints", ir.CacheMark(), {"prompt_cache_breakpoint": {"mode": "explicit"}}),
        ("breakpoints", ir.CacheMark(1800), {"prompt_cache_breakpoint": {"mode": "explicit"}}),
        (
            "breakpoints",
            ir.CacheMark(3600),
            {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        ),
        ("cache_control", ir.CacheMark(300), {"cache_control": {"type": "ephemeral"}}),
        (
            "cache_control",
            ir.CacheMark(3600),
            {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ),
    ],
)
def test_mark_is_written_as_the_provider_takes_it(
    hints: str, mark: ir.CacheMark, written: dict[str, Any]
) -> None:
    text = {"type": "input_text", "text": "Hi"}

    assert content(ir.Text("Hi", mark), cache_hints=hints) == [text | written]


def test_marks_are_announced_where_there_is_no_way_to_write_them() -> None:
    encoded = encode(neutral(MARKED))

    assert encoded.dropped == ("cache",)
    assert json.loads(encoded.body)["input"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    "asks",
    [
        with_tools(ir.Tool("f", cache=ir.CacheMark())),
        conversation([ir.Text("Hi")], [MARKED], [ir.Text("So?")]),
        neutral(ir.Media("audio", "audio/wav", "AAAA", cache=ir.CacheMark())),
    ],
    ids=["a tool", "the assistant", "a sound"],
)
def test_marks_in_places_that_take_none_are_announced(asks: ir.Request) -> None:
    assert encode(asks, cache_hints="breakpoints").dropped == ("cache",)


def test_marked_system_texts_are_a_message_that_leads() -> None:
    asks = neutral(system=[MARKED, ir.Text("there")])

    body = body_of(asks, cache_hints="breakpoints")

    assert "instructions" not in body
    assert body["input"][0] == {
        "role": "developer",
        "content": [
            {
                "type": "input_text",
                "text": "Hi",
                "prompt_cache_breakpoint": {"mode": "explicit"},
            },
            {"type": "input_text", "text": "there"},
        ],
    }
    assert body_of(asks)["instructions"] == "Hi\n\nthere"
    assert encode(asks).dropped == ("cache",)


def test_result_that_is_marked_is_a_list() -> None:
    result = ir.ToolResult("call_1", [ir.Text("42")], cache=ir.CacheMark())
    asks = conversation([ir.Text("Hi")], [CALL], [result], tools=[ir.Tool("f")])

    output = sent(asks, cache_hints="breakpoints")[2]["output"]

    assert output == [
        {"type": "input_text", "text": "42", "prompt_cache_breakpoint": {"mode": "explicit"}}
    ]
    assert sent(asks)[2]["output"] == "42"


def test_last_four_marks_are_kept() -> None:
    blocks = [ir.Text(str(number), ir.CacheMark()) for number in range(6)]

    parts = content(*blocks, cache_hints="breakpoints")

    assert ["prompt_cache_breakpoint" in part for part in parts] == [False] * 2 + [True] * 4


@pytest.mark.parametrize("last", [ir.Text("Bye"), ir.Text("Bye", ir.CacheMark())])
def test_mark_on_the_whole_is_one_on_its_end(last: ir.Text) -> None:
    asks = neutral(MARKED, MARKED, MARKED, last, cache=ir.CacheMark())

    (item,) = sent(asks, cache_hints="cache_control")

    assert ["cache_control" in part for part in item["content"]] == [True] * 4
    assert encode(asks).dropped == ("cache",)


def test_mark_on_the_whole_is_announced_where_there_is_no_place_for_it() -> None:
    asks = conversation([ir.Text("Hi")], [CALL], [RESULT], tools=[ir.Tool("f")])
    asks.cache = ir.CacheMark()

    assert encode(asks, cache_hints="breakpoints").dropped == ()
    assert encode(asks).dropped == ("cache",)
    asks.messages = [ir.Message("assistant", [ir.Text("Well")])]
    assert encode(asks, cache_hints="breakpoints").dropped == ("cache",)


def test_detail_of_a_document_is_kept() -> None:
    document = ir.Media("document", url="https://a.org/a.pdf", detail="low")

    assert content(document) == [
        {"type": "input_file", "file_url": "https://a.org/a.pdf", "detail": "low"}
    ]
