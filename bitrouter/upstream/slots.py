"""How many requests an endpoint may have at a time, where a route says so (max_concurrency)."""

import asyncio
from collections import deque

from bitrouter.errors import UpstreamBusy


class Slots:
    """Slots taken, by endpoint. Nothing is kept of an endpoint whose slots are all free."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def taken(self, key: str) -> int:
        """How many requests an endpoint has now."""
        return self._taken.get(key, 0)

    async def take(self, key: str, limit: int, wait_s: float) -> None:
        """Take one of `limit` slots, waiting `wait_s` seconds for it, in the order of asking.

        Every slot that was taken is given back with `give`. Raises UpstreamBusy.
        """
        queue = self._waiting.get(key)
        if not queue and self.taken(key) < limit:
            self._taken[key] = self.taken(key) + 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(key, deque())
        queue.append(turn)
        try:
            await asyncio.wait((turn,), timeout=wait_s)
        except asyncio.CancelledError:
            if turn.done():
                self.give(key)  # it came at the very moment at which nobody wants it any more
            self._leave(key, turn)
            raise
        if not turn.done():
            self._leave(key, turn)
            raise UpstreamBusy(
                f"all {limit} slots of this endpoint are taken (max_concurrency), and none became"
                f" free in time (timeouts.pool_wait: {wait_s:g} s)",
                retry_after_s=1,
            )

    def give(self, key: str) -> None:
        """Give a slot back: to whoever has waited longest, if anybody waits."""
        queue = self._waiting.get(key)
        while queue:
            turn = queue.popleft()
            if not queue:
                del self._waiting[key]
            if not turn.done():
                turn.set_result(None)  # the slot changes hands, and stays taken
                return
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]

    def _leave(self, key: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(key)
        if queue and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[key]
