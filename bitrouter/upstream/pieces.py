"""A body that came in pieces."""

import asyncio
from typing import Final

# Bytes that are joined in less than a millisecond. Memory that is new to the process makes joining
# as slow as 1 ms a megabyte, and while bytes are joined others can have the interpreter.
_MANY: Final = 1 << 20


async def joined(pieces: list[bytes], size: int) -> bytes:
    """The pieces as one, of `size` bytes, without keeping the event loop from its other work."""
    if len(pieces) == 1:
        return pieces[0]
    if size > _MANY:
        return await asyncio.to_thread(b"".join, pieces)
    return b"".join(pieces)
