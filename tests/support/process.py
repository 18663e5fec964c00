"""`python -m bitrouter` as a process of its own."""

import functools
import os
import queue
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_ADDRESS = re.compile(r"listening on (\S+)")

LIMIT_S = 30.0


def environment(home: Path, **more: str) -> dict[str, str]:
    """Variables that hold no provider's key, whatever the tests were started with."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "HOME": str(home), "PYTHONPATH": str(_ROOT), **more}


def run(
    *words: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "bitrouter", *words],
        cwd=cwd,
        env=env or environment(cwd),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def _allow(descriptors: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))


class RouterProcess:
    """A running `bitrouter serve`. `url` is the address that its banner tells.

    `lines` is what it wrote to standard error so far. `descriptors` is how many files it may have
    open, if not as many as the tests. `before` are words before the command, such as a program that
    becomes it; `program` is what Python runs. To be stopped with `stop`.
    """

    def __init__(
        self,
        *words: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        descriptors: int | None = None,
        before: Sequence[str] = (),
        program: Sequence[str] = ("-m", "bitrouter"),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, *program, "serve", *words],
            cwd=cwd,
            env=env or environment(cwd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
            preexec_fn=functools.partial(_allow, descriptors) if descriptors else None,
        )
        self.lines: list[str] = []
        self._unseen: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.banner = self.wait_for("listening on")
        except BaseException:
            self.stop()
            raise
        found = _ADDRESS.search(self.banner)
        assert found is not None
        self.url = found[1]

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))
            self._unseen.put(self.lines[-1])
        self._unseen.put(None)

    @property
    def text(self) -> str:
        """All of standard error."""
        return "\n".join(self.lines)

    def wait_for(self, text: str) -> str:
        """The next line of standard error that has `text` in it."""
        try:
            while (line := self._unseen.get(timeout=LIMIT_S)) is not None:
                if text in line:
                    return line
        except queue.Empty:
            raise AssertionError(f"does not say {text!r}:\n{self.text}") from None
        raise AssertionError(f"ended without saying {text!r}:\n{self.text}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the end: the exit code, negative for a signal."""
        code = self._process.wait(limit_s)
        self._reader.join(limit_s)
        return code

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def cpu_s(self) -> float:
        """Seconds of CPU time that its threads have used. Source: proc(5)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def children(self) -> list[int]:
        """The processes that it has started and that have not ended."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(number) for task in tasks for number in task.read_text().split()]

    def stop(self) -> None:
        """End it, in any case."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(LIMIT_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
