"""The strict providers over their sockets: credentials, errors, answers of the vendors' shape."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from anthropic.types import Message
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from pydantic import TypeAdapter

from tests.support.strict import PROVIDERS
from tests.support.strict.provider import StrictProvider
from tests.support.strict.script import SCRIPTS
from tests.support.strict.signing import Signer

TOOLS = ("get_weather", "get_time", "run_sql")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.fixture(params=PROVIDERS, ids=lambda kind: kind.name)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[StrictProvider]:
    running: StrictProvider = request.param()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def _path(provider: StrictProvider, stream: bool = False) -> str:
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return {
        "chat": "/v1/chat/completions",
        "responses": "/v1/responses",
        "anthropic": "/v1/messages",
        "google": f"/v1beta/models/gemini-3-flash:{method}",
    }[provider.name]


def _headers(provider: StrictProvider) -> dict[str, str]:
    return {
        "anthropic": {"x-api-key": provider.key, "anthropic-version": "2023-06-01"},
        "google": {"x-goog-api-key": provider.key},
    }.get(provider.name, {"Authorization": f"Bearer {provider.key}"})


def _body(provider: StrictProvider, text: str, stream: bool = False) -> dict[str, Any]:
    streams = {"stream": True} if stream else {}
    named = [{"name": name} for name in TOOLS]
    match provider.name:
        case "chat":
            tools = [
                {"type": "function", "function": one | {"parameters": SCHEMA}} for one in named
            ]
            messages = [{"role": "user", "content": text}]
            return {"model": "deepseek-reasoner", "messages": messages, "tools": tools, **streams}
        case "responses":
            flat = [{"type": "function", "parameters": SCHEMA, **one} for one in named]
            thinks = {"summary": "auto"}
            return {"model": "gpt-5", "input": text, "tools": flat, "reasoning": thinks, **streams}
        case "anthropic":
            messages = [{"role": "user", "content": text}]
            thinking = {"type": "adaptive"}
            client = [one | {"input_schema": SCHEMA} for one in named]
            about = {"model": "claude-opus-4-6", "max_tokens": 99, "thinking": thinking}
            return {**about, "messages": messages, "tools": client, **streams}
        case _:
            declared = [one | {"parametersJsonSchema": SCHEMA} for one in named]
            contents = [{"parts": [{"text": text}]}]
            return {"contents": contents, "tools": [{"functionDeclarations": declared}]}


async def _post(
    http: aiohttp.ClientSession, provider: StrictProvider, text: str, *, stream: bool = False
) -> tuple[int, bytes, Mapping[str, str]]:
    async with http.post(
        provider.url + _path(provider, stream),
        json=_body(provider, text, stream),
        headers=_headers(provider),
    ) as answer:
        return answer.status, await answer.read(), answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"x-api-key": "wrong"},
        {"x-goog-api-key": "wrong"},
    ],
    ids=["none", "bearer", "x-api-key", "x-goog-api-key"],
)
async def test_a_wrong_credential_is_refused(
    provider: StrictProvider, http: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    async with http.post(
        provider.url + _path(provider), json=_body(provider, "Hi"), headers=headers
    ) as answer:
        error = (await answer.json())["error"]
    assert answer.status == (400 if provider.name == "google" else 401)
    assert "key" in error["message"]
    assert provider.seen == []


async def test_a_second_credential_is_refused(
    provider: StrictProvider, http: aiohttp.ClientSession
) -> None:
    own = _headers(provider)
    foreign = {"x-api-key": "x", "x-goog-api-key": "x", "Authorization": "Bearer x"}
    for name, value in foreign.items():
        if name not in own:
            async with http.post(
                provider.url + _path(provider),
                json=_body(provider, "Hi"),
                headers=own | {name: value},
            ) as answer:
                assert answer.status in (400, 401), name


@pytest.mark.parametrize("script", [name for name in SCRIPTS if SCRIPTS[name][0].fault is None])
async def test_an_answer_is_what_the_vendors_types_say(
    provider: StrictProvider, http: aiohttp.ClientSession, script: str
) -> None:
    kinds: dict[str, Any] = {
        "chat": ChatCompletion,
        "responses": Response,
        "anthropic": Message,
        "google": GenerateContentResponse,
    }
    status, body, _ = await _post(http, provider, f"[[{script}]]")
    assert status == 200, body
    TypeAdapter(kinds[provider.name]).validate_json(body)


async def test_a_streams_events_are_cut_everywhere_and_complete(
    provider: StrictProvider, http: aiohttp.ClientSession
) -> None:
    _, body, headers = await _post(http, provider, "[[parallel]]", stream=True)
    assert headers["content-type"] == "text/event-stream"
    events = body.replace(b"\r\n", b"\n").removesuffix(b"\n\n").split(b"\n\n")
    data = [event.partition(b"data: ")[2] for event in events]
    if provider.name == "chat":
        assert data.pop() == b"[DONE]"
        for one in data:
            ChatCompletionChunk.model_validate_json(one)
    decoded = [json.loads(one) for one in data]
    if provider.name == "responses":
        assert [one["sequence_number"] for one in decoded] == list(range(len(decoded)))
        assert decoded[-1]["type"] == "response.completed"
    if provider.name == "anthropic":
        assert (decoded[0]["type"], decoded[-1]["type"]) == ("message_start", "message_stop")
    if provider.name == "google":
        assert "finishReason" in decoded[-1]["candidates"][0]
        assert "functionCall" not in str(decoded[-1])


@pytest.mark.parametrize(
    ("script", "statuses"),
    [
        ("error-400", (400, 400, 400, 400)),
        ("error-401", (401, 401, 401, 400)),
        ("error-404", (404, 404, 404, 404)),
        ("error-429", (429, 429, 429, 429)),
        ("error-500", (500, 500, 500, 500)),
        ("error-overloaded", (503, 503, 529, 503)),
        ("nonsense", (400, 400, 400, 400)),
    ],
)
async def test_an_error_has_the_vendors_status_and_shape(
    provider: StrictProvider,
    http: aiohttp.ClientSession,
    script: str,
    statuses: tuple[int, ...],
) -> None:
    status, body, headers = await _post(http, provider, f"[[{script}]]")
    decoded = json.loads(body)
    assert status == statuses[[kind.name for kind in PROVIDERS].index(provider.name)]
    assert decoded["error"]["message"]
    if provider.name == "anthropic":
        assert decoded["type"] == "error"
    if script == "error-429":
        told = body.decode() if provider.name == "google" else headers["retry-after"]
        assert "17" in told


async def test_a_model_calls_only_the_tools_that_it_was_given(
    provider: StrictProvider, http: aiohttp.ClientSession
) -> None:
    body = _body(provider, "[[tool]]")
    del body["tools"]
    async with http.post(
        provider.url + _path(provider), json=body, headers=_headers(provider)
    ) as answer:
        assert answer.status == 400
        assert "the script calls 'get_weather'" in await answer.text()


async def test_what_the_model_said_must_come_back_unharmed(
    provider: StrictProvider, http: aiohttp.ClientSession
) -> None:
    body = _body(provider, "[[short]]")
    said = {
        "chat": ("messages", {"role": "assistant", "content": "Hi!"}),
        "responses": ("input", {"role": "assistant", "content": "Hi!"}),
        "anthropic": ("messages", {"role": "assistant", "content": "Hi!"}),
        "google": ("contents", {"role": "model", "parts": [{"text": "Hi!"}]}),
    }
    member, turn = said[provider.name]
    if isinstance(body[member], str):
        body[member] = [{"role": "user", "content": body[member]}]
    body[member] += [turn, body[member][0]]
    text = json.dumps(body[member][-1]).replace("[[short]]", "Go on")
    body[member][-1] = json.loads(text)
    async with http.post(
        provider.url + _path(provider), json=body, headers=_headers(provider)
    ) as answer:
        assert "history harmed" in await answer.text()


def test_a_signature_vouches_for_its_content_and_nothing_else() -> None:
    signer = Signer("secret")
    signature = signer.sign("thinking", "Hm ü")
    assert signer.content("thinking", signature) == "Hm ü"
    assert signer.content("redacted", signature) is None
    assert Signer("other").content("thinking", signature) is None
    altered = signature[:-6] + ("A" if signature[-6] != "A" else "B") + signature[-5:]
    assert signer.content("thinking", altered) is None
    assert signer.content("thinking", "no base64!") is None
    assert {"+", "/"} & set(signature)
