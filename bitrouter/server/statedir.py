"""What the admin API keeps in the state directory: the dynamic routes, and who changed what."""

import contextlib
import logging
import time
from pathlib import Path
from typing import Final

from bitrouter.errors import ConfigError, Problem
from bitrouter.routing.dynamic import ROUTES_FILE, History, Routes, decode_routes, encode_routes
from bitrouter.state.audit import AUDIT_FILE, AuditFile
from bitrouter.state.files import keep_as, read_if_there, write_atomically

_log: Final = logging.getLogger("bitrouter")


class RouteStore:
    """The file of the dynamic routes, its backup, and the audit file. All of it waits for the disk:
    for a thread, or the start.
    """

    def __init__(self, directory: Path) -> None:
        self.file = directory / ROUTES_FILE
        self._backup = directory / f"{ROUTES_FILE}.bak"
        self._broken = directory / f"{ROUTES_FILE}.broken"
        self.audit = AuditFile(directory / AUDIT_FILE)

    def load(self) -> tuple[Routes, History]:
        """The dynamic routes and their history; none where there is no file.

        A file that is not what was written, after the disk or a person has damaged it, does not
        keep the router from starting: it is set aside, and the one before the last change counts,
        or none. Raises ConfigError when the file cannot be read at all.
        """
        content = read_state(self.file)
        if content is None:
            return {}, History()
        try:
            return decode_routes(content)
        except ValueError as error:
            return self._recover(str(error))

    def save(self, routes: Routes, history: History) -> None:
        """Make the routes durable. Raises OSError."""
        write_atomically(self.file, encode_routes(routes, history), backup=self._backup)

    def _recover(self, reason: str) -> tuple[Routes, History]:
        keep_as(self.file, self._broken)
        _log.error("%s is damaged (%s); it is kept as %s", self.file, reason, self._broken.name)
        try:
            routes, history = decode_routes(read_if_there(self._backup) or b"")
        except (ValueError, OSError):
            _log.error("there is no backup of it either: the dynamic routes are lost")
            return {}, History()
        _log.error(
            "the dynamic routes are those of version %d, before the last change", history.version
        )
        with contextlib.suppress(OSError):  # the next change writes it anyway
            write_atomically(self.file, encode_routes(routes, history))
        return routes, history


def read_state(file: Path) -> bytes | None:
    """A file of the state directory; None if there is none. Raises ConfigError."""
    try:
        return read_if_there(file)
    except OSError as error:
        raise unusable(file, f"cannot be read: {error.strerror}") from error


def unusable(file: Path, message: str) -> ConfigError:
    """A file of the state directory that keeps the router from starting."""
    return ConfigError([Problem(str(file), 0, 0, "(state file)", message)])


def utc_now() -> str:
    """The time as state files have it: 2026-11-23T19:26:42.123Z."""
    now = time.time()  # noqa: TID251 - a timestamp to keep, not a duration
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
