"""The strict Chat Completions takes what OpenAI takes, and refuses what OpenAI refuses."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.strict.body import load
from tests.support.strict.chat.read import read
from tests.support.strict.refused import Refused

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "ok"}
USER = {"role": "user", "content": "Hi"}
F = {"type": "function", "function": {"name": "f"}}
STRICT = {"type": "object", "properties": {"a": {"type": "string"}}}


def _body(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "gpt-4.1", "messages": list(messages) or [USER], **members}


def _image(url: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


def test_a_rich_request_is_understood() -> None:
    seen = read(
        _body(
            {"role": "system", "content": "Be brief."},
            USER,
            CALLED,
            RESULT,
            {"role": "user", "content": [{"type": "text", "text": "Go on"}]},
            tools=[F],
            tool_choice={"type": "function", "function": {"name": "f"}},
            temperature=1.5,
            stop="END",
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert seen.system == ["Be brief."]
    assert [turn.role for turn in seen.turns] == ["user", "assistant", "user", "user"]
    assert (seen.choice, seen.settings["stop"], seen.usage_in_stream) == (
        "required:f",
        ["END"],
        True,
    )
    assert [(one.id, one.text) for one in seen.results] == [("call_1", "ok")]


def test_null_is_taken_where_the_types_take_it() -> None:
    read(_body(temperature=None, stop=None, seed=None, reasoning_effort=None))


def _refusals() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "unknown member", _body(top_k=3), "Unrecognized request argument supplied: top_k"
    yield (
        "unknown member of a message",
        _body({**USER, "cache_control": {}}),
        "messages[0].cache_control",
    )
    yield (
        "thinking that comes back",
        _body({**CALLED, "reasoning_content": "x"}),
        "reasoning_content",
    )
    yield "unknown role", _body({"role": "robot", "content": "x"}), "messages[0]"
    yield "no messages", {"model": "gpt-4.1", "messages": []}, "messages"
    yield "wrong type", _body(temperature="hot"), "temperature"
    yield "out of range", _body(temperature=2.5), "temperature"
    yield "null where none is allowed", _body(tools=None), "tools"
    yield "result missing", _body(USER, CALLED, USER, tools=[F]), "call_1"
    yield "result missing at the end", _body(USER, CALLED, tools=[F]), "call_1"
    yield "result without a call", _body(USER, RESULT), "must be a response to a preceding"
    yield "result twice", _body(USER, CALLED, RESULT, RESULT, tools=[F]), "must be a response"
    long_call = {**CALL, "id": "c" * 41}
    yield (
        "id too long",
        _body(USER, {**CALLED, "tool_calls": [long_call]}, {**RESULT, "tool_call_id": "c" * 41}),
        "length <= 40",
    )
    yield "empty list of calls", _body({**CALLED, "tool_calls": []}), "tool_calls"
    yield "assistant without anything", _body({"role": "assistant", "content": None}), "content"
    broken = {**CALL, "function": {"name": "f", "arguments": "{"}}
    yield (
        "arguments that are no JSON",
        _body(USER, {**CALLED, "tool_calls": [broken]}, RESULT),
        "JSON",
    )
    yield "choice without tools", _body(tool_choice="auto"), "only allowed when 'tools'"
    yield "parallel without tools", _body(parallel_tool_calls=True), "only allowed when 'tools'"
    chosen = {"type": "function", "function": {"name": "g"}}
    yield "choice of another tool", _body(tools=[F], tool_choice=chosen), "not found in 'tools'"
    yield "tools twice", _body(tools=[F, F]), "duplicate name"
    dotted = {"type": "function", "function": {"name": "a.b"}}
    yield "a dot in a name", _body(tools=[dotted]), "name"
    flat = {"type": "function", "name": "f"}
    yield "a flat tool", _body(tools=[flat]), "tools[0]"
    loose = {"name": "f", "parameters": STRICT, "strict": True}
    yield (
        "not strict",
        _body(tools=[{"type": "function", "function": loose}]),
        "additionalProperties",
    )
    yield "stream_options alone", _body(stream_options={}), "only allowed when 'stream'"
    yield "top_logprobs alone", _body(top_logprobs=2), "'logprobs' must be true"
    yield "five stops", _body(stop=list("abcde")), "stop"
    yield "two limits", _body(max_tokens=1, max_completion_tokens=1), "cannot both"
    yield (
        "json_object without the word",
        _body(response_format={"type": "json_object"}),
        "word 'json'",
    )
    form = {"type": "json_schema", "json_schema": {"schema": {}}}
    yield "schema without a name", _body(response_format=form), "name"
    yield (
        "effort on a model that does not reason",
        _body(reasoning_effort="low"),
        "reasoning_effort",
    )
    reasons = _body(temperature=1) | {"model": "gpt-5"}
    yield "temperature on a model that reasons", reasons, "Unsupported parameter: 'temperature'"
    yield "image of no type", _body(_image("data:text/plain;base64,QQ==")), "image_url"
    yield "image in the URL alphabet", _body(_image("data:image/png;base64,_-==")), "base64"
    yield "image unpadded", _body(_image("data:image/png;base64,QQ")), "base64"
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}}
    yield "file without a name", _body({"role": "user", "content": [file]}), "filename"


@pytest.mark.parametrize(
    ("body", "words"), [pytest.param(body, words, id=name) for name, body, words in _refusals()]
)
def test_what_openai_refuses_is_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as caught:
        read(body)
    assert words in f"{caught.value.param}: {caught.value.message}"
    assert caught.value.kind == "invalid"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}', b"\xff"]
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        load(body)


def test_a_server_that_shows_its_reasoning_takes_it_back() -> None:
    body = _body(USER, {**CALLED, "reasoning_content": "Hm"}, RESULT, tools=[F])
    seen = read(body | {"model": "deepseek-reasoner"})
    assert seen.thoughts == ["Hm"]
