"""The status page: the figures of /metrics and the routes, for a person with a browser.

Made on the server, without a script and without anything from elsewhere. It shows names and
numbers, and no address and no credential of a provider.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final

from aiohttp import web
from msgspec import UNSET, UnsetType

from bitrouter import __version__
from bitrouter.config.schema import Provider
from bitrouter.metrics.snapshot import MetricsSnapshot, RouteSnapshot, build_snapshot
from bitrouter.routing.breaker import State
from bitrouter.routing.table import Route
from bitrouter.server.answers import base_headers
from bitrouter.server.services import Services

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_UNKNOWN: Final = "-"
_STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 62%, transparent); --bad: #c2372e; --good: #2c8a4b; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2.5rem auto; max-width: 68rem;
  padding: 0 1.2rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2.2rem 0 .4rem }
p { color: var(--soft); margin: .2rem 0 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top }
th { font-weight: 600; color: var(--soft); font-size: .85rem; white-space: nowrap }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.wide { overflow-x: auto }
code { font-family: ui-monospace, monospace; font-size: .92em }
.bad { color: var(--bad) } .good { color: var(--good) } .soft { color: var(--soft) }
"""


class Status:
    """Serves the page."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def page(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """The page as it is now; a browser asks again every ten seconds."""
        headers = base_headers(request_id)
        headers.update(_HEADERS)
        return web.Response(text=self._html(), headers=headers, content_type="text/html")

    def _html(self) -> str:
        services = self._services
        snapshot = build_snapshot(services.metrics)
        table = services.routes.current
        unnamed = [name for name in snapshot.routes if name not in table.routes]
        return "".join(
            (
                '<!doctype html><html lang="en"><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width">',
                '<meta http-equiv="refresh" content="10"><title>BitRouter</title>',
                f"<style>{_STYLE}</style>",
                _heading(services, snapshot),
                _routes([*table.routes.values()], unnamed, snapshot, services.state_of),
                _providers(table.providers.values()),
                "</html>",
            )
        )


def _heading(services: Services, snapshot: MetricsSnapshot) -> str:
    state = "draining" if services.draining else "ready"
    return (
        f"<h1>BitRouter {escape(__version__)}</h1>"
        f"<p>{state} · up {_span(snapshot.uptime_seconds)} ·"
        f" {services.metrics.inflight} in flight · {_access(services)}</p>"
        "<p>This page as data: <code>/metrics</code>, <code>/v1/routes</code>,"
        " <code>/v1/models</code>; the API: <code>/openapi.json</code></p>"
    )


def _access(services: Services) -> str:
    if services.seller is not None:
        keys = "a key is needed, or " if services.keys.required else ""
        return f"{keys}calls are paid for by x402"
    return "a key is needed" if services.keys.required else "no key is needed"


def _routes(
    routes: Sequence[Route],
    unnamed: Sequence[str],
    snapshot: MetricsSnapshot,
    states: Callable[[str], State],
) -> str:
    rows = [
        [
            f"<code>{escape(route.name)}</code>",
            f'<span class="soft">{escape(route.source)}</span>',
            "<br>".join(_endpoint(one.key, states(one.key)) for one in route.endpoints),
            *_figures(snapshot.routes.get(route.label)),
        ]
        for route in routes
    ]
    rows += [
        [f"<code>{escape(name)}</code>", "", "", *_figures(snapshot.routes[name])]
        for name in unnamed
    ]
    if not rows:
        return (
            "<h2>Routes</h2><p>None is configured, and nothing was asked for yet. Every model of a"
            " provider below can be asked for as <code>provider:model</code>.</p>"
        )
    names = ["route", "from", "endpoints"]
    numbers = ["requests", "errors", "p50", "p99", "tokens in", "tokens out"]
    return "<h2>Routes</h2>" + _table(names, numbers, rows)


def _endpoint(key: str, state: State) -> str:
    """An endpoint, and its circuit breaker if that is not closed."""
    shown = f"<code>{escape(key)}</code>"
    if state is State.CLOSED:
        return shown
    return f'{shown} <span class="bad">{state.value.replace("_", " ")}</span>'


def _figures(route: RouteSnapshot | None) -> list[str]:
    if route is None:
        return [_UNKNOWN] * 6
    errors = f"{route.error_rate:.1%}"
    return [
        str(route.total_requests),
        f'<span class="bad">{errors}</span>' if route.total_errors else errors,
        _with_unit(route.latency_p50_ms, " ms"),
        _with_unit(route.latency_p99_ms, " ms"),
        _with_unit(route.avg_input_tokens, " avg"),
        _with_unit(route.avg_output_tokens, " avg"),
    ]


def _with_unit(value: int | UnsetType, unit: str) -> str:
    return _UNKNOWN if value is UNSET else f"{value}{unit}"


def _providers(providers: Iterable[Provider]) -> str:
    rows = [
        [
            f"<code>{escape(provider.name)}</code>",
            escape(", ".join(provider.protocols)),
            f'<span class="soft">{escape(provider.unusable)}</span>'
            if provider.unusable
            else '<span class="good">usable</span>',
            str(len(provider.models)),
        ]
        for provider in providers
    ]
    return "<h2>Providers</h2>" + _table(
        ["provider", "protocols", "state"], ["models in the catalogue"], rows
    )


def _table(names: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose last columns, those of `numbers`, stand to the right. Cells are HTML."""
    head = "".join(f"<th>{name}</th>" for name in names)
    head += "".join(f'<th class="number">{name}</th>' for name in numbers)
    body = "".join(f"<tr>{_row(row, len(names))}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _row(cells: Sequence[str], words: int) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells[:words]) + "".join(
        f'<td class="number">{cell}</td>' for cell in cells[words:]
    )


def _span(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
