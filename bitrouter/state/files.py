"""Files that are there whole or not at all."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, content: bytes, *, backup: Path | None = None) -> None:
    """Replace the file: after a crash it is the old one or the new one, on disk in either case.

    The directory is made if need be, readable by its owner alone. What the file held until now
    becomes `backup`. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if backup is not None:
            keep_as(path, backup)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def keep_as(path: Path, other: Path) -> None:
    """Let what a file holds be found under another name too, whatever becomes of the file.

    Does nothing if there is no such file, or where a file can have one name alone.
    """
    draft = other.with_name(f".{other.name}.{os.getpid()}.new")
    with contextlib.suppress(OSError):
        draft.unlink(missing_ok=True)
        os.link(path, draft)
        os.replace(draft, other)


def read_if_there(path: Path) -> bytes | None:
    """The file's content, None if there is no such file. Raises OSError for any other reason."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes that change the file in this way waiting. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
