"""The connections that are kept for the next call, and what a call learns of the one it got."""

import asyncio
import enum
import functools
import math
from collections import deque
from collections.abc import Awaitable
from contextvars import ContextVar
from time import monotonic  # aiohttp's clock for what came back when
from typing import Final, TypeGuard, cast

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from bitrouter.protocols.base import Destination
from bitrouter.upstream.wire import Wire


class Use(enum.Enum):
    """Which connection a call wants. If it got one that has served before, that takes its place."""

    ANY = enum.auto()  # one from the pool or a new one
    ONLY_NEW = enum.auto()


# Of the call that runs in this task. A variable of the context, because aiohttp's interface has no
# place for it; its tracing would tell, and would run for every chunk of every answer as well.
connection_use: Final[ContextVar[Use | Wire]] = ContextVar("connection_use", default=Use.ANY)

# Where the call goes that runs in this task. aiohttp's interface has no place for that either.
destination: Final[ContextVar[Destination | None]] = ContextVar("destination", default=None)


class OwnedRequest(ClientRequest):
    """aiohttp's, whose connection serves nobody with another credential (reliability.md, 8)."""

    @property
    def connection_key(self) -> ConnectionKey:
        """See ClientRequest. What stands for the headers of a proxy is free: there is none."""
        to = destination.get()
        owner = None if to is None else hash((frozenset(to.headers.items()), to.idle_s))
        return super().connection_key._replace(proxy_headers_hash=owner)


class Pool(aiohttp.TCPConnector):
    """aiohttp's pool, which tells whether a connection is used again, and whose connections can do
    what the lane wants of them (wire.py).

    Each is kept for as long as its destination says. aiohttp has one time for all of them, and may
    take twice as long to close one. Nothing is done for that when a connection comes back: the pool
    is looked through when the next one can be due, be it one that has not come back yet.
    """

    def __init__(self, resolver: AbstractResolver, max_header_bytes: int = 1 << 16) -> None:
        # No limit: the connector's would make a request wait in silence (reliability.md, 2).
        super().__init__(limit=0, keepalive_timeout=None, resolver=resolver)
        self._max_header_bytes = max_header_bytes
        self._factory = functools.partial(self._make_wire)
        self._shortest_s = math.inf
        self._look: asyncio.TimerHandle | None = None

    def _make_wire(self) -> ResponseHandler:
        to = destination.get()
        idle_s = 15.0 if to is None else to.idle_s
        wire = Wire(self._loop, self._max_header_bytes, idle_s)
        if self._look is None or wire.idle_s < self._shortest_s:
            self._shortest_s = wire.idle_s
            self._look_in(wire.idle_s)
        return wire

    def _look_in(self, delay_s: float) -> None:
        if self._look is not None:
            self._look.cancel()
        self._look = self._loop.call_later(delay_s, self._close_idle)

    def _close_idle(self) -> None:
        """Close what has not been used for its time, and forget what others have closed."""
        self._look = None
        now = monotonic()
        next_s = self._shortest_s
        for key, idle in list(self._conns.items()):
            kept = deque[tuple[ResponseHandler, float]]()
            for wire, since in idle:
                left_s = cast("Wire", wire).idle_s - (now - since)
                if left_s > 0 and wire.is_connected():
                    next_s = min(next_s, left_s)
                    kept.append((wire, since))
                else:
                    wire.close()
            if kept:
                self._conns[key] = kept
            else:
                del self._conns[key]
        if self._conns or self._acquired:
            self._look_in(next_s)

    def _close(self, *, abort_ssl: bool = False) -> list[Awaitable[object]]:
        """See TCPConnector."""
        if self._look is not None:
            self._look.cancel()
        return super()._close(abort_ssl=abort_ssl)

    def take(self, key: ConnectionKey) -> Wire | None:
        """A connection that has served before, if there is one that is fit to; it comes back by
        `give_back`. What aiohttp's own way makes of it besides costs 4 us more.

        One on which something was said that nobody had asked for is not fit: whoever asks next
        would take it for his answer.
        """
        idle = self._conns.get(key)
        if idle is None:
            return None
        now = monotonic()
        found = None
        while idle and found is None:
            protocol, since = idle.popleft()
            if is_fit(protocol) and now - since <= protocol.idle_s:
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
        """The answer is over. aiohttp closes the connection if that is not at its end.

        Of what aiohttp does besides nothing is of use here: nobody waits for a connection where
        there is no limit, and it closes no idle ones.
        """
        if close or self._closed or wire.should_close:
            self._release(key, wire, should_close=close)
            return
        wire.heard = False
        self._acquired.discard(wire)
        self._conns[key].append((wire, monotonic()))

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if connection_use.get() is Use.ONLY_NEW:
            return None
        wire = self.take(key)
        if wire is None:
            return None
        connection_use.set(wire)
        return Connection(self, key, wire, self._loop)


def is_fit(protocol: ResponseHandler) -> TypeGuard[Wire]:
    """Whether a connection is there, and nothing is left on it of the answer before. One on which
    nothing was heard since it was given back is as it was then.
    """
    return (
        isinstance(protocol, Wire)
        and protocol.is_connected()
        and not (protocol.heard and protocol.should_close)
    )
