"""`bitrouter doctor`: find out what keeps the router from serving, and say what to do about it."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bitrouter.cli import examine, livecalls, reach, settling
from bitrouter.cli.finding import Finding, State
from bitrouter.cli.output import Cell, Style, columns, is_coloured
from bitrouter.config.load import find_config_file, load_config, state_dir
from bitrouter.errors import ConfigError
from bitrouter.local.supervisor import with_availability
from bitrouter.protocols import BY_API_PROTOCOL

_STYLES: Final[dict[State, Style]] = {"ok": "good", "warn": "warn", "fail": "bad"}


class _Report(msgspec.Struct, frozen=True):
    """What --json prints. `ok` is false if anything failed."""

    ok: bool
    findings: list[Finding]


def run(given: argparse.Namespace) -> int:
    """Print what was found. Returns 0, 1 if anything failed, 78 if that is the configuration."""
    findings = list(_examine(given))
    failed = [one for one in findings if one.state == "fail"]
    if given.json:
        report = _Report(ok=not failed, findings=findings)
        print(msgspec.json.encode(report).decode())
    else:
        for line in _lines(findings):
            print(line)
    if any(one.check == examine.CONFIGURATION for one in failed):
        return 78
    return 1 if failed else 0


def _examine(given: argparse.Namespace) -> Iterator[Finding]:
    yield from examine.interpreter()
    try:
        path = find_config_file(given.config, os.environ, Path.cwd())
        config = with_availability(load_config(path, os.environ, BY_API_PROTOCOL))
    except ConfigError as error:
        yield from examine.refused(error)
        return
    listen = given.listen or config.server.listen
    yield examine.accepted(config)
    yield from examine.access(config)
    yield from examine.state_directory(state_dir(config, os.environ))
    yield from examine.payment_libraries(config)
    yield examine.descriptors(config.limits.max_concurrent_requests)
    yield from examine.routes(config)
    yield from examine.listeners(config, listen)
    if given.offline:
        return
    yield from asyncio.run(reach.providers(config, given.timeout))
    yield from asyncio.run(settling.facilitator(config))
    if not given.no_live:
        yield from asyncio.run(livecalls.answers(config))


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    rows: list[Sequence[str | Cell]] = [
        [Cell(one.state.upper(), _STYLES[one.state]), one.check, one.said] for one in findings
    ]
    colour = is_coloured(sys.stdout)
    for line, one in zip(columns(rows, colour=colour), findings, strict=True):
        yield line
        if one.advice:
            yield f"      {one.advice}"
    counts = {state: sum(one.state == state for one in findings) for state in _STYLES}
    yield ""
    yield f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} wrong"
