"""A chat server's error answers, and what a chat client gets for those of others."""

import json

import pytest

from bitrouter import ir
from bitrouter.errors import Rejected
from tests.support.splits import WIRE
from tests.unit.protocols.chat.chatwire import CHAT, CODEC

STATUS_WORDS = "the upstream answered with status 429 (too many requests)"


def test_documented_error_is_understood() -> None:
    failure = CHAT.decode_error(400, (WIRE / "chat" / "refusal.json").read_bytes())

    assert failure == ir.Failure(
        400,
        "This model's maximum context length is 128000 tokens.",
        "context_length_exceeded",
    )


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"message":"m","type":"t","code":"c"}}', "m", "c"),
        (b'{"error":{"message":"m","code":429}}', "m", None),
        (b'{"error":"m"}', "m", None),
        (b'{"message":"m","object":"error","code":400}', "m", None),
        (b'[{"error":{"message":"m"}}]', "m", None),
        (b"<html>oops</html>", "the upstream answered with status 429 (too many requests)", None),
        (b"", "the upstream answered with status 429 (too many requests)", None),
        (
            b'{"error":{"message":["m"]}}',
            "the upstream answered with status 429 (too many requests)",
            None,
        ),
    ],
)
def test_message_is_found_wherever_a_server_puts_it(
    body: bytes, message: str, code: str | None
) -> None:
    assert CHAT.decode_error(429, body) == ir.Failure(429, message, code)


@pytest.mark.parametrize(
    ("status", "code", "written"),
    [
        (400, None, ("invalid_request_error", None)),
        (400, "context_length_exceeded", ("invalid_request_error", "context_length_exceeded")),
        (401, None, ("authentication_error", "invalid_api_key")),
        (402, None, ("insufficient_quota", "insufficient_quota")),
        (403, None, ("permission_error", "permission_denied")),
        (404, None, ("not_found_error", "model_not_found")),
        (408, None, ("timeout", "timeout")),
        (409, None, ("conflict_error", "conflict")),
        (413, None, ("invalid_request_error", "request_too_large")),
        (415, None, ("invalid_request_error", None)),
        (422, None, ("invalid_request_error", None)),
        (429, None, ("rate_limit_error", "rate_limit_exceeded")),
        (429, "insufficient_quota", ("insufficient_quota", "insufficient_quota")),
        (500, None, ("server_error", "internal_error")),
        (502, None, ("server_error", "upstream_error")),
        (503, None, ("server_error", "service_unavailable")),
        (504, None, ("server_error", "upstream_timeout")),
        (529, None, ("server_error", "overloaded")),
    ],
)
def test_error_of_another_vendor_has_openais_words(
    status: int, code: str | None, written: tuple[str, str | None]
) -> None:
    error = Rejected(status, "m", headers={}, body=b"", retryable=False, code=code)

    answer = CODEC.encode_error(error, "req_1")

    assert answer.status == (503 if status == 529 else status)
    assert json.loads(answer.body) == {
        "error": {"message": "m", "type": written[0], "param": None, "code": written[1]}
    }
