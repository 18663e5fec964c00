"""Refusing new work before the kernel ends the process for want of memory.

What runs goes on, and gives its memory back when it has ended (reliability.md, section 5).
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bitrouter.config.schema import Limits
from bitrouter.server.buffers import memory_limit
from bitrouter.server.heap import give_back

_log: Final = logging.getLogger("bitrouter")

_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MIB: Final = 1 << 20


def resident_bytes() -> int:
    """The memory that the process has now (proc(5), statm). Takes 15 us, and waits for no disk."""
    return int(_STATM.read_text().split()[1]) * _PAGE


def watermark(limits: Limits) -> int:
    """The setting, or four fifths of the memory that the process may have."""
    return limits.max_memory_bytes or memory_limit() // 5 * 4


class Watermark:
    """Whether the process has more memory than `limit` bytes, as of the last look. `limit` can be
    set anew.
    """

    __slots__ = ("_resident", "exceeded", "limit")

    def __init__(self, limit: int, resident: Callable[[], int] = resident_bytes) -> None:
        self.limit = limit
        self.exceeded = False
        self._resident = resident

    async def look(self) -> None:
        """Look again. The log has a line when that changes something."""
        exceeded = self._resident() > self.limit
        if exceeded:
            # After a burst of large bodies most of it may be what the C library keeps for later: it
            # was seen to give back 780 of 810 MiB, in 50 ms, during which the loop goes on.
            await asyncio.to_thread(give_back)
            exceeded = self._resident() > self.limit
        if exceeded and not self.exceeded:
            _log.warning(
                "the router has %d MiB of memory: new requests are refused until it is back"
                " below %d (limits.max_memory_bytes)",
                *(self._resident() // _MIB, self.limit // _MIB),
            )
        elif self.exceeded and not exceeded:
            _log.info("requests are taken again: the router's memory is back below its limit")
        self.exceeded = exceeded
