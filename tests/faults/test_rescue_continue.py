"""A stream that dies is finished by a model that goes on from where it broke off."""

import asyncio
import json
from collections.abc import Callable

from tests.conftest import StartRouter
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    DIALECTS,
    GOOGLE,
    RESPONSES,
    Dialect,
)
from tests.support.faults import LIMIT_S, ask
from tests.support.requestlog import RequestLog
from tests.support.rescues import (
    BROKEN,
    PIECES,
    SOON,
    TEXT,
    dying,
    each_client,
    each_death,
    heal,
    last_turn,
    rescue,
)
from tests.support.told import INPUT, OUTPUT, hear, stream_of
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse


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
