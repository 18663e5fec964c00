"""A fresh machine: no file, no key, and a real model answers through every protocol.

llama.cpp speaks three of the four; for the fourth, Google's, its answers are translated.

What the model says is its own affair; that it says something, in the protocol's shape, is ours.
"""

import asyncio
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.support.dialects import CHAT, DIALECTS, Dialect
from tests.support.process import RouterProcess

pytestmark = pytest.mark.model

MODEL = "local:smollm2"
MAX_TOKENS = 12
# As the protocols call it. Responses allows no fewer than 16.
LIMITS: dict[str, dict[str, Any]] = {
    "chat": {"max_tokens": MAX_TOKENS},
    "responses": {"max_output_tokens": 16},
    "anthropic": {"max_tokens": MAX_TOKENS},
    "google": {"generationConfig": {"maxOutputTokens": MAX_TOKENS}},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory, which is the home too."""
    return tmp_path_factory.mktemp("fresh")


@pytest.fixture(scope="module")
def process(directory: Path) -> Iterator[RouterProcess]:
    """A router that was started there without anything."""
    router = RouterProcess("--listen", "127.0.0.1:0", cwd=directory)
    yield router
    router.stop()


def body(dialect: Dialect, **more: Any) -> dict[str, Any]:
    """A small request of the dialect's."""
    if dialect.stream_url:
        return dialect.body(MODEL) | LIMITS[dialect.name]
    return dialect.body(MODEL) | LIMITS[dialect.name] | more


def path(dialect: Dialect, *, stream: bool = False) -> str:
    """Where it is sent."""
    return dialect.path(MODEL, stream=stream)


def text_of(dialect: Dialect, answer: dict[str, Any]) -> str:
    """The text of a whole answer."""
    match dialect.name:
        case "chat":
            text = answer["choices"][0]["message"]["content"]
        case "responses":
            text = answer["output"][-1]["content"][0]["text"]
        case "google":
            text = answer["candidates"][0]["content"]["parts"][0]["text"]
        case _:
            text = answer["content"][0]["text"]
    assert isinstance(text, str)
    return text


def texts_in(dialect: Dialect, stream: bytes) -> str:
    """The text of a stream, put together."""
    events = []
    for block in stream.removesuffix(b"\n\n").split(b"\n\n"):
        data = block.split(b"data: ", 1)[1]
        if data != b"[DONE]":
            events.append(json.loads(data))
    match dialect.name:
        case "chat":
            choices = [choice for event in events for choice in event["choices"]]
            return "".join(choice["delta"].get("content") or "" for choice in choices)
        case "responses":
            deltas = [one for one in events if one["type"] == "response.output_text.delta"]
            return "".join(one["delta"] for one in deltas)
        case "google":
            parts = [one["candidates"][0]["content"]["parts"] for one in events]
            return "".join(part["text"] for some in parts for part in some)
        case _:
            deltas = [one for one in events if one["type"] == "content_block_delta"]
            return "".join(one["delta"]["text"] for one in deltas)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)
async def test_it_answers(process: RouterProcess, dialect: Dialect) -> None:
    async with (
        aiohttp.ClientSession(process.url) as session,
        session.post(path(dialect), json=body(dialect)) as response,
    ):
        assert response.status == 200
        assert response.headers["x-bitrouter-provider"] == "local"
        assert response.headers["x-bitrouter-model"] == "smollm2"
        assert text_of(dialect, await response.json())


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)
async def test_it_answers_in_a_stream(process: RouterProcess, dialect: Dialect) -> None:
    async with (
        aiohttp.ClientSession(process.url) as session,
        session.post(path(dialect, stream=True), json=body(dialect, stream=True)) as response,
    ):
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        stream = await response.read()
    assert texts_in(dialect, stream)
    ends = {
        "chat": b"data: [DONE]",
        "responses": b"response.",
        "anthropic": b"message_stop",
        "google": b'"finishReason":',
    }
    assert ends[dialect.name] in stream[-4000:]


async def test_every_answer_was_counted_as_whole_with_its_usage(process: RouterProcess) -> None:
    async with aiohttp.ClientSession(process.url) as session:
        for dialect in DIALECTS:
            for stream in (False, True):
                asked = body(dialect, stream=stream)
                async with session.post(path(dialect, stream=stream), json=asked) as response:
                    await response.read()
        async with session.get("/v1/metrics") as response:
            route = (await response.json())["routes"][MODEL]
    assert route["total_errors"] == 0
    assert route["avg_input_tokens"] > 0
    assert 0 < route["avg_output_tokens"] <= 16


async def test_openais_sdk_talks_to_it(process: RouterProcess) -> None:
    async with AsyncOpenAI(base_url=f"{process.url}/v1", api_key="any") as client:
        completion = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi"}], max_tokens=MAX_TOKENS
        )
        assert completion.choices[0].message.content
        assert completion.usage is not None
        assert completion.usage.completion_tokens > 0
        response = await client.responses.create(model=MODEL, input="Hi", max_output_tokens=16)
        assert response.output_text
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Hi"}],
            max_tokens=MAX_TOKENS,
            stream=True,
        )
        deltas = [choice.delta.content async for chunk in stream for choice in chunk.choices]
        assert "".join(delta or "" for delta in deltas)
        assert MODEL in [model.id async for model in client.models.list()]


async def test_anthropics_sdk_talks_to_it(process: RouterProcess) -> None:
    async with AsyncAnthropic(base_url=process.url, api_key="any") as client:
        message = await client.messages.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": "Hi"}]
        )
        assert message.content[0].type == "text"
        assert message.content[0].text
        async with client.messages.stream(
            model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": "Hi"}]
        ) as stream:
            assert "".join([text async for text in stream.text_stream])
            final = await stream.get_final_message()
        assert final.stop_reason in ("max_tokens", "end_turn")
        count = await client.messages.count_tokens(
            model=MODEL, messages=[{"role": "user", "content": "Hi"}]
        )
        assert count.input_tokens > 0


async def test_several_clients_are_answered_at_once(process: RouterProcess) -> None:
    async with aiohttp.ClientSession(process.url) as session:

        async def ask() -> int:
            async with session.post(CHAT.path(), json=body(CHAT)) as response:
                assert text_of(CHAT, await response.json())
                return response.status

        assert await asyncio.gather(*(ask() for _ in range(6))) == [200] * 6


async def test_a_mistake_that_the_model_server_notices_comes_back_as_its_refusal(
    process: RouterProcess,
) -> None:
    wrong = body(CHAT) | {"messages": [{"role": "nobody", "content": 3}]}
    async with (
        aiohttp.ClientSession(process.url) as session,
        session.post(CHAT.path(), json=wrong) as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]["message"]
        assert response.headers["x-bitrouter-error-source"] == "upstream"


def test_the_lines_that_the_start_prints_can_be_copied_and_work(
    process: RouterProcess, directory: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl here")
    printed = [shlex.split(line) for line in process.lines if line.strip().startswith("curl ")]
    mine = [words for words in printed if any(MODEL in word for word in words)]
    assert len(mine) == len(DIALECTS)
    for words, dialect in zip(mine, DIALECTS, strict=True):
        asked = json.loads(words[-1])
        for name in asked.keys() & {"max_tokens", "max_completion_tokens", "max_output_tokens"}:
            asked[name] = 16  # it need not finish its sentence here
        if dialect.stream_url:
            asked |= LIMITS[dialect.name]
        done = subprocess.run(
            [curl, "--silent", "--show-error", *words[1:-1], json.dumps(asked)],
            cwd=directory,
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert text_of(dialect, json.loads(done.stdout))


def test_there_is_a_line_for_every_request_and_none_is_alarming(process: RouterProcess) -> None:
    levels = [line.split()[1] for line in process.lines if line[:2] == "20"]
    assert levels.count("info") > 10
    assert set(levels) <= {"info"}


def test_sigterm_ends_it_with_0_and_leaves_no_child_behind(process: RouterProcess) -> None:
    children = process.children()
    assert len(children) == 1
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    for number in children:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
    assert "Traceback" not in process.text


async def test_sigterm_lets_the_model_finish_its_answer(directory: Path) -> None:
    process = RouterProcess("--listen", "127.0.0.1:0", cwd=directory)
    try:
        async with (
            aiohttp.ClientSession(process.url) as session,
            session.post(CHAT.path(), json=body(CHAT, stream=True, max_tokens=32)) as response,
        ):
            first = await response.content.readany()
            process.send(signal.SIGTERM)
            stream = first + await response.read()
        assert stream.endswith(b"data: [DONE]\n\n")
        assert await asyncio.to_thread(process.wait) == 0
    finally:
        process.stop()
