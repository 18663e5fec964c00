"""Datagrams to the service manager: ready, reloading, stopping, alive.

The protocol is that of sd_notify(3): a datagram of lines NAME=VALUE to the Unix socket that
NOTIFY_SOCKET names. Without the variable there is nobody to tell.
"""

import logging
import socket
import time
from collections.abc import Mapping
from typing import Final

_log: Final = logging.getLogger("bitrouter")

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


class Notifier:
    """Sends to one address: an absolute path, or `@name` in the abstract namespace (unix(7))."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._warned = False

    def send(self, *lines: str) -> bool:
        """Send one datagram without waiting: False if the manager's queue is full just now.

        A manager that cannot be reached otherwise is told of in the log, once: no service stops
        because nobody watches it.
        """
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning("the service manager cannot be told: %s", error.strerror or error)
        return True

    def close(self) -> None:
        """Send nothing more."""
        self._socket.close()


def find_notifier(environ: Mapping[str, str]) -> Notifier | None:
    """The one to tell, None if there is no NOTIFY_SOCKET or it is of another kind (vsock)."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or len(address) < 2:
        if address:
            _log.warning("NOTIFY_SOCKET is neither a path nor @name: the manager cannot be told")
        return None
    return Notifier(address)


def watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """After how many seconds without `ALIVE` the manager ends this process; None if it does not.

    Source: sd_watchdog_enabled(3): WATCHDOG_USEC, and WATCHDOG_PID if that is set.
    """
    usec, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    if not (usec.isascii() and usec.isdigit()) or whose != str(pid):
        return None
    return int(usec) / 1e6 or None


def reloading() -> tuple[str, str]:
    """The lines that begin a reload, which `READY` ends (systemd.service(5), notify-reload)."""
    now_usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return "RELOADING=1", f"MONOTONIC_USEC={now_usec}"


def status(text: str) -> str:
    """The line that `systemctl status` shows: `text` on one line."""
    return f"STATUS={' '.join(text.split())}"


def extend_timeout(seconds: float) -> str:
    """The line that asks for so much more time, beyond the unit's own, for what is under way."""
    return f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"
