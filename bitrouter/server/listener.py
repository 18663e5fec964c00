"""A listening socket: made here, or inherited from a service manager."""

import asyncio
import socket
import ssl
from typing import Final

from aiohttp import web

from bitrouter.config.address import Address

# While no process runs, everybody waits in it; the kernel has a limit of its own (somaxconn).
_BACKLOG: Final = 4096
_NOWHERE: Final = Address("", 0)


class Listener(web.BaseSite):
    """One site of an aiohttp runner. TCP connections are in TLS if there is a context.

    aiohttp's own sites have no time limit for a handshake, which is a part of a client's head, and
    take no inherited Unix socket. An inherited socket is closed here and nowhere else: who waits in
    its queue is served by the next process that inherits it.
    """

    __slots__ = ("_address", "_handshake_s", "_inherited", "_tls")

    def __init__(
        self,
        runner: web.ServerRunner,
        address: Address = _NOWHERE,
        *,
        inherited: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
        handshake_s: float,
    ) -> None:
        super().__init__(runner)
        self._address = address
        self._inherited = inherited
        self._tls = tls
        self._handshake_s = handshake_s

    @property
    def name(self) -> str:
        """Not asked for."""
        return "listener"

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        await super().start()
        self._server = await self._listen()

    async def _listen(self) -> asyncio.AbstractServer:
        loop = asyncio.get_running_loop()
        factory = self._runner.server
        assert factory is not None  # BaseSite has looked
        handshake_s = self._handshake_s if self._tls is not None else None
        address, given = self._address, self._inherited
        if given is not None and given.family == socket.AF_UNIX:
            return await loop.create_unix_server(factory, sock=given, backlog=_BACKLOG)
        if address.path is not None:
            return await loop.create_unix_server(factory, address.path, backlog=_BACKLOG)
        if given is not None:
            return await loop.create_server(
                factory,
                sock=given,
                backlog=_BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_s,
            )
        return await loop.create_server(
            factory,
            address.host,
            address.port,
            backlog=_BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=handshake_s,
        )
