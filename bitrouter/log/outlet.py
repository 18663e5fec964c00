"""Where lines leave the process: a thread that writes them, so that nobody else waits for it.

Whoever reads standard error may be slow or have stopped (a full pipe, a terminal that is held, a
disk that hangs). A write from the event loop would then stop every request.
"""

import atexit
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Protocol

MAX_WAITING: Final = 10_000  # lines; some MB at most, for each line is bounded
_AT_ONCE: Final = 200  # lines in one write
_AT_EXIT_S: Final = 1.0  # for what is left then
_RETRY_MS: Final = 1000


class Stream(Protocol):
    """What lines are written to. One with a `fileno` is written to without its own buffer, which
    could not be left behind at the end of the process while it is stuck.
    """

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> object:
        """Pass it on."""


class Outlet:
    """Takes lines without ever waiting, and writes them to `stream` in their order.

    Beyond `MAX_WAITING` new ones are left out and counted in `dropped`; as soon as there is room a
    line says how many, in the words of `describe`.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.dropped = 0
        self.describe: Callable[[int], str] = "{} lines were left out\n".format
        self._told = 0
        self._ended = False
        self._lines: deque[str | threading.Event] = deque()
        self._there_are_some = threading.Event()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()
        self._descriptor = _descriptor(stream)

    def write(self, line: str) -> None:
        """Take one line, with its end. From any thread; it waits for nothing."""
        if len(self._lines) >= MAX_WAITING:
            self.dropped += 1
            return
        self._push(line)

    def flush(self, limit_s: float = _AT_EXIT_S) -> bool:
        """Wait until all that was taken is written, at most so many seconds: whether it is."""
        if self._thread is None:
            return True
        mark = threading.Event()
        self._push(mark)
        return mark.wait(limit_s)

    def close(self) -> None:
        """Write what was taken, and take no more."""
        self._ended = True
        with self._start:
            if self._thread is not None:
                self._there_are_some.set()
            elif self._descriptor is not None:
                os.close(self._descriptor)
        atexit.unregister(self.flush)

    def _push(self, line: str | threading.Event) -> None:
        self._lines.append(line)
        if not self._there_are_some.is_set():
            self._there_are_some.set()
            if self._thread is None:
                self._begin()

    def _begin(self) -> None:
        """Start the thread with the first line: most verbs of the command line write none."""
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.flush)

    def _run(self) -> None:
        while self._there_are_some.wait():
            self._there_are_some.clear()  # before the look, or what comes in between would be lost
            while self._lines:
                self._write_some()
            if self._ended:
                break
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _write_some(self) -> None:
        text, marks = self._take()
        if text:
            self._write(text)
        if self.dropped != self._told:
            number, self._told = self.dropped - self._told, self.dropped
            self._write(self.describe(number))
        for mark in marks:
            mark.set()

    def _take(self) -> tuple[str, list[threading.Event]]:
        """The next lines, and who wants to know that they are written."""
        some = [*islice(self._popped(), _AT_ONCE)]
        lines = [one for one in some if isinstance(one, str)]
        return "".join(lines), [one for one in some if not isinstance(one, str)]

    def _popped(self) -> Iterator[str | threading.Event]:
        while self._lines:
            yield self._lines.popleft()

    def _write(self, text: str) -> None:
        """Write all of it, however long that takes. What cannot be written at all is lost."""
        try:
            if self._descriptor is None:
                self.stream.write(text)
                self.stream.flush()
            else:
                _write_all(self._descriptor, text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError):  # nobody reads any more; the stream is closed
            self.dropped += text.count("\n")
            self._told = self.dropped


def _descriptor(stream: Stream) -> int | None:
    """One of our own for the same file: whoever closes the stream would give the number away."""
    fileno = getattr(stream, "fileno", None)
    try:
        return None if fileno is None else os.dup(fileno())
    except (OSError, ValueError):  # it has none after all
        return None


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # somebody who shares it has made it so
            poller = select.poll()
            poller.register(descriptor, select.POLLOUT)
            poller.poll(_RETRY_MS)
