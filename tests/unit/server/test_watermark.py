"""The memory of the process against a limit."""

import logging
from collections.abc import Sequence

import pytest

from bitrouter.config.schema import Limits, Size
from bitrouter.server.buffers import memory_limit
from bitrouter.server.watermark import Watermark, resident_bytes, watermark


def test_the_memory_of_this_process_is_told() -> None:
    before = resident_bytes()
    more = bytearray(64 << 20)
    more[::4096] = b"x" * len(more[::4096])

    assert resident_bytes() - before > 60 << 20


def test_the_setting_wins_over_the_memory_there_is() -> None:
    assert watermark(Limits(max_memory_bytes=Size(7))) == 7
    assert watermark(Limits()) == memory_limit() // 5 * 4


@pytest.mark.parametrize(
    ("seen", "exceeded"),
    [((50,), False), ((150, 50), False), ((150, 150), True)],
    ids=["below", "free but kept by the C library", "above"],
)
async def test_it_is_exceeded_by_what_cannot_be_given_back(
    seen: Sequence[int], exceeded: bool
) -> None:
    sizes = iter((*seen, seen[-1]))
    mark = Watermark(100, lambda: next(sizes))
    await mark.look()

    assert mark.exceeded == exceeded


async def test_it_is_logged_once_that_it_is_exceeded_and_once_that_it_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    size = 300 << 20
    mark = Watermark(200 << 20, lambda: size)
    with caplog.at_level(logging.INFO, "bitrouter"):
        await mark.look()
        await mark.look()
        size = 100 << 20
        await mark.look()
        await mark.look()

    assert [one.getMessage() for one in caplog.records] == [
        "the router has 300 MiB of memory: new requests are refused until it is back below 200"
        " (limits.max_memory_bytes)",
        "requests are taken again: the router's memory is back below its limit",
    ]
