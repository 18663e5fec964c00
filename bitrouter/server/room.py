"""How many clients there is room for, and the few beyond that who may see how the router is."""

import os
import resource
from typing import Final

from aiohttp.http import RawRequestMessage

from bitrouter.errors import Overloaded

_SPARE_DESCRIPTORS: Final = 32  # for files, the loop, name lookups, and those that are reserved
_FEWEST_CONNECTIONS: Final = 8
RESERVED: Final = 8  # connections beyond the limit, for one request each of those that watch
_WATCHED: Final = frozenset({"/health", "/ready"})


def most_connections() -> int:
    """How many clients there may be at a time, by the limit of the process (RLIMIT_NOFILE).

    A request needs a second descriptor for its provider, so half of them are for clients.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        limit = 1 << 20
    taken = len(os.listdir("/proc/self/fd"))
    return max((limit - taken - _SPARE_DESCRIPTORS) // 2, _FEWEST_CONNECTIONS)


def crowded() -> Overloaded:
    """What a client is told for whom there is no room."""
    return Overloaded("too many connections are open", retry_after_s=1)


def is_watching(message: RawRequestMessage) -> bool:
    """Whether a request only asks how the router is."""
    return message.path.partition("?")[0] in _WATCHED
