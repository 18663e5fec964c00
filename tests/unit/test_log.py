"""Log lines: one each, with no secret, no traceback and nothing that forges another."""

import contextlib
import io
import json
import logging
import os

import pytest

from bitrouter import log

FORMATS = ("text", "json")


class Stderr:
    """What is written to stderr."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured

    def getvalue(self) -> str:
        """All that was written since the last look."""
        assert log.flush()
        return self._captured.readouterr().err


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Stderr:
    """What is written to stderr, by a log that the test sets up."""
    return Stderr(capsys)


def line(**more: object) -> log.RequestLine:
    """A finished request."""
    fields = {
        "request_id": "req_1",
        "protocol": "chat",
        "attempts": 1,
        "status": 200,
        "outcome": "ok",
        "stream": False,
        "duration_ms": 12.5,
    }
    return log.RequestLine(**(fields | more))  # type: ignore[arg-type]  # as a test gives them


def fail() -> None:
    try:
        raise KeyError("sk-secret-in-the-text")
    except KeyError as error:
        raise ValueError("another secret") from error


# -- the line of a request ------------------------------------------------------------------


def test_a_request_is_one_line_of_text(stderr: Stderr) -> None:
    log.set_up("info", "text")
    log.log_request(line(route="m", cost_usd=0.25))
    stamp, _, rest = stderr.getvalue().partition(" ")
    assert len(stamp) == len("2026-01-01T00:00:00.000Z")
    assert rest == (
        "info    request request_id=req_1 protocol=chat route=m attempts=1 status=200 outcome=ok"
        " stream=False duration_ms=12.5 cost_usd=0.25\n"
    )


def test_a_request_is_one_object_of_json_without_what_is_not_known(stderr: Stderr) -> None:
    log.set_up("info", "json")
    log.log_request(line(route="m"))
    fields = json.loads(stderr.getvalue())
    assert list(fields)[:3] == ["time", "level", "message"]
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "level": "info",
        "message": "request",
        "request_id": "req_1",
        "protocol": "chat",
        "route": "m",
        "attempts": 1,
        "status": 200,
        "outcome": "ok",
        "stream": False,
        "duration_ms": 12.5,
    }


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a\u202eb", "a\u2028b", "x" * 1000])
def test_a_name_can_neither_forge_nor_flood(stderr: Stderr, log_format: str, name: str) -> None:
    log.set_up("info", log_format)
    log.log_request(line(route=name, model=name, error=name))
    written = stderr.getvalue()
    assert written.count("\n") == 1
    assert written[:-1].isprintable()
    assert len(written) < 1500


def test_below_info_no_request_is_written(stderr: Stderr) -> None:
    log.set_up("warning", "text")
    log.log_request(line())
    assert stderr.getvalue() == ""


def test_setting_up_again_writes_no_line_twice(stderr: Stderr) -> None:
    log.set_up("info", "text")
    log.set_up("info", "json")
    log.log_request(line())
    assert stderr.getvalue().count("req_1") == 1


class BrokenStream(io.StringIO):
    """Nobody reads the log any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_log_that_cannot_be_written_fails_no_request() -> None:
    log.RequestWriter(BrokenStream(), "text")(line())


# -- the line of a payment --------------------------------------------------------------------


def test_a_message_past_stdlibs_logging_is_written_as_one_of_its_own_would_be(
    stderr: Stderr,
) -> None:
    for log_format in FORMATS:
        log.set_up("info", log_format)
        log.log_message("bitrouter.payments", "payment 7: settled")
        logging.getLogger("bitrouter.payments").info("payment 7: settled")
        direct, ordinary = stderr.getvalue().splitlines()
        if log_format == "json":
            one, other = json.loads(direct), json.loads(ordinary)
            assert list(one) == list(other)
            assert one.pop("time")[:16] <= other.pop("time")[:16]
            assert one == other
        else:
            assert direct.partition(" ")[2] == ordinary.partition(" ")[2]
            assert len(direct) == len(ordinary)


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31m", "a\u202eb", "a\ud800b", "x" * 5000])
def test_a_message_can_neither_forge_nor_flood(stderr: Stderr, log_format: str, text: str) -> None:
    log.set_up("info", log_format)
    log.log_message("bitrouter.payments", text)
    written = stderr.getvalue()
    assert written.count("\n") == 1
    assert written[:-1].isprintable()
    assert len(written) < 1500


def test_below_info_no_message_is_written_and_set_up_again_none_twice(stderr: Stderr) -> None:
    log.set_up("warning", "text")
    log.log_message("bitrouter.payments", "one")
    log.set_up("info", "text")
    log.set_up("info", "text")
    log.log_message("bitrouter.payments", "two")
    written = stderr.getvalue()
    assert (written.count("one"), written.count("two")) == (0, 1)


def test_a_message_that_cannot_be_written_fails_nothing() -> None:
    log.MessageWriter(BrokenStream().write, "text")("bitrouter.payments", "told to nobody")


# -- other lines ----------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_fault_is_one_line_that_says_where_without_the_exceptions_text(
    stderr: Stderr, log_format: str
) -> None:
    log.set_up("info", log_format)
    try:
        fail()
    except ValueError:
        logging.getLogger("bitrouter").exception("request %s failed", "req_1")
    written = stderr.getvalue()
    assert written.count("\n") == 1
    assert "request req_1 failed" in written
    assert "ValueError at test_log.py:" in written
    assert "; from KeyError at test_log.py:" in written
    assert "secret" not in written
    assert "Traceback" not in written


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_message_cannot_forge_a_line(stderr: Stderr, log_format: str) -> None:
    log.set_up("info", log_format)
    logging.getLogger("bitrouter").warning("attempt at %s failed", "a\nb\u202ec")
    written = stderr.getvalue()
    assert written.count("\n") == 1
    assert "\u202e" not in written


# -- what is not written --------------------------------------------------------------------


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_warning_that_repeats_itself_is_written_a_few_times(
    stderr: Stderr, log_format: str
) -> None:
    log.set_up("info", log_format)
    for _ in range(1000):
        logging.getLogger("bitrouter").warning("attempt at %s failed: %s", "p:m", "reset")
    assert 1 < stderr.getvalue().count("attempt at p:m failed: reset") < 10


@pytest.mark.parametrize("log_format", FORMATS)
def test_setting_up_again_changes_the_level(stderr: Stderr, log_format: str) -> None:
    logger = logging.getLogger("bitrouter")
    for level, written in (("info", 2), ("warning", 1), ("error", 0), ("debug", 2)):
        log.set_up(level, log_format)
        logger.warning("something")
        log.log_request(line())
        assert stderr.getvalue().count("\n") == written, level


class Explosive:
    """Must not be looked at."""

    def __str__(self) -> str:
        raise AssertionError("nobody wanted to know")


def test_what_nobody_reads_is_not_formatted(stderr: Stderr) -> None:
    log.set_up("error", "text")
    logging.getLogger("bitrouter").warning("%s", Explosive())
    assert log.listeners == []
    assert stderr.getvalue() == ""


@pytest.mark.parametrize("log_format", FORMATS)
def test_lines_that_were_lost_are_told_in_the_form_of_the_log(log_format: str) -> None:
    """A pipe that nobody reads from for a while."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, contextlib.redirect_stderr(stream):
        log.set_up("info", log_format)
        for _ in range(15_000):
            log.log_request(line(route="r" * 200))
        dropped = log.dropped_lines()
        assert dropped > 1000
        content = _read_while_it_comes(reading)
    os.close(reading)
    (told,) = [one for one in content.splitlines() if "were left out" in one]
    message = f"{dropped} log lines were left out, because nobody took them"
    if log_format == "json":
        fields = json.loads(told)
        assert (fields["level"], fields["message"]) == ("warning", message)
    else:
        assert told.endswith(f" warning {message}")
    assert content.count("req_1") == 15_000 - dropped


def _read_while_it_comes(reading: int) -> str:
    os.set_blocking(reading, False)
    content, done = b"", False
    while True:
        try:
            content += os.read(reading, 1 << 20)
        except BlockingIOError:
            if done:
                return content.decode()
            done = log.flush(0.02)
