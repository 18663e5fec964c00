"""The connections that are kept for the next call, and what a call learns of the one it got."""

import asyncio
import enum
import functools
import math
from collections.abc import Mapping
from contextvars import ContextVar
from time import monotonic
from typing import Final, TypeGuard

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from bitrouter.upstream.wire import Wire


class Use(enum.Enum):
    """Which connection a call wants. If it got one that has served before, that takes its place."""

    ANY = enum.auto()  # one from the pool or a new one
    ONLY_NEW = enum.auto()


# Of the call that runs in this task. A variable of the context, because aiohttp's interface has no
# place for it; its tracing would tell, and would run for every chunk of every answer as well.
connection_use: Final[ContextVar[Use | Wire]] = ContextVar("connection_use", default=Use.ANY)

# Whose the call is that runs in this task: what its destination is shown, as a hash.
owner: Final[ContextVar[int | None]] = ContextVar("owner", default=None)


class OwnedRequest(ClientRequest):
    """aiohttp's, whose connection serves nobody with another credential (reliability.md, 8)."""

    @property
    def connection_key(self) -> ConnectionKey:
        """See ClientRequest. What stands for the headers of a proxy is free: there is none."""
        return super().connection_key._replace(proxy_headers_hash=owner.get())


def own(headers: Mapping[str, str]) -> None:
    """Let the call of this task be one of a destination that is sent these headers."""
    owner.set(hash(frozenset(headers.items())))


class Pool(aiohttp.TCPConnector):
    """aiohttp's pool, which tells whether a connection is used again, and whose connections can do
    what the lane wants of them (wire.py).
    """

    def __init__(
        self, resolver: AbstractResolver, keepalive_s: float, max_header_bytes: int = 1 << 16
    ) -> None:
        # No limit: the connector's would make a request wait in silence (reliability.md, 2).
        super().__init__(limit=0, keepalive_timeout=keepalive_s, resolver=resolver)
        self._factory = functools.partial(
            _make_wire, loop=self._loop, max_header_bytes=max_header_bytes
        )

    def take(self, key: ConnectionKey) -> Wire | None:
        """A connection that has served before, if there is one that is fit to; it comes back by
        `give_back`. What aiohttp's own way makes of it besides costs 4 us more.

        One on which something was said that nobody had asked for is not fit: whoever asks next
        would take it for his answer.
        """
        idle = self._conns.get(key)
        if idle is None:
            return None
        oldest = monotonic() - (self._keepalive_timeout or math.inf)
        found = None
        while idle and found is None:
            protocol, since = idle.popleft()
            if since >= oldest and is_fit(protocol):
                found = protocol
            else:
                protocol.close()
        if not idle:
            del self._conns[key]
        if found is not None:
            self._acquired.add(found)
            found.heard = False
        return found

    def give_back(self, key: ConnectionKey, wire: Wire, *, close: bool = False) -> None:
        """The answer is over. aiohttp closes the connection if that is not at its end."""
        self._release(key, wire, should_close=close)

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if connection_use.get() is Use.ONLY_NEW:
            return None
        wire = self.take(key)
        if wire is None:
            return None
        connection_use.set(wire)
        return Connection(self, key, wire, self._loop)


def is_fit(protocol: ResponseHandler) -> TypeGuard[Wire]:
    """Whether a connection is there, and nothing is left on it of the answer before."""
    return isinstance(protocol, Wire) and protocol.is_connected() and not protocol.should_close


def _make_wire(loop: asyncio.AbstractEventLoop, max_header_bytes: int) -> ResponseHandler:
    return Wire(loop, max_header_bytes)
