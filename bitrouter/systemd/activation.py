"""Sockets that the service manager has made, and listens on while no router runs.

They come as file descriptors from 3 on (sd_listen_fds(3)): LISTEN_PID says for whom, LISTEN_FDS how
many, LISTEN_FDNAMES of which name each. The name is that of the setting whose listener it is.
"""

import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from bitrouter.config.address import Address, is_loopback_host, parse_listen
from bitrouter.config.decode import nearest
from bitrouter.config.schema import ServerSettings
from bitrouter.errors import ConfigError, Problem

_FIRST: Final = 3
_MOST: Final = 64
_PLACE: Final = "(inherited sockets)"

Setting = Literal["listen", "admin_listen"]
_SETTINGS: Final[tuple[Setting, ...]] = ("listen", "admin_listen")


class Inherited(NamedTuple):
    """A listening socket for `server.listen` or `server.admin_listen`."""

    setting: Setting
    socket: socket.socket

    @property
    def listen(self) -> str:
        """Its address, as the setting would have it; `unix:@name` for an abstract one."""
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            text = os.fsdecode(name)
            return f"unix:@{text[1:]}" if text.startswith("\0") else f"unix:{text}"
        host, port = name[:2]
        return f"[{host}]:{port}" if self.socket.family == socket.AF_INET6 else f"{host}:{port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.socket.family == socket.AF_UNIX or is_loopback_host(
            str(self.socket.getsockname()[0])
        )


def inherited_sockets(environ: Mapping[str, str], pid: int) -> list[Inherited]:
    """The sockets that were made for the process `pid`; none, if it was started in another way.

    Sockets without a name are for `server.listen`. Raises ConfigError when what is there cannot be
    used.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return []
    count = environ.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit() and len(count) < 4 and int(count) <= _MOST):
        raise _refused("LISTEN_FDS", f"must be a number of sockets, at most {_MOST}")
    names = environ["LISTEN_FDNAMES"].split(":") if environ.get("LISTEN_FDNAMES") else []
    if names and len(names) != int(count):
        raise _refused("LISTEN_FDNAMES", f"{len(names)} names for {count} sockets")
    names = names or ["listen"] * int(count)
    return [Inherited(_setting(name), _socket(_FIRST + at)) for at, name in enumerate(names)]


def _setting(name: str) -> Setting:
    if name not in _SETTINGS:
        raise _refused(
            f"the name {name[:64]!r}",
            f"there is no such listener{nearest(name, _SETTINGS) or ';'} allowed:"
            f" {', '.join(_SETTINGS)}; FileDescriptorName= of the socket unit gives it",
        )
    return name


def _socket(descriptor: int) -> socket.socket:
    where = f"file descriptor {descriptor}"
    try:
        os.set_inheritable(descriptor, False)  # no child of ours is to keep it open
        # Python asks the kernel for its family and type; see socket.socket, `fileno`.
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise _refused(where, f"not a socket: {error.strerror}") from error
    if found.type != socket.SOCK_STREAM or found.family not in (
        socket.AF_INET,
        socket.AF_INET6,
        socket.AF_UNIX,
    ):
        found.detach()
        raise _refused(where, "must be a TCP or Unix stream socket (ListenStream=)")
    if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.detach()
        raise _refused(where, "must be listening, not a connection (Accept=no)")
    found.setblocking(False)
    return found


def check_fit(server: ServerSettings, sockets: Sequence[Inherited]) -> None:
    """Refuse sockets that are not where the configuration says that the router listens.

    What the configuration says is what has been judged: who may come in, and where `bitrouter
    reload` finds the router. There may be more sockets for a listener than that one, as long as no
    stranger reaches them who does not reach it. Raises ConfigError with every problem.
    """
    problems: list[Problem] = []
    for setting in _SETTINGS:
        given = [one for one in sockets if one.setting == setting]
        if given:
            problems += _misfits(setting, getattr(server, setting), given)
    if problems:
        raise ConfigError(problems)


def _misfits(setting: Setting, listen: str | None, given: Sequence[Inherited]) -> list[Problem]:
    where, found = f"server.{setting}", " and ".join(one.listen for one in given)
    if listen is None:
        return [_problem(where, f"not set, but there is a socket for it at {found}")]
    wanted = parse_listen(listen)
    if not any(_is_at(one, wanted) for one in given):
        message = f"the socket for it is at {found}, the configuration says {listen}"
        return [_problem(where, f"{message}; change one of the two")]
    if wanted.path is None and not is_loopback_host(wanted.host):
        return []
    message = "is reachable from other machines, the address in the configuration is not"
    return [
        _problem(where, f"the socket at {one.listen} {message}")
        for one in given
        if not one.is_loopback
    ]


def _is_at(inherited: Inherited, wanted: Address) -> bool:
    name = inherited.socket.getsockname()
    if (inherited.socket.family == socket.AF_UNIX) != (wanted.path is not None):
        return False
    if wanted.path is not None:
        return os.path.realpath(os.fsdecode(name)) == os.path.realpath(wanted.path)
    host, port = str(name[0]), int(name[1])
    return wanted.port in (0, port) and ipaddress.ip_address(host) in _addresses(wanted.host)


def _addresses(host: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """What a host of the configuration means; looked up if it is a name, as binding to it does."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {ipaddress.ip_address(str(one[4][0])) for one in found}


def _problem(where: str, message: str) -> Problem:
    return Problem(_PLACE, 0, 0, where, message)


def _refused(where: str, message: str) -> ConfigError:
    return ConfigError([_problem(where, message)])
