"""A rescue of other things than text, and what is left of the client's own in it."""

import asyncio
import json

import pytest

from tests.conftest import StartRouter
from tests.support.answers import events_of
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    GOOGLE,
    RESPONSES,
    Dialect,
)
from tests.support.faults import LIMIT_S, ask, error
from tests.support.rescues import CALL, PIECES, TEXT, dying, each_client, last_turn, rescue
from tests.support.told import begun, hear, stream_of
from tests.support.upstream import ScriptedUpstream, sse

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
