"""The stock clients pay: every protocol, whole and streamed, by every scheme, to the unit."""

import asyncio
import json
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from google import genai
from openai import AsyncOpenAI

from tests.payments.conftest import MakePayer, OpenShop
from tests.support.chain.payer import receipt, receipts_in_stream
from tests.support.chain.shop import CHARGE, PURSE, Shop, answers, delivered
from tests.support.dialects import ANTHROPIC, CHAT, DIALECTS, GOOGLE, RESPONSES, Dialect
from tests.support.upstream import Reply

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PROTOCOLS = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
OUR_SECRETS = ("payment-", "x-payment", "sign-in-with-x", "0x")


def check_nothing_of_it_went_upstream(shop: Shop) -> None:
    """The provider was asked once, and was told nothing of a payment."""
    (received,) = shop.upstream.received
    for name, value in received.headers.items():
        assert not name.startswith(OUR_SECRETS[:3])
        assert OUR_SECRETS[3] not in value


# -- with httpx -------------------------------------------------------------------------------


@BOTH
@PROTOCOLS
async def test_a_wallet_without_gas_and_approval_pays_for_what_it_used(
    open_shop: OpenShop, make_payer: MakePayer, dialect: Dialect, stream: bool
) -> None:
    shop = await open_shop(dialect)
    payer = make_payer("upto")
    async with payer.httpx(shop.url) as client:
        answer = await client.post(
            dialect.path(stream=stream), json=dialect.body(stream=stream), headers={"x-team": "a"}
        )

    assert answer.status_code == 200
    assert "private" in answer.headers["cache-control"]
    payment = await shop.until_payment(answer.headers["x-request-id"], "settled")
    if not stream:
        assert answer.content == dialect.answer
        told = [receipt(answer.headers)]
    else:
        assert "payment-response" not in answer.headers
        told = receipts_in_stream(answer.text)
    # Google's clients take a comment for an error, so that theirs can only be asked for.
    assert len(told) == (0 if stream and dialect is GOOGLE else 1)
    for one in told:
        shop.check_paid(payer, one, CHARGE)
        assert payment["transaction"] == one.transaction
    assert shop.world.chain.mined[payment["transaction"]].succeeded
    assert shop.earned == CHARGE == PURSE - shop.world.balance(payer.address)
    check_nothing_of_it_went_upstream(shop)


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, ANTHROPIC], ids=lambda one: one.name)
async def test_a_stream_is_what_it_was_but_for_a_comment_before_its_end(
    open_shop: OpenShop, make_payer: MakePayer, dialect: Dialect
) -> None:
    shop = await open_shop(dialect)
    async with make_payer("upto").httpx(shop.url) as client:
        answer = await client.post(dialect.path(stream=True), json=dialect.body(stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, last = delivered(dialect)
    (comment,) = [part for part in answer.text.split("\n\n") if part.startswith(":")]
    assert comment.startswith(": x402-payment-response ")
    assert answer.text == "".join(events) + comment + "\n\n" + last


@BOTH
@pytest.mark.parametrize("offer", ["exact", "exact by Permit2"])
async def test_exact_takes_the_price_that_was_quoted(
    open_shop: OpenShop, make_payer: MakePayer, offer: str, stream: bool
) -> None:
    shop = await open_shop(CHAT, offer)
    payer = make_payer("exact")
    quoted = int((await shop.offer(stream=stream)).accepts[0].amount)
    async with payer.httpx(shop.url) as client:
        answer = await client.post(CHAT.path(), json=CHAT.body(stream=stream))
    assert answer.status_code == 200
    told = receipts_in_stream(answer.text)[0] if stream else receipt(answer.headers)
    assert quoted > CHARGE
    shop.check_paid(payer, told, quoted)


async def test_a_wallet_that_has_approved_permit2_needs_no_permit_and_no_node(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payer = make_payer("upto", rpc=False)
    shop.world.approve_permit2(payer.account)
    async with payer.httpx(shop.url) as client:
        answer = await client.post(CHAT.path(), json=CHAT.body())
    assert answer.status_code == 200
    shop.check_paid(payer, receipt(answer.headers), CHARGE)


async def test_without_an_approval_and_a_permit_the_answer_is_412_with_terms(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer("upto", rpc=False))
    answer = await shop.ask(payment)
    assert answer.status == 412
    assert answer.reason == "permit2_allowance_required"
    assert shop.upstream.received == []


@pytest.mark.parametrize("schemes", [("upto",), ("exact",), ("upto", "exact")], ids=str)
async def test_a_client_takes_the_first_offer_that_it_knows(
    open_shop: OpenShop, make_payer: MakePayer, schemes: tuple[str, ...]
) -> None:
    shop = await open_shop(CHAT)
    payment = await shop.signed(make_payer(*schemes))
    assert payment["accepted"]["scheme"] == schemes[0]
    assert (await shop.ask(payment)).status == 200


async def test_a_wallet_pays_call_after_call(open_shop: OpenShop, make_payer: MakePayer) -> None:
    shop = await open_shop(CHAT)
    payer = make_payer("upto")
    async with payer.httpx(shop.url) as client:
        for _ in range(3):
            assert (await client.post(CHAT.path(), json=CHAT.body())).status_code == 200
    assert shop.earned == 3 * CHARGE
    assert shop.world.balance(payer.address) == PURSE - 3 * CHARGE


# -- with requests ----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_the_client_on_requests_pays(
    open_shop: OpenShop, make_payer: MakePayer, scheme: str, stream: bool
) -> None:
    shop = await open_shop(CHAT, scheme)
    payer = make_payer(scheme)
    amount = int((await shop.offer(stream=stream)).accepts[0].amount)

    def pay() -> tuple[int, str, dict[str, str]]:
        with payer.requests() as session:
            url = shop.url + CHAT.path()
            answer = session.post(url, json=CHAT.body(stream=stream), timeout=20)
            return answer.status_code, answer.text, dict(answer.headers)

    status, text, headers = await asyncio.to_thread(pay)
    assert status == 200
    told = receipts_in_stream(text)[0] if stream else receipt(headers)
    shop.check_paid(payer, told, CHARGE if scheme == "upto" else amount)
    check_nothing_of_it_went_upstream(shop)


# -- with the vendors' SDKs -------------------------------------------------------------------


@BOTH
async def test_openais_sdk_pays(open_shop: OpenShop, make_payer: MakePayer, stream: bool) -> None:
    shop = await open_shop(CHAT)
    payer = make_payer("upto")
    http = payer.httpx2()
    async with AsyncOpenAI(base_url=shop.url + "/v1", api_key="none", http_client=http) as client:
        messages: Any = CHAT.fields["messages"]
        if stream:
            events = await client.chat.completions.create(model="m", messages=messages, stream=True)
            said = [one.choices[0].delta.content or "" async for one in events if one.choices]
        else:
            made = await client.chat.completions.create(model="m", messages=messages)
            said = [made.choices[0].message.content or ""]
    assert "".join(said) == "Hello there"
    assert shop.earned == CHARGE
    assert shop.world.balance(payer.address) == PURSE - CHARGE


@BOTH
async def test_openais_sdk_pays_for_responses(
    open_shop: OpenShop, make_payer: MakePayer, stream: bool
) -> None:
    shop = await open_shop(RESPONSES)
    http = make_payer("upto").httpx2()
    async with AsyncOpenAI(base_url=shop.url + "/v1", api_key="none", http_client=http) as client:
        if stream:
            events = await client.responses.create(model="m", input="Hi", stream=True)
            said = [one.delta async for one in events if one.type == "response.output_text.delta"]
        else:
            said = [(await client.responses.create(model="m", input="Hi")).output_text]
    assert "".join(said) == "Hello there"
    assert shop.earned == CHARGE


@BOTH
async def test_anthropics_sdk_pays(
    open_shop: OpenShop, make_payer: MakePayer, stream: bool
) -> None:
    shop = await open_shop(ANTHROPIC)
    http = make_payer("upto").httpx2()
    async with AsyncAnthropic(base_url=shop.url, api_key="none", http_client=http) as client:
        messages: Any = ANTHROPIC.fields["messages"]
        if stream:
            async with client.messages.stream(model="m", max_tokens=16, messages=messages) as made:
                said = await made.get_final_text()
        else:
            answer = await client.messages.create(model="m", max_tokens=16, messages=messages)
            said = answer.content[0].text  # type: ignore[union-attr]  # it is a text block
    assert said == "Hello there"
    assert shop.earned == CHARGE


@BOTH
async def test_googles_sdk_pays(open_shop: OpenShop, make_payer: MakePayer, stream: bool) -> None:
    shop = await open_shop(GOOGLE)
    async with make_payer("upto").httpx2() as http:
        options = genai.types.HttpOptions(base_url=shop.url, httpx_async_client=http)
        client = genai.Client(api_key="none", http_options=options)
        if stream:
            events = await client.aio.models.generate_content_stream(model="m", contents="Hi")
            said = "".join([one.text or "" async for one in events])
        else:
            said = (await client.aio.models.generate_content(model="m", contents="Hi")).text or ""
        client.close()
    assert said == "Hello there"
    assert shop.earned == CHARGE


async def test_googles_own_stream_has_no_place_for_a_comment_but_the_receipt_can_be_asked_for(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(GOOGLE)
    elements = [json.loads(one.removeprefix(b"data: ")) for one in GOOGLE.events]
    shop.upstream.script = Reply((json.dumps(elements).encode(),), chunked=True)
    path = GOOGLE.path(stream=True).removesuffix("?alt=sse")
    async with make_payer("upto").httpx(shop.url) as client:
        answer = await client.post(path, json=GOOGLE.body())
    assert json.loads(answer.text) == elements
    found = await shop.until_payment(answer.headers["x-request-id"], "settled")
    assert shop.world.chain.mined[found["transaction"]].succeeded
    assert shop.earned == CHARGE


async def test_an_upstreams_own_payment_headers_do_not_reach_the_client(
    open_shop: OpenShop, make_payer: MakePayer
) -> None:
    shop = await open_shop(CHAT)
    reply = answers(CHAT)

    def with_receipt(received: Any) -> Any:
        made = reply(received)
        made.headers.update({"PAYMENT-RESPONSE": "forged", "PAYMENT-REQUIRED": "forged"})
        return made

    shop.upstream.script = with_receipt
    answer = await shop.ask(await shop.signed(make_payer("upto")))
    assert answer.status == 200
    assert receipt(answer.headers).success
    assert "PAYMENT-REQUIRED" not in answer.headers
