"""What is sent to an endpoint, and what of the client's request is not."""

import msgspec
import pytest

from bitrouter.config.schema import Auth, Provider, Secret
from bitrouter.errors import InvalidRequest
from bitrouter.exchange.exchange import PassedThrough
from bitrouter.exchange.inquiry import Inquiry
from bitrouter.exchange.plan import Target
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.protocols.base import HeaderReader, Request, UpstreamCall
from bitrouter.protocols.codec import Codec
from bitrouter.routing.table import Endpoint
from tests.support.routes import provider

PROTOCOLS = ("openai", "responses", "anthropic", "google")
TARGET = Target("https://up.example/v1", Secret("sk-router"))


def no_header(name: str) -> None:
    """A client that sends no headers."""


def example(protocol: str, query: str = "") -> tuple[Codec, Request]:
    codec = BY_API_PROTOCOL[protocol]
    path, body = codec.example("m", "hi")
    match = codec.match(path)
    assert match is not None
    return codec, codec.read(*match, query, body)


def plan(
    codec: Codec,
    request: Request,
    endpoint: Endpoint,
    target: Target,
    header: HeaderReader,
    request_id: str,
) -> UpstreamCall:
    inquiry = Inquiry(codec, request, header, request_id=request_id, owner="", max_depth=128)
    return PassedThrough(inquiry, endpoint, target).call


def make_plan(
    protocol: str = "openai",
    client: dict[str, str] | None = None,
    *,
    query: str = "",
    target: Target = TARGET,
    served_by: Provider | None = None,
) -> UpstreamCall:
    codec, request = example(protocol, query)
    endpoint = Endpoint(served_by or provider("acme", protocol), "up")
    return plan(codec, request, endpoint, target, (client or {}).get, "req_1")


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_of_the_client_goes_on_but_what_the_protocol_and_tracing_need(
    protocol: str,
) -> None:
    client = {
        "authorization": "Bearer client-secret",
        "x-api-key": "client-secret",
        "x-goog-api-key": "client-secret",
        "api-key": "client-secret",
        "cookie": "client-secret",
        "payment-signature": "client-secret",
        "x-forwarded-for": "client-secret",
        "forwarded": "client-secret",
        "via": "client-secret",
        "host": "client-secret",
        "connection": "client-secret",
        "user-agent": "client-secret",
        "openai-organization": "client-secret",
        "accept-encoding": "gzip",
        "content-encoding": "gzip",
        "traceparent": "00-1-2-01",
        "tracestate": "a=b",
    }

    sent = lower(make_plan(protocol, client).headers)

    assert "client-secret" not in str(sent)
    assert (sent["traceparent"], sent["tracestate"]) == ("00-1-2-01", "a=b")
    assert (sent["accept-encoding"], sent["content-type"]) == ("identity", "application/json")
    assert sent["user-agent"].startswith("bitrouter/")
    assert sent["x-request-id"] == "req_1"
    assert "content-encoding" not in sent
    assert "sk-router" in str(sent)


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        (None, {"authorization": "Bearer sk-router"}),
        (Auth(type="bearer"), {"authorization": "Bearer sk-router"}),
        (Auth(type="header", header_name="api-key"), {"api-key": "sk-router"}),
        (Auth(type="none"), {}),
    ],
)
def test_key_is_presented_as_the_provider_is_configured(
    auth: Auth | None, headers: dict[str, str]
) -> None:
    served_by = msgspec.structs.replace(provider("acme"), auth=auth)

    sent = lower(make_plan(served_by=served_by).headers)

    assert {name: value for name, value in sent.items() if "sk-router" in value} == headers


@pytest.mark.parametrize("key", [None, Secret("")])
def test_no_key_is_no_credential(key: Secret | None) -> None:
    sent = lower(make_plan(target=Target("https://up.example", key)).headers)

    assert "authorization" not in sent


def test_default_headers_of_the_provider_are_sent() -> None:
    served_by = msgspec.structs.replace(provider("acme"), default_headers={"x-team": "search"})

    assert make_plan(served_by=served_by).headers["x-team"] == "search"


@pytest.mark.parametrize(
    ("protocol", "query", "url"),
    [
        ("openai", "", "https://up.example/v1/chat/completions"),
        (
            "openai",
            "api-version=1&x=%20",
            "https://up.example/v1/chat/completions?api-version=1&x=%20",
        ),
        ("anthropic", "beta=true", "https://up.example/v1/messages?beta=true"),
        ("google", "x=1", "https://up.example/v1/models/up:generateContent?x=1"),
    ],
)
def test_query_of_the_client_goes_on(protocol: str, query: str, url: str) -> None:
    assert make_plan(protocol, query=query).url == url


def test_query_is_appended_where_the_url_has_one_already() -> None:
    codec = BY_API_PROTOCOL["google"]
    match = codec.match("/v1beta/models/m:streamGenerateContent")
    assert match is not None
    request = codec.read(*match, "alt=sse&x=1", b'{"contents":[]}')

    call = plan(codec, request, Endpoint(provider("g", "google"), "up"), TARGET, no_header, "req_1")

    assert call.url == "https://up.example/v1/models/up:streamGenerateContent?alt=sse&x=1"


def test_one_request_leaves_nothing_for_the_next() -> None:
    codec, request = example("anthropic")
    endpoint = Endpoint(provider("a", "anthropic"), "up")
    client = {"anthropic-beta": "x", "traceparent": "00-1-2-01"}
    plan(codec, request, endpoint, TARGET, client.get, "req_1")

    sent = lower(plan(codec, request, endpoint, TARGET, no_header, "req_2").headers)

    assert sent["x-request-id"] == "req_2"
    assert not {"anthropic-beta", "traceparent"} & sent.keys()


def test_new_target_is_used_at_once() -> None:
    codec, request = example("openai")
    endpoint = Endpoint(provider("a"), "up")
    plan(codec, request, endpoint, TARGET, no_header, "req_1")

    moved = plan(codec, request, endpoint, Target("http://h:1", Secret("k")), no_header, "req_1")

    assert moved.url == "http://h:1/v1/chat/completions"
    assert moved.headers["Authorization"] == "Bearer k"


def test_duplicate_key_never_reaches_a_provider() -> None:
    codec = BY_API_PROTOCOL["openai"]
    match = codec.match("/v1/chat/completions")
    assert match is not None
    request = codec.read(*match, "", b'{"model":"m","messages":[],"messages":[]}')

    with pytest.raises(InvalidRequest, match="duplicate key"):
        plan(codec, request, Endpoint(provider("a"), "up"), TARGET, no_header, "req_1")


def test_key_is_not_shown_by_what_holds_it() -> None:
    assert "sk-router" not in repr(TARGET)
