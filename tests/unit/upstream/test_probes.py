"""Finding out whether an endpoint is back, without a client that waits for it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

import pytest

from bitrouter.config.schema import CircuitBreaker, Duration
from bitrouter.errors import (
    InvalidRequest,
    Rejected,
    UpstreamError,
    UpstreamTimeout,
)
from bitrouter.routing.breaker import Breakers, State
from bitrouter.routing.table import Endpoint
from bitrouter.upstream import failover
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.deadline import NO_DEADLINE
from bitrouter.upstream.failover import AttemptsFailed, Rules, first_answer
from bitrouter.upstream.probes import Probes
from tests.support.routes import provider

LIMIT_S = 10
COOLDOWN_S = 0.02
ENDPOINTS = {name: Endpoint(provider(name), "m") for name in "abc"}
SILENT = UpstreamTimeout("first_byte", 1)


class Told:
    """What is reported, as `a fails` or `a closed`."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def attempted(self, endpoint: Endpoint, error: UpstreamError | None) -> None:
        self._add(endpoint, "answers" if error is None else "fails")

    def repeated(self, endpoint: Endpoint) -> None:
        self._add(endpoint, "repeated")

    def passed_on(self, endpoint: Endpoint) -> None:
        self._add(endpoint, "passed on")

    def rescued(self, endpoint: Endpoint) -> None:
        raise AssertionError

    def changed(self, endpoint: Endpoint, state: State) -> None:
        self._add(endpoint, state.value)

    def _add(self, endpoint: Endpoint, what: str) -> None:
        self.lines.append(f"{endpoint.provider.name} {what}")


class Race:
    """Endpoints that answer when they are told to, of which `a` was down and is half open now."""

    def __init__(self) -> None:
        settings = CircuitBreaker(failures=1, cooldown=Duration(COOLDOWN_S))
        self.breakers = Breakers(lambda: settings)
        self.told = Told()
        self.discarded: list[str] = []
        self.probes = Probes(self.discarded.append)
        self.asked: list[str] = []
        self.broken_off: list[str] = []
        loop = asyncio.get_running_loop()
        self.answers = {name: loop.create_future() for name in ENDPOINTS}

    async def half_open(self, *names: str) -> None:
        loop = asyncio.get_running_loop()
        for name in names:
            self.breakers.failed(f"{name}:m", loop.time())
        half_open = State.HALF_OPEN
        while any(self.state(name) is not half_open for name in names):  # noqa: ASYNC110 - by time
            await asyncio.sleep(COOLDOWN_S / 4)

    def state(self, name: str) -> State:
        return self.breakers.state(f"{name}:m", asyncio.get_running_loop().time())

    async def attempt(self, endpoint: Endpoint) -> str:
        name = endpoint.provider.name
        self.asked.append(name)
        try:
            said = await self.answers[name]
        except asyncio.CancelledError:
            self.broken_off.append(name)
            raise
        assert isinstance(said, str)
        return said

    def say(self, name: str, answer: str | BaseException) -> None:
        if isinstance(answer, str):
            self.answers[name].set_result(answer)
        else:
            self.answers[name].set_exception(answer)

    def ask(self, *names: str, max_attempts: int = 3) -> "asyncio.Task[tuple[str, Endpoint, int]]":
        rules = Rules(
            *(max_attempts, True, self.breakers, RetryBudget(1.0), self.told),
            self.probes,
        )
        endpoints = [ENDPOINTS[name] for name in names]
        return asyncio.ensure_future(first_answer(endpoints, self.attempt, rules, NO_DEADLINE))

    async def until_asked(self, *names: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.asked != [*names]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)

    async def until_settled(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(self.probes):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        await asyncio.sleep(0)


@pytest.fixture
async def race(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Race]:
    monkeypatch.setattr(failover, "_HEAD_START_S", 0.01)
    race = Race()
    await race.half_open("a")
    yield race
    await race.probes.close()


async def test_a_probe_that_answers_at_once_has_nobody_beside_it(race: Race) -> None:
    asked = race.ask("a", "b")
    race.say("a", "yes")

    assert await asked == ("yes", ENDPOINTS["a"], 1)
    assert race.asked == ["a"]
    assert race.state("a") is State.CLOSED


async def test_a_silent_probe_is_not_waited_for_and_goes_on_until_it_knows(race: Race) -> None:
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say("b", "yes")

    assert await asked == ("yes", ENDPOINTS["b"], 2)
    assert len(race.probes) == 1
    race.say("a", SILENT)
    await race.until_settled()
    assert race.told.lines == ["a half_open", "b answers", "a fails", "a open"]
    assert race.discarded == race.broken_off == []


async def test_a_probe_that_answers_after_its_client_was_answered_closes_the_breaker(
    race: Race,
) -> None:
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say("b", "yes")
    await asked
    race.say("a", "late")
    await race.until_settled()

    assert race.state("a") is State.CLOSED
    assert race.discarded == ["late"]


async def test_while_a_probe_goes_on_there_is_no_other(race: Race) -> None:
    first = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say("b", "yes")
    await first

    assert (await race.ask("a", "b"))[1] is ENDPOINTS["b"]
    assert race.asked.count("a") == 1


async def test_a_probe_that_answers_before_the_others_is_the_answer(race: Race) -> None:
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say("a", "yes")

    assert await asked == ("yes", ENDPOINTS["a"], 2)
    assert (race.broken_off, len(race.probes)) == (["b"], 0)


async def test_a_client_that_leaves_as_the_probe_answers_leaves_no_answer_behind(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up = race.probes.give_up

    async def interrupted(*attempts: "asyncio.Task[str] | None") -> None:
        await give_up(*attempts)
        raise asyncio.CancelledError

    monkeypatch.setattr(race.probes, "give_up", interrupted)
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say("a", "yes")

    with pytest.raises(asyncio.CancelledError):
        await asked
    assert race.discarded == ["yes"]


@pytest.mark.parametrize(("fails", "answers"), ["ab", "ba"], ids=["the probe", "the other"])
async def test_who_fails_leaves_the_other_to_answer(race: Race, fails: str, answers: str) -> None:
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say(fails, SILENT)
    await asyncio.sleep(0.01)
    assert not asked.done()
    race.say(answers, "yes")

    assert await asked == ("yes", ENDPOINTS[answers], 2)


async def test_when_all_fail_the_last_error_is_told(race: Race) -> None:
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say("b", SILENT)
    await asyncio.sleep(0.01)
    refused = Rejected(504, "late", headers={}, body=b"", retryable=True)
    race.say("a", refused)

    with pytest.raises(AttemptsFailed) as failed:
        await asked
    assert (failed.value.last, failed.value.attempts) == (refused, 2)


async def test_two_that_were_down_are_probed_beside_the_one_that_answers(race: Race) -> None:
    await race.half_open("a", "b")
    asked = race.ask("a", "b", "c")
    await race.until_asked("a", "b", "c")
    race.say("c", "yes")

    assert await asked == ("yes", ENDPOINTS["c"], 3)
    assert len(race.probes) == 2


@pytest.mark.parametrize("asking", [{"names": "a"}, {"names": "ab", "max_attempts": 1}])
async def test_with_nobody_to_ask_beside_it_the_probe_is_waited_for(
    race: Race, asking: Mapping[str, int | str]
) -> None:
    asked = race.ask(*str(asking["names"]), max_attempts=int(asking.get("max_attempts", 3)))
    await asyncio.sleep(0.05)
    assert race.asked == ["a"]
    race.say("a", "yes")

    assert await asked == ("yes", ENDPOINTS["a"], 1)


async def test_a_client_that_leaves_ends_the_probe_and_the_others(race: Race) -> None:
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    asked.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asked
    assert sorted(race.broken_off) == ["a", "b"]
    assert (race.state("a"), len(race.probes)) == (State.HALF_OPEN, 0)


@pytest.mark.parametrize("fault", [InvalidRequest("cannot be said"), RuntimeError("a fault")])
async def test_a_probe_that_was_none_makes_room_for_the_next(
    race: Race, fault: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say("b", "yes")
    await asked
    with caplog.at_level(logging.ERROR, "bitrouter"):
        race.say("a", fault)
        await race.until_settled()

    assert race.state("a") is State.HALF_OPEN
    assert [one.getMessage() for one in caplog.records] == (
        [] if isinstance(fault, InvalidRequest) else ["a probe of a:m failed"]
    )


async def test_a_router_that_stops_ends_its_probes(race: Race) -> None:
    asked = race.ask("a", "b")
    await race.until_asked("a", "b")
    race.say("b", "yes")
    await asked
    await race.probes.close()

    assert (race.broken_off, len(race.probes)) == (["a"], 0)
    assert race.state("a") is State.HALF_OPEN
