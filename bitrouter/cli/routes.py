"""`bitrouter routes`: list, add and remove routes of a running router, go back to those of before,
and explain what becomes of requests.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from bitrouter.cli.adminclient import AdminClient, UsageError, decoded, run_asking
from bitrouter.cli.output import Cell, Style, columns, heading, is_coloured
from bitrouter.config.compare import Names
from bitrouter.config.schema import EndpointEntry
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.routing.dynamic import DynamicRoute
from bitrouter.server.explanation import ExplainedClient, ExplainedEndpoint, Explanation

_ROUTES: Final = "/admin/routes"
_EXPLAIN: Final = "/admin/explain"
_HISTORY: Final = "/admin/history"
_ROLLBACK: Final = "/admin/rollback"

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
    unchanged: bool = False
    warnings: tuple[str, ...] = ()
    dry_run: bool = False


class _PastChange(msgspec.Struct, frozen=True):
    version: int
    time: str
    action: str
    by: str
    before: dict[str, DynamicRoute | None]
    agent: str = ""
    to: int | None = None


class _Past(msgspec.Struct, frozen=True):
    version: int
    oldest: int
    changes: tuple[_PastChange, ...]


class _RolledBack(msgspec.Struct, frozen=True):
    to: int
    version: int
    changes: Names
    warnings: tuple[str, ...] = ()
    dry_run: bool = False


def run(given: argparse.Namespace) -> int:
    """Run one action against the router of the configuration; for the exit code see run_asking."""
    return run_asking(given, _ACTIONS[given.action])


def _list(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    answer = client.ask("GET", _ROUTES)
    if given.json:
        return [answer.decode()]
    routes = decoded(answer, _Listed).routes
    if not routes:
        print("no routes; models can be asked for as provider:model_id", file=sys.stderr)
        return []
    rows: list[list[str | Cell]] = [[*heading("MODEL", "SOURCE", "STRATEGY", "ENDPOINTS")]]
    rows += [
        [
            route.model,
            route.source,
            route.strategy or "-",
            Cell(_endpoints(route), _style(route)),
        ]
        for route in routes
    ]
    return columns(rows, colour=is_coloured())


def _style(route: _Route) -> Style:
    if route.note:
        return "soft"
    return "bad" if route.states else "plain"


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
        raise UsageError(f"{len(weights)} weights for {len(given.endpoints)} endpoints")
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
    changed = decoded(answer, _Changed)
    _warn(changed.warnings)
    if changed.unchanged:
        return [f"route {changed.model} was {what} so already"]
    return [f"route {changed.model} {'would be' if changed.dry_run else 'is'} {what}"]


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"bitrouter: {warning}", file=sys.stderr)


def _history(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    answer = client.ask("GET", _HISTORY)
    if given.json:
        return [answer.decode()]
    past = decoded(answer, _Past)
    if not past.changes:
        print("no route was ever set or removed", file=sys.stderr)
        return []
    rows: list[Sequence[str | Cell]] = [heading("VERSION", "TIME", "CHANGE", "ROUTES", "BY")]
    rows += [
        [
            str(change.version),
            change.time,
            change.action if change.to is None else f"{change.action} to {change.to}",
            ", ".join(change.before),
            f"{change.by}  {change.agent}".rstrip(),
        ]
        for change in past.changes
    ]
    return columns(rows, colour=is_coloured())


def _roll_back(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    body = {} if given.version is None else {"version": given.version}
    answer = client.ask("POST", _ROLLBACK, _dry_run(given), body)
    if given.json:
        return [answer.decode()]
    done = decoded(answer, _RolledBack)
    _warn(done.warnings)
    would = "would be" if done.dry_run else "are"
    told = [f"the routes {would} those of version {done.to}"]
    for sign, names in (
        ("+", done.changes.added),
        ("-", done.changes.removed),
        ("~", done.changes.changed),
    ):
        told += [f"  {sign} {name}" for name in names]
    return told


def _explain(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    query = {"model": given.model}
    if given.protocol is not None:
        if given.protocol not in BY_API_PROTOCOL:
            allowed = ", ".join(BY_API_PROTOCOL)
            raise UsageError(f"--protocol: {given.protocol!r}: must be one of {allowed}")
        query["protocol"] = given.protocol
    answer = client.ask("GET", _EXPLAIN, query)
    return [answer.decode()] if given.json else _told(decoded(answer, Explanation))


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
        yield f"{client.protocol} clients{_next(client)}"
        yield from _told_for(client)


def _next(client: ExplainedClient) -> str:
    """Whom the next request asks first, where that is not who stands first."""
    if client.next is None:
        return ": nobody may be asked now"
    first = client.endpoints[0]
    if client.next == f"{first.provider}:{first.model_id}":
        return ""
    return f": the next request asks {client.next} first"


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
    for line, one in zip(columns(rows), client.endpoints, strict=True):
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


_ACTIONS: Final = {
    "list": _list,
    "add": _add,
    "rm": _remove,
    "explain": _explain,
    "history": _history,
    "rollback": _roll_back,
}
