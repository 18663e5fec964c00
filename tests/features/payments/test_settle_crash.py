"""A process that is killed in the middle of a settlement, and the one that is started after it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator
from tests.support.facilitator import FakeFacilitator
from tests.support.process import environment
from tests.support.settling import SettlingRouter

LIMIT_S = 30.0

Start = Callable[[str, str], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start(tmp_path: Path, fake: FakeFacilitator) -> AsyncIterator[Start]:
    """Starts a process that settles a payment of a scheme and dies at a step."""
    started: list[asyncio.subprocess.Process] = []

    async def run(scheme: str, step: str) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.settling_child"),
            *(str(tmp_path), fake.url, scheme, step),
            cwd=Path(__file__).parents[3],
            env=environment(tmp_path),
        )
        started.append(child)
        return child

    yield run
    for child in started:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.fixture
async def next_start(
    tmp_path: Path, client: Facilitator, counters: Counters
) -> AsyncIterator[Callable[[], Awaitable[SettlingRouter]]]:
    """Starts again on what the dead process has left, and waits until nothing is open."""
    routers: list[SettlingRouter] = []

    async def run() -> SettlingRouter:
        router = SettlingRouter(tmp_path, client, counters)
        routers.append(router)
        if await router.settler.resume():
            async with asyncio.timeout(LIMIT_S):
                await router.told.wait()
        assert await router.journal.unfinished() == []
        return router

    yield run
    for router in routers:
        await router.stop()


async def dead(child: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(LIMIT_S):
        assert await child.wait() == -signal.SIGKILL


async def test_killed_after_the_work_nothing_is_charged(
    fake: FakeFacilitator, start: Start, next_start: Callable[[], Awaitable[SettlingRouter]]
) -> None:
    await dead(await start("eip3009", "the work is done"))

    router = await next_start()

    assert (await router.row()).state == "released"
    assert fake.calls == []


@pytest.mark.parametrize(
    ("step", "settle_calls"),
    [("the row is there", 1), ("the answer is there", 1), ("the outcome is told", 1)],
)
async def test_killed_by_itself_the_payment_is_charged_once(
    fake: FakeFacilitator,
    start: Start,
    next_start: Callable[[], Awaitable[SettlingRouter]],
    step: str,
    settle_calls: int,
) -> None:
    await dead(await start("eip3009", step))

    router = await next_start()

    assert (await router.row()).state == "settled"
    assert fake.total_moved == 5000
    assert fake.reverted == 0
    assert fake.count("/settle") == settle_calls


@pytest.mark.parametrize("scheme", ["eip3009", "permit2", "upto"])
@pytest.mark.parametrize("moved", [False, True], ids=["not moved yet", "moved"])
async def test_killed_during_the_call_the_payment_is_charged_once(
    fake: FakeFacilitator,
    start: Start,
    next_start: Callable[[], Awaitable[SettlingRouter]],
    scheme: str,
    moved: bool,
) -> None:
    child: list[asyncio.subprocess.Process] = []

    async def kill(call: dict[str, object], facilitator: FakeFacilitator) -> web.Response | None:
        if moved:
            facilitator.move(call)
        child[0].kill()
        await child[0].wait()
        return None

    fake.on_settle.append(kill)
    child.append(await start(scheme, "none"))
    await dead(child[0])

    router = await next_start()

    assert (await router.row()).state == "settled"
    assert fake.total_moved == 5000
    assert len(fake.moved) == 1


async def test_unharmed_it_ends_by_itself(
    fake: FakeFacilitator, start: Start, next_start: Callable[[], Awaitable[SettlingRouter]]
) -> None:
    child = await start("upto", "none")
    async with asyncio.timeout(LIMIT_S):
        assert await child.wait() == 0

    router = await next_start()

    row = await router.row()
    assert (row.state, row.amount, row.payload) == ("settled", 5000, b"")
    assert fake.count("/settle") == 1
    assert fake.count("/verify") == 0
