"""Asks the admin API of a running router, where its configuration says that it listens.

And what the verbs that do so have in common: their exit codes, and how they tell what went wrong.
"""

import argparse
import getpass
import http.client
import os
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from bitrouter import __version__
from bitrouter.config.address import is_loopback_host, parse_listen
from bitrouter.config.load import find_config_file, load_config
from bitrouter.config.schema import Config, Secret, ServerSettings
from bitrouter.errors import ConfigError
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.server.tls import is_served_by_tls

T = TypeVar("T")

FAILURE: Final = 1
BAD_USAGE: Final = 2
BAD_CONFIG: Final = 78  # EX_CONFIG of sysexits.h

_TIMEOUT_S: Final = 30.0  # a change waits for the disk, and for those before it
_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what connects to a wildcard address
_UNRESOLVED: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


class AdminError(Exception):
    """Why there is no good answer, in one line for the user."""


class UsageError(Exception):
    """A command line that the parser could not know to be wrong."""


class ConfigRefused(Exception):
    """The router did not take its configuration: a line for each problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("\n".join(problems))


class _Problem(msgspec.Struct, frozen=True):
    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.message}"


class _ErrorDetail(msgspec.Struct, frozen=True):
    message: str
    problems: tuple[_Problem, ...] = ()


class _Error(msgspec.Struct, frozen=True):
    error: _ErrorDetail


class AdminClient:
    """The admin API of one router. `listen` wins over the address in the configuration."""

    def __init__(self, config: Config, listen: str | None = None) -> None:
        server = config.server
        self._listen = listen or server.admin_listen or server.listen
        self._config = config
        self._token = server.admin_token.reveal()
        self._file = config.path or "the configuration"

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> bytes:
        """The body of a good answer, as it came.

        Raises AdminError when there is none, and ConfigRefused.
        """
        connection = open_connection(self._config, self._listen)
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
        headers = {"Content-Type": "application/json", "User-Agent": _agent()}
        if unresolved := _UNRESOLVED.search(self._token):
            raise AdminError(
                f"{self._file}: server.admin_token needs the environment variable {unresolved[1]},"
                " which is not set here"
            )
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _checked(self, status: int, body: bytes) -> bytes:
        if status < 400:
            return body
        try:
            error = msgspec.json.decode(body, type=_Error).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            error = _ErrorDetail(
                f"what answers at {self._listen} with status {status} is not a BitRouter"
            )
        if error.problems:
            raise ConfigRefused(map(str, error.problems))
        raise AdminError(error.message)


def open_connection(
    config: Config, listen: str, timeout_s: float = _TIMEOUT_S
) -> http.client.HTTPConnection:
    """A connection, not made yet, to where a router with this configuration listens.

    Raises AdminError where that is not known.
    """
    address = parse_listen(listen)
    if address.path is not None:
        return _UnixConnection(address.path, timeout_s)
    if address.port == 0:
        raise AdminError(f"{listen} leaves the port to the system; say with --listen which it is")
    host = _ANY_HOST.get(address.host, address.host)
    # An address that the configuration does not have is one that `serve --listen` was given.
    if not is_served_by_tls(config, listen, admin=listen == config.server.admin_listen):
        return http.client.HTTPConnection(host, address.port, timeout=timeout_s)
    context = _own_context() if is_loopback_host(host) else None
    return http.client.HTTPSConnection(host, address.port, timeout=timeout_s, context=context)


def _own_context() -> ssl.SSLContext:
    """For this machine itself: its certificate has the name that clients use, not this one's, and
    is perhaps about to be replaced. It is trusted as far as without TLS.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _agent() -> str:
    """Says in the router's log and audit file who asks, as far as this machine knows."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name
        user = f"uid {os.getuid()}"
    plain = user.encode("ascii", "backslashreplace").decode()
    return f"bitrouter/{__version__} ({plain})"


def run_asking(
    given: argparse.Namespace, ask: Callable[[argparse.Namespace, AdminClient], Iterable[str]]
) -> int:
    """Print the lines that `ask` makes of the router's answers; return the exit code.

    0; 1 if the router refused or did not answer; 2 for a wrong command line; 78 for a bad file.
    """
    try:
        client = AdminClient(_config(given), given.listen)
        for line in ask(given, client):
            print(line)
    except UsageError as error:
        action = f" {given.action}" if "action" in given else ""
        print(f"bitrouter {given.verb}{action}: {error}", file=sys.stderr)
        return BAD_USAGE
    except (ConfigError, ConfigRefused) as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG
    except AdminError as error:
        print(f"bitrouter: {error}", file=sys.stderr)
        return FAILURE
    return 0


def _config(given: argparse.Namespace) -> Config:
    """What the file says of the router. With --listen a file that is broken is no hindrance to
    steering a router that began with a good one. Raises ConfigError.
    """
    try:
        return read_config(given.config)
    except ConfigError:
        if given.listen is None:
            raise
    token = Secret(os.environ.get("BITROUTER_ADMIN_TOKEN", ""))
    return Config(server=ServerSettings(admin_token=token))


def decoded(answer: bytes, wanted: type[T]) -> T:
    """An answer of the router as a struct. Raises AdminError."""
    try:
        return msgspec.json.decode(answer, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AdminError(f"the router's answer is not understood: {error}") from error


def read_config(given: str | None) -> Config:
    """The configuration as `serve` finds it, without secrets. Raises ConfigError."""
    path = find_config_file(given, os.environ, Path.cwd())
    return load_config(path, os.environ, BY_API_PROTOCOL, check_secrets=False)
