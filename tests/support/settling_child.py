"""A process that settles one payment and kills itself on the way.

`python -m tests.support.settling_child STATE_DIR FACILITATOR_URL SCHEME STEP`; a step is what
has just happened when it dies.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from bitrouter.config.schema import Facilitator as Settings
from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator
from bitrouter.payments.terms import Payload, Receipt, Terms
from tests.support.facilitator import payload_of, terms_of
from tests.support.settling import NOW, SettlingRouter, entry_of

TERMS = {"eip3009": terms_of(), "permit2": terms_of(permit2=True), "upto": terms_of("upto")}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _MortalClient(Facilitator):
    """Dies right before its call, or right after."""

    step = "none"

    async def settle(self, payload: Payload, terms: Terms, *, version: int = 2) -> Receipt:
        if self.step == "the row is there":
            _die()
        receipt = await super().settle(payload, terms, version=version)
        if self.step == "the answer is there":
            _die()
        return receipt


async def _settle(state_dir: Path, url: str, scheme: str, step: str) -> None:
    counters = Counters()
    client = _MortalClient(Settings(url=url), wall=lambda: NOW, counters=counters)
    client.step = step
    router = SettlingRouter(state_dir, client, counters)
    terms = TERMS[scheme]
    payload = payload_of(terms)
    entry = entry_of(payload, terms)
    await router.journal.keep(entry)
    if step == "the work is done":
        _die()
    if step == "the outcome is told":
        router.when_told(_die)
    await router.settler.settle(entry, payload, terms, int(terms.amount), 60)
    await router.stop()
    await client.close()


if __name__ == "__main__":
    asyncio.run(_settle(Path(sys.argv[1]), *sys.argv[2:]))
