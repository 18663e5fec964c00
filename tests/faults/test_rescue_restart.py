"""A stream that dies is finished by a fresh answer that begins with what was told.

`upstream` begins the answer and dies, the others are the next endpoints of the route. What the
client gets must be one well-formed stream of its own protocol (`hear`), whoever has said it.
"""

import asyncio

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    DIALECTS,
    Dialect,
)
from tests.support.faults import LIMIT_S, ask, attempts_of
from tests.support.requestlog import RequestLog
from tests.support.rescues import (
    BROKEN,
    PIECES,
    SOON,
    TEXT,
    dying,
    each_cell,
    each_client,
    each_death,
    heal,
    last_turn,
    rescue,
)
from tests.support.told import INPUT, OUTPUT, hear, stream_of
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse


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
    assert attempts_of(router) == {
        ("p1:up-1", "ok"): 1,
        ("p2:up-1", "differs"): 1,
    }
