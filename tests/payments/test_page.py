"""What docs/payments.md shows is run as it stands there."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import StartRouter
from tests.support.chain.facilitator import FacilitatorServer
from tests.support.chain.shop import PURSE, Shop, answers
from tests.support.chain.world import World
from tests.support.dialects import CHAT
from tests.support.upstream import ScriptedUpstream

PAGE = (Path(__file__).parents[2] / "docs" / "payments.md").read_text()
(SETTINGS,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PROGRAMS: list[str] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CHARGE = 12  # 11 input tokens at 0.3, 7 output tokens at 1.2: 11.7 units


@pytest.mark.parametrize("program", PROGRAMS, ids=["httpx", "openai"])
async def test_the_programs_of_the_page_pay_the_router_of_the_page(
    start_router: StartRouter,
    world: World,
    facilitator: FacilitatorServer,
    upstream: ScriptedUpstream,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
) -> None:
    given: dict[str, Any] = yaml.safe_load(SETTINGS)
    given["providers"]["openai"] = {"api_key": "key-up", "api_base": upstream.url}
    x402 = given["payments"]["x402"]
    x402["facilitator"]["url"] = facilitator.url
    seller = x402["accepts"][0]["pay_to"]
    before = world.balance(seller)
    upstream.script = answers(CHAT)
    shop = Shop(await start_router(given), world, facilitator, seller, upstream)
    await shop.until_it_sells("small")

    wallet = world.new_wallet(PURSE)
    monkeypatch.setenv("ROUTER", shop.url)
    monkeypatch.setenv("RPC_URL", world.rpc.url)
    monkeypatch.setenv("PRIVATE_KEY", "0x" + bytes(wallet.key).hex())
    await asyncio.to_thread(exec, program, {"__name__": "__main__"})
    assert "Hello there" in capsys.readouterr().out
    assert shop.earned - before == CHARGE == PURSE - world.balance(wallet.address)
