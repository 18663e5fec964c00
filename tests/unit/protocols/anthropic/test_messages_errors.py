"""A provider's error answer, and an error for a client (protocols.md, 1.3 and 2.12)."""

import json

import pytest

from bitrouter.errors import Rejected
from bitrouter.ir import Failure
from tests.support.splits import WIRE
from tests.unit.protocols.anthropic.wire import CODEC, TRANSLATOR


def test_recorded_error() -> None:
    body = (WIRE / "anthropic/refusal.json").read_bytes()

    assert TRANSLATOR.decode_error(400, body) == Failure(400, "max_tokens: Field required")


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"type":"x","message":"why"}}', "why", None),
        (
            b'{"error":{"message":"why","details":{"error_code":"credit_exhausted"}}}',
            "why",
            "credit_exhausted",
        ),
        (b'{"error":{"message":"why","code":"rate_limited"}}', "why", "rate_limited"),
        (b'{"error":{"message":"why","details":"odd"}}', "why", None),
        (b'[{"error":{"message":"why","code":404}}]', "why", None),
        (b'{"message":"why"}', "why", None),
        (b'{"error":"why"}', "why", None),
        (
            b'{"error":{"message":"prompt is too long: 210000 tokens > 200000 maximum"}}',
            "prompt is too long: 210000 tokens > 200000 maximum",
            "context_length_exceeded",
        ),
    ],
)
def test_words_of_an_error(body: bytes, message: str, code: str | None) -> None:
    assert TRANSLATOR.decode_error(400, body) == Failure(400, message, code)


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"[]", b"null", b"\xff"])
def test_error_without_words_has_those_of_its_status(body: bytes) -> None:
    failure = TRANSLATOR.decode_error(529, body)

    assert failure == Failure(529, "the upstream answered with status 529 (overloaded)")


@pytest.mark.parametrize(
    ("status", "answered", "kind"),
    [
        (400, 400, "invalid_request_error"),
        (401, 401, "authentication_error"),
        (402, 402, "billing_error"),
        (403, 403, "permission_error"),
        (404, 404, "not_found_error"),
        (405, 405, "invalid_request_error"),
        (408, 408, "timeout_error"),
        (409, 409, "conflict_error"),
        (413, 413, "request_too_large"),
        (415, 415, "invalid_request_error"),
        (422, 422, "invalid_request_error"),
        (429, 429, "rate_limit_error"),
        (500, 500, "api_error"),
        (502, 502, "api_error"),
        (503, 529, "overloaded_error"),
        (504, 504, "timeout_error"),
        (529, 529, "overloaded_error"),
    ],
)
def test_anothers_error_for_a_client(status: int, answered: int, kind: str) -> None:
    error = Rejected(status, "why", headers={}, body=b"", retryable=False, code="odd")

    answer = CODEC.encode_error(error, "req_1")

    assert answer.status == answered
    assert json.loads(answer.body) == {
        "type": "error",
        "error": {"type": kind, "message": "why"},
        "request_id": "req_1",
    }
