"""Reads a configuration file that somebody may be writing at this moment.

An editor, `cp` or a shell's `>` empties a file and then fills it. What is read in between can be
good YAML that lacks half of the routes, so a file counts only when nobody has touched it for a
moment, before it is read and until it has been.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from bitrouter.errors import ConfigError, Problem

T = TypeVar("T")

_CALM_NS: Final = 50_000_000
_PAUSE_S: Final = 0.05
_TRIES: Final = 40  # some two seconds


def read_settled(file: Path | None, read: Callable[[], T]) -> T:
    """What `read` makes of the file, once nobody writes to it or to the `.env` beside it.

    For a thread: it sleeps. Raises ConfigError when that does not come within two seconds, when the
    file is empty, and whatever `read` raises of a file that is calm.
    """
    if file is None:
        return read()
    files = (file, file.with_name(".env"))
    for _ in range(_TRIES):
        before = [_stamp(one) for one in files]
        if _is_calm(before):
            _refuse_empty(file)
            try:
                found = read()
            except ConfigError:
                if [_stamp(one) for one in files] == before:
                    raise
            else:
                if [_stamp(one) for one in files] == before:
                    return found
        time.sleep(_PAUSE_S)
    raise _problem(file, "it is being written to; reload again when that is done")


# When it was written and moved here, how long it is and which one it is; None if it is not there.
_Stamp = tuple[int, int, int, int] | None


def _stamp(file: Path) -> _Stamp:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _is_calm(stamps: list[_Stamp]) -> bool:
    now = time.time_ns()
    ages = (now - stamp[0] for stamp in stamps if stamp is not None)
    return not any(0 <= age < _CALM_NS for age in ages)  # one of the future says nothing


def _refuse_empty(file: Path) -> None:
    """An empty file is what writing one begins with, and would take every route away."""
    try:
        is_empty = not file.read_bytes().strip()
    except OSError:
        return  # `read` says it better
    if is_empty:
        raise _problem(file, "it is empty, as a file is that is being written; to set nothing: {}")


def _problem(file: Path, message: str) -> ConfigError:
    return ConfigError([Problem(str(file), 1, 1, "(whole file)", message)])
