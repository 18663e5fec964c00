"""What the router tells the service manager: over a real socket, from a process of its own."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bench.manager import NotifySocket
from tests.support.dialects import CHAT, settings
from tests.support.managed import abstract_notify, start_managed
from tests.support.process import RouterProcess, environment, run
from tests.support.upstream import ScriptedUpstream, sse

PROMPTLY_S = 15.0  # what takes minutes when it goes wrong
SILENCE_S = 1.0  # in which twenty signs of life would have come
WATCHDOG = {"WATCHDOG_USEC": "100000"}

# A Python program that stops its own loop when it is told to, as code that blocks would.
STUCK = """
import signal, sys, time
def block(*_):
    print("blocking", file=sys.stderr, flush=True)
    time.sleep(600)
signal.signal(signal.SIGUSR1, block)
from bitrouter.cli.main import main
sys.exit(main(sys.argv[1:]))
"""

Start = Callable[..., RouterProcess]


@pytest.fixture
def notify() -> Iterator[NotifySocket]:
    """What the manager hears."""
    heard = abstract_notify()
    yield heard
    heard.close()


@pytest.fixture
def start(tmp_path: Path, notify: NotifySocket) -> Iterator[Start]:
    """Starts a router that can be heard, on a free port."""
    running: list[RouterProcess] = []

    def begin(**more: Any) -> RouterProcess:
        given = {"notify": notify, **more}
        running.append(start_managed("--listen", "127.0.0.1:0", cwd=tmp_path, **given))
        return running[-1]

    yield begin
    for process in running:
        process.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the configuration goes."""
    return tmp_path / "bitrouter.yaml"


def write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(content))


def connect(url: str) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=PROMPTLY_S).close()


# -- the start --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a path", "an abstract name"])
def test_ready_is_said_once_connections_are_taken(tmp_path: Path, kind: str) -> None:
    heard = NotifySocket(str(tmp_path / "notify")) if kind == "a path" else abstract_notify()
    process = start_managed("--listen", "127.0.0.1:0", cwd=tmp_path, notify=heard)
    try:
        ready = heard.wait_for("READY", "1")
        connect(process.url)
        assert ready.pid == process.pid  # NotifyAccess=main
        assert process.url in ready.fields["STATUS"]
        assert [*heard.messages] == [ready]
    finally:
        process.stop()
        heard.close()


def test_a_refused_configuration_is_a_status_and_nothing_is_ready(
    tmp_path: Path, file: Path, notify: NotifySocket
) -> None:
    file.write_text("retry: {max_attempts: none}\n")
    env = environment(tmp_path, NOTIFY_SOCKET=notify.address)
    assert run("serve", cwd=tmp_path, env=env).returncode == 78
    told = notify.wait_for("STATUS")
    assert "bitrouter.yaml:1:23: retry.max_attempts" in told.fields["STATUS"]
    assert "READY" not in told.fields


@pytest.mark.parametrize("address", ["", "nonsense", "vsock:2:9999", "/nobody/listens/here"])
def test_a_manager_that_cannot_be_told_stops_nobody(tmp_path: Path, address: str) -> None:
    env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "no number"}
    process = start_managed("--listen", "127.0.0.1:0", cwd=tmp_path, more=env)
    connect(process.url)
    process.send(signal.SIGTERM)
    assert process.wait(PROMPTLY_S) == 0
    assert sum("manager cannot be told" in line for line in process.lines) == (1 if address else 0)
    process.stop()


# -- reloads ----------------------------------------------------------------------------------


def test_sighup_is_answered_by_reloading_and_then_ready(
    start: Start, file: Path, notify: NotifySocket
) -> None:
    write(file, settings(CHAT, "http://127.0.0.1:1"))
    process = start()
    notify.wait_for("READY", "1")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    process.send(signal.SIGHUP)
    reloading = notify.wait_for("RELOADING", "1")
    notify.wait_for("READY", "1")
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    # systemd takes only what is as new as its own signal for the answer to that.
    assert before <= int(reloading.fields["MONOTONIC_USEC"]) <= after


async def test_a_refused_reload_is_ready_too_and_the_status_says_why(
    start: Start, file: Path, notify: NotifySocket
) -> None:
    good = settings(CHAT, "http://127.0.0.1:1")
    write(file, good)
    process = start()
    notify.wait_for("READY", "1")
    write(file, {"models": {"m": {}}})
    process.send(signal.SIGHUP)
    notify.wait_for("RELOADING", "1")
    refused = notify.wait_for("READY", "1")
    assert "the last reload was refused" in refused.fields["STATUS"]
    assert "bitrouter.yaml:2:6: models.m" in refused.fields["STATUS"]
    write(file, good)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{process.url}/admin/reload") as response,
    ):
        assert response.status == 200
    notify.wait_for("RELOADING", "1")  # whoever asked for it
    assert "refused" not in notify.wait_for("READY", "1").fields["STATUS"]


# -- the end ----------------------------------------------------------------------------------


async def test_stopping_is_said_first_and_asks_for_the_time_of_the_drain(
    start: Start, file: Path, notify: NotifySocket, upstream: ScriptedUpstream
) -> None:
    write(file, settings(CHAT, upstream.url, timeouts={"drain": "20m"}))
    process = start()
    go_on = asyncio.Event()
    upstream.script = sse(*CHAT.events, pause=go_on)
    url = f"{process.url}{CHAT.path()}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=CHAT.body(stream=True)) as response,
    ):
        first = await response.content.readexactly(len(CHAT.events[0]))
        process.send(signal.SIGTERM)
        stopping = await asyncio.to_thread(notify.wait_for, "STOPPING", "1")
        assert int(stopping.fields["EXTEND_TIMEOUT_USEC"]) > 20 * 60 * 1_000_000
        go_on.set()
        assert first + await response.read() == b"".join(CHAT.events)
    assert await asyncio.to_thread(process.wait, PROMPTLY_S) == 0


# -- the watchdog -----------------------------------------------------------------------------


def test_the_watchdog_is_fed_by_the_main_process(start: Start, notify: NotifySocket) -> None:
    process = start(more=WATCHDOG)
    for _ in range(3):
        assert notify.wait_for("WATCHDOG", "1").pid == process.pid


@pytest.mark.parametrize("more", [{}, {**WATCHDOG, "WATCHDOG_PID": "1"}], ids=["none", "another's"])
def test_a_watchdog_that_is_not_ours_is_not_fed(
    start: Start, notify: NotifySocket, more: dict[str, str]
) -> None:
    start(more=more)
    with pytest.raises(TimeoutError):
        notify.wait_for("WATCHDOG", within_s=SILENCE_S / 2)
    assert "READY" in notify.messages[0].fields


def test_a_loop_that_is_stuck_starves_the_watchdog_and_its_stack_is_told(
    start: Start, notify: NotifySocket
) -> None:
    process = start(program=("-c", STUCK), more=WATCHDOG)
    notify.wait_for("WATCHDOG", "1")
    process.send(signal.SIGUSR1)
    process.wait_for("blocking")
    forget(notify)
    with pytest.raises(TimeoutError):
        notify.wait_for("WATCHDOG", within_s=SILENCE_S)
    process.send(signal.SIGABRT)  # what the manager does then
    assert process.wait(PROMPTLY_S) == -signal.SIGABRT
    assert "in block" in process.text


def forget(notify: NotifySocket) -> None:
    """Hear all that was said before."""
    with pytest.raises(TimeoutError):
        notify.wait_for("NOTHING", within_s=0.1)


def test_a_process_that_does_not_run_feeds_nothing_and_goes_on_when_it_runs_again(
    start: Start, notify: NotifySocket
) -> None:
    process = start(more=WATCHDOG)
    notify.wait_for("WATCHDOG", "1")
    os.kill(process.pid, signal.SIGSTOP)
    forget(notify)
    with pytest.raises(TimeoutError):
        notify.wait_for("WATCHDOG", within_s=SILENCE_S)
    os.kill(process.pid, signal.SIGCONT)
    notify.wait_for("WATCHDOG", "1")
