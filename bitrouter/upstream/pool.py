"""The connections that are kept for the next call, and what a call learns of the one it got."""

import asyncio
import enum
import functools
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

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

    async def take(self, key: ConnectionKey) -> Connection | None:
        """A connection that has served before, if there is one that is fit to.

        One on which something was said that nobody had asked for is not: whoever asks next would
        take it for his answer.
        """
        while (connection := await super()._get(key, [])) is not None:
            protocol = connection.protocol
            if isinstance(protocol, Wire) and not protocol.should_close:
                protocol.heard = False
                return connection
            connection.close()
        return None

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if connection_use.get() is Use.ONLY_NEW:
            return None
        connection = await self.take(key)
        if connection is not None and isinstance(connection.protocol, Wire):
            connection_use.set(connection.protocol)
        return connection


def _make_wire(loop: asyncio.AbstractEventLoop, max_header_bytes: int) -> ResponseHandler:
    return Wire(loop, max_header_bytes)
