"""As much of a service manager as a restart needs: sockets handed to a child, and what it says.

The two protocols are those of systemd: sd_listen_fds(3) and sd_notify(3).
"""

import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

_MAX_DATAGRAM: Final = 64 * 1024
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid; unix(7), SCM_CREDENTIALS

# The process itself has to say whose the sockets are: it becomes the command, and keeps its id.
_LAUNCHER: Final = """
import fcntl, os, sys
given = [int(text) for text in sys.argv[1].split(",")]
above = 3 + len(given)
moved = [fcntl.fcntl(one, fcntl.F_DUPFD, above) for one in given]
for at, one in enumerate(moved):
    os.dup2(one, 3 + at)
os.closerange(above, max(moved + given) + 1)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)))
if sys.argv[2]:
    os.environ["LISTEN_FDNAMES"] = sys.argv[2]
os.execv(sys.argv[3], sys.argv[3:])
"""


def launcher(descriptors: Sequence[int], names: str) -> list[str]:
    """What stands before a command that is to have these as its file descriptors from 3 on.

    It must inherit them (`pass_fds`). `names` are those of the sockets with colons between them,
    empty if they have none.
    """
    given = ",".join(map(str, descriptors))
    return [sys.executable, "-S", "-E", "-c", _LAUNCHER, given, names]


class Message(msgspec.Struct, frozen=True):
    """One datagram: its lines as a mapping, and the process that sent it, as the kernel says."""

    fields: dict[str, str]
    pid: int


class NotifySocket:
    """What a child finds in NOTIFY_SOCKET. `address` is a path, or `@name` for an abstract one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.messages: list[Message] = []

    def wait_for(self, name: str, value: str | None = None, within_s: float = 30.0) -> Message:
        """The next datagram that has such a line. Raises TimeoutError, with what came instead."""
        until = time.monotonic() + within_s
        passed: list[dict[str, str]] = []
        while (left_s := until - time.monotonic()) > 0:
            message = self._receive(left_s)
            if message is None:
                break
            found = message.fields.get(name)
            if found is not None and value in (found, None):
                return message
            passed.append(message.fields)
        raise TimeoutError(f"nobody says {name}={value or ''}, but: {passed}")

    def _receive(self, within_s: float) -> Message | None:
        self._socket.settimeout(within_s)
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                _MAX_DATAGRAM, socket.CMSG_SPACE(_CREDENTIALS.size)
            )
        except TimeoutError:
            return None
        fields = dict(line.split("=", 1) for line in data.decode().splitlines())
        message = Message(fields, _CREDENTIALS.unpack(ancillary[0][2])[0])
        self.messages.append(message)
        return message

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()
        if not self.address.startswith("@"):
            Path(self.address).unlink(missing_ok=True)


def listening(address: tuple[str, int], backlog: int = 4096) -> socket.socket:
    """A TCP socket that listens, as one of a socket unit does before there is a service."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    made.listen(backlog)
    return made


def manager_environ(notify: NotifySocket, watchdog_s: float | None = None) -> dict[str, str]:
    """What a service of type notify finds in its environment, beside the sockets."""
    given = {"NOTIFY_SOCKET": notify.address}
    if watchdog_s is not None:
        given["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
    return given
