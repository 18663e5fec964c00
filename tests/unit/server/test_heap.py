"""Memory that is kept for the next body: in a process of its own, whose C library this changes."""

import subprocess
import sys

import pytest

# Takes and frees some blocks, as bodies do, until the heap has its size; then counts page faults.
SCRIPT = """
import os, resource, sys
from bitrouter.server.heap import give_back, keep_freed
if sys.argv[1] == "keep":
    assert keep_freed(os.environ)
def bodies(times):
    for _ in range(times):
        blocks = [bytes(b"x") * (1 << 20) for _ in range(8)]
        del blocks
bodies(5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bodies(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
kept = resident()
give_back()
print(kept - resident())
"""


def told(*arguments: str, **environ: str) -> list[int]:
    """The page faults of 160 blocks of a MiB, and the bytes that were given back after them."""
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={"PYTHONPATH": ":".join(sys.path), **environ},
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    return [int(line) for line in said.stdout.split()]


def test_what_a_body_was_made_of_is_there_for_the_next() -> None:
    faults, given_back = told("keep")

    assert faults < 2000  # each block is 256 pages: 40,960 of them
    assert given_back > 4 << 20


def test_untold_the_c_library_gives_it_back_each_time() -> None:
    faults, _ = told("leave")

    assert faults > 10_000


@pytest.mark.parametrize(
    "setting",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"},
    ],
)
def test_an_operators_own_settings_stand(setting: dict[str, str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        told("keep", **setting)


def test_other_tunables_are_no_settings_of_this() -> None:
    faults, _ = told("keep", GLIBC_TUNABLES="glibc.pthread.rseq=1")

    assert faults < 2000
