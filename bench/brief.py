"""The provider of the bench, whose streams are cut down to `EVENTS` events.

Run as `python -m bench.brief PORT`.
"""

import asyncio
import functools
import sys
from typing import Final

import uvloop

from bench import content
from bench.upstream import Upstream

EVENTS: Final = 50
WORDS: Final = EVENTS - 2  # as in bench.content
_GAP_S: Final = 0.02


class BriefUpstream(Upstream):
    """Goes on to the end when it has said `WORDS` words."""

    def _send_event(self, number: int) -> None:
        super()._send_event(number if number < WORDS else max(number, content.WORDS))


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(
        functools.partial(BriefUpstream, _GAP_S), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
