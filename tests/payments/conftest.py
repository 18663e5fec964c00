"""Fixtures for tests in which wallets pay a running router on a local chain.

The x402 package's facilitator settles, its clients pay. Every test has a payer and a seller of its
own, so that balances begin at what the test says.
"""

import functools
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from bitrouter.payments import settle
from bitrouter.payments.settle import Pace
from tests.conftest import StartRouter
from tests.support.chain.facilitator import FacilitatorServer
from tests.support.chain.payer import Payer
from tests.support.chain.shop import PURSE, Shop, answers, shop_settings
from tests.support.chain.world import World
from tests.support.dialects import CHAT, Dialect
from tests.support.process import environment, run
from tests.support.upstream import ScriptedUpstream

MakePayer = Callable[..., Payer]
OpenShop = Callable[..., Awaitable[Shop]]


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The chain, and all that is on it."""
    made = World()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A settlement without an outcome is taken up again after 50 ms, not after a second."""
    monkeypatch.setattr(settle, "Pace", functools.partial(Pace, first_rest=0.05))


@pytest.fixture
def facilitator(world: World) -> Iterator[FacilitatorServer]:
    """The facilitator, in order until it is told otherwise."""
    server = world.start_facilitator()
    yield server
    server.close()


@pytest.fixture
def seller(world: World) -> str:
    """The address that is paid."""
    address: str = world.new_wallet().address
    return address


@pytest.fixture
def make_payer(world: World) -> MakePayer:
    """Makes wallets with a dollar and no gas, which know the given schemes, and can read the chain
    unless told otherwise.
    """

    def make(*schemes: str, units: int = PURSE, rpc: bool = True) -> Payer:
        return Payer(world.new_wallet(units), schemes, world.rpc.url if rpc else None)

    return make


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key of the router that is started next."""
    home = environment(tmp_path, BITROUTER_HOME=str(tmp_path))
    (tmp_path / "bitrouter.yaml").touch()
    made = run("keys", "create", "alice", "--json", cwd=tmp_path, env=home)
    assert made.returncode == 0, made.stderr
    text: str = json.loads(made.stdout)["key"]
    return text


@pytest.fixture
def open_shop(
    start_router: StartRouter,
    world: World,
    facilitator: FacilitatorServer,
    seller: str,
    upstream: ScriptedUpstream,
) -> OpenShop:
    """Starts a router that sells the answers of `upstream`, and waits until it may sell.

    The upstream says what a provider of `dialect` says, whole.
    """

    async def start(dialect: Dialect = CHAT, *schemes: str, **x402: object) -> Shop:
        upstream.script = answers(dialect)
        given = shop_settings(dialect, upstream.url, facilitator.url, seller, *schemes, **x402)
        shop = Shop(await start_router(given), world, facilitator, seller, upstream)
        await shop.until_it_sells()
        return shop

    return start
