"""A provider's error is understood whatever shape it comes in (protocols.md, 2.12)."""

import pytest

from bitrouter.errors import CONTEXT_TOO_LONG
from bitrouter.ir import Failure
from bitrouter.protocols.failure import read_failure


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (
            b'{"error":{"message":"too long","code":"context_length_exceeded"}}',
            "too long",
            "context_length_exceeded",
        ),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}', "busy", None),
        (b'{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}', "bad", None),
        (b'[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]', "bad", None),
        (b'{"error":"model not found"}', "model not found", None),
        (b'{"message":"no"}', "no", None),
        (b'{"error":{"detail":"no"}}', "no", None),
        (b'{"error":{"message":["x"]}}', None, None),
        (b'{"error":null}', None, None),
        (b"[]", None, None),
        (b"3", None, None),
        (b"", None, None),
        (b"<html>sk-0123456789</html>", None, None),
        (b'{"error":{"message":"cut', None, None),
    ],
)
def test_message_and_code(body: bytes, message: str | None, code: str | None) -> None:
    plain = "the upstream answered with status 418 (i'm a teapot)"

    assert read_failure(418, body) == Failure(418, message or plain, code)


@pytest.mark.parametrize(("status", "words"), [(529, "overloaded"), (599, "unknown status")])
def test_statuses_that_have_no_name(status: int, words: str) -> None:
    assert read_failure(status, b"").message.endswith(f"status {status} ({words})")


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "Your input exceeds the context window of this model.",
        "the request exceeds the available context size, try increasing it",
    ],
)
def test_a_context_that_is_too_long_is_known_by_its_words(message: str) -> None:
    body = f'{{"error":{{"message":"{message}","code":400,"type":"BadRequestError"}}}}'.encode()

    assert read_failure(400, body).code == CONTEXT_TOO_LONG
    assert read_failure(500, body).code is None
