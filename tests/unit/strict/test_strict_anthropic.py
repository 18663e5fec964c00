"""The strict Messages takes what Anthropic takes, and refuses what Anthropic refuses."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.strict.anthropic.read import read
from tests.support.strict.refused import Refused
from tests.support.strict.signing import Signer

SIGNER = Signer("anthropic")
USER = {"role": "user", "content": "Hi"}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
THOUGHT = {"type": "thinking", "thinking": "Hm", "signature": SIGNER.sign("thinking", "Hm")}
F = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
MARK = {"type": "ephemeral"}
MANUAL = {"type": "enabled", "budget_tokens": 1024}
TEXT = {"type": "text", "text": "Hi"}


def _body(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    given = list(messages) or [USER]
    return {"model": "claude-sonnet-4-5", "max_tokens": 2000, "messages": given, **members}


def _said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def _told(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def test_a_rich_request_is_understood() -> None:
    seen = read(
        _body(
            USER,
            _said(THOUGHT, USE),
            _told({**RESULT, "is_error": True}, TEXT),
            system=[{**TEXT, "cache_control": MARK}],
            tools=[F],
            thinking=MANUAL,
            tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        ),
        SIGNER,
    )
    assert (seen.system, seen.cache_marks) == (["Hi"], ["Hi"])
    assert seen.thoughts == ["Hm"]
    assert (seen.choice, seen.parallel, seen.thinking) == ("auto", False, {"budget": 1024})
    assert [(one.id, one.is_error) for one in seen.results] == [("t1", True)]


def test_thinking_that_was_not_shown_comes_back_without_its_text() -> None:
    hidden = {**THOUGHT, "thinking": ""}
    seen = read(_body(USER, _said(hidden, TEXT), USER), SIGNER)
    assert seen.thoughts == ["Hm"]


def _messages() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "unknown role", _body({"role": "tool", "content": "x"}), "messages.0"
    yield "system in the messages", _body({"role": "system", "content": "x"}, USER), "messages.0"
    yield "begins with the model", _body(_said(TEXT), USER), 'first message must use the "user"'
    yield "empty text", _body(_told({"type": "text", "text": ""})), "non-whitespace"
    yield "blank text", _body(_told({"type": "text", "text": " \n"})), "non-whitespace"
    yield "empty content", _body({"role": "user", "content": []}), "non-empty content"
    yield (
        "results in two messages",
        _body(
            USER,
            _said(USE, {**USE, "id": "t2"}),
            _told(RESULT),
            _told({**RESULT, "tool_use_id": "t2"}),
            tools=[F],
        ),
        "without `tool_result` blocks",
    )
    yield "result missing", _body(USER, _said(USE), USER, tools=[F]), "t1"
    yield (
        "result missing at the end",
        _body(USER, _said(USE), tools=[F]) | {"model": "claude-3-5-haiku"},
        "without `tool_result`",
    )
    yield "text before a result", _body(USER, _said(USE), _told(TEXT, RESULT), tools=[F]), "t1"
    yield "result without a call", _body(_told(RESULT), tools=[F]), "unexpected `tool_use_id`"
    yield (
        "ids twice",
        _body(USER, _said(USE), _told(RESULT), _said(USE), _told(RESULT), tools=[F]),
        "must be unique",
    )
    yield (
        "characters of an id",
        _body(USER, _said({**USE, "id": "a.b"}), USER, tools=[F]),
        "regex",
    )
    yield "input that is no object", _body(USER, _said({**USE, "input": "{}"}), USER), "object"
    yield "tools undeclared", _body(USER, _said(USE), _told(RESULT)), "must define tools"
    foreign = {**THOUGHT, "signature": Signer("other").sign("thinking", "Hm")}
    yield "foreign signature", _body(USER, _said(foreign, TEXT), USER), "Invalid `signature`"
    altered = {**THOUGHT, "thinking": "Hm!"}
    yield "altered thinking", _body(USER, _said(altered, TEXT), USER), "Invalid `signature`"
    unsigned = {"type": "thinking", "thinking": "Hm"}
    yield "unsigned thinking", _body(USER, _said(unsigned, TEXT), USER), "signature: Field required"
    envelope = {**THOUGHT, "signature": "Br1~o.eyJzaWciOiIifQ"}
    yield "an envelope", _body(USER, _said(envelope, TEXT), USER), "Invalid `signature`"
    marked = {**THOUGHT, "cache_control": MARK}
    yield "a mark on thinking", _body(USER, _said(marked, TEXT), USER), "cache_control"
    five = [{**TEXT, "cache_control": MARK} for _ in range(5)]
    yield "five marks", _body(_told(*five)), "maximum of 4"
    bmp = {"type": "base64", "media_type": "image/bmp", "data": "QQ=="}
    yield "image type", _body(_told({"type": "image", "source": bmp})), "image/bmp"
    url_alphabet = {"type": "base64", "media_type": "image/png", "data": "_-=="}
    yield "URL alphabet", _body(_told({"type": "image", "source": url_alphabet})), "base64"
    yield "unknown block", _body(_told({"type": "audio", "data": "QQ=="})), "messages.0.content.0"
    yield "member of chat's", _body({**USER, "name": "x"}), "messages.0.name: Extra inputs"
    yield (
        "prefill where there is none",
        _body(USER, _said(TEXT)) | {"model": "claude-opus-4-6"},
        "prefill",
    )


def _settings() -> Iterator[tuple[str, dict[str, Any], str]]:
    no_limit = _body()
    del no_limit["max_tokens"]
    yield "no limit", no_limit, "max_tokens: Field required"
    yield "temperature above 1", _body(temperature=1.5), "temperature"
    yield "temperature and top_p", _body(temperature=1, top_p=0.5), "cannot both"
    yield "null", _body(temperature=None), "temperature"
    yield "a member of chat's", _body(stop=["x"]), "stop: Extra inputs are not permitted"
    yield "blank stop", _body(stop_sequences=[" "]), "non-whitespace"
    yield "empty system", _body(system=""), "system"
    yield (
        "schema of no object",
        _body(tools=[{"name": "f", "input_schema": {}}]),
        "input_schema.type",
    )
    union = {"type": "object", "anyOf": [{"type": "object"}]}
    yield "schema of a union", _body(tools=[{"name": "f", "input_schema": union}]), "top level"
    yield "nested tool", _body(tools=[{"type": "function", "function": F}]), "tools.0"
    yield "dot in a name", _body(tools=[{**F, "name": "a.b"}]), "tools.0.name"
    yield "tools twice", _body(tools=[F, F]), "unique"
    yield "choice in words", _body(tools=[F], tool_choice="auto"), "tool_choice"
    yield "choice without tools", _body(tool_choice={"type": "auto"}), "while providing tools"
    other = {"type": "tool", "name": "g"}
    yield "choice of another", _body(tools=[F], tool_choice=other), "not found"
    yield "small budget", _body(thinking={**MANUAL, "budget_tokens": 1023}), "budget_tokens"
    yield (
        "budget above the limit",
        _body(thinking={**MANUAL, "budget_tokens": 2000}),
        "greater than",
    )
    yield "thinking and temperature", _body(thinking=MANUAL, temperature=0.5), "only be set to 1"
    yield "thinking and top_k", _body(thinking=MANUAL, top_k=3), "top_k"
    forced = _body(thinking=MANUAL, tools=[F], tool_choice={"type": "any"})
    yield "thinking and a forced call", forced, "forces tool use"
    yield (
        "a call whose thinking is lost",
        _body(USER, _said(USE), _told(RESULT), tools=[F], thinking=MANUAL),
        "must start with a thinking block",
    )
    yield "adaptive on an older model", _body(thinking={"type": "adaptive"}), "adaptive"
    yield "effort on an older model", _body(output_config={"effort": "low"}), "effort"
    newest = {"model": "claude-opus-5"}
    yield "temperature on the newest", _body(temperature=1) | newest, "not supported"
    yield "budget on the newest", _body(thinking=MANUAL) | newest, "not supported"
    yield (
        "thinking on an old model",
        _body(thinking=MANUAL) | {"model": "claude-3-5-haiku"},
        "thinking",
    )
    open_form = {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}
    yield "open schema", _body(output_config=open_form), "additionalProperties"
    bounded = {"format": {"type": "json_schema", "schema": {"type": "integer", "minimum": 1}}}
    yield "bounds", _body(output_config=bounded), "minimum"
    named = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "string"}}}
    yield "named schema", _body(output_config=named), "name"


@pytest.mark.parametrize(
    ("body", "words"),
    [pytest.param(body, words, id=name) for name, body, words in [*_messages(), *_settings()]],
)
def test_what_anthropic_refuses_is_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as caught:
        read(body, SIGNER)
    assert words in caught.value.message


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(Refused) as caught:
        read(_body() | {"model": "gpt-5"}, SIGNER)
    assert caught.value.kind == "not_found"
