"""Puts load on a target, and sees from outside what it costs there."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from bench.load import Seen
from bench.process import ROOT, Child, python, split_cores
from bench.scenarios import Scenario

_RUN_WITHIN_S: Final = 120.0
_TURN_S: Final = 0.1  # how a run of several scenarios is cut; a stream takes seconds anyway


class Measured(msgspec.Struct, frozen=True):
    """One run. `cpu_us` is the target's CPU time for a request, in microseconds."""

    seen: Seen
    cpu_us: float


class Load:
    """A `bench.load` in a process of its own."""

    def __init__(self, scenario: Scenario, target: Child) -> None:
        self._scenario = scenario
        self._target = target
        self._used_ns = 0
        self._process = subprocess.Popen(
            python("bench.load", target.port, msgspec.json.encode(scenario).decode()),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self._process.pid, split_cores()[1])

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def expect(self, line: str) -> None:
        """Wait until it says that. Raises RuntimeError when it says anything else, or ends."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != f"{line}\n":
            raise self._failed()

    def run(self, seconds: float) -> None:
        """Have it run, and count what the target uses meanwhile."""
        assert self._process.stdin is not None
        before_ns = self._target.cpu_ns()
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        self.expect("done")
        self._used_ns += self._target.cpu_ns() - before_ns

    def conclude(self) -> Measured:
        """What was seen and used in all of its runs."""
        said, _ = self._process.communicate(timeout=_RUN_WITHIN_S)
        if self._process.returncode:
            raise self._failed()
        seen = msgspec.json.decode(said, type=Seen)
        return Measured(seen, self._used_ns / 1000 / seen.requests)

    def _failed(self) -> RuntimeError:
        where = f"{self._scenario.name} at port {self._target.port}"
        return RuntimeError(f"{where} failed; see above")

    def stop(self) -> None:
        """End it, if it has not ended, and close what it was spoken to by."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def loading(scenario: Scenario, target: Child) -> Iterator[Load]:
    """One for the length of a `with`, connected and warm when it begins."""
    load = Load(scenario, target)
    try:
        load.expect("ready")
        yield load
    finally:
        load.stop()


def _turns(scenarios: Sequence[Scenario], seconds: float) -> int:
    if len(scenarios) < 2 or scenarios[0].stream:
        return 1
    return max(2, round(seconds / _TURN_S))


def drive(target: Child, scenarios: Sequence[Scenario], seconds: float) -> Sequence[Measured]:
    """Run scenarios against one target, each for so many seconds in all.

    Several take short turns, there and back, so that whatever else the machine does weighs on all
    of them alike: what is wanted is the difference between them. Raises RuntimeError when an answer
    is wrong.
    """
    turns = _turns(scenarios, seconds)
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(loading(scenario, target)) for scenario in scenarios]
        for turn in range(turns):
            for load in loads if turn % 2 == 0 else reversed(loads):
                load.run(seconds / turns)
        return [load.conclude() for load in loads]
