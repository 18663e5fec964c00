"""`bitrouter reload`: have a running router read its configuration anew, and print what changed."""

import argparse
from collections.abc import Iterable, Iterator

import msgspec

from bitrouter.cli.adminclient import AdminClient, decoded, run_asking
from bitrouter.cli.output import Style, is_coloured, paint
from bitrouter.config.compare import Changes, Names


class _Reloaded(msgspec.Struct, frozen=True):
    changes: Changes
    restart_needed: tuple[str, ...]
    dry_run: bool = False


def run(given: argparse.Namespace) -> int:
    """Reload; for the exit code see run_asking. 78 too when the router refuses its file."""
    return run_asking(given, _reload)


def _reload(given: argparse.Namespace, client: AdminClient) -> Iterable[str]:
    query = {"dry_run": "1"} if given.dry_run else None
    answer = client.ask("POST", "/admin/reload", query, {})
    return [answer.decode()] if given.json else _told(decoded(answer, _Reloaded))


def _told(done: _Reloaded) -> Iterator[str]:
    """What changed, for people."""
    changes = done.changes
    yield "the configuration " + ("can be loaded" if done.dry_run else "was reloaded")
    if not changes:
        yield "  nothing has changed"
    yield from _names("provider", changes.providers, set(changes.keys_rotated))
    yield from _names("model", changes.models, set())
    for path in changes.settings:
        yield _line("~", f"setting {path}", "warn")
    for path in done.restart_needed:
        yield _line("!", f"{path}: only a restart applies it", "bad")


def _names(what: str, names: Names, rotated: set[str]) -> Iterator[str]:
    for name in names.added:
        yield _line("+", f"{what} {name}", "good")
    for name in names.removed:
        yield _line("-", f"{what} {name}", "bad")
    for name in names.changed:
        yield _line("~", f"{what} {name}{', another key' if name in rotated else ''}", "warn")


def _line(sign: str, text: str, style: Style) -> str:
    return f"  {paint(sign, style, colour=is_coloured())} {text}"
