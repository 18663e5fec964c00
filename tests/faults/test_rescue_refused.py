"""Streams that nobody else finishes: they end with the clean error, or pass untouched."""

import asyncio
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    Dialect,
    event,
)
from tests.support.faults import LIMIT_S, NEVER, ask, attempts_of
from tests.support.requestlog import RequestLog
from tests.support.rescues import BROKEN, CALL, PIECES, dying, each_client, rescue
from tests.support.told import begun, hear, stream_of
from tests.support.upstream import Reply, ScriptedUpstream, sse

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
    assert attempts_of(router) == {("p1:up-1", "ok"): 1}


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
