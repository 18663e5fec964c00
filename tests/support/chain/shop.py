"""A router that sells answers, and what a test asks of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from x402.schemas import SettleResponse

from tests.support.chain.addresses import NETWORK
from tests.support.chain.facilitator import FacilitatorServer
from tests.support.chain.front import Front
from tests.support.chain.payer import Payer
from tests.support.chain.world import World
from tests.support.dialects import CHAT, INPUT_TOKENS, OUTPUT_TOKENS, Dialect, provider, route_to
from tests.support.faults import complete
from tests.support.router import RunningRouter
from tests.support.upstream import Received, Reply, ScriptedUpstream

PURSE = 1_000_000  # what a payer has at first: a dollar
PRICE = {"input": 0.3, "output": 1.25}  # USD per million tokens: so many units a token
CHARGE = ceil(INPUT_TOKENS * 0.3 + OUTPUT_TOKENS * 1.25)  # for what every dialect's answer reports
FLAT = 10_000  # of model `flat`: a cent

OFFERS: Mapping[str, Mapping[str, str]] = {
    "upto": {"scheme": "upto"},
    "exact": {"scheme": "exact"},
    "exact by Permit2": {"scheme": "exact", "asset_transfer_method": "permit2"},
}


def answers(dialect: Dialect) -> Callable[[Received], Reply]:
    """What a provider of this protocol says: a stream to whom asks for one."""

    def answer(received: Received) -> Reply:
        streams = "stream" in received.target or json.loads(received.body).get("stream")
        return complete(dialect, stream=bool(streams))

    return answer


def delivered(dialect: Dialect) -> list[str]:
    """The events of its stream that a client gets: OpenAI's tell the usage to who asks for it."""
    return [one.decode() for one in dialect.events if dialect is not CHAT or b'"usage"' not in one]


def shop_settings(
    dialect: Dialect, upstream: str, facilitator: str, seller: str, *offers: str, **x402: Any
) -> dict[str, Any]:
    """bitrouter.yaml: model `m` costs by the token, `flat` by the call, `free` is not for sale."""
    accepts = [
        {**OFFERS[name], "network": NETWORK, "asset": "usdc", "pay_to": seller}
        for name in offers or ("upto", "exact")
    ]
    payments = {
        "enabled": True,
        "public_base_url": "https://router.example",
        "facilitator": {"url": facilitator, **x402.pop("facilitator_settings", {})},
        "accepts": accepts,
        "streams": {"receipt_hold": "15s"},  # longer than a busy machine takes to settle
    }
    return {
        "providers": {"p1": provider(dialect, upstream)},
        "models": {
            "m": route_to("p1", price=PRICE),
            "flat": route_to("p1", price={"call": "0.01"}),
            "free": route_to("p1"),
        },
        "payments": {"x402": payments | x402},
    }


@dataclass(frozen=True)
class Shop(Front):
    """A running router whose `upstream` is a provider, and who is paid for its answers."""

    router: RunningRouter
    world: World
    facilitator: FacilitatorServer
    seller: str
    upstream: ScriptedUpstream

    @property
    def earned(self) -> int:
        """What the seller has."""
        return self.world.balance(self.seller)

    def check_paid(self, payer: Payer, told: SettleResponse, units: int) -> None:
        """The receipt is true, and nothing was taken but what it says."""
        assert told.success
        assert told.amount == str(units)
        assert told.network == NETWORK
        assert told.payer is not None
        assert told.payer.lower() == payer.address.lower()
        assert self.world.chain.mined[told.transaction].succeeded
        assert self.earned == units
        assert self.world.balance(payer.address) == PURSE - units
