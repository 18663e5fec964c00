"""The router is killed (SIGKILL) at each step of a paid call, and started again: no money that is
owed is lost, nothing is charged twice, and nothing that was not delivered. Told to stop (SIGTERM),
it finishes first.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import aiohttp
import pytest
import yaml

from tests.payments.conftest import MakePayer
from tests.support.chain.background import LIMIT_S, until
from tests.support.chain.facilitator import FacilitatorServer
from tests.support.chain.payer import SIGNATURE, Payer, encode, terms
from tests.support.chain.shop import CHARGE, PURSE, answers, shop_settings
from tests.support.chain.world import World
from tests.support.dialects import CHAT
from tests.support.process import RouterProcess
from tests.support.upstream import Received, Reply, ScriptedUpstream

REQUEST_ID = "the-call-that-was-killed"


@dataclass
class Stand:
    """A shop whose router is a process that may be killed."""

    directory: Path
    world: World
    facilitator: FacilitatorServer
    seller: str
    upstream: ScriptedUpstream
    process: RouterProcess | None = None

    async def open(self) -> None:
        """Start the router, and wait until it sells."""
        self.process = await asyncio.to_thread(
            RouterProcess, "--listen", "127.0.0.1:0", cwd=self.directory
        )
        async with asyncio.timeout(LIMIT_S):
            while (await self.ask())[0] == 503:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """End the router as a power cut would."""
        assert self.process is not None
        self.process.send(SIGKILL)
        await asyncio.to_thread(self.process.wait)
        self.process.stop()

    async def ask(self, payment: object = None, **headers: str) -> tuple[int, Any, bytes]:
        """One request: status, headers, body."""
        if payment is not None:
            headers[SIGNATURE] = encode(payment)
        async with self._http() as http:
            url = CHAT.path()
            async with http.post(url, json=CHAT.body(), headers=headers) as answer:
                return answer.status, answer.headers, await answer.read()

    async def signed(self, payer: Payer) -> dict[str, Any]:
        """A payment for the request."""
        status, headers, _ = await self.ask()
        assert status == 402
        return await asyncio.to_thread(payer.sign, terms(headers))

    async def state(self) -> str:
        """What the router says of the payment of the call that was killed."""
        async with self._http() as http, http.get(f"/v1/payments/{REQUEST_ID}") as answer:
            assert answer.status == 200
            return str((await answer.json())["state"])

    async def until(self, state: str) -> None:
        """Wait until it is in this state."""
        async with asyncio.timeout(LIMIT_S):
            while await self.state() != state:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)

    def _http(self) -> aiohttp.ClientSession:
        assert self.process is not None
        return aiohttp.ClientSession(self.process.url)


@pytest.fixture
async def stand(
    tmp_path: Path,
    world: World,
    facilitator: FacilitatorServer,
    seller: str,
    upstream: ScriptedUpstream,
) -> AsyncIterator[Stand]:
    """An open shop."""
    upstream.script = answers(CHAT)
    given = shop_settings(CHAT, upstream.url, facilitator.url, seller, rpc_url=world.rpc.url)
    (tmp_path / "bitrouter.yaml").write_text(yaml.safe_dump(given))
    made = Stand(tmp_path, world, facilitator, seller, upstream)
    await made.open()
    yield made
    assert made.process is not None
    made.process.stop()


@pytest.fixture
def payer(make_payer: MakePayer) -> Payer:
    """A wallet that pays by `upto`."""
    return make_payer("upto")


async def at_verify(stand: Stand) -> Callable[[], None]:
    stand.facilitator.verify.close()
    return stand.facilitator.verify.open


async def at_work(stand: Stand) -> Callable[[], None]:
    going = asyncio.Event()
    reply = answers(CHAT)

    def slow(received: Received) -> Reply:
        return Reply(reply(received).chunks, wait=going)

    stand.upstream.script = slow

    def go_on() -> None:
        going.set()
        stand.upstream.script = reply

    return go_on


Step = Callable[[Stand], Awaitable[Callable[[], None]]]
BEFORE: dict[str, tuple[Step, Callable[[Stand], Awaitable[object]]]] = {
    "while it is verified": (at_verify, lambda s: s.facilitator.verify.wait_until_reached()),
    "while the provider works": (at_work, lambda s: s.upstream.wait_for_request()),
}


@pytest.mark.parametrize(("stop_at", "reached"), BEFORE.values(), ids=BEFORE)
async def test_killed_before_the_answer_nothing_is_charged_and_the_payment_is_good(
    stand: Stand,
    payer: Payer,
    stop_at: Step,
    reached: Callable[[Stand], Awaitable[object]],
) -> None:
    payment = await stand.signed(payer)
    go_on = await stop_at(stand)
    asking = asyncio.create_task(stand.ask(payment, **{"x-request-id": REQUEST_ID}))
    await reached(stand)
    await stand.kill()
    go_on()
    await asyncio.gather(asking, return_exceptions=True)

    await stand.open()
    assert stand.facilitator.settle.calls == []
    assert stand.world.balance(payer.address) == PURSE
    status, _, body = await stand.ask(payment)
    assert status == 200
    assert body == CHAT.answer
    assert stand.world.balance(stand.seller) == CHARGE


@pytest.mark.parametrize("was_made", [False, True], ids=["not made", "made"])
async def test_killed_while_it_is_settled_the_settlement_is_made_once(
    stand: Stand, payer: Payer, was_made: bool
) -> None:
    payment = await stand.signed(payer)
    if not was_made:
        stand.facilitator.settle.down = True
    stand.facilitator.settle.close()
    asking = asyncio.create_task(stand.ask(payment, **{"x-request-id": REQUEST_ID}))
    await until(lambda: bool(stand.facilitator.settle.calls))
    await stand.kill()
    stand.facilitator.settle.open()
    stand.facilitator.settle.down = False
    await asyncio.gather(asking, return_exceptions=True)

    await stand.open()
    await stand.until("settled")
    assert stand.world.balance(stand.seller) == CHARGE
    assert stand.world.balance(payer.address) == PURSE - CHARGE
    status, _, _ = await stand.ask(payment)
    assert status == 402  # used
    assert len(stand.upstream.received) == 1


async def test_killed_after_the_answer_the_payment_is_still_used(
    stand: Stand, payer: Payer
) -> None:
    payment = await stand.signed(payer)
    status, _, _ = await stand.ask(payment, **{"x-request-id": REQUEST_ID})
    assert status == 200
    await stand.kill()

    await stand.open()
    await stand.until("settled")
    status, _, _ = await stand.ask(payment)
    assert status == 402
    assert len(stand.upstream.received) == 1
    assert stand.world.balance(stand.seller) == CHARGE


async def test_killed_again_and_again_it_is_charged_once(stand: Stand, payer: Payer) -> None:
    payment = await stand.signed(payer)
    stand.facilitator.settle.lost = 3  # the facilitator does its work, and nobody hears of it
    asking = asyncio.create_task(stand.ask(payment, **{"x-request-id": REQUEST_ID}))
    await until(lambda: stand.world.balance(stand.seller) > 0)
    await stand.kill()
    await asyncio.gather(asking, return_exceptions=True)
    for _ in range(2):
        await stand.open()
        await stand.kill()
    await stand.open()
    await stand.until("settled")
    assert stand.world.balance(stand.seller) == CHARGE
    assert stand.world.balance(payer.address) == PURSE - CHARGE


async def test_told_to_stop_it_settles_and_answers_first(stand: Stand, payer: Payer) -> None:
    payment = await stand.signed(payer)
    stand.facilitator.settle.close()
    asking = asyncio.create_task(stand.ask(payment))
    await stand.facilitator.settle.wait_until_reached()
    assert stand.process is not None
    stand.process.send(SIGTERM)
    await asyncio.to_thread(stand.process.wait_for, "stopping")
    stand.facilitator.settle.open()
    status, _, body = await asking
    assert status == 200
    assert body == CHAT.answer
    assert await asyncio.to_thread(stand.process.wait) == 0
    assert stand.world.balance(stand.seller) == CHARGE
    assert payment["payload"]["signature"][2:] not in stand.process.text
