"""Which endpoints are left alone for a while, because they fail or said that they want rest.

One breaker for each endpoint that has failed lately; nothing is kept for the others. It opens after
failures in a row, or when half of what it was asked lately failed; after a pause one request is let
through as a probe, and closes it again by being answered. Time is an argument, in seconds of a
clock that never goes back. Source: reliability.md, section 4.
"""

import copy
import enum
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from bitrouter.config.schema import CircuitBreaker

_log: Final = logging.getLogger("bitrouter")

_MAX_PAUSE_S: Final = 120.0
_MAX_COOLDOWNS: Final = 1e6
_MAX_REST_S: Final = 120.0  # after that it is asked whether it still wants rest
_WINDOW_S: Final = 30.0
_BUCKETS: Final = 6
_MIN_SAMPLES: Final = 20
_RAMP_S: Final = 5.0  # how long the load takes to come back after it closed
_FORGET_S: Final = 600.0  # how long it stays closed before its next pause is the shortest again
_MAX_KEPT: Final = 10_000


class State(enum.Enum):
    """What is known of an endpoint, from the best to the worst."""

    CLOSED = "closed"
    RESTING = "resting"  # it said that it is asked too often, or refuses the router's own key
    HALF_OPEN = "half_open"
    OPEN = "open"


class Admission(enum.Enum):
    """Whether an endpoint may be asked; `PROBE` is the one request that finds out if it is back."""

    REFUSED = enum.auto()
    GRANTED = enum.auto()
    PROBE = enum.auto()


class _Breaker:
    """The state of one endpoint."""

    __slots__ = (
        "closed_at",
        "cooldowns",
        "in_a_row",
        "open_until",
        "probing",
        "ramped",
        "refused_until",
        "rest_until",
        "window",
    )

    def __init__(self) -> None:
        self.in_a_row = 0
        self.cooldowns = 1.0  # the next pause, as a multiple of the shortest
        self.open_until: float | None = None  # None while closed
        self.probing = False
        self.closed_at: float | None = None
        self.ramped = 0.0
        self.rest_until = 0.0  # others go first
        self.refused_until = 0.0  # it is not asked at all
        self.window: list[tuple[int, int, int]] = []  # bucket number, asked, failed


class Breakers:
    """All endpoints, by their key. `settings` gives those of the moment, for a reload changes them.

    Every `admit` that did not refuse is followed by one of `answered`, `failed` and `left`, which
    are told what it said. How an answer ended is told by `succeeded` or `failed`: a stream may
    break off long after it began.
    """

    def __init__(self, settings: Callable[[], CircuitBreaker]) -> None:
        self._settings = settings
        self._breakers: OrderedDict[str, _Breaker] = OrderedDict()

    def twin(self, keys: Iterable[str]) -> "Breakers":
        """Other ones that stand where those of `keys` do: to see whom the next request asks."""
        other = Breakers(self._settings)
        for key in keys:
            if (breaker := self._breakers.get(key)) is not None:
                other._breakers[key] = copy.copy(breaker)
        return other

    def admit(self, key: str, now: float) -> Admission:
        """Whether the endpoint may be asked now. If it is half open, this is its one probe."""
        breaker = self._breakers.get(key)
        if breaker is None:
            return Admission.GRANTED
        if now < breaker.refused_until:
            return Admission.REFUSED
        if breaker.open_until is None:
            return Admission.GRANTED
        if now < breaker.open_until or breaker.probing:
            return Admission.REFUSED
        breaker.probing = True
        return Admission.PROBE

    def is_unknown(self, key: str) -> bool:
        """Whether nothing is kept of the endpoint: it may be asked, and as the first."""
        return key not in self._breakers

    def prefers_not(self, key: str, now: float) -> bool:
        """Whether another endpoint should be asked first: this one rests, or has just recovered
        and gets its load back little by little.
        """
        breaker = self._breakers.get(key)
        if breaker is None:
            return False
        if now < breaker.rest_until:
            return True
        if breaker.closed_at is None:
            return False
        share = (now - breaker.closed_at) / _RAMP_S
        if share >= 1:
            return False
        breaker.ramped += share
        if breaker.ramped < 1:
            return True
        breaker.ramped -= 1
        return False

    def answered(self, key: str, now: float, admission: Admission) -> bool:
        """It has begun to answer. That closes the breaker if this is its probe, and its next pause
        is half as long: whether it did.
        """
        if admission is not Admission.PROBE:
            return False
        breaker = self._breakers.get(key)
        if breaker is None or breaker.open_until is None:
            return False  # a reload has replaced the endpoint since
        breaker.open_until = None
        breaker.probing = False
        breaker.in_a_row = 0
        breaker.closed_at = now
        breaker.ramped = 0.0
        breaker.window.clear()
        breaker.cooldowns = max(breaker.cooldowns / 2, 1.0)
        _log.info("%s answers again: the circuit breaker is closed", key)
        return True

    def succeeded(self, key: str, now: float) -> None:
        """An answer of it came to its end as it should."""
        breaker = self._breakers.get(key)
        if breaker is None or breaker.open_until is not None:
            return  # what began before it opened does not show that it is back
        breaker.in_a_row = 0
        _, failures = _count(breaker, now, failed=False)
        if not failures and self._is_over(breaker, now):
            del self._breakers[key]

    def failed(self, key: str, now: float, admission: Admission = Admission.GRANTED) -> bool:
        """It did not answer as it should, or broke off. Whether that opens the breaker, for the
        first time or again.
        """
        breaker = self._kept(key)
        if breaker.open_until is not None:
            if admission is Admission.PROBE:
                breaker.probing = False
                breaker.cooldowns = min(breaker.cooldowns * 2, _MAX_COOLDOWNS)
                breaker.open_until = now + self._pause_s(breaker)
            return admission is Admission.PROBE
        breaker.in_a_row += 1
        asked, failures = _count(breaker, now, failed=True)
        too_many = asked >= _MIN_SAMPLES and failures * 2 >= asked
        if breaker.in_a_row < self._settings().failures and not too_many:
            return False
        pause_s = self._pause_s(breaker)
        breaker.open_until = now + pause_s
        _log.warning(
            "%s is left alone for %g s: the circuit breaker is open, after %d failures in a row"
            " and %d among the last %d answers",
            *(key, pause_s, breaker.in_a_row, failures, asked),
        )
        return True

    def left(self, key: str, admission: Admission) -> None:
        """Nobody waits for its answer any more, or that says nothing of it."""
        if admission is Admission.PROBE and (breaker := self._breakers.get(key)) is not None:
            breaker.probing = False

    def rest(self, key: str, now: float, for_s: float, *, firm: bool) -> None:
        """It wants to be left alone. `firm`: it said for how long; otherwise only others go first.

        A rest is at most two minutes, whatever it said.
        """
        breaker = self._kept(key)
        until = now + min(for_s, _MAX_REST_S)
        breaker.rest_until = max(breaker.rest_until, until)
        if firm:
            breaker.refused_until = max(breaker.refused_until, until)

    def wait_s(self, key: str, now: float) -> float:
        """Seconds until it may be asked again; 0 if it may be now, or is being probed."""
        breaker = self._breakers.get(key)
        if breaker is None:
            return 0.0
        return max(breaker.refused_until - now, (breaker.open_until or 0.0) - now, 0.0)

    def state(self, key: str, now: float) -> State:
        """The state of an endpoint, for those who look."""
        breaker = self._breakers.get(key)
        if breaker is None:
            return State.CLOSED
        if breaker.open_until is not None:
            return State.OPEN if now < breaker.open_until else State.HALF_OPEN
        return State.RESTING if now < breaker.rest_until else State.CLOSED

    def retain(self, is_kept: Callable[[str], bool]) -> None:
        """Forget the endpoints that are not kept."""
        for key in [key for key in self._breakers if not is_kept(key)]:
            del self._breakers[key]

    def _kept(self, key: str) -> _Breaker:
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = _Breaker()
            if len(self._breakers) > _MAX_KEPT:  # names that anybody can make up
                self._breakers.popitem(last=False)
        return breaker

    def _is_over(self, breaker: _Breaker, now: float) -> bool:
        """Whether nothing of what is kept has an effect any more."""
        if now < breaker.rest_until:
            return False
        if breaker.closed_at is None:
            return True
        return now - breaker.closed_at > (_RAMP_S if breaker.cooldowns == 1 else _FORGET_S)

    def _pause_s(self, breaker: _Breaker) -> float:
        """How long it is left alone now: the cooldown or a multiple, at most two minutes unless
        the cooldown itself is longer.
        """
        cooldown = self._settings().cooldown
        if cooldown * breaker.cooldowns > _MAX_PAUSE_S:
            breaker.cooldowns = max(_MAX_PAUSE_S / cooldown, 1.0)
        return cooldown * breaker.cooldowns


def _count(breaker: _Breaker, now: float, *, failed: bool) -> tuple[int, int]:
    """Count an outcome: how many there were in the window, and how many of them failed."""
    width = _WINDOW_S / _BUCKETS
    number = int(now / width)
    window = [one for one in breaker.window if one[0] > number - _BUCKETS]
    if window and window[-1][0] == number:
        _, asked, failures = window.pop()
    else:
        asked = failures = 0
    window.append((number, asked + 1, failures + failed))
    breaker.window = window
    return sum(one[1] for one in window), sum(one[2] for one in window)
