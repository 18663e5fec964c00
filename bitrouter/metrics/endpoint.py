"""What is counted of one endpoint, over all routes that lead to it."""

from typing import Final

from bitrouter.metrics.families import labels

OTHER: Final = "other"

# What may become of a circuit breaker. A probe that fails opens it again.
CHANGES: Final = ("open", "half_open", "closed")

# The callers' words are a closed set. This holds should it turn out not to be.
_MAX_RESULTS: Final = 64


class EndpointMetrics:
    """Counters of one endpoint, with its label as the exposition writes it.

    `attempts` by how they ended; `retries` are those that repeated one at the same endpoint,
    `failovers` how often another was asked after this one, `rescues` how often another finished a
    stream of this one. `changes` of its circuit breaker by the state that it went to. `inflight`
    are the attempts that run, a stream's until it has ended.
    """

    __slots__ = ("attempts", "changes", "failovers", "inflight", "labels", "rescues", "retries")

    def __init__(self, label: str) -> None:
        self.labels = labels(endpoint=label)
        self.attempts: dict[str, int] = {}
        self.retries = 0
        self.failovers = 0
        self.rescues = 0
        self.changes = dict.fromkeys(CHANGES, 0)
        self.inflight = 0

    def attempted(self, result: str) -> None:
        """Count one attempt. `result` is ok or the word for the error."""
        attempts = self.attempts
        try:
            attempts[result] += 1
        except KeyError:
            if len(attempts) >= _MAX_RESULTS:
                result = OTHER
            attempts[result] = attempts.get(result, 0) + 1

    def ended(self) -> None:
        """One attempt less is running. A method, to be called back without making a closure."""
        self.inflight -= 1
