"""What handlers work with. Made by app.py, read by everybody, changed by nobody else."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bitrouter.access.keys import KeyRing
from bitrouter.config.schema import Config, Provider
from bitrouter.exchange.exchange import Means
from bitrouter.exchange.plan import Target
from bitrouter.metrics.store import MetricsStore
from bitrouter.routing.state import DynamicRoute, RouteState
from bitrouter.routing.strategy import Balancer
from bitrouter.upstream.session import Upstream


@dataclass(slots=True)
class Services:
    """The parts of a running router.

    `keys` is replaced when the key file changes. `find_target` says where a provider is reached;
    for an embedded one that starts it. `means` is what translating needs. `save_dynamic` makes the
    dynamic routes durable, raising OSError. `load_config` reads the configuration anew, raising
    ConfigError; `adopt_config` makes one the current one. `draining` turns true when the router is
    being stopped, and `idle` is set when the last request has ended after that.
    """

    routes: RouteState
    balancer: Balancer
    upstream: Upstream
    metrics: MetricsStore
    keys: KeyRing
    find_target: Callable[[Provider], Awaitable[Target]]
    means: Means
    save_dynamic: Callable[[Mapping[str, DynamicRoute]], Awaitable[None]]
    load_config: Callable[[], Config]
    adopt_config: Callable[[Config], None]
    draining: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def forget_unrouted(self) -> None:
        """Let go what is kept for routes and endpoints that are no longer there."""
        table = self.routes.current
        self.balancer.forget([*table.routes])
        self.metrics.retain(
            routes=[*table.names(), *table.routes],
            endpoints=[endpoint.key for endpoint in table.endpoints()],
        )
