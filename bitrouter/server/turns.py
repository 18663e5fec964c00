"""Changes of routes and configuration follow one another, and each is finished once it is begun."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Turns:
    """One for all changes of a router, whoever asks for them."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Future[Any]] = set()

    async def take(self, change: Callable[[], Awaitable[T]]) -> T:
        """Run a change alone.

        It is finished even if the caller does not wait: what is on disk and what is in use must
        not part.
        """

        async def run() -> T:
            async with self._lock:
                return await change()

        running = asyncio.ensure_future(run())
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)

    async def close(self) -> None:
        """Wait for what was begun."""
        await asyncio.gather(*self._running, return_exceptions=True)
