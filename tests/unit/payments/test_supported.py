"""What is remembered of what a facilitator can do."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bitrouter.payments.facilitator import (
    FacilitatorDenied,
    FacilitatorDown,
    Kind,
    Supported,
)
from bitrouter.payments.supported import Rhythm, SupportedKinds

NETWORK = "eip155:84532"
FIRST, SECOND = "0x" + "Fa" * 20, "0x" + "fb" * 20
QUICK = Rhythm(refresh=0.01, first_retry=0.01, last_retry=0.02, between_requests=0.0)
SLOW = Rhythm(refresh=3600.0, first_retry=3600.0, last_retry=3600.0, between_requests=0.0)

Answer = Supported | Exception


def supported(address: str = FIRST, *signers: str) -> Supported:
    kinds = (
        Kind("exact", NETWORK, {}),
        Kind("upto", NETWORK, {"facilitatorAddress": address, "more": 1}),
    )
    return Supported(kinds, frozenset({"eip2612GasSponsoring"}), frozenset(signers))


class Asked:
    """Gives the answers in turn, the last one for ever. `settled` waits for the n-th question."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self._times = 0
        self._changed = asyncio.Condition()

    async def __call__(self) -> Supported:
        async with self._changed:
            self._times += 1
            self._changed.notify_all()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def times(self, number: int) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self._times >= number)


Start = Callable[..., SupportedKinds]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[SupportedKinds] = []

    def run(ask: Callable[[], Awaitable[Supported]], rhythm: Rhythm = QUICK) -> SupportedKinds:
        kinds = SupportedKinds(ask, rhythm=rhythm, grace_s=3600.0)
        started.append(kinds)
        kinds.start()
        return kinds

    yield run
    for kinds in started:
        await kinds.close()


async def test_nothing_is_known_before_the_first_answer(start: Start) -> None:
    never = asyncio.Event()

    async def ask() -> Supported:
        await never.wait()
        return supported()

    kinds = start(ask)
    await asyncio.sleep(0)

    assert not kinds.ready
    assert kinds.extra("exact", NETWORK) is None


async def test_what_is_listed_is_known_and_nothing_else(start: Start) -> None:
    asked = Asked(supported())
    kinds = start(asked)
    await asked.times(2)

    assert kinds.ready
    assert kinds.extra("exact", NETWORK) == {}
    assert kinds.extra("upto", NETWORK) == {"facilitatorAddress": FIRST, "more": 1}
    assert kinds.extra("upto", "eip155:1") is None
    assert kinds.extensions == {"eip2612GasSponsoring"}
    assert kinds.addresses("upto", NETWORK) == (FIRST,)
    assert kinds.addresses("exact", NETWORK) == ()


@pytest.mark.parametrize("failure", [FacilitatorDown("x"), FacilitatorDenied("x")], ids=repr)
async def test_it_asks_again_after_a_failure_and_tells_of_it_once(
    start: Start, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Asked(failure, failure, failure, supported())
    with caplog.at_level(logging.WARNING):
        kinds = start(asked)
        await asked.times(5)

    assert kinds.ready
    assert len(caplog.records) == 1


async def test_the_last_good_answer_stays_while_there_is_no_other(start: Start) -> None:
    asked = Asked(supported(), FacilitatorDown("x"))
    kinds = start(asked)
    await asked.times(4)

    assert kinds.ready
    assert kinds.extra("exact", NETWORK) == {}


async def test_what_is_not_listed_any_more_is_not_offered(start: Start) -> None:
    asked = Asked(supported(), Supported((Kind("exact", NETWORK, {}),), frozenset(), frozenset()))
    kinds = start(asked)
    await asked.times(3)

    assert kinds.extra("upto", NETWORK) is None
    assert kinds.extra("exact", NETWORK) == {}


async def test_the_first_of_several_accounts_stays(start: Start) -> None:
    accounts = (FIRST.lower(), SECOND)
    asked = Asked(*(supported(one, *accounts) for one in (FIRST, SECOND, FIRST, SECOND)))
    kinds = start(asked)
    await asked.times(4)

    assert kinds.extra("upto", NETWORK) == {"facilitatorAddress": FIRST, "more": 1}
    assert kinds.addresses("upto", NETWORK) == (FIRST,)


async def test_an_account_that_is_gone_is_replaced_and_still_taken(start: Start) -> None:
    asked = Asked(supported(FIRST, FIRST.lower()), supported(SECOND, SECOND))
    kinds = start(asked)
    await asked.times(3)

    assert kinds.extra("upto", NETWORK) == {"facilitatorAddress": SECOND, "more": 1}
    assert kinds.addresses("upto", NETWORK) == (SECOND, FIRST)


async def test_the_former_account_is_taken_for_some_time_only() -> None:
    now = 100.0
    kinds = SupportedKinds(
        Asked(supported(FIRST, FIRST.lower()), supported(SECOND, SECOND)),
        rhythm=QUICK,
        grace_s=60.0,
        monotonic=lambda: now,
    )
    for _ in range(2):
        await kinds._refresh(requested=False)
    assert kinds.addresses("upto", NETWORK) == (SECOND, FIRST)

    now += 61
    assert kinds.addresses("upto", NETWORK) == (SECOND,)


async def test_a_requested_refresh_comes_soon_and_is_believed(start: Start) -> None:
    accounts = (FIRST.lower(), SECOND)
    asked = Asked(supported(FIRST, *accounts), supported(SECOND, *accounts))
    kinds = start(asked, SLOW)
    await asked.times(1)
    await asyncio.sleep(0)
    assert kinds.addresses("upto", NETWORK) == (FIRST,)

    kinds.refresh_soon()
    await asked.times(2)
    await asyncio.sleep(0)

    assert kinds.addresses("upto", NETWORK) == (SECOND, FIRST)


async def test_requests_for_a_refresh_are_not_all_heard() -> None:
    kinds = SupportedKinds(Asked(supported()), rhythm=Rhythm(), monotonic=lambda: 100.0)
    kinds.refresh_soon()
    assert kinds._requested
    kinds._requested = False

    kinds.refresh_soon()

    assert not kinds._requested
