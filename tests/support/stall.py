"""A router that sells answers, and a facilitator whose chain is a set of used nonces: for what does
not hang on balances, and so needs no chain.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from eth_account import Account

from tests.support.chain.front import Front
from tests.support.chain.payer import Payer
from tests.support.chain.shop import answers, shop_settings
from tests.support.dialects import CHAT, Dialect
from tests.support.facilitator import SELLER, FakeFacilitator
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream


@dataclass(frozen=True)
class Stall(Front):
    """The router, who settles for it, and the provider behind it."""

    router: RunningRouter
    facilitator: FakeFacilitator
    upstream: ScriptedUpstream

    @property
    def amounts(self) -> list[int]:
        """What was charged so far, in units, in order of the payments' first settlement."""
        return [sum(units) for units in self.facilitator.moved.values()]


OpenStall = Callable[..., Awaitable[Stall]]


def wallet(*schemes: str, number: int = 1) -> Payer:
    """A wallet that knows the given schemes. Its key is nobody's."""
    return Payer(Account.from_key(number.to_bytes(32)), schemes or ("upto",))


def stall_settings(
    upstream: ScriptedUpstream,
    facilitator: FakeFacilitator,
    dialect: Dialect = CHAT,
    *offers: str,
    **x402: Any,
) -> dict[str, Any]:
    """See shop.shop_settings."""
    return shop_settings(dialect, upstream.url, facilitator.url, SELLER, *offers, **x402)


async def open_stall(
    router: RunningRouter,
    facilitator: FakeFacilitator,
    upstream: ScriptedUpstream,
    dialect: Dialect = CHAT,
) -> Stall:
    """A stall that is ready to sell."""
    upstream.script = answers(dialect)
    stall = Stall(router, facilitator, upstream)
    await stall.until_it_sells()
    return stall
