"""The strict Responses takes what OpenAI takes, and refuses what OpenAI refuses."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.strict.refused import Refused
from tests.support.strict.responses.read import read
from tests.support.strict.signing import Signer

SIGNER = Signer("openai")
USER = {"role": "user", "content": "Hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
THOUGHT = {
    "type": "reasoning",
    "summary": [],
    "encrypted_content": SIGNER.sign("reasoning", "Hm"),
}
F = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def _body(*items: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "gpt-5", "input": list(items) or "Hi", **members}


def test_a_rich_request_is_understood() -> None:
    seen = read(
        _body(
            {"role": "developer", "content": "Be kind."},
            USER,
            THOUGHT,
            CALL,
            OUTPUT,
            {"role": "assistant", "content": [{"type": "output_text", "text": "Done"}]},
            USER,
            instructions="Be brief.",
            tools=[F],
            tool_choice={"type": "function", "name": "f"},
            reasoning={"effort": "low", "summary": "auto"},
        ),
        SIGNER,
        {},
    )
    assert seen.system == ["Be brief.", "Be kind."]
    assert [turn.role for turn in seen.turns] == ["user", "assistant", "user", "assistant", "user"]
    assert seen.thoughts == ["Hm"]
    assert (seen.choice, seen.thoughts_shown, seen.thinking) == (
        "required:f",
        True,
        {"effort": "low"},
    )


def test_that_strict_was_left_out_is_remembered() -> None:
    seen = read(_body(tools=[F, {**F, "name": "g", "strict": False}]), SIGNER, {})
    assert [tool.strict for tool in seen.tools.values()] == [None, False]


def _refusals() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "a parameter of chat's", _body(messages=[]), "Unknown parameter: 'messages'"
    yield "stop", _body(stop=["x"]), "Unknown parameter: 'stop'"
    yield "seed", _body(seed=1), "Unknown parameter: 'seed'"
    yield "unknown member of an item", _body({**USER, "cache_control": {}}), "cache_control"
    yield "unknown role", _body({"role": "tool", "content": "x"}), "role"
    yield "unknown item", _body({"type": "thought"}), "Invalid value: 'thought'"
    yield "limit below 16", _body(max_output_tokens=15), "max_output_tokens"
    yield "a nested tool", _body(tools=[{"type": "function", "function": F}]), "tools[0]"
    yield (
        "a tool without parameters",
        _body(tools=[{"type": "function", "name": "f"}]),
        "parameters",
    )
    yield "tools twice", _body(tools=[F, F]), "Duplicate tool"
    yield "no tool to call", _body(tool_choice="required"), "must be specified with 'tools'"
    yield "call without output", _body(USER, CALL), "No tool output found"
    yield "output without call", _body(USER, OUTPUT), "No tool call found"
    yield "output twice", _body(USER, CALL, OUTPUT, OUTPUT), "No tool call found"
    yield "call id too long", _body(USER, {**CALL, "call_id": "c" * 65}, OUTPUT), "64"
    yield "id of another kind", _body(USER, {**CALL, "id": "call_1"}, OUTPUT), "regex"
    yield "id of an item too long", _body(USER, {**CALL, "id": "fc_" + "x" * 62}, OUTPUT), "64"
    said = {"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}
    yield "input text of the model's", _body(USER, said), "input_text"
    foreign = {**THOUGHT, "encrypted_content": Signer("other").sign("reasoning", "Hm")}
    yield "foreign reasoning", _body(USER, foreign, CALL, OUTPUT), "could not be verified"
    bare = {"type": "reasoning", "id": "rs_1", "summary": []}
    yield (
        "reasoning that was not stored",
        _body(USER, bare, CALL, OUTPUT),
        "Item with id 'rs_1' not found",
    )
    spoken = {**THOUGHT, "content": [{"type": "reasoning_text", "text": "Hm"}]}
    yield "reasoning in plain text", _body(USER, spoken, CALL, OUTPUT), "maximum length 0"
    yield "reasoning before a user's turn", _body(USER, THOUGHT, USER), "required following item"
    yield "reasoning at the end", _body(USER, THOUGHT), "required following item"
    yield "reference", _body({"type": "item_reference", "id": "msg_1"}), "'msg_1' not found"
    yield "unknown response", _body(previous_response_id="resp_1"), "'resp_1' not found"
    yield "temperature on a model that reasons", _body(temperature=1), "Unsupported parameter"
    plain = {"model": "gpt-4.1"}
    yield "reasoning on one that does not", _body(reasoning={"effort": "low"}) | plain, "reasoning"
    include = _body(include=["reasoning.encrypted_content"]) | plain
    yield "encrypted reasoning of one that does not", include, "Encrypted content is not supported"
    form = {"format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}
    yield "a nested format", _body(text=form), "text.format"
    yield "json_object without the word", _body(text={"format": {"type": "json_object"}}), "'json'"
    image = {
        "role": "user",
        "content": [{"type": "input_image", "image_url": {"url": "https://x"}}],
    }
    yield "an image as chat has it", _body(image), "image_url"


@pytest.mark.parametrize(
    ("body", "words"), [pytest.param(body, words, id=name) for name, body, words in _refusals()]
)
def test_what_openai_refuses_is_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as caught:
        read(body, SIGNER, {})
    assert words in f"{caught.value.param}: {caught.value.message}"
