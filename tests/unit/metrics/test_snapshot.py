"""The snapshot is the MetricsSnapshot of the API document."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from bitrouter.metrics.endpoint import OTHER
from bitrouter.metrics.snapshot import build_snapshot
from bitrouter.metrics.store import MetricsStore, Outcome

# The properties of MetricsSnapshot, RouteSnapshot and EndpointSnapshot in the API document. There
# none is required; `required` are those that do not depend on a figure being known.
ENDPOINT_TYPES = {
    "total_requests": int,
    "total_errors": int,
    "latency_p50_ms": int,
    "latency_p99_ms": int,
}
ROUTE_TYPES = {
    **ENDPOINT_TYPES,
    "error_rate": float,
    "avg_input_tokens": int,
    "avg_output_tokens": int,
    "last_used": int,
    "by_endpoint": dict,
}


def make_store(uptime_s: float = 0.0, wall: float = 1_760_000_000.9) -> MetricsStore:
    times = iter([0.0])
    return MetricsStore(monotonic=lambda: next(times, uptime_s), wall=lambda: wall)


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


def read(store: MetricsStore) -> Any:
    """The snapshot as a client gets it."""
    return json.loads(msgspec.json.encode(build_snapshot(store)))


def check_types(document: dict[str, Any], types: Mapping[str, type]) -> None:
    for name, value in document.items():
        assert type(value) is types[name], name


def test_the_snapshot_of_a_new_store_has_no_routes() -> None:
    assert read(make_store()) == {"uptime_seconds": 0, "routes": {}}


def test_uptime_is_in_whole_seconds() -> None:
    assert read(make_store(uptime_s=61.9))["uptime_seconds"] == 61


def test_one_request_shows_in_every_figure() -> None:
    store = make_store()
    record(store, duration_s=1.25, input_tokens=100, output_tokens=20)
    assert read(store)["routes"] == {
        "default": {
            "total_requests": 1,
            "total_errors": 0,
            "error_rate": 0.0,
            "latency_p50_ms": 1250,
            "latency_p99_ms": 1250,
            "avg_input_tokens": 100,
            "avg_output_tokens": 20,
            "last_used": 1_760_000_000,
            "by_endpoint": {
                "openai:gpt-4o": {
                    "total_requests": 1,
                    "total_errors": 0,
                    "latency_p50_ms": 1250,
                    "latency_p99_ms": 1250,
                }
            },
        }
    }


def test_names_and_types_are_those_of_the_document() -> None:
    store = make_store()
    record(store, route="full", input_tokens=1, output_tokens=2)
    record(store, route="full", outcome="upstream_error", endpoint="acme:one")
    record(store, route="bare", endpoint=None)
    document = read(store)
    assert {name: type(value) for name, value in document.items()} == {
        "uptime_seconds": int,
        "routes": dict,
    }
    assert set(document["routes"]["full"]) == set(ROUTE_TYPES)
    for route in document["routes"].values():
        check_types(route, ROUTE_TYPES)
        for endpoint in route["by_endpoint"].values():
            assert set(endpoint) == set(ENDPOINT_TYPES)
            check_types(endpoint, ENDPOINT_TYPES)


def test_token_averages_are_absent_while_no_usage_is_known() -> None:
    store = make_store()
    record(store)
    route = read(store)["routes"]["default"]
    assert set(ROUTE_TYPES) - set(route) == {"avg_input_tokens", "avg_output_tokens"}


def test_each_token_average_is_over_the_requests_that_know_it() -> None:
    store = make_store()
    record(store, input_tokens=10, output_tokens=7)
    record(store)
    record(store, input_tokens=20)
    route = read(store)["routes"]["default"]
    assert (route["avg_input_tokens"], route["avg_output_tokens"]) == (15, 7)


@pytest.mark.parametrize(
    ("tokens", "average"), [((1, 2), 2), ((1, 1, 2), 1), ((0, 0), 0), ((2, 2, 1), 2)]
)
def test_token_averages_are_rounded_half_up(tokens: tuple[int, ...], average: int) -> None:
    store = make_store()
    for count in tokens:
        record(store, input_tokens=count)
    assert read(store)["routes"]["default"]["avg_input_tokens"] == average


@pytest.mark.parametrize(
    ("duration_s", "latency_ms"),
    [
        (0.0, 0),
        (0.000499, 0),
        (0.0005, 1),
        (0.0145, 15),
        (0.5005, 501),
        (1.9994, 1999),
        (600, 600_000),
    ],
)
def test_latencies_are_rounded_half_up_to_milliseconds(duration_s: float, latency_ms: int) -> None:
    store = make_store()
    record(store, duration_s=duration_s)
    assert read(store)["routes"]["default"]["latency_p50_ms"] == latency_ms


def test_percentiles_are_by_nearest_rank() -> None:
    store = make_store()
    for milliseconds in range(1, 201):
        record(store, duration_s=milliseconds / 1000)
    route = read(store)["routes"]["default"]
    assert (route["latency_p50_ms"], route["latency_p99_ms"]) == (100, 198)


def test_the_error_rate_leaves_out_clients_that_left() -> None:
    store = make_store()
    for outcome in ("ok", "client_gone", "upstream_error", "timeout:idle"):
        record(store, outcome=outcome)
    route = read(store)["routes"]["default"]
    assert (route["total_requests"], route["total_errors"], route["error_rate"]) == (4, 2, 0.5)


def test_endpoints_are_told_apart_within_a_route() -> None:
    store = make_store()
    record(store, endpoint="openai:gpt-4o", duration_s=1.0)
    record(store, endpoint="openai:gpt-4o", duration_s=3.0)
    record(store, endpoint="acme:one", duration_s=2.0, outcome="truncated")
    assert read(store)["routes"]["default"]["by_endpoint"] == {
        "openai:gpt-4o": {
            "total_requests": 2,
            "total_errors": 0,
            "latency_p50_ms": 1000,
            "latency_p99_ms": 3000,
        },
        "acme:one": {
            "total_requests": 1,
            "total_errors": 1,
            "latency_p50_ms": 2000,
            "latency_p99_ms": 2000,
        },
    }


def test_requests_that_were_not_routed_do_not_appear() -> None:
    store = make_store()
    record(store, route=OTHER, endpoint=None, routed=False, outcome="client_error")
    assert read(store)["routes"] == {}


def test_a_route_named_other_does_not_show_what_was_not_routed() -> None:
    store = make_store()
    record(store, route=OTHER, endpoint=None, routed=False, outcome="client_error")
    record(store, route=OTHER)
    route = read(store)["routes"][OTHER]
    assert (route["total_requests"], route["total_errors"]) == (1, 0)


def test_the_total_of_all_routes_is_the_number_of_routed_requests() -> None:
    store = make_store()
    for number in range(30):
        record(store, route=f"route-{number % 4}", endpoint=f"p:{number % 3}")
    routes = read(store)["routes"].values()
    assert sum(route["total_requests"] for route in routes) == 30
    for route in routes:
        endpoints = route["by_endpoint"].values()
        assert sum(e["total_requests"] for e in endpoints) == route["total_requests"]


def test_a_snapshot_does_not_change_afterwards() -> None:
    store = make_store()
    record(store)
    snapshot = build_snapshot(store)
    before = msgspec.json.encode(snapshot)
    record(store)
    record(store, route="second")
    assert msgspec.json.encode(snapshot) == before
