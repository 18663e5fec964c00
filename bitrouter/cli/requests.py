"""`bitrouter requests`: what a running router has answered last."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bitrouter.cli.adminclient import AdminClient, decoded, run_asking
from bitrouter.cli.output import Cell, Style, columns, heading, is_coloured
from bitrouter.log.text import plain


class _Request(msgspec.Struct, frozen=True):
    """EndedRequest of the API document, as far as it is shown."""

    time: str
    request_id: str
    outcome: str
    status: int
    attempts: int
    duration_ms: float
    route: str = ""
    provider: str = ""
    model: str = ""
    ttft_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str = ""


class _Listed(msgspec.Struct, frozen=True):
    requests: tuple[_Request, ...]


_STYLES: Final[dict[str, Style]] = {"ok": "good", "client_gone": "soft", "client_error": "warn"}
_UNKNOWN: Final = "-"


def run(given: argparse.Namespace) -> int:
    """List them; for the exit code see run_asking."""
    return run_asking(given, _list)


def _list(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    filters = {"route": given.route, "outcome": given.outcome, "limit": given.limit}
    query = {name: str(value) for name, value in filters.items() if value is not None}
    answer = client.ask("GET", "/admin/requests", query)
    if given.json:
        return [answer.decode()]
    requests = decoded(answer, _Listed).requests
    if not requests:
        print("there is none", file=sys.stderr)
        return []
    rows: list[Sequence[str | Cell]] = [
        heading("TIME", "ROUTE", "ENDPOINT", "TRIES", "STATUS", "OUTCOME", "FIRST", "ALL")
        + heading("TOKENS", "ID", "")
    ]
    return columns(rows + [_row(one) for one in requests], colour=is_coloured())


def _row(one: _Request) -> Sequence[str | Cell]:
    # Names are what clients made them: they must not give a terminal orders.
    endpoint = f"{one.provider}:{one.model}" if one.provider else _UNKNOWN
    return [
        one.time.partition("T")[2].removesuffix("Z"),
        plain(one.route or _UNKNOWN),
        plain(endpoint),
        str(one.attempts),
        str(one.status or _UNKNOWN),
        Cell(one.outcome, _STYLES.get(one.outcome, "bad")),
        _seconds(one.ttft_ms),
        _seconds(one.duration_ms),
        _tokens(one.input_tokens, one.output_tokens),
        one.request_id,
        Cell(plain(one.error), "soft"),
    ]


def _seconds(milliseconds: float | None) -> str:
    return _UNKNOWN if milliseconds is None else f"{milliseconds / 1e3:.2f} s"


def _tokens(given: int | None, made: int | None) -> str:
    if given is None and made is None:
        return _UNKNOWN
    return f"{_UNKNOWN if given is None else given}+{_UNKNOWN if made is None else made}"
