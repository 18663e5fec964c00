"""Errors: before the answer, in it, and answers that break off."""

import itertools
from typing import Final

import pytest

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.question import Failed

GROUP: Final = "Errors"
_WORDS: Final = {
    400: {
        "chat": "invalid_request_error",
        "anthropic": "invalid_request_error",
        "google": "INVALID_ARGUMENT",
    },
    401: {
        "chat": "authentication_error",
        "anthropic": "authentication_error",
        "google": "UNAUTHENTICATED",
    },
    403: {
        "chat": "permission_error",
        "anthropic": "permission_error",
        "google": "PERMISSION_DENIED",
    },
    404: {"chat": "not_found_error", "anthropic": "not_found_error", "google": "NOT_FOUND"},
    413: {
        "chat": "invalid_request_error",
        "anthropic": "request_too_large",
        "google": "INVALID_ARGUMENT",
    },
    429: {
        "chat": "rate_limit_error",
        "anthropic": "rate_limit_error",
        "google": "RESOURCE_EXHAUSTED",
    },
    500: {"chat": "server_error", "anthropic": "api_error", "google": "INTERNAL"},
    503: {"chat": "server_error", "anthropic": "overloaded_error", "google": "UNAVAILABLE"},
}


_numbers: Final = itertools.count()


async def _refused(cell: Cell, script: str) -> Failed:
    """The failure. Each is another model's: after one the router leaves an endpoint alone."""
    cell.model += f"-{next(_numbers)}"
    with pytest.raises(Failed) as caught:
        await cell.ask(f"[[{script}]]")
    return caught.value


def _check(cell: Cell, failed: Failed, status: int, message: str) -> None:
    """The status and the words of the client's protocol (protocols.md, 2.12)."""
    client = cell.client.name
    expected = 529 if status == 503 and client == "anthropic" else status
    assert failed.status == expected
    assert message in failed.message
    if not cell.native:
        assert failed.kind == _WORDS[status]["chat" if client == "responses" else client]


@feature(GROUP, "the request is not valid")
async def invalid(cell: Cell) -> None:
    failed = await _refused(cell, "error-400")
    _check(cell, failed, 400, "The prompt is not valid")


@feature(GROUP, "the prompt is too long")
async def too_long(cell: Cell) -> None:
    failed = await _refused(cell, "error-context")
    _check(cell, failed, 400, "prompt is too long: 99 tokens")
    openai = ("chat", "responses")
    if cell.client.name in openai and cell.provider.name in openai:
        assert failed.code == "context_length_exceeded"


@feature(GROUP, "the model is not there")
async def not_found(cell: Cell) -> None:
    _check(cell, await _refused(cell, "error-404"), 404, "The model does not exist")


@feature(GROUP, "the rate limit is reached, with the time to wait")
async def rate_limit(cell: Cell) -> None:
    failed = await _refused(cell, "error-429")
    _check(cell, failed, 429, "Rate limit reached")
    if cell.client.name == "google":
        assert "'retryDelay': '17s'" in str(failed.details)
    if cell.pair != ("google", "google"):
        assert cell.client.headers["retry-after"] == "17"


@feature(GROUP, "the provider has a fault")
async def internal(cell: Cell) -> None:
    _check(cell, await _refused(cell, "error-500"), 500, "The server had an error")


@feature(GROUP, "the provider is overloaded")
async def overloaded(cell: Cell) -> None:
    _check(cell, await _refused(cell, "error-overloaded"), 503, "overloaded")


@feature(GROUP, "the router's own key is wrong")
async def wrong_key(cell: Cell) -> None:
    failed = await _refused(cell, "error-401")
    _check(cell, failed, 401, "refused the router's own credential")


@feature(GROUP, "the router's key may not use the model")
async def forbidden(cell: Cell) -> None:
    failed = await _refused(cell, "error-403")
    _check(cell, failed, 403, "refused the router's own credential")


@feature(GROUP, "the request is too large for the provider")
async def too_large(cell: Cell) -> None:
    failed = await _refused(cell, "error-413")
    # Google has no status of its own for it.
    status = 400 if cell.provider.name == "google" else 413
    _check(cell, failed, status, "Request exceeds the maximum size")


@feature(GROUP, "the rate limit as the first event of a stream", modes="streamed")
async def first_event_rate_limit(cell: Cell) -> None:
    failed = await _refused(cell, "error-first-429")
    assert failed.heard == ""
    _check(cell, failed, 429, "Rate limit reached")


@feature(GROUP, "an error as the first event of a stream has its own status", modes="streamed")
async def first_event(cell: Cell) -> None:
    failed = await _refused(cell, "error-first")
    assert failed.heard == ""
    # OpenAI says in a stream only that it is the server's fault.
    status = 500 if cell.provider.name in ("chat", "responses") else 503
    _check(cell, failed, status, "overloaded")


@feature(GROUP, "an error in the middle of a stream", modes="streamed")
async def middle(cell: Cell) -> None:
    failed = await _refused(cell, "error-middle")
    assert failed.status is None
    assert "overloaded" in failed.message
    assert failed.heard.startswith("Gr")


@feature(GROUP, "an answer that breaks off")
async def cut(cell: Cell) -> None:
    failed = await _refused(cell, "cut")
    if cell.streamed:
        assert failed.status is None
        assert failed.heard.startswith("Gr")
    else:
        assert failed.status == 502
