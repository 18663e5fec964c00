"""What a request cost."""

from typing import Any

import msgspec
import pytest

from bitrouter.config.schema import Amount, Model, Price, RoutePrice
from bitrouter.exchange.cost import cost_usd
from bitrouter.ir import Usage
from bitrouter.routing.table import Endpoint, Route
from tests.support.routes import provider

PRICE = Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)


def cost(
    usage: Usage | None, price: Price | None = PRICE, route_price: RoutePrice | None = None
) -> float | None:
    known = msgspec.structs.replace(provider("acme"), models={"m": Model(price=price)})
    endpoint = Endpoint(known, "m")
    return cost_usd(Route("r", (endpoint,), price=route_price), endpoint, usage)


@pytest.mark.parametrize(
    ("usage", "usd_per_million"),
    [
        (Usage(1000, 100), 3 * 1000 + 15 * 100),
        (Usage(1000, 100, cached_tokens=600), 3 * 400 + 0.3 * 600 + 15 * 100),
        (Usage(1000, 0, 600, 300), 3 * 100 + 0.3 * 600 + 3.75 * 300),
        (Usage(1000, 100, reasoning_tokens=90), 3 * 1000 + 15 * 100),
        (Usage(0, 0), 0),
        (Usage(10, 0, cached_tokens=50), 0.3 * 50),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, usd_per_million: float) -> None:
    assert cost(usage) == pytest.approx(usd_per_million / 1e6)


def test_cached_tokens_cost_what_others_do_where_nothing_else_is_said() -> None:
    usage = Usage(1000, 0, 600, 300)

    assert cost(usage, Price(input=3.0, output=15.0)) == pytest.approx(0.003)


def test_route_has_a_price_of_its_own() -> None:
    assert cost(Usage(1000, 100), route_price=RoutePrice(input=1.0, output=4.0)) == pytest.approx(
        0.0014
    )


@pytest.mark.parametrize("usage", [None, Usage(1000, 100)])
def test_price_of_a_call_needs_no_usage(usage: Usage | None) -> None:
    assert cost(usage, route_price=RoutePrice(call=Amount("0.01"))) == 0.01


@pytest.mark.parametrize(
    ("usage", "arguments"),
    [
        (None, {}),
        (Usage(), {}),
        (Usage(input_tokens=5), {}),
        (Usage(output_tokens=5), {}),
        (Usage(5, 5), {"price": None}),
    ],
)
def test_unknown_is_none_and_never_zero(usage: Usage | None, arguments: dict[str, Any]) -> None:
    assert cost(usage, **arguments) is None
