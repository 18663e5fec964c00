"""Whether the router lives, whether it takes requests, and what it has counted."""

import asyncio
from collections.abc import Iterator
from typing import Final, cast

from aiohttp import web

from bitrouter import __version__, log
from bitrouter.metrics.exposition import EndpointNow, store_families
from bitrouter.metrics.families import (
    Family,
    counter,
    gauge,
    is_openmetrics,
    join,
    labels,
    render,
)
from bitrouter.metrics.snapshot import build_snapshot
from bitrouter.routing.breaker import State
from bitrouter.server.answers import base_headers, json_answer
from bitrouter.server.buffers import memory_limit
from bitrouter.server.services import Services

_TEXT: Final = frozenset({"text/plain", "application/openmetrics-text"})
_JSON: Final = "application/json"
_STATES: Final = tuple(State)  # from the best to the worst: their numbers in the metrics


class Observability:
    """The pages for machines that watch. No credential is asked for: they name no secret."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._memory_limit = memory_limit()

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
        # Here, because importing it takes 30 ms (CPython 3.11), which the first scrape can wait
        # for, and a start that promises to be ready in half a second need not.
        from prometheus_async.aio.web import server_stats

        # What is the whole process's, in the format that was asked for.
        answer = await server_stats(cast("web.Request", request))  # reads its headers alone
        text = cast("bytes", answer.body)
        pieces = []
        for piece in render(self._families(), openmetrics=is_openmetrics(text)):
            pieces.append(piece)
            await asyncio.sleep(0)  # with thousands of routes, others are not to wait for all of it
        answer.body = join(text, pieces)
        answer.headers.update(base_headers(request_id))
        return answer

    def _families(self) -> Iterator[Family]:
        services = self._services
        yield from store_families(services.metrics, self._endpoints())
        yield gauge(
            "bitrouter_build_info",
            "1; the label is the version that runs.",
            [(labels(version=__version__), 1)],
        )
        yield gauge(
            "bitrouter_draining",
            "1 once the router is being stopped.",
            [("", services.draining)],
        )
        yield gauge(
            "bitrouter_memory_limit_bytes",
            "What the machine has, or the control groups around the process allow.",
            [("", self._memory_limit)],
        )
        yield gauge(
            "bitrouter_buffered_bytes",
            "Bytes of the bodies that are kept now.",
            [("", services.buffers.used)],
        )
        yield gauge(
            "bitrouter_buffered_bytes_limit",
            "How many of them there may be.",
            [("", services.buffers.limit)],
        )
        yield counter(
            "bitrouter_log_lines_dropped",
            "Lines of the log that were left out because nobody took them.",
            [("", log.dropped_lines())],
        )
        for families in services.more_families:
            yield from families()

    def _endpoints(self) -> list[EndpointNow]:
        services = self._services
        now = asyncio.get_running_loop().time()
        breakers = services.breakers
        return [
            EndpointNow(
                endpoint.key,
                endpoint.provider.unusable is None and not breakers.wait_s(endpoint.key, now),
                _STATES.index(breakers.state(endpoint.key, now)),
            )
            for endpoint in services.routes.current.endpoints()
        ]


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
