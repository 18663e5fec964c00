"""Fixtures that every test may use. Tests run on uvloop, as production does."""

import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop

from bitrouter import log
from bitrouter.upstream import failover
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream

# The same examples on every run: a failure is one of the code, and shows itself everywhere.
hypothesis.settings.register_profile("same every time", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same every time")

_RECURSION_LIMIT = sys.getrecursionlimit()

StartRouter = Callable[[Mapping[str, Any]], Awaitable[RunningRouter]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """pytest-asyncio's way to choose the loop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A reload sets up the log of the whole process; what pytest had there comes back."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "bitrouter", "aiohttp.server")}
    handlers, listeners = root.handlers[:], log.listeners[:]
    message_listeners = log.message_listeners[:]
    yield
    root.handlers[:] = handlers
    log.listeners[:] = listeners
    log.message_listeners[:] = message_listeners
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(autouse=True)
def _recursion_limit_as_it_was() -> None:
    """Ethereum's libraries raise it a hundredfold when they are imported, which no router does: it
    would follow a body so deep that the stack ends before the limit is met.
    """
    sys.setrecursionlimit(_RECURSION_LIMIT)


@pytest.fixture
def request_log() -> RequestLog:
    """What the router tells of each request."""
    listener = RequestLog()
    log.listeners.append(listener)
    return listener


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same endpoint is asked again after 20 ms, not after half a second."""
    monkeypatch.setattr(failover, "_PAUSE_S", (0.02, 0.02))


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A provider that answers `{}` until it is told something else."""
    provider = ScriptedUpstream()
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
async def second_upstream() -> AsyncIterator[ScriptedUpstream]:
    """Another provider."""
    provider = ScriptedUpstream()
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
async def start_router(tmp_path: Path) -> AsyncIterator[StartRouter]:
    """Starts a router with the given settings (the content of bitrouter.yaml)."""
    running: list[RunningRouter] = []

    async def start(settings: Mapping[str, Any]) -> RunningRouter:
        router = RunningRouter(tmp_path, settings)
        await router.start()
        running.append(router)
        return router

    yield start
    for router in running:
        await router.stop()
