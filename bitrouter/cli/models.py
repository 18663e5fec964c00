"""`bitrouter models`: what a running router can be asked for."""

import argparse
import sys
from collections.abc import Iterable, Sequence

import msgspec

from bitrouter.cli.adminclient import AdminClient, decoded, run_asking
from bitrouter.cli.output import Cell, columns, heading, is_coloured


class _Price(msgspec.Struct, frozen=True):
    """USD per million tokens, or USD a call."""

    input: float | None = None
    output: float | None = None
    call: str | None = None


class _Model(msgspec.Struct, frozen=True):
    id: str
    provider: str
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    price: _Price = _Price()


class _Listed(msgspec.Struct, frozen=True):
    data: tuple[_Model, ...]


def run(given: argparse.Namespace) -> int:
    """List them; for the exit code see run_asking."""
    return run_asking(given, _list)


def _list(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    filters = {"id": given.name, "provider": given.provider}
    query = {name: value for name, value in filters.items() if value}
    answer = client.ask("GET", "/admin/models", query)
    if given.json:
        return [answer.decode()]
    models = decoded(answer, _Listed).data
    if not models:
        print("no model matches" if query else "no provider is usable", file=sys.stderr)
        return []
    rows: list[Sequence[str | Cell]] = [
        heading("MODEL", "PROVIDER", "TOKENS IN", "TOKENS OUT", "USD PER MILLION")
    ]
    rows += [
        [
            one.id,
            one.provider,
            _tokens(one.max_input_tokens),
            _tokens(one.max_output_tokens),
            _price(one.price),
        ]
        for one in models
    ]
    return columns(rows, colour=is_coloured())


def _tokens(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _price(price: _Price) -> str:
    if price.call is not None:
        return f"{price.call} a call"
    if price.input is None or price.output is None:
        return "-"
    return f"{price.input:g} in, {price.output:g} out"
