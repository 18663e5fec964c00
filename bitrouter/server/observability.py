"""Whether the router lives, whether it takes requests, and what it has counted."""

import asyncio
from typing import Final, cast

from aiohttp import web

from bitrouter.metrics.snapshot import build_snapshot
from bitrouter.server.answers import base_headers, json_answer
from bitrouter.server.services import Services

_TEXT: Final = frozenset({"text/plain", "application/openmetrics-text"})
_JSON: Final = "application/json"


class Observability:
    """The pages for machines that watch. No credential is asked for: they name no secret."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def health(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """The process answers."""
        return json_answer(request_id, {"status": "ok"})

    async def ready(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Whether to send traffic: not when the router is about to stop."""
        if self._services.draining:
            return json_answer(request_id, {"status": "draining"}, status=503)
        return json_answer(request_id, {"status": "ready"})

    async def snapshot(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """MetricsSnapshot of the API document."""
        return json_answer(request_id, build_snapshot(self._services.metrics))

    async def metrics(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """The same, or Prometheus's text where the Accept header would rather have that."""
        if wants_text(request.headers.get("Accept", "")):
            return await self._scrape(request, request_id)
        return await self.snapshot(request, request_id, rest)

    async def _scrape(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        # Here, because importing them takes 30 ms (CPython 3.11), which the first scrape can wait
        # for, and a start that promises to be ready in half a second need not.
        from prometheus_async.aio.web import server_stats

        from bitrouter.metrics.exposition import StoreCollector, register, unregister

        # On the registry only while it is being read, which `server_stats` does without a pause:
        # what belongs to one router is not left in what belongs to the whole process.
        collector = StoreCollector(self._services.metrics, self._endpoints_up)
        register(collector)
        try:
            answer = await server_stats(cast("web.Request", request))  # reads its headers alone
        finally:
            unregister(collector)
        answer.headers.update(base_headers(request_id))
        return answer

    def _endpoints_up(self) -> dict[str, bool]:
        services = self._services
        now = asyncio.get_running_loop().time()
        return {
            endpoint.key: endpoint.provider.unusable is None
            and not services.breakers.wait_s(endpoint.key, now)
            for endpoint in services.routes.current.endpoints()
        }


def wants_text(accept: str) -> bool:
    """Whether an Accept header prefers a Prometheus format, named as such, to JSON.

    Of two that are preferred alike, the first. (RFC 9110, section 12.5.1; wildcards are no wish.)
    """
    wishes: list[tuple[float, str]] = []
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind == _JSON or kind in _TEXT:
            wishes.append((_quality(parameters), kind))
    quality, kind = max(wishes, key=lambda wish: wish[0], default=(0.0, _JSON))
    return quality > 0 and kind in _TEXT


def _quality(parameters: list[str]) -> float:
    given = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return float(given)
    except ValueError:
        return 1.0
