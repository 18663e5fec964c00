"""The same warning over and over is written a few times, and then counted."""

import logging

import pytest

from bitrouter.log.repeats import ALIKE, SAME, WINDOW_S, Repeats


class Log:
    """A logger behind the filter, and what came through."""

    def __init__(self) -> None:
        self.now = 100.0
        self.written: list[str] = []
        self.repeats = Repeats(self.emit, lambda: self.now)

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(record.getMessage())

    def log(self, message: str, *args: object, level: int = logging.WARNING) -> None:
        record = logging.LogRecord("bitrouter", level, "", 0, message, args, None)
        if self.repeats.filter(record):
            self.emit(record)


@pytest.fixture
def log() -> Log:
    """A log at the beginning of time."""
    return Log()


def test_of_the_same_line_there_are_a_few_and_then_their_number(log: Log) -> None:
    for _ in range(1000):
        log.log("attempt at %s failed: %s", "p:m", "reset")
    assert log.written == ["attempt at p:m failed: reset"] * SAME
    log.now += WINDOW_S
    log.repeats.tell()
    assert log.written[SAME:] == [
        f"{1000 - SAME} more lines like this were left out within 10 s:"
        " attempt at p:m failed: reset"
    ]


def test_the_number_is_said_before_the_next_such_line(log: Log) -> None:
    for _ in range(SAME + 2):
        log.log("it fails")
    log.now += WINDOW_S
    log.log("it fails")
    assert log.written[SAME:] == [
        "2 more lines like this were left out within 10 s: it fails",
        "it fails",
    ]


def test_the_number_is_said_once(log: Log) -> None:
    for _ in range(SAME + 2):
        log.log("it fails")
    for _ in range(3):
        log.now += WINDOW_S
        log.repeats.tell()
    assert len(log.written) == SAME + 1


def test_before_the_window_has_ended_nothing_is_said(log: Log) -> None:
    for _ in range(SAME + 2):
        log.log("it fails")
    log.now += WINDOW_S - 0.1
    log.repeats.tell()
    assert len(log.written) == SAME


def test_what_differs_is_told_apart(log: Log) -> None:
    for name in ("a", "b", "c"):
        for _ in range(SAME):
            log.log("attempt at %s failed", name)
    assert len(log.written) == 3 * SAME


def test_names_that_clients_make_up_do_not_fill_the_log(log: Log) -> None:
    for number in range(5000):
        log.log("attempt at %s failed", f"p:made-up-{number}")
    assert len(log.written) == ALIKE
    log.now += WINDOW_S
    log.repeats.tell()
    assert log.written[-1].startswith(f"{5000 - ALIKE} more lines like this were left out")


def test_after_the_window_there_are_a_few_again(log: Log) -> None:
    for _ in range(3):
        for _ in range(SAME):
            log.log("it fails")
        log.now += WINDOW_S
    assert log.written == ["it fails"] * (3 * SAME)


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_what_was_done_is_always_told(log: Log, level: int) -> None:
    for _ in range(200):
        log.log("admin: %s", "route set", level=level)
    assert len(log.written) == 200


def test_what_is_kept_is_bounded(log: Log) -> None:
    for number in range(100):
        for other in range(ALIKE):
            log.log(f"message {number}: %s", other)
    assert len(log.repeats._same) <= 1000
