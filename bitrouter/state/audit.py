"""Who changed what and when: one line of JSON each, in a file that is only ever added to."""

import errno
import os
from pathlib import Path
from typing import Any, Final

import msgspec

# In the state directory.
AUDIT_FILE: Final = "audit.jsonl"
_MAX_BYTES: Final = 16 << 20


class Actor(msgspec.Struct, frozen=True):
    """Who asks for a change. `by` is an address, `unix socket uid N`, or the name of a signal;
    `agent` is what they say of themselves, which anybody can make up.
    """

    by: str
    agent: str = ""
    request_id: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. `time` is UTC; `version` is that of the dynamic routes after the change.

    `detail` says what changed, in names: no line holds a secret.
    """

    time: str
    action: str
    by: str
    agent: str = ""
    request_id: str = ""
    version: int | None = None
    route: str = ""
    detail: dict[str, Any] = {}


class AuditFile:
    """The file, and the one before it: at 16 MiB it gets the suffix `.1`, and a new one begins."""

    def __init__(self, path: Path, max_bytes: int = _MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def add(self, entry: Entry) -> None:
        """Add a line; it is on disk when this returns. Raises OSError.

        What a crash has left of a last line stays a line of its own.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = msgspec.json.encode(entry) + b"\n"
        # Opened for each line: whoever rotates logs may move it away at any time.
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            written = os.write(descriptor, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size + written > self._max_bytes:
            os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
