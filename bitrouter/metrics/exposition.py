"""The store as Prometheus families, under the names of contract.md, section 4.

Importing `prometheus_client` takes some 30 ms, so nothing else in this package does.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    REGISTRY,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from bitrouter.metrics.store import (
    LAG_BOUNDS_S,
    LATENCY_BOUNDS_S,
    OVERHEAD_BOUNDS_S,
    Histogram,
    MetricsStore,
)

# The label `le` of each bucket, by the bounds it belongs to.
_BUCKETS: Final = {
    bounds_s: (*map(floatToGoString, bounds_s), "+Inf")
    for bounds_s in (LATENCY_BOUNDS_S, OVERHEAD_BOUNDS_S, LAG_BOUNDS_S)
}


class StoreCollector(Collector):
    """Reads a store at scrape time.

    `endpoint_up` gives, by `provider:model_id`, whether the endpoint is asked now, that is
    whether its circuit is not open. Series without a sample are left out, except those whose
    labels are fixed.
    """

    def __init__(self, store: MetricsStore, endpoint_up: Callable[[], Mapping[str, bool]]) -> None:
        self._store = store
        self._endpoint_up = endpoint_up

    def describe(self) -> Iterator[Metric]:
        """The families without samples, for which the registry asks at registration."""
        empty = MetricsStore(monotonic=float, wall=float)
        return StoreCollector(empty, dict).collect()

    def collect(self) -> Iterator[Metric]:
        """Every family once, by name as the contract lists them."""
        yield self._requests()
        yield self._request_durations()
        yield self._ttft()
        yield self._overhead()
        yield self._attempts()
        yield self._endpoints_up()
        yield self._tokens()
        yield self._cost()
        yield GaugeMetricFamily(
            "bitrouter_inflight_requests", "Requests being answered now.", self._store.inflight
        )
        yield self._reloads()
        yield self._loop_lag()

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "bitrouter_requests_total",
            "Finished requests, each under exactly one outcome.",
            labels=("route", "protocol", "outcome"),
        )
        for label, route in self._store.routes.items():
            for (protocol, outcome), count in route.requests.items():
                family.add_metric((label, protocol, outcome), count)
        return family

    def _request_durations(self) -> Metric:
        family = HistogramMetricFamily(
            "bitrouter_request_duration_seconds",
            "Duration of a request; of a stream, till its end.",
        )
        _add_histogram(family, (), self._store.duration)
        return family

    def _ttft(self) -> Metric:
        family = HistogramMetricFamily(
            "bitrouter_ttft_seconds",
            "Time until the first byte of a streamed answer went to the client.",
        )
        _add_histogram(family, (), self._store.ttft)
        return family

    def _overhead(self) -> Metric:
        family = HistogramMetricFamily(
            "bitrouter_overhead_seconds",
            "The router's own share: route, from request read to upstream call started; "
            "relay, from upstream answer complete to client answer complete.",
            labels=("stage",),
        )
        _add_histogram(family, ("route",), self._store.overhead_route)
        _add_histogram(family, ("relay",), self._store.overhead_relay)
        return family

    def _attempts(self) -> Metric:
        family = CounterMetricFamily(
            "bitrouter_upstream_attempts_total",
            "Tries at an endpoint, by how they ended.",
            labels=("endpoint", "result"),
        )
        for key, count in self._store.attempts.items():
            family.add_metric(key, count)
        return family

    def _endpoints_up(self) -> Metric:
        family = GaugeMetricFamily(
            "bitrouter_endpoint_up",
            "1 if the endpoint takes requests, 0 while its circuit is open.",
            labels=("endpoint",),
        )
        for label, is_up in self._endpoint_up().items():
            family.add_metric((label,), is_up)
        return family

    def _tokens(self) -> Metric:
        family = CounterMetricFamily(
            "bitrouter_tokens_total",
            "Tokens that upstreams reported; cached is a part of input, reasoning of output.",
            labels=("route", "kind"),
        )
        for label, route in self._store.routes.items():
            for kind, count in (
                ("input", route.input),
                ("output", route.output),
                ("cached", route.cached),
                ("reasoning", route.reasoning),
            ):
                if count.requests:
                    family.add_metric((label, kind), count.tokens)
        return family

    def _cost(self) -> Metric:
        family = CounterMetricFamily(
            "bitrouter_cost_usd_total",
            "What the requests cost at catalogue prices, in USD, where price and usage are known.",
            labels=("route",),
        )
        for label, route in self._store.routes.items():
            if route.cost_usd is not None:
                family.add_metric((label,), route.cost_usd)
        return family

    def _reloads(self) -> Metric:
        family = CounterMetricFamily(
            "bitrouter_config_reloads_total",
            "Attempts to reload the configuration.",
            labels=("result",),
        )
        for result, count in self._store.reloads.items():
            family.add_metric((result,), count)
        return family

    def _loop_lag(self) -> Metric:
        family = HistogramMetricFamily(
            "bitrouter_event_loop_lag_seconds",
            "By how much the event loop was late for a timer.",
            labels=(),
        )
        _add_histogram(family, (), self._store.loop_lag)
        return family


def register(collector: StoreCollector) -> None:
    """Show this collector, and no other one of its kind, on the global registry.

    The names can be there once only: a collector registered earlier is replaced.
    """
    for registered in _registered:
        REGISTRY.unregister(registered)
    _registered.clear()
    REGISTRY.register(collector)
    _registered.append(collector)


def unregister(collector: StoreCollector) -> None:
    """Take this collector off the global registry; nothing happens if it is not there."""
    if collector in _registered:
        REGISTRY.unregister(collector)
        _registered.remove(collector)


# At most one: the registry is global, and does not tell what is registered.
_registered: Final[list[StoreCollector]] = []


def _add_histogram(
    family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram
) -> None:
    buckets = _BUCKETS[histogram.bounds_s]
    counts = accumulate(histogram.counts)
    family.add_metric(labels, list(zip(buckets, counts, strict=True)), histogram.sum_s)
