"""Counters, histograms and rings, and the one call that writes them.

One thread writes and no method awaits, so there is no lock. The snapshot and the exposition read
the attributes as they are. Nothing is kept for a route or endpoint before its first request.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from bitrouter.metrics.endpoint import OTHER, EndpointMetrics
from bitrouter.metrics.families import labels
from bitrouter.metrics.histogram import (
    GAP_BOUNDS_S,
    LAG_BOUNDS_S,
    LATENCY_BOUNDS_S,
    OVERHEAD_BOUNDS_S,
    Histogram,
)
from bitrouter.metrics.ring import Ring

OK: Final = "ok"
ERROR: Final = "error"
CLIENT_GONE: Final = "client_gone"

# A client that left is neither a success nor an error (reliability.md, section 13).
NOT_ERRORS: Final = frozenset({OK, CLIENT_GONE})

# The timers of section `timeouts` that can end a request, and every outcome there is.
TIMERS: Final = (
    *("connect", "pool_wait", "first_byte", "idle", "total", "stream_total", "deadline"),
    *("header_read", "body_read", "write_stall"),
)
OUTCOMES: Final = (
    *(OK, "client_error", "upstream_error", "truncated", CLIENT_GONE),
    *("shed", "refused", "payment", "internal_error"),
    *(f"timeout:{timer}" for timer in TIMERS),
)

# When a client may leave: while it sends its request, before its answer begins, or after.
PHASES: Final = ("upload", "waiting", "answer")

# The callers' sets are closed. These hold should one of them turn out not to be.
MAX_LABELS: Final = 10_000
MAX_OUTCOMES: Final = 256

# Usage is the upstream's word. Beyond these it is nonsense, and could not be shown.
MAX_TOKENS: Final = 1 << 40
MAX_COST_USD: Final = 1e9


class Outcome(msgspec.Struct, gc=False, kw_only=True):
    """What is known about a request when it has ended; a stream has ended with its last byte.

    `route` is a label out of a closed set, `OTHER` for all else; `endpoint` is
    `provider:model_id`, likewise, of the endpoint that gave the final answer or was tried last,
    None when none was tried. `protocol` is chat, responses, anthropic or google. `outcome` is ok,
    client_error, upstream_error, timeout:<timer>, truncated, client_gone, shed, refused, payment
    or internal_error. Only `routed` requests, whose name resolved to a route, are in the JSON
    snapshot; all are in the Prometheus families.

    Seconds: `duration_s` of the whole request, `ttft_s` until the first byte of a streamed answer,
    `overhead_route_s` from the request read to the upstream call started, `overhead_relay_s` from
    the upstream answer complete to the client answer complete, `gap_s` the longest silence of a
    stream after its first event. Usage and cost that are not known are None, never 0.

    Bytes: `received` of the request's body, `sent` of the answer. `phase` is when a client left,
    one of `PHASES`.
    """

    route: str
    endpoint: str | None
    protocol: str
    outcome: str
    duration_s: float
    routed: bool
    ttft_s: float | None = None
    overhead_route_s: float | None = None
    overhead_relay_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    gap_s: float | None = None
    received: int = 0
    sent: int = 0
    phase: str | None = None


class TokenCount:
    """Tokens of one kind, summed over the `requests` for which they are known.

    What an upstream cannot have meant (see `MAX_TOKENS`) is as good as unknown.
    """

    __slots__ = ("requests", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0


class Tally:
    """Requests, errors and newest latencies of a route, or of an endpoint within a route."""

    __slots__ = ("latencies", "total_errors", "total_requests")

    def __init__(self) -> None:
        self.total_requests = 0
        self.total_errors = 0
        self.latencies = Ring()

    def add(self, latency_us: int, is_error: bool) -> None:
        """Count one finished request."""
        self.total_requests += 1
        if is_error:
            self.total_errors += 1
        self.latencies.record(latency_us)


class RouteMetrics:
    """Everything under one route label; `labels` is how the exposition writes that.

    `requests` is keyed (protocol, outcome) and counts every request;
    `routed`, `by_endpoint` and `last_used` (Unix time in seconds) only those that were routed.
    `cost_usd` is None until a cost is known; `received` and `sent` are bytes.
    """

    __slots__ = (
        "by_endpoint",
        "cached",
        "cost_usd",
        "input",
        "labels",
        "last_used",
        "output",
        "reasoning",
        "received",
        "requests",
        "routed",
        "sent",
    )

    def __init__(self, label: str) -> None:
        self.labels = labels(route=label)
        self.requests: dict[tuple[str, str], int] = {}
        self.input = TokenCount()
        self.output = TokenCount()
        self.cached = TokenCount()
        self.reasoning = TokenCount()
        self.cost_usd: float | None = None
        self.routed: Tally | None = None
        self.by_endpoint: dict[str, Tally] = {}
        self.last_used = 0.0
        self.received = 0
        self.sent = 0

    def add_usage(self, outcome: Outcome) -> None:
        """Count the tokens and the cost that are known.

        Written out, because a call for each kind would add 0.2 us to every request.
        """
        tokens = outcome.input_tokens
        if tokens is not None and 0 <= tokens <= MAX_TOKENS:
            count = self.input
            count.requests += 1
            count.tokens += tokens
        tokens = outcome.output_tokens
        if tokens is not None and 0 <= tokens <= MAX_TOKENS:
            count = self.output
            count.requests += 1
            count.tokens += tokens
        tokens = outcome.cached_tokens
        if tokens is not None and 0 <= tokens <= MAX_TOKENS:
            count = self.cached
            count.requests += 1
            count.tokens += tokens
        tokens = outcome.reasoning_tokens
        if tokens is not None and 0 <= tokens <= MAX_TOKENS:
            count = self.reasoning
            count.requests += 1
            count.tokens += tokens
        if outcome.cost_usd is not None and 0 <= outcome.cost_usd <= MAX_COST_USD:
            self.cost_usd = (self.cost_usd or 0.0) + outcome.cost_usd


class MetricsStore:
    """The metrics of one process, from its start.

    `monotonic` and `wall` are clocks in seconds, the latter of Unix time. Callers keep `inflight`
    themselves. `max_labels` bounds the routes, the endpoints, and the endpoints over all routes;
    the rest is counted under `OTHER`.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        max_labels: int = MAX_LABELS,
    ) -> None:
        self.inflight = 0
        self.routes: dict[str, RouteMetrics] = {}
        self.endpoints: dict[str, EndpointMetrics] = {}
        # From the start, so that a first failed reload is seen as an increase.
        self.reloads = {OK: 0, ERROR: 0}
        self.left = dict.fromkeys(PHASES, 0)
        # Not one a route: 100 routes would make 3,000 series. The snapshot has each route's
        # latencies.
        self.duration = Histogram(LATENCY_BOUNDS_S)
        self.ttft = Histogram(LATENCY_BOUNDS_S)
        self.gap = Histogram(GAP_BOUNDS_S)
        self.overhead_route = Histogram(OVERHEAD_BOUNDS_S)
        self.overhead_relay = Histogram(OVERHEAD_BOUNDS_S)
        self.loop_lag = Histogram(LAG_BOUNDS_S)
        self._monotonic = monotonic
        self._wall = wall
        self._started = monotonic()
        self._max_labels = max_labels
        self._outcomes: set[tuple[str, str]] = set()
        self._pairs = 0  # of a route and an endpoint

    def uptime_s(self) -> float:
        """Seconds since the store was made."""
        return self._monotonic() - self._started

    def record(self, outcome: Outcome) -> None:
        """Count one finished request, exactly once and under one outcome.

        What every request has is written out: a call for each would add half to the whole.
        """
        route = self.routes.get(outcome.route)
        if route is None:
            route = self._add_route(outcome.route)
        key = (outcome.protocol, outcome.outcome)
        try:
            route.requests[key] += 1
        except KeyError:
            self._add_outcome(route, key)
        route.received += outcome.received
        route.sent += outcome.sent
        seconds = outcome.duration_s
        histogram = self.duration
        histogram.counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        histogram.sum_s += seconds
        share_s = outcome.overhead_route_s
        if share_s is not None:
            histogram = self.overhead_route
            histogram.counts[bisect_left(OVERHEAD_BOUNDS_S, share_s)] += 1
            histogram.sum_s += share_s
        share_s = outcome.overhead_relay_s
        if share_s is not None:
            histogram = self.overhead_relay
            histogram.counts[bisect_left(OVERHEAD_BOUNDS_S, share_s)] += 1
            histogram.sum_s += share_s
        if outcome.ttft_s is not None:
            self.ttft.observe(outcome.ttft_s)
        if outcome.gap_s is not None:
            self.gap.observe(outcome.gap_s)
        if outcome.phase is not None:
            self.left[outcome.phase] += 1
        if outcome.routed:
            route.add_usage(outcome)
            self._record_routed(route, outcome)

    def endpoint(self, label: str) -> EndpointMetrics:
        """The counters of one endpoint, by its label."""
        found = self.endpoints.get(label)
        return self._add_endpoint(label) if found is None else found

    def record_attempt(self, endpoint: str, result: str) -> None:
        """Count one try at an endpoint. `result` is ok or the word for the error."""
        self.endpoint(endpoint).attempted(result)

    def record_reload(self, result: str) -> None:
        """Count one attempt to reload the configuration. `result` is ok or error."""
        label = result if result in (OK, ERROR) else OTHER
        self.reloads[label] = self.reloads.get(label, 0) + 1

    def record_loop_lag(self, seconds: float) -> None:
        """Count by how much the event loop was late for one timer."""
        self.loop_lag.observe(seconds)

    def retain(self, *, routes: Collection[str], endpoints: Collection[str]) -> None:
        """Forget all that is counted under other labels than these, `OTHER` apart.

        To be called after a reload, or removed routes and endpoints would stay for ever. Counters
        that come back start at 0, which Prometheus takes for a restart.
        """
        kept_routes = {*routes, OTHER}
        kept_endpoints = {*endpoints, OTHER}
        self.routes = {label: route for label, route in self.routes.items() if label in kept_routes}
        for route in self.routes.values():
            route.by_endpoint = {
                label: tally
                for label, tally in route.by_endpoint.items()
                if label in kept_endpoints
            }
        self.endpoints = {
            label: endpoint for label, endpoint in self.endpoints.items() if label in kept_endpoints
        }
        self._pairs = sum(len(route.by_endpoint) for route in self.routes.values())

    def _record_routed(self, route: RouteMetrics, outcome: Outcome) -> None:
        is_error = outcome.outcome not in NOT_ERRORS
        latency_us = int(outcome.duration_s * 1e6 + 0.5)
        if route.routed is None:
            route.routed = Tally()
        route.routed.add(latency_us, is_error)
        route.last_used = self._wall()
        if outcome.endpoint is not None:
            tally = route.by_endpoint.get(outcome.endpoint)
            if tally is None:
                tally = self._add_tally(route, outcome.endpoint)
            tally.add(latency_us, is_error)

    def _add_route(self, label: str) -> RouteMetrics:
        if len(self.routes) >= self._max_labels:
            label = OTHER
        if label not in self.routes:
            self.routes[label] = RouteMetrics(label)
        return self.routes[label]

    def _add_endpoint(self, label: str) -> EndpointMetrics:
        if len(self.endpoints) >= self._max_labels:
            label = OTHER
        return self.endpoints.setdefault(label, EndpointMetrics(label))

    def _add_tally(self, route: RouteMetrics, label: str) -> Tally:
        if self._pairs >= self._max_labels:
            label = OTHER
        if label not in route.by_endpoint:
            route.by_endpoint[label] = Tally()
            self._pairs += 1
        return route.by_endpoint[label]

    def _add_outcome(self, route: RouteMetrics, key: tuple[str, str]) -> None:
        if key not in self._outcomes:
            if len(self._outcomes) < MAX_OUTCOMES:
                self._outcomes.add(key)
            else:
                key = (OTHER, OTHER)
        route.requests[key] = route.requests.get(key, 0) + 1
