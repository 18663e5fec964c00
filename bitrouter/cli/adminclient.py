"""Asks the admin API of a running router, where its configuration says that it listens."""

import http.client
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec

from bitrouter.config.address import Address, parse_listen
from bitrouter.config.load import find_config_file, load_config
from bitrouter.config.schema import Config
from bitrouter.protocols import BY_API_PROTOCOL

_TIMEOUT_S: Final = 30.0  # a change waits for the disk, and for those before it
_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what connects to a wildcard address
_UNRESOLVED: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


class AdminError(Exception):
    """Why there is no good answer, in one line for the user."""


class _ErrorDetail(msgspec.Struct, frozen=True):
    message: str


class _Error(msgspec.Struct, frozen=True):
    error: _ErrorDetail


class AdminClient:
    """The admin API of one router. `listen` wins over the address in the configuration."""

    def __init__(self, config: Config, listen: str | None = None) -> None:
        server = config.server
        self._listen = listen or server.admin_listen or server.listen
        self._token = server.admin_token.reveal()
        self._file = config.path or "the configuration"

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> bytes:
        """The body of a good answer, as it came. Raises AdminError when there is none."""
        connection = self._connection()
        target = f"{path}?{urlencode(query)}" if query else path
        content = None if body is None else msgspec.json.encode(body)
        try:
            connection.request(method, target, content, self._headers())
            response = connection.getresponse()
            return self._checked(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise AdminError(
                f"no router answers at {self._listen}: {reason}; is it running, with this"
                " configuration?"
            ) from error
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if unresolved := _UNRESOLVED.search(self._token):
            raise AdminError(
                f"{self._file}: server.admin_token needs the environment variable {unresolved[1]},"
                " which is not set here"
            )
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _connection(self) -> http.client.HTTPConnection:
        address = parse_listen(self._listen)
        if address.path is not None:
            return _UnixConnection(address)
        if address.port == 0:
            raise AdminError(
                f"{self._listen} leaves the port to the system; say with --listen which it is"
            )
        host = _ANY_HOST.get(address.host, address.host)
        return http.client.HTTPConnection(host, address.port, timeout=_TIMEOUT_S)

    def _checked(self, status: int, body: bytes) -> bytes:
        if status < 400:
            return body
        try:
            message = msgspec.json.decode(body, type=_Error).error.message
        except (msgspec.DecodeError, UnicodeDecodeError):
            message = f"what answers at {self._listen} with status {status} is not a BitRouter"
        raise AdminError(message)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, address: Address) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = address.path or ""

    def connect(self) -> None:
        """Connect to the socket in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def read_config(given: str | None) -> Config:
    """The configuration as `serve` finds it, without secrets. Raises ConfigError."""
    path = find_config_file(given, os.environ, Path.cwd())
    return load_config(path, os.environ, BY_API_PROTOCOL, check_secrets=False)
