"""What headers pass, in both directions, and those that the router writes itself."""

import re
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, GOOGLE, RESPONSES, Dialect, settings
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream, sse

# -- towards the provider ---------------------------------------------------------------------

FROM_A_CLIENT = {
    "Authorization": "Bearer client-key",
    "X-Api-Key": "client-key",
    "X-Goog-Api-Key": "client-key",
    "Api-Key": "client-key",
    "Cookie": "session=1",
    "Payment-Signature": "e30=",
    "X-Payment": "e30=",
    "Proxy-Authorization": "Basic YTpi",
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Host": "elsewhere.example",
    "X-Real-Ip": "10.0.0.1",
    "Forwarded": "for=10.0.0.1",
    "Via": "1.1 proxy",
    "Te": "trailers",
    "Connection": "keep-alive, X-Hop",
    "X-Hop": "1",
    "Keep-Alive": "timeout=5",
    "Upgrade-Insecure-Requests": "1",
    "Origin": "https://page.example",
    "Referer": "https://page.example/",
    "User-Agent": "client/1.0",
    "Accept": "application/json",
    "Accept-Language": "de",
    "Accept-Encoding": "gzip, br",
    "X-Stainless-Lang": "python",
    "X-Goog-Api-Client": "genai/3",
    "OpenAI-Organization": "org-1",
    "OpenAI-Project": "proj-1",
    "Idempotency-Key": "i-1",
    "Http-Referer": "https://page.example",
    "X-Title": "Page",
    "X-Request-Id": "client-id-1",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "Tracestate": "vendor=1",
    "OpenAI-Beta": "assistants=v2",
    "Anthropic-Version": "2026-10-21",
    "Anthropic-Beta": "files-api, context-1m",
}
ALWAYS = {
    "content-type": "application/json",
    "accept": "*/*",
    "accept-encoding": "identity",
    "x-request-id": "client-id-1",
    "traceparent": FROM_A_CLIENT["Traceparent"],
    "tracestate": FROM_A_CLIENT["Tracestate"],
}
OF_THE_PROTOCOL: dict[str, dict[str, str]] = {
    "chat": {"authorization": "Bearer key-up", "openai-beta": "assistants=v2"},
    "responses": {"authorization": "Bearer key-up", "openai-beta": "assistants=v2"},
    "anthropic": {
        "x-api-key": "key-up",
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "files-api, context-1m",
    },
    "google": {"x-goog-api-key": "key-up"},
}


async def ask(
    router: RunningRouter, dialect: Dialect, *, stream: bool = False, **options: Any
) -> aiohttp.ClientResponse:
    """One request: the head of its answer."""
    path = dialect.path(stream=stream)
    body = dialect.body(stream=stream)
    async with router.http.post(path, json=body, **options) as response:
        await response.read()
        return response


async def test_a_provider_gets_the_headers_of_its_protocol_and_nothing_else_of_the_clients(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    await ask(router, dialect, headers=FROM_A_CLIENT)
    headers = dict(upstream.last.headers)
    assert headers.pop("host") == f"127.0.0.1:{upstream.port}"
    assert headers.pop("content-length") == str(len(upstream.last.body))
    assert re.fullmatch(r"bitrouter/[\w.]+", headers.pop("user-agent"))
    assert headers == ALWAYS | OF_THE_PROTOCOL[dialect.name]


async def test_anthropic_is_told_a_version_though_the_client_names_none(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    await ask(router, ANTHROPIC)
    assert upstream.last.headers["anthropic-version"] == "2023-06-01"
    assert "anthropic-beta" not in upstream.last.headers


async def test_betas_on_several_lines_arrive_as_one(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(ANTHROPIC, upstream.url))
    lines = [("Anthropic-Beta", "a"), ("Anthropic-Beta", "b")]
    await ask(router, ANTHROPIC, headers=lines)
    assert upstream.last.headers["anthropic-beta"] == "a, b"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"type": "bearer"}, {"authorization": "Bearer key-up"}),
        ({"type": "header", "header_name": "api-key"}, {"api-key": "key-up"}),
        ({"type": "none"}, {}),
    ],
)
async def test_a_provider_may_want_its_key_elsewhere(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    auth: dict[str, str],
    expected: dict[str, str],
) -> None:
    given = settings(dialect, upstream.url)
    given["providers"]["p1"] |= {"auth": auth, "default_headers": {"X-Team": "search"}}
    router = await start_router(given)
    await ask(router, dialect)
    shown = {name: value for name, value in upstream.last.headers.items() if "key-up" in value}
    assert shown == expected
    assert upstream.last.headers["x-team"] == "search"


# -- towards the client -----------------------------------------------------------------------

FROM_A_PROVIDER = {
    "Server": "cloud/1.2.3",
    "Set-Cookie": "__cf=1; HttpOnly",
    "Alt-Svc": 'h3=":443"',
    "Strict-Transport-Security": "max-age=1",
    "Access-Control-Allow-Origin": "*",
    "Via": "1.1 edge",
    "CF-Ray": "1",
    "OpenAI-Organization": "org-of-the-router",
    "Anthropic-Organization-Id": "org-of-the-router",
    "X-Powered-By": "PHP",
    "X-Request-Id": "upstream-id-1",
    "Retry-After": "7",
    "Retry-After-Ms": "7000",
    "X-Should-Retry": "true",
    "OpenAI-Processing-Ms": "12",
    "OpenAI-Version": "2020-10-01",
    "X-Ratelimit-Remaining-Tokens": "9",
    "Anthropic-Ratelimit-Requests-Remaining": "8",
}
RATE_LIMITS: dict[str, set[str]] = {
    "chat": {
        *("retry-after", "retry-after-ms", "x-should-retry"),
        *("openai-processing-ms", "openai-version", "x-ratelimit-remaining-tokens"),
    },
    "anthropic": {
        *("retry-after", "retry-after-ms", "x-should-retry"),
        "anthropic-ratelimit-requests-remaining",
    },
    "google": {"retry-after"},
}
RATE_LIMITS["responses"] = RATE_LIMITS["chat"]
OURS = {
    *("server", "x-request-id", "request-id", "x-bitrouter-upstream-request-id"),
    *("x-bitrouter-provider", "x-bitrouter-model", "x-bitrouter-attempts", "server-timing"),
    *("content-type", "date"),
}
STREAMED = {"cache-control", "x-accel-buffering", "transfer-encoding"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_client_gets_the_headers_that_its_protocol_knows_and_no_other_of_the_providers(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = (
        sse(*dialect.events, headers=FROM_A_PROVIDER)
        if stream
        else Reply((dialect.answer,), headers=FROM_A_PROVIDER)
    )
    response = await ask(router, dialect, stream=stream)
    names = {name.lower() for name in response.headers}
    framing = STREAMED if stream else {"content-length"}
    assert names == OURS | RATE_LIMITS[dialect.name] | framing
    assert response.headers["server"] == "bitrouter"
    assert response.headers["x-bitrouter-upstream-request-id"] == "upstream-id-1"
    for name in RATE_LIMITS[dialect.name]:
        given = {key.lower(): value for key, value in FROM_A_PROVIDER.items()}
        assert response.headers[name] == given[name]


async def test_a_refusal_passes_the_same_headers(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    error = b'{"type":"error","error":{"message":"slow down"}}'
    upstream.script = Reply((error,), status=429, headers=FROM_A_PROVIDER)
    response = await ask(router, dialect)
    names = {name.lower() for name in response.headers}
    own = OURS - {"x-bitrouter-upstream-request-id", "server-timing"}
    assert names >= own | RATE_LIMITS[dialect.name] | {"x-bitrouter-error-source"}
    assert names <= OURS | RATE_LIMITS[dialect.name] | {
        "x-bitrouter-error-source",
        "content-length",
    }


# -- request ids ------------------------------------------------------------------------------


async def test_every_request_gets_an_id_that_the_provider_and_the_client_see(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    seen = set()
    for _ in range(3):
        response = await ask(router, dialect)
        request_id = response.headers["x-request-id"]
        assert re.fullmatch(r"req_[0-9a-f]{24}", request_id)
        assert response.headers["request-id"] == request_id
        assert upstream.last.headers["x-request-id"] == request_id
        seen.add(request_id)
    assert len(seen) == 3


@pytest.mark.parametrize("given", ["a", "req-1", "trace:1/2+3=4@5._-", "x" * 128])
async def test_a_sane_id_of_the_clients_own_is_kept(
    start_router: StartRouter, upstream: ScriptedUpstream, given: str
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    response = await ask(router, CHAT, headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == given
    assert upstream.last.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "ä", "a\tb", '"quoted"', "<b>", "a,b"])
async def test_an_odd_one_is_replaced(
    start_router: StartRouter, upstream: ScriptedUpstream, given: str
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    response = await ask(router, CHAT, headers={"X-Request-Id": given})
    assert re.fullmatch(r"req_[0-9a-f]{24}", response.headers["x-request-id"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/metrics"),
        ("GET", "/v1/metrics"),
        ("GET", "/v1/models"),
        ("GET", "/v1/routes"),
        ("GET", "/admin/routes"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
        ("DELETE", "/health"),
        ("DELETE", "/admin/routes/none"),
        ("POST", "/admin/routes"),
        ("POST", "/v1/messages"),
    ],
)
async def test_every_answer_has_an_id_and_names_the_router(
    start_router: StartRouter, upstream: ScriptedUpstream, method: str, path: str
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    async with router.http.request(method, path, headers={"X-Request-Id": "mine"}) as response:
        assert response.headers["x-request-id"] == "mine"
        assert response.headers["request-id"] == "mine"
        assert response.headers["server"] == "bitrouter"


# -- timing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_server_timing_tells_where_the_time_went(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    upstream.script = sse(*dialect.events) if stream else Reply((dialect.answer,))
    response = await ask(router, dialect, stream=stream)
    durations = parse_server_timing(response.headers["Server-Timing"])
    assert list(durations) == ["route", "upstream", "overhead"]
    assert all(duration >= 0 for duration in durations.values())
    assert durations["overhead"] >= durations["route"]


def parse_server_timing(text: str) -> dict[str, float]:
    """The durations in milliseconds, by the grammar of Server Timing, section 3."""
    metrics = [re.fullmatch(r"([a-z]+);dur=(\d+(?:\.\d+)?)", part) for part in text.split(", ")]
    assert all(metrics), text
    return {metric[1]: float(metric[2]) for metric in metrics if metric}


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, GOOGLE], ids=lambda one: one.name)
async def test_a_deprecated_query_of_the_client_reaches_the_provider_as_it_is(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    url = f"{dialect.path()}?api-version=2026-01-01&x=%20"
    async with router.http.post(url, json=dialect.body()) as response:
        assert response.status == 200
    assert upstream.last.target == f"{dialect.upstream_path}?api-version=2026-01-01&x=%20"
