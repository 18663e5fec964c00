"""What every protocol says and understands of errors."""

import inspect
import json
from typing import Any

import pytest

from bitrouter import errors
from bitrouter.errors import RouterError
from bitrouter.protocols import BY_API_PROTOCOL, CODECS
from bitrouter.protocols.codec import Codec
from tests.support.splits import WIRE

each_codec = pytest.mark.parametrize("codec", CODECS, ids=[codec.name for codec in CODECS])


@pytest.mark.parametrize("codec", CODECS, ids=[codec.name for codec in CODECS])
def test_providers_error_body_is_understood(codec: Codec) -> None:
    body = (WIRE / codec.name / "refusal.json").read_bytes()

    message = codec.read_error(body)

    assert message
    assert message == json.loads(body)["error"]["message"]


@each_codec
@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"<html>",
            b"{}",
            b"[]",
            b"null",
            b'{"error":null}',
            b'{"error":5}',
            b'{"detail":"x"}',
        ),
        *(b'{"error":{"message":"\xff"}}', b'{"error":' + b"[" * 5000, b'{"error":{"message":5}}'),
    ],
)
def test_other_bodies_are_no_errors_of_the_protocol(codec: Codec, body: bytes) -> None:
    assert codec.read_error(body) is None


def test_google_error_may_stand_in_an_array() -> None:
    assert BY_API_PROTOCOL["google"].read_error(b'[{"error":{"message":"m"}}]') == "m"


def test_google_says_in_the_body_that_the_key_is_wrong() -> None:
    codec = BY_API_PROTOCOL["google"]

    assert codec.blames_key(b'{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}')
    assert not codec.blames_key((WIRE / "google/refusal.json").read_bytes())


UNPAID: Any = {"reason": "payment_required", "headers": {}, "members": b""}


def every_error() -> list[RouterError]:
    """One of each class that can be answered with."""
    special: dict[str, RouterError] = {
        "MethodNotAllowed": errors.MethodNotAllowed("text", allow=["POST"]),
        "PaymentRequired": errors.PaymentRequired("text", **UNPAID),
        "ApprovalMissing": errors.ApprovalMissing("text", **UNPAID),
        "RequestTimeout": errors.RequestTimeout("body_read", 5.0),
        "UpstreamTimeout": errors.UpstreamTimeout("idle", 5.0),
        "Rejected": errors.Rejected(418, "text", headers={}, body=b"", retryable=False),
        "StreamRefused": errors.StreamRefused("text"),
        "StreamFailed": errors.StreamFailed("text", status=529, code=None),
    }
    classes = [
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, RouterError)
    ]
    return [special.get(one.__name__) or one("text", retry_after_s=2.5) for one in classes]


@each_codec
@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_has_the_protocols_shape_and_reads_back(
    codec: Codec, error: RouterError
) -> None:
    answer = codec.encode_error(error, "req_1")

    assert codec.read_error(answer.body) == error.detail
    body = json.loads(answer.body)
    if codec.name == "google":
        assert body["error"]["code"] == answer.status
        assert next(iter(body)) == "error"
        assert body["error"]["status"].isupper()
    elif codec.name == "anthropic":
        assert (body["type"], body["request_id"]) == ("error", "req_1")
        assert isinstance(body["error"]["type"], str)
    else:
        assert body["error"].keys() == {"message", "type", "param", "code"}
        words = {"Rejected": None, "StreamFailed": "overloaded"}
        assert body["error"]["code"] == (error.code or words[type(error).__name__])
    if error.status not in (503, 529):
        assert answer.status == error.status


# The classes of protocols.md, section 2.12: status, then the words of each protocol.
@pytest.mark.parametrize(
    ("status", "openai", "anthropic", "google"),
    [
        (400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
        (401, "authentication_error", "authentication_error", "UNAUTHENTICATED"),
        (402, "insufficient_quota", "billing_error", "FAILED_PRECONDITION"),
        (403, "permission_error", "permission_error", "PERMISSION_DENIED"),
        (404, "not_found_error", "not_found_error", "NOT_FOUND"),
        (405, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
        (408, "timeout", "timeout_error", "DEADLINE_EXCEEDED"),
        (409, "conflict_error", "conflict_error", "ABORTED"),
        (413, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT"),
        (422, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
        (429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
        (500, "server_error", "api_error", "INTERNAL"),
        (502, "server_error", "api_error", "INTERNAL"),
        (503, "server_error", "overloaded_error", "UNAVAILABLE"),
        (504, "server_error", "timeout_error", "DEADLINE_EXCEEDED"),
        (529, "server_error", "overloaded_error", "UNAVAILABLE"),
    ],
)
def test_status_has_the_word_that_the_vendor_uses(
    status: int, openai: str, anthropic: str, google: str
) -> None:
    error = errors.Rejected(status, "m", headers={}, body=b"", retryable=False)
    words = {"openai": openai, "responses": openai, "anthropic": anthropic, "google": google}
    # 529 is Anthropic's alone, and is what it has for 503.
    expected = dict.fromkeys(words, 503 if status == 529 else status)
    expected["anthropic"] = 529 if status == 503 else status

    for protocol, word in words.items():
        answer = BY_API_PROTOCOL[protocol].encode_error(error, "req_1")
        fields = json.loads(answer.body)["error"]
        assert (answer.status, fields["status" if protocol == "google" else "type"]) == (
            expected[protocol],
            word,
        )


def test_google_error_says_how_long_to_wait() -> None:
    error = errors.Overloaded("busy", retry_after_s=1.5)

    body = json.loads(BY_API_PROTOCOL["google"].encode_error(error, "req_1").body)

    assert body["error"]["details"] == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}
    ]
