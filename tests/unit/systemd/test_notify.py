"""Datagrams to the service manager, and what it sets in the environment."""

import socket
from collections.abc import Iterator

import pytest

from bench.manager import NotifySocket
from bitrouter.systemd.notify import (
    Notifier,
    extend_timeout,
    find_notifier,
    status,
    watchdog_s,
)
from tests.support.managed import abstract_notify


@pytest.fixture
def heard() -> Iterator[NotifySocket]:
    """What the manager hears."""
    made = abstract_notify()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "1e6"}, None),
        ({"WATCHDOG_USEC": "٣"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_s(environ, 7) == seconds


@pytest.mark.parametrize("address", ["", "relative", "@", "/", "vsock:2:1"])
def test_without_an_address_there_is_nobody_to_tell(address: str) -> None:
    assert find_notifier({"NOTIFY_SOCKET": address}) is None
    assert find_notifier({}) is None


def test_a_status_is_one_line() -> None:
    assert status("one\ntwo  three\r\nREADY=1") == "STATUS=one two three READY=1"
    assert extend_timeout(1.5) == "EXTEND_TIMEOUT_USEC=1500000"


def test_a_message_is_one_datagram(heard: NotifySocket) -> None:
    notifier = Notifier(heard.address)
    assert notifier.send("READY=1", "STATUS=fine")
    assert heard.wait_for("READY").fields == {"READY": "1", "STATUS": "fine"}
    notifier.close()


def test_a_full_queue_is_told_and_not_waited_for(heard: NotifySocket) -> None:
    notifier = Notifier(heard.address)
    sent = 0
    while notifier.send(f"N={sent}"):
        sent += 1
        assert sent < 100_000
    heard.wait_for("N", "0")
    assert notifier.send("N=last")
    notifier.close()


def test_a_manager_that_is_gone_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    gone = abstract_notify()
    gone.close()
    notifier = Notifier(gone.address)
    assert notifier.send("READY=1")
    assert notifier.send("READY=1")
    assert len([one for one in caplog.records if "cannot be told" in one.message]) == 1
    notifier.close()


def test_nobody_inherits_the_socket(heard: NotifySocket) -> None:
    notifier = Notifier(heard.address)
    inner = notifier._socket
    assert isinstance(inner, socket.socket)
    assert not inner.get_inheritable()
    notifier.close()
