"""What takes long is done in a thread, and the event loop gets its turns meanwhile.

A thread that computes keeps the interpreter for a switch interval each time that the loop comes
back to it, and of its turns the loop needs several for one small request. So while there is such a
thread the interval is shorter: with one at work on 60 MB the loop waits 1 ms for its turn instead
of 6, and the work takes no longer. It is not always so, or the thread of the log would be let in
ten times as often, for a line instead of a dozen.
"""

import asyncio
import functools
import sys
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from bitrouter.protocols.base import Transform

# Bytes of an event, from which on others are served while it is looked at (reliability.md, section
# 5). No chunk from a socket is larger, so that such an event is always waited for.
LARGE_EVENT: Final = 256 << 10
_SHORT_S: Final = 0.0005

T = TypeVar("T")


class _ShortTurns:
    """Makes the interpreter's switch interval short, from the first to enter to the last to leave.
    Entered and left in threads.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._inside = 0
        self._usual_s = 0.0

    def __enter__(self) -> None:
        with self._changing:
            if not self._inside:
                self._usual_s = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual_s, _SHORT_S))
            self._inside += 1

    def __exit__(self, *exc_info: object) -> None:
        with self._changing:
            self._inside -= 1
            if not self._inside:
                sys.setswitchinterval(self._usual_s)


_short_turns: Final = _ShortTurns()


def _done(call: Callable[[], T]) -> T:
    with _short_turns:
        return call()


async def aside(call: Callable[..., T], *arguments: object) -> T:
    """What `call` returns, or raises, in a thread. Who is cancelled does not wait for its end."""
    return await asyncio.to_thread(_done, functools.partial(call, *arguments))


async def take(transform: Transform, chunk: bytes) -> bytes:
    """What the transform makes of a chunk, or of the end of the stream where it is empty. Raises
    UpstreamError.

    Who is cancelled meanwhile still waits for the thread: nobody else may touch the transform.
    """
    if transform.held <= LARGE_EVENT:
        return _taken(transform, chunk)
    work = functools.partial(_taken, transform, chunk)
    looking = asyncio.get_running_loop().run_in_executor(None, _done, work)
    try:
        return await asyncio.shield(looking)
    except asyncio.CancelledError:
        await asyncio.wait((looking,))
        if not looking.cancelled():
            looking.exception()  # which nobody will ask for
        raise


def _taken(transform: Transform, chunk: bytes) -> bytes:
    return transform.feed(chunk) if chunk else transform.finish()
