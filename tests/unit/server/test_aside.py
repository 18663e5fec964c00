"""What takes long is done in a thread."""

import asyncio
import sys
import threading

import pytest

from bitrouter.errors import RouterError
from bitrouter.ir import Failure, Usage
from bitrouter.server.aside import LARGE_EVENT, aside, take

LIMIT_S = 10


class Watched:
    """A transform that notes in which thread it is fed, and waits there until it may go on."""

    started = progressed = complete = False
    failed: Failure | None = None
    usage: Usage | None = None

    def __init__(self, held: int) -> None:
        self.held = held
        self.threads: list[threading.Thread] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.over = False

    def feed(self, chunk: bytes) -> bytes:
        self.threads.append(threading.current_thread())
        assert self.may_go_on.wait(LIMIT_S)
        self.over = True
        return chunk.upper()

    def finish(self, error: RouterError | None = None) -> bytes:
        return self.feed(b"end")

    def fail(self, error: RouterError) -> bytes:
        return b""


async def test_a_small_event_is_looked_at_where_it_came() -> None:
    watched = Watched(LARGE_EVENT)

    assert await take(watched, b"a") == b"A"
    assert await take(watched, b"") == b"END"
    assert watched.threads == [threading.current_thread()] * 2


async def test_a_large_event_and_its_end_are_looked_at_in_a_thread() -> None:
    watched = Watched(LARGE_EVENT + 1)

    assert await take(watched, b"a") == b"A"
    assert await take(watched, b"") == b"END"
    assert threading.current_thread() not in watched.threads


async def test_who_is_cancelled_meanwhile_waits_for_the_thread() -> None:
    watched = Watched(LARGE_EVENT + 1)
    watched.may_go_on.clear()
    taking = asyncio.create_task(take(watched, b"a"))
    async with asyncio.timeout(LIMIT_S):
        while not watched.threads:  # noqa: ASYNC110 - a thread cannot tell
            await asyncio.sleep(0.001)
        taking.cancel()
        await asyncio.sleep(0.01)
        assert not taking.done()
        watched.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await taking
    assert watched.over


async def test_turns_are_short_while_there_is_work_and_only_then() -> None:
    usual = sys.getswitchinterval()
    first, second = threading.Event(), threading.Event()
    working = [asyncio.create_task(aside(one.wait, LIMIT_S)) for one in (first, second)]
    async with asyncio.timeout(LIMIT_S):
        while sys.getswitchinterval() == usual:  # noqa: ASYNC110 - a thread cannot tell
            await asyncio.sleep(0.001)
        first.set()
        assert await working[0]
        assert sys.getswitchinterval() < usual
        second.set()
        assert await working[1]
    assert sys.getswitchinterval() == pytest.approx(usual)


async def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise KeyError("x")

    usual = sys.getswitchinterval()
    with pytest.raises(KeyError):
        await aside(fail)
    assert sys.getswitchinterval() == pytest.approx(usual)
