"""What a protocol can do besides answering: passed on where the provider has it."""

import json
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, GOOGLE, RESPONSES, Dialect, settings
from tests.support.requestlog import RequestLog
from tests.support.upstream import Reply, ScriptedUpstream

CONTENT = {"parts": [{"text": "Hi"}]}

# dialect, path at the router, body, path at the provider, body at the provider, answer
OPERATIONS: dict[str, tuple[Dialect, str, dict[str, Any], str, dict[str, Any], bytes]] = {
    "openai embeddings": (
        CHAT,
        "/v1/embeddings",
        {"model": "m", "input": ["a", "b"], "dimensions": 2},
        "/v1/embeddings",
        {"model": "up-1", "input": ["a", "b"], "dimensions": 2},
        b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1e-3]}],'
        b'"model":"up-1","usage":{"prompt_tokens":11,"total_tokens":11}}',
    ),
    "openai embeddings of one text": (
        CHAT,
        "/embeddings",
        {"input": "a", "model": "m"},
        "/v1/embeddings",
        {"input": "a", "model": "up-1"},
        b'{"data":[],"usage":{"prompt_tokens":11}}',
    ),
    "responses input tokens": (
        RESPONSES,
        "/v1/responses/input_tokens",
        {"model": "m", "input": "Hi"},
        "/v1/responses/input_tokens",
        {"model": "up-1", "input": "Hi"},
        b'{"object":"response.input_tokens","input_tokens":11}',
    ),
    "anthropic count_tokens": (
        ANTHROPIC,
        "/v1/messages/count_tokens",
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
        "/v1/messages/count_tokens",
        {"model": "up-1", "messages": [{"role": "user", "content": "Hi"}]},
        b'{"input_tokens":11}',
    ),
    "google countTokens": (
        GOOGLE,
        "/v1beta/models/m:countTokens",
        {"contents": [CONTENT]},
        "/v1beta/models/up-1:countTokens",
        {"contents": [CONTENT]},
        b'{"totalTokens":11}',
    ),
    "google countTokens of a whole request": (
        GOOGLE,
        "/v1beta/models/m:countTokens",
        {"generateContentRequest": {"model": "models/m", "contents": [CONTENT]}},
        "/v1beta/models/up-1:countTokens",
        {"generateContentRequest": {"model": "models/up-1", "contents": [CONTENT]}},
        b'{"totalTokens":11}',
    ),
    "google embedContent": (
        GOOGLE,
        "/v1beta/models/m:embedContent",
        {"model": "models/m", "content": CONTENT, "outputDimensionality": 2},
        "/v1beta/models/up-1:embedContent",
        {"content": CONTENT, "outputDimensionality": 2},
        b'{"embedding":{"values":[0.5,1]}}',
    ),
    "google batchEmbedContents": (
        GOOGLE,
        "/v1/models/m:batchEmbedContents",
        {"requests": [{"model": "models/m", "content": CONTENT}, {"content": CONTENT}]},
        "/v1beta/models/up-1:batchEmbedContents",
        {"requests": [{"model": "models/up-1", "content": CONTENT}, {"content": CONTENT}]},
        b'{"embeddings":[{"values":[0.5]},{"values":[1]}]}',
    ),
}


@pytest.mark.parametrize(
    ("dialect", "path", "body", "upstream_path", "upstream_body", "answer"),
    OPERATIONS.values(),
    ids=OPERATIONS,
)
async def test_the_request_goes_to_the_provider_and_its_answer_comes_back_untouched(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    path: str,
    body: dict[str, Any],
    upstream_path: str,
    upstream_body: dict[str, Any],
    answer: bytes,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = Reply((answer,))
    async with router.http.post(path, json=body) as response:
        assert response.status == 200
        assert await response.read() == answer
        assert response.headers["x-bitrouter-provider"] == "p1"
    assert upstream.last.target == upstream_path
    assert json.loads(upstream.last.body) == upstream_body
    assert list(json.loads(upstream.last.body)) == list(upstream_body)


async def test_the_tokens_of_embeddings_are_counted(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = Reply((OPERATIONS["openai embeddings"][-1],))
    async with router.http.post("/v1/embeddings", json={"model": "m", "input": "a"}) as response:
        assert response.status == 200
    line = await request_log.next_line()
    assert line["input_tokens"] == 11
    assert "output_tokens" not in line


async def test_a_count_of_tokens_is_not_counted_as_their_use(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    upstream.script = Reply((b'{"input_tokens": 1000000}',))
    body = {"model": "m", "messages": []}
    async with router.http.post("/v1/messages/count_tokens", json=body) as response:
        assert response.status == 200
    assert "input_tokens" not in await request_log.next_line()


@pytest.mark.parametrize(
    ("dialect", "path", "body", "upstream_path", "upstream_body", "answer"),
    OPERATIONS.values(),
    ids=OPERATIONS,
)
async def test_the_next_endpoint_is_asked_here_too(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
    path: str,
    body: dict[str, Any],
    upstream_path: str,
    upstream_body: dict[str, Any],
    answer: bytes,
) -> None:
    router = await start_router(settings(dialect, upstream.url, second_upstream.url))
    upstream.script = Reply((b"{}",), status=500)
    second_upstream.script = Reply((answer,))
    async with router.http.post(path, json=body) as response:
        assert await response.read() == answer
        assert response.headers["x-bitrouter-attempts"] == "3"


async def test_a_provider_that_has_no_such_thing_says_so_itself(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    refusal = b'{"type":"error","error":{"type":"not_found_error","message":"Not Found"}}'
    upstream.script = Reply((refusal,), status=404)
    body = {"model": "m", "messages": []}
    async with router.http.post("/v1/messages/count_tokens", json=body) as response:
        assert (response.status, await response.read()) == (404, refusal)
        assert response.headers["x-bitrouter-error-source"] == "upstream"


BAD: dict[str, tuple[Dialect, str, dict[str, Any], str]] = {
    "no input": (CHAT, "/v1/embeddings", {"model": "m"}, "input"),
    "input is a number": (CHAT, "/v1/embeddings", {"model": "m", "input": 3}, "input"),
    "no messages": (ANTHROPIC, "/v1/messages/count_tokens", {"model": "m"}, "messages"),
    "requests is an object": (
        GOOGLE,
        "/v1beta/models/m:batchEmbedContents",
        {"requests": {"model": "m"}},
        "requests",
    ),
    "a request is a string": (
        GOOGLE,
        "/v1beta/models/m:batchEmbedContents",
        {"requests": ["m"]},
        "",
    ),
    "a whole request is a list": (
        GOOGLE,
        "/v1beta/models/m:countTokens",
        {"generateContentRequest": []},
        "",
    ),
}


@pytest.mark.parametrize(("dialect", "path", "body", "name"), BAD.values(), ids=BAD)
async def test_a_malformed_request_is_a_400(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    path: str,
    body: dict[str, Any],
    name: str,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    async with router.http.post(path, json=body) as response:
        assert response.status == 400
        assert name in dialect.error(await response.read(), 400)
    assert upstream.received == []
