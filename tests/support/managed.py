"""A router as a service manager runs it: with sockets that are there before it, and heard."""

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.manager import NotifySocket, launcher
from tests.support.process import LIMIT_S, RouterProcess, environment

Sockets = Sequence[tuple[str, socket.socket]]


def _launched(sockets: Sockets, names: str | None) -> tuple[list[str], list[int]]:
    if not sockets:
        return [], []
    given = ":".join(name for name, _ in sockets) if names is None else names
    descriptors = [one.fileno() for _, one in sockets]
    return launcher(descriptors, given), descriptors


def start_managed(
    *words: str,
    cwd: Path,
    sockets: Sockets = (),
    notify: NotifySocket | None = None,
    program: Sequence[str] = ("-m", "bitrouter"),
    more: Mapping[str, str] | None = None,
) -> RouterProcess:
    """Start `bitrouter serve` with sockets of the given names. `more` are variables."""
    before, descriptors = _launched(sockets, None)
    told = {"NOTIFY_SOCKET": notify.address} if notify is not None else {}
    return RouterProcess(
        *words,
        cwd=cwd,
        env=environment(cwd, **told, **(more or {})),
        before=before,
        program=program,
        pass_fds=descriptors,
    )


def run_managed(
    *words: str,
    cwd: Path,
    sockets: Sockets,
    names: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a `bitrouter serve` that is going to refuse its sockets. `names` in place of theirs."""
    before, descriptors = _launched(sockets, names)
    return subprocess.run(
        [*before, sys.executable, "-m", "bitrouter", "serve", *words],
        cwd=cwd,
        env=env or environment(cwd),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        pass_fds=descriptors,
    )


def abstract_notify() -> NotifySocket:
    """A notification socket in the abstract namespace, which leaves no file behind."""
    return NotifySocket(f"@bitrouter-test-{os.getpid()}-{uuid.uuid4().hex}")
