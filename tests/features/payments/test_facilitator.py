"""What the router makes of everything a facilitator may say."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from bitrouter.config.schema import Duration, Secret
from bitrouter.config.schema import Facilitator as Settings
from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import (
    Facilitator,
    FacilitatorDenied,
    FacilitatorDown,
)
from bitrouter.payments.terms import Receipt, Verdict
from tests.support.facilitator import (
    NETWORK,
    PAYER,
    SIGNER,
    Behaviour,
    FakeFacilitator,
    answers,
    answers_json,
    hang_up,
    honest,
    moves_and_says,
    payload_of,
    refuses,
    terms_of,
    transaction_hash,
    waits,
)

TERMS = terms_of()
PAYLOAD = payload_of(TERMS)

UNUSABLE = {
    "429": answers_json({"isValid": False, "success": False}, 429),
    "500 without a verdict": answers_json({"error": "internal"}, 500),
    "502 in HTML": answers(502, "<html>bad gateway</html>"),
    "200 in HTML": answers(200, "<html>welcome</html>"),
    "200 with an empty body": answers(200, ""),
    "JSON that is no object": answers_json([True]),
    "yes as a text": answers_json({"isValid": "true", "success": "true"}),
    "yes as a number": answers_json({"isValid": 1, "success": 1}),
    "the other call's shape": answers_json({"valid": True}),
    "half of an answer": answers(200, '{"isValid": true, "success": tr', "application/json"),
    "JSON as deep as the recursion": answers(200, '{"isValid":' + "[" * 9000, "application/json"),
    "more than is read": answers(200, '{"isValid": true, "x": "' + "x" * 300_000 + '"}'),
    "a compressed answer": answers(200, "...", **{"Content-Encoding": "gzip"}),
    "a closed connection": hang_up,
    "a redirect to nowhere": answers(302, ""),
    "a redirect to a file": answers(302, "", Location="file:///etc/passwd"),
    "a redirect to elsewhere's answer": answers(303, "", Location="/verify"),
    "yes with an error's status": answers_json({"isValid": True, "success": True}, 500),
    "yes with a denial's status": answers_json({"isValid": True, "success": True}, 403),
}

unusable = pytest.mark.parametrize("behaviour", UNUSABLE.values(), ids=UNUSABLE)
ERRORS = pytest.mark.parametrize("status", [400, 402, 403, 422, 500, 503])


async def test_payload_goes_out_as_it_came_and_the_terms_are_ours(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    await client.verify(PAYLOAD, TERMS)
    await client.settle(PAYLOAD, TERMS)

    assert [path for path, _, _ in fake.calls] == ["/verify", "/settle"]
    for _, call, headers in fake.calls:
        assert call["x402Version"] == 2
        assert call["paymentPayload"] == PAYLOAD
        assert call["paymentRequirements"] == {
            "scheme": "exact",
            "network": NETWORK,
            "amount": "5000",
            "asset": TERMS.asset,
            "payTo": TERMS.pay_to,
            "maxTimeoutSeconds": 600,
            "extra": {"name": "USDC", "version": "2"},
        }
        assert headers["Content-Type"] == "application/json"
        assert "Authorization" not in headers


async def test_version_1_is_spoken_in_its_own_words(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    payload = {**PAYLOAD, "x402Version": 1, "scheme": "exact", "network": "base-sepolia"}

    verdict = await client.verify(payload, TERMS, version=1)

    assert verdict.reason is None
    _, call, _ = fake.calls[0]
    assert call["x402Version"] == 1
    wanted = call["paymentRequirements"]
    assert wanted["network"] == "base-sepolia"
    assert wanted["maxAmountRequired"] == "5000"
    assert wanted["resource"] == "https://r.example"
    assert "amount" not in wanted


async def test_a_good_payment_is_valid(client: Facilitator, counters: Counters) -> None:
    assert await client.verify(PAYLOAD, TERMS) == Verdict(None, PAYER.lower())
    assert (counters.verify_valid, counters.verify_invalid, counters.verify_unavailable) == (
        1,
        0,
        0,
    )


@ERRORS
async def test_a_verdict_counts_whatever_its_status(
    fake: FakeFacilitator, client: Facilitator, counters: Counters, status: int
) -> None:
    said = {"isValid": False, "invalidReason": "insufficient_funds"}
    fake.on_verify.append(answers_json(said, status))

    assert (await client.verify(PAYLOAD, TERMS)).reason == "insufficient_funds"
    assert fake.count("/verify") == 1
    assert counters.verify_invalid == 1


@ERRORS
async def test_a_refused_settlement_counts_whatever_its_status(
    fake: FakeFacilitator, client: Facilitator, status: int
) -> None:
    fake.on_settle.append(refuses("insufficient_funds", status=status))

    receipt = await client.settle(PAYLOAD, TERMS)

    assert receipt == Receipt(
        success=False,
        transaction="",
        network=NETWORK,
        payer=PAYER.lower(),
        error_reason="insufficient_funds",
    )


@pytest.mark.parametrize("status", [401, 403])
async def test_a_denial_is_told_from_a_verdict(
    fake: FakeFacilitator, client: Facilitator, counters: Counters, status: int
) -> None:
    fake.on_verify.append(answers_json({"error": "who are you"}, status))
    fake.on_settle.append(answers(status, "<html>no</html>"))

    with pytest.raises(FacilitatorDenied):
        await client.verify(PAYLOAD, TERMS)
    with pytest.raises(FacilitatorDenied):
        await client.settle(PAYLOAD, TERMS)

    assert fake.count("/verify") == 1
    assert counters.verify_unavailable == 1


@unusable
async def test_verify_without_a_clear_word_is_no_verdict(
    fake: FakeFacilitator, client: Facilitator, counters: Counters, behaviour: Behaviour
) -> None:
    fake.on_verify += [behaviour, behaviour]

    with pytest.raises(FacilitatorDown):
        await client.verify(PAYLOAD, TERMS)

    assert counters.verify_unavailable == 1
    assert counters.verify_valid == counters.verify_invalid == 0


@unusable
async def test_settle_without_a_clear_word_is_unknown_and_not_repeated(
    fake: FakeFacilitator, client: Facilitator, behaviour: Behaviour
) -> None:
    fake.on_settle.append(behaviour)

    with pytest.raises(FacilitatorDown):
        await client.settle(PAYLOAD, TERMS)

    assert fake.count("/settle") == 1


@pytest.mark.parametrize("behaviour", [hang_up, UNUSABLE["502 in HTML"], UNUSABLE["yes as a text"]])
async def test_verify_is_asked_once_more(
    fake: FakeFacilitator, client: Facilitator, counters: Counters, behaviour: Behaviour
) -> None:
    fake.on_verify.append(behaviour)

    assert (await client.verify(PAYLOAD, TERMS)).reason is None
    assert fake.count("/verify") == 2
    assert (counters.verify_valid, counters.verify_unavailable) == (1, 0)


async def test_verify_is_not_repeated_where_we_were_told_to_wait(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    fake.on_verify.append(answers(429, "", **{"Retry-After": "7"}))

    with pytest.raises(FacilitatorDown) as caught:
        await client.verify(PAYLOAD, TERMS)

    assert caught.value.retry_after == 7
    assert fake.count("/verify") == 1


async def test_silence_ends_after_the_configured_time(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    never = asyncio.Event()
    fake.on_verify.append(waits(never, honest("/verify")))
    fake.on_settle.append(waits(never, honest("/settle")))

    for call in (client.verify, client.settle):
        async with asyncio.timeout(10):
            with pytest.raises(FacilitatorDown) as caught:
                await call(PAYLOAD, TERMS)
        assert caught.value.timed_out

    assert fake.count("/verify") == 1
    never.set()


async def test_a_facilitator_that_is_not_there_is_down(counters: Counters) -> None:
    client = Facilitator(Settings(url="http://127.0.0.1:1"), wall=lambda: 0.0, counters=counters)
    with pytest.raises(FacilitatorDown):
        await client.verify(PAYLOAD, TERMS)
    with pytest.raises(FacilitatorDown):
        await client.supported()
    await client.close()


async def test_settlements_that_wait_do_not_keep_a_verification_waiting(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    go_on = asyncio.Event()
    fake.on_settle += [waits(go_on, honest("/settle"))] * 20
    running = [
        asyncio.create_task(client.settle(payload_of(TERMS, number), TERMS)) for number in range(20)
    ]
    await fake.wait_for("/settle", 20)

    assert (await client.verify(PAYLOAD, TERMS)).reason is None

    go_on.set()
    assert all([(await one).success for one in running])


async def test_a_receipt_is_completed_with_what_we_know(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    terms = terms_of("upto", 900)

    receipt = await client.settle(payload_of(terms), terms)

    assert receipt == Receipt(
        success=True,
        transaction=transaction_hash(1),
        network=NETWORK,
        payer=PAYER.lower(),
        amount="900",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "eip155:1"},
        {"network": 84532},
        {"payer": "0x" + "bb" * 20},
        {"payer": 7},
        {"amount": "4999"},
        {"amount": 5000},
        {"transaction": ""},
        {"transaction": None},
        {"transaction": "0x12"},
    ],
    ids=str,
)
async def test_success_without_the_expected_transfer_is_none(
    fake: FakeFacilitator, client: Facilitator, changes: dict[str, object]
) -> None:
    fake.on_settle.append(moves_and_says(**changes))

    with pytest.raises(FacilitatorDown):
        await client.settle(PAYLOAD, TERMS)


async def test_valid_for_another_payer_is_not_valid(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    fake.on_verify += [answers_json({"isValid": True, "payer": "0x" + "bb" * 20})] * 2

    with pytest.raises(FacilitatorDown):
        await client.verify(PAYLOAD, TERMS)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("insufficient_funds", "insufficient_funds"),
        ("Weird Reason: <b>x</b>\r\n", "weirdreasonbxb"),
        ("x" * 300, "x" * 100),
        ("\u202e\u0000", "unexpected_verify_error"),
        ("", "unexpected_verify_error"),
        (None, "unexpected_verify_error"),
        ({"a": 1}, "unexpected_verify_error"),
    ],
)
async def test_reasons_are_filtered(
    fake: FakeFacilitator, client: Facilitator, said: object, shown: str
) -> None:
    fake.on_verify.append(answers_json({"isValid": False, "invalidReason": said}))

    assert (await client.verify(PAYLOAD, TERMS)).reason == shown


async def test_messages_are_logged_without_signatures_and_not_over_and_over(
    fake: FakeFacilitator, client: Facilitator, caplog: pytest.LogCaptureFixture
) -> None:
    signature = PAYLOAD["payload"]["signature"]
    said = {"isValid": False, "invalidReason": "x", "invalidMessage": f"reverted: {signature} here"}
    fake.on_verify += [answers_json(said)] * 3

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await client.verify(PAYLOAD, TERMS)

    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "reverted" in told[0]
    assert signature[2:] not in told[0]


async def test_json_that_cannot_be_written_is_an_invalid_payment(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"deeper": deep}

    assert (await client.verify({**PAYLOAD, "x": deep}, TERMS)).reason == "invalid_payload"
    assert fake.calls == []


async def test_supported_has_the_second_version_alone(client: Facilitator) -> None:
    supported = await client.supported()

    assert [(kind.scheme, kind.network, kind.extra) for kind in supported.kinds] == [
        ("exact", NETWORK, {}),
        ("upto", NETWORK, {"facilitatorAddress": SIGNER}),
    ]
    assert supported.extensions == {"eip2612GasSponsoring"}
    assert supported.signers == {SIGNER}


@pytest.mark.parametrize(
    "said",
    [{"kinds": []}, {"kinds": [{"x402Version": 1, "scheme": "exact", "network": "base"}]}, {}, []],
    ids=str,
)
async def test_nothing_supported_is_no_answer(
    fake: FakeFacilitator, client: Facilitator, said: object
) -> None:
    fake.on_supported.append(answers_json(said))

    with pytest.raises(FacilitatorDown):
        await client.supported()


async def test_odd_members_of_supported_are_passed_over(
    fake: FakeFacilitator, client: Facilitator
) -> None:
    kind = {"x402Version": 2, "scheme": "exact", "network": NETWORK, "extra": None}
    said = {"kinds": [7, {}, kind, {"x402Version": 2}], "extensions": 1, "signers": {"a": [1, "x"]}}
    fake.on_supported.append(answers_json(said))

    supported = await client.supported()

    assert [one.scheme for one in supported.kinds] == ["exact"]
    assert supported.extensions == supported.signers == frozenset()


# -- redirects and credentials --------------------------------------------------------------------


@pytest.fixture
async def bearer(fake: FakeFacilitator, counters: Counters) -> AsyncIterator[Facilitator]:
    settings = Settings(
        url=fake.url, auth="bearer", token=Secret("s3cret"), verify_timeout=Duration(2)
    )
    facilitator = Facilitator(settings, wall=lambda: 0.0, counters=counters)
    yield facilitator
    await facilitator.close()


@pytest.fixture
async def elsewhere() -> AsyncIterator[FakeFacilitator]:
    """Another facilitator: another port is another place."""
    facilitator = FakeFacilitator()
    await facilitator.start()
    yield facilitator
    await facilitator.stop()


async def test_the_token_is_sent_with_every_call(
    fake: FakeFacilitator, bearer: Facilitator
) -> None:
    calls: list[Callable[[], Awaitable[object]]] = [
        bearer.supported,
        lambda: bearer.verify(PAYLOAD, TERMS),
        lambda: bearer.settle(PAYLOAD, TERMS),
    ]
    for call in calls:
        await call()

    assert [headers["Authorization"] for _, _, headers in fake.calls] == ["Bearer s3cret"] * 3


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_within_the_host_keep_method_body_and_token(
    fake: FakeFacilitator, bearer: Facilitator, status: int
) -> None:
    fake.on_verify.append(answers(status, "", Location="/verify?moved"))

    assert (await bearer.verify(PAYLOAD, TERMS)).reason is None
    assert [headers.get("Authorization") for _, _, headers in fake.calls] == ["Bearer s3cret"] * 2
    assert [call["paymentPayload"] for _, call, _ in fake.calls] == [PAYLOAD] * 2


async def test_redirects_to_another_host_go_without_the_token(
    fake: FakeFacilitator, elsewhere: FakeFacilitator, bearer: Facilitator
) -> None:
    fake.on_verify.append(answers(307, "", Location=f"{elsewhere.url}/verify"))

    assert (await bearer.verify(PAYLOAD, TERMS)).reason is None

    (_, call, headers) = elsewhere.calls[0]
    assert call["paymentPayload"] == PAYLOAD
    assert "Authorization" not in headers


async def test_redirects_without_an_end_are_no_answer(
    fake: FakeFacilitator, bearer: Facilitator
) -> None:
    async def again(call: object, facilitator: FakeFacilitator) -> web.Response:
        facilitator.on_settle.append(again)
        return web.Response(status=307, headers={"Location": "/settle"})

    fake.on_settle.append(again)

    with pytest.raises(FacilitatorDown):
        await bearer.settle(PAYLOAD, TERMS)

    assert fake.count("/settle") == 6


async def test_no_secret_is_shown_by_what_goes_wrong(
    fake: FakeFacilitator, bearer: Facilitator, caplog: pytest.LogCaptureFixture
) -> None:
    fake.on_verify += [hang_up, hang_up]

    with caplog.at_level(logging.DEBUG), pytest.raises(FacilitatorDown) as caught:
        await bearer.verify(PAYLOAD, TERMS)

    shown = caplog.text + str(caught.value) + repr(caught.value)
    assert "s3cret" not in shown
    assert PAYLOAD["payload"]["signature"] not in shown
    assert json.dumps(PAYLOAD["payload"]) not in shown
