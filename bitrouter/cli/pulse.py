"""How a running router is, on one line: what `systemctl status` shows at a glance."""

from collections import Counter, deque
from typing import Final

from bitrouter.app import Router
from bitrouter.errors import ConfigError
from bitrouter.metrics.store import NOT_ERRORS
from bitrouter.routing.breaker import State

_WINDOW_S: Final = 60.0
_SAMPLE_S: Final = 5.0
_MOST_NAMED: Final = 3


class Pulse:
    """Looks at a router from time to time, and says what has become of it lately.

    `refused` is the first problem of a configuration that was not taken, None once one was.
    Times are seconds of a clock that never goes back.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._samples: deque[tuple[float, Counter[str]]] = deque()
        self.refused: str | None = None

    def refuse(self, error: ConfigError) -> None:
        """Note that a configuration was not taken."""
        first = [str(problem) for problem in error.problems[:1]]
        self.refused = first[0] if first else "by an error of the router's own"

    def text(self, now: float) -> str:
        """The line. Names are those of the configuration; nothing in it is a client's."""
        services = self._router.services
        doing = "stopping" if services.draining else "serving"
        parts = [
            f"{doing} on {' and '.join(self._router.addresses)}",
            f"{services.metrics.inflight} requests running",
            self._lately(now),
            self._left_alone(),
            f"the last reload was refused, {self.refused}" if self.refused else "",
        ]
        return " · ".join(filter(None, parts))

    def _lately(self, now: float) -> str:
        total = self._total()
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, total))
        while len(self._samples) > 1 and now - self._samples[1][0] >= _WINDOW_S:
            self._samples.popleft()
        ended = total - self._samples[0][1]
        failed = Counter({name: n for name, n in ended.items() if name not in NOT_ERRORS})
        text = f"last minute: {ended.total():,} ended, {failed.total():,} failed"
        return f"{text} ({_most(failed)})" if failed else text

    def _total(self) -> Counter[str]:
        """Requests by outcome, since the start."""
        total: Counter[str] = Counter()
        for route in self._router.services.metrics.routes.values():
            for (_, outcome), count in route.requests.items():
                total[outcome] += count
        return total

    def _left_alone(self) -> str:
        """The endpoints that are not asked now, and why."""
        services = self._router.services
        states = {
            endpoint.key: services.state_of(endpoint.key)
            for endpoint in services.routes.current.endpoints()
        }
        ill = [key for key, state in states.items() if state is not State.CLOSED]
        if not ill:
            return ""
        named = ", ".join(f"{key} {states[key].value}" for key in ill[:_MOST_NAMED])
        more = f" and {len(ill) - _MOST_NAMED} more" if len(ill) > _MOST_NAMED else ""
        return f"left alone: {named}{more}"


def _most(failed: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in failed.most_common(_MOST_NAMED))
