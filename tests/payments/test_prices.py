"""What a call costs, and what it does not: a failure, a detour, a model that is not for sale."""

import json

import pytest

from tests.conftest import StartRouter
from tests.payments.conftest import MakePayer, OpenShop
from tests.support.answers import read_whole
from tests.support.chain.payer import receipt, receipts_in_stream
from tests.support.chain.shop import CHARGE, FLAT, PURSE, answers, shop_settings
from tests.support.dialects import ANTHROPIC, CHAT, GOOGLE, RESPONSES, Dialect, provider
from tests.support.faults import error
from tests.support.upstream import Reply, ScriptedUpstream, sse

JSON = {"Content-Type": "application/json"}
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


# -- what does not change the price -----------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("dialect", "provider"),
    [(CHAT, ANTHROPIC), (RESPONSES, GOOGLE), (ANTHROPIC, CHAT), (GOOGLE, RESPONSES)],
    ids=lambda dialect: dialect.name,
)
async def test_a_translated_call_costs_the_same(
    open_shop: OpenShop, make_payer: MakePayer, dialect: Dialect, provider: Dialect, stream: bool
) -> None:
    shop = await open_shop(provider)
    payer = make_payer("upto")
    async with payer.httpx(shop.url) as client:
        answer = await client.post(dialect.path(stream=stream), json=dialect.body(stream=stream))
    assert answer.status_code == 200
    if not stream:
        assert read_whole(dialect, answer.content).text == "Hello there"
        shop.check_paid(payer, receipt(answer.headers), CHARGE)
    elif dialect is not GOOGLE:  # whose clients take a comment for an error
        shop.check_paid(payer, receipts_in_stream(answer.text)[0], CHARGE)
    found = await shop.until_payment(answer.headers["x-request-id"], "settled")
    assert found["amount"] == str(CHARGE)
    assert shop.earned == CHARGE


@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_a_flat_price_is_what_it_is(
    open_shop: OpenShop, make_payer: MakePayer, scheme: str
) -> None:
    shop = await open_shop(CHAT, scheme)
    payer = make_payer(scheme)
    async with payer.httpx(shop.url) as client:
        answer = await client.post(CHAT.path(), json=CHAT.body("flat"))
    shop.check_paid(payer, receipt(answer.headers), FLAT)


async def test_the_output_that_was_priced_is_the_most_that_a_provider_may_write(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT, "upto", pricing={"default_max_output_tokens": 500})
    assert (await shop.ask(await shop.signed(make_payer("upto")))).status == 200
    sent = json.loads(shop.upstream.last.body)
    assert 500 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))

    body = {**CHAT.body(), "max_tokens": 100}
    cheaper = await shop.offer(body=body)
    assert int(cheaper.accepts[0].amount) < int((await shop.offer()).accepts[0].amount)
    assert (
        await shop.ask(await shop.signed(make_payer("upto"), body=body), body=body)
    ).status == 200
    assert json.loads(shop.upstream.last.body)["max_tokens"] == 100


async def test_a_model_without_a_price_is_not_for_sale(
    open_shop: OpenShop,
) -> None:
    shop = await open_shop(CHAT)
    answer = await shop.ask(model="free")
    assert answer.status == 403
    assert "PAYMENT-REQUIRED" not in answer.headers
    assert shop.upstream.received == []


async def test_what_cannot_succeed_is_not_sold(open_shop: OpenShop) -> None:
    shop = await open_shop(CHAT)
    assert (await shop.ask(model="nobody-has-it")).status == 404
    assert (await shop.ask(body={"model": "m", "messages": 5, "max_tokens": -1})).status == 400
    async with shop.router.http.post(CHAT.path(), data=b"{", headers=JSON) as answer:
        assert answer.status == 400
    assert shop.upstream.received == []


# -- what costs nothing -----------------------------------------------------------------------

FAILURES: dict[str, tuple[Reply | None, bool]] = {
    "refused": (error(400), False),
    "overloaded": (error(503), False),
    "asked for payment itself": (error(402), False),
    "hung up": (None, False),
    "said nonsense": (Reply((b"<html>",), content_type="text/html"), False),
    "half an answer": (Reply((CHAT.answer[:40],), chunked=True, cut=True), False),
    "a stream that ended before it began": (sse(cut=True), True),
    "a stream that broke off": (sse(*CHAT.events[:3], cut=True), True),
}


@pytest.mark.parametrize("scheme", ["upto", "exact"])
@pytest.mark.parametrize(("reply", "stream"), FAILURES.values(), ids=FAILURES)
async def test_what_the_provider_failed_to_do_costs_nothing(
    open_shop: OpenShop,
    make_payer: MakePayer,
    reply: Reply | None,
    stream: bool,
    scheme: str,
) -> None:
    shop = await open_shop(CHAT, scheme)
    payer = make_payer(scheme)
    payment = await shop.signed(payer, stream=stream)
    shop.upstream.script = lambda received: reply
    failed = await shop.ask(payment, stream=stream)
    assert failed.status not in (402, 412)
    assert "PAYMENT-RESPONSE" not in failed.headers
    assert receipts_in_stream(failed.body.decode()) == []
    await shop.until_payment(failed.headers["x-request-id"], "released")
    assert shop.facilitator.settle.calls == []
    assert shop.world.balance(payer.address) == PURSE

    # Nothing was taken, so that the same payment will do for another attempt.
    shop.upstream.script = answers(CHAT)
    assert (await shop.ask(payment, stream=stream)).status == 200
    assert shop.earned > 0


async def test_a_fallback_does_not_change_the_price(
    start_router: StartRouter,
    open_shop: OpenShop,
    make_payer: MakePayer,
    second_upstream: ScriptedUpstream,
    upstream: ScriptedUpstream,
) -> None:
    shop = await open_shop(CHAT)
    given = shop_settings(CHAT, upstream.url, shop.facilitator.url, shop.seller)
    given["providers"]["p2"] = provider(CHAT, second_upstream.url) | {
        "models": {"up-1": {"price": {"input": 100, "output": 1000}}}
    }
    given["models"]["m"]["endpoints"].append({"provider": "p2", "model_id": "up-1"})
    shop.router.configure(given)
    async with shop.router.http.post("/admin/reload") as reloaded:
        assert reloaded.status == 200
    upstream.script = error(503)
    second_upstream.script = answers(CHAT)

    payer = make_payer("upto")
    answer = await shop.ask(await shop.signed(payer))
    assert answer.status == 200
    assert answer.headers["x-bitrouter-provider"] == "p2"
    assert receipt(answer.headers).amount == str(CHARGE)
    assert shop.earned == CHARGE
    assert len(shop.facilitator.settle.calls) == 1


async def test_a_reload_between_terms_and_payment_does_not_void_the_terms(
    open_shop: OpenShop, make_payer: MakePayer, upstream: ScriptedUpstream
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto"))
    given = shop_settings(CHAT, upstream.url, shop.facilitator.url, shop.seller)
    given["models"]["m"]["price"] = {"input": 3, "output": 12.5}
    shop.router.configure(given)
    async with shop.router.http.post("/admin/reload") as reloaded:
        assert reloaded.status == 200

    dearer = await shop.offer()
    assert int(dearer.accepts[0].amount) > int(payment["accepted"]["amount"])
    assert (await shop.ask(payment)).status == 200
    assert shop.earned == CHARGE  # the price that the terms were made of
    assert (await shop.ask(await shop.signed(make_payer("upto")))).status == 200
    assert shop.earned == CHARGE + 121  # 120.5 units, rounded up once


async def test_after_the_grace_the_former_price_is_not_for_sale(
    open_shop: OpenShop, make_payer: MakePayer, upstream: ScriptedUpstream
) -> None:
    pricing = {"old_price_grace": 0}
    shop = await open_shop(CHAT, pricing=pricing)
    payment = await shop.signed(make_payer("upto"))
    given = shop_settings(CHAT, upstream.url, shop.facilitator.url, shop.seller, pricing=pricing)
    given["models"]["m"]["price"] = {"input": 3, "output": 12.5}
    shop.router.configure(given)
    async with shop.router.http.post("/admin/reload") as reloaded:
        assert reloaded.status == 200
    answer = await shop.ask(payment)
    assert answer.status == 402
    assert answer.reason == "no_matching_payment_requirements"
    assert upstream.received == []
