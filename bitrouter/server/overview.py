"""How the router is doing and what can be asked of it, for whoever runs it."""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from bitrouter import __version__
from bitrouter.metrics.snapshot import MetricsSnapshot, build_snapshot
from bitrouter.protocols import CODECS
from bitrouter.routing.breaker import State
from bitrouter.server.answers import json_answer
from bitrouter.server.discovery import model_list
from bitrouter.server.guard import refusal
from bitrouter.server.services import Services


class ProviderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A provider. `reason` says why it is not usable; `models` are those of its catalogue."""

    name: str
    protocols: tuple[str, ...]
    usable: bool
    reason: str | UnsetType = UNSET
    models: int


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint of a named route, or one that was used: `provider:model_id`, over all routes.

    `state` is that of its circuit breaker; `retry_in_s` how long it is left alone, if it is.
    """

    endpoint: str
    state: str
    requests: int
    errors: int
    retry_in_s: float | UnsetType = UNSET


class RouteCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many routes there are; `version` is that of the dynamic ones."""

    configured: int
    dynamic: int
    version: int


class RouterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of GET /admin/status. `config` is the file; `reloads` are counted by outcome;
    `sells` says that who has no key can pay.
    """

    status: Literal["ready", "draining"]
    version: str
    uptime_seconds: int
    in_flight: int
    config: str | None
    keys_required: bool
    sells: bool
    routes: RouteCounts
    reloads: dict[str, int]
    providers: list[ProviderStatus]
    endpoints: list[EndpointStatus]


_ANY_CLIENT: Final = CODECS[0]


class Overview:
    """The pages of the admin API that change nothing."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def models(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """The list of /v1/models with its filters, for who has the admin's token and no key."""
        if refused := self._guard(request, request_id):
            return refused
        table = self._services.routes.current
        return json_answer(request_id, model_list(table, request.rel_url.query, _ANY_CLIENT))

    async def status(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """RouterStatus."""
        if refused := self._guard(request, request_id):
            return refused
        services = self._services
        state = services.routes
        snapshot = build_snapshot(services.metrics)
        told = RouterStatus(
            status="draining" if services.draining else "ready",
            version=__version__,
            uptime_seconds=snapshot.uptime_seconds,
            in_flight=services.metrics.inflight,
            config=state.config.path,
            keys_required=services.keys.required,
            sells=services.seller is not None,
            routes=RouteCounts(
                configured=len(state.config.models),
                dynamic=len(state.dynamic),
                version=services.history.version,
            ),
            reloads=dict(services.metrics.reloads),
            providers=[
                ProviderStatus(
                    name=one.name,
                    protocols=one.protocols,
                    usable=one.unusable is None,
                    reason=one.unusable or UNSET,
                    models=len(one.models),
                )
                for one in state.config.providers.values()
            ],
            endpoints=list(_endpoints(services, snapshot)),
        )
        return json_answer(request_id, told)

    def _guard(self, request: web.BaseRequest, request_id: str) -> web.Response | None:
        return refusal(request, request_id, self._services.routes.config.server.admin_token)


def _endpoints(services: Services, snapshot: MetricsSnapshot) -> Iterator[EndpointStatus]:
    named = [
        endpoint.key
        for route in services.routes.current.routes.values()
        for endpoint in route.endpoints
    ]
    counts: dict[str, tuple[int, int]] = dict.fromkeys(named, (0, 0))
    for route in snapshot.routes.values():
        for key, one in route.by_endpoint.items():
            requests, errors = counts.get(key, (0, 0))
            counts[key] = (requests + one.total_requests, errors + one.total_errors)
    for key, (requests, errors) in counts.items():
        state = services.state_of(key)
        yield EndpointStatus(
            endpoint=key,
            state=state.value,
            requests=requests,
            errors=errors,
            retry_in_s=UNSET if state is State.CLOSED else round(services.wait_s(key), 1),
        )
