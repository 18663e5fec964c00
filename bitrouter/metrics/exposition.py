"""The store as families, under the names of contract.md, section 4, and docs/metrics.md."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from bitrouter.metrics.endpoint import EndpointMetrics
from bitrouter.metrics.families import Family, counter, gauge, histogram, labels
from bitrouter.metrics.store import MetricsStore, RouteMetrics

Samples = Iterable[tuple[str, float]]


class EndpointNow(msgspec.Struct, frozen=True, gc=False):
    """What an endpoint is now: whether it takes requests, and the state of its circuit breaker, 0
    for closed, 1 for resting, 2 for half open, 3 for open.
    """

    label: str
    is_up: bool
    state: int


def store_families(store: MetricsStore, endpoints: Sequence[EndpointNow]) -> Iterator[Family]:
    """Every family once. `endpoints` are all that the configuration names.

    Series without a sample are left out, except those whose labels are fixed. What a family reads
    it reads when its lines are asked for; requests may end in between.
    """
    yield from _of_requests(store)
    yield from _of_endpoints(store, endpoints)
    yield from _of_routes(store)
    yield gauge(
        "bitrouter_inflight_requests", "Requests being answered now.", [("", store.inflight)]
    )
    yield counter(
        "bitrouter_config_reloads",
        "Attempts to reload the configuration.",
        [(labels(result=result), count) for result, count in store.reloads.items()],
    )
    yield histogram(
        "bitrouter_event_loop_lag_seconds",
        "By how much the event loop was late for a timer.",
        [("", store.loop_lag)],
    )


def _of_requests(store: MetricsStore) -> Iterator[Family]:
    yield counter(
        "bitrouter_requests",
        "Finished requests, each under exactly one outcome.",
        _requests([*store.routes.values()]),
    )
    yield histogram(
        "bitrouter_request_duration_seconds",
        "Duration of a request; of a stream, till its end.",
        [("", store.duration)],
    )
    yield histogram(
        "bitrouter_ttft_seconds",
        "Time until the first byte of a streamed answer went to the client.",
        [("", store.ttft)],
    )
    yield histogram(
        "bitrouter_stream_gap_seconds",
        "The longest silence of an upstream within a stream, after its first event.",
        [("", store.gap)],
    )
    yield histogram(
        "bitrouter_overhead_seconds",
        "The router's own share: route, from request read to upstream call started; "
        "relay, from upstream answer complete to client answer complete.",
        [
            (labels(stage="route"), store.overhead_route),
            (labels(stage="relay"), store.overhead_relay),
        ],
    )
    yield counter(
        "bitrouter_clients_gone",
        "Clients that left: in the upload of their request, waiting, or within the answer.",
        [(labels(phase=phase), count) for phase, count in store.left.items()],
    )


def _requests(routes: Sequence[RouteMetrics]) -> Samples:
    for route in routes:
        for (protocol, outcome), count in tuple(route.requests.items()):
            yield f'{route.labels},protocol="{protocol}",outcome="{outcome}"', count


def _of_endpoints(store: MetricsStore, endpoints: Sequence[EndpointNow]) -> Iterator[Family]:
    counted = [*store.endpoints.values()]
    yield counter(
        "bitrouter_upstream_attempts",
        "Tries at an endpoint, by how they ended.",
        _attempts(counted),
    )
    yield counter(
        "bitrouter_upstream_retries",
        "Tries that repeated one at the same endpoint.",
        ((one.labels, one.retries) for one in counted),
    )
    yield counter(
        "bitrouter_upstream_failovers",
        "Requests for which another endpoint was asked after this one.",
        ((one.labels, one.failovers) for one in counted),
    )
    yield counter(
        "bitrouter_upstream_rescues",
        "Streams of this endpoint that broke off and that another one finished.",
        ((one.labels, one.rescues) for one in counted),
    )
    yield gauge(
        "bitrouter_upstream_inflight_requests",
        "Tries at an endpoint that run now, with the streams of their answers.",
        ((one.labels, one.inflight) for one in counted),
    )
    yield gauge(
        "bitrouter_endpoint_up",
        "1 if the endpoint takes requests, 0 while its circuit is open.",
        ((labels(endpoint=one.label), one.is_up) for one in endpoints),
    )
    yield gauge(
        "bitrouter_circuit_breaker_state",
        "0 closed, 1 resting, 2 half open, 3 open.",
        ((labels(endpoint=one.label), one.state) for one in endpoints),
    )
    yield counter(
        "bitrouter_circuit_breaker_changes",
        "Changes of a circuit breaker, by the state that it went to.",
        _changes(counted),
    )


def _attempts(counted: Sequence[EndpointMetrics]) -> Samples:
    for one in counted:
        for result, count in tuple(one.attempts.items()):
            yield f'{one.labels},result="{result}"', count


def _changes(counted: Sequence[EndpointMetrics]) -> Samples:
    """Those of breakers that have ever opened: three series for each of the others say nothing."""
    for one in counted:
        if one.changes["open"]:
            for state, count in one.changes.items():
                yield f'{one.labels},state="{state}"', count


_KINDS: Final = ("input", "output", "cached", "reasoning")


def _of_routes(store: MetricsStore) -> Iterator[Family]:
    routes = [*store.routes.values()]
    yield counter(
        "bitrouter_tokens",
        "Tokens that upstreams reported; cached is a part of input, reasoning of output.",
        _tokens(routes),
    )
    yield counter(
        "bitrouter_cost_usd",
        "What the requests cost at catalogue prices, in USD, where price and usage are known.",
        ((one.labels, one.cost_usd) for one in routes if one.cost_usd is not None),
    )
    yield counter(
        "bitrouter_request_bytes",
        "Bytes of request bodies, as they came from clients.",
        ((one.labels, one.received) for one in routes),
    )
    yield counter(
        "bitrouter_response_bytes",
        "Bytes of answers, as they were given to clients' connections.",
        ((one.labels, one.sent) for one in routes),
    )


def _tokens(routes: Sequence[RouteMetrics]) -> Samples:
    for one in routes:
        counts = (one.input, one.output, one.cached, one.reasoning)
        for kind, count in zip(_KINDS, counts, strict=True):
            if count.requests:
                yield f'{one.labels},kind="{kind}"', count.tokens
