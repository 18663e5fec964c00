"""Large answers and events reach the client as they are, and the loop is not kept meanwhile."""

import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bitrouter.protocols import CODECS, writelarge
from bitrouter.protocols.passthrough import SSEPassthrough
from tests.conftest import StartRouter
from tests.support.dialects import (
    ANTHROPIC,
    CHAT,
    INPUT_TOKENS,
    RESPONSES,
    Dialect,
    settings,
)
from tests.support.requestlog import RequestLog
from tests.support.upstream import Reply, ScriptedUpstream, sse

TEXT = b'quick \\"brown\\" fox,\\n \xc3\xa9t\xc3\xa9 '
each_with_events = pytest.mark.parametrize(
    "dialect", [CHAT, RESPONSES, ANTHROPIC], ids=lambda one: one.name
)


def noting(call: Callable[..., Any], threads: list[threading.Thread]) -> Callable[..., Any]:
    """The same, that notes in which thread it runs."""

    def called(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return call(*arguments)

    return called


@pytest.mark.parametrize("size", [300_000, 3_000_000])
async def test_a_large_answer_is_passed_on_as_it_is_and_looked_at_in_a_thread(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
    dialect: Dialect,
    size: int,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    codec = next(one for one in CODECS if one.api_protocol == dialect.api_protocol)
    threads: list[threading.Thread] = []
    monkeypatch.setattr(type(codec), "read_usage", noting(type(codec).read_usage, threads))
    written = dialect.answer.replace(b"Hello there", TEXT * (size // len(TEXT)))
    upstream.script = Reply((written,))

    async with router.http.post(dialect.path(), json=dialect.body()) as response:
        assert response.status == 200
        assert await response.read() == written

    assert threads
    assert threading.main_thread() not in threads
    line = await request_log.next_line()
    assert line["input_tokens"] == INPUT_TOKENS


@each_with_events
@pytest.mark.parametrize("size", [600_000, 3_000_000])
async def test_a_large_event_is_passed_on_in_its_place_and_looked_at_in_a_thread(
    start_router: StartRouter,
    upstream: ScriptedUpstream,
    request_log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
    dialect: Dialect,
    size: int,
) -> None:
    router = await start_router(settings(dialect, upstream.url))
    threads: list[threading.Thread] = []
    monkeypatch.setattr(SSEPassthrough, "feed", noting(SSEPassthrough.feed, threads))
    events = [*dialect.events]
    place = next(at for at, one in enumerate(events) if b"Hello" in one)
    events[place] = events[place].replace(b"Hello", TEXT * (size // len(TEXT)))
    upstream.script = sse(*events)

    async with router.http.post(dialect.path(stream=True), json=dialect.body(stream=True)) as got:
        assert await got.read() == b"".join(events)

    assert threading.main_thread() in threads
    assert set(threads) != {threading.main_thread()}
    line = await request_log.next_line()
    assert line["outcome"] == "ok"


async def test_what_is_translated_and_large_is_written_bit_by_bit_in_a_thread(
    start_router: StartRouter, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    threads: list[threading.Thread] = []
    noted = noting(writelarge.encoded_pieces, threads)
    monkeypatch.setattr(writelarge, "encoded_pieces", noted)
    text = "quick 'brown' fox, " * 160_000
    upstream.script = Reply((CHAT.answer.replace(b"Hello there", text.encode()),))
    parts = [{"type": "text", "text": text[:1_200_000]}] * 3
    body = ANTHROPIC.body() | {"messages": [{"role": "user", "content": parts}]}

    headers = {"Content-Type": "application/json"}
    data = io.BytesIO(json.dumps(body).encode())
    async with router.http.post(ANTHROPIC.path(), data=data, headers=headers) as response:
        assert response.status == 200
        answer = await response.json()

    assert answer["content"] == [{"type": "text", "text": text}]
    sent = json.loads(upstream.last.body)["messages"][0]["content"]
    assert sent == parts
    assert len(threads) == 2  # the request, and the answer
    assert threading.main_thread() not in threads


async def test_what_is_translated_and_small_is_written_at_once(
    start_router: StartRouter, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = await start_router(settings(CHAT, upstream.url))
    threads: list[threading.Thread] = []
    noted = noting(writelarge.encoded_pieces, threads)
    monkeypatch.setattr(writelarge, "encoded_pieces", noted)
    upstream.script = Reply((CHAT.answer,))

    async with router.http.post(ANTHROPIC.path(), json=ANTHROPIC.body()) as response:
        assert response.status == 200

    assert not threads
