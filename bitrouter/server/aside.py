"""Large events of a stream are looked at in a thread, one after the other."""

import asyncio
from typing import Final

from bitrouter.protocols.base import Transform

# Bytes of an event, from which on others are served while it is looked at (reliability.md, section
# 5). No chunk from a socket is larger, so that such an event is always waited for.
LARGE_EVENT: Final = 256 << 10


async def take(transform: Transform, chunk: bytes) -> bytes:
    """What the transform makes of a chunk, or of the end of the stream where it is empty. Raises
    UpstreamError.

    Whoever is cancelled meanwhile still waits for the thread: nobody else may touch the transform.
    """
    if transform.held <= LARGE_EVENT:
        return transform.feed(chunk) if chunk else transform.finish()
    loop = asyncio.get_running_loop()
    looking = loop.run_in_executor(None, _take, transform, chunk)
    try:
        return await asyncio.shield(looking)
    except asyncio.CancelledError:
        await asyncio.wait((looking,))
        if not looking.cancelled():
            looking.exception()  # which nobody will ask for
        raise


def _take(transform: Transform, chunk: bytes) -> bytes:
    return transform.feed(chunk) if chunk else transform.finish()
