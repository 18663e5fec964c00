"""How many bytes of bodies there may be, and how much memory there is."""

import contextlib
import os
from pathlib import Path

import pytest

from bitrouter.config.schema import Limits, Size
from bitrouter.errors import BodyTooLarge, Overloaded
from bitrouter.server.buffers import Buffers, Lease, buffer_limit, memory_limit

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_what_was_taken_is_given_back() -> None:
    buffers = Buffers(100)
    with Lease(buffers) as lease:
        lease.take(60)
        lease.take(40)
        assert buffers.used == 100
    assert buffers.used == 0


def test_it_is_given_back_after_an_error() -> None:
    buffers = Buffers(100)
    with contextlib.suppress(BodyTooLarge), Lease(buffers) as lease:
        lease.take(60)
        lease.take(60)
    assert buffers.used == 0


def test_what_there_is_no_room_for_now_is_refused_and_not_counted() -> None:
    buffers = Buffers(100)
    with Lease(buffers) as first, Lease(buffers) as second:
        first.take(60)
        second.take(40)
        with pytest.raises(Overloaded) as refusal:
            second.take(1)
        assert refusal.value.retry_after_s == 1
        assert buffers.used == 100


def test_what_there_never_is_room_for_is_too_large() -> None:
    with Lease(Buffers(100)) as lease:
        with pytest.raises(BodyTooLarge):
            lease.check(101)
        lease.take(100)
        with pytest.raises(BodyTooLarge):
            lease.take(1)


def test_to_ask_takes_nothing() -> None:
    buffers = Buffers(100)
    with Lease(buffers) as lease:
        lease.check(100)
        assert buffers.used == 0


def test_a_lower_limit_lets_go_on_what_is_there() -> None:
    buffers = Buffers(100)
    with Lease(buffers) as first, Lease(buffers) as second:
        first.take(60)
        buffers.limit = 50
        with pytest.raises(Overloaded):
            second.take(1)
    assert buffers.used == 0


def test_the_setting_wins_over_the_memory_there_is() -> None:
    assert buffer_limit(Limits(max_buffered_bytes=Size(7))) == 7
    assert buffer_limit(Limits()) == memory_limit() // 4


# -- control groups -----------------------------------------------------------------------------


def system(root: Path, own: str, **limits: str) -> int:
    """What is read of a file system with these files below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    for name, text in limits.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return memory_limit(root)


def test_without_control_groups_it_is_the_machine(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == MACHINE


def test_the_groups_own_limit(tmp_path: Path) -> None:
    assert system(tmp_path, "0::/a/b\n", a__b__memory_DOT_max="1000\n") == 1000


def test_the_lowest_of_the_groups_around_it(tmp_path: Path) -> None:
    limits = {"a__b__memory_DOT_max": "max\n", "a__memory_DOT_max": "2000\n"}
    assert system(tmp_path, "0::/a/b\n", **limits, memory_DOT_max="3000\n") == 2000


def test_in_a_container_the_limit_stands_at_the_top(tmp_path: Path) -> None:
    assert system(tmp_path, "0::/\n", memory_DOT_max="1000\n") == 1000


def test_the_limit_of_version_1(tmp_path: Path) -> None:
    limits = {"memory__a__memory_DOT_limit_in_bytes": "1000\n"}
    assert system(tmp_path, "5:cpu,memory:/a\n1:name=systemd:/\n", **limits) == 1000


def test_the_limit_of_version_1_in_a_container(tmp_path: Path) -> None:
    limits = {"memory__memory_DOT_limit_in_bytes": "1000\n"}
    assert system(tmp_path, "4:memory:/docker/0123\n0::/\n", **limits) == 1000


@pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n", "", "nonsense"])
def test_no_limit_is_the_machines(tmp_path: Path, text: str) -> None:
    assert system(tmp_path, "0::/\n", memory_DOT_max=text) == MACHINE
