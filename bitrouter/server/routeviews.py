"""The routes of /admin/routes as its clients see them."""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from bitrouter.config.schema import EndpointEntry, Strategy
from bitrouter.routing.breaker import State
from bitrouter.routing.state import RouteState
from bitrouter.server.explain import States


class EndpointView(msgspec.Struct, frozen=True):
    """RouteEndpoint of the API document; a weight only where it is not 1."""

    provider: str
    model_id: str
    weight: int | UnsetType = UNSET


class RouteView(msgspec.Struct, frozen=True, kw_only=True):
    """AdminRouteListEntry of the API document. `note` says why a route is not in use; `states` are
    those of the circuit breakers that are not closed, by `provider:model_id`.
    """

    model: str
    strategy: Strategy | None
    endpoints: tuple[EndpointView, ...]
    source: Literal["config", "dynamic"]
    note: str | UnsetType = UNSET
    states: dict[str, str] | UnsetType = UNSET


def route_views(state: RouteState, states: States) -> Iterable[RouteView]:
    """Every route: the dynamic ones, then those of the configuration."""
    providers = state.config.providers
    for route in state.dynamic.values():
        gone = [one.provider for one in route.endpoints if one.provider not in providers]
        yield RouteView(
            model=route.model,
            strategy=route.strategy,
            endpoints=_endpoint_views(route.endpoints),
            source="dynamic",
            note=f"out of use: there is no provider {gone[0]!r}" if gone else UNSET,
            states=_troubled(route.endpoints, states) or UNSET,
        )
    for name, entry in state.config.models.items():
        shadow = state.current.routes[name].source == "dynamic"
        yield RouteView(
            model=name,
            strategy=None,
            endpoints=_endpoint_views(entry.endpoints),
            source="config",
            note="out of use: there is a dynamic route of this name" if shadow else UNSET,
            states=_troubled(entry.endpoints, states) or UNSET,
        )


def _troubled(endpoints: Iterable[EndpointEntry], states: States) -> dict[str, str]:
    """The states of the circuit breakers that are not closed."""
    found = {(key := f"{one.provider}:{one.model_id}"): states(key) for one in endpoints}
    return {key: state.value for key, state in found.items() if state is not State.CLOSED}


def _endpoint_views(endpoints: Iterable[EndpointEntry]) -> tuple[EndpointView, ...]:
    return tuple(
        EndpointView(one.provider, one.model_id, one.weight if one.weight != 1 else UNSET)
        for one in endpoints
    )
