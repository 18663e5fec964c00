"""Answers about payments are what the product's API document says of them; so are the pages."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no type information
import pytest

from bitrouter.cli.banner import banner, examples
from bitrouter.cli.check import run as check
from bitrouter.cli.settling import facilitator
from bitrouter.config.decode import convert
from bitrouter.config.schema import X402, Config, Payments
from tests.support.dialects import DIALECTS, Dialect
from tests.support.facilitator import SELLER, FakeFacilitator, answers_json
from tests.support.stall import OpenStall, Stall, wallet

NAMES = {"chat": "OpenAI", "responses": "OpenAI", "anthropic": "Anthropic", "google": "Google"}
TEMPLATES = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "google": "/v1beta/models/{model}:generateContent",
}


async def document(stall: Stall) -> dict[str, Any]:
    async with stall.router.http.get("/openapi.json") as answer:
        found: dict[str, Any] = await answer.json()
        return found


def validate(document: dict[str, Any], name: str, value: object) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_terms_and_refusals_are_as_documented(sell: OpenStall, dialect: Dialect) -> None:
    stall = await sell(dialect)
    said = await document(stall)
    declared = said["paths"][TEMPLATES[dialect.name]]["post"]["responses"]
    payment = await stall.signed(wallet(), dialect=dialect)
    unpaid = await stall.ask(dialect=dialect)
    missing = {"isValid": False, "invalidReason": "permit2_allowance_required"}
    stall.facilitator.on_verify += [answers_json(missing), *[answers_json({}, 500)] * 2]
    unapproved = await stall.ask(payment, dialect)
    unavailable = await stall.ask(payment, dialect)
    not_for_sale = await stall.ask(dialect=dialect, model="free")
    seen = (unpaid, unapproved, unavailable, not_for_sale)
    assert [one.status for one in seen] == [402, 412, 503, 403]
    for one in seen:
        assert str(one.status) in declared
        validate(said, f"{NAMES[dialect.name]}Error", json.loads(one.body))
    validate(said, "PaymentTerms", json.loads(unpaid.body))
    validate(said, "PaymentTerms", json.loads(unapproved.body))


async def test_a_payment_is_as_documented(sell: OpenStall) -> None:
    stall = await sell()
    answer = await stall.ask(await stall.signed(wallet()))
    found = await stall.until_payment(answer.headers["x-request-id"], "settled")
    validate(await document(stall), "Payment", found)


# -- where an operator looks ------------------------------------------------------------------


async def test_the_operator_is_told_that_calls_are_sold(
    sell: OpenStall, capsys: pytest.CaptureFixture[str]
) -> None:
    stall = await sell()
    router = stall.router.router
    assert router.auth_mode == "x402 payments"
    assert "auth: x402 payments" in banner(router.addresses, router.config, router.auth_mode)
    told = examples(router.config, stall.url, needs_key=False)
    assert "Without a key each answers 402" in told
    assert check(str(stall.router.file), as_json=False) == 0
    assert "sold by x402" in capsys.readouterr().out
    async with stall.router.http.get("/") as page:
        assert "calls are paid for by x402" in await page.text()
    async with stall.router.http.get("/admin/status") as status:
        answer = await status.json()
    assert answer["sells"] is True
    validate(await document(stall), "RouterStatus", answer)


async def test_the_doctor_asks_the_facilitator_what_it_settles(fake: FakeFacilitator) -> None:
    def config(**changes: Any) -> Config:
        given = {"enabled": True, "facilitator": {"url": fake.url}, **changes}
        return Config(payments=Payments(x402=convert(given, X402)))

    def way(scheme: str, network: str = "eip155:84532") -> dict[str, str]:
        return {"scheme": scheme, "network": network, "asset": "usdc", "pay_to": SELLER}

    told = await facilitator(config(accepts=[way("upto"), way("exact", "eip155:8453")]))
    assert [one.state for one in told] == ["ok", "warn"]
    assert "it does not settle exact on eip155:8453" in told[1].said
    fake.on_supported += [answers_json({}, 500), answers_json({}, 401)]
    for word in ("500", "401"):
        (failed,) = await facilitator(config(accepts=[way("upto")]))
        assert failed.state == "fail"
        assert word in failed.said
    assert await facilitator(Config()) == []
