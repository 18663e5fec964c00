"""Which endpoint is asked, and asked again, until one answers (reliability.md, section 3).

Nothing here knows of bytes: an attempt either gives an answer that is certain, before anything of
it went to the client, or raises.
"""

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from bitrouter.errors import AllResting, InvalidRequest, UpstreamError
from bitrouter.routing.breaker import Admission, Breakers, State
from bitrouter.routing.table import Endpoint
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.deadline import Deadline
from bitrouter.upstream.probes import Probes

T = TypeVar("T")

_log: Final = logging.getLogger("bitrouter")

_TRIES_EACH: Final = 2
_PAUSE_S: Final = (0.25, 0.75)  # before the same endpoint is asked again, at random between
_REST_S: Final = 10.0  # what a 429 without Retry-After means
# What a probe has for itself: who is back and quick needs nobody beside, nor who refuses at once.
_HEAD_START_S: Final = 0.1
_KEY_REST_S: Final = 30.0  # while our own credential is refused, others go first


class AttemptsFailed(Exception):
    """No endpoint gave an answer; `last` is the error of the last one asked."""

    def __init__(self, last: UpstreamError, endpoint: Endpoint, attempts: int) -> None:
        super().__init__()
        self.last = last
        self.endpoint = endpoint
        self.attempts = attempts


class Reporter(Protocol):
    """Who is told what becomes of endpoints."""

    def attempted(self, endpoint: Endpoint, error: UpstreamError | None) -> None:
        """An attempt has been answered, or failed by `error`."""

    def repeated(self, endpoint: Endpoint) -> None:
        """After an attempt that failed the endpoint is asked again."""

    def passed_on(self, endpoint: Endpoint) -> None:
        """After an attempt at this endpoint, which failed, another one is asked."""

    def rescued(self, endpoint: Endpoint) -> None:
        """A stream of it broke off, and another one goes on with it."""

    def changed(self, endpoint: Endpoint, state: State) -> None:
        """Its circuit breaker has opened or closed, or lets a probe through."""


class Rules(msgspec.Struct, frozen=True, gc=False):
    """How requests may be tried.

    `patient`: a transient failure is repeated at the same endpoint before the next is asked.
    `report` is told of what happens. `probes` owns what outlasts the request.
    """

    max_attempts: int
    patient: bool
    breakers: Breakers
    budget: RetryBudget
    report: Reporter
    probes: Probes


async def first_answer(
    endpoints: Sequence[Endpoint],
    attempt: Callable[[Endpoint], Awaitable[T]],
    rules: Rules,
    deadline: Deadline,
) -> tuple[T, Endpoint, int]:
    """Ask the endpoints until one answers: the answer, who gave it, the attempts made.

    An `attempt` returns once the answer is certain and nothing has been sent to the client, or
    raises UpstreamError. An endpoint to which the request cannot be written (InvalidRequest; for
    some only because of the protocol that they speak) was not asked: the next one is, and if it is
    the same with all of them the first's reason is raised. Raises AttemptsFailed, and AllResting
    when none may be asked now.
    """
    now = asyncio.get_running_loop().time()
    rules.budget.request(now)
    first = endpoints[0]
    if not rules.breakers.is_unknown(first.key):
        search = _Search(endpoints, rules, deadline)
        return await _answer_of(search, search.first_endpoint(), attempt)
    # Of nearly all requests the first endpoint, of which nothing bad is known, answers: a search
    # for another one would be made for nothing.
    try:
        answer = await attempt(first)
    except (InvalidRequest, UpstreamError) as error:
        failure = error
    else:
        rules.report.attempted(first, None)
        return answer, first, 1
    search = _Search(endpoints, rules, deadline)
    search.first_failed(first, failure)
    return await _answer_of(search, await search.next_endpoint(), attempt)


async def _answer_of(
    search: "_Search", endpoint: Endpoint | None, attempt: Callable[[Endpoint], Awaitable[T]]
) -> tuple[T, Endpoint, int]:
    """See first_answer; `endpoint` is asked first."""
    found = await _ask_in_turn(search, endpoint, attempt)
    if found is None:
        raise search.reason()
    answer, endpoint = found
    return answer, endpoint, search.made


async def _ask_in_turn(
    search: "_Search", endpoint: Endpoint | None, attempt: Callable[[Endpoint], Awaitable[T]]
) -> tuple[T, Endpoint] | None:
    """Ask `endpoint`, and others until one answers: the answer, and who gave it."""
    while endpoint is not None:
        admission = search.admission
        if admission is Admission.PROBE and search.has_others():
            return await _ask_beside(search, endpoint, attempt)
        search.made += 1
        try:
            answer = await attempt(endpoint)
        except (InvalidRequest, UpstreamError) as error:
            search.failed(endpoint, error, admission)
        except BaseException:  # the client has left, or a fault of ours
            search.left(endpoint, admission)
            raise
        else:
            search.answered(endpoint, admission)
            return answer, endpoint
        endpoint = await search.next_endpoint()
    return None


async def _ask_next(
    search: "_Search", attempt: Callable[[Endpoint], Awaitable[T]]
) -> tuple[T, Endpoint] | None:
    return await _ask_in_turn(search, await search.next_endpoint(), attempt)


async def _ask_beside(
    search: "_Search", endpoint: Endpoint, attempt: Callable[[Endpoint], Awaitable[T]]
) -> tuple[T, Endpoint] | None:
    """Ask an endpoint that is half open, and others as well if it does not answer at once: who
    answers first has answered. If that is not the probe, it goes on by itself until it knows.
    """
    probes = search.rules.probes
    search.made += 1
    probe = asyncio.ensure_future(_ask_one(endpoint, attempt))
    others: asyncio.Task[tuple[T, Endpoint] | None] | None = None
    try:
        await asyncio.wait((probe,), timeout=_HEAD_START_S)
        if not probe.done():
            others = asyncio.ensure_future(_ask_next(search, attempt))
            await asyncio.wait((probe, others), return_when=asyncio.FIRST_COMPLETED)
            if others.done() and (found := others.result()) is not None:
                probes.keep(probe, functools.partial(search.overtaken, endpoint))
                return found
            await asyncio.wait((probe,))
    except BaseException:
        search.left(endpoint, Admission.PROBE)
        await probes.give_up(probe, others)
        raise
    if search.settled(endpoint, probe):
        try:
            await probes.give_up(others)
        except BaseException:
            probes.drop(probe)
            raise
        return probe.result()
    return await (others or _ask_next(search, attempt))


async def _ask_one(
    endpoint: Endpoint, attempt: Callable[[Endpoint], Awaitable[T]]
) -> tuple[T, Endpoint]:
    return await attempt(endpoint), endpoint


def line_up(endpoints: Sequence[Endpoint], breakers: Breakers, now: float) -> list[Endpoint]:
    """The endpoints in the order in which one request asks them: who needs rest, last."""
    queue = list(endpoints)
    if len(queue) < 2:
        return queue
    tired = [one for one in queue if breakers.prefers_not(one.key, now)]
    return [one for one in queue if one not in tired] + tired if tired else queue


def first_asked(endpoints: Sequence[Endpoint], breakers: Breakers, now: float) -> Endpoint | None:
    """Whom the next request asks first, None if nobody may be asked now.

    That takes the turn of a probe: for a twin of the breakers. See Breakers.twin.
    """
    for endpoint in line_up(endpoints, breakers, now):
        if breakers.admit(endpoint.key, now) is not Admission.REFUSED:
            return endpoint
    return None


class _Search:
    """Where one request stands: who can still be asked, and what became of those who were.

    `admission` is that of the endpoint which is to be asked next; `made` counts the attempts.
    """

    __slots__ = (
        *("_endpoints", "_failure", "_loop", "_not_before", "_queue", "_tries", "_unsaid"),
        *("_deadline", "admission", "made", "rules"),
    )

    def __init__(self, endpoints: Sequence[Endpoint], rules: Rules, deadline: Deadline) -> None:
        self.rules = rules
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._endpoints = endpoints
        self._queue = line_up(endpoints, rules.breakers, self._loop.time())
        self.admission = Admission.GRANTED
        self._tries: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._failure: AttemptsFailed | None = None
        self._unsaid: InvalidRequest | None = None
        self.made = 0

    def first_endpoint(self) -> Endpoint | None:
        """Who is asked first; None if nobody can be."""
        now = self._loop.time()
        while self._queue:
            endpoint = self._queue.pop(0)
            if self._admits(endpoint, now):
                return endpoint
        return None

    def first_failed(self, endpoint: Endpoint, error: InvalidRequest | UpstreamError) -> None:
        """It was asked before there was a search."""
        self._queue.remove(endpoint)
        self.made = 1
        self.failed(endpoint, error, Admission.GRANTED)

    def _admits(self, endpoint: Endpoint, now: float) -> bool:
        self.admission = self.rules.breakers.admit(endpoint.key, now)
        if self.admission is Admission.PROBE:
            self.rules.report.changed(endpoint, State.HALF_OPEN)
        return self.admission is not Admission.REFUSED

    def has_others(self) -> bool:
        """Whether an endpoint that has not been asked may be, as one attempt more than this."""
        now = self._loop.time()
        if self.made + 1 >= self.rules.max_attempts:
            return False
        wait_s = self.rules.breakers.wait_s
        return any(one.key not in self._tries and not wait_s(one.key, now) for one in self._queue)

    async def next_endpoint(self) -> Endpoint | None:
        """Who is asked after that, and after the pause that it must be given; None if nobody is."""
        if (self.made or self._failure) and self._is_too_late():
            return None
        while self._queue:
            endpoint = self._queue.pop(0)
            if endpoint.key in self._tries and not await self._pause_before(endpoint):
                continue
            if self._admits(endpoint, self._loop.time()):
                self._report_next(endpoint)
                return endpoint
        return None

    def _report_next(self, endpoint: Endpoint) -> None:
        """Who is asked now is not who was asked first."""
        if endpoint.key in self._tries:
            self.rules.report.repeated(endpoint)
        elif self._failure is not None:
            self.rules.report.passed_on(self._failure.endpoint)

    def _is_too_late(self) -> bool:
        rules = self.rules
        return self.made >= rules.max_attempts or self._loop.time() >= self._deadline.at

    async def _pause_before(self, endpoint: Endpoint) -> bool:
        """Wait until an endpoint that has failed may be asked again. False if it may not be: there
        have been too many repeats, or its breaker has opened in the meantime.
        """
        now = self._loop.time()
        pause_s = max(self._not_before[endpoint.key] - now, 0.0)
        if self.rules.breakers.wait_s(endpoint.key, now) > pause_s:
            return False
        if not self.rules.budget.repeat(now):
            return False
        await asyncio.sleep(pause_s)
        return True

    def left(self, endpoint: Endpoint, admission: Admission) -> None:
        """The endpoint was not asked, or nobody waits for what it says."""
        self.rules.breakers.left(endpoint.key, admission)

    def answered(self, endpoint: Endpoint, admission: Admission) -> None:
        """The endpoint answers."""
        report = self.rules.report
        report.attempted(endpoint, None)
        if admission is not Admission.PROBE:
            return
        if self.rules.breakers.answered(endpoint.key, self._loop.time(), admission):
            report.changed(endpoint, State.CLOSED)

    def settled(self, endpoint: Endpoint, probe: "asyncio.Task[Any]") -> bool:
        """A probe for which the request has waited has ended: whether it answers."""
        try:
            probe.result()
        except (InvalidRequest, UpstreamError) as error:
            self.failed(endpoint, error, Admission.PROBE)
            return False
        except BaseException:
            self.left(endpoint, Admission.PROBE)
            raise
        self.answered(endpoint, Admission.PROBE)
        return True

    def overtaken(self, endpoint: Endpoint, probe: "asyncio.Task[Any]") -> None:
        """A probe has ended whose request was answered by others: the breaker wants to know."""
        error = None if probe.cancelled() else probe.exception()
        if isinstance(error, UpstreamError):
            self.rules.report.attempted(endpoint, error)
            self._note(endpoint, error, Admission.PROBE)
        elif probe.cancelled() or error is not None:
            self.left(endpoint, Admission.PROBE)
            if error is not None and not isinstance(error, InvalidRequest):
                _log.error("a probe of %s failed", endpoint.key, exc_info=error)
        else:
            self.answered(endpoint, Admission.PROBE)

    def failed(
        self, endpoint: Endpoint, error: InvalidRequest | UpstreamError, admission: Admission
    ) -> None:
        """The endpoint did not answer: decide who may be asked after it."""
        if isinstance(error, InvalidRequest):  # the request cannot be written to this endpoint
            self.made -= 1
            self.left(endpoint, admission)
            self._unsaid = self._unsaid or error
            return
        if not error.was_asked:
            self.made -= 1
        self._tries[endpoint.key] = self._tries.get(endpoint.key, 0) + 1
        self._failure = AttemptsFailed(error, endpoint, self.made)
        self._failure.__cause__ = error
        self.rules.report.attempted(endpoint, error)
        self._note(endpoint, error, admission)
        # A route may name it twice.
        self._queue = [one for one in self._queue if one.key != endpoint.key]
        if error.larger_window_helps:
            self._keep_larger(endpoint)
        elif not error.retryable:
            self._queue.clear()
        else:
            self._put_back(endpoint, error)

    def _note(self, endpoint: Endpoint, error: UpstreamError, admission: Admission) -> None:
        """Tell the breaker what that says of the endpoint."""
        now = self._loop.time()
        breakers = self.rules.breakers
        if error.trips:
            if breakers.failed(endpoint.key, now, admission):
                self.rules.report.changed(endpoint, State.OPEN)
            return
        breakers.left(endpoint.key, admission)
        if error.asks_for_rest:
            said = error.retry_after_s
            # A short one is waited for here, and may be by others who have nobody else to ask. And
            # where there is nobody else at all, what the endpoint says then is the best answer.
            alone = len({one.key for one in self._endpoints}) == 1
            firm = said is not None and not error.transient and not alone
            breakers.rest(endpoint.key, now, _REST_S if said is None else said, firm=firm)
        elif error.blames_router:
            breakers.rest(endpoint.key, now, _KEY_REST_S, firm=False)

    def _put_back(self, endpoint: Endpoint, error: UpstreamError) -> None:
        """Let the endpoint be asked once more, if that is of use: before the others, or after them
        where load is spread.
        """
        now = self._loop.time()
        others = sum(self.rules.breakers.wait_s(one.key, now) == 0 for one in self._queue)
        if not (error.transient or (error.never_arrived and not others)):
            return
        if self._tries[endpoint.key] >= _TRIES_EACH:
            return
        if self.rules.max_attempts - self.made <= others:
            return  # nothing would be left for those that nobody has asked yet
        not_before = now + max(random.uniform(*_PAUSE_S), error.retry_after_s or 0.0)
        if not_before < self._deadline.at:
            self._not_before[endpoint.key] = not_before
            self._queue.insert(0 if self.rules.patient else len(self._queue), endpoint)

    def _keep_larger(self, endpoint: Endpoint) -> None:
        """Only who is known to take longer prompts can help."""
        window = _window(endpoint)
        self._queue = [one for one in self._queue if window and _window(one) > window]

    def reason(self) -> Exception:
        """Why nobody answered."""
        if self._failure is not None:
            return self._failure
        if self._unsaid is not None:
            return self._unsaid
        now = self._loop.time()
        wait_s = min(self.rules.breakers.wait_s(one.key, now) for one in self._endpoints)
        return AllResting(
            "every endpoint of this model is resting after failures", retry_after_s=max(wait_s, 1.0)
        )


def _window(endpoint: Endpoint) -> int:
    model = endpoint.model
    return (model.max_input_tokens if model else None) or 0
