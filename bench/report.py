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

from bench.beside import Beside
from bench.chart import Bar, bars
from bench.micro.translate import PairCost
from bench.micro.translate import table as pair_table
from bench.openloop import Latency
from bench.process import ROOT
from bench.runs import BARE, ROUTER, Run, cpu_us, ratios
from bench.scenarios import MAX_RATIOS, SCENARIOS, Scenario
from bench.startup import Startup
from bench.tables import (
    beside_table,
    cpu_table,
    delay_table,
    latency_table,
    open_loop_table,
    translation_table,
)

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
    """All of one bench. `peak_mb` is by target, `open_loop` and `beside` too; `pairs` are the
    translators alone.
    """

    host: Host
    runs: list[Run]
    peak_mb: dict[str, float]
    startup: list[Startup]
    pairs: list[PairCost]
    open_loop: dict[str, list[Latency]] = {}
    beside: dict[str, Beside] = {}


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
        delay_table(bench.runs, scenarios),
        latency_table(bench.runs, scenarios),
        open_loop_table(bench.open_loop),
        beside_table(bench.beside),
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
    """Keep everything that was measured under bench/results, with a chart, and say where."""
    file = result_file(bench.host, "json")
    content = orjson.dumps(
        msgspec.to_builtins(bench), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    )
    file.write_bytes(content)
    file.with_suffix(".svg").write_text(_chart(bench))
    return file


def result_file(host: Host, ending: str) -> Path:
    """A new file for what was measured on `host`."""
    _RESULTS.mkdir(exist_ok=True)
    stamp = host.began_at.replace(":", "").replace("-", "")
    return _RESULTS / f"{stamp}-{host.commit}.{ending}"


def _chart(bench: Bench) -> str:
    names = dict.fromkeys(run.scenario for run in bench.runs)
    scenarios = [one for one in SCENARIOS if one.name in names]
    shown = [
        Bar(
            one.name,
            ratios(cpu_us(bench.runs, one, ROUTER), cpu_us(bench.runs, one, BARE)),
            MAX_RATIOS.get(one.name),
        )
        for one in scenarios
    ]
    where = f"{bench.host.processor}, {bench.host.python}, commit {bench.host.commit}"
    return bars("CPU time of the router, as a multiple of the bare proxy's", where, shown)
