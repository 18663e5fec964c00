"""The route table: an immutable snapshot that is replaced in one assignment.

A request takes the table once and keeps it, so no reload can mix two tables in one request.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from bitrouter.config.schema import (
    Model,
    Price,
    Provider,
    Rescue,
    RouteEntry,
    RoutePrice,
    Strategy,
    Timeouts,
    overlay_timeouts,
)
from bitrouter.errors import RouteNotFound

# What metrics and logs say for a name that the configuration does not know: anybody can make up
# `provider:anything`, and the number of series must not follow.
OTHER: Final = "other"

Source = Literal["config", "dynamic", "direct"]

_MAX_COMPARED: Final = 64


class Endpoint:
    """One place to send a request to.

    `max_concurrency` is how many requests it may have at a time, None for any number.
    `key` is `provider:model_id`; `label` the same where the configuration names it, else OTHER.
    `timeouts` are the route's where it has its own, else the provider's. `prepared` is room for
    what callers make of an endpoint once and use for every request.
    """

    __slots__ = (
        "key",
        "label",
        "max_concurrency",
        "model_id",
        "prepared",
        "provider",
        "timeouts",
        "weight",
    )

    def __init__(
        self,
        provider: Provider,
        model_id: str,
        weight: int = 1,
        label: str | None = None,
        timeouts: Timeouts | None = None,
        max_concurrency: int | None = None,
    ) -> None:
        self.provider = provider
        self.max_concurrency = max_concurrency
        self.model_id = model_id
        self.weight = weight
        self.timeouts = timeouts or provider.timeouts
        self.key = f"{provider.name}:{model_id}"
        self.label = label if label is not None else self.key
        self.prepared: dict[object, Any] = {}

    @property
    def model(self) -> Model | None:
        """What the provider's catalogue says of the model."""
        return self.provider.models.get(self.model_id)

    def __repr__(self) -> str:
        return f"<Endpoint {self.key}>"


def provider_name(key: str) -> str:
    """The provider in an endpoint's key, whose name has no colon."""
    return key.partition(":")[0]


class Route:
    """A name and the endpoints that can serve it, in configured order.

    `rescue` says how a stream that broke off is finished by another endpoint, None for not at all.
    `within_s` is how long a request may take, with all its attempts, until its answer is certain
    (reliability.md, section 2): `deadline` where that is set, else as long as the most patient
    endpoint may for one. `within_timer` is the setting's name in section `timeouts`.
    """

    __slots__ = (
        *("_by_protocol", "endpoints", "label", "name", "price", "rescue", "source", "strategy"),
        *("within_s", "within_timer"),
    )

    def __init__(
        self,
        name: str,
        endpoints: tuple[Endpoint, ...],
        *,
        strategy: Strategy = "priority",
        source: Source = "config",
        price: RoutePrice | None = None,
        label: str | None = None,
        rescue: Rescue | None = None,
    ) -> None:
        self.name = name
        self.endpoints = endpoints
        self.strategy: Strategy = strategy
        self.source: Source = source
        self.price = price
        self.rescue: Rescue | None = rescue
        self.label = label if label is not None else name
        self.within_timer, self.within_s = _within(endpoints)
        self._by_protocol: dict[str, tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]] = {}

    def by_preference(self, protocol: str) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
        """The endpoints whose provider speaks `protocol` (a word of api_protocol), and the others.

        Those that cannot be used, for want of a key, are left out unless there is no other.
        """
        found = self._by_protocol.get(protocol)
        if found is None:
            usable = tuple(e for e in self.endpoints if e.provider.unusable is None)
            asked = usable or self.endpoints
            native = tuple(e for e in asked if protocol in e.provider.protocols)
            found = native, tuple(e for e in asked if protocol not in e.provider.protocols)
            self._by_protocol[protocol] = found
        return found

    @property
    def retail_price(self) -> Price | RoutePrice | None:
        """What strangers pay (contract.md, section 7): the route's own price, else that of its
        first endpoint that can be asked, whichever answers. None: it is not for sale.
        """
        if self.price is not None:
            return self.price
        for endpoint in self.endpoints:
            if endpoint.provider.unusable is None:
                return endpoint.model.price if endpoint.model else None
        return None

    def __repr__(self) -> str:
        return f"<Route {self.name} {self.source}>"


class RouteTable:
    """All routes of one moment. Built whole, never changed.

    `routes` are the named ones, dynamic before configured, wildcards included, in the order given.
    """

    def __init__(self, providers: Mapping[str, Provider], routes: Iterable[Route]) -> None:
        self.providers = providers
        self.routes: dict[str, Route] = {}
        for route in routes:
            self.routes.setdefault(route.name, route)
        wildcards = [route for name, route in self.routes.items() if name.endswith("*")]
        self._wildcards = sorted(wildcards, key=lambda route: -len(route.name))
        self._exact = {name: r for name, r in self.routes.items() if not name.endswith("*")}
        self._catalogue = {route.name: route for route in _catalogue_routes(providers)}

    def resolve(self, name: str) -> Route:
        """The route for a model name (contract.md, section 2, for the order).

        Raises RouteNotFound, with the nearest names that exist.
        """
        route = (
            self._exact.get(name)
            or self._catalogue.get(name)
            or self._direct(name)
            or self._wildcard(name)
        )
        if route is None:
            raise RouteNotFound(self._not_found(name))
        return route

    def names(self) -> Iterator[str]:
        """Every name that the configuration spells out and that can be served."""
        yield from self._exact
        for name, route in self._catalogue.items():
            if name not in self._exact and route.endpoints[0].provider.unusable is None:
                yield name

    def endpoints(self) -> Iterator[Endpoint]:
        """Every endpoint of a named route or of a usable provider's catalogue, each key once."""
        seen: dict[str, Endpoint] = {}
        for route in self.routes.values():
            for endpoint in route.endpoints:
                seen.setdefault(endpoint.key, endpoint)
        for route in self._catalogue.values():
            for endpoint in route.endpoints:
                if endpoint.provider.unusable is None:
                    seen.setdefault(endpoint.key, endpoint)
        yield from seen.values()

    def _direct(self, name: str) -> Route | None:
        """provider:model_id, then provider/model_id."""
        for separator in (":", "/"):
            provider_name, found, model_id = name.partition(separator)
            provider = self.providers.get(provider_name) if found else None
            if provider is None or not model_id:
                continue
            if known := self._catalogue.get(f"{provider_name}:{model_id}"):
                return known
            endpoint = Endpoint(provider, model_id, label=OTHER)
            return Route(name, (endpoint,), source="direct", label=OTHER)
        return None

    def _wildcard(self, name: str) -> Route | None:
        for pattern in self._wildcards:
            prefix = pattern.name[:-1]
            if name.startswith(prefix) and len(name) > len(prefix):
                return _filled_in(pattern, name, name[len(prefix) :])
        return None

    def _not_found(self, name: str) -> str:
        near = nearest(name, self.names())
        hint = f"; {nearest_in_words(near)}" if near else ""
        return f"no route for model {name!r}{hint}; GET /v1/models lists all"


def _within(endpoints: Sequence[Endpoint]) -> tuple[str, float]:
    """The timer that bounds a request as a whole, and its seconds. See Route."""
    deadline = endpoints[0].timeouts.deadline  # the same for all: no provider has its own
    if deadline is not None:
        return "deadline", deadline
    return "total", max(max(e.timeouts.total, e.timeouts.first_byte) for e in endpoints)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Up to three of `names` that somebody who wrote `name` may have meant.

    Comparing costs some 20 us a name, and unknown names are free to send: so only those that share
    a part with it are compared, and not more than a few dozen.
    """
    known = list(names)
    last = name.casefold().replace(":", "/").rpartition("/")[2]
    likely = [one for one in known if last[:4] in one.casefold()] if len(last) >= 4 else []
    pool = (likely or known)[:_MAX_COMPARED]
    found = difflib.get_close_matches(name, pool, n=3, cutoff=0.5)
    return found or [one for one in likely if last in one.casefold()][:3]


def nearest_in_words(near: Sequence[str]) -> str:
    """What to say of the names that `nearest` found, of which there is at least one."""
    return f"the nearest name{'s are' if len(near) > 1 else ' is'} {', '.join(near)}"


def build_route(
    name: str, entry: RouteEntry, providers: Mapping[str, Provider], source: Source
) -> Route:
    """A route from its entry, whose providers have been checked to exist."""
    endpoints = tuple(
        Endpoint(
            providers[one.provider],
            one.model_id,
            one.weight,
            timeouts=overlay_timeouts(providers[one.provider].timeouts, entry.timeouts),
            max_concurrency=one.max_concurrency or None,
        )
        for one in entry.endpoints
    )
    return Route(
        name,
        endpoints,
        strategy=entry.strategy,
        source=source,
        price=entry.price,
        rescue=entry.rescue,
    )


def _catalogue_routes(providers: Mapping[str, Provider]) -> Iterator[Route]:
    for provider in providers.values():
        for model_id in provider.models:
            endpoint = Endpoint(provider, model_id)
            yield Route(endpoint.key, (endpoint,), source="direct")


def _filled_in(pattern: Route, name: str, rest: str) -> Route:
    """The route for one name under a wildcard. It is counted under the pattern."""
    endpoints = tuple(
        Endpoint(
            one.provider,
            one.model_id.replace("*", rest),
            one.weight,
            label=one.label,
            timeouts=one.timeouts,
            max_concurrency=one.max_concurrency,
        )
        for one in pattern.endpoints
    )
    return Route(
        name,
        endpoints,
        strategy=pattern.strategy,
        source=pattern.source,
        price=pattern.price,
        label=pattern.label,
        rescue=pattern.rescue,
    )
