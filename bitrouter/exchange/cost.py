"""What a request cost, for metrics and the log. Payments reckon in integers, elsewhere."""

from bitrouter.config.schema import Price, RoutePrice
from bitrouter.ir import Usage
from bitrouter.routing.table import Endpoint, Route

_PER_TOKEN = 1e-6  # prices are USD per million tokens


def cost_usd(route: Route, endpoint: Endpoint, usage: Usage | None) -> float | None:
    """USD by the route's own price, else by the endpoint's catalogue; None if either is unknown.

    Cached tokens, which are part of the input, cost their own price where there is one.
    """
    price: Price | RoutePrice | None = route.price
    if price is None and endpoint.model is not None:
        price = endpoint.model.price
    if price is None:
        return None
    if isinstance(price, RoutePrice) and price.call is not None:
        return float(price.call)
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return _by_tokens(price, usage) * _PER_TOKEN


def _by_tokens(price: Price | RoutePrice, usage: Usage) -> float:
    plain = float(price.input or 0)
    read = plain if price.cache_read is None else float(price.cache_read)
    write = plain if price.cache_write is None else float(price.cache_write)
    cached = usage.cached_tokens or 0
    written = usage.cache_write_tokens or 0
    fresh = max((usage.input_tokens or 0) - cached - written, 0)
    output = (usage.output_tokens or 0) * float(price.output or 0)
    return fresh * plain + cached * read + written * write + output
