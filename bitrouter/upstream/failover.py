"""Which endpoint is asked, and asked again, until one answers (reliability.md, section 3).

Nothing here knows of bytes: an attempt either gives an answer that is certain, before anything of
it went to the client, or raises.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from bitrouter.errors import AllResting, InvalidRequest, UpstreamError
from bitrouter.routing.breaker import Admission, Breakers
from bitrouter.routing.table import Endpoint
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.deadline import Deadline

T = TypeVar("T")

_TRIES_EACH: Final = 2
_PAUSE_S: Final = (0.25, 0.75)  # before the same endpoint is asked again, at random between
_REST_S: Final = 10.0  # what a 429 without Retry-After means
_KEY_REST_S: Final = 30.0  # while our own credential is refused, others go first


class AttemptsFailed(Exception):
    """No endpoint gave an answer; `last` is the error of the last one asked."""

    def __init__(self, last: UpstreamError, endpoint: Endpoint, attempts: int) -> None:
        super().__init__()
        self.last = last
        self.endpoint = endpoint
        self.attempts = attempts


class Rules(msgspec.Struct, frozen=True, gc=False):
    """How one request may be tried.

    `patient`: a transient failure is repeated at the same endpoint before the next is asked.
    `report` is told of every attempt, with its error.
    """

    max_attempts: int
    patient: bool
    deadline: Deadline
    breakers: Breakers
    budget: RetryBudget
    report: Callable[[Endpoint, UpstreamError | None], None]


async def first_answer(
    endpoints: Sequence[Endpoint],
    attempt: Callable[[Endpoint], Awaitable[T]],
    rules: Rules,
) -> tuple[T, Endpoint, int]:
    """Ask the endpoints until one answers: the answer, who gave it, the attempts made.

    An `attempt` returns once the answer is certain and nothing has been sent to the client, or
    raises UpstreamError. An endpoint to which the request cannot be written (InvalidRequest; for
    some only because of the protocol that they speak) was not asked: the next one is, and if it is
    the same with all of them the first's reason is raised. Raises AttemptsFailed, and AllResting
    when none may be asked now.
    """
    search = _Search(endpoints, rules)
    endpoint = search.first_endpoint()
    while endpoint is not None:
        try:
            answer = await attempt(endpoint)
        except InvalidRequest as error:
            search.unsaid(endpoint, error)
        except UpstreamError as error:
            search.failed(endpoint, error)
        except BaseException:  # the client has left, or a fault of ours
            search.left(endpoint)
            raise
        else:
            search.answered(endpoint)
            return answer, endpoint, search.made
        endpoint = await search.next_endpoint()
    raise search.reason()


class _Search:
    """Where one request stands: who can still be asked, and what became of those who were."""

    __slots__ = (
        *("_admission", "_endpoints", "_failure", "_loop", "_not_before", "_queue", "_rules"),
        *("_tries", "_unsaid", "made"),
    )

    def __init__(self, endpoints: Sequence[Endpoint], rules: Rules) -> None:
        self._rules = rules
        self._loop = asyncio.get_running_loop()
        self._endpoints = endpoints
        self._queue = list(endpoints)
        self._admission = Admission.GRANTED  # of the endpoint that is being asked
        self._tries: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._failure: AttemptsFailed | None = None
        self._unsaid: InvalidRequest | None = None
        self.made = 0

    def first_endpoint(self) -> Endpoint | None:
        """Who is asked first; None if nobody can be."""
        now = self._loop.time()
        self._rules.budget.request(now)
        if len(self._queue) > 1:
            self._put_off_the_tired(now)
        while self._queue:
            endpoint = self._queue.pop(0)
            if self._admits(endpoint, now):
                return endpoint
        return None

    def _admits(self, endpoint: Endpoint, now: float) -> bool:
        self._admission = self._rules.breakers.admit(endpoint.key, now)
        return self._admission is not Admission.REFUSED

    def _put_off_the_tired(self, now: float) -> None:
        prefers_not = self._rules.breakers.prefers_not
        tired = [one for one in self._queue if prefers_not(one.key, now)]
        if tired:
            self._queue = [one for one in self._queue if one not in tired] + tired

    async def next_endpoint(self) -> Endpoint | None:
        """Who is asked after that, and after the pause that it must be given; None if nobody is."""
        if self.made and self._is_too_late():
            return None
        while self._queue:
            endpoint = self._queue.pop(0)
            if endpoint.key in self._tries and not await self._pause_before(endpoint):
                continue
            if self._admits(endpoint, self._loop.time()):
                return endpoint
        return None

    def _is_too_late(self) -> bool:
        rules = self._rules
        return self.made >= rules.max_attempts or self._loop.time() >= rules.deadline.at

    async def _pause_before(self, endpoint: Endpoint) -> bool:
        """Wait until an endpoint that has failed may be asked again. False if it may not be: there
        have been too many repeats, or its breaker has opened in the meantime.
        """
        now = self._loop.time()
        pause_s = max(self._not_before[endpoint.key] - now, 0.0)
        if self._rules.breakers.wait_s(endpoint.key, now) > pause_s:
            return False
        if not self._rules.budget.repeat(now):
            return False
        await asyncio.sleep(pause_s)
        return True

    def unsaid(self, endpoint: Endpoint, error: InvalidRequest) -> None:
        """The request cannot be written to this endpoint."""
        self.left(endpoint)
        self._unsaid = self._unsaid or error

    def left(self, endpoint: Endpoint) -> None:
        """The endpoint was not asked, or nobody waits for what it says."""
        self._rules.breakers.left(endpoint.key, self._admission)

    def answered(self, endpoint: Endpoint) -> None:
        """The endpoint answers."""
        self.made += 1
        self._rules.breakers.answered(endpoint.key, self._loop.time(), self._admission)
        self._rules.report(endpoint, None)

    def failed(self, endpoint: Endpoint, error: UpstreamError) -> None:
        """The endpoint did not: decide who may be asked after it."""
        self.made += 1
        self._tries[endpoint.key] = self._tries.get(endpoint.key, 0) + 1
        self._failure = AttemptsFailed(error, endpoint, self.made)
        self._failure.__cause__ = error
        self._note(endpoint, error)
        self._rules.report(endpoint, error)
        # A route may name it twice.
        self._queue = [one for one in self._queue if one.key != endpoint.key]
        if error.larger_window_helps:
            self._keep_larger(endpoint)
        elif not error.retryable:
            self._queue.clear()
        else:
            self._put_back(endpoint, error)

    def _note(self, endpoint: Endpoint, error: UpstreamError) -> None:
        """Tell the breaker what that says of the endpoint."""
        now = self._loop.time()
        breakers = self._rules.breakers
        if error.trips:
            breakers.failed(endpoint.key, now, self._admission)
            return
        breakers.left(endpoint.key, self._admission)
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
        others = sum(self._rules.breakers.wait_s(one.key, now) == 0 for one in self._queue)
        if not (error.transient or (error.never_arrived and not others)):
            return
        if self._tries[endpoint.key] >= _TRIES_EACH:
            return
        if self._rules.max_attempts - self.made <= others:
            return  # nothing would be left for those that nobody has asked yet
        not_before = now + max(random.uniform(*_PAUSE_S), error.retry_after_s or 0.0)
        if not_before < self._rules.deadline.at:
            self._not_before[endpoint.key] = not_before
            self._queue.insert(0 if self._rules.patient else len(self._queue), endpoint)

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
        wait_s = min(self._rules.breakers.wait_s(one.key, now) for one in self._endpoints)
        return AllResting(
            "every endpoint of this model is resting after failures", retry_after_s=max(wait_s, 1.0)
        )


def _window(endpoint: Endpoint) -> int:
    model = endpoint.model
    return (model.max_input_tokens if model else None) or 0
