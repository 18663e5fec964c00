"""The router with a planted slowdown, which `bench.baseline` has to find.

Run as `python -m bench.slowed MICROSECONDS serve ...`: each request keeps the processor busy for so
much longer, and each chunk of a stream for a tenth of it.
"""

import sys
import time

from aiohttp import web

from bitrouter.cli.main import main
from bitrouter.protocols.base import Operation
from bitrouter.protocols.codec import Codec
from bitrouter.server.inference import Inference
from bitrouter.server.outgoing import OutStream


def _waste(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def plant(seconds: float) -> None:
    """Make every request, and every event, of this process slower."""
    handle, write_now = Inference.handle, OutStream.write_now

    async def slow_handle(
        self: Inference,
        request: web.BaseRequest,
        codec: Codec,
        operation: Operation,
        path_model: str | None,
    ) -> web.StreamResponse:
        _waste(seconds)
        return await handle(self, request, codec, operation, path_model)

    def slow_write(self: OutStream, data: bytes) -> bool:
        _waste(seconds / 10)
        return write_now(self, data)

    Inference.handle = slow_handle  # type: ignore[method-assign]  # that is its purpose
    OutStream.write_now = slow_write  # type: ignore[method-assign]  # likewise


if __name__ == "__main__":
    plant(int(sys.argv.pop(1)) / 1e6)
    sys.exit(main())
