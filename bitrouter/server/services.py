"""What handlers work with. Made by app.py, read by everybody, changed by nobody else."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bitrouter.access.keys import KeyRing
from bitrouter.config.schema import Config, Provider
from bitrouter.exchange.exchange import Means
from bitrouter.exchange.plan import Target
from bitrouter.metrics.store import MetricsStore
from bitrouter.routing.breaker import Breakers, State
from bitrouter.routing.state import DynamicRoute, RouteState
from bitrouter.routing.strategy import Balancer
from bitrouter.routing.table import RouteTable, provider_name
from bitrouter.server.buffers import Buffers
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.session import Upstream
from bitrouter.upstream.slots import Slots


@dataclass(slots=True)
class Services:
    """The parts of a running router.

    `keys` is replaced when the key file changes. `find_target` says where a provider is reached;
    for an embedded one that starts it. `means` is what translating needs; `breakers` and `budget`
    say who is not asked, or not again. `save_dynamic` makes the dynamic routes durable, raising
    OSError. `buffers` bounds what bodies take. `load_config` reads the configuration anew, raising
    ConfigError; `adopt_config` makes one the current one. `draining` turns true when the router is
    being stopped, and `idle` is set when the last request has ended after that; `running` are the
    tasks of all requests.
    """

    routes: RouteState
    balancer: Balancer
    upstream: Upstream
    metrics: MetricsStore
    keys: KeyRing
    find_target: Callable[[Provider], Awaitable[Target]]
    means: Means
    breakers: Breakers
    budget: RetryBudget
    slots: Slots
    buffers: Buffers
    save_dynamic: Callable[[Mapping[str, DynamicRoute]], Awaitable[None]]
    load_config: Callable[[], Config]
    adopt_config: Callable[[Config], None]
    draining: bool = False
    ending: bool = False
    running: set[asyncio.Task[Any] | None] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def is_ending(self) -> bool:
        """Whether what is cancelled now is cancelled because the router is being stopped."""
        return self.ending

    def end_running(self) -> None:
        """Break off what is running: each client gets its protocol's own error."""
        self.ending = True
        for task in self.running:
            if task is not None:
                task.cancel()

    def state_of(self, key: str) -> State:
        """The state of the circuit breaker of the endpoint with this key."""
        return self.breakers.state(key, asyncio.get_running_loop().time())

    def forget_unrouted(self, before: RouteTable) -> None:
        """Let go what is kept for routes and endpoints that are no longer there. `before` is the
        table that was in use until now.
        """
        table = self.routes.current
        self.balancer.forget([*table.routes])
        gone = {one.key for one in before.endpoints()} - {one.key for one in table.endpoints()}
        same = _unchanged(before.providers, table.providers)
        self.breakers.retain(lambda key: key not in gone and provider_name(key) in same)
        self.metrics.retain(
            routes=[*table.names(), *table.routes],
            endpoints=[endpoint.key for endpoint in table.endpoints()],
        )


def _unchanged(before: Mapping[str, Provider], now: Mapping[str, Provider]) -> set[str]:
    """The providers that are what they were, whatever has become of their catalogues."""
    return {
        name
        for name, provider in now.items()
        if name in before and _without_models(before[name]) == _without_models(provider)
    }


def _without_models(provider: Provider) -> Provider:
    return msgspec.structs.replace(provider, models={})
