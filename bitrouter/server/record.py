"""What is known of one request while it runs, told once when it has ended."""

from time import perf_counter

from bitrouter import log
from bitrouter.errors import RouterError
from bitrouter.exchange.cost import cost_usd
from bitrouter.ir import Usage
from bitrouter.metrics.store import MetricsStore, Outcome
from bitrouter.routing.table import OTHER, Endpoint, Route


class Record:
    """The account of one request. Times are seconds of the performance counter."""

    __slots__ = (
        "answered_at",
        "attempts",
        "called_at",
        "endpoint",
        "error",
        "first_byte_at",
        "key_id",
        "outcome",
        "protocol",
        "read_at",
        "request_id",
        "route",
        "started_at",
        "status",
        "stream",
        "upstream_request_id",
        "usage",
    )

    def __init__(self, request_id: str, protocol: str) -> None:
        self.request_id = request_id
        self.protocol = protocol
        self.started_at = perf_counter()
        self.read_at = 0.0  # the request's body is there
        self.called_at = 0.0  # the upstream call of the attempt that was answered began
        self.first_byte_at = 0.0  # the first byte of a stream came
        self.answered_at = 0.0  # the upstream's answer, or its first event, was there
        self.route: Route | None = None
        self.endpoint: Endpoint | None = None
        self.attempts = 0
        self.status = 0
        self.stream = False
        self.outcome = "internal_error"
        self.error: str | None = None
        self.usage: Usage | None = None
        self.key_id: str | None = None
        self.upstream_request_id: str | None = None

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

    def tell(self, metrics: MetricsStore) -> None:
        """Count the request and log it. It has ended."""
        ended_at = perf_counter()
        cost = None
        if self.route is not None and self.endpoint is not None:
            cost = cost_usd(self.route, self.endpoint, self.usage)
        usage = self.usage or Usage()
        metrics.record(
            Outcome(
                route=self.route.label if self.route else OTHER,
                endpoint=self.endpoint.label if self.endpoint else None,
                protocol=self.protocol,
                outcome=self.outcome,
                duration_s=ended_at - self.started_at,
                routed=self.route is not None,
                ttft_s=self.first_byte_at - self.started_at if self.first_byte_at else None,
                overhead_route_s=self.called_at - self.read_at if self.called_at else None,
                overhead_relay_s=ended_at - self.answered_at if self.answered_at else None,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                reasoning_tokens=usage.reasoning_tokens,
                cost_usd=cost,
            )
        )
        if log.listeners:
            log.log_request(self._line(ended_at, usage, cost))

    def _line(self, ended_at: float, usage: Usage, cost: float | None) -> log.RequestLine:
        endpoint = self.endpoint
        overhead = None
        if self.called_at and self.answered_at and not self.stream:
            upstream = self.answered_at - self.called_at
            overhead = _ms(ended_at - self.started_at - upstream)
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
            duration_ms=_ms(ended_at - self.started_at),
            overhead_ms=overhead,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            cost_usd=cost,
            key_id=self.key_id,
            upstream_request_id=self.upstream_request_id,
            error=self.error,
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
