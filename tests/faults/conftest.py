"""Fixtures for tests of a router among providers and clients that misbehave."""

import socket
from collections.abc import AsyncIterator

import pytest

from bitrouter import log
from bitrouter.upstream.lane import Lane
from tests.support.dialects import DIALECTS, Dialect
from tests.support.requestlog import RequestLog
from tests.support.upstream import ScriptedUpstream


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each protocol in turn."""
    found: Dialect = request.param
    return found


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    """Whether a stream is asked for."""
    found: bool = request.param
    return found


@pytest.fixture
def request_log() -> RequestLog:
    """What the router tells of each request."""
    listener = RequestLog()
    log.listeners.append(listener)
    return listener


@pytest.fixture
def nowhere() -> str:
    """A URL at which connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
async def third_upstream() -> AsyncIterator[ScriptedUpstream]:
    """One more provider."""
    found = ScriptedUpstream()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture(params=["lane", "ordinary"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way that a call to a provider can go: nearly all of them take the lane."""
    found: str = request.param
    if found == "ordinary":
        monkeypatch.setattr(Lane, "takes", lambda lane, call: False)
    return found
