"""A stream that dies after it has begun, on a route with a rescue: the next endpoint finishes it.

`upstream` begins the answer and dies, the others are the next endpoints of the route. What the
client gets must be one well-formed stream of its own protocol (`hear`), whoever has said it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any

import pytest

from bitrouter.routing.breaker import State
from tests.conftest import StartRouter
from tests.support.answers import events_of
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    DIALECTS,
    GOOGLE,
    RESPONSES,
    Dialect,
    event,
    provider,
)
from tests.support.faults import LIMIT_S, NEVER, ask, error, in_turn
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.told import INPUT, OUTPUT, begun, hear, stream_of
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

PIECES = ("Hel", "lo the", "re, dear", " friend")
TEXT = "".join(PIECES)
SOON = {"first_byte": "2s", "idle": "200ms"}
CUT = "the upstream closed the stream before the answer was complete"
BROKEN = "the upstream broke off its answer"

each_cell = pytest.mark.parametrize(
    ("client", "spoken"), list(product(DIALECTS, DIALECTS)), ids=lambda one: one.name
)
each_death = pytest.mark.parametrize(
    ("client", "spoken", "how"),
    [
        (client, spoken, how)
        for client, spoken in product(DIALECTS, DIALECTS)
        for how in ("cut", "error event", "early end", "stall")
        if how != "stall" or spoken in (CHAT, ANTHROPIC)
    ],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
each_client = pytest.mark.parametrize("client", DIALECTS, ids=lambda one: one.name)


@pytest.fixture
async def third_upstream() -> AsyncIterator[ScriptedUpstream]:
    """One more provider."""
    found = ScriptedUpstream()
    await found.start()
    yield found
    await found.stop()


def rescue(
    mode: str | None,
    *endpoints: tuple[Dialect, ScriptedUpstream],
    prefill: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """bitrouter.yaml with providers p1, p2, … and the route `m` over all of them."""
    names = [f"p{number}" for number, _ in enumerate(endpoints, start=1)]
    catalogue = {"up-1": {"capabilities": {"prefill": prefill}}}
    providers = {
        name: provider(dialect, one.url, models=catalogue)
        for name, (dialect, one) in zip(names, endpoints, strict=True)
    }
    route: dict[str, Any] = {"endpoints": [{"provider": one, "model_id": "up-1"} for one in names]}
    if mode is not None:
        route["rescue"] = mode
    return {"providers": providers, "models": {"m": route}, **more}


def dying(dialect: Dialect, *pieces: str, how: str, thought: str = "") -> Reply:
    """A stream that dies after `pieces`."""
    events = begun(dialect, *pieces, thought=thought)
    match how:
        case "cut":
            return sse(*events, cut=True)
        case "early end":
            return sse(*events)
        case "stall":
            return sse(b"".join(events), b": never\n\n", pause=NEVER)
        case _:
            return sse(*events, dialect.error_event("overloaded"))


def heal(router: RunningRouter) -> None:
    """Forget all failures, so that who begins an answer is asked again."""
    router.router.services.breakers.retain(lambda key: False)


def last_turn(received: Received) -> tuple[str, str]:
    """Who speaks last in a request, and what is said."""
    body = json.loads(received.body)
    turns = body.get("messages") or body.get("contents") or body["input"]
    if isinstance(turns, str):
        return "user", turns
    turn = turns[-1]
    content = turn.get("content", turn.get("parts"))
    said = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return turn["role"], said


# -- a fresh answer that begins with what was told --------------------------------------------


@each_death
async def test_restart_goes_on_after_what_was_told(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    client: Dialect,
    spoken: Dialect,
    how: str,
) -> None:
    other = CHAT if spoken is not CHAT else ANTHROPIC
    router = await start_router(
        rescue("restart", (spoken, upstream), (other, second_upstream), timeouts=SOON)
    )
    # The client's own protocol goes first, wherever it stands: so the one asked first dies.
    first, second = (upstream, second_upstream)
    named = "p2"
    if client is other and client is not spoken:
        first, second, named = second_upstream, upstream, "p1"
        spoken, other = other, spoken
    first.script = dying(spoken, "Hel", "lo the", how=how)
    second.script = sse(*stream_of(other, "Hello", " there, dear", " friend"))

    got = await ask(router, client, stream=True)

    heard = hear(client, got.body)
    assert (got.status, heard.text, heard.ends, heard.error) == (200, TEXT, 1, None)
    line = await request_log.next_line()
    assert (line["outcome"], line["provider"], line["attempts"]) == ("ok", named, 2)
    assert (line["input_tokens"], line["output_tokens"]) == (INPUT, OUTPUT)
    assert (len(first.received), len(second.received)) == (1, 1)
    assert last_turn(second.last) == ("user", "Hi")


async def test_restart_compares_to_the_letter_wherever_the_answers_are_cut(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(rescue("restart", (CHAT, upstream), (CHAT, second_upstream)))
    text = "Ein Ei: 🥚, né?\n\n ende."
    for place in range(len(text) + 1):
        told = (text[:place],) if place else ()
        upstream.script = dying(CHAT, *told, how="cut")
        for size in (1, 5, len(text)):
            pieces = [text[at : at + size] for at in range(0, len(text), size)]
            second_upstream.script = sse(*stream_of(CHAT, *pieces))
            for client in DIALECTS:
                heal(router)
                heard = hear(client, (await ask(router, client, stream=True)).body)
                assert (heard.text, heard.ends, heard.error) == (text, 1, None)
                assert len(upstream.received) == len(second_upstream.received)


@each_cell
async def test_what_was_told_is_not_told_again_in_one_chunk_with_the_rest(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
    spoken: Dialect,
) -> None:
    router = await start_router(rescue("restart", (spoken, upstream), (spoken, second_upstream)))
    upstream.script = dying(spoken, "Hel", "lo the", how="cut")
    second_upstream.script = sse(b"".join(stream_of(spoken, *PIECES)))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == (TEXT, 1, None)


@each_client
@pytest.mark.parametrize("mode", ["continue", "restart"])
async def test_the_answer_is_whole_at_whichever_byte_the_first_was_cut(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
    mode: str,
) -> None:
    router = await start_router(rescue(mode, (client, upstream), (client, second_upstream)))
    stream = b"".join(stream_of(client, *PIECES))

    def go_on(received: Received) -> Reply:
        role, said = last_turn(received)
        given = "" if role == "user" else said
        return sse(*stream_of(client, TEXT[len(given) :]))

    second_upstream.script = go_on
    for place in range(1, len(stream), 23):
        heal(router)
        upstream.script = sse(stream[:place], cut=True)
        heard = hear(client, (await ask(router, client, stream=True)).body)
        assert (heard.text, heard.ends, heard.error) == (TEXT, 1, None), place


async def test_a_large_request_is_rescued_like_any_other(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(rescue("continue", (CHAT, upstream), (CHAT, second_upstream)))
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut")
    second_upstream.script = sse(*stream_of(CHAT, "re"))
    turns = [{"role": "user", "content": "x" * 400_000}]
    body = CHAT.body(stream=True) | {"messages": turns}

    async with asyncio.timeout(LIMIT_S):
        async with router.http.post(CHAT.url, json=body) as response:
            heard = hear(CHAT, await response.read())

    assert (heard.text, heard.ends) == ("Hello there", 1)
    assert last_turn(second_upstream.last) == ("assistant", "Hello the")


DIFFERENT = [
    ("Hello, dear", " friend"),  # goes another way
    ("Hel", "lo"),  # is shorter
    (" Hello there",),
    ("hello there, dear friend",),
]


@each_client
@pytest.mark.parametrize("pieces", DIFFERENT)
async def test_an_answer_that_begins_differently_is_not_told(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    client: Dialect,
    pieces: tuple[str, ...],
) -> None:
    router = await start_router(rescue("restart", (client, upstream), (CHAT, second_upstream)))
    upstream.script = dying(client, "Hel", "lo the", how="cut")
    second_upstream.script = sse(*stream_of(CHAT, *pieces))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == ("Hello the", 0, BROKEN)
    line = await request_log.next_line()
    assert (line["outcome"], line["provider"], line["attempts"]) == ("truncated", "p1", 2)
    assert router.router.services.metrics.attempts == {
        ("p1:up-1", "ok"): 1,
        ("p2:up-1", "differs"): 1,
    }


# -- going on by prefill ----------------------------------------------------------------------


@each_death
async def test_continue_has_the_next_model_go_on(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    client: Dialect,
    spoken: Dialect,
    how: str,
) -> None:
    router = await start_router(
        rescue("continue", (spoken, upstream), (spoken, second_upstream), timeouts=SOON)
    )
    upstream.script = dying(spoken, "Hel", "lo the", how=how)
    second_upstream.script = sse(*stream_of(spoken, "re, dear", " friend"))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == (TEXT, 1, None)
    assert last_turn(second_upstream.last)[1] == "Hello the"
    assert last_turn(second_upstream.last)[0] in ("assistant", "model")
    line = await request_log.next_line()
    assert (line["outcome"], line["provider"], line["attempts"]) == ("ok", "p2", 2)
    # Anthropic's streams begin with an output of 1.
    told = 1 if spoken is ANTHROPIC else 0
    assert (line["input_tokens"], line["output_tokens"]) == (INPUT, OUTPUT + told)


async def test_continue_neither_loses_nor_doubles_a_letter_wherever_it_is_cut(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(rescue("continue", (CHAT, upstream), (CHAT, second_upstream)))
    text = "Ein Ei: 🥚, né?\n\n ende."

    def go_on(received: Received) -> Reply:
        """A model that knows what it wants to say, and refuses white space at the end."""
        role, said = last_turn(received)
        given = said if role == "assistant" else ""
        assert given == given.rstrip()
        return sse(*stream_of(CHAT, text[len(given) :]))

    second_upstream.script = go_on
    for place in range(len(text)):
        upstream.script = dying(CHAT, *([text[:place]] if place else []), how="cut")
        for client in DIALECTS:
            heal(router)
            heard = hear(client, (await ask(router, client, stream=True)).body)
            assert (heard.text, heard.ends, heard.error) == (text, 1, None)
            assert len(upstream.received) == len(second_upstream.received)


@each_client
async def test_white_space_that_the_next_model_does_not_repeat_is_no_joint(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
) -> None:
    router = await start_router(rescue("continue", (client, upstream), (client, second_upstream)))
    upstream.script = dying(client, "Hello ", how="cut")
    second_upstream.script = sse(*stream_of(client, "\nthere"))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == ("Hello ", 0, BROKEN)


@each_client
async def test_what_the_client_itself_began_the_answer_with_stays_before_it(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
) -> None:
    router = await start_router(rescue("continue", (client, upstream), (client, second_upstream)))
    upstream.script = dying(client, "Hel", "lo the", how="cut")
    second_upstream.script = sse(*stream_of(client, "re"))
    body = client.body(stream=True)
    if client is GOOGLE:
        begin = {"role": "model", "parts": [{"text": "Well: "}]}
        body["contents"] = [*body["contents"], begin]
    else:
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well: "}]
        body["input" if client is RESPONSES else "messages"] = turns

    async with asyncio.timeout(LIMIT_S):
        async with router.http.post(client.path(stream=True), json=body) as response:
            heard = hear(client, await response.read())

    assert (heard.text, heard.ends) == ("Hello there", 1)
    assert last_turn(second_upstream.last)[1] == "Well: Hello the"


REFUSED = Reply(
    (
        json.dumps(
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "This model does not support assistant message prefill.",
                },
            }
        ).encode(),
    ),
    status=400,
)


def without_prefill(reply: Reply) -> Callable[[Received], Reply]:
    """A provider whose model takes no turn of its own at the end."""
    return lambda received: REFUSED if last_turn(received)[0] != "user" else reply


@each_client
async def test_a_refused_prefill_does_not_hide_the_first_failure(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    client: Dialect,
) -> None:
    router = await start_router(
        rescue("continue", (client, upstream), (client, second_upstream), timeouts=SOON)
    )
    upstream.script = dying(client, "Hel", "lo the", how="stall")
    second_upstream.script = without_prefill(sse(*stream_of(client, "Something else")))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends) == ("Hello the", 0)
    assert heard.error == "the upstream did not answer in time (timeouts.idle: 0.2 s)"
    line = await request_log.next_line()
    assert (line["outcome"], line["provider"], line["attempts"]) == ("timeout:idle", "p1", 3)


@each_client
async def test_who_refuses_the_prefill_may_answer_from_the_beginning(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
    client: Dialect,
) -> None:
    router = await start_router(rescue("continue", (client, upstream), (client, second_upstream)))
    upstream.script = dying(client, "Hel", "lo the", how="cut")
    second_upstream.script = without_prefill(sse(*stream_of(client, *PIECES)))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == (TEXT, 1, None)
    line = await request_log.next_line()
    assert (line["outcome"], line["provider"], line["attempts"]) == ("ok", "p2", 3)


async def test_an_answer_of_a_given_form_is_begun_anew(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(rescue("continue", (CHAT, upstream), (CHAT, second_upstream)))
    upstream.script = dying(CHAT, '{"a', how="cut")
    second_upstream.script = without_prefill(sse(*stream_of(CHAT, '{"a": 1}')))
    body = CHAT.body(stream=True) | {"response_format": {"type": "json_object"}}

    async with asyncio.timeout(LIMIT_S):
        async with router.http.post(CHAT.url, json=body) as response:
            heard = hear(CHAT, await response.read())

    assert (heard.text, heard.ends, len(second_upstream.received)) == ('{"a": 1}', 1, 1)


async def test_who_cannot_prefill_by_the_catalogue_is_asked_for_a_fresh_answer(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(
        rescue("continue", (CHAT, upstream), (ANTHROPIC, second_upstream), prefill=False)
    )
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut")
    second_upstream.script = without_prefill(sse(*stream_of(ANTHROPIC, *PIECES)))

    heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)

    assert (heard.text, heard.ends, len(second_upstream.received)) == (TEXT, 1, 1)


# -- several deaths ---------------------------------------------------------------------------


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


# -- what is not rescued ----------------------------------------------------------------------

CALL = {
    "chat": event(
        {
            "id": "c9",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "up-1",
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "tool_calls": [
                            {
                                "index": 0,
                                "id": "call_1",
                                "type": "function",
                                "function": {"name": "look", "arguments": '{"a'},
                            }
                        ]
                    },
                    "finish_reason": None,
                }
            ],
        }
    ),
    "anthropic": event(
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
        },
        "content_block_start",
    ),
}
SIGNED = (
    event(
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        "content_block_start",
    ),
    event(
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "signature_delta", "signature": "c2ln"},
        },
        "content_block_delta",
    ),
    event({"type": "content_block_stop", "index": 0}, "content_block_stop"),
)
STOP = event({"type": "content_block_stop", "index": 0}, "content_block_stop")
NOT_PLAIN = {
    "a call": (CHAT, (*begun(CHAT, "Hel"), CALL["chat"])),
    "a call of Claude's": (ANTHROPIC, (*begun(ANTHROPIC, "Hel"), STOP, CALL["anthropic"])),
    "a signature": (ANTHROPIC, (begun(ANTHROPIC, "x")[0], *SIGNED)),
    "a refusal": (
        CHAT,
        (
            begun(CHAT)[0],
            event(
                {
                    "id": "c9",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "up-1",
                    "choices": [{"index": 0, "delta": {"refusal": "I"}, "finish_reason": None}],
                }
            ),
        ),
    ),
}


@pytest.mark.parametrize("what", NOT_PLAIN)
@pytest.mark.parametrize("mode", ["continue", "restart"])
async def test_what_is_not_plain_text_gets_the_clean_error(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    what: str,
    mode: str,
) -> None:
    spoken, events = NOT_PLAIN[what]
    router = await start_router(rescue(mode, (spoken, upstream), (spoken, second_upstream)))
    upstream.script = sse(*events, cut=True)
    second_upstream.script = sse(*stream_of(spoken, *PIECES))

    got = await ask(router, spoken, stream=True)

    assert spoken.error_in_stream(got.body) == BROKEN
    assert second_upstream.received == []


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"logprobs": True},
        {"web_search_options": {}},
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}},
    ],
    ids=lambda one: next(iter(one)),
)
async def test_what_could_not_be_rescued_passes_through_untouched(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    more: dict[str, Any],
) -> None:
    router = await start_router(rescue("restart", (CHAT, upstream), (CHAT, second_upstream)))
    events = begun(CHAT, "Hel", "lo the")
    upstream.script = sse(*events, cut=True)

    async with asyncio.timeout(LIMIT_S):
        body = CHAT.body(stream=True) | more
        async with router.http.post(CHAT.url, json=body) as response:
            got = await response.read()

    assert got.startswith(b"".join(events))
    assert CHAT.error_in_stream(got) == BROKEN
    assert second_upstream.received == []


@each_client
async def test_without_the_setting_the_bytes_pass_through_and_nobody_goes_on(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
) -> None:
    router = await start_router(rescue(None, (client, upstream), (client, second_upstream)))
    events = begun(client, "Hel", "lo the")
    upstream.script = sse(*events, cut=True)

    got = await ask(router, client, stream=True)

    assert got.body.startswith(b"".join(events))
    assert client.error_in_stream(got.body) == BROKEN
    assert second_upstream.received == []


@each_client
async def test_a_whole_answer_passes_through_untouched(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
) -> None:
    router = await start_router(rescue("restart", (client, upstream), (client, second_upstream)))
    upstream.script = Reply((client.answer,))
    assert (await ask(router, client)).body == client.answer


async def test_a_clients_leaving_asks_nobody(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
) -> None:
    router = await start_router(rescue("restart", (CHAT, upstream), (CHAT, second_upstream)))
    upstream.script = sse(*begun(CHAT, "Hel", "lo the"), b": never\n\n", pause=NEVER)

    async with asyncio.timeout(LIMIT_S):
        response = await router.http.post(CHAT.url, json=CHAT.body(stream=True))
        await response.content.readany()
        response.close()
        await upstream.gone.wait()

    assert (await request_log.next_line())["outcome"] == "client_gone"
    assert second_upstream.received == []


async def test_a_client_that_leaves_while_the_next_one_is_asked_is_not_worked_for(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    request_log: RequestLog,
) -> None:
    router = await start_router(rescue("restart", (CHAT, upstream), (CHAT, second_upstream)))
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut")
    # It has begun, and not yet said again what the client has.
    second_upstream.script = sse(*begun(CHAT, "Hel"), b": never\n\n", pause=NEVER)

    async with asyncio.timeout(LIMIT_S):
        response = await router.http.post(CHAT.url, json=CHAT.body(stream=True))
        await response.content.readany()
        await second_upstream.wait_for_request()
        response.close()
        await second_upstream.gone.wait()

    line = await request_log.next_line()
    assert (line["outcome"], line["provider"]) == ("client_gone", "p1")
    assert router.router.services.metrics.attempts == {("p1:up-1", "ok"): 1}


@each_client
@pytest.mark.parametrize("when", ["before", "while the next one is asked"])
async def test_the_routers_own_end_asks_nobody(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
    when: str,
) -> None:
    settings = rescue("restart", (client, upstream), (client, second_upstream))
    router = await start_router(settings | {"timeouts": {"drain": "50ms"}})
    upstream.script = dying(client, "Hel", "lo the", how="cut" if when != "before" else "stall")
    second_upstream.script = sse(*begun(client, "Hel"), b": never\n\n", pause=NEVER)

    async with asyncio.timeout(LIMIT_S):
        path, body = client.path(stream=True), client.body(stream=True)
        async with router.http.post(path, json=body) as response:
            if when != "before":
                await second_upstream.wait_for_request()
            await router.router.drain()
            heard = hear(client, await response.read())

    assert (heard.ends, heard.error is not None) == (0, True)
    assert len(second_upstream.received) == (when != "before")


# -- other things than text -------------------------------------------------------------------


@each_client
@pytest.mark.parametrize("mode", ["continue", "restart"])
async def test_thinking_that_was_told_is_told_once(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
    mode: str,
) -> None:
    endpoints = ((CHAT, upstream), (CHAT, second_upstream))
    router = await start_router(rescue(mode, *endpoints, prefill=False))
    upstream.script = dying(CHAT, "Hel", "lo the", how="cut", thought="Well.")
    second_upstream.script = sse(*stream_of(CHAT, *PIECES, thought="Hm."))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.ends, heard.error) == (TEXT, 1, None)
    assert heard.thought == "Well."


@each_client
async def test_who_died_while_thinking_is_followed_by_the_words_of_the_next(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
) -> None:
    router = await start_router(rescue("continue", (CHAT, upstream), (CHAT, second_upstream)))
    upstream.script = dying(CHAT, how="cut", thought="Well.")
    second_upstream.script = sse(*stream_of(CHAT, *PIECES, thought="Hm."))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.thought, heard.ends, heard.error) == (TEXT, "Well.", 1, None)
    assert last_turn(second_upstream.last) == ("user", "Hi")


@each_client
async def test_of_who_said_nothing_yet_nothing_is_compared(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
) -> None:
    router = await start_router(rescue("continue", (CHAT, upstream), (CHAT, second_upstream)))
    upstream.script = dying(CHAT, how="cut")
    second_upstream.script = sse(*stream_of(CHAT, *PIECES, thought="Hm."))

    heard = hear(client, (await ask(router, client, stream=True)).body)

    assert (heard.text, heard.thought, heard.ends, heard.error) == (TEXT, "Hm.", 1, None)


async def test_a_call_after_the_joint_is_the_clients(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(rescue("restart", (CHAT, upstream), (CHAT, second_upstream)))
    upstream.script = dying(CHAT, "Hel", how="cut")
    second_upstream.script = sse(*begun(CHAT, "Hello"), CALL["chat"], *stream_of(CHAT)[1:])
    body = ANTHROPIC.body(stream=True)

    async with asyncio.timeout(LIMIT_S):
        async with router.http.post(ANTHROPIC.url, json=body) as response:
            said = events_of(await response.read())

    starts = [one["content_block"]["type"] for one in said if one["type"] == "content_block_start"]
    texts = [one["delta"].get("text", "") for one in said if one["type"] == "content_block_delta"]
    assert starts == ["text", "tool_use"]
    assert "".join(texts) == "Hello"
    assert said[-1]["type"] == "message_stop"


# -- how it is asked for, and what is left of the client's own --------------------------------


@each_client
async def test_a_request_of_the_endpoints_own_protocol_goes_out_as_it_came(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
) -> None:
    router = await start_router(rescue("restart", (client, upstream), (client, second_upstream)))
    upstream.script = dying(client, "Hel", "lo the", how="cut")
    second_upstream.script = sse(*stream_of(client, *PIECES))
    body = client.body(stream=True) | {"no_such_member": [1.50, {"x": None}]}

    async with asyncio.timeout(LIMIT_S):
        async with router.http.post(client.path(stream=True), json=body) as response:
            heard = hear(client, await response.read())

    assert (heard.text, heard.ends) == (TEXT, 1)
    for one in (upstream, second_upstream):
        sent = json.dumps(body | ({"model": "up-1"} if "model" in body else {}))
        assert one.last.body.decode() == sent


@pytest.mark.parametrize(
    ("client", "answer_id"),
    [(CHAT, "c9"), (RESPONSES, "resp_9"), (ANTHROPIC, "msg_9")],
    ids=["chat", "responses", "anthropic"],
)
async def test_the_answers_own_id_stays(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    client: Dialect,
    answer_id: str,
) -> None:
    router = await start_router(rescue("restart", (client, upstream), (client, second_upstream)))
    upstream.script = sse(*stream_of(client, *PIECES))
    first = events_of((await ask(router, client, stream=True)).body)[0]
    holder = first.get("response") or first.get("message") or first
    assert holder["id"] == answer_id


@pytest.mark.parametrize("framing", ["array", "ndjson"])
async def test_geminis_other_framings_are_rescued(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    second_upstream: ScriptedUpstream,
    framing: str,
) -> None:
    router = await start_router(rescue("restart", (GOOGLE, upstream), (CHAT, second_upstream)))
    upstream.script = dying(GOOGLE, "Hel", "lo the", how="cut")
    second_upstream.script = sse(*stream_of(CHAT, *PIECES))
    body = GOOGLE.body()
    path = "/v1beta/models/m:streamGenerateContent"
    if framing == "ndjson":
        path, body = GOOGLE.path(), body | {"stream": True}

    async with asyncio.timeout(LIMIT_S), router.http.post(path, json=body) as response:
        got = await response.read()

    said = json.loads(got) if framing == "array" else [json.loads(x) for x in got.splitlines()]
    parts = [part for one in said for part in one["candidates"][0]["content"]["parts"]]
    assert "".join(part["text"] for part in parts) == TEXT
    assert said[-1]["candidates"][0]["finishReason"] == "STOP"
    assert upstream.last.target.endswith("alt=sse")


async def test_the_body_of_a_request_that_may_be_asked_again_is_counted_until_the_end(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(rescue("restart", (CHAT, upstream), (CHAT, second_upstream)))
    buffers = router.router.services.buffers
    pause = asyncio.Event()
    upstream.script = sse(*stream_of(CHAT, *PIECES), pause=pause)

    async with asyncio.timeout(LIMIT_S):
        async with router.http.post(CHAT.url, json=CHAT.body(stream=True)) as response:
            assert buffers.used == len(json.dumps(CHAT.body(stream=True)))
            pause.set()
            await response.read()

    assert buffers.used == 0


async def test_the_providers_key_is_masked_in_the_words_of_the_first_failure(
    start_router: StartRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    router = await start_router(rescue("restart", (CHAT, upstream), (CHAT, second_upstream)))
    upstream.script = sse(*begun(CHAT, "Hel"), CHAT.error_event("bad key key-up"))
    second_upstream.script = error(503)

    heard = hear(CHAT, (await ask(router, CHAT, stream=True)).body)

    assert heard.error is not None
    assert heard.error.startswith("bad key")
    assert "key-up" not in heard.error
