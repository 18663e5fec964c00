"""What is sold, and for how much: one route table under one configuration.

When either changes, the shop before it stays open for a while, for a client pays what it was told
a moment ago (x402.md, section 4).
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from bitrouter.config.schema import X402
from bitrouter.errors import Forbidden, InvalidRequest, RouteNotFound
from bitrouter.payments.offers import Offers
from bitrouter.payments.price import Quote, quote, tariff
from bitrouter.payments.supported import SupportedKinds
from bitrouter.protocols.base import Bound
from bitrouter.routing.table import Route, RouteTable

_MAX_FORMER: Final = 8
# What a provider remembers of a conversation, where the model's window is not known.
_MOST_RECALLED: Final = 128_000
_MAX_UNITS: Final = 1 << 128


class Work(msgspec.Struct, frozen=True):
    """What is asked for. `count_input` gives a bound on the tokens of the body, always the same;
    `generates` is False where there is no output to pay for, as with embeddings.
    """

    model: str
    bound: Bound
    generates: bool
    count_input: Callable[[], Awaitable[int]]


class Shop:
    """One table of routes under one configuration."""

    def __init__(self, settings: X402, table: RouteTable, kinds: SupportedKinds) -> None:
        self.settings = settings
        self.table = table
        self.offers = Offers(settings, kinds)

    async def quote(self, work: Work) -> Quote:
        """What the work may cost at most. Raises RouteNotFound, Forbidden when it is not for sale,
        and InvalidRequest when the price is beyond all measure.
        """
        route = self.table.resolve(work.model)
        price = route.retail_price
        if price is None:
            raise Forbidden(f"model {work.model!r} is not for sale; a key is needed for it")
        rates = tariff(price)
        pricing = self.settings.pricing
        if rates.is_flat:
            return quote(rates, 0, 0, pricing)
        most_input = _capped(await work.count_input(), route, recalls=work.bound.recalls)
        found = quote(rates, most_input, self._most_output(work, route), pricing)
        if found.total > _MAX_UNITS * found.per:
            raise InvalidRequest("so many tokens cannot be priced")
        return found

    def limit(self, work: Work) -> int | None:
        """How many tokens an answer may have where the client does not say; None where it does."""
        if work.bound.tokens is not None or not work.generates:
            return None
        route = self.table.resolve(work.model)
        most = _most_of(route, "max_output_tokens")
        default = self.settings.pricing.default_max_output_tokens
        return min(default, most) if most else default

    def _most_output(self, work: Work, route: Route) -> int:
        if not work.generates:
            return 0
        asked = work.bound.tokens or self.limit(work) or 0
        most = _most_of(route, "max_output_tokens")
        return (min(asked, most) if most else asked) * work.bound.answers


class Shops:
    """The shop of now, and those before it that are still open. `monotonic` is in seconds."""

    def __init__(
        self,
        settings: X402,
        find_table: Callable[[], RouteTable],
        kinds: SupportedKinds,
        monotonic: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._find_table = find_table
        self._kinds = kinds
        self._monotonic = monotonic
        self._current = Shop(settings, find_table(), kinds)
        self._former: deque[tuple[float, Shop]] = deque(maxlen=_MAX_FORMER)

    def current(self) -> Shop:
        """The shop of now."""
        shop = self._current
        table = self._find_table()
        if shop.table is not table or shop.settings is not self.settings:
            until = self._monotonic() + shop.settings.pricing.old_price_grace
            self._former.appendleft((until, shop))
            self._current = shop = Shop(self.settings, table, self._kinds)
        return shop

    async def open(self, work: Work) -> list[tuple[Shop, Quote]]:
        """Each shop in which the work can be paid for, the one of now first, with its price."""
        shop = self.current()
        found = [(shop, await shop.quote(work))]
        now = self._monotonic()
        while self._former and self._former[-1][0] < now:
            self._former.pop()
        for _, former in self._former:
            try:
                found.append((former, await former.quote(work)))
            except (RouteNotFound, Forbidden):
                continue
        return found


def _capped(tokens: int, route: Route, *, recalls: bool) -> int:
    """No request has more input than the model takes; what is recalled may be all of that."""
    most = _most_of(route, "max_input_tokens")
    if recalls:
        return max(tokens, most or _MOST_RECALLED)
    return min(tokens, most) if most else tokens


def _most_of(route: Route, figure: str) -> int | None:
    """The largest of its endpoints' figures; None if one of them is not known."""
    most = 0
    for endpoint in route.endpoints:
        known: int | None = getattr(endpoint.model, figure, None)
        if not known:
            return None
        most = max(most, known)
    return most
