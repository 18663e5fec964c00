"""Probes of endpoints that were down, which go on after their client was answered by others.

An endpoint that is half open may be as silent as before, and no client shall wait to find that out.
So the next endpoint is asked as well (failover.py), and if that answers first, the probe is left to
itself until it knows: at most one for each endpoint, bounded by the timers of any call.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class Probes:
    """Owns those that run: tasks whose result is an answer and who gave it, or None. `discard` lets
    go an answer that nobody wants.
    """

    def __init__(self, discard: Callable[[Any], None]) -> None:
        self._discard = discard
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def keep(
        self, probe: "asyncio.Task[Any]", settle: Callable[["asyncio.Task[Any]"], None]
    ) -> None:
        """Let a probe run on; `settle` is told when it has ended."""
        self._running.add(probe)
        probe.add_done_callback(self._running.discard)
        probe.add_done_callback(settle)
        probe.add_done_callback(self.drop)

    async def give_up(self, *attempts: "asyncio.Task[Any] | None") -> None:
        """Break off what nobody waits for any more, and let go what it has."""
        tasks = [task for task in attempts if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            self.drop(task)

    async def close(self) -> None:
        """End all of them."""
        running = [*self._running]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def drop(self, task: "asyncio.Task[Any]") -> None:
        """Let go the answer of an attempt that has ended, if it has one."""
        if not task.cancelled() and task.exception() is None and (found := task.result()):
            self._discard(found[0])
