"""Tells when a core stood still: a process that does nothing but wake up each millisecond.

Run as `python -m bench.pulse`; it ends with its input, and writes what it saw as JSON: the spans,
in seconds of the monotonic clock, in which it was not woken up though it was time. A machine that
is shared, or virtual, takes the core away from everybody on it.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from bench.process import ROOT, python

_EACH_S: Final = 0.001
STALL_S: Final = 0.020  # longer than the others on the core keep it to themselves, a few at a time

Span = tuple[float, float]


class Stalls:
    """The spans in which one of the cores stood still; there are some once the pulses ended."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def add(self, spans: Sequence[Span]) -> None:
        """Take what one pulse saw."""
        self.spans = sorted([*self.spans, *spans])

    def touch(self, span: Span) -> bool:
        """Whether there was one at any time of `span`."""
        after = bisect_left(self.spans, (span[1],))
        return any(until >= span[0] for _, until in self.spans[:after])


@contextlib.contextmanager
def watched(cores: Sequence[int]) -> Iterator[Stalls]:
    """Have a pulse on each of the cores for the length of a `with`."""
    stalls = Stalls()
    pulses = []
    for core in cores:
        pulse = subprocess.Popen(
            python("bench.pulse"), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        os.sched_setaffinity(pulse.pid, {core})
        pulses.append(pulse)
    try:
        yield stalls
    finally:
        for pulse in pulses:
            said, _ = pulse.communicate()
            stalls.add(msgspec.json.decode(said, type=list[Span]))


def main() -> None:
    """Wake up until the input ends."""
    ended = threading.Event()
    stalls: list[Span] = []

    def beat() -> None:
        last = time.monotonic()
        while not ended.is_set():
            time.sleep(_EACH_S)
            now = time.monotonic()
            if now - last > STALL_S:
                stalls.append((last, now))
            last = now

    beating = threading.Thread(target=beat)
    beating.start()
    sys.stdin.read()
    ended.set()
    beating.join()
    print(msgspec.json.encode(stalls).decode(), flush=True)


if __name__ == "__main__":
    main()
