"""Lines leave in their order, and nobody who writes one waits for that."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator

import pytest

from bitrouter.log import outlet
from bitrouter.log.outlet import Outlet

LIMIT_S = 10.0


class Reader:
    """A pipe, and what came out of it."""

    def __init__(self) -> None:
        self.end, writing = os.pipe()
        self.stream = os.fdopen(writing, "w")

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        content = b""
        while len(content) < size:
            content += os.read(self.end, size - len(content))
        return content

    def read_all(self, target: Outlet) -> str:
        """Everything that waits, and whatever more comes of it."""
        os.set_blocking(self.end, False)
        content, done = b"", False
        while True:
            try:
                content += os.read(self.end, 1 << 20)
            except BlockingIOError:
                if done:
                    return content.decode()
                done = target.flush(0.02)


@pytest.fixture
def pipe() -> Iterator[Reader]:
    """A pipe that is read from when the test says so."""
    reader = Reader()
    yield reader
    with contextlib.suppress(OSError):
        os.close(reader.end)
    reader.stream.close()


def numbered(count: int) -> list[str]:
    return [f"line {number}\n" for number in range(count)]


def test_lines_are_written_in_their_order(pipe: Reader) -> None:
    lines = numbered(1000)
    target = Outlet(pipe.stream)
    for line in lines:
        target.write(line)
    assert pipe.read(sum(map(len, lines))).decode() == "".join(lines)
    assert target.flush(LIMIT_S)
    target.close()


def test_what_has_no_descriptor_is_written_to_as_it_is() -> None:
    stream = io.StringIO()
    target = Outlet(stream)
    target.write("one\n")
    target.write("two\n")
    assert target.flush(LIMIT_S)
    assert stream.getvalue() == "one\ntwo\n"
    target.close()


def test_a_full_pipe_holds_up_nobody_and_what_is_lost_is_said(
    pipe: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "MAX_WAITING", 1000)
    line = "x" * 999 + "\n"
    target = Outlet(pipe.stream)
    target.describe = "{} were left out\n".format
    for _ in range(3000):  # 3 MB into a pipe that holds 64 KiB: it would never come back
        target.write(line)
    dropped = target.dropped
    assert 3000 - 1000 - 200 - 100 < dropped <= 2000
    assert not target.flush(0.1)
    told = f"{dropped} were left out\n"
    content = pipe.read_all(target)
    assert content.count(told) == 1
    assert content.replace(told, "") == line * (3000 - dropped)
    target.write("again\n")
    assert pipe.read_all(target) == "again\n"
    assert target.dropped == dropped
    target.close()


def test_a_pipe_that_nobody_reads_any_more_loses_its_lines_and_counts_them(pipe: Reader) -> None:
    target = Outlet(pipe.stream)
    os.close(pipe.end)
    target.write("one\n")
    target.write("two\n")
    assert target.flush(LIMIT_S)
    assert target.dropped == 2
    target.close()


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: Reader) -> None:
    os.set_blocking(pipe.stream.fileno(), False)
    line = "y" * 999 + "\n"
    target = Outlet(pipe.stream)
    for _ in range(500):
        target.write(line)
    assert pipe.read(500 * 1000).decode() == line * 500
    assert target.flush(LIMIT_S)
    assert target.dropped == 0
    target.close()


def test_the_stream_may_be_closed_meanwhile(pipe: Reader) -> None:
    target = Outlet(pipe.stream)
    pipe.stream.close()
    target.write("still there\n")
    assert pipe.read(12) == b"still there\n"
    target.close()


def test_lines_of_many_threads_are_whole(pipe: Reader) -> None:
    target = Outlet(pipe.stream)
    lines = numbered(500)

    def write() -> None:
        for line in lines:
            target.write(line)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    content = pipe.read(4 * sum(map(len, lines))).decode()
    for thread in threads:
        thread.join(LIMIT_S)
    assert sorted(content.splitlines(keepends=True)) == sorted(lines * 4)
    target.close()


def test_closing_ends_the_thread_after_the_last_line(pipe: Reader) -> None:
    before = set(threading.enumerate())  # those of other tests may be ending
    target = Outlet(pipe.stream)
    assert set(threading.enumerate()) <= before  # it begins with the first line
    target.write("last\n")
    (thread,) = set(threading.enumerate()) - before
    target.close()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert pipe.read(5) == b"last\n"
