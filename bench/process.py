"""The processes that a bench runs: started, measured from outside, and ended."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

ROOT: Final = Path(__file__).resolve().parent.parent

_UP_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.002
_DOWN_WITHIN_S: Final = 10.0
_MODULE_WITHIN_S: Final = 120.0


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def split_cores() -> tuple[frozenset[int], frozenset[int]]:
    """The core of what is measured, and those of all else; the same where there is but one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return frozenset({first}), frozenset(others or {first})


class Child:
    """A process that listens on `port`, kept to some `cores` if that is said."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        environ: Mapping[str, str] | None = None,
        *,
        cores: frozenset[int] | None = None,
    ) -> None:
        self.port = port
        self._command = command
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `stop`
        self.started_at = time.perf_counter()
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=self._output, stderr=subprocess.STDOUT
        )
        if cores is not None:  # before it has threads
            os.sched_setaffinity(self._process.pid, cores)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until_ready(self, path: str | None = None, *, within_s: float = _UP_WITHIN_S) -> float:
        """Seconds from start until it listens, or until a GET of `path` is answered with 200."""
        until = self.started_at + within_s
        while not _answers(self.port, path):
            if self._process.poll() is not None or time.perf_counter() > until:
                raise RuntimeError(f"{' '.join(self._command)} does not serve:\n{self._said()}")
            time.sleep(_POLL_S)
        return time.perf_counter() - self.started_at

    def _said(self) -> str:
        self._output.seek(0)
        return self._output.read(4000).decode(errors="replace")

    def cpu_ns(self) -> int:
        """CPU time that its threads have used, in nanoseconds.

        From the scheduler's statistics of each thread, which are exact; `stat` counts ticks of
        10 ms. Source: proc(5), /proc/pid/schedstat.
        """
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((one / "schedstat").read_text().split()[0]) for one in threads)

    def memory_mb(self, line: str) -> float:
        """A size in /proc/pid/status, VmRSS or VmHWM, in MB of 1,000,000 bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        value = next(text for text in status if text.startswith(line + ":"))
        return int(value.split()[1]) * 1024 / 1e6

    def stop(self) -> None:
        """End it, and wait until it has gone."""
        self._process.terminate()
        try:
            self._process.wait(_DOWN_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


@contextlib.contextmanager
def running(
    command: Sequence[str],
    port: int,
    environ: Mapping[str, str] | None = None,
    *,
    cores: frozenset[int] | None = None,
) -> Iterator[Child]:
    """A child for the length of a `with`, that is listening when it begins."""
    child = Child(command, port, environ, cores=cores)
    try:
        child.wait_until_ready()
        yield child
    finally:
        child.stop()


def router_environ(home: Path) -> dict[str, str]:
    """An environment without anybody's keys or settings, in which bytecode is kept as usual."""
    kept = ("PATH", "LANG", "VIRTUAL_ENV", "PYTHONPYCACHEPREFIX")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    return given | {"HOME": str(home), "BITROUTER_HOME": str(home), "PYTHONPATH": str(ROOT)}


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def run_module(module: str, kind: type[T], *arguments: object) -> T:
    """Run a module in a process of its own, beside what is measured: what it writes, as JSON.

    Raises RuntimeError when it fails.
    """
    with subprocess.Popen(python(module, *arguments), cwd=ROOT, stdout=subprocess.PIPE) as process:
        os.sched_setaffinity(process.pid, split_cores()[1])
        written, _ = process.communicate(timeout=_MODULE_WITHIN_S)
    if process.returncode:
        raise RuntimeError(f"{module} failed; see above")
    return msgspec.json.decode(written, type=kind)


def _answers(port: int, path: str | None) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if path is None:
                return True
            connection.sendall(b"GET %b HTTP/1.0\r\n\r\n" % path.encode())
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False
