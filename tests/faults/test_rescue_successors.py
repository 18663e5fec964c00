"""A stream that dies, and what becomes of who goes on with it."""

import json

import pytest

from bitrouter.routing.breaker import State
from tests.conftest import StartRouter
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    Dialect,
    event,
)
from tests.support.faults import ask, error, in_turn
from tests.support.requestlog import RequestLog
from tests.support.rescues import (
    BROKEN,
    CUT,
    PIECES,
    SOON,
    TEXT,
    dying,
    each_client,
    rescue,
)
from tests.support.told import begun, hear, stream_of
from tests.support.upstream import Reply, ScriptedUpstream, sse


@each_client
@pytest.mark.parametrize("mode", ["continue", "restart"])
async def test_a_successor_that_dies_too_is_followed_by_the_next(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    third_upstream: ScriptedUpstream,
    request_log: RequestLog,
    client: Dialect,
    mode: str,
) -> None:
    endpoints = ((client, upstream), (CHAT, second_upstream), (ANTHROPIC, third_upstream))
    router = await start_router(rescue(mode, *endpoints, circuit_breaker={"failures": 1}))
    again = mode == "restart"
    upstream.script = dying(client, "Hel", "lo the", how="cut")
    second_upstream.script = dying(CHAT, *(PIECES[:2] if again else ()), "re, d", how="error event")
    third_upstream.script = sse(*stream_of(ANTHROPIC, *(PIECES[:2] if again else ()), "re, dear"))
    if not again:
        third_upstream.script = sse(*stream_of(ANTHROPIC, "ear", " friend"))
    text = "Hello there, dear" if again else TEXT
    # Whoever speaks the client's protocol goes first.
    if client is ANTHROPIC:
        second_upstream.script, third_upstream.script = (
            sse(
                *stream_of(
                    CHAT, *(PIECES[:2] if again else ()), "re, dear" if again else "ear friend"
                )
            ),
            dying(ANTHROPIC, *(PIECES[:2] if again else ()), "re, d", how="error event"),
        )

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == (text, 1, None)
    line = await request_log.next_line()
    assert (line["outcome"], line["attempts"]) == ("ok", 3)
    state_of = router.router.services.state_of
    failing = {key for key in ("p1:up-1", "p2:up-1", "p3:up-1") if state_of(key) is State.OPEN}
    assert failing == {"p1:up-1", "p3:up-1" if client is ANTHROPIC else "p2:up-1"}


@each_client
async def test_when_all_die_the_first_failure_is_told_and_all_that_was_said_stays(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    client: Dialect,
) -> None:
    router = await start_router(
        rescue("restart", (client, upstream), (client, second_upstream), timeouts=SOON)
    )
    upstream.script = dying(client, "Hel", "lo the", how="stall")
    second_upstream.script = dying(client, "Hello there, dear", how="error event")

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends) == ("Hello there, dear", 0)
    assert heard.error == "the upstream did not answer in time (timeouts.idle: 0.2 s)"
    assert (await request_log.next_line())["outcome"] == "timeout:idle"
    assert (len(upstream.received), len(second_upstream.received)) == (1, 1)


@pytest.mark.parametrize(
    "failing",
    [error(503), error(401), error(404), error(429), None, sse(CHAT.error_event("overloaded"))],
    ids=["503", "401", "404", "429", "closed", "error at once"],
)
async def test_a_successor_that_gives_no_answer_is_followed_by_the_next(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    third_upstream: ScriptedUpstream,
    failing: Reply | None,
) -> None:
    endpoints = ((CHAT, upstream), (CHAT, second_upstream), (CHAT, third_upstream))
    router = await start_router(rescue("restart", *endpoints))
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut")
    second_upstream.script = failing
    third_upstream.script = sse(*stream_of(CHAT, *PIECES))

    heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == (TEXT, 1, None)
    assert len(second_upstream.received) == 1


@pytest.mark.parametrize(
    ("status", "kind", "rescued"),
    [
        (529, "overloaded_error", True),
        (500, "api_error", True),
        (400, "invalid_request_error", False),
    ],
)
async def test_an_error_event_is_rescued_if_another_endpoint_may_do_better(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    status: int,
    kind: str,
    rescued: bool,
) -> None:
    endpoints = ((ANTHROPIC, upstream), (ANTHROPIC, second_upstream))
    router = await start_router(rescue("restart", *endpoints))
    fields = {"type": "error", "error": {"type": kind, "message": f"status {status}"}}
    upstream.script = sse(*begun(ANTHROPIC, "Hel", "lo the"), event(fields, "error"))
    second_upstream.script = sse(*stream_of(ANTHROPIC, *PIECES))

    heard = hear(ANTHROPIC, (await ask(router, ANTHROPIC, stream=True)).body)

    assert (heard.ends == 1, len(second_upstream.received) == 1) == (rescued, rescued)
    assert heard.error == (None if rescued else f"status {status}")


@each_client
async def test_an_error_event_is_the_end_though_the_provider_stays_connected(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
) -> None:
    router = await start_router(rescue("restart", (client, upstream), (client, second_upstream)))
    first, *others = begun(client, "Hel", "lo the")
    rest = b"".join(others) + client.error_event("overloaded")
    upstream.script = sse(first, rest, *[b": still there\n\n"] * 2000, gap_s=0.05)
    second_upstream.script = sse(*stream_of(client, *PIECES))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == (TEXT, 1, None)


@each_client
async def test_a_stream_that_ended_early_and_was_not_rescued_is_counted_as_cut(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    client: Dialect,
) -> None:
    router = await start_router(rescue("restart", (client, upstream), (client, second_upstream)))
    upstream.script = dying(client, "Hel", "lo the", how="early end")
    second_upstream.script = error(503)

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.error) == ("Hello the", CUT)
    assert (await request_log.next_line())["outcome"] == "truncated"


async def test_a_stream_has_its_whole_time_once(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(
        rescue(
            "restart",
            (CHAT, upstream),
            (CHAT, second_upstream),
            timeouts={"stream_total": "300ms", "idle": "10s"},
        )
    )
    upstream.script = dying(CHAT, "Hel", "lo the", how="stall")
    second_upstream.script = sse(*stream_of(CHAT, *PIECES))

    heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)

    assert heard.error == "the upstream did not answer in time (timeouts.stream_total: 0.3 s)"
    assert second_upstream.received == []


async def test_the_next_endpoint_has_what_is_left_of_that_time(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    settings = rescue("restart", (CHAT, upstream), (CHAT, second_upstream))
    settings["providers"]["p1"]["timeouts"] = {"stream_total": "300ms"}
    router = await start_router(settings)
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut")
    second_upstream.script = dying(CHAT, "Hello there,", how="stall")

    heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)

    assert (heard.text, heard.error) == ("Hello there,", BROKEN)


async def test_a_successor_that_refuses_the_content_is_not_followed(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    third_upstream: ScriptedUpstream,
) -> None:
    endpoints = ((CHAT, upstream), (CHAT, second_upstream), (CHAT, third_upstream))
    router = await start_router(rescue("restart", *endpoints))
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut")
    words = {"error": {"message": "Filtered.", "code": "content_filter"}}
    second_upstream.script = Reply((json.dumps(words).encode(),), status=400)
    third_upstream.script = sse(*stream_of(CHAT, *PIECES))

    heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)

    assert (heard.text, heard.error, third_upstream.received) == ("Hello the", BROKEN, [])


async def test_no_more_attempts_are_made_than_are_allowed(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    third_upstream: ScriptedUpstream,
) -> None:
    endpoints = ((CHAT, upstream), (CHAT, second_upstream), (CHAT, third_upstream))
    router = await start_router(rescue("restart", *endpoints, retry={"max_attempts": 2}))
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut")
    second_upstream.script = error(503)
    third_upstream.script = sse(*stream_of(CHAT, *PIECES))

    heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)

    assert (heard.text, heard.error, third_upstream.received) == ("Hello the", BROKEN, [])


async def test_who_rests_is_not_asked(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    settings = rescue("restart", (CHAT, upstream), (CHAT, second_upstream))
    router = await start_router(settings | {"circuit_breaker": {"failures": 1}})
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut")
    second_upstream.script = error(503)
    for _ in range(2):
        router.router.services.breakers.retain(lambda key: key != "p1:up-1")
        heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)
        assert (heard.text, heard.error) == ("Hello the", BROKEN)

    assert (len(upstream.received), len(second_upstream.received)) == (2, 1)


async def test_who_failed_before_the_answer_began_is_not_asked_again(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    settings = rescue("restart", (CHAT, upstream), (CHAT, second_upstream))
    router = await start_router(settings | {"retry": {"max_attempts": 9}})
    upstream.script = in_turn(error(401), sse(*stream_of(CHAT, *PIECES)))
    second_upstream.script = dying(CHAT, "Hel", "lo the", how="cut")

    heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)

    assert (heard.text, heard.error) == ("Hello the", BROKEN)
    assert (len(upstream.received), len(second_upstream.received)) == (1, 1)
