"""A router and a provider in a thread of their own, so that hypothesis can drive them."""

import asyncio
import io
import threading
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import uvloop

from tests.support.router import RunningRouter
from tests.support.upstream import Received, Reply, ScriptedUpstream

T = TypeVar("T")

LIMIT_S = 20
KEY = "sk-of-the-router"
# Each protocol's route has one endpoint; the name upstream needs escaping in JSON and in a URL.
MODEL_ID = 'up/"ä"'
PROTOCOLS = ("openai", "responses", "anthropic", "google")


@dataclass(frozen=True)
class Answer:
    """What the client got. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """A client, the router and a provider, connected by real sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: ScriptedUpstream) -> None:
        self._loop = loop
        self._upstream = upstream

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for what runs in the thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    async def start(self, router: RunningRouter) -> None:
        self._router = router
        await self._upstream.start()
        router.configure(self._settings())
        await router.start()

    async def stop(self) -> None:
        await self._router.stop()
        await self._upstream.stop()

    def _settings(self) -> dict[str, Any]:
        up = {"api_protocol": [*PROTOCOLS], "api_base": self._upstream.url, "api_key": KEY}
        endpoints = [{"provider": "up", "model_id": MODEL_ID}]
        return {
            "providers": {"up": up},
            "models": {"m/ä": {"endpoints": endpoints}},
            # Its upstream fails on purpose: what it said is what the client gets.
            "retry": {"max_attempts": 1},
        }

    def post(
        self, target: str, body: bytes, reply: Reply | None = None
    ) -> tuple[Answer, list[Received]]:
        """Send a request: what the client got, and what of it reached the provider."""
        return self.run(self._post(target, body, reply or Reply()))

    async def _post(self, target: str, body: bytes, reply: Reply) -> tuple[Answer, list[Received]]:
        self._upstream.script = reply
        self._upstream.received.clear()
        # One router for all tests: what the last one did to the endpoint is not the next one's.
        self._router.router.services.breakers.retain(lambda key: False)
        headers = {"Content-Type": "application/json"}
        # aiohttp warns of large bodies that are given to it as bytes.
        sent = io.BytesIO(body)
        async with self._router.http.post(target, data=sent, headers=headers) as answer:
            got = await answer.read()
            names = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, names, got), list(self._upstream.received)


@pytest.fixture(scope="session")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="wire")
    thread.start()
    try:
        wire = Wire(loop, ScriptedUpstream())
        wire.run(wire.start(RunningRouter(tmp_path_factory.mktemp("wire"), {})))
        yield wire
        wire.run(wire.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
