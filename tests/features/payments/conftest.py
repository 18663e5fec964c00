"""Fixtures for tests of payments without the rest of the router."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bitrouter.config.schema import Duration
from bitrouter.config.schema import Facilitator as Settings
from bitrouter.payments import facilitator as facilitator_module
from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, Dialect
from tests.support.facilitator import FakeFacilitator
from tests.support.settling import SettlingRouter
from tests.support.stall import OpenStall, Stall, open_stall, stall_settings
from tests.support.upstream import ScriptedUpstream


@pytest.fixture
async def fake() -> AsyncIterator[FakeFacilitator]:
    """A facilitator that says what is true."""
    facilitator = FakeFacilitator()
    await facilitator.start()
    yield facilitator
    await facilitator.stop()


@pytest.fixture(autouse=True)
def _quick_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify is asked once more after 10 ms."""
    monkeypatch.setattr(facilitator_module, "_REPEAT_AFTER_S", 0.01)


@pytest.fixture
def sell(start_router: StartRouter, fake: FakeFacilitator, upstream: ScriptedUpstream) -> OpenStall:
    """Starts a router that sells the answers of `upstream`, by the given offers. `change` alters
    its configuration before that.
    """

    async def start(
        dialect: Dialect = CHAT,
        *offers: str,
        change: Callable[[dict[str, Any]], None] | None = None,
        **x402: object,
    ) -> Stall:
        given = stall_settings(upstream, fake, dialect, *offers, **x402)
        if change is not None:
            change(given)
        return await open_stall(await start_router(given), fake, upstream, dialect)

    return start


@pytest.fixture
def counters() -> Counters:
    """What is counted."""
    return Counters()


@pytest.fixture
async def client(fake: FakeFacilitator, counters: Counters) -> AsyncIterator[Facilitator]:
    """Our client of it, which waits half a second."""
    settings = Settings(
        url=f"{fake.url}/", verify_timeout=Duration(0.5), settle_timeout=Duration(0.5)
    )
    facilitator = Facilitator(
        settings, wall=lambda: 1_800_000_000.0, counters=counters, resource_url="https://r.example"
    )
    yield facilitator
    await facilitator.close()


@pytest.fixture
async def router(
    tmp_path: Path, client: Facilitator, counters: Counters
) -> AsyncIterator[SettlingRouter]:
    """As much of a router as settles."""
    running = SettlingRouter(tmp_path, client, counters)
    yield running
    await running.stop()
