"""A provider that compresses though it was asked not to, honestly or as a bomb."""

import gzip
import tracemalloc
import zlib

import pytest

from tests.conftest import StartRouter
from tests.support.answers import read_stream
from tests.support.dialects import ANTHROPIC, CHAT, Dialect, settings
from tests.support.upstream import Reply, ScriptedUpstream

MIB = 1 << 20
BOMB_MIB = 200


def compressed(data: bytes) -> Reply:
    headers = {"Content-Encoding": "gzip"}
    return Reply((gzip.compress(data),), headers=headers)


def bomb() -> bytes:
    """200 MiB of spaces in some 200 kB."""
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(b" " * MIB) for _ in range(BOMB_MIB)) + packer.flush()


async def test_a_compressed_answer_is_passed_on_as_plain_json(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = compressed(CHAT.answer)

    async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
        assert "Content-Encoding" not in response.headers
        assert await response.read() == CHAT.answer
    assert upstream.last.headers["accept-encoding"] == "identity"


async def test_a_compressed_stream_is_translated(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    upstream.script = Reply(
        (gzip.compress(b"".join(CHAT.events)),),
        content_type="text/event-stream",
        headers={"Content-Encoding": "gzip"},
    )

    async with router.http.post(ANTHROPIC.path(), json=ANTHROPIC.body(stream=True)) as response:
        assert read_stream(ANTHROPIC, await response.read()).text == "Hello there"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", [CHAT, ANTHROPIC], ids=["passed", "translated"])
async def test_a_bomb_is_a_bad_gateway_that_costs_no_more_than_the_limit(
    start_router: StartRouter, upstream: ScriptedUpstream, dialect: Dialect, stream: bool
) -> None:
    limits = {"max_response_bytes": "2MiB", "max_event_bytes": "2MiB"}
    router = await start_router(settings(CHAT, upstream.url, limits=limits))
    kind = "text/event-stream" if stream else "application/json"
    upstream.script = Reply((bomb(),), content_type=kind, headers={"Content-Encoding": "gzip"})

    tracemalloc.start()
    try:
        async with router.http.post(dialect.path(), json=dialect.body(stream=stream)) as response:
            status = response.status
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert status == 502
    assert peak < 64 * MIB
