"""What a client owes within a time, on a clock that the test turns."""

import socket
from asyncio import WriteTransport
from typing import cast

import pytest
from aiohttp import StreamReader

from bitrouter.config.schema import Duration, Timeouts
from bitrouter.server.clienttimer import ClientTimer
from tests.support.clock import Clock

KIB = 1024
MIB = 1 << 20
TIMEOUTS = Timeouts(header_read=Duration(10), body_read=Duration(60), write_stall=Duration(60))
PACE_S = 10  # the longest that the timer looks ahead with these


class Body:
    """The part of a StreamReader that the timer looks at."""

    def __init__(self) -> None:
        self.total_raw_bytes = 0
        self.complete = False

    def is_eof(self) -> bool:
        return self.complete

    def exception(self) -> BaseException | None:
        return None


class Transport:
    """The part of a transport that the timer looks at. Its socket is closed."""

    def __init__(self) -> None:
        self.unsent = 0
        self.closing = False
        self.socket = socket.socket()
        self.socket.close()

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self.socket

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def expired() -> list[str]:
    return []


@pytest.fixture
def timer(clock: Clock, transport: Transport, expired: list[str]) -> ClientTimer:
    return ClientTimer(clock.loop, TIMEOUTS, cast(WriteTransport, transport), expired.append)


@pytest.fixture
def body(timer: ClientTimer) -> Body:
    """A body that is being received."""
    body = Body()
    timer.body_begins(cast(StreamReader, body))
    return body


# -- the head ---------------------------------------------------------------------------------


def test_a_head_may_take_its_time(clock: Clock, timer: ClientTimer, expired: list[str]) -> None:
    timer.head_begins()
    clock.turn(9.9)
    timer.head_ends()
    clock.turn(1000)
    assert expired == []


def test_a_head_that_takes_longer_expires_once(
    clock: Clock, timer: ClientTimer, expired: list[str]
) -> None:
    timer.head_begins()
    clock.turn(10)
    assert expired == ["header_read"]
    clock.turn(1000)
    assert expired == ["header_read"]


def test_more_of_a_head_does_not_put_its_end_off(
    clock: Clock, timer: ClientTimer, expired: list[str]
) -> None:
    for _ in range(20):
        timer.head_begins()
        clock.turn(0.5)
    assert expired == ["header_read"]


@pytest.mark.parametrize("idle_s", [0, 1, 9.9, 10, 70.3])
def test_a_head_is_timed_from_its_own_beginning(
    clock: Clock, timer: ClientTimer, expired: list[str], idle_s: float
) -> None:
    clock.turn(idle_s)
    timer.head_begins()
    clock.turn(9.9)
    assert expired == []
    clock.turn(0.2)
    assert expired == ["header_read"]


# -- the body ---------------------------------------------------------------------------------


@pytest.mark.parametrize("idle_s", [0, 3.3, 70.3])
def test_a_body_that_drips_expires_at_its_absolute_end(
    clock: Clock, timer: ClientTimer, expired: list[str], idle_s: float
) -> None:
    clock.turn(idle_s)
    body = Body()
    timer.body_begins(cast(StreamReader, body))
    for _ in range(599):
        clock.turn(0.1)
        body.total_raw_bytes += 1
    assert expired == []
    clock.turn(0.2)
    assert expired == ["body_read"]
    clock.turn(1000)
    assert expired == ["body_read"]


def test_a_body_that_has_come_is_not_looked_at(
    clock: Clock, body: Body, expired: list[str]
) -> None:
    clock.turn(59)
    body.complete = True
    clock.turn(1000)
    assert expired == []


def test_up_to_a_mib_a_body_may_pause(clock: Clock, body: Body, expired: list[str]) -> None:
    body.total_raw_bytes = MIB - 1
    clock.turn(59.9)
    assert expired == []


def test_beyond_a_mib_a_body_must_keep_coming(clock: Clock, body: Body, expired: list[str]) -> None:
    body.total_raw_bytes = MIB
    clock.turn(40)  # that it stands still is certain when a quarter of the time has passed twice
    assert expired == ["body_read"]


def test_a_large_body_that_keeps_coming_has_all_of_its_time(
    clock: Clock, body: Body, expired: list[str]
) -> None:
    body.total_raw_bytes = MIB
    for _ in range(59):
        clock.turn(1)
        body.total_raw_bytes += 17 * KIB
    assert expired == []
    clock.turn(1)
    assert expired == ["body_read"]


# -- the answer -------------------------------------------------------------------------------


def test_a_client_that_takes_nothing_is_stalled(
    clock: Clock, timer: ClientTimer, transport: Transport, expired: list[str]
) -> None:
    transport.unsent = 100 * KIB
    timer.writing_stops()
    clock.turn(59.9)
    assert expired == []
    clock.turn(0.2)
    assert expired == ["write_stall"]


def test_a_client_that_takes_a_byte_now_and_then_is_stalled(
    clock: Clock, timer: ClientTimer, transport: Transport, expired: list[str]
) -> None:
    transport.unsent = 100 * KIB
    timer.writing_stops()
    for _ in range(120):
        transport.unsent -= 1
        clock.turn(1)
    assert expired == ["write_stall"]


def test_a_client_that_takes_what_it_can_is_not(
    clock: Clock, timer: ClientTimer, transport: Transport, expired: list[str]
) -> None:
    transport.unsent = 3000 * KIB
    timer.writing_stops()
    for _ in range(600):
        clock.turn(1)
        transport.unsent -= 2 * KIB
    assert expired == []
    timer.writing_goes_on()
    clock.turn(1000)
    assert expired == []


def test_a_client_that_took_some_and_then_stops_is_stalled(
    clock: Clock, timer: ClientTimer, transport: Transport, expired: list[str]
) -> None:
    transport.unsent = 3000 * KIB
    timer.writing_stops()
    transport.unsent = 1000 * KIB
    clock.turn(60)
    assert expired == []
    clock.turn(PACE_S)
    assert expired == ["write_stall"]


def test_a_connection_that_is_closed_waits_no_longer_for_its_client(
    clock: Clock, timer: ClientTimer, transport: Transport, expired: list[str]
) -> None:
    transport.unsent, transport.closing = 10, True
    clock.turn(60 + PACE_S)
    assert expired == ["write_stall"]


# -- the cost ---------------------------------------------------------------------------------


def test_requests_set_no_timer(clock: Clock, timer: ClientTimer) -> None:
    before = clock.set
    for _ in range(1000):
        timer.head_begins()
        timer.head_ends()
        timer.body_begins(cast(StreamReader, Body()))
        timer.writing_stops()
        timer.writing_goes_on()
    assert clock.set == before


def test_an_idle_connection_is_looked_at_seldom(clock: Clock, timer: ClientTimer) -> None:
    before = clock.set
    clock.turn(1000)
    assert clock.set - before == 1000 / PACE_S


def test_a_closed_connection_has_no_timer(
    clock: Clock, timer: ClientTimer, expired: list[str]
) -> None:
    timer.head_begins()
    timer.stop()
    clock.turn(1000)
    assert (clock.running, expired) == ([], [])


def test_a_timer_may_be_stopped_by_what_it_tells(clock: Clock) -> None:
    stopping = ClientTimer(
        clock.loop, TIMEOUTS, cast(WriteTransport, Transport()), lambda _: stopping.stop()
    )
    stopping.head_begins()
    clock.turn(1000)
    assert clock.running == []
