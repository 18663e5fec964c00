"""When an endpoint is left alone, and when it is asked again (reliability.md, section 4)."""

import logging

import pytest

from bitrouter.config.schema import CircuitBreaker, Duration
from bitrouter.routing import breaker
from bitrouter.routing.breaker import Admission, Breakers, State

KEY = "acme:big"


def breakers(failures: int = 5, cooldown: float = 10) -> Breakers:
    settings = CircuitBreaker(failures=failures, cooldown=Duration(cooldown))
    return Breakers(lambda: settings)


def open_one(found: Breakers, now: float = 0.0) -> None:
    for _ in range(5):
        found.failed(KEY, now)
    assert found.state(KEY, now) is State.OPEN


def close_one(found: Breakers, now: float) -> None:
    admission = found.admit(KEY, now)
    assert admission is Admission.PROBE
    found.answered(KEY, now, admission)


def is_asked(found: Breakers, now: float) -> bool:
    return found.admit(KEY, now) is not Admission.REFUSED


# -- when it opens --------------------------------------------------------------------------


def test_an_endpoint_that_never_failed_is_asked() -> None:
    found = breakers()

    found.succeeded(KEY, 0)

    assert found.admit(KEY, 0) is Admission.GRANTED
    assert found.state(KEY, 0) is State.CLOSED


def test_failures_in_a_row_open_it() -> None:
    found = breakers(failures=3)
    states = []
    for _ in range(3):
        found.failed(KEY, 0)
        states.append(found.state(KEY, 0))

    assert states == [State.CLOSED, State.CLOSED, State.OPEN]
    assert not is_asked(found, 9.9)
    assert found.wait_s(KEY, 4.0) == 6.0


def test_a_success_between_them_does_not() -> None:
    found = breakers(failures=3)

    for _ in range(5):
        found.failed(KEY, 0)
        found.failed(KEY, 0)
        found.succeeded(KEY, 0)

    assert is_asked(found, 0)


def test_an_answer_that_has_only_begun_is_no_success_yet() -> None:
    found = breakers(failures=3)

    for _ in range(3):
        admission = found.admit(KEY, 0)
        found.answered(KEY, 0, admission)
        found.failed(KEY, 0)  # it broke off

    assert found.state(KEY, 0) is State.OPEN


def test_half_of_what_it_was_asked_lately_opens_it() -> None:
    found = breakers()
    for number in range(9):
        found.failed(KEY, number)
        found.succeeded(KEY, number)

    found.failed(KEY, 9)
    assert found.state(KEY, 9) is State.CLOSED
    found.failed(KEY, 9)
    assert found.state(KEY, 9) is State.OPEN


def test_what_failed_half_a_minute_ago_counts_no_more() -> None:
    found = breakers()
    for _ in range(9):
        found.failed(KEY, 0)
        found.succeeded(KEY, 0)

    found.failed(KEY, 40)
    found.failed(KEY, 40)

    assert found.state(KEY, 40) is State.CLOSED


# -- how it closes --------------------------------------------------------------------------


def test_after_the_pause_one_probe_is_let_through() -> None:
    found = breakers()
    open_one(found)

    assert found.state(KEY, 10) is State.HALF_OPEN
    assert [found.admit(KEY, 10) for _ in range(3)] == [
        Admission.PROBE,
        Admission.REFUSED,
        Admission.REFUSED,
    ]


def test_a_probe_that_nobody_waits_for_makes_room_for_another() -> None:
    found = breakers()
    open_one(found)

    found.left(KEY, found.admit(KEY, 10))

    assert found.admit(KEY, 10) is Admission.PROBE


def test_nobody_else_who_leaves_makes_room_for_a_second_probe() -> None:
    found = breakers()
    before = found.admit(KEY, 0)
    open_one(found)
    assert found.admit(KEY, 10) is Admission.PROBE

    found.left(KEY, before)

    assert found.admit(KEY, 10) is Admission.REFUSED


def test_an_answered_probe_closes_it() -> None:
    found = breakers()
    open_one(found)

    close_one(found, 11)

    assert found.state(KEY, 11) is State.CLOSED
    assert found.admit(KEY, 11) is Admission.GRANTED


@pytest.mark.parametrize("ended", ["answered", "succeeded", "failed"])
def test_what_had_begun_before_it_opened_changes_nothing(ended: str) -> None:
    found = breakers()
    before = found.admit(KEY, 0)
    open_one(found)

    match ended:
        case "answered":
            found.answered(KEY, 5, before)
        case "succeeded":
            found.succeeded(KEY, 5)
        case _:
            found.failed(KEY, 5, before)

    assert (found.state(KEY, 5), found.wait_s(KEY, 5)) == (State.OPEN, 5)


def test_nor_does_it_long_after() -> None:
    found = breakers(cooldown=100)
    open_one(found)

    found.succeeded(KEY, 40)

    assert found.state(KEY, 40) is State.OPEN


def test_when_it_closes_what_failed_before_is_forgotten() -> None:
    found = breakers(failures=100)
    for _ in range(20):
        found.failed(KEY, 0)
    close_one(found, 10)

    found.failed(KEY, 11)

    assert found.state(KEY, 11) is State.CLOSED


def test_a_probes_failure_doubles_the_pause_up_to_two_minutes() -> None:
    found = breakers()
    open_one(found)
    now = 0.0
    pauses = []
    for _ in range(6):
        pause = found.wait_s(KEY, now)
        pauses.append(pause)
        now += pause
        found.failed(KEY, now, found.admit(KEY, now))

    assert pauses == [10, 20, 40, 80, 120, 120]


def test_a_success_halves_the_next_pause() -> None:
    found = breakers()
    open_one(found)
    found.failed(KEY, 10, found.admit(KEY, 10))
    found.failed(KEY, 30, found.admit(KEY, 30))
    close_one(found, 70)

    open_one(found, 100)

    assert found.wait_s(KEY, 100) == 20


def test_after_ten_good_minutes_the_pause_is_the_shortest_again() -> None:
    found = breakers()
    open_one(found)
    found.failed(KEY, 10, found.admit(KEY, 10))
    found.failed(KEY, 30, found.admit(KEY, 30))
    close_one(found, 70)
    found.succeeded(KEY, 671)

    open_one(found, 700)

    assert found.wait_s(KEY, 700) == 10


def test_the_load_comes_back_little_by_little() -> None:
    found = breakers()
    open_one(found)
    close_one(found, 10)

    early = sum(not found.prefers_not(KEY, 10.5) for _ in range(100))
    late = sum(not found.prefers_not(KEY, 14.5) for _ in range(100))

    assert 5 < early < 15
    assert 85 < late < 95
    assert not found.prefers_not(KEY, 15)


def test_it_says_once_that_it_opened_and_once_that_it_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = breakers()
    with caplog.at_level(logging.INFO, "bitrouter"):
        open_one(found)
        for now in (10, 30):
            found.failed(KEY, now, found.admit(KEY, now))
        found.failed(KEY, 31)
        close_one(found, 70)
        found.succeeded(KEY, 71)

    assert [record.getMessage() for record in caplog.records] == [
        "acme:big is left alone for 10 s: the circuit breaker is open, after 5 failures in a row"
        " and 5 among the last 5 answers",
        "acme:big answers again: the circuit breaker is closed",
    ]


# -- rest -----------------------------------------------------------------------------------


def test_one_that_said_until_when_it_rests_is_not_asked() -> None:
    found = breakers()

    found.rest(KEY, 0, 30, firm=True)

    assert (is_asked(found, 29), found.wait_s(KEY, 20)) == (False, 10)
    assert found.state(KEY, 29) is State.RESTING
    assert is_asked(found, 30)


def test_one_that_did_not_say_is_asked_when_there_is_no_other() -> None:
    found = breakers()

    found.rest(KEY, 0, 30, firm=False)

    assert is_asked(found, 5)
    assert found.prefers_not(KEY, 5)
    assert not found.prefers_not(KEY, 30)
    assert found.wait_s(KEY, 5) == 0


def test_a_rest_is_not_made_firm_by_an_earlier_one() -> None:
    found = breakers()

    found.rest(KEY, 0, 5, firm=True)
    found.rest(KEY, 1, 30, firm=False)

    assert not is_asked(found, 4)
    assert is_asked(found, 6)
    assert found.prefers_not(KEY, 6)


def test_nobody_rests_for_longer_than_two_minutes() -> None:
    found = breakers()

    found.rest(KEY, 0, 86_400, firm=True)

    assert found.wait_s(KEY, 0) == 120


# -- what is kept ---------------------------------------------------------------------------


def test_endpoints_that_are_gone_are_forgotten_and_the_others_are_not() -> None:
    found = breakers()
    open_one(found)
    for _ in range(5):
        found.failed("other:1", 0)

    found.retain(lambda key: key == KEY)

    assert found.state(KEY, 1) is State.OPEN
    assert found.state("other:1", 1) is State.CLOSED


def test_a_probe_that_ends_after_its_endpoint_was_replaced_says_nothing_of_the_new_one() -> None:
    found = breakers()
    open_one(found)
    admission = found.admit(KEY, 10)
    found.retain(lambda key: False)

    found.answered(KEY, 11, admission)
    found.left(KEY, admission)

    assert found.admit(KEY, 11) is Admission.GRANTED


def test_nothing_is_kept_of_an_endpoint_that_has_long_been_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaker, "_MAX_KEPT", 100)
    found = breakers(failures=1)
    found.failed("acme:first", 0)
    for number in range(99):
        found.failed(f"acme:{number}", 0)
    found.answered("acme:0", 10, found.admit("acme:0", 10))
    found.succeeded("acme:0", 45)  # no failure is left in the window, and its load is back

    found.failed("acme:new", 45)  # there is room without forgetting the oldest

    assert found.state("acme:first", 1) is State.OPEN


def test_names_that_anybody_makes_up_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "_MAX_KEPT", 100)
    found = breakers(failures=1)
    for number in range(150):
        found.failed(f"acme:{number}", 0)

    states = [found.state(f"acme:{number}", 0) for number in range(150)]

    assert states.count(State.OPEN) == 100


def test_a_twin_answers_as_the_next_request_is_answered_and_changes_nothing() -> None:
    breakers = Breakers(lambda: CircuitBreaker(failures=1))
    for key, at in (("recovered", 0.0), ("half open", 0.0), ("open", 1000.0)):
        breakers.failed(key, at)
    breakers.admit("recovered", 1000.0)
    breakers.answered("recovered", 1000.0, Admission.PROBE)
    keys = ("recovered", "half open", "open", "never seen")
    for now in (1000.5, 1001.5, 1002.0, 1003.0):
        twin, again = breakers.twin(keys), breakers.twin(keys)
        expected = [(twin.prefers_not(key, now), twin.admit(key, now)) for key in keys]
        assert [(again.prefers_not(key, now), again.admit(key, now)) for key in keys] == expected
        assert [
            (breakers.prefers_not(key, now), breakers.admit(key, now)) for key in keys
        ] == expected
        breakers.left("half open", Admission.PROBE)
