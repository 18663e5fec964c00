"""What strangers see of a router that sells: terms, headers, statuses, and words that help."""

import asyncio
import base64
import io
import json
import threading
from typing import Any

import pytest

from bitrouter.exchange.estimate import Size, measure
from bitrouter.server import till
from tests.conftest import StartRouter
from tests.support.chain.payer import encode
from tests.support.dialects import ANTHROPIC, CHAT, DIALECTS, GOOGLE, RESPONSES, Dialect, settings
from tests.support.facilitator import (
    SELLER,
    SIGNER,
    FakeFacilitator,
    answers_json,
    refuses,
    waits,
)
from tests.support.rawhttp import connect, post
from tests.support.stall import OpenStall, Stall, stall_settings, wallet
from tests.support.upstream import ScriptedUpstream

PROTOCOLS = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
ORIGIN = {"Origin": "https://app.example"}
ABROAD = {"Access-Control-Request-Method": "POST", **ORIGIN}
NETWORK = "eip155:84532"
TOKEN = {"name": "Gold", "version": "1", "decimals": 6}


def shared(headers: Any) -> bool:
    """Whether a page of another origin may read the answer, and what it must read of it."""
    exposed = headers.get("Access-Control-Expose-Headers", "").lower()
    return headers.get("Access-Control-Allow-Origin") == "*" and all(
        name in exposed
        for name in ("payment-required", "payment-response", "x-payment-response", "x-request-id")
    )


# -- the 402 ----------------------------------------------------------------------------------


@PROTOCOLS
async def test_the_terms_are_in_the_header_and_in_an_error_of_the_clients_protocol(
    sell: OpenStall, dialect: Dialect
) -> None:
    stall = await sell(dialect)
    answer = await stall.ask(dialect=dialect)
    assert answer.status == 402
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    body = json.loads(answer.body)
    header = json.loads(base64.b64decode(answer.headers["PAYMENT-REQUIRED"], validate=True))
    assert body.pop("payment_required") == header
    assert body.pop("x402Version") == 1
    assert [one["scheme"] for one in body.pop("accepts")] == ["exact"]
    assert "USD" in dialect.error(json.dumps(body).encode(), 402)
    assert "Retry-After" not in answer.headers  # waiting does not help
    assert b"null" not in base64.b64decode(answer.headers["PAYMENT-REQUIRED"])


async def test_a_client_that_has_any_key_is_asked_to_pay_too(sell: OpenStall) -> None:
    stall = await sell()
    for headers in ({"Authorization": "Bearer none-of-ours"}, {"x-api-key": "none"}):
        assert (await stall.ask(headers=headers)).status == 402


def eight_ways() -> list[dict[str, Any]]:
    """As many ways to pay as a configuration may have, none of them short."""
    return [
        {
            "scheme": scheme,
            "network": NETWORK,
            "asset": f"0x{number:040x}",
            "pay_to": SELLER,
            **TOKEN,
        }
        for scheme in ("upto", "exact")
        for number in range(1, 5)
    ]


@PROTOCOLS
async def test_the_header_fits_into_the_buffers_of_proxies(
    sell: OpenStall, dialect: Dialect
) -> None:
    stall = await sell(dialect)
    usual = await stall.ask(dialect=dialect)
    assert len(usual.headers["PAYMENT-REQUIRED"]) < 4096


async def test_the_largest_configuration_still_fits_into_what_clients_read(
    sell: OpenStall,
) -> None:
    stall = await sell(GOOGLE, discovery=True, accepts=eight_ways())
    answer = await stall.ask(dialect=GOOGLE)
    assert len(answer.required.accepts) == 8
    assert "bazaar" in (answer.required.extensions or {})
    assert 4096 < len(answer.headers["PAYMENT-REQUIRED"]) < 8190


async def test_the_terms_of_a_request_are_the_same_before_and_after_a_restart(
    sell: OpenStall,
) -> None:
    stall = await sell()
    before = (await stall.ask()).headers["PAYMENT-REQUIRED"]
    assert (await stall.ask()).headers["PAYMENT-REQUIRED"] == before
    await stall.router.stop()
    await stall.router.start()
    await stall.until_it_sells()
    assert (await stall.ask()).headers["PAYMENT-REQUIRED"] == before


async def test_until_the_facilitator_has_answered_nothing_is_offered(
    start_router: StartRouter, fake: FakeFacilitator, upstream: ScriptedUpstream
) -> None:
    nothing = answers_json({"kinds": [], "extensions": [], "signers": {}})
    fake.on_supported.append(nothing)
    router = await start_router(stall_settings(upstream, fake))
    stall = Stall(router, fake, upstream)
    answer = await stall.ask()
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "5"
    assert "PAYMENT-REQUIRED" not in answer.headers
    assert shared(answer.headers)


# -- what is free, and what is not for sale ---------------------------------------------------


async def test_prices_are_for_everybody_to_see(sell: OpenStall) -> None:
    stall = await sell()
    async with stall.router.http.get("/v1/models") as answer:
        assert answer.status == 200
        shown = {one["id"]: one for one in (await answer.json())["data"]}
    assert shown["m"]["price"] == {"input": 0.3, "output": 1.25}
    assert shown["flat"]["price"] == {"call": "0.01"}
    assert "price" not in shown["free"]


async def test_counting_tokens_is_free_and_asks_no_provider(sell: OpenStall) -> None:
    stall = await sell(ANTHROPIC)
    async with stall.router.http.post("/v1/messages/count_tokens", json=ANTHROPIC.body()) as answer:
        assert answer.status == 200
        assert (await answer.json())["input_tokens"] > 0
        assert answer.headers["x-bitrouter-estimated"] == "input_tokens"
        assert shared(answer.headers)
    assert stall.upstream.received == []


@PROTOCOLS
async def test_what_is_not_for_sale_is_403_and_says_what_is_needed(
    sell: OpenStall, dialect: Dialect
) -> None:
    stall = await sell(dialect)
    answer = await stall.ask(dialect=dialect, model="free")
    assert answer.status == 403
    assert "a key is needed" in dialect.error(answer.body, 403)


async def test_a_wildcard_route_and_a_dynamic_one_are_sold_by_the_catalogues_price(
    sell: OpenStall,
) -> None:
    def change(given: dict[str, Any]) -> None:
        given["providers"]["p1"]["models"] = {"up-1": {"price": {"input": 1, "output": 5}}}
        given["models"]["any/*"] = {"endpoints": [{"provider": "p1", "model_id": "*"}]}

    stall = await sell(change=change)
    endpoints = [{"provider": "p1", "model_id": "up-1"}]
    async with stall.router.http.post(
        "/admin/routes", json={"model": "dynamic", "endpoints": endpoints}
    ) as made:
        assert made.status in (200, 201)
    for model in ("any/up-1", "dynamic", "p1:up-1"):
        answer = await stall.ask(await stall.signed(wallet(), model=model), model=model)
        assert answer.status == 200
    assert stall.amounts == [11 + 7 * 5] * 3
    assert (await stall.ask(model="any/unknown")).status == 403


# -- limits that make no sense ----------------------------------------------------------------

LIMITS = {
    CHAT.name: ("max_tokens",),
    RESPONSES.name: ("max_output_tokens",),
    ANTHROPIC.name: ("max_tokens",),
    GOOGLE.name: ("generationConfig", "maxOutputTokens"),
}


def with_limit(dialect: Dialect, value: object) -> dict[str, Any]:
    body = dialect.body()
    *outer, name = LIMITS[dialect.name]
    for one in outer:
        body = {**body, one: {name: value}}
    return body if outer else {**body, name: value}


@PROTOCOLS
@pytest.mark.parametrize("value", [0, -1, "10", True, 1.5, [], 1e400], ids=str)
async def test_a_limit_that_makes_no_sense_is_refused_and_not_priced(
    sell: OpenStall, dialect: Dialect, value: object
) -> None:
    stall = await sell(dialect)
    body = with_limit(dialect, value)
    async with stall.router.http.post(
        dialect.path(), data=json.dumps(body).replace("Infinity", "1e400"),
        headers={"Content-Type": "application/json"},
    ) as answer:  # fmt: skip
        assert answer.status == 400
        assert "PAYMENT-REQUIRED" not in answer.headers
        assert LIMITS[dialect.name][-1] in dialect.error(await answer.read(), 400)


@PROTOCOLS
async def test_a_limit_beyond_all_measure_is_priced_or_refused_and_never_overflows(
    sell: OpenStall, dialect: Dialect
) -> None:
    stall = await sell(dialect)
    large = await stall.ask(dialect=dialect, body=with_limit(dialect, 10**12))
    assert large.status == 402
    assert 10**12 < int(large.required.accepts[0].amount) < 2**64
    for value in (2**63 - 1, 2**63, 2**256, 10**30):
        async with stall.router.http.post(
            dialect.path(), json=with_limit(dialect, value)
        ) as answer:
            assert answer.status in (400, 402)


async def test_a_strangers_body_that_would_take_minutes_to_price_is_refused_at_once(
    sell: OpenStall,
) -> None:
    stall = await sell()
    swarm = b'{"model": "m", "messages": [], "tools": [' + b"{}," * (1 << 19) + b"{}]}"
    headers = {"Content-Type": "application/json"}
    async with stall.router.http.post(
        CHAT.path(), data=io.BytesIO(swarm), headers=headers
    ) as answer:
        assert answer.status == 400
        assert "too many to be priced" in CHAT.error(await answer.read(), 400)


async def test_large_bodies_of_strangers_are_priced_one_after_the_other(
    sell: OpenStall, monkeypatch: pytest.MonkeyPatch
) -> None:
    stall = await sell()
    begun, go_on, at_once, most = threading.Event(), threading.Event(), [0], [0]

    def look(body: bytes) -> Size:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        begun.set()
        assert go_on.wait(10)
        at_once[0] -= 1
        return measure(body)

    monkeypatch.setattr(till, "measure", look)
    large = {**CHAT.body(), "user": "word " * 60_000}
    asking = [asyncio.create_task(stall.ask(body=large)) for _ in range(3)]
    assert await asyncio.to_thread(begun.wait, 10)
    async with stall.router.http.get("/health") as others:
        assert others.status == 200
    go_on.set()
    assert {one.status for one in await asyncio.gather(*asking)} == {402}
    assert most == [1]


# -- payments that cannot be read, or are not for this ----------------------------------------


@PROTOCOLS
async def test_each_refusal_has_the_form_of_the_clients_protocol(
    sell: OpenStall, dialect: Dialect
) -> None:
    stall = await sell(dialect, limits={"unsettled_per_payer": 1})
    garbage = await stall.ask("***", dialect)
    assert garbage.status == 400
    assert "base64" in dialect.error(garbage.body, 400)
    assert shared(garbage.headers)

    payment = await stall.signed(wallet(), dialect=dialect)
    released = asyncio.Event()
    stall.facilitator.on_verify.append(waits(released, answers_json({"isValid": False})))
    first = asyncio.create_task(stall.ask(payment, dialect))
    await stall.facilitator.wait_for("/verify", 1)
    limited = await stall.ask(await stall.signed(wallet(), dialect=dialect), dialect)
    assert limited.status == 429
    assert int(limited.headers["Retry-After"]) >= 1
    assert "unsettled_per_payer" in dialect.error(limited.body, 429)
    assert shared(limited.headers)
    released.set()
    assert (await first).status == 402


@pytest.mark.parametrize("name", ["PAYMENT-SIGNATURE", "X-PAYMENT"])
async def test_two_payment_headers_are_one_too_many(sell: OpenStall, name: str) -> None:
    stall = await sell()
    header = f"{name}: {encode(await stall.signed(wallet()))}"
    body = json.dumps(CHAT.body()).encode()
    async with connect(stall.url) as connection:
        await connection.send(
            post(CHAT.path(), body, "Content-Type: application/json", header, header)
        )
        answer = await connection.receive()
    assert answer.status == 400
    assert name.encode() in answer.body
    assert stall.facilitator.count("/verify") == 0


MISMATCHES = {
    "amount": ({"amount": "1"}, 'amount must be "'),
    "payee": ({"payTo": "0x" + 40 * "1"}, f'payTo must be "{SELLER}"'),
    "time": ({"maxTimeoutSeconds": 10**6}, "maxTimeoutSeconds must be 600"),
    "extra": ({"extra": {"name": "Gold", "version": "2"}}, 'extra.name must be "USDC"'),
}


@pytest.mark.parametrize(("change", "said"), MISMATCHES.values(), ids=MISMATCHES)
async def test_a_payment_for_other_terms_is_told_what_would_be_right(
    sell: OpenStall, change: dict[str, Any], said: str
) -> None:
    stall = await sell(CHAT, "exact")
    payment = await stall.signed(wallet("exact"))
    payment["accepted"].update(change)
    answer = await stall.ask(payment)
    assert answer.reason == "no_matching_payment_requirements"
    message = CHAT.error(error_of(answer.body), 402)
    assert said in message
    assert message.count(" must be ") == 1  # and of the rest nothing is said
    assert payment["payload"]["signature"][2:] not in answer.body.decode()


async def test_a_payment_that_was_signed_wrongly_is_told_what_was_to_be_signed(
    sell: OpenStall,
) -> None:
    stall = await sell(CHAT, "exact")
    payment = await stall.signed(wallet("exact"))
    amount = payment["accepted"]["amount"]
    payment["payload"]["authorization"]["value"] = "1"
    answer = await stall.ask(payment)
    assert answer.reason == "invalid_exact_evm_payload_authorization_value_mismatch"
    assert f"must be {amount}" in CHAT.error(error_of(answer.body), 402)


def error_of(body: bytes) -> bytes:
    """The error alone, without the terms."""
    return json.dumps({"error": json.loads(body)["error"]}).encode()


async def test_the_facilitators_new_account_is_taken_after_a_mismatch(sell: OpenStall) -> None:
    stall = await sell()
    payment = await stall.signed(wallet())
    assert payment["accepted"]["extra"]["facilitatorAddress"] == SIGNER
    stall.facilitator.on_verify.append(
        answers_json({"isValid": False, "invalidReason": "upto_facilitator_mismatch"})
    )
    asked = stall.facilitator.count("/supported")
    answer = await stall.ask(payment)
    assert answer.reason == "upto_facilitator_mismatch"
    assert SIGNER in CHAT.error(error_of(answer.body), 402)
    await stall.facilitator.wait_for("/supported", asked + 1)


# -- browsers ---------------------------------------------------------------------------------


async def test_every_answer_of_the_clients_paths_may_be_read_by_pages(sell: OpenStall) -> None:
    stall = await sell()
    http = stall.router.http
    paid = await stall.ask(await stall.signed(wallet()))
    streamed = await stall.ask(await stall.signed(wallet(), stream=True), stream=True)
    stall.upstream.script = None
    failed = await stall.ask(await stall.signed(wallet()))
    assert (paid.status, streamed.status, failed.status) == (200, 200, 502)
    seen = [paid.headers, streamed.headers, failed.headers]
    for method, path, status in (
        ("GET", "/v1/models", 200),
        ("GET", "/v1/v1/models", 200),
        ("GET", "/v1/models/nobody-has-it", 404),
        ("GET", "/v1beta/models", 200),
        ("GET", f"/v1/payments/{paid.headers['x-request-id']}", 200),
        ("GET", "/v1/payments/unknown", 404),
        ("GET", "/openapi.json", 200),
        ("GET", "/health", 200),
        ("GET", CHAT.path(), 405),
        ("POST", CHAT.path(), 415),
        ("POST", "/v1/embeddings", 415),
    ):
        async with http.request(method, path, headers=ORIGIN) as answer:
            assert answer.status == status, path
            seen.append(answer.headers)
    assert all(shared(headers) for headers in seen)


WANTED_BY_SDKS = (
    "payment-signature, x-payment, sign-in-with-x, access-control-expose-headers, content-type",
    "authorization, openai-organization, openai-project, x-stainless-lang, x-stainless-arch,"
    " x-stainless-os, x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime,"
    " x-stainless-runtime-version, x-stainless-timeout",
    "x-api-key, anthropic-version, anthropic-beta, anthropic-dangerous-direct-browser-access",
    "x-goog-api-key, x-goog-api-client",
)


@pytest.mark.parametrize("wanted", WANTED_BY_SDKS)
@PROTOCOLS
async def test_a_page_may_send_what_wallets_and_sdks_send(
    sell: OpenStall, dialect: Dialect, wanted: str
) -> None:
    stall = await sell(dialect)
    headers = {**ABROAD, "Access-Control-Request-Headers": wanted}
    async with stall.router.http.options(dialect.path(), headers=headers) as answer:
        assert answer.status == 204
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert shared(answer.headers)
    assert set(wanted.split(", ")) <= set(allowed)


@pytest.mark.parametrize(
    "path", ["/admin/routes", "/v1/admin/routes", "/admin/status", "/metrics", "/v1/metrics", "/"]
)
async def test_pages_may_read_nothing_of_the_operators(sell: OpenStall, path: str) -> None:
    stall = await sell()
    for method, headers in (("GET", ORIGIN), ("OPTIONS", ABROAD)):
        async with stall.router.http.request(method, path, headers=headers) as answer:
            assert not any(name.startswith("Access-Control") for name in answer.headers)


async def test_a_router_that_sells_nothing_is_no_business_of_other_pages(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    async with router.http.options(CHAT.path(), headers=ABROAD) as answer:
        assert answer.status == 405
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with router.http.post(CHAT.path(), json=CHAT.body(), headers=ORIGIN) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


# -- a refused settlement ---------------------------------------------------------------------


@PROTOCOLS
async def test_an_answer_that_could_not_be_charged_is_withheld_with_receipt_and_terms(
    sell: OpenStall, dialect: Dialect
) -> None:
    stall = await sell(dialect)
    stall.facilitator.on_settle.append(refuses("invalid_exact_evm_insufficient_balance"))
    answer = await stall.ask(await stall.signed(wallet(), dialect=dialect), dialect)
    assert answer.status == 402
    assert answer.headers["Cache-Control"] == "no-store"
    told = json.loads(base64.b64decode(answer.headers["PAYMENT-RESPONSE"]))
    assert told["success"] is False
    assert told["errorReason"] == answer.reason == "invalid_exact_evm_insufficient_balance"
    assert b"Hello there" not in answer.body
