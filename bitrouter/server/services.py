"""What handlers work with. Made by app.py, read by everybody, changed by nobody else."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from aiohttp import web

from bitrouter.access.keys import Key, KeyRing
from bitrouter.config.schema import X402, Provider
from bitrouter.errors import RouterError, ShuttingDown
from bitrouter.exchange.exchange import Means
from bitrouter.exchange.inquiry import Inquiry
from bitrouter.exchange.plan import Target
from bitrouter.metrics.families import Family
from bitrouter.metrics.store import MetricsStore
from bitrouter.routing.breaker import Breakers, State
from bitrouter.routing.dynamic import History, Routes
from bitrouter.routing.state import RouteState
from bitrouter.routing.strategy import Balancer
from bitrouter.routing.table import RouteTable, provider_name
from bitrouter.server.buffers import Buffers
from bitrouter.server.record import Recent
from bitrouter.server.relay import Answer, discard
from bitrouter.server.turns import Turns
from bitrouter.server.watermark import Watermark
from bitrouter.state.audit import Entry
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.probes import Probes
from bitrouter.upstream.session import Upstream
from bitrouter.upstream.slots import Slots


class Seller(Protocol):
    """Who sells calls to those without a key: see till.Till."""

    async def sell(
        self,
        request: web.BaseRequest,
        inquiry: Inquiry,
        produce: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """The answer that `produce` gives, paid for."""

    async def find(self, request_id: str) -> msgspec.Struct | None:
        """What is known of the payment of a request. Raises OSError."""

    def adopt(self, settings: X402) -> None:
        """New prices and offers, for the requests that come after."""

    async def drain(self, limit_s: float) -> None:
        """Wait for the settlements that run, at most `limit_s` seconds."""

    async def close(self) -> None:
        """End everything. What is not settled is taken up by the next start."""


@dataclass(slots=True)
class Services:
    """The parts of a running router.

    `keys` is replaced when the key file changes. `find_target` says where a provider is reached;
    for an embedded one that starts it. `means` is what translating needs; `breakers` and `budget`
    say who is not asked, or not again. `save_dynamic` makes the dynamic routes durable, raising
    OSError, with their `history`; `audit` writes down who changed what, and never fails. Changes of
    routes and configuration take `turns`. `buffers` bounds what bodies take, and `watermark` all
    memory; `recent` are the requests that ended last; `more_families` are the metrics of parts that
    are not always there. `seller` is None where nothing is sold. `draining` turns true when the
    router is being stopped, `handing_over` too if another process goes on with its socket, and
    `idle` is set when the last request has ended after that; `running` are the tasks of all
    requests.
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
    watermark: Watermark
    history: History
    save_dynamic: Callable[[Routes, History], Awaitable[None]]
    audit: Callable[[Entry], Awaitable[None]]
    recent: Recent
    seller: Seller | None = None
    more_families: list[Callable[[], Iterable[Family]]] = field(default_factory=list)
    turns: Turns = field(default_factory=Turns)
    probes: Probes = field(default_factory=lambda: Probes(discard))
    draining: bool = False
    handing_over: bool = False
    ending: bool = False
    running: set[asyncio.Task[Any] | None] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def asks_who(self) -> bool:
        """Whether it matters who calls."""
        return self.keys.required or self.seller is not None

    def caller(self, credential: str | None) -> Key | None:
        """Whose key a credential is. None for a stranger, who may pay, or may call where no keys
        exist. Raises Unauthorized where that is all there is.
        """
        if self.seller is not None:
            return self.keys.find(credential)
        return self.keys.check(credential)

    def is_ending(self) -> bool:
        """Whether what is cancelled now is cancelled because the router is being stopped."""
        return self.ending

    def why_ending(self) -> RouterError | None:
        """What a client is told whose answer is broken off; None unless it is we who do that."""
        if not self.ending:
            return None
        return ShuttingDown("the router was stopped before the answer was complete")

    def end_running(self) -> None:
        """Break off what is running: each client gets its protocol's own error."""
        self.ending = True
        for task in self.running:
            if task is not None:
                task.cancel()

    def state_of(self, key: str) -> State:
        """The state of the circuit breaker of the endpoint with this key."""
        return self.breakers.state(key, asyncio.get_running_loop().time())

    def wait_s(self, key: str) -> float:
        """Seconds until the endpoint with this key may be asked again."""
        return self.breakers.wait_s(key, asyncio.get_running_loop().time())

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
