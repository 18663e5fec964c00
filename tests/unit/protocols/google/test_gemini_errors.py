"""Errors: what a provider's says, and how ours are written for a client."""

import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import BadResponse, InvalidRequest, Overloaded, Rejected, RouterError
from tests.support.splits import WIRE
from tests.unit.protocols.google.geminiwire import CODEC, TRANSLATOR, Body

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


def read(status: int, body: Any) -> ir.Failure:
    return TRANSLATOR.decode_error(status, json.dumps(body).encode())


def written(error: RouterError) -> tuple[int, Body]:
    answer = CODEC.encode_error(error, "req_1")
    assert answer.body.startswith(b'{"error":{"code":')
    return answer.status, json.loads(answer.body)["error"]


def rejected(status: int, **fields: Any) -> Rejected:
    """A translated call's upstream said no."""
    return Rejected(status, "its words", headers={}, body=b"", retryable=False, **fields)


# -- read ---------------------------------------------------------------------------------------


def test_the_recorded_refusal() -> None:
    body = (WIRE / "google" / "refusal.json").read_bytes()
    failure = TRANSLATOR.decode_error(400, body)
    assert failure.message == CODEC.read_error(body)
    assert failure.status == 400


@pytest.mark.parametrize("wrapped", [False, True])
def test_message_and_status(wrapped: bool) -> None:
    """Unframed streams have their error in an array of one."""
    error = {"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}}
    assert read(404, [error] if wrapped else error) == ir.Failure(404, "no such model")


def test_a_wrong_key_is_one_though_its_status_does_not_say_so() -> None:
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    error = {"code": 400, "message": "API key not valid.", "details": [{"@type": "x"}, reason]}
    assert read(400, {"error": error}).status == 401
    assert read(400, {"error": error | {"details": []}}).status == 400


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ([{"@type": RETRY_INFO, "retryDelay": "17s"}], 17.0),
        ([{"@type": RETRY_INFO, "retryDelay": "0.25s"}], 0.25),
        ([{"@type": "x"}, {"@type": RETRY_INFO, "retryDelay": "3s"}], 3.0),
        ([{"@type": RETRY_INFO, "retryDelay": "soon"}], None),
        ([{"@type": RETRY_INFO, "retryDelay": "99999999999999999999s"}], None),
        ([{"@type": RETRY_INFO}], None),
        ([{"@type": "other", "retryDelay": "3s"}], None),
        ([3], None),
        ({}, None),
        (None, None),
    ],
)
def test_how_long_to_wait(details: Any, seconds: float | None) -> None:
    failure = read(429, {"error": {"code": 429, "message": "slow", "details": details}})
    assert failure == ir.Failure(429, "slow", retry_after_s=seconds)


def test_a_prompt_that_is_too_long_has_the_word_that_clients_look_for() -> None:
    message = (
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."
    )
    assert read(400, {"error": {"message": message}}).code == "context_length_exceeded"
    assert read(400, {"error": {"message": "something else"}}).code is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"m","code":"odd","details":3}}', "m"),
        (b'{"error":"m"}', "m"),
        (b'{"message":"m"}', "m"),
        (b'{"error":{"message":3}}', None),
        (b"[]", None),
        (b"[3]", None),
        (b"<html>secret</html>", None),
        (b"", None),
        (b"\xff", None),
        (b'{"error":' + b"[" * 20000, None),
    ],
)
def test_any_other_body_says_what_it_can(body: bytes, message: str | None) -> None:
    failure = TRANSLATOR.decode_error(502, body)
    assert failure.status == 502
    assert failure.message == (message or "the upstream answered with status 502 (bad gateway)")


# -- written ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "sent", "word"),
    [
        *((400, 400, "INVALID_ARGUMENT"), (401, 401, "UNAUTHENTICATED")),
        *((402, 402, "FAILED_PRECONDITION"), (403, 403, "PERMISSION_DENIED")),
        *((404, 404, "NOT_FOUND"), (405, 405, "INVALID_ARGUMENT")),
        *((408, 408, "DEADLINE_EXCEEDED"), (409, 409, "ABORTED")),
        *((413, 413, "INVALID_ARGUMENT"), (415, 415, "INVALID_ARGUMENT")),
        *((422, 422, "INVALID_ARGUMENT"), (429, 429, "RESOURCE_EXHAUSTED")),
        *((500, 500, "INTERNAL"), (501, 501, "UNIMPLEMENTED"), (502, 502, "INTERNAL")),
        *((503, 503, "UNAVAILABLE"), (504, 504, "DEADLINE_EXCEEDED")),
        (529, 503, "UNAVAILABLE"),
    ],
)
def test_an_upstream_s_error_in_google_s_words(status: int, sent: int, word: str) -> None:
    for code in (None, "context_length_exceeded"):
        assert written(rejected(status, code=code)) == (
            sent,
            {"code": sent, "message": "its words", "status": word},
        )


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [
        *((17.0, "17s"), (0.25, "0.25s"), (1e7, "10000000s"), (0.0004, "0s"), (1.23456, "1.235s")),
        *((0.0, "0s"), (-1.0, "0s"), (100.0, "100s")),
    ],
)
def test_how_long_to_wait_is_a_detail(seconds: float, delay: str) -> None:
    _, error = written(rejected(429, retry_after_s=seconds))
    assert error["details"] == [{"@type": RETRY_INFO, "retryDelay": delay}]


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (InvalidRequest("x"), 400, "INVALID_ARGUMENT"),
        (BadResponse("x"), 502, "INTERNAL"),
        (Overloaded("x", retry_after_s=1), 503, "UNAVAILABLE"),
    ],
)
def test_errors_of_our_own(error: RouterError, status: int, word: str) -> None:
    sent, fields = written(error)
    assert (sent, fields["code"], fields["status"], fields["message"]) == (
        status,
        status,
        word,
        "x",
    )


def test_what_we_write_we_read() -> None:
    answer = CODEC.encode_error(rejected(429, retry_after_s=2.5), "req_1")
    failure = TRANSLATOR.decode_error(answer.status, answer.body)
    assert failure == ir.Failure(429, "its words", retry_after_s=2.5)
