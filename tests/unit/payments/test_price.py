"""What calls cost: integers, rounded once, up."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.config.schema import Amount, Price, Pricing, RoutePrice
from bitrouter.ir import Usage
from bitrouter.payments.price import quote, tariff

PLAIN = Price(input=0.15, output=0.6)
CACHED = Price(input=3, output=15, cache_read=0.3, cache_write=3.75)
PRICING = Pricing()

dollars = st.integers(0, 10**6).map(lambda micro: micro / 10**4)
tokens = st.integers(0, 10**7)


def charge(price: Price | RoutePrice, usage: Usage, decimals: int = 6) -> int:
    """What is charged under a ceiling that is far away."""
    return quote(tariff(price), 10**9, 10**9, PRICING).charge(usage, decimals)


def test_a_dollar_a_million_tokens_is_a_unit_a_token() -> None:
    assert charge(Price(input=1, output=4), Usage(input_tokens=1000, output_tokens=10)) == 1040


def test_a_fraction_of_a_unit_is_a_unit_and_is_rounded_once() -> None:
    assert charge(PLAIN, Usage(input_tokens=1, output_tokens=1)) == 1
    assert charge(PLAIN, Usage(input_tokens=7, output_tokens=7)) == 6  # 5.25, and not 2 + 5


def test_cached_tokens_have_their_own_price_and_are_part_of_the_input() -> None:
    usage = Usage(input_tokens=1000, output_tokens=0, cached_tokens=600, cache_write_tokens=100)
    assert charge(CACHED, usage) == 300 * 3 + 180 + 375


def test_cached_tokens_without_a_price_cost_what_others_do() -> None:
    usage = Usage(input_tokens=1000, output_tokens=0, cached_tokens=600)
    assert charge(PLAIN, usage) == 150


def test_more_cached_tokens_than_input_do_not_make_it_cheaper_than_nothing() -> None:
    usage = Usage(input_tokens=1, output_tokens=0, cached_tokens=10)
    assert charge(CACHED, usage) == 3


def test_a_call_costs_at_least_the_minimum() -> None:
    nothing = Usage(input_tokens=0, output_tokens=0)
    assert charge(PLAIN, nothing) == 1
    found = quote(tariff(PLAIN), 10**6, 10**6, Pricing(min_units=500))
    assert found.charge(nothing, 6) == 500


def test_nothing_above_the_ceiling_is_ever_charged() -> None:
    found = quote(tariff(PLAIN), 100, 100, PRICING)
    assert found.charge(Usage(input_tokens=10**6, output_tokens=10**6), 6) == found.ceiling(6) == 75


def test_the_margin_is_on_the_ceiling_alone() -> None:
    found = quote(tariff(PLAIN), 1000, 1000, Pricing(margin=Amount("1.1")))
    assert found.ceiling(6) == 825
    assert found.charge(Usage(input_tokens=1000, output_tokens=1000), 6) == 750


def test_the_ceiling_takes_the_dearest_kind_of_input() -> None:
    assert quote(tariff(CACHED), 1000, 0, PRICING).ceiling(6) == 3750


def test_a_flat_price_is_what_it_is() -> None:
    flat = tariff(RoutePrice(call=Amount("0.01")))
    found = quote(flat, 10**6, 10**6, Pricing(margin=Amount(2)))
    assert flat.is_flat
    assert found.ceiling(6) == found.charge(Usage(), 6) == 10_000


def test_a_decimal_is_what_was_written_and_not_the_float_beside_it() -> None:
    assert charge(Price(input=0.1, output=0), Usage(input_tokens=30, output_tokens=0)) == 3


@pytest.mark.parametrize(("decimals", "units"), [(6, 8), (18, 7_500_000_000_000), (2, 1), (0, 1)])
def test_tokens_of_other_decimals(decimals: int, units: int) -> None:
    usage = Usage(input_tokens=50, output_tokens=0)
    assert charge(PLAIN, usage, decimals) == units


@given(price=dollars, other=dollars, said=tokens, answered=tokens, decimals=st.integers(0, 18))
def test_it_is_the_exact_sum_rounded_up(
    price: float, other: float, said: int, answered: int, decimals: int
) -> None:
    usage = Usage(input_tokens=said, output_tokens=answered)
    exact = said * Fraction(Decimal(repr(price))) + answered * Fraction(Decimal(repr(other)))
    expected = max(ceil(exact * Fraction(10) ** (decimals - 6)), 1)
    assert charge(Price(input=price, output=other), usage, decimals) == expected


@given(
    price=dollars,
    other=dollars,
    used=st.tuples(tokens, tokens),
    more=st.tuples(tokens, tokens),
    margin=st.integers(100, 300),
)
def test_what_stays_within_the_bounds_is_charged_in_full(
    price: float, other: float, used: tuple[int, int], more: tuple[int, int], margin: int
) -> None:
    rates = tariff(Price(input=price, output=other))
    pricing = Pricing(margin=Amount(Decimal(margin) / 100))
    found = quote(rates, used[0] + more[0], used[1] + more[1], pricing)
    usage = Usage(input_tokens=used[0], output_tokens=used[1])
    unbounded = quote(rates, 10**12, 10**12, pricing)
    assert found.charge(usage, 6) == unbounded.charge(usage, 6) <= found.ceiling(6)
