"""What was measured, as text for people and as JSON for programs."""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import orjson

from bench.micro.translate import PairCost
from bench.micro.translate import table as pair_table
from bench.process import ROOT
from bench.runs import Run
from bench.scenarios import Scenario
from bench.startup import Startup
from bench.tables import cpu_table, latency_table, translation_table

_RESULTS: Final = ROOT / "bench" / "results"
_PACKAGES: Final = ("aiohttp", "uvloop", "msgspec", "orjson")


class Host(msgspec.Struct, frozen=True):
    """Where and with what a bench ran."""

    began_at: str
    processor: str
    cores: int
    memory_gb: float
    kernel: str
    load_average: float
    python: str
    packages: dict[str, str]
    commit: str


class Bench(msgspec.Struct, frozen=True):
    """All of one bench. `peak_mb` is by target; `pairs` are the translators alone."""

    host: Host
    runs: list[Run]
    peak_mb: dict[str, float]
    startup: list[Startup]
    pairs: list[PairCost]


def describe_host() -> Host:
    """The facts without which no figure means anything."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Host(
        began_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(memory / 1e9, 1),
        kernel=platform.release(),
        load_average=os.getloadavg()[0],
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: version(name) for name in _PACKAGES},
        commit=_commit(),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def render(bench: Bench, scenarios: Sequence[Scenario]) -> str:
    """The whole report as text."""
    sections = [
        _head(bench.host),
        cpu_table(bench.runs, scenarios),
        translation_table(bench.runs, scenarios),
        pair_table(bench.pairs),
        latency_table(bench.runs, scenarios),
        _process(bench),
    ]
    return "\n\n".join(text for lines in sections if (text := "\n".join(lines)))


def _process(bench: Bench) -> Iterable[str]:
    peaks = ", ".join(f"{target} {size:.0f} MB" for target, size in bench.peak_mb.items())
    yield f"Peak memory (VmHWM): {peaks}"
    yield from map(str, bench.startup)


def _head(host: Host) -> Iterable[str]:
    packages = ", ".join(f"{name} {number}" for name, number in host.packages.items())
    yield f"{host.began_at}  commit {host.commit}"
    yield (
        f"{host.processor}, {host.cores} cores, {host.memory_gb} GB, Linux {host.kernel},"
        f" load {host.load_average:.1f} at the start"
    )
    yield f"{host.python}, {packages}"


def write(bench: Bench) -> Path:
    """Keep everything that was measured under bench/results, and say where."""
    _RESULTS.mkdir(exist_ok=True)
    stamp = bench.host.began_at.replace(":", "").replace("-", "")
    file = _RESULTS / f"{stamp}-{bench.host.commit}.json"
    content = orjson.dumps(
        msgspec.to_builtins(bench), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    )
    file.write_bytes(content)
    return file
