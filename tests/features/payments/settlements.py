"""How the tests have something settled."""

import asyncio

import pytest

from bitrouter.payments.journal import Entry
from bitrouter.payments.terms import Receipt, Terms
from tests.support.facilitator import (
    payload_of,
    terms_of,
)
from tests.support.settling import SettlingRouter, entry_of

LIMIT_S = 10.0


EXACT = terms_of()


PERMIT2 = terms_of(permit2=True)


UPTO = terms_of("upto")


each_scheme = pytest.mark.parametrize(
    "terms", [EXACT, PERMIT2, UPTO], ids=["eip3009", "permit2", "upto"]
)


async def settle(
    router: SettlingRouter, terms: Terms, amount: int | None = None, wait_s: float = LIMIT_S
) -> Receipt | None:
    payload = payload_of(terms)
    units = int(terms.amount) if amount is None else amount
    return await router.settler.settle(entry_of(payload, terms), payload, terms, units, wait_s)


async def ended(router: SettlingRouter) -> tuple[Entry, Receipt]:
    async with asyncio.timeout(LIMIT_S):
        await router.told.wait()
    return router.final[-1]
