"""What `bitrouter doctor` looks at on this machine."""

import contextlib
import errno
import http.client
import importlib.util
import os
import platform
import resource
import socket
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from bitrouter.access.keys import KEYS_FILE, decode_keys
from bitrouter.cli.adminclient import AdminError, open_connection
from bitrouter.cli.finding import Finding
from bitrouter.config.address import is_loopback, parse_listen
from bitrouter.config.schema import Config, EndpointEntry
from bitrouter.errors import ConfigError
from bitrouter.routing.dynamic import ROUTES_FILE, decode_routes

CONFIGURATION: Final = "configuration"

_SHORT_TOKEN: Final = 16
_SPARE_DESCRIPTORS: Final = 128
_ASK_WITHIN_S: Final = 3.0
_PAYMENT_LIBRARIES: Final = ("coincurve",)


def interpreter() -> Iterator[Finding]:
    """Python, and the compiled parts without which the router is slow or does not start."""
    yield Finding("python", "ok", f"{platform.python_implementation()} {platform.python_version()}")
    if HttpRequestParser is HttpRequestParserPy:
        yield Finding(
            "aiohttp",
            "fail",
            "its compiled HTTP parser is missing, and `serve` refuses to start without it",
            "install the wheel: pip install --force-reinstall --only-binary :all: aiohttp, and"
            " unset AIOHTTP_NO_EXTENSIONS",
        )
    else:
        yield Finding("aiohttp", "ok", "the compiled HTTP parser is there")
    yield _library("uvloop", "the event loop", "pip install uvloop")


def payment_libraries(config: Config) -> Iterator[Finding]:
    """What signatures are verified with, where payments are on."""
    if config.payments.x402.enabled:
        for name in _PAYMENT_LIBRARIES:
            package = name.replace("_", "-")
            yield _library(name, "which payments need,", f"pip install {package}")


def _library(name: str, what: str, install: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, "fail", f"{what} is not installed", install)
    return Finding(name, "ok", f"{what} is installed")


def refused(error: ConfigError) -> Iterator[Finding]:
    """A configuration that no router would start with."""
    for problem in error.problems:
        yield Finding(CONFIGURATION, "fail", str(problem))


def accepted(config: Config) -> Finding:
    """A configuration that is fine as far as it goes."""
    said = f"{len(config.providers)} providers, {len(config.models)} routes"
    return Finding(CONFIGURATION, "ok", f"{config.path or 'no file, the built-in one'}: {said}")


def access(config: Config) -> Iterator[Finding]:
    """Who may use the admin API."""
    server = config.server
    if not server.admin_token:
        where = server.admin_listen or server.listen
        yield Finding("admin token", "ok", f"none is set; {where} answers this machine alone")
    elif len(server.admin_token.reveal()) < _SHORT_TOKEN:
        yield Finding(
            "admin token",
            "warn",
            f"it has fewer than {_SHORT_TOKEN} characters",
            "make a long one: openssl rand -hex 32",
        )
    else:
        yield Finding("admin token", "ok", "it is set")
    if server.allow_unauthenticated and not is_loopback(server.listen):
        yield Finding(
            "clients",
            "warn",
            f"anybody who reaches {server.listen} may call: server.allow_unauthenticated",
            "make keys with `bitrouter keys create NAME`",
        )


# -- state ----------------------------------------------------------------------------------


def state_directory(directory: Path) -> Iterator[Finding]:
    """Whether dynamic routes and keys can be kept there, and are well."""
    name = "state directory"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
        mode = stat.S_IMODE(directory.stat().st_mode)
    except OSError as error:
        yield Finding(
            name,
            "fail",
            f"{directory}: {error.strerror}",
            f"the user that runs the router ({_user()}) must be able to write there; or set"
            " server.state_dir",
        )
        return
    if mode & 0o022:
        yield Finding(
            name, "warn", f"{directory}: others may write there", f"chmod 700 {directory}"
        )
    else:
        yield Finding(name, "ok", f"{directory} can be written to")
    yield from _state_file(directory / ROUTES_FILE, decode_routes)
    yield from _state_file(directory / KEYS_FILE, decode_keys)
    if (broken := directory / f"{ROUTES_FILE}.broken").exists():
        advice = "see what of it is missing now, then delete it"
        yield Finding(name, "warn", f"{broken}: a damaged file was set aside", advice)


def _state_file(file: Path, decode: Callable[[bytes], object]) -> Iterator[Finding]:
    try:
        decode(file.read_bytes())
    except FileNotFoundError:
        return
    except OSError as error:
        advice = f"the user that runs the router ({_user()}) must be able to read it"
        yield Finding("state file", "fail", f"{file}: {error.strerror}", advice)
    except ValueError as error:
        advice = "bring it back from a backup, or move it away"
        yield Finding("state file", "fail", f"{file}: {error}", advice)
    else:
        yield Finding("state file", "ok", f"{file} is well")


def _user() -> str:
    return f"uid {os.getuid()} here"


# -- limits and listeners -------------------------------------------------------------------


def descriptors(max_concurrent_requests: int) -> Finding:
    """Whether as many requests as are allowed can have their two connections each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * max_concurrent_requests + _SPARE_DESCRIPTORS
    said = f"{'any number' if hard == resource.RLIM_INFINITY else f'{hard:,}'} can be open"
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return Finding("open files", "ok", said)
    return Finding(
        "open files",
        "warn",
        f"{said}, and limits.max_concurrent_requests may need {wanted:,}",
        f"LimitNOFILE={wanted} in the unit, `ulimit -Hn` in a shell; or lower the limit",
    )


def listeners(config: Config, listen: str) -> Iterator[Finding]:
    """Whether the addresses can be listened on, or a router does already."""
    for address in filter(None, (listen, config.server.admin_listen)):
        yield _listener(config, address)


def _listener(config: Config, listen: str) -> Finding:
    address = parse_listen(listen)
    if address.path is None and address.port == 0:
        return Finding("listener", "ok", f"{listen}: any free port")
    if _answers(config, listen):
        return Finding("listener", "ok", f"{listen}: a router runs there")
    problem = _unix_problem(address.path) if address.path else _bind_problem(*address[:2])
    if problem is None:
        return Finding("listener", "ok", f"{listen} is free")
    said, advice = problem
    return Finding("listener", "fail", f"{listen}: {said}", advice)


def _answers(config: Config, listen: str) -> bool:
    try:
        with contextlib.closing(open_connection(config, listen, _ASK_WITHIN_S)) as connection:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
        return answer.status == 200 and answer.headers.get("Server") == "bitrouter"
    except (OSError, AdminError, http.client.HTTPException):
        return False


def _bind_problem(host: str, port: int) -> tuple[str, str] | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        return f"the host is not known: {error.strerror}", "write an address of this machine"
    except OSError as error:
        return error.strerror or "it cannot be had", _BIND_ADVICE.get(error.errno or 0, "")
    return None


_BIND_ADVICE: Final = {
    errno.EADDRINUSE: "another program has it, `ss -ltnp` says which; or set server.listen",
    errno.EACCES: "ports below 1024 are for root, or for AmbientCapabilities=CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "that is no address of this machine; `ip address` lists them",
}


def _unix_problem(path: str) -> tuple[str, str] | None:
    folder = os.path.dirname(path)
    if os.path.isdir(folder) and os.access(folder, os.W_OK):
        return None
    return f"{folder} cannot be written to", "make the directory, or set another path"


# -- routes ---------------------------------------------------------------------------------


def routes(config: Config) -> Iterator[Finding]:
    """Providers that cannot be used for want of a key, and what that means for the routes."""
    unusable = {
        name: provider.unusable
        for name, provider in config.providers.items()
        if provider.unusable is not None
    }
    usable = [name for name in config.providers if name not in unusable]
    if usable:
        yield Finding("providers", "ok", f"usable: {', '.join(usable)}")
    else:
        advice = "set a provider's key, or install the embedded model"
        yield Finding("providers", "fail", "none is usable", advice)
    needed = {one.provider for entry in config.models.values() for one in entry.endpoints}
    for name in sorted(needed & unusable.keys()):
        yield Finding("credential", "warn", f"provider {name} is not usable", unusable[name])
    for name, entry in config.models.items():
        if all(one.provider in unusable for one in entry.endpoints):
            said = f"{name}: none of its endpoints is usable"
            yield Finding("route", "fail", said, _reasons(unusable, entry.endpoints))


def _reasons(unusable: Mapping[str, str], endpoints: Iterable[EndpointEntry]) -> str:
    return "; ".join(
        f"{name}: {unusable[name]}" for name in sorted({e.provider for e in endpoints})
    )
