"""`bitrouter routes`: list, add and remove routes of a running router, and explain what it does."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from bitrouter.cli.adminclient import AdminClient, AdminError, read_config
from bitrouter.config.schema import EndpointEntry
from bitrouter.errors import ConfigError
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.routing.state import DynamicRoute
from bitrouter.server.explain import ExplainedClient, ExplainedEndpoint, Explanation

T = TypeVar("T")

FAILURE: Final = 1
BAD_USAGE: Final = 2
BAD_CONFIG: Final = 78  # EX_CONFIG of sysexits.h

_ROUTES: Final = "/admin/routes"
_EXPLAIN: Final = "/admin/explain"

_SOURCES: Final = {
    "config": "of the configuration",
    "dynamic": "set by the admin API",
    "direct": "provider:model_id",
}


class _Endpoint(msgspec.Struct, frozen=True):
    provider: str
    model_id: str
    weight: int = 1


class _Route(msgspec.Struct, frozen=True):
    """AdminRouteListEntry of the API document."""

    model: str
    strategy: str | None
    endpoints: tuple[_Endpoint, ...]
    source: str
    note: str = ""
    states: dict[str, str] = {}


class _Listed(msgspec.Struct, frozen=True):
    routes: tuple[_Route, ...]


class _Changed(msgspec.Struct, frozen=True):
    model: str
    warnings: tuple[str, ...] = ()
    dry_run: bool = False


class _UsageError(Exception):
    """A command line that the parser could not know to be wrong."""


def run(given: argparse.Namespace) -> int:
    """Run one action against the router of the configuration.

    Returns 0, 1 if the router refused or did not answer, 2 for a wrong command line, 78 for a bad
    file.
    """
    try:
        client = AdminClient(read_config(given.config), given.listen)
        for line in _act(given, client):
            print(line)
    except _UsageError as error:
        print(f"bitrouter routes {given.action}: {error}", file=sys.stderr)
        return BAD_USAGE
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG
    except AdminError as error:
        print(f"bitrouter: {error}", file=sys.stderr)
        return FAILURE
    return 0


def _act(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    """The lines to print."""
    match given.action:
        case "add":
            return _add(given, client)
        case "rm":
            return _remove(given, client)
        case "explain":
            return _explain(given, client)
        case _:
            return _list(given, client)


def _list(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    answer = client.ask("GET", _ROUTES)
    if given.json:
        return [answer.decode()]
    routes = _decoded(answer, _Listed).routes
    if not routes:
        print("no routes; models can be asked for as provider:model_id", file=sys.stderr)
        return []
    rows = [("MODEL", "SOURCE", "STRATEGY", "ENDPOINTS")]
    rows += [
        (route.model, route.source, route.strategy or "-", _endpoints(route)) for route in routes
    ]
    return _columns(rows)


def _endpoints(route: _Route) -> str:
    told = []
    for one in route.endpoints:
        key = f"{one.provider}:{one.model_id}"
        state = route.states.get(key, "").replace("_", " ")
        weight = f" x{one.weight}" if one.weight > 1 else ""
        told.append(key + weight + (f" [{state}]" if state else ""))
    return ", ".join(told) + (f"  ({route.note})" if route.note else "")


def _add(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    weights = given.weights or [1] * len(given.endpoints)
    if len(weights) != len(given.endpoints):
        raise _UsageError(f"{len(weights)} weights for {len(given.endpoints)} endpoints")
    endpoints = tuple(
        EndpointEntry(provider, model_id, weight)
        for (provider, model_id), weight in zip(given.endpoints, weights, strict=True)
    )
    route = DynamicRoute(given.model, endpoints, given.strategy)
    return _changed(given, client.ask("POST", _ROUTES, _dry_run(given), route), "set")


def _remove(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    path = f"{_ROUTES}/{quote(given.model, safe='')}"
    return _changed(given, client.ask("DELETE", path, _dry_run(given)), "removed")


def _dry_run(given: argparse.Namespace) -> dict[str, str] | None:
    return {"dry_run": "1"} if given.dry_run else None


def _changed(given: argparse.Namespace, answer: bytes, what: str) -> Iterable[str]:
    if given.json:
        return [answer.decode()]
    changed = _decoded(answer, _Changed)
    for warning in changed.warnings:
        print(f"bitrouter: {warning}", file=sys.stderr)
    return [f"route {changed.model} {'would be' if changed.dry_run else 'is'} {what}"]


def _explain(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    query = {"model": given.model}
    if given.protocol is not None:
        if given.protocol not in BY_API_PROTOCOL:
            allowed = ", ".join(BY_API_PROTOCOL)
            raise _UsageError(f"--protocol: {given.protocol!r}: must be one of {allowed}")
        query["protocol"] = given.protocol
    answer = client.ask("GET", _EXPLAIN, query)
    return [answer.decode()] if given.json else _told(_decoded(answer, Explanation))


def _told(explanation: Explanation) -> Iterator[str]:
    """The explanation for people."""
    kind = "wildcard" if explanation.wildcard else "route"
    what = "" if explanation.source == "direct" else f"{kind} "
    yield f"{explanation.model}: {what}{explanation.route}, {_SOURCES[explanation.source]}"
    if explanation.shadows:
        yield "  the route of this name in the configuration is out of use meanwhile"
    if any(len(client.endpoints) > 1 for client in explanation.clients):
        yield f"  {explanation.strategy}; at most {explanation.max_attempts} attempts"
    for client in explanation.clients:
        yield ""
        yield f"{client.protocol} clients"
        yield from _told_for(client)


def _told_for(client: ExplainedClient) -> Iterator[str]:
    order = iter(range(1, len(client.endpoints) + 1))
    rows = [
        (
            f"  {next(order)}." if one.usable else "  -",
            f"{one.provider}:{one.model_id}",
            _manner(one),
            one.reason,
        )
        for one in client.endpoints
    ]
    for line, one in zip(_columns(rows), client.endpoints, strict=True):
        yield line
        if one.usable and one.traits:
            known = ", ".join(f"{name}={_plain(value)}" for name, value in one.traits.items())
            yield f"       with {known}"


def _manner(endpoint: ExplainedEndpoint) -> str:
    """How it is asked, in few words."""
    if not endpoint.usable:
        return "not asked"
    manner = "pass through" if endpoint.native else f"translate to {endpoint.protocol}"
    if isinstance(endpoint.share, float):
        manner += f", first for {endpoint.share:.0%}"
    if isinstance(endpoint.state, str):
        manner += f", now {endpoint.state.replace('_', ' ')}"
    return manner


def _plain(value: object) -> str:
    """A trait's value as one would write it in a rule."""
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows with their cells below one another."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _decoded(answer: bytes, wanted: type[T]) -> T:
    try:
        return msgspec.json.decode(answer, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AdminError(f"the router's answer is not understood: {error}") from error
