"""An event loop in a thread of its own: what serves a test from outside the test's loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web

_T = TypeVar("_T")

LIMIT_S = 20.0


class BackgroundLoop:
    """A running event loop. To be closed."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run it there, and wait for it here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)

    def close(self) -> None:
        """Stop the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(LIMIT_S)
        self.loop.close()


async def serve(handler: Any, port: int = 0) -> tuple[web.ServerRunner, int]:
    """Serve on the loopback interface: what to clean up, and the port."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, runner.addresses[0][1]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so of which nobody tells."""
    async with asyncio.timeout(LIMIT_S):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
