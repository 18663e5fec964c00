"""What is counted and logged of attempts, and of the circuit breakers that they open and close."""

import logging
from typing import Final

from bitrouter.errors import (
    AnswerDiffers,
    BadResponse,
    ConnectFailed,
    Rejected,
    StreamRefused,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from bitrouter.metrics.store import OK, MetricsStore
from bitrouter.routing.breaker import State
from bitrouter.routing.table import Endpoint

_log: Final = logging.getLogger("bitrouter")

# Those that mean something to whoever looks; a provider could answer with any other.
_STATUSES: Final = frozenset({400, 401, 402, 403, 404, 408, 409, 413, 422, 429})


class AttemptLog:
    """One for all requests. See upstream.failover.Reporter."""

    def __init__(self, metrics: MetricsStore) -> None:
        self._metrics = metrics

    def attempted(self, endpoint: Endpoint, error: UpstreamError | None) -> None:
        """Count an attempt. What is the endpoint's failure is worth a line of its own."""
        if error is None:
            self._metrics.endpoint(endpoint.label).attempted(OK)
            return
        self._metrics.record_attempt(endpoint.label, attempt_result(error))
        if error.retryable:
            level = logging.ERROR if error.blames_router else logging.WARNING
            _log.log(level, "attempt at %s failed: %s", endpoint.key, error.logged)

    def repeated(self, endpoint: Endpoint) -> None:
        """It is asked again, after it failed."""
        self._metrics.endpoint(endpoint.label).retries += 1

    def passed_on(self, endpoint: Endpoint) -> None:
        """Another one is asked, after it failed."""
        self._metrics.endpoint(endpoint.label).failovers += 1

    def rescued(self, endpoint: Endpoint) -> None:
        """Another one goes on with its stream, which broke off."""
        self._metrics.endpoint(endpoint.label).rescues += 1

    def changed(self, endpoint: Endpoint, state: State) -> None:
        """Its circuit breaker is open, closed or half open now."""
        self._metrics.endpoint(endpoint.label).changes[state.value] += 1


def attempt_result(error: UpstreamError | None) -> str:
    """How an attempt is counted: a closed set of words."""
    match error:
        case None:
            return OK
        case Rejected(status=status) | StreamRefused(status=status):
            if status in _STATUSES:
                return str(status)
            return "5xx" if status >= 500 else "4xx"
        case UpstreamTimeout() | UpstreamBusy():
            return error.outcome
        case ConnectFailed():
            return "connect"
        case BadResponse():
            return "bad_response"
        case AnswerDiffers():
            return "differs"
        case UpstreamUnavailable():
            return "unavailable"
        case _:
            return "reset"
