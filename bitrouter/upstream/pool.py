"""The connections that are kept for the next call, and what a call learns of the one it got."""

import asyncio
import enum
import functools
from contextvars import ContextVar
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from bitrouter.upstream.wire import Wire


class Use(enum.Enum):
    """Which connection a call wants, and which it got."""

    ANY = enum.auto()  # wanted: one from the pool or a new one; got: a new one
    AGAIN = enum.auto()  # got: one that has served before
    ONLY_NEW = enum.auto()  # wanted, and got


# Of the call that runs in this task. A variable of the context, because aiohttp's interface has no
# place for it; its tracing would tell, and would run for every chunk of every answer as well.
connection_use: Final = ContextVar("connection_use", default=Use.ANY)


class Pool(aiohttp.TCPConnector):
    """aiohttp's pool, which tells whether a connection is used again, and whose connections can do
    what the lane wants of them (wire.py).
    """

    def __init__(self, resolver: AbstractResolver, keepalive_s: float) -> None:
        # No limit: the connector's would make a request wait in silence (reliability.md, 2).
        super().__init__(limit=0, keepalive_timeout=keepalive_s, resolver=resolver)
        self._factory = functools.partial(_make_wire, loop=self._loop)

    async def take(self, key: ConnectionKey) -> Connection | None:
        """A connection that has served before, if there is one that is fit to.

        One on which something was said that nobody had asked for is not: whoever asks next would
        take it for his answer.
        """
        while (connection := await super()._get(key, [])) is not None:
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                return connection
            connection.close()
        return None

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if connection_use.get() is Use.ONLY_NEW:
            return None
        connection = await self.take(key)
        if connection is not None:
            connection_use.set(Use.AGAIN)
        return connection


def _make_wire(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return Wire(loop)
