"""How many bytes of requests and answers there may be in memory at a time, over all of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from bitrouter.config.schema import Limits
from bitrouter.errors import BodyTooLarge, Overloaded

_SHARE: Final = 4  # a quarter of the memory there is (reliability.md, section 5)


class Buffers:
    """The bytes of all bodies that are held: of requests because they may be needed again, of
    answers until they are complete and sent. `limit` can be set anew.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Lease:
    """The part of one request, given back at the end of a `with`."""

    __slots__ = ("_buffers", "_taken")

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._taken = 0

    def check(self, size: int) -> None:
        """Raise Overloaded when `size` more bytes would be too many, and BodyTooLarge when they
        always will be.
        """
        buffers = self._buffers
        if buffers.used + size <= buffers.limit:
            return
        if self._taken + size > buffers.limit:
            raise BodyTooLarge(
                f"the body is larger than {buffers.limit} bytes (limits.max_buffered_bytes)"
            )
        raise Overloaded(
            "the bodies of running requests and their answers take all the memory there is for them"
            " (limits.max_buffered_bytes)",
            retry_after_s=1,
        )

    def take(self, size: int) -> None:
        """Count `size` bytes that have come. Raises what `check` raises."""
        buffers = self._buffers
        if buffers.used + size > buffers.limit:
            self.check(size)
        buffers.used += size
        self._taken += size

    def hold(self, size: int) -> None:
        """Take `size` bytes in place of all that was taken, whatever the limit: they are there."""
        self._buffers.used += size - self._taken
        self._taken = size

    def end(self) -> None:
        """Give back what was taken, before the `with` ends."""
        self._buffers.used -= self._taken
        self._taken = 0

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()


def buffer_limit(limits: Limits) -> int:
    """The setting, or a quarter of the memory that the process may have."""
    return limits.max_buffered_bytes or memory_limit() // _SHARE


def memory_limit(root: Path = Path("/")) -> int:
    """The bytes of the machine, or of the control groups around the process if they have fewer.

    Source: cgroups(7). In a container the group's path may be that of the world outside; its own
    limit then stands at the top. `root` is where the file system begins.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min((machine, *_group_limits(root)))


def _group_limits(root: Path) -> Iterator[int]:
    top = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            places, name = top, "memory.max"
        elif "memory" in controllers.split(","):
            places, name = top / "memory", "memory.limit_in_bytes"  # version 1
        else:
            continue
        group = places / path.lstrip("/")
        for place in (group, *group.parents):
            limit = _text(place / name).strip()
            if limit.isdigit():  # or it is `max`
                yield int(limit)
            if place == places:
                break


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
