"""The strict generateContent takes what Google takes, and refuses what Google refuses."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.strict.google.read import read
from tests.support.strict.google.rules import SKIP
from tests.support.strict.refused import Refused
from tests.support.strict.seen import Seen
from tests.support.strict.signing import Signer

SIGNER = Signer("google")
SIGNATURE = SIGNER.sign("thought", "Hm")
USER = {"role": "user", "parts": [{"text": "Hi"}]}
CALL = {"functionCall": {"name": "f", "args": {"snake_case": 1}}}
RESPONSE = {"functionResponse": {"name": "f", "response": {"output": "ok"}}}
F = {"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}
BUDGET_MODEL, LEVEL_MODEL = "gemini-2.5-flash", "gemini-3-flash"


def _body(*contents: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"contents": list(contents) or [USER], **members}


def _model(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def _user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def _tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return _body(tools=[{"functionDeclarations": [{"name": "f", "parameters": parameters}]}])


def _property(schema: dict[str, Any]) -> dict[str, Any]:
    return _tool({"type": "OBJECT", "properties": {"a": schema}})


def _read(body: dict[str, Any], model: str = BUDGET_MODEL) -> Seen:
    return read(body, model, False, SIGNER)


def test_a_rich_request_is_understood_in_either_casing_and_alphabet() -> None:
    url_alphabet = SIGNATURE.replace("+", "-").replace("/", "_")
    seen = _read(
        _body(
            _user({"text": "Hi"}, {"inline_data": {"mime_type": "image/png", "data": "-_8="}}),
            _model({**CALL, "thought_signature": url_alphabet}),
            _user(RESPONSE),
            system_instruction={"parts": [{"text": "Be brief."}]},
            tools=[{"function_declarations": [F]}],
            toolConfig={"functionCallingConfig": {"mode": "ANY", "allowed_function_names": ["f"]}},
            generationConfig={"topK": 3, "thinking_config": {"thinking_budget": 0}},
        )
    )
    assert seen.system == ["Be brief."]
    assert [media.data for media in seen.media] == ["+/8="]
    assert [call.arguments for call in seen.calls] == [{"snake_case": 1}]
    assert seen.thoughts == ["Hm"]
    assert (seen.choice, seen.thinking) == ("required:f", {"budget": 0})
    assert [(one.name, one.text) for one in seen.results] == [("f", "ok")]


def test_a_property_may_be_called_as_a_keyword_is() -> None:
    properties = {"$schema": {"type": "STRING"}, "any_of": {"type": "STRING"}}
    seen = _read(_tool({"type": "OBJECT", "properties": properties}))
    assert set(seen.tools["f"].schema["properties"]) == set(properties)


@pytest.mark.parametrize("skip", [SKIP, "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="])
def test_the_documented_value_takes_the_place_of_a_signature(skip: str) -> None:
    seen = _read(
        _body(USER, _model({**CALL, "thoughtSignature": skip}), _user(RESPONSE)), LEVEL_MODEL
    )
    assert [call.signed for call in seen.calls] == [False]


def _contents() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "no contents", {"contents": []}, "contents"
    yield "no parts", _body({"role": "user", "parts": []}), "must not be empty"
    yield "an empty part", _body(_user({})), "required oneof field 'data'"
    yield "two things in a part", _body(_user({"text": "a", **CALL})), "required oneof field"
    yield "nothing but an empty text", _body(_user({"text": ""})), "at least one parts field"
    yield "unknown role", _body({"role": "assistant", "parts": [{"text": "x"}]}), "role"
    yield "begins with the model", _body(_model({"text": "x"}), USER), "begins with a user turn"
    yield "response missing", _body(USER, _model(CALL), USER), "number of function response parts"
    yield "response missing at the end", _body(USER, _model(CALL)), "number of function response"
    yield "response too many", _body(USER, _model(CALL), _user(RESPONSE, RESPONSE)), "number of"
    yield "response without call", _body(_user(RESPONSE)), "number of function response parts"
    other = {"functionCall": {"name": "g"}}
    answered = {"functionResponse": {"name": "g", "response": {}}}
    yield (
        "another order",
        _body(USER, _model(CALL, other), _user(answered, RESPONSE)),
        "in the place",
    )
    named = {"functionResponse": {"name": "f", "response": {}, "id": "x"}}
    yield "id of another call", _body(USER, _model(CALL), _user(named)), "id 'x'"
    bare = {"functionResponse": {"name": "f", "response": "ok"}}
    yield "response that is no object", _body(USER, _model(CALL), _user(bare)), "object"
    text = {"functionCall": {"name": "f", "args": "{}"}}
    yield "arguments as text", _body(USER, _model(text), _user(RESPONSE)), "object"
    foreign = {**CALL, "thoughtSignature": Signer("other").sign("thought", "Hm")}
    yield "foreign signature", _body(USER, _model(foreign), _user(RESPONSE)), "not valid"
    broken = {**CALL, "thoughtSignature": "Br1~a.xyz"}
    yield "signature that is no base64", _body(USER, _model(broken), _user(RESPONSE)), "Base64"
    yield (
        "image unpadded",
        _body(_user({"inlineData": {"mimeType": "image/png", "data": "QQ"}})),
        "Base64",
    )
    yield "address of no file", _body(_user({"fileData": {"fileUri": "data:x"}})), "file uri"


def _settings() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "stream in the body", _body(stream=True), 'Unknown name "stream"'
    yield "model in the body", _body(model="x"), 'Unknown name "model"'
    yield "unknown setting", _body(generationConfig={"stop": []}), 'Unknown name "stop"'
    yield "null", _body(generationConfig={"temperature": None}), "temperature"
    yield "six stops", _body(generationConfig={"stopSequences": list("abcdef")}), "stopSequences"
    yield "seed of 64 bits", _body(generationConfig={"seed": 2**31}), "seed"
    yield (
        "lower case mode",
        _body(
            toolConfig={"functionCallingConfig": {"mode": "any"}},
            tools=[{"functionDeclarations": [F]}],
        ),
        "mode",
    )
    calling = {"functionCallingConfig": {"mode": "AUTO"}}
    yield "choice without tools", _body(toolConfig=calling), "without function_declarations"
    names = {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}}
    some = _body(toolConfig=names, tools=[{"functionDeclarations": [F]}])
    yield "names without ANY", some, "mode is ANY"
    yield "tools twice", _body(tools=[{"functionDeclarations": [F, F]}]), "Duplicate function"
    spaced = {"functionDeclarations": [{"name": "a b"}]}
    yield "space in a name", _body(tools=[spaced]), "name"
    yield (
        "schema without mime type",
        _body(generationConfig={"responseSchema": {"type": "STRING"}}),
        "application/json",
    )
    both = {"thinkingLevel": "LOW"}
    yield "level on a budget model", _body(generationConfig={"thinkingConfig": both}), "level"


def _schemas() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "object without properties", _tool({"type": "OBJECT"}), "non-empty for OBJECT"
    for name, value in {
        "$ref": "#/x",
        "$schema": "x",
        "additionalProperties": False,
        "const": 1,
        "oneOf": [],
        "allOf": [],
        "exclusiveMinimum": 0,
        "examples": [],
        "uniqueItems": True,
        "multipleOf": 2,
        "not": {},
        "propertyNames": {},
        "prefixItems": [],
        "readOnly": True,
        "x-order": 1,
    }.items():
        yield name, _property({"type": "STRING", name: value}), f'Unknown name "{name}"'
    yield "several types", _property({"type": ["string", "null"]}), "type"
    yield "array without items", _property({"type": "ARRAY"}), "items: missing field"
    yield "no type", _property({"description": "x"}), "schema type field"
    yield (
        "enum of numbers",
        _property({"type": "INTEGER", "enum": ["1"]}),
        "only allowed for STRING",
    )
    yield "empty enum value", _property({"type": "STRING", "enum": [""]}), "cannot be empty"
    yield "format", _property({"type": "STRING", "format": "uri"}), "only 'enum' and 'date-time'"
    missing = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["b"]}
    yield "required but not there", _tool(missing), "property is not defined"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(body, words, id=name)
        for name, body, words in [*_contents(), *_settings(), *_schemas()]
    ],
)
def test_what_google_refuses_is_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as caught:
        _read(body)
    assert words in caught.value.message


def test_gemini_3_refuses_the_first_call_of_a_turn_without_its_signature() -> None:
    signed = {**CALL, "thoughtSignature": SIGNATURE}
    turns = [USER, _model(signed, CALL), _user(RESPONSE, RESPONSE)]
    assert _read(_body(*turns), LEVEL_MODEL).thoughts == ["Hm"]
    turns[1] = _model(CALL, signed)
    with pytest.raises(Refused, match="missing a thought_signature"):
        _read(_body(*turns), LEVEL_MODEL)
    assert _read(_body(*turns), BUDGET_MODEL).thoughts == ["Hm"]
