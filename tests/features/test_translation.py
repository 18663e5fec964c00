"""A client of one protocol is served by a provider of another."""

import asyncio
import dataclasses
import json
from itertools import permutations
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.answers import Told, events_of, read_stream, read_whole
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    DIALECTS,
    GOOGLE,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    RESPONSES,
    Dialect,
    provider,
    route_to,
    settings,
)
from tests.support.requestlog import RequestLog
from tests.support.upstream import Reply, ScriptedUpstream, sse

PAIRS = list(permutations(DIALECTS, 2))
each_pair = pytest.mark.parametrize(
    ("dialect", "spoken"), PAIRS, ids=[f"{one.name} to {other.name}" for one, other in PAIRS]
)
HELLO = Told("Hello there", "m", INPUT_TOKENS, OUTPUT_TOKENS, True)
STREAM_PATHS = {GOOGLE.name: "/v1beta/models/up-1:streamGenerateContent?alt=sse"}


def asked(dialect: Dialect) -> dict[str, Any]:
    """A request for a stream with usage, which chat must be asked for."""
    more = {"stream_options": {"include_usage": True}} if dialect is CHAT else {}
    return dialect.body(stream=True) | more


@each_pair
async def test_a_whole_answer(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    upstream.script = Reply((spoken.answer,), headers={"x-request-id": "up-7", "set-cookie": "a"})

    async with router.http.post(dialect.path(), json=dialect.body()) as response:
        body = await response.read()

    assert response.status == 200
    assert response.content_type == "application/json"
    assert read_whole(dialect, body) == HELLO
    assert "x-bitrouter-dropped" not in response.headers
    assert "set-cookie" not in response.headers
    assert response.headers["x-bitrouter-provider"] == "p1"
    assert response.headers["x-bitrouter-upstream-request-id"] == "up-7"
    assert upstream.received[0].target == spoken.upstream_path
    line = await request_log.next_line()
    assert (line["outcome"], line["input_tokens"], line["output_tokens"]) == (
        "ok",
        INPUT_TOKENS,
        OUTPUT_TOKENS,
    )


@each_pair
async def test_a_stream(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    upstream.script = sse(*spoken.events)

    async with router.http.post(dialect.path(stream=True), json=asked(dialect)) as response:
        body = await response.read()

    assert (response.status, response.content_type) == (200, "text/event-stream")
    assert response.headers["Cache-Control"] == "no-cache"
    assert read_stream(dialect, body) == HELLO
    assert upstream.received[0].target == STREAM_PATHS.get(spoken.name, spoken.upstream_path)
    line = await request_log.next_line()
    assert (line["outcome"], line["input_tokens"], line["output_tokens"]) == (
        "ok",
        INPUT_TOKENS,
        OUTPUT_TOKENS,
    )


@each_pair
async def test_what_an_event_says_is_sent_before_the_next_one_comes(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, spoken: Dialect
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    hello = next(n for n, one in enumerate(spoken.events) if b'"Hello"' in one) + 1
    pause = asyncio.Event()
    events = (b"".join(spoken.events[:hello]), *spoken.events[hello:])
    upstream.script = sse(*events, pause=pause)

    async with router.http.post(dialect.path(stream=True), json=asked(dialect)) as response:
        sent = b""
        async with asyncio.timeout(10):
            while b'"Hello"' not in sent:
                sent += await response.content.readany()
        pause.set()
        assert read_stream(dialect, sent + await response.read()) == HELLO


@each_pair
@pytest.mark.parametrize("size", [1, 50])
async def test_it_does_not_matter_where_the_upstream_cuts_its_bytes(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    spoken: Dialect,
    size: int,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    stream = b"".join(spoken.events)
    upstream.script = sse(*(stream[i : i + size] for i in range(0, len(stream), size)))

    async with router.http.post(dialect.path(stream=True), json=asked(dialect)) as response:
        assert read_stream(dialect, await response.read()) == HELLO


@each_pair
async def test_a_stream_that_is_cut_ends_with_an_error(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    upstream.script = sse(*spoken.events[: -spoken.end])

    async with router.http.post(dialect.path(stream=True), json=asked(dialect)) as response:
        body = await response.read()

    assert "before the answer was complete" in dialect.error_in_stream(body)
    assert (await request_log.next_line())["outcome"] == "truncated"


@each_pair
async def test_an_error_in_the_stream_is_told_in_the_clients_way(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    error = spoken.error_event("overloaded, key-up said so")
    upstream.script = sse(*spoken.events[: -spoken.end], error)

    async with router.http.post(dialect.path(stream=True), json=asked(dialect)) as response:
        body = await response.read()

    assert dialect.error_in_stream(body) == "overloaded, *** said so"
    assert (await request_log.next_line())["outcome"] == "upstream_error"


@each_pair
async def test_a_refusal_is_told_in_the_clients_way(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, spoken: Dialect
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    said = b'{"error":{"message":"slow down, sk-0123456789abcdef","type":"x","code":null}}'
    upstream.script = Reply((said,), status=429, headers={"Retry-After": "17"})

    async with router.http.post(dialect.path(), json=dialect.body()) as response:
        body = await response.read()

    assert response.status == 429
    assert response.headers["Retry-After"] == "17"
    assert response.headers["x-bitrouter-error-source"] == "upstream"
    assert dialect.error(body, 429) == "slow down, ***"


@each_pair
@pytest.mark.parametrize("status", [400, 404, 500, 529])
async def test_a_page_instead_of_an_error_is_not_shown(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    spoken: Dialect,
    status: int,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    upstream.script = Reply((b"<html>secret</html>",), status=status, content_type="text/html")

    async with router.http.post(dialect.path(), json=dialect.body()) as response:
        body = await response.read()

    expected = (529 if dialect is ANTHROPIC else 503) if status == 529 else status
    assert response.status == expected
    assert "secret" not in dialect.error(body, expected)


@each_pair
async def test_a_refused_key_is_the_operators_trouble(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, spoken: Dialect
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    upstream.script = Reply((b'{"error":{"message":"bad key"}}',), status=401)

    async with router.http.post(dialect.path(), json=dialect.body()) as response:
        message = dialect.error(await response.read(), 401)

    assert "refused the router's own credential" in message


@each_pair
@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"choices":3,"output":3,"content":3}'])
async def test_an_answer_of_the_wrong_shape_is_a_bad_gateway_and_never_an_empty_success(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    spoken: Dialect,
    body: bytes,
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    upstream.script = Reply((body,))

    async with router.http.post(dialect.path(), json=dialect.body()) as response:
        assert response.status == 502
        dialect.error(await response.read(), 502)


async def test_googles_other_framings_are_made_too(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = sse(*CHAT.events)

    async with router.http.post(
        "/v1beta/models/m:streamGenerateContent", json=GOOGLE.body()
    ) as response:
        elements = json.loads(await response.read())
        assert response.content_type == "application/json"
    async with router.http.post(
        "/v1beta/models/m:generateContent", json=GOOGLE.body() | {"stream": True}
    ) as response:
        lines = [json.loads(line) for line in (await response.read()).splitlines()]
        assert response.content_type == "application/x-ndjson"

    for parts in (elements, lines):
        stream = b"".join(b"data: %b\n\n" % json.dumps(part).encode() for part in parts)
        assert read_stream(GOOGLE, stream) == HELLO


async def test_the_clients_own_protocol_is_preferred_and_another_one_helps_out(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    providers = {
        "foreign": provider(CHAT, upstream.url),
        "native": provider(ANTHROPIC, second_upstream.url),
    }
    router = await start_router(
        {"providers": providers, "models": {"m": route_to("foreign", "native")}}
    )
    upstream.script = Reply((CHAT.answer,))
    second_upstream.script = Reply((ANTHROPIC.answer,))
    async with router.http.post("/v1/messages", json=ANTHROPIC.body()) as response:
        assert await response.read() == ANTHROPIC.answer
        assert response.headers["x-bitrouter-provider"] == "native"

    second_upstream.script = Reply((b"{}",), status=503)
    async with router.http.post("/v1/messages", json=ANTHROPIC.body()) as response:
        assert read_whole(ANTHROPIC, await response.read()) == HELLO
        assert response.headers["x-bitrouter-provider"] == "foreign"
        assert response.headers["x-bitrouter-attempts"] == "3"


async def test_what_could_not_be_carried_is_named_in_the_clients_words(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(RESPONSES, upstream.url))
    upstream.script = Reply((RESPONSES.answer,))
    config = {"generationConfig": {"topK": 4, "seed": 7, "temperature": 0.5}}

    async with router.http.post(GOOGLE.path(), json=GOOGLE.body() | config) as response:
        names = response.headers["x-bitrouter-dropped"].split(",")

    assert {name.rpartition(".")[2] for name in names} == {"topK", "seed"}
    assert json.loads(upstream.received[0].body)["temperature"] == 0.5


async def test_names_that_no_header_can_carry_do_not_reach_one(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    upstream.script = Reply((ANTHROPIC.answer,))
    body = CHAT.body() | {"x\r\nset-cookie: a": 1, "seed": 1, "é": 2}

    async with router.http.post(CHAT.path(), json=body) as response:
        assert response.status == 200
        assert response.headers["x-bitrouter-dropped"] == "seed"
        assert "set-cookie" not in response.headers


async def test_what_would_change_the_meaning_is_refused(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))

    async with router.http.post(CHAT.path(), json=CHAT.body() | {"n": 2}) as response:
        assert response.status == 400
        assert "n: " in CHAT.error(await response.read(), 400)

    assert upstream.received == []


async def test_an_endpoint_that_can_be_told_all_of_it_is_asked_instead(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    providers = {
        "one": provider(ANTHROPIC, upstream.url),
        "many": provider(GOOGLE, second_upstream.url),
    }
    router = await start_router({"providers": providers, "models": {"m": route_to("one", "many")}})
    second_upstream.script = Reply((GOOGLE.answer,))

    async with router.http.post(CHAT.path(), json=CHAT.body() | {"n": 2}) as response:
        assert read_whole(CHAT, await response.read()) == HELLO
        assert response.headers["x-bitrouter-attempts"] == "1"

    assert upstream.received == []


@pytest.mark.parametrize(
    "more",
    [{"metadata": {"a": [[[[[1]]]]]}}, {"messages": [[[[[[[]]]]]]]}],
    ids=["in what is dropped", "in what is read"],
)
async def test_depth_is_limited_where_a_body_is_translated(
    start_router: StartRouter, upstream: ScriptedUpstream, more: dict[str, Any]
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url, limits={"max_json_depth": 5}))

    async with router.http.post(CHAT.path(), json=CHAT.body() | more) as response:
        assert response.status == 400
        assert "limits.max_json_depth" in CHAT.error(await response.read(), 400)


async def test_a_duplicate_key_is_refused_as_it_is_when_passing_through(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    body = b'{"model":"m","messages":[{"role":"user","content":"a"}],"messages":[]}'
    headers = {"Content-Type": "application/json"}

    async with router.http.post(CHAT.path(), data=body, headers=headers) as response:
        assert response.status == 400
        assert "duplicate key" in CHAT.error(await response.read(), 400)


async def test_a_client_of_one_vendor_never_shows_another_what_only_the_first_can_read(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    """The route goes from Gemini to Claude between two turns; what Gemini signed stays behind."""
    providers = {
        "gemini": provider(GOOGLE, upstream.url),
        "claude": provider(ANTHROPIC, second_upstream.url),
    }
    models = {"before": route_to("gemini"), "after": route_to("claude")}
    router = await start_router({"providers": providers, "models": models})
    thought = {"text": "hm", "thought": True, "thoughtSignature": "c2lnbmVkIGJ5IGdlbWluaQ=="}
    parts = [thought, {"text": "Hello"}]
    said = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}
    upstream.script = Reply((json.dumps(said).encode(),))
    second_upstream.script = Reply((ANTHROPIC.answer,))
    body = ANTHROPIC.body("before")

    async with router.http.post("/v1/messages", json=body) as response:
        content = (await response.json())["content"]
    assert [block["type"] for block in content] == ["thinking", "text"]
    history = [*body["messages"], {"role": "assistant", "content": content}]
    history.append({"role": "user", "content": "go on"})
    replay = ANTHROPIC.body("after") | {"messages": history}
    async with router.http.post("/v1/messages", json=replay) as response:
        assert await response.read() == ANTHROPIC.answer

    sent = json.loads(second_upstream.received[0].body)
    assert sent["messages"][1] == {"role": "assistant", "content": [content[1]]}
    assert sent["messages"][2] == history[2]


@pytest.mark.parametrize(
    ("dialect", "path", "body", "counted"),
    [
        (ANTHROPIC, "/v1/messages/count_tokens", {"model": "m"}, "input_tokens"),
        (RESPONSES, "/v1/responses/input_tokens", {"model": "m"}, "input_tokens"),
        (GOOGLE, "/v1beta/models/m:countTokens", {}, "totalTokens"),
    ],
)
async def test_tokens_are_estimated_where_no_provider_counts_them(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    path: str,
    body: dict[str, Any],
    counted: str,
) -> None:
    router = await start_router(settings(CHAT, upstream.url))

    async with router.http.post(path, json=dict(dialect.fields) | body) as response:
        assert response.status == 200
        assert response.headers["x-bitrouter-estimated"] == "input_tokens"
        assert 0 < (await response.json())[counted] < 20

    assert upstream.received == []


async def test_tokens_are_estimated_where_the_provider_does_not_know_the_path(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    upstream.script = Reply((b"404 page not found",), status=404, content_type="text/plain")

    async with router.http.post("/v1/messages/count_tokens", json=ANTHROPIC.body()) as response:
        assert response.status == 200
        assert (await response.json())["input_tokens"] > 0


async def test_embeddings_are_not_translated(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    async with router.http.post("/v1/embeddings", json={"model": "m", "input": "a"}) as response:
        assert response.status == 501
        assert "anthropic" in CHAT.error(await response.read(), 501)


async def test_events_of_one_chunk_are_one_write(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = sse(b"".join(CHAT.events))

    async with router.http.post(ANTHROPIC.path(), json=ANTHROPIC.body(stream=True)) as response:
        chunk, _ = await response.content.readchunk()

    assert [one["type"] for one in events_of(chunk)][-1] == "message_stop"


@each_pair
async def test_a_large_answer_is_translated_whole(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, spoken: Dialect
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    text = "ä word and 'another'. " * 20_000
    written = spoken.answer.replace(b'"Hello there"', json.dumps(text).encode())
    upstream.script = Reply((written,))

    async with router.http.post(dialect.path(), json=dialect.body()) as response:
        told = read_whole(dialect, await response.read())

    assert told == dataclasses.replace(HELLO, text=text)


@each_pair
async def test_a_large_request_is_translated_whole(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, spoken: Dialect
) -> None:
    router = await start_router(settings(spoken, upstream.url))
    upstream.script = Reply((spoken.answer,))
    text = "ä word and 'another'. " * 20_000
    body = json.loads(json.dumps(dialect.body()).replace('"Hi"', json.dumps(text)))

    async with router.http.post(dialect.path(), json=body) as response:
        assert read_whole(dialect, await response.read()) == HELLO

    assert text in json.dumps(json.loads(upstream.last.body), ensure_ascii=False)
