"""The Prometheus families have the names and labels that dashboards and alerts rely on."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bitrouter.metrics.endpoint import OTHER
from bitrouter.metrics.exposition import EndpointNow, store_families
from bitrouter.metrics.families import join, render
from bitrouter.metrics.store import MetricsStore, Outcome

# contract.md, section 4: type and labels of every family. A histogram's `le` is understood.
CONTRACT: dict[str, tuple[str, set[str]]] = {
    "bitrouter_requests_total": ("counter", {"route", "protocol", "outcome"}),
    "bitrouter_request_duration_seconds": ("histogram", set()),
    "bitrouter_ttft_seconds": ("histogram", set()),
    "bitrouter_overhead_seconds": ("histogram", {"stage"}),
    "bitrouter_upstream_attempts_total": ("counter", {"endpoint", "result"}),
    "bitrouter_endpoint_up": ("gauge", {"endpoint"}),
    "bitrouter_tokens_total": ("counter", {"route", "kind"}),
    "bitrouter_cost_usd_total": ("counter", {"route"}),
    "bitrouter_inflight_requests": ("gauge", set()),
    "bitrouter_config_reloads_total": ("counter", {"result"}),
    "bitrouter_event_loop_lag_seconds": ("histogram", set()),
}
# And what else reliability.md, section 13, wants counted.
MORE: dict[str, tuple[str, set[str]]] = {
    "bitrouter_stream_gap_seconds": ("histogram", set()),
    "bitrouter_clients_gone_total": ("counter", {"phase"}),
    "bitrouter_upstream_retries_total": ("counter", {"endpoint"}),
    "bitrouter_upstream_failovers_total": ("counter", {"endpoint"}),
    "bitrouter_upstream_rescues_total": ("counter", {"endpoint"}),
    "bitrouter_upstream_inflight_requests": ("gauge", {"endpoint"}),
    "bitrouter_circuit_breaker_state": ("gauge", {"endpoint"}),
    "bitrouter_circuit_breaker_changes_total": ("counter", {"endpoint", "state"}),
    "bitrouter_request_bytes_total": ("counter", {"route"}),
    "bitrouter_response_bytes_total": ("counter", {"route"}),
}
ALL = CONTRACT | MORE

TEXT, OPENMETRICS = False, True
PARSERS: dict[bool, Callable[[str], Iterable[Metric]]] = {
    TEXT: parse_text,
    OPENMETRICS: parse_openmetrics,
}
FORMATS = pytest.mark.parametrize("openmetrics", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])


def make_store() -> MetricsStore:
    return MetricsStore(monotonic=lambda: 0.0, wall=lambda: 0.0)


def make_used_store() -> MetricsStore:
    """A store in which every family has a sample."""
    store = make_store()
    record(
        store,
        duration_s=2.0,
        ttft_s=0.5,
        overhead_route_s=2e-4,
        overhead_relay_s=1e-4,
        input_tokens=100,
        output_tokens=20,
        cached_tokens=60,
        reasoning_tokens=5,
        cost_usd=0.125,
    )
    record(store, outcome="timeout:first_byte", duration_s=60.0)
    record(store, route=OTHER, endpoint=None, outcome="client_error", routed=False)
    store.record_attempt("openai:gpt-4o", "ok")
    store.endpoint("openai:gpt-4o").changes["open"] += 1
    store.record_reload("ok")
    store.record_loop_lag(0.003)
    store.inflight = 3
    return store


def record(store: MetricsStore, **fields: Any) -> None:
    complete = {
        "route": "default",
        "endpoint": "openai:gpt-4o",
        "protocol": "chat",
        "outcome": "ok",
        "duration_s": 1.0,
        "routed": True,
    }
    store.record(Outcome(**{**complete, **fields}))


ENDPOINTS = (EndpointNow("openai:gpt-4o", True, 0), EndpointNow("acme:one", False, 3))


def shown(store: MetricsStore, *, openmetrics: bool = TEXT) -> str:
    """The exposition of a store, as a scraper gets it."""
    pieces = render(store_families(store, ENDPOINTS), openmetrics=openmetrics)
    return join(b"# EOF\n" if openmetrics else b"", pieces).decode()


def families(store: MetricsStore, *, openmetrics: bool = TEXT) -> dict[str, Metric]:
    """The families of a store, as a scraper reads them."""
    text = shown(store, openmetrics=openmetrics)
    return {full_name(found): found for found in PARSERS[openmetrics](text)}


def samples(store: MetricsStore, *, openmetrics: bool = TEXT) -> dict[object, float]:
    """Every sample, by its name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families(store, openmetrics=openmetrics).values()
        for sample in family.samples
    }


def value(store: MetricsStore, name: str, **labels: str) -> float | None:
    return samples(store).get((name, *sorted(labels.items())))


def full_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


# -- names ----------------------------------------------------------------------------------


@FORMATS
def test_the_families_are_exactly_those_that_are_documented(openmetrics: bool) -> None:
    found = families(make_used_store(), openmetrics=openmetrics)
    assert {name: family.type for name, family in found.items()} == {
        name: kind for name, (kind, _) in ALL.items()
    }


def test_every_family_is_there_before_the_first_request() -> None:
    assert families(make_store()).keys() == ALL.keys()


def test_labels_are_exactly_those_that_are_documented() -> None:
    for name, family in families(make_used_store()).items():
        assert family.samples, name
        for sample in family.samples:
            bucket = {"le"} if sample.name.endswith("_bucket") else set()
            assert set(sample.labels) == ALL[name][1] | bucket


def test_every_family_has_a_help_text() -> None:
    assert all(family.documentation for family in families(make_store()).values())


def test_both_formats_have_the_same_samples() -> None:
    store = make_used_store()
    assert samples(store, openmetrics=OPENMETRICS) == samples(store, openmetrics=TEXT)


@FORMATS
def test_a_strange_route_name_survives(openmetrics: bool) -> None:
    name = 'acme/"*"\\\n\u00fc{x="1"} 5'
    store = make_store()
    record(store, route=name)
    requests = families(store, openmetrics=openmetrics)["bitrouter_requests_total"]
    assert [sample.labels["route"] for sample in requests.samples] == [name]


def test_a_page_is_made_in_pieces_and_counting_goes_on_in_between() -> None:
    store = make_store()
    for number in range(1000):
        record(store, route=f"route-{number}", endpoint=f"p:{number}")
    pieces: list[str] = []
    for piece in render(store_families(store, ENDPOINTS), openmetrics=False):
        record(store, route=f"new-{len(pieces)}", endpoint=f"new:{len(pieces)}", outcome="shed")
        store.record_attempt(f"new:{len(pieces)}", "ok")
        pieces.append(piece)
    assert len(pieces) > 5
    assert all(piece.count("\n") < 1500 for piece in pieces)
    names = {found.name for found in parse_text("".join(pieces))}
    assert len(names) == len(ALL)


# -- values ---------------------------------------------------------------------------------


def test_requests_are_shown_by_route_protocol_and_outcome() -> None:
    store = make_used_store()
    name = "bitrouter_requests_total"
    assert value(store, name, route="default", protocol="chat", outcome="ok") == 1
    assert value(store, name, route="default", protocol="chat", outcome="timeout:first_byte") == 1
    assert value(store, name, route=OTHER, protocol="chat", outcome="client_error") == 1


def test_buckets_are_cumulative_and_end_with_all() -> None:
    store = make_store()
    for duration_s in (0.005, 0.3, 0.4, 7000.0):
        record(store, duration_s=duration_s)
    name = "bitrouter_request_duration_seconds"
    bucket = f"{name}_bucket"
    assert value(store, bucket, le="0.005") == 1
    assert value(store, bucket, le="0.25") == 1
    assert value(store, bucket, le="0.5") == 3
    assert value(store, bucket, le="600.0") == 3
    assert value(store, bucket, le="+Inf") == 4
    assert value(store, f"{name}_count") == 4
    assert value(store, f"{name}_sum") == pytest.approx(7000.705)


def test_overhead_is_shown_by_stage() -> None:
    store = make_used_store()
    assert value(store, "bitrouter_overhead_seconds_sum", stage="route") == 2e-4
    assert value(store, "bitrouter_overhead_seconds_sum", stage="relay") == 1e-4
    bucket = "bitrouter_overhead_seconds_bucket"
    assert value(store, bucket, stage="relay", le="5e-05") == 0
    assert value(store, bucket, stage="relay", le="0.0001") == 1


def test_only_streams_have_a_time_to_first_byte() -> None:
    store = make_used_store()
    assert value(store, "bitrouter_ttft_seconds_count") == 1
    assert value(store, "bitrouter_request_duration_seconds_count") == 3


def test_tokens_are_shown_by_kind() -> None:
    store = make_used_store()
    shown = {
        kind: value(store, "bitrouter_tokens_total", route="default", kind=kind)
        for kind in ("input", "output", "cached", "reasoning")
    }
    assert shown == {"input": 100, "output": 20, "cached": 60, "reasoning": 5}


def test_usage_and_cost_that_are_not_known_are_not_shown_as_zero() -> None:
    store = make_store()
    record(store, input_tokens=0)
    assert value(store, "bitrouter_tokens_total", route="default", kind="input") == 0
    assert value(store, "bitrouter_tokens_total", route="default", kind="output") is None
    assert value(store, "bitrouter_cost_usd_total", route="default") is None


def test_cost_is_shown_in_dollars() -> None:
    assert value(make_used_store(), "bitrouter_cost_usd_total", route="default") == 0.125


def test_endpoints_are_up_or_down() -> None:
    store = make_store()
    assert value(store, "bitrouter_endpoint_up", endpoint="openai:gpt-4o") == 1
    assert value(store, "bitrouter_endpoint_up", endpoint="acme:one") == 0
    assert value(store, "bitrouter_circuit_breaker_state", endpoint="acme:one") == 3


def test_breakers_that_never_opened_have_no_changes() -> None:
    store = make_used_store()
    store.record_attempt("acme:one", "ok")
    name = "bitrouter_circuit_breaker_changes_total"
    assert value(store, name, endpoint="openai:gpt-4o", state="open") == 1
    assert value(store, name, endpoint="openai:gpt-4o", state="closed") == 0
    assert value(store, name, endpoint="acme:one", state="open") is None


def test_attempts_inflight_reloads_and_lag_are_shown() -> None:
    store = make_used_store()
    attempts = "bitrouter_upstream_attempts_total"
    assert value(store, attempts, endpoint="openai:gpt-4o", result="ok") == 1
    assert value(store, "bitrouter_inflight_requests") == 3
    assert value(store, "bitrouter_config_reloads_total", result="ok") == 1
    assert value(store, "bitrouter_config_reloads_total", result="error") == 0
    assert value(store, "bitrouter_event_loop_lag_seconds_count") == 1
    assert value(store, "bitrouter_event_loop_lag_seconds_sum") == 0.003


def test_the_number_of_series_does_not_follow_the_labels_that_clients_send() -> None:
    store = MetricsStore(monotonic=lambda: 0.0, wall=lambda: 0.0, max_labels=5)

    def count_series() -> int:
        return len(samples(store))

    for number in range(10):
        record(store, route=f"route-{number}", endpoint=f"p:{number}", ttft_s=1.0)
        store.record_attempt(f"p:{number}", "ok")
    for number in range(100):
        store.record_attempt("p:0", f"word-{number}")
    bounded = count_series()
    for number in range(10, 1000):
        record(store, route=f"route-{number}", endpoint=f"p:{number}", ttft_s=1.0)
        store.record_attempt(f"p:{number}", "ok")
        store.record_attempt("p:0", f"word-{number}")
    assert count_series() == bounded


def test_no_module_imports_prometheus_client() -> None:
    script = (
        "import sys, bitrouter.metrics.exposition, bitrouter.metrics.snapshot; "
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
