"""What a call costs, in integers (x402.md, section 12).

A price of p USD per million tokens is p micro-dollars per token, and a micro-dollar is the smallest
unit of a token with six decimals. Prices are kept as integers over a common denominator, so that a
sum is exact and is rounded once, up, at its end.
"""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Final

import msgspec

from bitrouter.config.schema import Price, Pricing, RoutePrice
from bitrouter.ir import Usage

_MICRO: Final = 1_000_000
_MICRO_DECIMALS: Final = 6


class Tariff(msgspec.Struct, frozen=True):
    """A retail price. Each figure is micro-dollars times `per`: for a token, or (`call`) for the
    whole call, in which case the others are 0.
    """

    input: int
    output: int
    cache_read: int
    cache_write: int
    call: int
    per: int

    @property
    def is_flat(self) -> bool:
        """Whether a call costs the same whatever is said in it."""
        return self.call > 0

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """The dearest call with so many tokens, in micro-dollars times `per`."""
        dearest = max(self.input, self.cache_read, self.cache_write)
        return self.call + input_tokens * dearest + output_tokens * self.output

    def of(self, usage: Usage) -> int:
        """The tokens used, in micro-dollars times `per`. Cached ones, which are part of the input,
        have their own price. What is unknown in `usage` counts as none.
        """
        read = usage.cached_tokens or 0
        written = usage.cache_write_tokens or 0
        fresh = max((usage.input_tokens or 0) - read - written, 0)
        total = self.call + fresh * self.input + read * self.cache_read
        return total + written * self.cache_write + (usage.output_tokens or 0) * self.output


@lru_cache(maxsize=1024)
def tariff(price: Price | RoutePrice) -> Tariff:
    """The price in integers."""
    if isinstance(price, RoutePrice) and price.call is not None:
        call = Fraction(price.call) * _MICRO
        return Tariff(0, 0, 0, 0, call.numerator, call.denominator)
    plain = _exact(price.input)
    figures = (
        plain,
        _exact(price.output),
        plain if price.cache_read is None else _exact(price.cache_read),
        plain if price.cache_write is None else _exact(price.cache_write),
    )
    per = lcm(*(figure.denominator for figure in figures))
    whole = [int(figure * per) for figure in figures]
    return Tariff(whole[0], whole[1], whole[2], whole[3], 0, per)


def _exact(usd: float | None) -> Fraction:
    """The decimal that was written: 0.1 is a tenth, not the float nearest to it."""
    return Fraction(Decimal(repr(usd or 0.0)))


class Quote(msgspec.Struct, frozen=True):
    """What a request may cost at most: `total` micro-dollars times `per`, in units at least
    `min_units`. The same for the same request, always.
    """

    tariff: Tariff
    total: int
    per: int
    min_units: int

    def ceiling(self, decimals: int) -> int:
        """The amount to authorise, in the smallest units of a token with so many decimals."""
        return max(_units(self.total, self.per, decimals), self.min_units)

    def charge(self, usage: Usage, decimals: int) -> int:
        """The amount for what was used, never above the ceiling."""
        used = _units(self.tariff.of(usage), self.tariff.per, decimals)
        return min(max(used, self.min_units), self.ceiling(decimals))


@lru_cache(maxsize=64)
def _parts(margin: Decimal) -> tuple[int, int]:
    return margin.as_integer_ratio()


def quote(price: Tariff, input_tokens: int, output_tokens: int, pricing: Pricing) -> Quote:
    """The quote for at most so many tokens. A flat price is what it is; any other gets the margin.

    The margin is room above the bound, not a mark-up: what is charged by usage does not have it.
    """
    total = price.most(input_tokens, output_tokens)
    if price.is_flat:
        return Quote(price, total, price.per, pricing.min_units)
    margin, parts = _parts(pricing.margin)
    return Quote(price, total * margin, price.per * parts, pricing.min_units)


def _units(total: int, per: int, decimals: int) -> int:
    """Micro-dollars times `per` in a token's smallest units, rounded up."""
    scale: int = 10 ** abs(decimals - _MICRO_DECIMALS)
    if decimals >= _MICRO_DECIMALS:
        return -(-total * scale // per)
    return -(-total // (per * scale))
