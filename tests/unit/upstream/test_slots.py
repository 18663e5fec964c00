"""An endpoint has no more requests at a time than it may."""

import asyncio

import pytest

from bitrouter.errors import UpstreamBusy
from bitrouter.upstream.slots import Slots


async def test_slots_are_taken_up_to_the_limit_and_given_back() -> None:
    slots = Slots()
    await slots.take("a", 2, 1)
    await slots.take("a", 2, 1)
    assert slots.taken("a") == 2

    slots.give("a")
    slots.give("a")

    assert slots.taken("a") == 0


async def test_another_endpoint_has_slots_of_its_own() -> None:
    slots = Slots()
    await slots.take("a", 1, 1)

    await slots.take("b", 1, 1)

    assert (slots.taken("a"), slots.taken("b")) == (1, 1)


async def test_who_waits_longest_is_next() -> None:
    slots = Slots()
    await slots.take("a", 1, 1)
    order = []

    async def wait(name: str) -> None:
        await slots.take("a", 1, wait_s=60)
        order.append(name)

    waiting = [asyncio.ensure_future(wait(name)) for name in "123"]
    await asyncio.sleep(0)
    for _ in waiting:
        slots.give("a")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    slots.give("a")

    assert order == ["1", "2", "3"]
    assert slots.taken("a") == 0


async def test_waiting_has_an_end() -> None:
    slots = Slots()
    await slots.take("a", 1, 1)

    with pytest.raises(UpstreamBusy, match=r"all 1 slots .* \(max_concurrency\)"):
        await slots.take("a", 1, wait_s=0.01)

    slots.give("a")
    assert slots.taken("a") == 0


async def test_who_leaves_while_waiting_takes_nothing() -> None:
    slots = Slots()
    await slots.take("a", 1, 1)
    waiting = asyncio.ensure_future(slots.take("a", 1, wait_s=60))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slots.give("a")

    assert slots.taken("a") == 0
    await slots.take("a", 1, 1)


async def test_a_slot_given_to_one_who_leaves_at_that_moment_is_not_lost() -> None:
    slots = Slots()
    await slots.take("a", 1, 1)
    waiting = asyncio.ensure_future(slots.take("a", 1, wait_s=60))
    await asyncio.sleep(0)

    slots.give("a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert slots.taken("a") == 0
