"""Which events a large request could have delayed, and what is said of them."""

import asyncio

import pytest

from bench.beside import STREAMS, Beside, Delays, judge, run
from bench.runs import ROUTER
from bench.tables import MAX_BESIDE_US, beside_table
from bench.upstream import Upstream

MS = 1000
NONE = Delays(0, 0.0, 0.0, 0.0)


def test_events_on_their_way_during_a_large_request_are_told_from_those_before() -> None:
    large = [(100 * MS, 110 * MS), (200 * MS, 210 * MS)]
    before = [(61 * MS, 62 * MS), (165 * MS, 168 * MS)]
    beside = [(99 * MS, 104 * MS), (105 * MS, 112 * MS), (209 * MS, 218 * MS)]
    neither = [(80 * MS, 99 * MS), (120 * MS, 130 * MS), (219 * MS, 300 * MS)]

    seen = judge([*neither, *beside, *before], large)

    assert (seen.large, seen.large_p50_us) == (2, 10 * MS)
    assert seen.alone == Delays(2, 3 * MS, 3 * MS, 3 * MS)
    assert seen.met == Delays(3, 7 * MS, 9 * MS, 9 * MS)
    assert seen.added_us == (4 * MS, 6 * MS, 6 * MS)


def test_where_no_event_met_one_there_is_nothing_to_say() -> None:
    assert judge([(0, 5)], [(10 * MS, 11 * MS)]) == Beside(1, 1 * MS, NONE, NONE)


@pytest.mark.parametrize(("more_us", "verdict"), [(-1, "met"), (1, "MISSED")])
def test_the_router_is_held_to_the_longest_delay(more_us: int, verdict: str) -> None:
    slow = Beside(1, 1.0, NONE, Delays(1, 0.0, 9e9, MAX_BESIDE_US + more_us))

    *_, direct, router = beside_table({"direct": slow, ROUTER: slow})

    assert direct.endswith("-")
    assert router.endswith(f"5000: {verdict}")


async def test_streams_and_large_requests_run_beside_each_other() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(0.0005), "127.0.0.1", 0)
    async with asyncio.timeout(20):
        seen = await run(server.sockets[0].getsockname()[1], seconds=0.25)
    server.close()

    assert seen.large >= 1
    assert seen.alone.events + seen.met.events > STREAMS
