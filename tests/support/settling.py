"""Entries, and a settler with all that belongs to it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator
from bitrouter.payments.journal import Entry, Journal, State
from bitrouter.payments.rpc import Rpc
from bitrouter.payments.settle import Pace, Settler
from bitrouter.payments.terms import Payload, Receipt, Terms
from tests.support.facilitator import PAYER

NOW = 1_800_000_000
QUICK = Pace(first_rest=0.02, last_rest=0.05, after_expiry=5.0)


def entry_of(
    payload: Payload,
    terms: Terms,
    name: str = "1",
    *,
    state: State = "open",
    expires_at: int = NOW + 600,
    amount: int | None = None,
) -> Entry:
    """What the journal is told when a payment was verified."""
    return Entry(
        id=f"req-{name}",
        key=f"key-{name}",
        payer=PAYER.lower(),
        network=terms.network,
        asset=terms.asset,
        scheme=terms.scheme,
        version=2,
        payload=msgspec.json.encode(payload),
        terms=msgspec.json.encode(terms),
        ceiling=int(terms.amount),
        amount=amount,
        expires_at=expires_at,
        state=state,
        created_at=float(NOW),
        updated_at=float(NOW),
        model="m",
    )


class SettlingRouter:
    """The part of a router that settles, with its state in `state_dir`. `now` is its wall clock.

    `final` are the entries and receipts that it was told of, `told` is set with the first.
    """

    def __init__(
        self,
        state_dir: Path,
        client: Facilitator,
        counters: Counters,
        *,
        rpc: Rpc | None = None,
        wall: Callable[[], float] | None = None,
        pace: Pace = QUICK,
    ) -> None:
        self.now = float(NOW)
        self.counters = counters
        self.final: list[tuple[Entry, Receipt]] = []
        self.told = asyncio.Event()
        self._when_told: Callable[[], None] = lambda: None
        self.journal = Journal(state_dir, wall=wall or self._wall, linger_s=0.0, retry_s=0.05)
        self.settler = Settler(
            client,
            self.journal,
            counters,
            wall=wall or self._wall,
            on_final=self._on_final,
            rpc=rpc,
            pace=pace,
        )

    def _wall(self) -> float:
        return self.now

    def _on_final(self, entry: Entry, receipt: Receipt) -> None:
        self.final.append((entry, receipt))
        self.told.set()
        self._when_told()

    def when_told(self, call: Callable[[], None]) -> None:
        """Have `call` called when it is told of an end."""
        self._when_told = call

    async def row(self, name: str = "1") -> Entry:
        """What the journal says of a payment."""
        found = await self.journal.find(f"req-{name}")
        assert found is not None
        return found

    async def stop(self) -> None:
        """As a router stops."""
        await self.settler.drain(0)
        await self.journal.close()
