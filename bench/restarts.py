"""The router is restarted through an inherited socket while requests run: none may be lost.

Run as `python -m bench.restarts`. The exit code is 1 if a request failed or a process did not end
with 0.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvloop

from bench.changes import write_config
from bench.crowd import Tally, keep_asking
from bench.manager import NotifySocket, launcher, listening, manager_environ
from bench.process import ROOT, free_port, python, router_environ, running
from bench.scenarios import Scenario

_CONNECTIONS: Final = 32
_EVENT_GAP_S: Final = 0.001
_WITHIN_S: Final = 600.0
_READY_WITHIN_S: Final = 20.0
_ENDS_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.002


class Service:
    """A router that is started again and again for one socket, as a service manager does it.

    `ended` are the exit codes of the processes that have ended.
    """

    def __init__(
        self, command: list[str], environ: dict[str, str], listener: socket.socket
    ) -> None:
        self._command = launcher([listener.fileno()], "listen") + command
        self._environ = environ
        self._descriptor = listener.fileno()
        self._notify = NotifySocket(f"@bitrouter-bench-{listener.getsockname()[1]}")
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process: subprocess.Popen[bytes] | None = None
        self.ended: list[int] = []

    def start(self) -> None:
        """Start it, and wait until it says that it is ready. Raises RuntimeError if it does not."""
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environ | manager_environ(self._notify, watchdog_s=30),
            stdout=subprocess.DEVNULL,
            stderr=self._output,
            pass_fds=[self._descriptor],
        )
        try:
            self._notify.wait_for("READY", "1", _READY_WITHIN_S)
        except TimeoutError as error:
            self._output.seek(0)
            raise RuntimeError(self._output.read(4000).decode(errors="replace")) from error

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self.ended.append(self._process.wait(_ENDS_WITHIN_S))
        finally:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it in any case."""
        self.stop()
        self._notify.close()
        self._output.close()


async def restart_under_load(service: Service, port: int, restarts: int, requests: int) -> bool:
    """So many restarts, evenly among at least so many requests: whether none was lost.

    Prints the figures. A quarter of the clients have streams, which the router that is stopped
    finishes; a half speak Messages, so that their answers are translated.
    """
    tally = Tally()
    made = 0

    def go_on() -> bool:
        return tally.asked < requests or made < restarts

    async def restart() -> None:
        nonlocal made
        while made < restarts:
            if tally.asked * restarts < made * requests:
                await asyncio.sleep(_POLL_S)
                continue
            await asyncio.to_thread(service.stop)
            await asyncio.to_thread(service.start)
            made += 1

    clients = (
        keep_asking(port, Scenario(1, number % 4 == 0, 1, bool(number % 2)), tally, go_on)
        for number in range(_CONNECTIONS)
    )
    async with asyncio.timeout(_WITHIN_S):
        await asyncio.gather(restart(), *clients)
    print(
        f"restarts: {made}, exit codes {sorted(set(service.ended))};"
        f" answers: {tally.done:,} whole and right, {tally.failed:,} failed"
    )
    for failure in tally.failures:
        print(f"FAILED {failure}")
    return not tally.failed and set(service.ended) <= {0}


@contextlib.contextmanager
def served() -> Iterator[tuple[Service, int]]:
    """An upstream, and a service that is ready on the port."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream_port = free_port()
        upstream = python("bench.upstream", upstream_port, _EVENT_GAP_S)
        stack.enter_context(running(upstream, upstream_port))
        listener = stack.enter_context(listening(("127.0.0.1", 0)))
        port: int = listener.getsockname()[1]
        file = directory / "bitrouter.yaml"
        write_config(file, port, upstream_port)
        serve = python("bitrouter", "serve", "--config", file)
        service = Service(serve, router_environ(directory), listener)
        stack.callback(service.close)
        service.start()
        yield service, port


def run(restarts: int, requests: int) -> bool:
    """Restart a router of its own under load: whether all went well."""
    with served() as (service, port), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(restart_under_load(service, port, restarts, requests))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.restarts", description=__doc__)
    parser.add_argument("--restarts", type=int, default=50, metavar="N")
    parser.add_argument("--requests", type=int, default=10_000, metavar="N", help="at least")
    given = parser.parse_args()
    return 0 if run(given.restarts, given.requests) else 1


if __name__ == "__main__":
    sys.exit(main())
