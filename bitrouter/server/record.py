"""What is known of one request while it runs, told once when it has ended."""

from collections import deque
from collections.abc import Iterator
from time import perf_counter
from typing import Final

import msgspec

from bitrouter import log
from bitrouter.errors import RouterError
from bitrouter.exchange.cost import cost_usd
from bitrouter.ir import Usage
from bitrouter.metrics.store import CLIENT_GONE, MetricsStore, Outcome
from bitrouter.routing.table import OTHER, Endpoint, Route


class Notes(msgspec.Struct, gc=False):
    """What one attempt notes; that of the attempt that is answered goes into the record. Two of one
    request can run at a time. Times are seconds of the performance counter, 0 until then.
    """

    called_at: float = 0.0  # the upstream call began
    first_byte_at: float = 0.0  # the first byte of a stream came
    answered_at: float = 0.0  # the upstream's answer, or its first event, was there
    upstream_request_id: str | None = None


class Record(msgspec.Struct):
    """The account of one request. Times are seconds of the performance counter, 0 until then.

    `read_at`: the request's body is there; `called_at`: the upstream call of the attempt that was
    answered began; `first_byte_at`: the first byte of a stream came; `answered_at`: the upstream's
    answer, or its first event, was there. `gap_s` is the longest silence of a stream after its
    first event. `received` are bytes of the request's body, `sent` of the answer.
    """

    request_id: str
    protocol: str
    started_at: float = msgspec.field(default_factory=perf_counter)
    read_at: float = 0.0
    called_at: float = 0.0
    first_byte_at: float = 0.0
    answered_at: float = 0.0
    ended_at: float = 0.0
    gap_s: float | None = None
    received: int = 0
    sent: int = 0
    cost_usd: float | None = None
    route: Route | None = None
    endpoint: Endpoint | None = None
    attempts: int = 0
    status: int = 0
    stream: bool = False
    outcome: str = "internal_error"
    error: str | None = None
    usage: Usage | None = None
    key_id: str | None = None
    upstream_request_id: str | None = None

    def answered(self, notes: Notes) -> None:
        """The attempt that noted this is the one whose answer the client gets."""
        self.called_at = notes.called_at
        self.first_byte_at = notes.first_byte_at
        self.answered_at = notes.answered_at
        self.upstream_request_id = notes.upstream_request_id

    def failed(self, error: RouterError) -> None:
        """The request ends with `error`."""
        self.outcome = error.outcome
        self.error = error.logged

    def server_timing(self) -> str:
        """The Server-Timing header at the moment of commit, in milliseconds (contract.md, 3)."""
        route_ms = (self.called_at - self.started_at) * 1e3
        upstream_ms = (self.answered_at - self.called_at) * 1e3
        overhead_ms = (perf_counter() - self.started_at) * 1e3 - upstream_ms
        return (
            f"route;dur={route_ms:.3f}, upstream;dur={upstream_ms:.3f},"
            f" overhead;dur={overhead_ms:.3f}"
        )

    def silent_for(self, seconds: float) -> None:
        """An upstream's part of the stream has ended; so long was it silent at the longest."""
        self.gap_s = seconds if self.gap_s is None else max(self.gap_s, seconds)

    def tell(self, metrics: MetricsStore) -> None:
        """Count the request and log it. It has ended."""
        self.ended_at = ended_at = perf_counter()
        route, endpoint, usage = self.route, self.endpoint, self.usage
        # What not every request has is set one by one: to give all 18 by name takes 0.9 us.
        outcome = Outcome(
            route=route.label if route is not None else OTHER,
            endpoint=endpoint.label if endpoint is not None else None,
            protocol=self.protocol,
            outcome=self.outcome,
            duration_s=ended_at - self.started_at,
            routed=route is not None,
            received=self.received,
            sent=self.sent,
        )
        if self.called_at and self.attempts == 1:
            # After a failed attempt the time until the call began is not the router's own.
            outcome.overhead_route_s = self.called_at - self.read_at
        if self.answered_at:
            outcome.overhead_relay_s = ended_at - self.answered_at
        if self.first_byte_at:
            outcome.ttft_s = self.first_byte_at - self.started_at
            outcome.gap_s = self.gap_s
        if usage is not None:
            outcome.input_tokens = usage.input_tokens
            outcome.output_tokens = usage.output_tokens
            outcome.cached_tokens = usage.cached_tokens
            outcome.reasoning_tokens = usage.reasoning_tokens
        if route is not None and endpoint is not None:
            self.cost_usd = outcome.cost_usd = cost_usd(route, endpoint, usage)
        if self.outcome == CLIENT_GONE:
            outcome.phase = self._phase()
        metrics.record(outcome)
        if log.listeners:
            log.log_request(self.line())

    def _phase(self) -> str:
        """When the client left: one of `metrics.store.PHASES`."""
        if not self.read_at:
            return "upload"
        return "answer" if self.status else "waiting"

    def line(self) -> log.RequestLine:
        """What is said of the request when it has ended, but for the time."""
        endpoint = self.endpoint
        usage = self.usage or _NO_USAGE
        return log.RequestLine(
            request_id=self.request_id,
            protocol=self.protocol,
            route=self.route.name if self.route else None,
            provider=endpoint.provider.name if endpoint else None,
            model=endpoint.model_id if endpoint else None,
            attempts=self.attempts,
            status=self.status,
            outcome=self.outcome,
            stream=self.stream,
            ttft_ms=_ms(self.first_byte_at - self.started_at) if self.first_byte_at else None,
            duration_ms=_ms(self.ended_at - self.started_at),
            overhead_ms=self._overhead_ms(),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            cost_usd=self.cost_usd,
            key_id=self.key_id,
            upstream_request_id=self.upstream_request_id,
            error=self.error,
        )

    def _overhead_ms(self) -> float | None:
        """All but the upstream's time. Of a stream, whose relaying goes on while the upstream does,
        what was before the call.
        """
        if not (self.called_at and self.answered_at):
            return None
        if self.stream:
            return _ms(self.called_at - self.started_at)
        return _ms(self.ended_at - self.started_at - (self.answered_at - self.called_at))


def count_stray(metrics: MetricsStore, error: RouterError) -> None:
    """Count a request that never became one of a protocol: it ended with `error` at once."""
    metrics.record(
        Outcome(
            route=OTHER,
            endpoint=None,
            protocol=OTHER,
            outcome=error.outcome,
            duration_s=0.0,
            routed=False,
        )
    )


_NO_USAGE: Final = Usage()


def _ms(seconds: float) -> float:
    return int(seconds * 1e6 + 0.5) / 1e3  # `round` takes four times as long


class Recent:
    """The `size` requests that ended last.

    Their accounts are kept as they are, because keeping one takes 30 ns, and making a line of it a
    hundred times as much, which nobody may ever ask for.
    """

    __slots__ = ("_records",)

    def __init__(self, size: int) -> None:
        self._records: deque[Record] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> None:
        """Keep the account of a request that has ended, in place of the oldest."""
        self._records.append(record)

    def resize(self, size: int) -> None:
        """Keep so many from now on, of those that are there the newest."""
        if size != self._records.maxlen:
            self._records = deque(self._records, maxlen=size)

    def newest_first(self) -> Iterator[Record]:
        """All of them. To be read without a pause."""
        return reversed(self._records)
