"""Sixteen failures of a provider, and what its clients notice of them.

`upstream` is the first endpoint of the route, and has the trouble; `second_upstream` is the
fallback, and is well unless it is said otherwise. Of what comes before the first byte to the
client nothing is noticed; what comes after it is an error event, unless the route has a rescue.
"""

import asyncio
import json
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.answers import events_of, read_stream
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    GOOGLE,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    RESPONSES,
    Dialect,
    event,
    settings,
)
from tests.support.faults import (
    NEVER,
    Got,
    ask,
    attempts_of,
    complete,
    complete_body,
    error,
    in_turn,
)
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.told import begun, hear, stream_of
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

Upstreams = tuple[ScriptedUpstream, ScriptedUpstream]

SOON = {"first_byte": "200ms", "idle": "200ms"}


@pytest.fixture
async def two(upstream: ScriptedUpstream, second_upstream: ScriptedUpstream) -> Upstreams:
    """The endpoint that has the trouble, and the fallback."""
    return upstream, second_upstream


async def start(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, **more: Any
) -> RunningRouter:
    """A router whose route has both; the fallback answers."""
    return await start_router(settings(dialect, *(one.url for one in two), **more))


def asked(two: Upstreams) -> tuple[int, int]:
    """How often each of them was asked."""
    return len(two[0].received), len(two[1].received)


def assert_complete(got: Got, dialect: Dialect, *, stream: bool, by: str) -> None:
    assert (got.status, got.body) == (200, complete_body(dialect, stream=stream))
    assert got.provider == by


# -- 1, 2: too many requests ------------------------------------------------------------------


async def test_429_with_a_short_retry_after_is_waited_for(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect)
    well = complete(dialect, stream=stream)
    two[0].script = in_turn(error(429, headers={"retry-after-ms": "40"}), well)
    assert_complete(await ask(router, dialect, stream=stream), dialect, stream=stream, by="p1")
    assert asked(two) == (2, 0)


async def test_429_with_a_long_retry_after_goes_to_the_fallback_and_so_do_all_until_then(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = error(429, headers={"retry-after": "60"})
    two[1].script = complete(dialect, stream=stream)
    for attempts in (2, 1, 1):
        got = await ask(router, dialect, stream=stream)
        assert_complete(got, dialect, stream=stream, by="p2")
        assert got.attempts == attempts
    assert asked(two) == (1, 3)


async def test_429_without_retry_after_goes_to_the_fallback_at_once(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = error(429)
    two[1].script = complete(dialect, stream=stream)
    for attempts in (2, 1, 1):
        got = await ask(router, dialect, stream=stream)
        assert_complete(got, dialect, stream=stream, by="p2")
        assert got.attempts == attempts
    assert asked(two) == (1, 3)


# -- 3, 4: faults of the provider -------------------------------------------------------------


async def test_500_once_is_not_noticed(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = in_turn(error(500), complete(dialect, stream=stream))
    got = await ask(router, dialect, stream=stream)
    assert_complete(got, dialect, stream=stream, by="p1")
    assert asked(two) == (2, 0)


async def test_503_for_good_goes_to_the_fallback_and_soon_without_asking(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = error(503)
    two[1].script = complete(dialect, stream=stream)
    for _ in range(10):
        got = await ask(router, dialect, stream=stream)
        assert_complete(got, dialect, stream=stream, by="p2")
    assert asked(two) == (5, 10)  # circuit_breaker.failures


# -- 5, 6, 7: no answer -----------------------------------------------------------------------


@pytest.mark.usefixtures("way")
async def test_reset_before_the_headers_goes_to_the_fallback(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = None
    two[1].script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert_complete(got, dialect, stream=stream, by="p2")
    assert asked(two) == (2, 1)


@pytest.mark.usefixtures("way")
async def test_no_response_goes_to_the_fallback_and_the_silent_one_is_not_asked_again(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect, timeouts=SOON)
    two[0].script = Reply(wait=NEVER)
    two[1].script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert_complete(got, dialect, stream=stream, by="p2")
    assert asked(two) == (1, 1)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("comments", [(), (b": thinking\n\n",) * 40], ids=["silent", "comments"])
async def test_slow_first_token_goes_to_the_fallback(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, comments: tuple[bytes, ...]
) -> None:
    router = await start(start_router, two, dialect, timeouts=SOON)
    two[0].script = sse(b": hello\n\n", *comments, *dialect.events, gap_s=0.05)
    if not comments:
        two[0].script = sse(b": hello\n\n", *dialect.events, pause=NEVER)
    two[1].script = complete(dialect, stream=True)
    got = await ask(router, dialect, stream=True)
    assert_complete(got, dialect, stream=True, by="p2")
    assert asked(two) == (1, 1)


async def test_slow_body_goes_to_the_fallback(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    router = await start(start_router, two, dialect, timeouts=SOON)
    two[0].script = Reply((dialect.answer[:9], dialect.answer[9:]), pause=NEVER)
    two[1].script = complete(dialect, stream=False)
    got = await ask(router, dialect)
    assert_complete(got, dialect, stream=False, by="p2")
    assert asked(two) == (1, 1)


# -- 8, 9: a stream that does not go on -------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("cut", [True, False], ids=["broken off", "ended early"])
async def test_cut_before_the_first_event_goes_to_the_fallback(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool, cut: bool
) -> None:
    router = await start(start_router, two, dialect)
    first = dialect.events[0] if stream else dialect.answer
    kind = "text/event-stream" if stream else "application/json"
    two[0].script = Reply((first[:-9],), content_type=kind, chunked=True, cut=cut)
    two[1].script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert_complete(got, dialect, stream=stream, by="p2")
    assert asked(two) == (1, 1)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("cut", [True, False], ids=["broken off", "ended early"])
async def test_stream_cut_is_an_error_event_and_nothing_of_another_answer(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, cut: bool
) -> None:
    router = await start(start_router, two, dialect)
    begun = dialect.events[: -dialect.end]
    two[0].script = sse(*begun, cut=cut)
    two[1].script = complete(dialect, stream=True)
    got = await ask(router, dialect, stream=True)
    assert (got.status, got.provider) == (200, "p1")
    assert got.body.startswith(b"".join(begun))
    assert dialect.error_in_stream(got.body)
    assert asked(two) == (1, 0)


@pytest.mark.usefixtures("way")
async def test_stream_stall_is_an_error_event_and_nothing_of_another_answer(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    router = await start(start_router, two, dialect, timeouts=SOON)
    two[0].script = sse(*dialect.events, pause=NEVER)
    two[1].script = complete(dialect, stream=True)
    got = await ask(router, dialect, stream=True)
    assert (got.status, got.provider) == (200, "p1")
    assert got.body.startswith(dialect.events[0])
    assert "timeouts.idle: 0.2 s" in dialect.error_in_stream(got.body)
    assert asked(two) == (1, 0)


def with_rescue(dialect: Dialect, two: Upstreams, mode: str) -> dict[str, Any]:
    """Settings in which the fallback finishes what broke off; it takes a prefill."""
    given = settings(dialect, *(one.url for one in two), timeouts={"idle": "200ms"})
    given["providers"]["p2"]["models"] = {"up-1": {"capabilities": {"prefill": True}}}
    given["models"]["m"]["rescue"] = mode
    return given


def is_prefilled(received: Received) -> bool:
    """Whether a request ends with what the model has said so far."""
    body = json.loads(received.body)
    turns = body.get("messages") or body.get("contents") or body["input"]
    return isinstance(turns, list) and turns[-1]["role"] in ("assistant", "model")


@pytest.mark.parametrize("end", ["cut", "stall"])
@pytest.mark.parametrize("mode", ["continue", "restart"])
async def test_stream_cut_or_stalled_is_finished_by_the_fallback_where_the_route_says_so(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, mode: str, end: str
) -> None:
    router = await start_router(with_rescue(dialect, two, mode))
    opening = b"".join(begun(dialect, "Hel"))
    two[0].script = sse(opening, cut=True) if end == "cut" else sse(opening, b":", pause=NEVER)
    rest = ("lo", " there") if mode == "continue" else ("Hello", " there")
    two[1].script = sse(*stream_of(dialect, *rest))
    got = await ask(router, dialect, stream=True)
    heard = hear(dialect, got.body)
    assert (got.status, heard.text, heard.ends, heard.error) == (200, "Hello there", 1, None)
    assert asked(two) == (1, 1)
    assert is_prefilled(two[1].last) == (mode == "continue")


# -- 14: a fallback that cannot go on with what another began ----------------------------------


async def test_fallback_that_refuses_prefill_answers_afresh(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    router = await start_router(with_rescue(dialect, two, "continue"))
    two[0].script = sse(*begun(dialect, "Hel"), cut=True)
    fresh = sse(*stream_of(dialect, "Hello", " there"))
    two[1].script = lambda received: error(400) if is_prefilled(received) else fresh
    got = await ask(router, dialect, stream=True)
    heard = hear(dialect, got.body)
    assert (got.status, heard.text, heard.ends, heard.error) == (200, "Hello there", 1, None)
    assert asked(two) == (1, 2)


async def test_fallback_that_refuses_prefill_does_not_hide_the_first_failure(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    router = await start_router(with_rescue(dialect, two, "continue"))
    two[0].script = sse(*begun(dialect, "Hel"), cut=True)
    two[1].script = error(400)
    got = await ask(router, dialect, stream=True)
    heard = hear(dialect, got.body)
    assert (got.status, heard.text, heard.ends) == (200, "Hel", 0)
    assert heard.error == "the upstream broke off its answer"


# -- 10, 11: an answer that is there, and not as it should be ---------------------------------


@pytest.mark.parametrize("place", [0, 2], ids=["first", "later"])
async def test_malformed_chunk_is_left_out_of_a_stream_that_is_sound(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, place: int
) -> None:
    router = await start(start_router, two, dialect)
    malformed = b'data: {"choices": [{"del\n\n'
    two[0].script = sse(*dialect.events[:place], malformed, *dialect.events[place:])
    got = await ask(router, dialect, stream=True)
    assert_complete(got, dialect, stream=True, by="p1")
    assert asked(two) == (1, 0)


async def test_malformed_answer_goes_to_the_fallback(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = Reply((dialect.answer[:-2],))
    two[1].script = complete(dialect, stream=False)
    got = await ask(router, dialect)
    assert_complete(got, dialect, stream=False, by="p2")
    assert asked(two) == (1, 1)


@pytest.mark.parametrize("dialect", [CHAT, ANTHROPIC], ids=lambda one: one.name)
async def test_missing_end_marker_of_a_finished_answer_is_made_up_for(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = sse(*dialect.events[:-1])
    got = await ask(router, dialect, stream=True)
    assert (got.status, got.provider) == (200, "p1")
    assert events_of(got.body) == events_of(b"".join(dialect.events))
    assert got.body.endswith(b"data: [DONE]\n\n") == (dialect is CHAT)
    assert asked(two) == (1, 0)


# -- 12, 13: what the provider says to the request --------------------------------------------

TOO_LONG: dict[str, dict[str, Any]] = {
    "chat": {
        "message": "This model's maximum context length is 8192 tokens.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    },
    "responses": {
        "message": "Your input exceeds the context window of this model.",
        "type": "invalid_request_error",
        "param": "input",
        "code": "context_length_exceeded",
    },
    "anthropic": {
        "type": "invalid_request_error",
        "message": "prompt is too long: 208310 tokens > 200000 maximum",
    },
    "google": {
        "code": 400,
        "message": "The input token count (1200000) exceeds the maximum number of tokens allowed"
        " (1048576).",
        "status": "INVALID_ARGUMENT",
    },
}


def refusal(fields: dict[str, Any], status: int = 400) -> Reply:
    return Reply((json.dumps({"type": "error", "error": fields}).encode(),), status=status)


def with_windows(dialect: Dialect, two: Upstreams, *windows: int) -> dict[str, Any]:
    """Settings with the size of each endpoint's context in the catalogue."""
    given = settings(dialect, *(one.url for one in two))
    for name, window in zip(("p1", "p2"), windows, strict=True):
        given["providers"][name]["models"] = {"up-1": {"max_input_tokens": window}}
    return given


async def test_context_length_goes_to_the_fallback_whose_window_is_larger(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(with_windows(dialect, two, 8_000, 200_000))
    two[0].script = refusal(TOO_LONG[dialect.name])
    two[1].script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert_complete(got, dialect, stream=stream, by="p2")
    assert asked(two) == (1, 1)


async def test_context_length_is_told_where_no_window_is_larger(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start_router(with_windows(dialect, two, 8_000, 8_000))
    two[0].script = reply = refusal(TOO_LONG[dialect.name])
    two[1].script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert (got.status, got.body) == (400, reply.chunks[0])
    assert asked(two) == (1, 0)


FILTERED = {"code": "content_filter", "message": "The prompt was filtered.", "type": "x"}


async def test_content_filter_is_told_with_the_providers_reason(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = reply = refusal(FILTERED)
    two[1].script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert (got.status, got.body, got.provider) == (400, reply.chunks[0], "p1")
    assert asked(two) == (1, 0)


@pytest.mark.parametrize("status", [403, 500])
@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=lambda one: one.name)
async def test_content_filter_is_known_by_its_word_whatever_the_status(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool, status: int
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = reply = refusal(FILTERED, status)
    two[1].script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert (got.status, got.body, got.provider) == (status, reply.chunks[0], "p1")
    assert asked(two) == (1, 0)


BLOCKED: dict[str, bytes] = {
    "chat": event(
        {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "up-1",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}],
        }
    )
    + b"data: [DONE]\n\n",
    "google": event({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}}),
}


@pytest.mark.parametrize("dialect", [CHAT, GOOGLE], ids=lambda one: one.name)
async def test_content_filter_in_the_answer_is_the_answer(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    router = await start(start_router, two, dialect)
    two[0].script = sse(BLOCKED[dialect.name])
    two[1].script = complete(dialect, stream=True)
    got = await ask(router, dialect, stream=True)
    assert (got.status, got.body, got.provider) == (200, BLOCKED[dialect.name], "p1")
    assert asked(two) == (1, 0)


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=lambda one: one.name)
async def test_content_filter_that_a_stream_begins_with_is_told(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    router = await start(start_router, two, dialect)
    failure = {"code": "content_filter", "message": "The prompt was filtered."}
    told = {"error": failure} if dialect is CHAT else {"type": "error", **failure}
    two[0].script = sse(event(told, None if dialect is CHAT else "error"))
    two[1].script = complete(dialect, stream=True)
    got = await ask(router, dialect, stream=True)
    assert got.status == 400
    assert dialect.error(got.body, 400).endswith("The prompt was filtered.")
    assert asked(two) == (1, 0)


# -- 15: an endpoint that is well and not well by turns ---------------------------------------


async def test_flapping_primary_is_not_noticed(
    start_router: StartRouter, two: Upstreams, dialect: Dialect, stream: bool
) -> None:
    router = await start(start_router, two, dialect)
    well = complete(dialect, stream=stream)
    turns = [reply for _ in range(12) for reply in (error(503), well, None, error(500), well)]
    two[0].script = in_turn(*turns)
    two[1].script = well
    for _ in range(30):
        got = await ask(router, dialect, stream=stream)
        assert (got.status, got.body) == (200, complete_body(dialect, stream=stream))


# -- 16: what a fail-over counts for ----------------------------------------------------------


async def test_fail_over_is_accounted_to_who_answered(
    start_router: StartRouter,
    two: Upstreams,
    request_log: RequestLog,
    dialect: Dialect,
    stream: bool,
) -> None:
    given = settings(dialect, *(one.url for one in two))
    for name, price in (("p1", 1_000_000), ("p2", 1)):
        given["providers"][name]["models"] = {"up-1": {"price": {"input": price, "output": price}}}
    router = await start_router(given)
    two[0].script = Reply((dialect.answer,), status=503)  # its usage is nobody's
    two[1].script = complete(dialect, stream=stream)
    got = await ask(router, dialect, stream=stream)
    assert_complete(got, dialect, stream=stream, by="p2")
    assert (got.headers["x-bitrouter-model"], got.attempts) == ("up-1", 3)
    line = await request_log.next_line()
    assert (line["provider"], line["attempts"], line["outcome"]) == ("p2", 3, "ok")
    assert (line["input_tokens"], line["output_tokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert line["cost_usd"] == pytest.approx((INPUT_TOKENS + OUTPUT_TOKENS) * 1e-6)
    metrics = router.router.services.metrics
    assert attempts_of(router) == {("p1:up-1", "5xx"): 2, ("p2:up-1", "ok"): 1}
    route = metrics.routes["m"]
    assert list(route.by_endpoint) == ["p2:up-1"]
    assert route.requests == {(dialect.name, "ok"): 1}
    assert (route.input.tokens, route.output.tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)


async def test_fail_over_to_another_protocol_is_complete(
    start_router: StartRouter, two: Upstreams, dialect: Dialect
) -> None:
    given = settings(dialect, *(one.url for one in two))
    spoken = CHAT if dialect is ANTHROPIC else ANTHROPIC
    given["providers"]["p2"]["api_protocol"] = spoken.api_protocol
    router = await start_router(given)
    two[0].script = error(503)
    two[1].script = complete(spoken, stream=True)
    got = await ask(router, dialect, stream=True)
    told = read_stream(dialect, got.body)
    assert (got.status, told.text, told.ended) == (200, "Hello there", True)
    assert (got.provider, asked(two)) == ("p2", (2, 1))


async def test_clients_that_wait_together_all_get_the_answer_of_the_fallback(
    start_router: StartRouter, two: Upstreams
) -> None:
    router = await start(start_router, two, CHAT)
    two[0].script = error(503)
    two[1].script = complete(CHAT, stream=False)
    answers = await asyncio.gather(*(ask(router, CHAT) for _ in range(50)))
    assert {(got.status, got.body) for got in answers} == {(200, CHAT.answer)}
