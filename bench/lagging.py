"""The router, whose event loop tells how late it is.

Run as `python -m bench.lagging PORT serve ...`.
Every two milliseconds a callback is due; by how much it is late goes to the UDP port, as a double
in seconds.
"""

import asyncio
import socket
import struct
import sys
import time
from typing import Final

import uvloop

from bitrouter.cli.main import main

_EVERY_S: Final = 0.002


class Teller:
    """Tells of one loop, as long as it runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._loop = loop
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._due = time.perf_counter()
        loop.call_soon(self._tell)

    def _tell(self) -> None:
        now = time.perf_counter()  # finer than the loop's own
        try:
            self._socket.send(struct.pack("d", now - self._due))
        except OSError:  # nobody listens any more
            return
        self._due = now + _EVERY_S
        self._loop.call_later(_EVERY_S, self._tell)


def plant(port: int) -> None:
    """Have every loop of this process tell."""
    new_event_loop = uvloop.new_event_loop

    def telling_loop() -> uvloop.Loop:
        loop = new_event_loop()
        Teller(loop, port)
        return loop

    uvloop.new_event_loop = telling_loop


if __name__ == "__main__":
    plant(int(sys.argv.pop(1)))
    sys.exit(main())
