"""How turns are written for a Gemini provider: order, answers of calls, media, signatures."""

import json
from typing import Any

import msgspec
import pytest

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.errors import UnsupportedFeature
from tests.unit.protocols.google.geminiwire import (
    LEVEL,
    Body,
    asked,
    assistant,
    contents_of,
    encoded,
    user,
)

SKIP = "skip_thought_signature_validator"
OWN = ir.Signature("g", "AAAA")
OTHER = ir.Signature("g", "BBBB")
FOREIGN = ir.Signature("a", "AAAA")


def call(
    call_id: str = "1",
    name: str = "f",
    arguments: str = "{}",
    signature: ir.Signature | None = None,
) -> ir.ToolCall:
    return ir.ToolCall(call_id, name, arguments, signature=signature)


def result(call_id: str = "1", text: str = "ok", **fields: Any) -> ir.ToolResult:
    return ir.ToolResult(call_id, [ir.Text(text)], **fields)


def model_parts(*blocks: ir.Block | str, traits: Traits = LEVEL) -> list[Body]:
    """How an assistant's turn is written."""
    contents = contents_of(user("hi"), assistant(*blocks), user("go on"), traits=traits)
    assert contents[1]["role"] == "model"
    parts: list[Body] = contents[1]["parts"]
    return parts


def user_parts(*blocks: ir.Block | str, traits: Traits = LEVEL) -> list[Body]:
    """How a user's turn is written."""
    parts: list[Body] = contents_of(user(*blocks), traits=traits)[0]["parts"]
    return parts


def response(*blocks: ir.Text | ir.Media, traits: Traits = LEVEL, **fields: Any) -> list[Body]:
    """How the result of a call is written, with what stands after it."""
    contents = contents_of(
        user("hi"),
        assistant(call()),
        user(ir.ToolResult("1", [*blocks], **fields), "and"),
        traits=traits,
    )
    parts: list[Body] = contents[2]["parts"]
    return parts


# -- order --------------------------------------------------------------------------------------


def test_turns_of_one_side_in_a_row_are_one() -> None:
    assert contents_of(user("a"), user("b"), assistant("c"), assistant("d")) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "d"}]},
    ]


def test_the_user_begins() -> None:
    contents = contents_of(assistant("hello"), user("hi"))
    assert contents[0] == {"role": "user", "parts": [{"text": "."}]}
    assert [one["role"] for one in contents] == ["user", "model", "user"]


def test_a_conversation_may_end_with_what_the_model_is_to_go_on_from() -> None:
    assert contents_of(user("hi"), assistant("I think"))[-1]["role"] == "model"


def test_empty_texts_go_and_turns_that_have_nothing_else() -> None:
    contents = contents_of(
        user("a", ""), assistant(""), user("b"), assistant("", call()), user(result())
    )
    assert [one["role"] for one in contents] == ["user", "model", "user"]
    assert contents[0]["parts"] == [{"text": "a"}, {"text": "b"}]
    assert len(contents[1]["parts"]) == 1


def test_a_turn_of_nothing_that_google_may_see_goes() -> None:
    contents = contents_of(user("a"), assistant(ir.Reasoning("hm", FOREIGN)), user("b"))
    assert contents == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_a_refusal_is_what_it_says() -> None:
    assert model_parts(ir.Refusal("no"), ir.Refusal("")) == [{"text": "no"}]


# -- calls and what they gave -------------------------------------------------------------------


def test_every_call_is_answered_in_the_next_turn_and_in_order() -> None:
    contents = contents_of(
        user("hi"),
        assistant("let me", call("1", "f"), call("2", "g"), call("3", "f")),
        user("well"),
        user(result("3", "three"), result("1", "one"), result("9", "nobody")),
    )
    said, given = contents[1]["parts"], contents[2]["parts"]
    assert [part["functionCall"]["name"] for part in said[1:]] == ["f", "g", "f"]
    assert [part["functionResponse"] for part in given[:3]] == [
        {"name": "f", "response": {"output": "one"}},
        {"name": "g", "response": {"error": "no result provided"}},
        {"name": "f", "response": {"output": "three"}},
    ]
    assert given[3:] == [{"text": "well"}]


def test_ids_only_where_the_model_takes_them() -> None:
    turns = user("hi"), assistant(call("1")), user(result("1"))
    without = contents_of(*turns)
    with_ids = contents_of(*turns, traits=Traits(tool_ids=True))
    assert "id" not in without[1]["parts"][0]["functionCall"]
    assert "id" not in without[2]["parts"][0]["functionResponse"]
    assert with_ids[1]["parts"][0]["functionCall"]["id"] == "1"
    assert with_ids[2]["parts"][0]["functionResponse"]["id"] == "1"


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ("{}", b'"args":{}'),
        ("", b'"args":{}'),
        ('{"b":1.50,"a":"\\u00fc"}', b'"args":{"b":1.50,"a":"\\u00fc"}'),
        ('{\n "a": 1\n}', b'"args":{  "a": 1 }'),
        ("[1]", b'"args":{"input":"[1]"}'),
        ('{"half', b'"args":{"input":"{\\"half"}'),
    ],
)
def test_arguments_are_an_object_whatever_a_model_once_wrote(
    arguments: str, written: bytes
) -> None:
    body = encoded(asked(user("hi"), assistant(call(arguments=arguments)), user(result()))).body
    assert written in body


@pytest.mark.parametrize(
    ("text", "is_error", "written"),
    [
        ("fine", False, {"output": "fine"}),
        ("", False, {"output": ""}),
        ('{"a": 1}', False, {"a": 1}),
        (' {"a": 1} ', False, {"a": 1}),
        ("{}", False, {}),
        ("[1]", False, {"output": "[1]"}),
        ("{half", False, {"output": "{half"}),
        ("broke", True, {"error": "broke"}),
        ('{"a": 1}', True, {"error": '{"a": 1}'}),
    ],
)
def test_what_a_function_gave_is_an_object(text: str, is_error: bool, written: Body) -> None:
    parts = response(ir.Text(text), is_error=is_error)
    assert parts[0]["functionResponse"]["response"] == written


def test_an_object_goes_on_as_it_was_written() -> None:
    turns = user("hi"), assistant(call()), user(result("1", '{"x": 1.50,\n"big": 1e400}'))
    assert b'"response":{"x": 1.50, "big": 1e400}' in encoded(asked(*turns)).body


def test_several_texts_are_one() -> None:
    parts = response(ir.Text("a"), ir.Text("b"))
    assert parts[0]["functionResponse"]["response"] == {"output": "a\nb"}


PICTURE = ir.Media("image", "image/png", "AAAA")
INLINE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def test_media_that_a_function_gave_stand_after_all_responses() -> None:
    assert response(ir.Text("see"), PICTURE) == [
        {"functionResponse": {"name": "f", "response": {"output": "see"}}},
        INLINE,
        {"text": "and"},
    ]


def test_media_that_a_function_gave_stand_in_the_response_where_the_model_takes_that() -> None:
    note = ir.Media("document", "text/plain", text="note")
    assert response(PICTURE, note, traits=Traits(tool_media=True)) == [
        {"functionResponse": {"name": "f", "response": {"output": ""}, "parts": [INLINE]}},
        {"text": "note"},
        {"text": "and"},
    ]


# -- media --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (PICTURE, INLINE),
        (
            ir.Media("document", "application/pdf", "AAAA", name="a.pdf"),
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
        ),
        (
            ir.Media("audio", "audio/wav", "AAAA"),
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        ),
        (
            ir.Media("video", "video/mp4", "AAAA"),
            {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
        ),
        (
            ir.Media("image", url="https://e.org/a.webp?x=1"),
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://e.org/a.webp?x=1"}},
        ),
        (
            ir.Media("image", url="https://e.org/a"),
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://e.org/a"}},
        ),
        (
            ir.Media("document", url="https://e.org/a"),
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://e.org/a"}},
        ),
        (
            ir.Media("image", "image/png", url="https://e.org/a.gif"),
            {"fileData": {"mimeType": "image/png", "fileUri": "https://e.org/a.gif"}},
        ),
        (
            ir.Media("video", "video/mp4", file_id="files/a", origin="g"),
            {"fileData": {"mimeType": "video/mp4", "fileUri": "files/a"}},
        ),
        (
            ir.Media("document", file_id="files/a", origin="g"),
            {"fileData": {"fileUri": "files/a"}},
        ),
        (ir.Media("document", "text/plain", text="note", name="n"), {"text": "note"}),
    ],
)
def test_media(media: ir.Media, part: Body) -> None:
    assert user_parts("see", media) == [{"text": "see"}, part]


def test_an_empty_document_is_nothing() -> None:
    assert user_parts("see", ir.Media("document", "text/plain", text="")) == [{"text": "see"}]


def test_what_the_model_has_shown_stands_in_its_turn() -> None:
    assert model_parts("see", PICTURE) == [{"text": "see"}, INLINE]


def test_another_vendor_s_file_is_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="file-1"):
        user_parts(ir.Media("image", file_id="file-1", origin="o"))


@pytest.mark.parametrize(
    ("detail", "dropped"), [(None, ()), ("auto", ()), ("low", ("detail",)), ("high", ("detail",))]
)
def test_how_closely_to_look_is_announced(detail: str | None, dropped: tuple[str, ...]) -> None:
    picture = msgspec.structs.replace(PICTURE, detail=detail)
    assert encoded(asked(user(picture, picture))).dropped == dropped


# -- thoughts and signatures --------------------------------------------------------------------


def test_the_first_call_of_each_turn_is_signed_whatever_happens() -> None:
    contents = contents_of(
        user("hi"),
        assistant("a", call("1"), call("2")),
        user(result("1"), result("2")),
        assistant(call("3")),
        user(result("3")),
    )
    signatures = [
        [part.get("thoughtSignature") for part in one["parts"] if "functionCall" in part]
        for one in contents
        if one["role"] == "model"
    ]
    assert signatures == [[SKIP, None], [SKIP]]


def test_a_call_comes_back_with_its_own_signature() -> None:
    parts = model_parts(call(signature=OWN), call("2", signature=OTHER), call("3"))
    assert [part.get("thoughtSignature") for part in parts] == ["AAAA", "BBBB", None]


@pytest.mark.parametrize("signature", [FOREIGN, ir.Signature(""), ir.Signature("g")])
def test_a_call_never_has_another_s_signature(signature: ir.Signature) -> None:
    assert model_parts(call(signature=signature))[0]["thoughtSignature"] == SKIP


@pytest.mark.parametrize(
    "thought",
    [
        ir.Reasoning("hm"),
        ir.Reasoning("hm", FOREIGN),
        ir.Reasoning("hm", ir.Signature("g")),
        ir.Reasoning("hm", ir.Signature("")),
        ir.Reasoning("", FOREIGN, redacted=True),
    ],
)
def test_a_thought_that_google_did_not_sign_goes(thought: ir.Reasoning) -> None:
    assert model_parts(thought, "yes") == [{"text": "yes"}]


def test_a_thought_that_google_signed_comes_back() -> None:
    assert model_parts(ir.Reasoning("hm", OWN), "yes") == [
        {"text": "hm", "thought": True, "thoughtSignature": "AAAA"},
        {"text": "yes"},
    ]


def test_a_signature_without_a_text_belongs_to_the_call_that_follows() -> None:
    """So it comes back from protocols that have no place for it on a call."""
    parts = model_parts(ir.Reasoning("hm", OTHER), ir.Reasoning("", OWN), call(), call("2"))
    assert [part.get("thoughtSignature") for part in parts] == ["BBBB", "AAAA", None]
    assert "functionCall" in parts[1]


def test_a_signature_without_a_text_belongs_to_the_text_before_it() -> None:
    assert model_parts("yes", ir.Reasoning("", OWN)) == [
        {"text": "yes", "thoughtSignature": "AAAA"}
    ]
    parts = model_parts("yes", ir.Reasoning("", OWN), call(signature=OTHER))
    assert [part.get("thoughtSignature") for part in parts] == ["AAAA", "BBBB"]


def test_a_signature_without_anything_stands_on_an_empty_text() -> None:
    assert model_parts(ir.Reasoning("", OWN), "yes") == [
        {"text": "", "thoughtSignature": "AAAA"},
        {"text": "yes"},
    ]
    assert model_parts("yes", ir.Reasoning("", OWN), ir.Reasoning("", OTHER)) == [
        {"text": "yes", "thoughtSignature": "AAAA"},
        {"text": "", "thoughtSignature": "BBBB"},
    ]


def test_no_part_is_ever_empty() -> None:
    body = json.loads(
        encoded(
            asked(
                user("", PICTURE, ir.Media("document", "text/plain", text="")),
                assistant("", ir.Refusal(""), ir.Reasoning(""), call()),
                user(ir.ToolResult("1", [])),
            )
        ).body
    )
    for content in body["contents"]:
        assert content["parts"]
        assert all(part and part.get("text") != "" for part in content["parts"])
