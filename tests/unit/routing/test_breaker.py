"""When an endpoint is left alone, and when it is asked again (reliability.md, section 4)."""

from bitrouter.config.schema import CircuitBreaker, Duration
from bitrouter.routing.breaker import Breakers, State

KEY = "acme:big"


def breakers(failures: int = 5, cooldown: float = 10) -> Breakers:
    settings = CircuitBreaker(failures=failures, cooldown=Duration(cooldown))
    return Breakers(lambda: settings)


def open_one(found: Breakers, now: float = 0.0) -> None:
    for _ in range(5):
        found.failed(KEY, now)


def test_nothing_is_kept_of_an_endpoint_that_never_failed() -> None:
    found = breakers()

    found.succeeded(KEY, 0)

    assert found.admit(KEY, 0)
    assert found.state(KEY, 0) is State.CLOSED
    assert list(found.troubled(0)) == []


def test_failures_in_a_row_open_it() -> None:
    found = breakers(failures=3)

    assert [found.failed(KEY, 0) for _ in range(3)] == [False, False, True]
    assert not found.admit(KEY, 9.9)
    assert (found.state(KEY, 9.9), found.wait_s(KEY, 4.0)) == (State.OPEN, 6.0)
    assert list(found.troubled(1)) == [(KEY, State.OPEN)]


def test_a_success_between_them_does_not() -> None:
    found = breakers(failures=3)

    for _ in range(5):
        found.failed(KEY, 0)
        found.failed(KEY, 0)
        found.succeeded(KEY, 0)

    assert found.admit(KEY, 0)


def test_half_of_what_it_was_asked_lately_opens_it() -> None:
    found = breakers()
    for number in range(9):
        found.failed(KEY, number)
        found.succeeded(KEY, number)

    assert not found.failed(KEY, 9)
    assert found.failed(KEY, 9)


def test_what_failed_half_a_minute_ago_counts_no_more() -> None:
    found = breakers()
    for _ in range(9):
        found.failed(KEY, 0)
        found.succeeded(KEY, 0)

    assert not found.failed(KEY, 40)
    assert not found.failed(KEY, 40)


def test_after_the_pause_one_probe_is_let_through() -> None:
    found = breakers()
    open_one(found)

    assert found.state(KEY, 10) is State.HALF_OPEN
    assert [found.admit(KEY, 10) for _ in range(3)] == [True, False, False]


def test_a_probe_that_nobody_waits_for_makes_room_for_another() -> None:
    found = breakers()
    open_one(found)
    assert found.admit(KEY, 10)

    found.left(KEY)

    assert found.admit(KEY, 10)


def test_its_success_closes_it() -> None:
    found = breakers()
    open_one(found)
    found.admit(KEY, 10)

    found.succeeded(KEY, 11)

    assert found.state(KEY, 11) is State.CLOSED
    assert found.admit(KEY, 11)


def test_its_failure_doubles_the_pause_up_to_two_minutes() -> None:
    found = breakers()
    open_one(found)
    now = 0.0
    pauses = []
    for _ in range(6):
        pause = found.wait_s(KEY, now)
        pauses.append(pause)
        now += pause
        assert found.admit(KEY, now)
        found.failed(KEY, now)

    assert pauses == [10, 20, 40, 80, 120, 120]


def test_a_success_halves_the_next_pause() -> None:
    found = breakers()
    open_one(found)
    found.admit(KEY, 10)
    found.failed(KEY, 10)
    found.admit(KEY, 30)
    found.failed(KEY, 30)
    found.admit(KEY, 70)
    found.succeeded(KEY, 70)

    open_one(found, 100)

    assert found.wait_s(KEY, 100) == 20


def test_what_had_begun_before_it_opened_changes_nothing() -> None:
    found = breakers()
    open_one(found)

    found.failed(KEY, 5)

    assert found.wait_s(KEY, 5) == 5


def test_the_load_comes_back_little_by_little() -> None:
    found = breakers()
    open_one(found)
    found.admit(KEY, 10)
    found.succeeded(KEY, 10)

    early = sum(not found.prefers_not(KEY, 10.5) for _ in range(100))
    late = sum(not found.prefers_not(KEY, 14.5) for _ in range(100))

    assert 5 < early < 15
    assert 85 < late < 95
    assert not found.prefers_not(KEY, 15)
    assert not found.prefers_not(KEY, 10.5)


def test_one_that_rests_is_asked_when_there_is_no_other() -> None:
    found = breakers()

    found.rest(KEY, 30)

    assert found.admit(KEY, 5)
    assert found.prefers_not(KEY, 5)
    assert not found.prefers_not(KEY, 30)
    assert found.wait_s(KEY, 5) == 0


def test_endpoints_that_are_gone_are_forgotten_and_the_others_are_not() -> None:
    found = breakers()
    open_one(found)
    for _ in range(5):
        found.failed("other:1", 0)

    found.retain({KEY})

    assert not found.admit(KEY, 1)
    assert found.admit("other:1", 1)


def test_names_that_anybody_makes_up_do_not_pile_up() -> None:
    found = breakers(failures=1)
    for number in range(10_050):
        found.failed(f"acme:{number}", 0)

    assert len(list(found.troubled(0))) == 10_000
