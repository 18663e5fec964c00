"""Which endpoint is asked after one that gave no answer (reliability.md, section 3)."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from bitrouter.config.schema import CircuitBreaker, Duration, Model
from bitrouter.errors import (
    CONTEXT_TOO_LONG,
    AllResting,
    BadResponse,
    ConnectFailed,
    ConnectionReset,
    InvalidRequest,
    Rejected,
    StreamRefused,
    UnsupportedFeature,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
    is_worth_elsewhere,
)
from bitrouter.routing.breaker import Breakers, State
from bitrouter.routing.table import Endpoint
from bitrouter.upstream import failover
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.deadline import NO_DEADLINE, Deadline
from bitrouter.upstream.failover import AttemptsFailed, Rules, first_answer
from bitrouter.upstream.probes import Probes
from tests.support.routes import provider

PAUSE_S = 0.02  # of every test, see conftest.py
SHORT_S = 2 * PAUSE_S

Answer = str | BaseException


def endpoint(name: str, window: int | None = None) -> Endpoint:
    models = {} if window is None else {"m": Model(max_input_tokens=window)}
    return Endpoint(msgspec.structs.replace(provider(name), models=models), "m")


ENDPOINTS = [endpoint(name) for name in "abcd"]


def rejected(
    status: int, retry_after_s: float | None = None, code: str | None = None, **more: bool
) -> Rejected:
    return Rejected(
        status,
        f"status {status}",
        headers={},
        body=b"",
        retryable=is_worth_elsewhere(status, code) or "blames_router" in more,
        retry_after_s=retry_after_s,
        code=code,
        **more,
    )


class Script:
    """Answers each attempt in turn, raising what is an exception.

    `told` are the attempts as they are reported, as `a fails` or `a answers`; `noted` is what else
    is, such as `a repeated` or `a open`.
    """

    def __init__(
        self,
        *answers: Answer,
        endpoints: Sequence[Endpoint] = ENDPOINTS[:2],
        max_attempts: int = 3,
        patient: bool = True,
        deadline: Deadline = NO_DEADLINE,
        failures: int = 100,
    ) -> None:
        self.answers = list(answers)
        self.told: list[str] = []
        self.made = 0
        self.noted: list[str] = []
        self.asked_at: list[float] = []
        self.has_failed = asyncio.Event()
        self.endpoints = endpoints
        settings = CircuitBreaker(failures=failures, cooldown=Duration(60))
        self.breakers = Breakers(lambda: settings)
        self.budget = RetryBudget(1.0)
        for _ in range(20):  # or three repeats would be all that there may be
            self.budget.request(asyncio.get_running_loop().time())
        self.discarded: list[str] = []
        self.probes = Probes(self.discarded.append)
        self.deadline = deadline
        self.rules = Rules(max_attempts, patient, self.breakers, self.budget, self, self.probes)

    async def attempt(self, endpoint: Endpoint) -> str:
        self.asked_at.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return f"{answer} from {endpoint.provider.name}"

    def attempted(self, endpoint: Endpoint, error: UpstreamError | None) -> None:
        self.told.append(f"{endpoint.provider.name} {'answers' if error is None else 'fails'}")
        self.made += error is None or error.was_asked
        if error is not None:
            self.has_failed.set()

    def repeated(self, endpoint: Endpoint) -> None:
        self.noted.append(f"{endpoint.provider.name} repeated")

    def passed_on(self, endpoint: Endpoint) -> None:
        self.noted.append(f"{endpoint.provider.name} passed on")

    def rescued(self, endpoint: Endpoint) -> None:
        self.noted.append(f"{endpoint.provider.name} rescued")

    def changed(self, endpoint: Endpoint, state: State) -> None:
        self.noted.append(f"{endpoint.provider.name} {state.value}")

    async def run(self) -> str:
        before = self.made
        answer, endpoint, number = await first_answer(
            self.endpoints, self.attempt, self.rules, self.deadline
        )
        assert (answer.split()[-1], number) == (endpoint.provider.name, self.made - before)
        return answer

    async def fails(self) -> AttemptsFailed:
        before = self.made
        with pytest.raises(AttemptsFailed) as caught:
            await self.run()
        assert caught.value.attempts == self.made - before
        return caught.value

    def state(self, name: str) -> State:
        return self.breakers.state(f"{name}:m", asyncio.get_running_loop().time())


# -- which failure is repeated where ----------------------------------------------------------

TRANSIENT = {
    **{f"status {status}": rejected(status) for status in (408, 409, 500, 502, 503, 529)},
    "503 with a short Retry-After": rejected(503, SHORT_S),
    "429 with a short Retry-After": rejected(429, SHORT_S),
    "reset": ConnectionReset("gone"),
}
ELSEWHERE = {
    "429 without Retry-After": rejected(429),
    "429 with a long Retry-After": rejected(429, 5.1),
    "503 with a long Retry-After": rejected(503, 5.1),
    "504": rejected(504),
    "501": rejected(501),
    "our key refused": rejected(401, blames_router=True),
    "our account without money": rejected(502, blames_router=True),
    "no connection": ConnectFailed("refused"),
    "a timer": UpstreamTimeout("first_byte", 1),
    "connect timer": UpstreamTimeout("connect", 1),
    "no answer of the protocol": BadResponse("html"),
    "an error as the first event": StreamRefused("overloaded"),
    "cannot be asked": UpstreamUnavailable("no key"),
}
NOWHERE = {
    **{f"status {status}": rejected(status) for status in (400, 404, 405, 413, 415, 422)},
    "a refusal of the content": rejected(400, code="content_filter"),
    "a refusal of the content with another status": rejected(403, code="content_filter"),
    "a refusal of the content as a fault": rejected(500, code="content_filter"),
    "a refusal of the content in a stream": StreamRefused("no", code="content_policy_violation"),
    "a mistake of the client's, in a stream": StreamRefused("no", status=400, code=None),
    "a context that is too long": rejected(400, code=CONTEXT_TOO_LONG),
    "the end of the time": UpstreamTimeout("total", 1, retryable=False),
}


async def test_the_first_endpoint_that_answers_is_the_last_one_asked() -> None:
    script = Script("yes")

    assert await script.run() == "yes from a"
    assert script.told == ["a answers"]


@pytest.mark.parametrize("error", TRANSIENT.values(), ids=TRANSIENT)
async def test_a_failure_that_may_pass_is_repeated_once_then_the_next_endpoint_is_asked(
    error: UpstreamError,
) -> None:
    script = Script(error, error, "yes")

    assert await script.run() == "yes from b"
    assert script.told == ["a fails", "a fails", "b answers"]


@pytest.mark.parametrize("error", TRANSIENT.values(), ids=TRANSIENT)
async def test_where_load_is_spread_the_others_are_asked_before_it_is_repeated(
    error: UpstreamError,
) -> None:
    script = Script(error, BadResponse("b"), "yes", patient=False)

    assert await script.run() == "yes from a"
    assert script.told == ["a fails", "b fails", "a answers"]


@pytest.mark.parametrize("error", ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.parametrize("patient", [True, False])
async def test_after_other_failures_the_next_endpoint_is_asked_and_that_one_not_again(
    error: UpstreamError, patient: bool
) -> None:
    script = Script(error, BadResponse("b"), "no", patient=patient, max_attempts=9)

    await script.fails()

    assert script.told == ["a fails", "b fails"]


@pytest.mark.parametrize("error", NOWHERE.values(), ids=NOWHERE)
async def test_what_is_the_clients_own_is_told_and_nobody_else_is_asked(
    error: UpstreamError,
) -> None:
    script = Script(error, "no")

    failure = await script.fails()

    assert (failure.last, failure.endpoint) == (error, ENDPOINTS[0])
    assert script.told == ["a fails"]


@pytest.mark.parametrize(
    "error", [*TRANSIENT.values(), ConnectFailed("refused")], ids=[*TRANSIENT, "no connection"]
)
async def test_a_single_endpoint_is_asked_twice_and_its_last_error_told(
    error: UpstreamError,
) -> None:
    script = Script(error, error, "no", endpoints=ENDPOINTS[:1], max_attempts=9)

    assert (await script.fails()).last is error
    assert script.told == ["a fails", "a fails"]


# -- how often, and when ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_attempts", "asked"),
    [(1, "a"), (2, "ab"), (3, "abc"), (4, "abcd"), (5, "aabcd"), (8, "aabbccdd"), (99, "aabbccdd")],
)
async def test_attempts_are_bounded_and_none_is_a_repeat_that_another_endpoint_needs(
    max_attempts: int, asked: str
) -> None:
    errors = [rejected(500) for _ in range(9)]
    script = Script(*errors, endpoints=ENDPOINTS, max_attempts=max_attempts)

    failure = await script.fails()

    assert "".join(line[0] for line in script.told) == asked
    assert failure.last is errors[len(asked) - 1]


@pytest.mark.parametrize(
    "error", [UpstreamBusy("full", retry_after_s=1), UpstreamUnavailable("no key")], ids=repr
)
async def test_an_endpoint_that_could_not_be_asked_uses_up_no_attempt(error: UpstreamError) -> None:
    script = Script(error, error, "yes", endpoints=ENDPOINTS[:3], max_attempts=1)

    assert await script.run() == "yes from c"
    assert script.told == ["a fails", "b fails", "c answers"]


async def test_an_endpoint_that_rests_is_not_waited_for_with_an_attempt() -> None:
    script = Script(rejected(500), "yes", max_attempts=2)
    script.breakers.rest("b:m", asyncio.get_running_loop().time(), 60, firm=True)

    assert await script.run() == "yes from a"


@pytest.mark.parametrize("error", [rejected(500), rejected(429, SHORT_S)])
async def test_the_same_endpoint_is_asked_again_after_a_pause_or_after_its_own(
    error: Rejected,
) -> None:
    script = Script(error, "yes")
    await script.run()

    first, second = script.asked_at
    assert second - first >= (error.retry_after_s or PAUSE_S) - 0.002


def test_the_pause_is_a_quarter_to_three_quarters_of_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert failover._PAUSE_S == (PAUSE_S, PAUSE_S)
    monkeypatch.undo()

    assert failover._PAUSE_S == (0.25, 0.75)


async def test_a_route_that_names_an_endpoint_twice_does_not_have_it_asked_at_once_again() -> None:
    script = Script(UpstreamTimeout("first_byte", 1), "no", endpoints=[ENDPOINTS[0]] * 2)

    await script.fails()

    assert script.told == ["a fails"]


async def test_repeats_stay_within_the_budget() -> None:
    script = Script(*[rejected(500)] * 9, endpoints=ENDPOINTS[:1])
    script.budget.ratio = 0.0  # three are allowed in any case
    for _ in range(5):
        await script.fails()

    assert len(script.told) == 5 + 3


async def test_where_load_is_spread_a_repeat_that_is_not_needed_costs_no_budget() -> None:
    script = Script(*(rejected(500), "yes") * 5, patient=False)
    script.budget.ratio = 0.0
    for _ in range(5):
        assert await script.run() == "yes from b"
        script.told.clear()

    assert script.budget.repeat(asyncio.get_running_loop().time())


async def test_nothing_is_asked_after_the_deadline() -> None:
    now = asyncio.get_running_loop().time()
    script = Script(rejected(504), "no", deadline=Deadline(now, 1.0))

    assert (await script.fails()).last.status == 504
    assert script.told == ["a fails"]


async def test_a_pause_that_would_outlast_the_deadline_is_not_made() -> None:
    now = asyncio.get_running_loop().time()
    script = Script(rejected(429, 3.0), "yes", deadline=Deadline(now + 2.0, 2.0))

    assert await script.run() == "yes from b"


async def test_a_breaker_that_opens_during_the_pause_is_heeded() -> None:
    script = Script(rejected(500), "yes", failures=5)
    running = asyncio.ensure_future(script.run())
    await script.has_failed.wait()
    for _ in range(4):  # others fail there too
        script.breakers.failed("a:m", asyncio.get_running_loop().time())

    assert await running == "yes from b"


async def test_an_endpoint_whose_breaker_opens_by_it_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failover, "_PAUSE_S", (30.0, 30.0))
    script = Script(rejected(500), "yes", failures=1)

    async with asyncio.timeout(15):
        assert await script.run() == "yes from b"


async def test_a_client_that_leaves_during_the_pause_is_not_worked_for() -> None:
    script = Script(rejected(500), "no")
    running = asyncio.ensure_future(script.run())
    await script.has_failed.wait()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert script.told == ["a fails"]


# -- a longer context -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [rejected(400, code=CONTEXT_TOO_LONG), StreamRefused("", status=400, code=CONTEXT_TOO_LONG)],
    ids=["status", "first event"],
)
async def test_a_context_that_is_too_long_goes_to_the_next_endpoint_with_a_larger_window(
    error: UpstreamError,
) -> None:
    windows = {"a": 8_000, "b": 8_000, "c": None, "d": 32_000}
    script = Script(error, "yes", endpoints=[endpoint(*one) for one in windows.items()])

    assert await script.run() == "yes from d"
    assert script.told == ["a fails", "d answers"]


@pytest.mark.parametrize("windows", [(None, 8_000), (8_000, 8_000), (8_000, None)])
async def test_without_a_window_that_is_known_to_be_larger_the_client_is_told(
    windows: tuple[int | None, int | None],
) -> None:
    error = rejected(400, code=CONTEXT_TOO_LONG)
    endpoints = [endpoint(name, window) for name, window in zip("ab", windows, strict=True)]
    script = Script(error, "no", endpoints=endpoints)

    assert (await script.fails()).last is error


# -- what the breaker is told -----------------------------------------------------------------

FAULTS = [
    *(rejected(status) for status in (500, 502, 503, 504, 529)),
    ConnectFailed("x"),
    ConnectionReset("x"),
    BadResponse("x"),
    UpstreamTimeout("first_byte", 1),
    StreamRefused("x"),
]
NO_FAULTS = [
    *(rejected(status) for status in (400, 404, 408, 409, 413, 422, 501)),
    rejected(401, blames_router=True),
    rejected(500, code="content_filter"),
    StreamRefused("x", status=400),
    UpstreamUnavailable("x"),
    UnsupportedFeature("x"),
]


@pytest.mark.parametrize("error", FAULTS, ids=repr)
async def test_a_fault_opens_the_breaker(error: UpstreamError) -> None:
    script = Script(error, "yes", failures=1)

    await script.run()

    assert (script.state("a"), script.state("b")) == (State.OPEN, State.CLOSED)


@pytest.mark.parametrize("error", NO_FAULTS, ids=repr)
async def test_what_is_no_fault_of_the_endpoint_does_not(error: BaseException) -> None:
    script = Script(error, "yes", "yes", failures=1)

    await asyncio.gather(script.run(), return_exceptions=True)

    assert script.state("a") in (State.CLOSED, State.RESTING)


async def test_a_429_puts_the_endpoint_to_rest_and_others_go_elsewhere_at_once() -> None:
    script = Script(rejected(429, 30.0), "yes", "yes")

    await script.run()
    script.told.clear()
    await script.run()

    assert script.told == ["b answers"]
    assert script.state("a") is State.RESTING


@pytest.mark.parametrize("said", [None, 30.0, SHORT_S])
async def test_a_single_endpoint_is_asked_in_its_rest(said: float | None) -> None:
    script = Script(*[rejected(429, said)] * 2, "yes", endpoints=ENDPOINTS[:1])
    await script.fails()
    script.told.clear()
    script.answers = ["yes"]

    assert await script.run() == "yes from a"


async def test_several_that_said_for_how_long_are_left_alone() -> None:
    script = Script(*[rejected(429, 30.0)] * 2, endpoints=ENDPOINTS[:2])
    await script.fails()

    with pytest.raises(AllResting) as caught:
        await script.run()

    assert caught.value.retry_after_s == pytest.approx(30, abs=1)


async def test_an_endpoint_that_refuses_our_key_is_asked_after_the_others_for_a_while() -> None:
    script = Script(rejected(401, blames_router=True), "yes", "yes")

    await script.run()
    script.told.clear()

    assert await script.run() == "yes from b"
    assert script.told == ["b answers"]


async def test_when_all_are_open_the_client_is_told_at_once_until_when() -> None:
    script = Script(*[rejected(504)] * 2, failures=1)
    await script.fails()
    script.told.clear()

    with pytest.raises(AllResting) as caught:
        await script.run()

    assert script.told == []
    assert caught.value.retry_after_s == pytest.approx(60, abs=1)


class Probing(Script):
    """One endpoint whose breaker is half open."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*answers, endpoints=ENDPOINTS[:1], max_attempts=1)
        settings = CircuitBreaker(failures=1, cooldown=Duration(0))
        self.breakers = Breakers(lambda: settings)
        self.rules = msgspec.structs.replace(self.rules, breakers=self.breakers)
        self.breakers.failed("a:m", asyncio.get_running_loop().time())


async def test_a_probe_that_is_answered_closes_the_breaker() -> None:
    script = Probing("yes")
    assert script.state("a") is State.HALF_OPEN

    await script.run()

    assert script.state("a") is State.CLOSED


@pytest.mark.parametrize(
    "end",
    [asyncio.CancelledError(), ZeroDivisionError(), *NO_FAULTS, rejected(429)],
    ids=repr,
)
async def test_a_probe_that_says_nothing_makes_room_for_the_next_one(end: BaseException) -> None:
    script = Probing(end, "yes")

    with pytest.raises(BaseException):  # noqa: B017, PT011 - whichever it is
        await script.run()
    assert script.state("a") is State.HALF_OPEN

    script.told.clear()
    assert await script.run() == "yes from a"


# -- what is nobody's failure -----------------------------------------------------------------


async def test_a_fault_that_is_nobodys_goes_straight_up() -> None:
    script = Script(ZeroDivisionError(), "never asked")

    with pytest.raises(ZeroDivisionError):
        await script.run()

    assert script.told == []


async def test_an_endpoint_that_cannot_be_told_the_request_is_passed_over() -> None:
    script = Script(UnsupportedFeature("no audio"), "answer", max_attempts=1)

    assert await script.run() == "answer from b"
    assert script.told == ["b answers"]


async def test_a_request_that_nobody_can_be_told_is_refused_with_the_first_reason() -> None:
    script = Script(UnsupportedFeature("not a"), UnsupportedFeature("not b"))

    with pytest.raises(UnsupportedFeature, match="not a"):
        await script.run()

    assert script.told == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_an_endpoints_failure_says_more_than_that_another_could_not_be_asked(
    order: tuple[int, int],
) -> None:
    failure = BadResponse("down")
    answers = [failure, InvalidRequest("not for this protocol")]
    script = Script(*(answers[place] for place in order))

    assert (await script.fails()).last is failure


# -- what is reported ---------------------------------------------------------------------------


async def test_a_repeat_and_a_fail_over_are_reported_of_who_failed() -> None:
    script = Script(rejected(500), rejected(500), "hello")
    assert await script.run() == "hello from b"
    assert script.told == ["a fails", "a fails", "b answers"]
    assert script.noted == ["a repeated", "a passed on"]


async def test_a_request_that_is_answered_at_once_has_nothing_to_report() -> None:
    script = Script("hello")
    await script.run()
    assert script.noted == []


async def test_a_breaker_that_opens_is_reported_once() -> None:
    script = Script(*(rejected(504) for _ in range(4)), endpoints=ENDPOINTS[:1], failures=3)
    for _ in range(3):
        await script.fails()
    assert script.noted == ["a open"]
    with pytest.raises(AllResting):
        await script.run()
    assert script.noted == ["a open"]
