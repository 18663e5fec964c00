"""Requests whose use is paid for: what may come out of them, and that it is known what did."""

import json
from typing import Any

import pytest

from bitrouter.config.schema import Traits
from bitrouter.errors import InvalidRequest
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.protocols.base import Bound, Request
from bitrouter.protocols.chat.passthrough import ChatPassthrough

MODEL = {"openai": "model", "responses": "model", "anthropic": "model"}
LEAST: dict[str, dict[str, Any]] = {
    "openai": {"model": "m", "messages": []},
    "responses": {"model": "m", "input": "Hi"},
    "anthropic": {"model": "m", "messages": [], "max_tokens": 10},
    "google": {"contents": []},
}
TRAITS = Traits()


def read(protocol: str, body: str | dict[str, Any], *, stream: bool = False) -> Request:
    codec = BY_API_PROTOCOL[protocol]
    text = body if isinstance(body, str) else json.dumps(body)
    path_model = "m" if protocol == "google" else None
    operation = codec.operations[1 if stream and protocol == "google" else 0]
    return codec.read(operation, path_model, "", text.encode())


def bound(protocol: str, **fields: object) -> Bound:
    return BY_API_PROTOCOL[protocol].read_bound(read(protocol, {**LEAST[protocol], **fields}))


def metered(protocol: str, limit: int | None, traits: Traits = TRAITS, **fields: object) -> Any:
    request = read(protocol, {**LEAST[protocol], **fields})
    sent = BY_API_PROTOCOL[protocol].metered(request, traits, limit)
    return json.loads(sent.body)


@pytest.mark.parametrize(
    ("protocol", "fields", "found"),
    [
        ("openai", {"max_tokens": 7}, Bound(7)),
        ("openai", {"max_completion_tokens": 7, "n": 3}, Bound(7, 3)),
        ("openai", {"max_completion_tokens": 7, "max_tokens": 9}, Bound(9)),
        ("openai", {"max_tokens": None}, Bound(None)),
        ("responses", {"max_output_tokens": 7}, Bound(7)),
        ("responses", {"previous_response_id": "resp_1"}, Bound(None, 1, recalls=True)),
        ("anthropic", {"max_tokens": 7}, Bound(7)),
        ("google", {"generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}}, Bound(7, 2)),
        ("google", {"generation_config": {"max_output_tokens": 7}}, Bound(7)),
        ("google", {"cachedContent": "cachedContents/1"}, Bound(None, 1, recalls=True)),
    ],
)
def test_how_much_may_come_out(protocol: str, fields: dict[str, Any], found: Bound) -> None:
    assert bound(protocol, **fields) == found


@pytest.mark.parametrize("value", [0, -1, "12", True, 1.5, []])
@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        ("openai", "max_tokens"),
        ("openai", "n"),
        ("responses", "max_output_tokens"),
        ("google", "generationConfig"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(protocol: str, name: str, value: object) -> None:
    given = {"maxOutputTokens": value} if protocol == "google" else value
    with pytest.raises(InvalidRequest, match=name):
        bound(protocol, **{name: given})


@pytest.mark.parametrize(
    "config",
    [
        '"generationConfig": {"maxOutputTokens": 1, "maxOutputTokens": 9}',
        '"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 9}',
        '"generationConfig": {"maxOutputTokens": 1}, "generation_config": {"maxOutputTokens": 9}',
    ],
)
def test_one_limit_is_not_priced_and_another_one_obeyed(config: str) -> None:
    request = read("google", f'{{"contents": [], {config}}}')
    with pytest.raises(InvalidRequest):
        BY_API_PROTOCOL["google"].read_bound(request)


def test_work_that_nobody_could_measure_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="background"):
        bound("responses", background=True)


@pytest.mark.parametrize(
    ("protocol", "sent"),
    [
        ("openai", {"max_tokens": 500}),
        ("responses", {"max_output_tokens": 500}),
        ("google", {"generationConfig": {"maxOutputTokens": 500}}),
    ],
)
def test_the_limit_that_was_priced_goes_to_the_provider(
    protocol: str, sent: dict[str, Any]
) -> None:
    assert metered(protocol, 500) == {**LEAST[protocol], **sent}


def test_it_has_the_name_that_the_model_knows() -> None:
    traits = Traits(max_tokens_field="max_completion_tokens")
    assert metered("openai", 500, traits)["max_completion_tokens"] == 500


def test_other_settings_of_google_stay() -> None:
    sent = metered("google", 500, generationConfig={"temperature": 0.5})
    assert sent["generationConfig"] == {"temperature": 0.5, "maxOutputTokens": 500}


@pytest.mark.parametrize("protocol", LEAST)
def test_a_request_that_has_its_limit_is_left_alone(protocol: str) -> None:
    request = read(protocol, LEAST[protocol])
    assert BY_API_PROTOCOL[protocol].metered(request, TRAITS, None) is request


def test_the_bytes_of_all_else_stay() -> None:
    body = '{ "messages" : [ ],  "model":"m" , "x" : 1.50 }'
    sent = BY_API_PROTOCOL["openai"].metered(read("openai", body), TRAITS, 5)
    assert sent.body == b'{ "messages" : [ ],  "model":"m" , "x" : 1.50,"max_tokens":5 }'


def test_a_chat_stream_is_asked_for_its_usage() -> None:
    request = read("openai", {**LEAST["openai"], "stream": True, "stream_options": {"x": 1}})
    sent = BY_API_PROTOCOL["openai"].metered(request, TRAITS, None)
    assert json.loads(sent.body)["stream_options"] == {"x": 1, "include_usage": True}
    assert sent.hides_usage


def test_not_where_the_client_has_asked_or_the_server_would_refuse() -> None:
    codec = BY_API_PROTOCOL["openai"]
    options = {"include_usage": True}
    asked = read("openai", {**LEAST["openai"], "stream": True, "stream_options": options})
    assert codec.metered(asked, TRAITS, None) is asked
    plain = read("openai", {**LEAST["openai"], "stream": True})
    assert codec.metered(plain, Traits(stream_usage=False), None) is plain


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
FIRST = b'data: {"choices":[{"delta":{"content":"\\"usage\\""}}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("at_once", [True, False])
def test_the_usage_that_we_asked_for_does_not_reach_the_client(at_once: bool) -> None:
    stream = ChatPassthrough(1 << 20, hides_usage=True)
    chunks = [FIRST, LAST, USAGE, DONE]
    if at_once:
        chunks = [b"".join(chunks)]
    assert b"".join(stream.feed(chunk) for chunk in chunks) == FIRST + LAST + DONE
    assert stream.complete
    assert stream.usage is not None
    assert (stream.usage.input_tokens, stream.usage.output_tokens) == (3, 4)


def test_the_usage_that_it_asked_for_itself_does() -> None:
    stream = ChatPassthrough(1 << 20)
    assert stream.feed(FIRST + USAGE + DONE) == FIRST + USAGE + DONE
