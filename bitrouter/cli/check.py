"""`bitrouter check`: validate the configuration, offline and without secrets."""

import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from bitrouter.config.load import find_config_file, load_config
from bitrouter.config.schema import Config
from bitrouter.errors import ConfigError, Problem
from bitrouter.protocols import CODECS

BAD_CONFIG: Final = 78  # EX_CONFIG of sysexits.h


class ReportedProblem(msgspec.Struct, frozen=True):
    """One problem in the JSON report. `path` is that of the key, as in the text report."""

    file: str
    line: int
    column: int
    path: str
    message: str


class Report(msgspec.Struct, frozen=True):
    """What `check --json` prints. `file` is null when there is no file to check."""

    ok: bool
    file: str | None
    problems: list[ReportedProblem]


def run(config_path: str | None, *, as_json: bool) -> int:
    """Print every problem of the configuration file to stdout; return 0, or 78 if there is one."""
    file: Path | None = None
    problems: tuple[Problem, ...] = ()
    summary = ""
    try:
        file = find_config_file(config_path, os.environ, Path.cwd())
        words = {codec.api_protocol for codec in CODECS}
        summary = _summary(load_config(file, os.environ, words, check_secrets=False))
    except ConfigError as error:
        problems = error.problems
    if as_json:
        sys.stdout.write(_report(file, problems))
    else:
        sys.stdout.writelines(f"{problem}\n" for problem in problems)
        sys.stdout.write("" if problems else f"{summary}\n")
    return BAD_CONFIG if problems else 0


def _summary(config: Config) -> str:
    if config.path is None:
        return "ok: there is no configuration file; the built-in providers apply"
    sold = ", sold by x402" if config.payments.x402.enabled else ""
    return (
        f"ok: {config.path}: {len(config.providers)} providers, {len(config.models)} models{sold}"
    )


def _report(file: Path | None, problems: tuple[Problem, ...]) -> str:
    reported = [ReportedProblem(p.file, p.line, p.column, p.where, p.message) for p in problems]
    report = Report(ok=not problems, file=str(file) if file else None, problems=reported)
    return msgspec.json.encode(report).decode() + "\n"
