"""The connections that are kept for the next call, and what a call learns of the one it got."""

import enum
from contextvars import ContextVar
from typing import Final

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace


class Use(enum.Enum):
    """Which connection a call wants, and which it got."""

    ANY = enum.auto()  # wanted: one from the pool or a new one; got: a new one
    AGAIN = enum.auto()  # got: one that has served before
    ONLY_NEW = enum.auto()  # wanted, and got


# Of the call that runs in this task. A variable of the context, because aiohttp's interface has no
# place for it; its tracing would tell, and would run for every chunk of every answer as well.
connection_use: Final = ContextVar("connection_use", default=Use.ANY)


class Pool(aiohttp.TCPConnector):
    """aiohttp's pool, which tells whether a connection is used again."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if connection_use.get() is Use.ONLY_NEW:
            return None
        connection = await super()._get(key, traces)
        if connection is not None:
            connection_use.set(Use.AGAIN)
        return connection
