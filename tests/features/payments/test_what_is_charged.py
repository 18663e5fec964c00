"""What a call is charged where that is not simply the provider's count at its end."""

import asyncio
import json
import logging
from typing import Any

import pytest

from bitrouter.server import keepalive, till
from tests.support.chain.payer import receipts_in_stream, terms
from tests.support.chain.shop import CHARGE, PRICE, answers
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    DIALECTS,
    GOOGLE,
    OUTPUT_TOKENS,
    Dialect,
    provider,
)
from tests.support.facilitator import settle_honestly, waits
from tests.support.faults import NEVER
from tests.support.rescues import dying
from tests.support.stall import OpenStall, Stall, wallet
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

PROTOCOLS = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
SPOKEN = 3  # tokens of `Hello there`, by the router's own estimate
USAGE_MEMBERS = ("usage", "usageMetadata")


async def bought(stall: Stall, dialect: Dialect = CHAT, **request: Any) -> Any:
    """The answer to a paid request, once it is settled."""
    payment = await stall.signed(wallet(), dialect=dialect, **request)
    answer = await stall.ask(payment, dialect, **request)
    assert answer.status == 200, answer
    await stall.until_payment(answer.headers["x-request-id"], "settled")
    return answer


# -- a provider that does not count -----------------------------------------------------------


def uncounted(dialect: Dialect) -> Reply:
    """The dialect's whole answer, without its usage."""
    answer = json.loads(dialect.answer)
    for name in USAGE_MEMBERS:
        answer.pop(name, None)
    return Reply((json.dumps(answer).encode(),))


@PROTOCOLS
async def test_a_whole_answer_that_nobody_counted_is_charged_by_estimate(
    sell: OpenStall, dialect: Dialect
) -> None:
    stall = await sell(dialect)
    stall.upstream.script = uncounted(dialect)
    answer = await bought(stall, dialect)
    (amount,) = stall.amounts
    found = await stall.payment(answer.headers["x-request-id"])
    assert found["output_tokens"] == SPOKEN
    assert found["input_tokens"] > 0
    assert amount == -(-(found["input_tokens"] * 3 + SPOKEN * 12.5) // 10)


async def test_a_stream_that_nobody_counted_is_charged_by_estimate(sell: OpenStall) -> None:
    stall = await sell()
    stall.upstream.script = sse(*(one for one in CHAT.events if b'"usage"' not in one))
    answer = await bought(stall, stream=True)
    found = await stall.payment(answer.headers["x-request-id"])
    assert found["output_tokens"] == SPOKEN
    assert found["input_tokens"] > 0
    assert stall.amounts == [int(found["amount"])]


EMBEDDED: dict[str, Any] = {"object": "list", "data": [], "model": "up-1"}


@pytest.mark.parametrize("counted", [True, False])
async def test_embeddings_cost_their_input_alone(sell: OpenStall, counted: bool) -> None:
    stall = await sell()
    usage = {"usage": {"prompt_tokens": 1000, "total_tokens": 1000}} if counted else {}
    stall.upstream.script = Reply((json.dumps(EMBEDDED | usage).encode(),))
    body = {"model": "m", "input": list(range(1000))}
    http = stall.router.http
    async with http.post("/v1/embeddings", json=body) as asked:
        assert asked.status == 402
        required = terms(asked.headers)
    most = int(required.accepts[0].amount)
    assert 1000 * PRICE["input"] <= most < 3000 * PRICE["input"]  # and no output is priced
    paid = stall.payment_header(wallet().sign(required))
    async with http.post("/v1/embeddings", json=body, headers=paid) as answer:
        assert answer.status == 200
    (amount,) = stall.amounts
    assert amount == 300 if counted else 300 <= amount <= most


# -- how a stream is framed -------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["lines", "array"])
async def test_googles_other_framings_are_charged_alike_and_hold_no_receipt(
    sell: OpenStall, framing: str
) -> None:
    stall = await sell(GOOGLE)
    elements = [json.loads(one.removeprefix(b"data: ")) for one in GOOGLE.events]
    path = GOOGLE.path(stream=True).removesuffix("?alt=sse")
    body = GOOGLE.body()
    if framing == "lines":
        path, body = GOOGLE.path(), {**body, "stream": True}
        stall.upstream.script = sse(*GOOGLE.events)
    else:
        stall.upstream.script = Reply((json.dumps(elements).encode(),), chunked=True)
    http = stall.router.http
    async with http.post(path, json=body) as asked:
        assert asked.status == 402
        paid = stall.payment_header(wallet().sign(terms(asked.headers)))
    async with http.post(path, json=body, headers=paid) as answer:
        assert answer.status == 200
        text = await answer.text()
        request_id = answer.headers["x-request-id"]
    whole = json.loads(text) if framing == "array" else list(map(json.loads, text.splitlines()))
    assert whole == elements
    await stall.until_payment(request_id, "settled")
    assert stall.amounts == [CHARGE]


@pytest.mark.parametrize("dialect", [CHAT, ANTHROPIC], ids=lambda dialect: dialect.name)
async def test_signs_of_life_stand_before_the_end_that_waits_for_the_receipt(
    sell: OpenStall, monkeypatch: pytest.MonkeyPatch, dialect: Dialect
) -> None:
    monkeypatch.setattr(keepalive, "_EVERY_S", 0.02)
    stall = await sell(dialect, streams={"receipt_hold": "20s"})
    payment = await stall.signed(wallet(), dialect=dialect, stream=True)
    alive = asyncio.Event()
    stall.facilitator.on_settle.append(waits(alive, settle_honestly))
    sign = ": keep-alive" if dialect is CHAT else "event: ping"
    text = ""
    async with stall.router.http.post(
        dialect.path(stream=True),
        json=dialect.body(stream=True),
        headers=stall.payment_header(payment),
    ) as answer:
        async for chunk in answer.content.iter_any():
            text += chunk.decode()
            if text.count(sign) >= 2:
                alive.set()
    assert len(receipts_in_stream(text)) == 1
    after = text.partition(": x402-payment-response ")[2]
    assert sign not in after
    assert after.endswith(dialect.events[-1].decode())
    assert stall.amounts == [CHARGE]


# -- streams that break off -------------------------------------------------------------------


@pytest.mark.parametrize("charged", [False, True])
async def test_a_stream_that_broke_off_is_charged_only_where_the_operator_says_so(
    sell: OpenStall, charged: bool
) -> None:
    stall = await sell(CHAT, "upto", streams={"charge_partial": charged})
    payment = await stall.signed(wallet(), stream=True)
    stall.upstream.script = sse(*CHAT.events[:3], cut=True)
    answer = await stall.ask(payment, stream=True)
    state = "settled" if charged else "released"
    found = await stall.until_payment(answer.headers["x-request-id"], state)
    if charged:
        assert found["output_tokens"] == SPOKEN
        assert stall.amounts == [int(found["amount"])]
        assert 0 < stall.amounts[0] < int(found["ceiling"])
    else:
        assert stall.facilitator.count("/settle") == 0


@pytest.mark.parametrize("mode", ["continue", "restart"])
async def test_a_stream_that_another_provider_finished_is_charged_once(
    sell: OpenStall, second_upstream: ScriptedUpstream, mode: str
) -> None:
    def change(given: dict[str, Any]) -> None:
        given["providers"]["p2"] = provider(
            CHAT,
            second_upstream.url,
            models={
                "up-1": {"capabilities": {"prefill": True}, "price": {"input": 99, "output": 99}}
            },
        )
        route = given["models"]["m"]
        route["endpoints"].append({"provider": "p2", "model_id": "up-1"})
        route["rescue"] = mode

    stall = await sell(change=change)
    payment = await stall.signed(wallet(), stream=True)
    stall.upstream.script = dying(CHAT, "Hel", "lo", how="cut")

    def go_on(received: Received) -> Reply:
        last = json.loads(received.body)["messages"][-1]
        if last["role"] == "assistant":
            return sse(CHAT.events[0], *CHAT.events[2:])  # " there", which is missing
        return sse(*CHAT.events)

    second_upstream.script = go_on
    answer = await stall.ask(payment, stream=True)
    assert answer.status == 200
    text = answer.body.decode()
    assert text.endswith("data: [DONE]\n\n")
    (told,) = receipts_in_stream(text)
    assert told.success
    found = await stall.until_payment(answer.headers["x-request-id"], "settled")
    assert found["output_tokens"] >= OUTPUT_TOKENS
    assert stall.amounts == [int(found["amount"])]
    assert stall.facilitator.count("/settle") == 1


# -- time -------------------------------------------------------------------------------------


async def test_a_call_that_outlasts_its_payment_is_broken_off_and_not_charged(
    sell: OpenStall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(till, "_lasts_s", lambda remaining_s: 0.1)
    stall = await sell()
    payment = await stall.signed(wallet())
    stall.upstream.script = Reply(wait=NEVER)
    answer = await stall.ask(payment)
    assert answer.status == 504
    assert "nothing was charged" in CHAT.error(answer.body, 504)
    assert "PAYMENT-REQUIRED" not in answer.headers
    await stall.until_payment(answer.headers["x-request-id"], "released")
    await asyncio.wait_for(stall.upstream.gone.wait(), 10)

    monkeypatch.undo()
    stall.upstream.script = answers(CHAT)
    assert (await stall.ask(payment)).status == 200


# -- a provider that asks to be paid ----------------------------------------------------------


@pytest.mark.parametrize("code", [None, "content_filter"])
async def test_a_402_of_a_providers_is_never_the_clients(sell: OpenStall, code: str | None) -> None:
    stall = await sell()
    payment = await stall.signed(wallet())
    refused = {"error": {"message": "pay", "code": code}}
    stall.upstream.script = Reply(
        (json.dumps(refused).encode(),), status=402, headers={"PAYMENT-REQUIRED": "forged"}
    )
    answer = await stall.ask(payment)
    assert answer.status == 502
    assert "PAYMENT-REQUIRED" not in answer.headers
    assert stall.facilitator.count("/settle") == 0


# -- what is changed while it runs ------------------------------------------------------------


async def test_a_reload_changes_prices_offers_and_limits_and_says_what_needs_a_restart(
    sell: OpenStall, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="bitrouter")
    kept: dict[str, Any] = {}
    stall = await sell(change=kept.update)
    before = await stall.ask()
    assert [one.scheme for one in before.required.accepts] == ["upto", "exact"]
    x402 = kept["payments"]["x402"]
    x402["accepts"] = x402["accepts"][1:]
    x402["pricing"] = {"min_units": 500_000}
    x402["max_timeout"] = "20m"
    x402["facilitator"] = {"url": "https://other.example"}
    x402["rpc_url"] = "https://node.example"
    stall.router.configure(kept)
    async with stall.router.http.post("/admin/reload") as reloaded:
        assert reloaded.status == 200
        told = await reloaded.json()
    assert set(told["restart_needed"]) == {
        "payments.x402.facilitator",
        "payments.x402.rpc_url",
    }
    (offer,) = (await stall.offer()).accepts
    assert (offer.scheme, offer.amount, offer.max_timeout_seconds) == ("exact", "500000", 1200)
    # The facilitator of the start still settles.
    answer = await stall.ask(await stall.signed(wallet("exact")))
    assert answer.status == 200
    assert stall.amounts == [500_000]


async def test_payments_that_are_switched_off_in_the_file_go_on_until_the_restart(
    sell: OpenStall,
) -> None:
    kept: dict[str, Any] = {}
    stall = await sell(change=kept.update)
    kept["payments"]["x402"]["enabled"] = False
    stall.router.configure(kept)
    async with stall.router.http.post("/admin/reload") as reloaded:
        assert (await reloaded.json())["restart_needed"] == ["payments.x402.enabled"]
    assert (await stall.ask(await stall.signed(wallet()))).status == 200
