"""Which endpoint answers when one does not, and what the client is told when none does."""

import asyncio
import json
import socket
from typing import Any, Literal

import aiohttp
import pytest

from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, GOOGLE, RESPONSES, Dialect, settings
from tests.support.faults import attempts_of
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream, sse


class Never(asyncio.Event):
    """What does not happen, on any event loop."""

    async def wait(self) -> Literal[True]:
        """Wait without end."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError


NEVER = Never()


@pytest.fixture
def nowhere() -> str:
    """A URL at which connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def whole(dialect: Dialect) -> Reply:
    """The dialect's whole answer."""
    return Reply((dialect.answer,))


def streamed(dialect: Dialect) -> Reply:
    """The dialect's complete stream."""
    return sse(*dialect.events)


def error(status: int, **more: Any) -> Reply:
    """An error answer in a shape that every dialect reads a message from."""
    body = {"type": "error", "error": {"message": f"status {status}", "type": "x"}}
    return Reply((json.dumps(body).encode(),), status=status, **more)


async def ask(
    router: RunningRouter, dialect: Dialect, *, stream: bool = False, model: str = "m"
) -> tuple[aiohttp.ClientResponse, bytes]:
    """One request for `model`: the answer's head and its body."""
    path = dialect.path(model, stream=stream)
    async with router.http.post(path, json=dialect.body(model, stream=stream)) as response:
        return response, await response.read()


# -- an endpoint that gives no answer is passed over ------------------------------------------

# Of what may pass soon the endpoint itself is asked once more.
MAY_PASS: dict[str, Reply | None] = {
    **{f"status {status}": error(status) for status in (408, 409, 500, 502, 503, 529)},
    "status 429 with a short Retry-After": error(429, headers={"retry-after": "0"}),
    "status 500 without a body": Reply((), status=500, content_type=None),
    "status 503 in HTML": Reply((b"<h1>down</h1>",), status=503, content_type="text/html"),
    "reset before the head": None,
}
STAYS: dict[str, Reply | None] = {
    **{f"status {status}": error(status) for status in (401, 402, 403, 429, 501, 504)},
    "status 429 with a long Retry-After": error(429, headers={"retry-after": "6"}),
    "status 503 with a long Retry-After": error(503, headers={"retry-after": "6"}),
    "a redirect": Reply((), status=307, headers={"Location": "http://127.0.0.1:1/"}),
    "silence": Reply(wait=NEVER),
}
FAILED_ANSWERS: dict[str, Reply] = {
    "not JSON": Reply((b"<html>sign in</html>",), content_type="text/html"),
    "empty": Reply(()),
    "cut": Reply((b'{"choices": [',), cut=True),
    "cut, and said to be whole": Reply((b'{"choices": [',)),
    "not an object": Reply((b'"hello',)),
}
FAILED_STREAMS: dict[str, Reply] = {
    "JSON in place of a stream": Reply((b"{}",)),
    "HTML in place of a stream": Reply((b"<html>",), content_type="text/html"),
    "a stream without an event": sse(),
    "a stream of comments": sse(b": ping\n\n", b": ping\n\n"),
    "a stream cut within its first event": sse(b"data: {", cut=True),
    "a stream cut before its first event": sse(b": ping\n\n", cut=True),
    "a stream that does not begin": sse(b": ping\n\n", b"data: {}\n\n", pause=NEVER),
}


def short_patience(dialect: Dialect, *urls: str, **more: Any) -> dict[str, Any]:
    """Settings in which the endpoints have 300 ms to begin their answer."""
    return settings(dialect, *urls, timeouts={"first_byte": "300ms"}, **more)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("failure", "times"),
    [*((one, 2) for one in MAY_PASS.values()), *((one, 1) for one in STAYS.values())],
    ids=[*MAY_PASS, *STAYS],
)
async def test_the_next_endpoint_is_asked(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    failure: Reply | None,
    times: int,
    stream: bool,
) -> None:
    router = await start_router(short_patience(CHAT, upstream.url, second_upstream.url))
    upstream.script = failure
    second_upstream.script = streamed(CHAT) if stream else whole(CHAT)
    response, body = await ask(router, CHAT, stream=stream)
    assert response.status == 200
    assert body == (b"".join(CHAT.events) if stream else CHAT.answer)
    assert response.headers["x-bitrouter-provider"] == "p2"
    assert response.headers["x-bitrouter-model"] == "up-1"
    assert response.headers["x-bitrouter-attempts"] == str(times + 1)
    assert "x-bitrouter-error-source" not in response.headers
    assert (len(upstream.received), len(second_upstream.received)) == (times, 1)
    assert {one.body for one in upstream.received} == {second_upstream.last.body}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("failure", MAY_PASS.values(), ids=MAY_PASS)
async def test_what_passes_is_not_noticed(
    start_router: StartRouter, upstream: ScriptedUpstream, failure: Reply | None, stream: bool
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    replies = [failure, streamed(CHAT) if stream else whole(CHAT)]
    upstream.script = lambda received: replies.pop(0)
    response, body = await ask(router, CHAT, stream=stream)
    assert (response.status, body) == (200, b"".join(CHAT.events) if stream else CHAT.answer)
    assert response.headers["x-bitrouter-attempts"] == "2"
    assert upstream.received[0].body == upstream.received[1].body


@pytest.mark.parametrize("failure", MAY_PASS.values(), ids=MAY_PASS)
async def test_where_load_is_spread_the_next_endpoint_is_asked_at_once(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    failure: Reply | None,
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url)
    given["models"]["m"]["strategy"] = "load_balance"
    router = await start_router(given)
    upstream.script = failure
    second_upstream.script = whole(CHAT)
    response, body = await ask(router, CHAT)
    assert (response.status, body) == (200, CHAT.answer)
    assert (len(upstream.received), len(second_upstream.received)) == (1, 1)


@pytest.mark.parametrize("failure", FAILED_ANSWERS.values(), ids=FAILED_ANSWERS)
async def test_the_next_endpoint_is_asked_when_an_answer_is_not_whole(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
    failure: Reply,
) -> None:
    router = await start_router(settings(dialect, upstream.url, second_upstream.url))
    upstream.script = failure
    second_upstream.script = whole(dialect)
    response, body = await ask(router, dialect)
    assert (response.status, body) == (200, dialect.answer)
    assert response.headers["x-bitrouter-attempts"] == "2"


@pytest.mark.parametrize("failure", FAILED_STREAMS.values(), ids=FAILED_STREAMS)
async def test_the_next_endpoint_is_asked_when_a_stream_does_not_begin(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
    failure: Reply,
) -> None:
    router = await start_router(short_patience(dialect, upstream.url, second_upstream.url))
    upstream.script = failure
    second_upstream.script = streamed(dialect)
    response, body = await ask(router, dialect, stream=True)
    assert (response.status, body) == (200, b"".join(dialect.events))
    assert response.headers["x-bitrouter-attempts"] == "2"


async def test_the_next_endpoint_is_asked_when_a_stream_begins_with_an_error(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
) -> None:
    router = await start_router(settings(dialect, upstream.url, second_upstream.url))
    upstream.script = sse(dialect.error_event("overloaded"))
    second_upstream.script = streamed(dialect)
    response, body = await ask(router, dialect, stream=True)
    assert (response.status, body) == (200, b"".join(dialect.events))
    assert response.headers["x-bitrouter-attempts"] == "2"


async def test_a_stream_that_begins_with_an_error_is_told_with_the_providers_words(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(dialect.error_event("overloaded, sk-0123456789abcdef says so"))
    response, body = await ask(router, dialect, stream=True)
    status = {"chat": 500, "responses": 502, "anthropic": 529, "google": 503}[dialect.name]
    assert response.status == status  # that of the error's own class, where it says one
    assert "an error: overloaded, *** says so" in dialect.error(body, status)


async def test_the_next_endpoint_is_asked_when_no_connection_can_be_made(
    start_router: StartRouter, upstream: ScriptedUpstream, nowhere: str, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, nowhere, upstream.url))
    upstream.script = whole(dialect)
    response, body = await ask(router, dialect)
    assert (response.status, body) == (200, dialect.answer)
    assert response.headers["x-bitrouter-attempts"] == "2"


async def test_an_endpoint_without_a_key_is_passed_over_and_never_called(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url)
    given["providers"]["p1"]["api_key"] = "${SURELY_NOT_SET}"
    router = await start_router(given)
    second_upstream.script = whole(CHAT)
    response, body = await ask(router, CHAT)
    assert (response.status, body) == (200, CHAT.answer)
    assert upstream.received == []


# -- what is the client's own mistake goes back to it -----------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_refusal_of_the_request_is_relayed_untouched_and_nobody_else_is_asked(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
    status: int,
    stream: bool,
) -> None:
    router = await start_router(settings(dialect, upstream.url, second_upstream.url))
    refusal = b'{ "error":{"message" : "too long\\u002e","code":4.0, "own":[1]},"type":"error" }\n'
    upstream.script = Reply((refusal,), status=status, headers={"retry-after": "7"})
    response, body = await ask(router, dialect, stream=stream)
    assert (response.status, body) == (status, refusal)
    assert response.content_type == "application/json"
    assert response.headers["retry-after"] == "7"
    assert response.headers["x-bitrouter-error-source"] == "upstream"
    assert response.headers["x-bitrouter-provider"] == "p1"
    assert response.headers["x-bitrouter-attempts"] == "1"
    assert response.headers["x-request-id"]
    assert len(upstream.received) == 1
    assert second_upstream.received == []


@pytest.mark.parametrize("page", [b"<html><h1>Bad request</h1></html>", b"", b"nope", b'{"error":'])
async def test_a_refusal_that_is_not_json_gets_the_protocols_own_shape(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, page: bytes
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = Reply((page,), status=422, content_type="text/html")
    response, body = await ask(router, dialect)
    assert response.status == 422
    assert response.content_type == "application/json"
    assert "422" in dialect.error(body, 422)
    assert b"<" not in body


# -- when nobody answers ----------------------------------------------------------------------


async def test_no_more_attempts_are_made_than_allowed(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    urls = [upstream.url] * 4 + [second_upstream.url]
    router = await start_router(settings(CHAT, *urls, retry={"max_attempts": 4}))
    upstream.script = error(500)
    response, _ = await ask(router, CHAT)
    assert response.status == 500
    assert response.headers["x-bitrouter-attempts"] == "4"
    assert response.headers["x-bitrouter-provider"] == "p4"
    assert len(upstream.received) == 4
    assert second_upstream.received == []


async def test_a_single_endpoint_is_asked_twice_and_its_last_error_told(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    replies = [None, error(503)]
    upstream.script = lambda received: replies.pop(0)
    response, body = await ask(router, dialect)
    assert response.status == 503
    assert json.loads(body)["error"]["message"] == "status 503"
    assert response.headers["x-bitrouter-attempts"] == "2"


async def test_the_last_error_is_the_one_that_the_client_gets(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
) -> None:
    router = await start_router(settings(dialect, upstream.url, second_upstream.url))
    upstream.script = error(504)
    second_upstream.script = error(429, headers={"retry-after": "30"})
    response, body = await ask(router, dialect)
    assert response.status == 429
    assert json.loads(body)["error"]["message"] == "status 429"
    assert response.headers["retry-after"] == "30"
    assert response.headers["x-bitrouter-error-source"] == "upstream"
    assert response.headers["x-bitrouter-attempts"] == "2"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_error_that_no_provider_worded_is_worded_in_the_clients_protocol(
    start_router: StartRouter, nowhere: str, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(settings(dialect, nowhere))
    response, body = await ask(router, dialect, stream=stream)
    assert response.status == 502
    assert response.content_type == "application/json"
    assert "no connection" in dialect.error(body, 502)
    assert response.headers["x-bitrouter-error-source"] == "upstream"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_silence_is_a_504_that_names_the_timer(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    dialect: Dialect,
    stream: bool,
) -> None:
    router = await start_router(short_patience(dialect, upstream.url))
    upstream.script = Reply(wait=NEVER)
    response, body = await ask(router, dialect, stream=stream)
    assert response.status == 504
    assert "timeouts.first_byte: 0.3 s" in dialect.error(body, 504)
    assert (await request_log.next_line())["outcome"] == "timeout:first_byte"


async def test_the_end_of_all_retries_is_counted_as_one_failed_request(
    start_router: StartRouter, upstream: ScriptedUpstream, request_log: RequestLog
) -> None:
    router = await start_router(settings(CHAT, upstream.url, upstream.url))
    upstream.script = error(503)
    await ask(router, CHAT)
    line = await request_log.next_line()
    assert (line["outcome"], line["attempts"], line["status"]) == ("upstream_error", 3, 503)
    assert attempts_of(router) == {
        ("p1:up-1", "5xx"): 2,
        ("p2:up-1", "5xx"): 1,
    }


# -- the router's own key is not the client's business ----------------------------------------

KEY_REFUSALS: dict[str, tuple[Dialect, int, bytes]] = {
    "openai": (
        CHAT,
        401,
        b'{"error":{"message":"Incorrect API key provided: key-up. You can find your API key at'
        b' https://platform.example","type":"invalid_request_error","param":null,'
        b'"code":"invalid_api_key"}}',
    ),
    "responses": (RESPONSES, 401, b'{"error":{"message":"Invalid key","code":"invalid_api_key"}}'),
    "anthropic": (
        ANTHROPIC,
        401,
        b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}',
    ),
    "google": (
        GOOGLE,
        400,
        b'{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.",'
        b'"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}',
    ),
    "forbidden": (CHAT, 403, b'{"error":{"message":"Your account is not active"}}'),
}


@pytest.mark.parametrize(("dialect", "status", "refusal"), KEY_REFUSALS.values(), ids=KEY_REFUSALS)
async def test_a_provider_that_refuses_the_routers_key_does_not_make_the_client_doubt_its_own(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    status: int,
    refusal: bytes,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = Reply((refusal,), status=status)
    response, body = await ask(router, dialect)
    assert response.status == (403 if status == 403 else 401)
    message = dialect.error(body, response.status)
    assert "provider 'p1' refused the router's own credential" in message
    assert "your" not in message.lower()
    assert "invalid_api_key" not in body.decode()
    assert "key-up" not in body.decode()
    assert response.headers["x-bitrouter-error-source"] == "upstream"


async def test_a_google_key_error_is_passed_over_though_its_status_is_400(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(GOOGLE, upstream.url, second_upstream.url))
    upstream.script = Reply((KEY_REFUSALS["google"][2],), status=400)
    second_upstream.script = whole(GOOGLE)
    response, _ = await ask(router, GOOGLE)
    assert (response.status, response.headers["x-bitrouter-provider"]) == (200, "p2")


# -- after the first byte there is no way back ------------------------------------------------


async def test_after_the_first_event_nobody_else_is_asked(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    dialect: Dialect,
) -> None:
    router = await start_router(settings(dialect, upstream.url, second_upstream.url))
    upstream.script = sse(dialect.events[0], cut=True)
    second_upstream.script = streamed(dialect)
    response, body = await ask(router, dialect, stream=True)
    assert response.status == 200
    assert response.headers["x-bitrouter-provider"] == "p1"
    assert response.headers["x-bitrouter-attempts"] == "1"
    assert body.startswith(dialect.events[0])
    assert dialect.error_in_stream(body)
    assert second_upstream.received == []


# -- the endpoints that can be asked ----------------------------------------------------------


async def test_endpoints_of_another_protocol_are_left_out(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, second_upstream.url)
    given["providers"]["p1"]["api_protocol"] = "anthropic"
    router = await start_router(given)
    second_upstream.script = whole(CHAT)
    response, _ = await ask(router, CHAT)
    assert response.status == 200
    assert response.headers["x-bitrouter-provider"] == "p2"
    assert response.headers["x-bitrouter-attempts"] == "1"
    assert upstream.received == []
