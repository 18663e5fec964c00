"""What the turns of a Gemini client mean: parts, calls and their answers, thoughts, media."""

import base64
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.continuity import seal_in_base64
from tests.unit.protocols.google.geminiwire import (
    Body,
    called,
    decoded,
    decoded_text,
    model_blocks,
    responded,
    turn,
    turns,
    user_blocks,
)

PNG = {"mimeType": "image/png", "data": "iVBORw0KGgo="}
NATIVE = "AQID+/8="
FOREIGN = ir.Signature("a", "sig+/=")


def url_safe(text: str) -> str:
    """Base64 as google-genai sends it."""
    return text.replace("+", "-").replace("/", "_")


# -- turns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "meant"),
    [
        *(("user", "user"), ("model", "assistant"), (None, "user"), ("", "user")),
        *(("function", "user"), ("tool", "user")),
    ],
)
def test_roles(role: str | None, meant: str) -> None:
    found = turns(turn("user", "hi"), turn(role, "there"))
    assert found[-1] == ir.Message(meant, [ir.Text("there")])  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["assistant", "system", "User", 3])
def test_any_other_role_is_refused_by_its_place(role: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^contents\[1\]\.role"):
        turns(turn("user", "hi"), turn(role, "there"))


def test_the_system_instruction_is_its_texts_whatever_its_role() -> None:
    instruction = turn("model", "be", "", "brief")
    assert decoded(system_instruction=instruction).system == [ir.Text("be"), ir.Text("brief")]
    assert decoded(systemInstruction="be brief").system == [ir.Text("be brief")]
    assert decoded(systemInstruction={"parts": []}).system == []
    assert decoded(systemInstruction=None).system == []


@pytest.mark.parametrize("part", [{"inlineData": PNG}, {}, {"functionCall": {"name": "f"}}])
def test_a_system_instruction_that_is_no_text_is_refused(part: Body) -> None:
    with pytest.raises(InvalidRequest, match=r"^systemInstruction\.parts\[1\]"):
        decoded(systemInstruction=turn(None, "be brief", part))


def test_the_texts_of_a_user_stay_apart_and_empty_ones_go() -> None:
    assert user_blocks("a", "", "b") == [ir.Text("a"), ir.Text("b")]


def test_turns_of_a_user_stay_apart_too() -> None:
    assert turns(turn("user", "a"), turn("user", "b")) == [
        ir.Message("user", [ir.Text("a")]),
        ir.Message("user", [ir.Text("b")]),
    ]


def test_what_the_model_said_in_a_row_is_one_turn_and_its_texts_are_one() -> None:
    """As a client has it that kept the elements of a stream."""
    found = turns(
        turn("user", "hi"),
        turn("model", "Hel", "lo"),
        turn("model", " there"),
        turn("model", called("f")),
        turn("model", "", {"text": ""}),
    )
    assert [message.role for message in found] == ["user", "assistant"]
    text, call = found[1].blocks
    assert text == ir.Text("Hello there")
    assert isinstance(call, ir.ToolCall)


@pytest.mark.parametrize("contents", ["[]", "null"])
def test_no_turn_at_all_is_refused(contents: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^contents"):
        decoded_text(f'{{"contents":{contents}}}')


@pytest.mark.parametrize(
    ("contents", "place"),
    [
        ("[3]", r"contents\[0\]"),
        ('[{"parts":3}]', r"contents\[0\]\.parts"),
        ('[{"parts":{"text":"a"}}]', r"contents\[0\]\.parts"),
        ('[{"parts":["a"]}]', r"contents\[0\]\.parts\[0\]"),
        ('[{"parts":[{}]}]', r"contents\[0\]\.parts\[0\]"),
        ('[{"parts":[{"madeUp":{}}]}]', r"contents\[0\]\.parts\[0\]"),
        ('[{"parts":[{"text":"a"},{"text":3}]}]', r"contents\[0\]\.parts\[1\]\.text"),
        ('[{"parts":[{"text":["a"]}]}]', r"contents\[0\]\.parts\[0\]\.text"),
        ('[{"parts":[{"inline_data":3}]}]', r"contents\[0\]\.parts\[0\]\.inline_data"),
        ('[{"parts":[{"inlineData":{}}]}]', r"contents\[0\]\.parts\[0\]\.inlineData"),
        (
            '[{"parts":[{"inlineData":{"mimeType":"image/png","data":"?"}}]}]',
            r"contents\[0\]\.parts\[0\]\.inlineData\.data",
        ),
        ('[{"parts":[{"fileData":{}}]}]', r"contents\[0\]\.parts\[0\]\.fileData\.fileUri"),
        (
            '[{"parts":[{"fileData":{"fileUri":"ftp://a/b"}}]}]',
            r"contents\[0\]\.parts\[0\]\.fileData\.fileUri",
        ),
        (
            '[{"parts":[{"functionCall":{"name":"f"}}]}]',
            r"contents\[0\]\.parts\[0\]\.functionCall",
        ),
        (
            '[{"role":"model","parts":[{"functionCall":{}}]}]',
            r"contents\[0\]\.parts\[0\]\.functionCall\.name",
        ),
        (
            '[{"role":"model","parts":[{"functionCall":{"name":"f","args":[1]}}]}]',
            r"contents\[0\]\.parts\[0\]\.functionCall\.args",
        ),
        (
            '[{"role":"model","parts":[{"functionResponse":{"name":"f"}}]}]',
            r"contents\[0\]\.parts\[0\]",
        ),
        (
            '[{"parts":[{"functionResponse":{"name":"f","response":"ok"}}]}]',
            r"contents\[0\]\.parts\[0\]\.functionResponse\.response",
        ),
        (
            '[{"role":"model","parts":[{"text":"a","thoughtSignature":"?"}]}]',
            r"contents\[0\]\.parts\[0\]\.thoughtSignature",
        ),
    ],
)
def test_what_is_malformed_is_refused_by_its_place(contents: str, place: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{place}"):
        decoded_text(f'{{"contents":{contents}}}')


@pytest.mark.parametrize("text", [r"\ud800", r"\udc00 and more"])
def test_text_that_is_no_unicode_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decoded_text(f'{{"contents":[{{"parts":[{{"text":"{text}"}}]}}]}}')


@pytest.mark.parametrize("member", ["args", "x", "response"])
def test_nesting_beyond_measure_is_refused(member: str) -> None:
    deep = '{"a":' * 20_000 + "1" + "}" * 20_000
    part = f'{{"functionCall":{{"name":"f","{member}":{deep}}}}}'
    with pytest.raises(InvalidRequest):
        decoded_text(f'{{"contents":[{{"role":"model","parts":[{part}]}}]}}')


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"executableCode": {"language": "PYTHON", "code": "1"}}, "executableCode"),
        ({"executable_code": {"code": "1"}}, "executableCode"),
        ({"codeExecutionResult": {"outcome": "OUTCOME_OK"}}, "codeExecutionResult"),
        ({"tool_call": {"id": "1"}}, "toolCall"),
        ({"toolResponse": {}}, "toolResponse"),
        ({"inlineData": PNG, "videoMetadata": {"fps": 1}}, "videoMetadata"),
        ({"inlineData": PNG, "media_resolution": {"level": "LOW"}}, "mediaResolution"),
    ],
)
@pytest.mark.parametrize("role", ["user", "model"])
def test_what_only_google_has_is_announced(part: Body, name: str, role: str) -> None:
    found = decoded(contents=[turn("user", "hi"), turn(role, part)])
    assert found.dropped == [name]


# -- media --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "image/png", "data": "+/+/AA=="}},
        {"inline_data": {"mime_type": "Image/PNG; x=y", "data": url_safe("+/+/AA==")}},
        {"inline_data": {"mimeType": "image/png", "data": url_safe("+/+/AA")}},
    ],
)
def test_bytes_are_in_the_standard_alphabet_whichever_they_came_in(part: Body) -> None:
    assert user_blocks(part) == [ir.Media("image", "image/png", "+/+/AA==")]


@pytest.mark.parametrize(
    ("mime_type", "kind"),
    [
        ("image/webp", "image"),
        ("audio/mp3", "audio"),
        ("video/mp4", "video"),
        ("application/pdf", "document"),
        ("text/plain", "document"),
    ],
)
def test_kinds_of_media(mime_type: str, kind: str) -> None:
    data = {"mimeType": mime_type, "data": "AAAA", "displayName": "a"}
    assert user_blocks({"inlineData": data}) == [
        ir.Media(kind, mime_type, "AAAA", name="a")  # type: ignore[arg-type]
    ]


GOOGLE_FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"


@pytest.mark.parametrize(
    ("file", "media"),
    [
        (
            {"fileUri": "https://e.org/a.png", "mimeType": "image/png"},
            ir.Media("image", "image/png", url="https://e.org/a.png"),
        ),
        (
            {"file_uri": "https://e.org/a.png?b=c"},
            ir.Media("image", "image/png", url="https://e.org/a.png?b=c"),
        ),
        (
            {"fileUri": "https://e.org/a", "mime_type": "application/pdf"},
            ir.Media("document", "application/pdf", url="https://e.org/a"),
        ),
        ({"fileUri": "https://e.org/a"}, ir.Media("document", url="https://e.org/a")),
        (
            {"fileUri": GOOGLE_FILE, "mimeType": "video/mp4"},
            ir.Media("video", "video/mp4", file_id=GOOGLE_FILE, origin="g"),
        ),
        (
            {"fileUri": "gs://bucket/a.wav"},
            ir.Media("audio", "audio/x-wav", file_id="gs://bucket/a.wav", origin="g"),
        ),
        (
            {"fileUri": "https://www.youtube.com/watch?v=1"},
            ir.Media("video", url="https://www.youtube.com/watch?v=1"),
        ),
        (
            {"fileUri": "data:image/png;base64,AAAA", "mimeType": "image/png"},
            ir.Media("image", "image/png", "AAAA"),
        ),
    ],
)
def test_files(file: Body, media: ir.Media) -> None:
    assert user_blocks({"fileData": file}) == [media]
    assert model_blocks({"file_data": file}) == [media]


# -- calls and what they gave -------------------------------------------------------------------


def calls_of(message: ir.Message) -> list[ir.ToolCall]:
    return [block for block in message.blocks if isinstance(block, ir.ToolCall)]


def results_of(message: ir.Message) -> list[ir.ToolResult]:
    return [block for block in message.blocks if isinstance(block, ir.ToolResult)]


def test_a_call_and_its_answer_by_their_own_id() -> None:
    found = turns(
        turn("user", "hi"),
        turn("model", called("f", "1", args={"a": [1, "ü"]}), called("f", "2")),
        turn("user", responded("f", "2"), responded("f", "1")),
    )
    assert calls_of(found[1]) == [
        ir.ToolCall("1", "f", '{"a":[1,"ü"]}'),
        ir.ToolCall("2", "f", "{}"),
    ]
    assert [result.call_id for result in results_of(found[2])] == ["2", "1"]


def test_calls_without_ids_get_the_same_ones_every_time_and_each_another() -> None:
    history = (
        turn("user", "hi"),
        turn("model", called("f"), called("f"), called("g")),
        turn("user", responded("f"), responded("f"), responded("g")),
        turn("model", called("f")),
    )
    first, again = turns(*history), turns(*history)
    assert first == again
    ids = [call.id for message in first for call in calls_of(message)]
    assert len({*ids}) == 4
    assert all(one.startswith("call_") and len(one) <= 40 for one in ids)
    longer = turns(*history, turn("user", responded("f")))
    assert longer[: len(first)] == first


def test_answers_without_ids_go_by_name_and_by_order() -> None:
    _, said, given = turns(
        turn("user", "hi"),
        turn("model", called("f"), called("g"), called("f")),
        turn("user", responded("g"), responded("f"), responded("f")),
    )
    first, second, third = calls_of(said)
    assert [result.call_id for result in results_of(given)] == [second.id, first.id, third.id]
    assert [result.name for result in results_of(given)] == ["g", "f", "f"]


def test_an_answer_of_another_name_is_to_the_first_call_that_has_none() -> None:
    _, said, given = turns(
        turn("user", "hi"),
        turn("model", called("f"), called("g")),
        turn("user", responded("f"), responded("other")),
    )
    assert [result.call_id for result in results_of(given)] == [call.id for call in calls_of(said)]
    assert results_of(given)[1].name == "g"


def test_an_id_that_no_call_has_does_not_matter() -> None:
    _, said, given = turns(
        turn("user", "hi"), turn("model", called("f")), turn("user", responded("f", "x"))
    )
    assert results_of(given)[0].call_id == calls_of(said)[0].id


def test_answers_may_come_in_several_turns() -> None:
    found = turns(
        turn("user", "hi"),
        turn("model", called("f")),
        turn("model", called("g")),
        turn("function", responded("f")),
        turn("tool", responded("g")),
    )
    calls = calls_of(found[1])
    assert [results_of(message)[0].call_id for message in found[2:]] == [one.id for one in calls]


def test_an_answer_belongs_to_the_turn_before_it() -> None:
    found = turns(
        turn("user", "hi"),
        turn("model", called("f")),
        turn("user", "never mind"),
        turn("model", called("f")),
        turn("user", responded("f")),
    )
    assert results_of(found[4])[0].call_id == calls_of(found[3])[0].id


def test_an_answer_to_no_call_is_kept_for_others_to_judge() -> None:
    result = user_blocks(responded("f"))[0]
    assert isinstance(result, ir.ToolResult)
    assert (result.name, result.content) == ("f", [ir.Text("ok")])


@pytest.mark.parametrize(
    ("args", "arguments"),
    [
        ('{ "b" : 1.50, "a": "x  y" }', '{"b":1.50,"a":"x  y"}'),
        ('{"big":12345678901234567890123,"e":1E+2}', '{"big":12345678901234567890123,"e":1E+2}'),
        ("null", "{}"),
        ("{}", "{}"),
    ],
)
def test_arguments_are_as_they_were_written_but_for_white_space(args: str, arguments: str) -> None:
    found = decoded_text(
        '{"contents":[{"parts":[{"text":"hi"}]},{"role":"model","parts":'
        f'[{{"functionCall":{{"name":"f","args":{args}}}}}]}}]}}'
    )
    assert calls_of(found.messages[1])[0].arguments == arguments


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "fine"}, "fine", False),
        ({"result": "fine"}, "fine", False),
        ({"output": ""}, "", False),
        ({"output": {"a": 1}}, '{"output":{"a":1}}', False),
        ({"output": 3}, '{"output":3}', False),
        ({"other": "fine"}, '{"other":"fine"}', False),
        ({"output": "a", "more": 1}, '{"output":"a","more":1}', False),
        ({"error": "broke"}, "broke", True),
        ({"error": {"code": 5}}, '{"error":{"code":5}}', True),
        ({"error": "broke", "more": 1}, '{"error":"broke","more":1}', True),
        ({"error": None, "output": "a"}, '{"error":null,"output":"a"}', False),
        ({}, "{}", False),
        (None, "", False),
    ],
)
def test_what_a_function_gave(response: Body | None, text: str, is_error: bool) -> None:
    result = user_blocks(responded(response=response))[0]
    assert isinstance(result, ir.ToolResult)
    assert result.content == ([ir.Text(text)] if text else [])
    assert result.is_error is is_error


def test_media_that_a_function_gave() -> None:
    result = user_blocks(
        responded(parts=[{"inline_data": PNG}, {"fileData": {"fileUri": "files/a"}}])
    )
    assert isinstance(result[0], ir.ToolResult)
    assert result[0].content == [
        ir.Text("ok"),
        ir.Media("image", "image/png", PNG["data"]),
        ir.Media("document", file_id="files/a", origin="g"),
    ]


# -- thoughts and signatures --------------------------------------------------------------------


def test_a_thought_without_a_signature_is_nobody_s() -> None:
    assert model_blocks({"text": "hm", "thought": True}, "so") == [
        ir.Reasoning("hm"),
        ir.Text("so"),
    ]


def test_a_thought_and_its_signature_in_one_part_or_spread_over_turns() -> None:
    whole = [ir.Reasoning("hm so", ir.Signature("g", NATIVE)), ir.Text("yes")]
    one_part = model_blocks({"text": "hm so", "thought": True, "thoughtSignature": NATIVE}, "yes")
    spread = turns(
        turn("user", "hi"),
        turn("model", {"text": "hm", "thought": True}),
        turn("model", {"text": " so", "thought": True}),
        turn("model", {"text": "", "thought": True, "thought_signature": url_safe(NATIVE)}),
        turn("model", "yes"),
    )
    assert one_part == whole
    assert spread[1].blocks == whole


def test_two_signed_thoughts_stay_two() -> None:
    first, second = ir.Signature("g", "AAAA"), ir.Signature("g", "BBBB")
    assert model_blocks(
        {"text": "a", "thought": True, "thoughtSignature": "AAAA"},
        {"text": "b", "thought": True, "thoughtSignature": "BBBB"},
    ) == [ir.Reasoning("a", first), ir.Reasoning("b", second)]


@pytest.mark.parametrize("part", [{"text": ""}, {"text": "", "thought": True}])
def test_a_signature_without_text_is_a_thought_without_text(part: Body) -> None:
    assert model_blocks("yes", part | {"thoughtSignature": NATIVE}) == [
        ir.Text("yes"),
        ir.Reasoning("", ir.Signature("g", NATIVE)),
    ]


def test_the_signature_of_a_text_stands_after_it() -> None:
    assert model_blocks({"text": "yes", "thoughtSignature": NATIVE}, "no") == [
        ir.Text("yes"),
        ir.Reasoning("", ir.Signature("g", NATIVE)),
        ir.Text("no"),
    ]


def test_the_signature_of_a_call_is_its_own() -> None:
    call = model_blocks(called("f", "1") | {"thought_signature": url_safe(NATIVE)})[0]
    assert call == ir.ToolCall("1", "f", "{}", signature=ir.Signature("g", NATIVE))


def test_the_value_for_no_signature_is_none() -> None:
    for value in ("skip_thought_signature_validator", "skip/thought/signature/validator"):
        call = model_blocks(called("f", "1") | {"thoughtSignature": value})[0]
        assert call == ir.ToolCall("1", "f", "{}")


@pytest.mark.parametrize("spelled", [str, url_safe, lambda text: text.rstrip("=")])
def test_another_vendor_s_signature_comes_out_of_its_envelope(spelled: Any) -> None:
    envelope = spelled(seal_in_base64(FOREIGN))
    thought = {"text": "hm", "thought": True, "thoughtSignature": envelope}
    call = called("f", "1") | {"thoughtSignature": envelope}
    assert model_blocks(thought, call) == [
        ir.Reasoning("hm", FOREIGN),
        ir.ToolCall("1", "f", "{}", signature=FOREIGN),
    ]


def test_redacted_thinking_comes_back_as_such_and_signs_no_other_thought() -> None:
    envelope = seal_in_base64(FOREIGN, redacted=True)
    assert model_blocks(
        {"text": "hm", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": envelope},
    ) == [ir.Reasoning("hm"), ir.Reasoning("", FOREIGN, redacted=True)]


def test_a_damaged_envelope_is_nobody_s() -> None:
    damaged = base64.b64encode(b"Br1~a.!!!").decode()
    assert model_blocks({"text": "hm", "thought": True, "thoughtSignature": damaged}) == [
        ir.Reasoning("hm", ir.Signature(""))
    ]
