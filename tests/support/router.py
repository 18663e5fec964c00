"""A router for tests, on a free port of the loopback interface, and a client of its own."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bitrouter.app import Router
from bitrouter.config.load import load_config
from bitrouter.config.schema import Config
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.server.connection import Server

LIMIT_S = 20


class RunningRouter:
    """A started router. `http` is a client whose base URL it is; `file` its configuration."""

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        self.file = directory / "bitrouter.yaml"
        self.environ = {"BITROUTER_HOME": str(directory)}
        self.configure(settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the configuration file; a running router reads it at its next reload."""
        server = {"listen": "127.0.0.1:0", **settings.get("server", {})}
        self.file.write_text(yaml.safe_dump({**settings, "server": server}, sort_keys=False))

    async def start(self) -> None:
        """Start the router and the client."""
        self.router = Router(self.load(), self.environ, self.load)
        await self.router.start()
        self.url = self.router.addresses[0]
        self.http = aiohttp.ClientSession(self.url)

    def load(self) -> Config:
        """Read the configuration file."""
        return load_config(self.file, self.environ, BY_API_PROTOCOL)

    async def stop(self) -> None:
        """Stop the client and the router."""
        await self.http.close()
        await self.router.stop()


def server_of(router: RunningRouter) -> Server:
    """The server of the router's only listener."""
    (runner,) = router.router._runners
    assert isinstance(runner.server, Server)
    return runner.server


async def no_connections(router: RunningRouter) -> None:
    """Wait until every client's connection is gone."""
    async with asyncio.timeout(LIMIT_S):
        while server_of(router).connections:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
