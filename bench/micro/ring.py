"""What metrics cost: counting a request, building the snapshot, answering a scrape.

Run from the top of the repository: `python -m bench.micro.ring`. Takes a few seconds; the best of
several rounds is shown, since other work on the machine only ever adds.
"""

import time
import timeit
from collections.abc import Callable
from functools import partial

import msgspec
from prometheus_client import generate_latest

from bitrouter import log
from bitrouter.config.schema import Provider
from bitrouter.ir import Usage
from bitrouter.metrics.exposition import EndpointNow, store_families
from bitrouter.metrics.families import join, render
from bitrouter.metrics.ring import CAPACITY, Ring
from bitrouter.metrics.snapshot import build_snapshot
from bitrouter.metrics.store import MetricsStore, Outcome
from bitrouter.routing.table import Endpoint, Route
from bitrouter.server.record import Recent, Record

ROUNDS = 7
ROUTES = 100
ENDPOINTS_PER_ROUTE = 2


def best_ns(call: Callable[[], object], calls: int) -> float:
    """Nanoseconds of one call, in the best of `ROUNDS` rounds of `calls` calls."""
    return min(timeit.repeat(call, number=calls, repeat=ROUNDS)) / calls * 1e9


def make_outcome(route: int, endpoint: int, duration_s: float) -> Outcome:
    """A streamed request with every figure known: the dearest to record."""
    return Outcome(
        route=f"route-{route}",
        endpoint=f"provider:model-{endpoint}",
        protocol="chat",
        outcome="ok",
        duration_s=duration_s,
        routed=True,
        ttft_s=duration_s / 4,
        overhead_route_s=0.0001,
        overhead_relay_s=0.00005,
        input_tokens=1200,
        output_tokens=350,
        cached_tokens=800,
        reasoning_tokens=100,
        cost_usd=0.0042,
    )


def make_busy_store() -> MetricsStore:
    """A store whose rings are all full, with latencies in no order."""
    store = MetricsStore(monotonic=time.monotonic, wall=lambda: 1_760_000_000.0)
    for route in range(ROUTES):
        for endpoint in range(ENDPOINTS_PER_ROUTE):
            for sample in range(CAPACITY):
                duration_s = (sample * 7919 + route) % 10_007 / 1000
                store.record(make_outcome(route, endpoint, duration_s))
    return store


def cold_snapshot_ns(store: MetricsStore) -> float:
    """Nanoseconds of a snapshot after every ring was written, in the best of `ROUNDS`."""
    rounds = []
    for _ in range(ROUNDS):
        for route in range(ROUTES):
            for endpoint in range(ENDPOINTS_PER_ROUTE):
                store.record(make_outcome(route, endpoint, 1.0))
        rounds.append(timeit.timeit(partial(build_snapshot, store), number=1) * 1e9)
    return min(rounds)


def show_writing(store: MetricsStore) -> None:
    """Print nanoseconds for each call that is made once a request."""
    least = Outcome(
        route="route-0",
        endpoint="provider:model-0",
        protocol="chat",
        outcome="ok",
        duration_s=1.5,
        routed=True,
    )
    most = make_outcome(0, 0, 1.5)
    for label, call in (
        ("Ring.record", partial(Ring().record, 1500)),
        ("MetricsStore.record, durations alone", partial(store.record, least)),
        ("MetricsStore.record, every figure known", partial(store.record, most)),
    ):
        print(f"{label:42}{best_ns(call, 50_000):9.0f} ns")


def ended_request() -> Record:
    """A whole answer, all of whose figures are known."""
    endpoint = Endpoint(Provider("provider", ("openai",), "http://127.0.0.1"), "model-0")
    record = Record("req_1", "chat")
    record.route, record.endpoint = Route("route-0", (endpoint,)), endpoint
    record.attempts, record.status, record.outcome = 1, 200, "ok"
    record.read_at = record.started_at + 0.0001
    record.called_at = record.read_at + 0.0001
    record.answered_at = record.called_at + 1.5
    record.usage = Usage(input_tokens=1200, output_tokens=350)
    return record


def show_accounts(store: MetricsStore) -> None:
    """Print nanoseconds for all that is done for the figures of one request."""
    record, recent = ended_request(), Recent(1000)
    counts = store.endpoint("provider:model-0")
    written: list[str] = []

    class Bin:
        def write(self, line: str) -> None:
            written[:] = (line,)

    def attempt() -> None:
        here = store.endpoint("provider:model-0")
        here.inflight += 1
        store.record_attempt("provider:model-0", "ok")
        counts.ended()

    log.listeners.clear()
    calls: list[tuple[str, Callable[[], object]]] = [
        ("one attempt", attempt),
        ("Record.tell, without a log", partial(record.tell, store)),
        ("Recent.add", partial(recent.add, record)),
    ]
    for label, call in calls:
        print(f"{label:42}{best_ns(call, 20_000):9.0f} ns")
    for log_format in ("text", "json"):
        log.listeners[:] = [log.RequestWriter(Bin(), log_format)]
        took_ns = best_ns(partial(record.tell, store), 5_000)
        print(f"{f'Record.tell, with a log as {log_format}':42}{took_ns:9.0f} ns")
    log.listeners.clear()


def show_reading(store: MetricsStore) -> None:
    """Print milliseconds for each way to read the store."""
    for route in range(ROUTES):
        for result in ("ok", "5xx", "timeout:first_byte"):
            for number in range(ENDPOINTS_PER_ROUTE):
                store.record_attempt(f"provider-{number}:model-{route}", result)
    now = [EndpointNow(label, True, 0) for label in store.endpoints]
    snapshot = build_snapshot(store)

    def scrape() -> bytes:
        return join(b"", render(store_families(store, now), openmetrics=False))

    def longest_piece_ns() -> float:
        pieces = render(store_families(store, now), openmetrics=False)
        longest, began = 0, time.perf_counter_ns()
        for _ in pieces:
            longest = max(longest, time.perf_counter_ns() - began)
            began = time.perf_counter_ns()
        return longest

    series = sum(not line.startswith(b"#") for line in scrape().splitlines())
    print(f"{ROUTES} routes, {len(now)} endpoints, {series} series:")
    for label, nanoseconds in (
        ("build_snapshot, every ring written", cold_snapshot_ns(store)),
        ("build_snapshot, no ring written", best_ns(partial(build_snapshot, store), 20)),
        ("snapshot to JSON", best_ns(partial(msgspec.json.encode, snapshot), 20)),
        ("the router's part of a scrape", best_ns(scrape, 5)),
        ("  its longest piece", min(longest_piece_ns() for _ in range(ROUNDS))),
        ("the process's part of a scrape", best_ns(generate_latest, 5)),
    ):
        print(f"{label:42}{nanoseconds / 1e6:9.2f} ms")


def main() -> None:
    """Print one line for each figure."""
    store = make_busy_store()
    show_writing(store)
    show_accounts(store)
    show_reading(store)


if __name__ == "__main__":
    main()
