"""A clock that a test turns, in place of an event loop's."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast


@dataclass(eq=False)
class Timer:
    """What `call_at` gives back."""

    when: float
    ring: Callable[[], None]
    running: list["Timer"]

    def cancel(self) -> None:
        """Do not ring any more."""
        if self in self.running:
            self.running.remove(self)


class Clock:
    """The part of an event loop that a timer needs; time stands still until `turn` is called.

    `set` counts the timers that were set, `running` are those that have yet to ring.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.set = 0
        self.running: list[Timer] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Itself, as what takes its time from an event loop wants it."""
        return cast(asyncio.AbstractEventLoop, self)

    def time(self) -> float:
        """See asyncio."""
        return self.now

    def call_at(self, when: float, ring: Callable[[], None]) -> Timer:
        """See asyncio."""
        self.set += 1
        self.running.append(Timer(when, ring, self.running))
        return self.running[-1]

    def turn(self, seconds: float) -> None:
        """Let time pass, and what is due ring at its time."""
        end = self.now + seconds
        while due := [one for one in self.running if one.when <= end]:
            first = min(due, key=lambda one: one.when)
            first.cancel()
            self.now = max(self.now, first.when)
            first.ring()
        self.now = end
