"""`bitrouter status`: how a running router is doing."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from bitrouter.cli.adminclient import AdminClient, decoded, run_asking
from bitrouter.cli.output import Cell, columns, heading, is_coloured, paint, span


class _Provider(msgspec.Struct, frozen=True):
    name: str
    protocols: tuple[str, ...]
    usable: bool
    models: int
    reason: str = ""


class _Endpoint(msgspec.Struct, frozen=True):
    endpoint: str
    state: str
    requests: int
    errors: int
    retry_in_s: float = 0.0


class _Routes(msgspec.Struct, frozen=True):
    configured: int
    dynamic: int
    version: int


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    """RouterStatus of the API document."""

    status: str
    version: str
    uptime_seconds: int
    in_flight: int
    config: str | None
    keys_required: bool
    sells: bool = False
    routes: _Routes
    reloads: dict[str, int]
    providers: tuple[_Provider, ...]
    endpoints: tuple[_Endpoint, ...]


_CLOSED: Final = "closed"


def run(given: argparse.Namespace) -> int:
    """Tell it; for the exit code see run_asking."""
    return run_asking(given, _status)


def _status(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    answer = client.ask("GET", "/admin/status")
    return [answer.decode()] if given.json else _told(decoded(answer, _Status))


def _access(status: _Status) -> str:
    if status.sells:
        return "need a key, or pay by x402" if status.keys_required else "pay by x402"
    return "need a key" if status.keys_required else "need no key"


def _told(status: _Status) -> Iterator[str]:
    colour = is_coloured()
    state = paint(status.status, "good" if status.status == "ready" else "bad", colour=colour)
    yield (
        f"bitrouter {status.version} {state}, up {span(status.uptime_seconds)},"
        f" {status.in_flight} in flight"
    )
    routes, reloads = status.routes, status.reloads
    yield f"configuration  {status.config or 'none'}"
    yield f"routes         {routes.configured} configured, {routes.dynamic} dynamic" + (
        f" at version {routes.version}" if routes.version else ""
    )
    yield f"reloads        {reloads.get('ok', 0)} done, {reloads.get('error', 0)} refused"
    yield f"clients        {_access(status)}"
    yield ""
    yield from columns(_providers(status.providers), colour=colour)
    if status.endpoints:
        yield ""
        yield from columns(_endpoints(status.endpoints), colour=colour)


def _providers(providers: Iterable[_Provider]) -> list[Sequence[str | Cell]]:
    rows: list[Sequence[str | Cell]] = [heading("PROVIDER", "PROTOCOLS", "MODELS", "STATE")]
    for one in providers:
        state = Cell("usable", "good") if one.usable else Cell(one.reason, "soft")
        rows.append([one.name, ", ".join(one.protocols), str(one.models), state])
    return rows


def _endpoints(endpoints: Iterable[_Endpoint]) -> list[Sequence[str | Cell]]:
    rows: list[Sequence[str | Cell]] = [heading("ENDPOINT", "REQUESTS", "ERRORS", "STATE")]
    for one in endpoints:
        share = f"{one.errors / one.requests:.1%}" if one.errors else "0"
        errors = Cell(share, "bad" if one.errors else "plain")
        rows.append([one.endpoint, str(one.requests), errors, _state(one)])
    return rows


def _state(endpoint: _Endpoint) -> Cell:
    if endpoint.state == _CLOSED:
        return Cell("ok", "good")
    wait = f", asked again in {endpoint.retry_in_s:g} s" if endpoint.retry_in_s else ""
    return Cell(endpoint.state.replace("_", " ") + wait, "bad")
