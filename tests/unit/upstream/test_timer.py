"""One timer for all waits of an answer, on a clock that the test turns."""

import asyncio
from typing import cast

import pytest

from bitrouter.errors import UpstreamTimeout
from bitrouter.upstream.timer import ReadTimer
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def expired() -> list[UpstreamTimeout]:
    return []


@pytest.fixture
def timer(clock: Clock, expired: list[UpstreamTimeout]) -> ReadTimer:
    """Waits may last 10 s each, and all of it 100 s."""
    timer = ReadTimer(cast(asyncio.AbstractEventLoop, clock), expired.append)
    timer.limit_whole("total", 100)
    timer.limit_each_wait("idle", 10)
    return timer


def names(expired: list[UpstreamTimeout]) -> list[str]:
    return [error.timer for error in expired]


def test_wait_that_lasts_too_long_expires(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    timer.wait_begins()
    clock.turn(9.9)
    assert expired == []

    clock.turn(0.2)
    assert names(expired) == ["idle"]
    assert expired[0].retryable
    assert clock.running == []


def test_bytes_in_time_begin_a_new_wait(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    for _ in range(9):
        timer.wait_begins()
        clock.turn(9)
        timer.wait_ends()

    assert expired == []


@pytest.mark.parametrize("late", [0.5, 5.0, 9.9])
def test_wait_that_began_late_has_its_whole_time(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout], late: float
) -> None:
    clock.turn(late)
    timer.wait_begins()
    clock.turn(9.9)
    assert expired == []

    clock.turn(0.2)
    assert names(expired) == ["idle"]


def test_slow_client_is_not_the_upstreams_fault(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    timer.wait_begins()
    timer.wait_ends()
    clock.turn(90)

    assert expired == []


def test_whole_answer_has_an_end_however_often_bytes_come(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    for _ in range(100):
        timer.wait_begins()
        clock.turn(1)
        timer.wait_ends()
    clock.turn(1)

    assert names(expired) == ["total"]
    assert not expired[0].retryable


def test_first_event_has_one_limit_over_all_waits(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    timer.limit_all_waits("first_byte", 20, clock.time() + 20)
    for _ in range(4):
        timer.wait_begins()
        clock.turn(4.9)
        timer.wait_ends()
    assert expired == []

    timer.wait_begins()
    clock.turn(1)
    assert names(expired) == ["first_byte"]


def test_stopped_timer_never_expires_and_leaves_nothing_running(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    timer.wait_begins()
    timer.stop()
    clock.turn(1000)

    assert (expired, clock.running) == ([], [])


def test_waits_in_their_hundreds_set_no_timer_each(clock: Clock, timer: ReadTimer) -> None:
    before = clock.set
    for _ in range(500):
        timer.wait_begins()
        clock.turn(0.01)
        timer.wait_ends()

    assert clock.set - before <= 1


def test_timer_of_a_connection_goes_on_to_the_next_answer_without_being_set_anew(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    before = clock.set
    for _ in range(100):
        timer.limit_whole("total", 100)
        timer.limit_each_wait("idle", 10)
        timer.wait_begins()
        clock.turn(0.01)
        timer.rest()

    assert clock.set == before
    assert expired == []


def test_timer_at_rest_rings_once_in_vain(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    timer.wait_begins()
    timer.rest()
    clock.turn(1000)

    assert (expired, clock.running) == ([], [])


def test_shorter_limit_of_the_next_answer_counts_though_the_timer_was_set_for_later(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    timer.rest()
    timer.limit_whole("total", 100)
    timer.limit_each_wait("idle", 1)
    timer.wait_begins()
    clock.turn(1.1)

    assert names(expired) == ["idle"]


def test_who_has_had_all_the_time_there_is_is_not_asked_again(
    clock: Clock, timer: ReadTimer, expired: list[UpstreamTimeout]
) -> None:
    timer.limit_all_waits("total", 5, clock.time() + 5)
    timer.wait_begins()
    clock.turn(6)

    assert names(expired) == ["total"]
    assert not expired[0].retryable


# -- silences -----------------------------------------------------------------------------------


def stream_of(timer: ReadTimer, clock: Clock) -> None:
    """From now on the waits are those of a stream whose first event took 8 s to come."""
    timer.limit_whole("stream_total", 100)
    timer.limit_all_waits("first_byte", 20, clock.time() + 20)
    timer.wait_begins()
    clock.turn(8)
    timer.wait_ends()
    timer.limit_each_wait("idle", 10)


def test_longest_silence_is_that_between_two_events(clock: Clock, timer: ReadTimer) -> None:
    stream_of(timer, clock)
    assert timer.longest_s == 0
    for silence_s in (1, 4, 2):
        timer.wait_begins()
        clock.turn(silence_s)
        timer.wait_ends()
        clock.turn(5)  # the client is slow to take it
    assert timer.longest_s == 4


def test_events_within_one_wait_end_silences_too(clock: Clock, timer: ReadTimer) -> None:
    stream_of(timer, clock)
    timer.wait_begins()
    for silence_s in (1, 6, 2):
        clock.turn(silence_s)
        timer.wait_begins()
    clock.turn(3)
    timer.wait_ends()
    assert timer.longest_s == 6


def test_bytes_that_are_worth_nothing_end_no_silence(clock: Clock, timer: ReadTimer) -> None:
    stream_of(timer, clock)
    timer.wait_begins()
    for _ in range(3):
        clock.turn(2)
        timer.wait_ends()
        timer.wait_begins(again=True)
    clock.turn(1)
    timer.wait_ends()
    assert timer.longest_s == 7


def test_wait_for_the_end_of_the_connection_is_no_silence(clock: Clock, timer: ReadTimer) -> None:
    stream_of(timer, clock)
    timer.limit_each_wait("idle", 10)  # the answer is complete
    timer.wait_begins()
    clock.turn(9)
    timer.wait_ends()
    assert timer.longest_s == 0


def test_next_answer_has_its_own_silences(clock: Clock, timer: ReadTimer) -> None:
    stream_of(timer, clock)
    timer.wait_begins()
    clock.turn(5)
    timer.wait_ends()
    timer.rest()
    stream_of(timer, clock)
    assert timer.longest_s == 0
