"""What the store counts for a finished request, and that its size is bounded."""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.metrics.endpoint import OTHER
from bitrouter.metrics.histogram import LATENCY_BOUNDS_S, Histogram
from bitrouter.metrics.store import (
    MAX_COST_USD,
    MAX_OUTCOMES,
    MAX_TOKENS,
    OUTCOMES,
    PHASES,
    MetricsStore,
    Outcome,
)


def make_store(max_labels: int = 100, wall: Callable[[], float] = lambda: 0.0) -> MetricsStore:
    return MetricsStore(monotonic=lambda: 0.0, wall=wall, max_labels=max_labels)


def make_outcome(**fields: Any) -> Outcome:
    complete = {
        "route": "default",
        "endpoint": "openai:gpt-4o",
        "protocol": "chat",
        "outcome": "ok",
        "duration_s": 1.0,
        "routed": True,
    }
    return Outcome(**{**complete, **fields})


def attempts_of(store: MetricsStore) -> dict[tuple[str, str], int]:
    """Every attempt that was counted, by endpoint and result."""
    return {
        (label, result): count
        for label, endpoint in store.endpoints.items()
        for result, count in endpoint.attempts.items()
    }


outcomes = st.builds(
    make_outcome,
    route=st.sampled_from(["a", "b", OTHER]),
    endpoint=st.sampled_from([None, "p:m", "p:n"]),
    protocol=st.sampled_from(["chat", "responses", "anthropic", "google"]),
    outcome=st.sampled_from(OUTCOMES),
    duration_s=st.floats(0, 4000),
    routed=st.booleans(),
)


# -- one request, one outcome ---------------------------------------------------------------


@given(st.lists(outcomes, max_size=40))
def test_every_request_is_counted_under_exactly_one_outcome(recorded: list[Outcome]) -> None:
    store = make_store()
    for outcome in recorded:
        store.record(outcome)
    counted = {
        (label, *key): count
        for label, route in store.routes.items()
        for key, count in route.requests.items()
    }
    assert counted == Counter((o.route, o.protocol, o.outcome) for o in recorded)


@given(st.lists(outcomes, max_size=40))
def test_the_sums_of_a_route_agree(recorded: list[Outcome]) -> None:
    store = make_store()
    for outcome in recorded:
        store.record(outcome)
    for label, route in store.routes.items():
        mine = [o for o in recorded if o.route == label]
        assert sum(route.requests.values()) == len(mine)
        routed = [o for o in mine if o.routed]
        assert (route.routed.total_requests if route.routed else 0) == len(routed)
        assert sum(tally.total_requests for tally in route.by_endpoint.values()) == sum(
            o.endpoint is not None for o in routed
        )


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_all_but_ok_and_a_client_that_left_are_errors(outcome: str) -> None:
    store = make_store()
    store.record(make_outcome(outcome=outcome))
    route = store.routes["default"]
    errors = 0 if outcome in ("ok", "client_gone") else 1
    assert route.routed is not None
    assert route.routed.total_errors == errors
    assert route.by_endpoint["openai:gpt-4o"].total_errors == errors


def test_a_request_that_reached_no_endpoint_counts_for_its_route_alone() -> None:
    store = make_store()
    store.record(make_outcome(endpoint=None, outcome="shed"))
    route = store.routes["default"]
    assert route.routed is not None
    assert route.routed.total_requests == 1
    assert route.by_endpoint == {}


def test_a_request_that_was_not_routed_has_no_tally() -> None:
    store = make_store()
    store.record(make_outcome(route=OTHER, endpoint=None, outcome="client_error", routed=False))
    route = store.routes[OTHER]
    assert route.requests == {("chat", "client_error"): 1}
    assert route.routed is None


def test_the_last_use_is_the_wall_clock_of_the_newest_request() -> None:
    times = iter([100.0, 250.0])
    store = make_store(wall=lambda: next(times))
    store.record(make_outcome())
    store.record(make_outcome())
    assert store.routes["default"].last_used == 250.0


# -- durations ------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 10_000), max_size=50))
def test_a_histogram_counts_each_sample_in_its_bucket(samples: list[float]) -> None:
    histogram = Histogram(LATENCY_BOUNDS_S)
    for sample in samples:
        histogram.observe(sample)
    at_most = [sum(s <= bound for s in samples) for bound in LATENCY_BOUNDS_S]
    cumulative = [sum(histogram.counts[: i + 1]) for i in range(len(LATENCY_BOUNDS_S))]
    assert cumulative == at_most
    assert sum(histogram.counts) == len(samples)
    assert histogram.sum_s == pytest.approx(sum(samples))


def test_each_duration_goes_to_its_own_histogram() -> None:
    store = make_store()
    store.record(
        make_outcome(duration_s=8.0, ttft_s=0.5, overhead_route_s=2e-4, overhead_relay_s=1e-4)
    )
    assert store.duration.sum_s == 8.0
    assert store.ttft.sum_s == 0.5
    assert store.overhead_route.sum_s == 2e-4
    assert store.overhead_relay.sum_s == 1e-4


def test_durations_that_are_not_known_are_not_counted() -> None:
    store = make_store()
    store.record(make_outcome())
    assert sum(store.ttft.counts) == 0
    assert sum(store.overhead_route.counts) == sum(store.overhead_relay.counts) == 0


# -- usage and cost -------------------------------------------------------------------------


def test_usage_is_summed_over_the_requests_that_know_it() -> None:
    store = make_store()
    store.record(make_outcome(input_tokens=10, output_tokens=5, cached_tokens=0))
    store.record(make_outcome())
    store.record(make_outcome(input_tokens=30, reasoning_tokens=7))
    route = store.routes["default"]
    assert (route.input.tokens, route.input.requests) == (40, 2)
    assert (route.output.tokens, route.output.requests) == (5, 1)
    assert (route.cached.tokens, route.cached.requests) == (0, 1)
    assert (route.reasoning.tokens, route.reasoning.requests) == (7, 1)


def test_a_cost_that_is_not_known_is_not_zero() -> None:
    store = make_store()
    store.record(make_outcome())
    assert store.routes["default"].cost_usd is None
    store.record(make_outcome(cost_usd=0.25))
    store.record(make_outcome(cost_usd=0.5))
    assert store.routes["default"].cost_usd == 0.75


@pytest.mark.parametrize("tokens", [-1, MAX_TOKENS + 1, 10**400])
@pytest.mark.parametrize("kind", ["input", "output", "cached", "reasoning"])
def test_a_senseless_number_of_tokens_is_as_good_as_none(kind: str, tokens: int) -> None:
    store = make_store()
    store.record(make_outcome(**{f"{kind}_tokens": tokens}))
    assert getattr(store.routes["default"], kind).requests == 0


@pytest.mark.parametrize("cost_usd", [-0.01, MAX_COST_USD * 2, float("inf"), float("nan")])
def test_a_senseless_cost_is_as_good_as_none(cost_usd: float) -> None:
    store = make_store()
    store.record(make_outcome(cost_usd=cost_usd))
    assert store.routes["default"].cost_usd is None


# -- attempts, reloads, loop lag ------------------------------------------------------------


def test_attempts_are_counted_by_endpoint_and_result() -> None:
    store = make_store()
    for result in ("ok", "connect", "ok"):
        store.record_attempt("openai:gpt-4o", result)
    assert attempts_of(store) == {("openai:gpt-4o", "ok"): 2, ("openai:gpt-4o", "connect"): 1}


def test_a_removed_endpoint_that_comes_back_is_not_confused_by_what_still_runs() -> None:
    store = make_store()
    before = store.endpoint("p:m")
    before.inflight += 1
    store.retain(routes=[], endpoints=[])
    after = store.endpoint("p:m")
    after.inflight += 1
    before.ended()
    assert after.inflight == 1


@pytest.mark.parametrize("phase", PHASES)
def test_when_a_client_left_is_counted(phase: str) -> None:
    store = make_store()
    store.record(make_outcome(outcome="client_gone", phase=phase))
    assert store.left == {one: int(one == phase) for one in PHASES}


def test_bytes_are_counted_for_their_route() -> None:
    store = make_store()
    for received, sent in ((10, 300), (20, 400)):
        store.record(make_outcome(received=received, sent=sent))
    route = store.routes["default"]
    assert (route.received, route.sent) == (30, 700)


def test_reloads_are_there_before_the_first_one() -> None:
    store = make_store()
    assert store.reloads == {"ok": 0, "error": 0}
    store.record_reload("error")
    assert store.reloads == {"ok": 0, "error": 1}


def test_an_unknown_result_of_a_reload_is_counted_as_other() -> None:
    store = make_store()
    for result in ("tuesday", "wednesday"):
        store.record_reload(result)
    assert store.reloads == {"ok": 0, "error": 0, OTHER: 2}


def test_loop_lag_is_counted() -> None:
    store = make_store()
    store.record_loop_lag(0.002)
    assert sum(store.loop_lag.counts) == 1
    assert store.loop_lag.sum_s == 0.002


def test_uptime_starts_with_the_store() -> None:
    times = iter([1000.0, 1012.5])
    store = MetricsStore(monotonic=lambda: next(times), wall=lambda: 0.0)
    assert store.uptime_s() == 12.5


# -- bounds ---------------------------------------------------------------------------------


def test_nothing_is_kept_for_a_route_before_its_first_request() -> None:
    assert make_store().routes == {}


def test_routes_beyond_the_bound_are_counted_as_other() -> None:
    store = make_store(max_labels=3)
    for number in range(10):
        store.record(make_outcome(route=f"route-{number}"))
    assert set(store.routes) == {"route-0", "route-1", "route-2", OTHER}
    assert store.routes[OTHER].requests == {("chat", "ok"): 7}


def test_endpoints_beyond_the_bound_are_counted_as_other() -> None:
    store = make_store(max_labels=3)
    for number in range(10):
        store.record(make_outcome(endpoint=f"p:{number}"))
    by_endpoint = store.routes["default"].by_endpoint
    assert set(by_endpoint) == {"p:0", "p:1", "p:2", OTHER}
    assert by_endpoint[OTHER].total_requests == 7


def test_the_bound_of_endpoints_holds_over_all_routes() -> None:
    store = make_store(max_labels=4)
    for number in range(20):
        store.record(make_outcome(route=f"route-{number % 2}", endpoint=f"p:{number}"))
    kept = [label for route in store.routes.values() for label in route.by_endpoint]
    assert sorted(kept) == [OTHER, OTHER, "p:0", "p:1", "p:2", "p:3"]


def test_outcomes_beyond_the_bound_are_counted_as_other() -> None:
    store = make_store()
    for number in range(MAX_OUTCOMES + 10):
        store.record(make_outcome(outcome=f"word-{number}"))
    requests = store.routes["default"].requests
    assert len(requests) == MAX_OUTCOMES + 1
    assert requests[OTHER, OTHER] == 10
    store.record(make_outcome(route="second", outcome="word-0"))
    assert store.routes["second"].requests == {("chat", "word-0"): 1}


def test_attempts_beyond_the_bound_are_counted_as_other() -> None:
    store = make_store(max_labels=3)
    for number in range(10):
        store.record_attempt(f"p:{number}", "ok")
    assert len(store.endpoints) == 4
    assert attempts_of(store)[OTHER, "ok"] == 7


def test_results_beyond_the_bound_are_counted_as_other() -> None:
    store = make_store()
    for number in range(100):
        store.record_attempt("p:m", f"word-{number}")
    attempts = store.endpoint("p:m").attempts
    assert sum(attempts.values()) == 100
    assert attempts[OTHER] == 100 - (len(attempts) - 1) > 10


def test_what_is_not_retained_is_forgotten() -> None:
    store = make_store()
    for route in ("kept", "removed", OTHER):
        for endpoint in ("p:kept", "p:removed"):
            store.record(make_outcome(route=route, endpoint=endpoint))
            store.record_attempt(endpoint, "ok")
    kept = store.routes["kept"]
    store.retain(routes=["kept", "never used"], endpoints=["p:kept"])
    assert set(store.routes) == {"kept", OTHER}
    assert store.routes["kept"] is kept
    assert set(kept.by_endpoint) == {"p:kept"}
    assert set(store.endpoints) == {"p:kept"}
    assert sum(kept.requests.values()) == 2


def test_what_was_forgotten_makes_room() -> None:
    store = make_store(max_labels=1)
    store.record(make_outcome(route="old", endpoint="p:old"))
    store.retain(routes=["new"], endpoints=["p:new"])
    store.record(make_outcome(route="new", endpoint="p:new"))
    assert set(store.routes) == {"new"}
    assert set(store.routes["new"].by_endpoint) == {"p:new"}


def test_recording_does_not_make_the_store_grow() -> None:
    store = make_store()
    known = [
        make_outcome(
            duration_s=number / 7,
            ttft_s=number / 70,
            overhead_route_s=1e-4,
            overhead_relay_s=1e-4,
            input_tokens=1000 + number,
            output_tokens=300 + number,
            cached_tokens=10,
            reasoning_tokens=20,
            cost_usd=0.01,
        )
        for number in range(100)
    ]

    def record_all(times: int) -> None:
        for _ in range(times):
            for outcome in known:
                store.record(outcome)
                store.record_attempt("openai:gpt-4o", "ok")
                store.record_loop_lag(0.001)

    record_all(20)
    gc.collect()
    tracemalloc.start()
    try:
        record_all(100)
        gc.collect()
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 10,000 samples. What is seen are the newest values of some twenty counters and sums.
    assert grown_bytes < 4096
