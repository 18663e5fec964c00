"""Routes that were set at run time: what they are, what became of them, and the file of both.

The file has the routes, the number of their version, and the last changes, each with what undoes
it. So an earlier version is found by going back through the changes, and a change costs the file a
line, not a copy of every route.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from bitrouter.config.schema import EndpointEntry, Strategy
from bitrouter.errors import InvalidRequest, NotFound

# In the state directory.
ROUTES_FILE: Final = "routes.json"
MAX_CHANGES: Final = 100

Action = Literal["set", "remove", "rollback"]


class DynamicRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of POST /admin/routes: DynamicRoute of the API document, and a weight."""

    model: str
    endpoints: tuple[EndpointEntry, ...]
    strategy: Strategy = "priority"


Routes = Mapping[str, DynamicRoute]


class Change(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What made `version` out of the one before it.

    `time` is UTC, as 2026-11-23T19:26:42.123Z. `by` is the address of whoever asked, `agent` what
    they said of themselves. `to` is the version that a rollback went back to. `undo` has every
    route that changed as it was before, None for one that was not there.
    """

    version: int
    time: str
    action: Action
    by: str
    agent: str = ""
    request_id: str = ""
    to: int | None = None
    undo: dict[str, DynamicRoute | None]


class History(msgspec.Struct, frozen=True):
    """The version of the dynamic routes, 0 before the first change, and the changes that led to it,
    the oldest first. It never goes back: a rollback is a new version.
    """

    version: int = 0
    changes: tuple[Change, ...] = ()

    def with_change(self, change: Change) -> "History":
        """The history after `change`; the oldest beyond MAX_CHANGES is forgotten."""
        return History(change.version, (*self.changes, change)[-MAX_CHANGES:])

    @property
    def oldest(self) -> int:
        """The oldest version that can be gone back to."""
        return self.changes[0].version - 1 if self.changes else self.version

    def routes_at(self, version: int, routes: Routes) -> dict[str, DynamicRoute]:
        """The routes as they were at `version`, `routes` being those of now.

        Raises NotFound for a version that is not kept, InvalidRequest for that of now.
        """
        if version == self.version:
            raise InvalidRequest(f"the routes are at version {version}")
        if not self.oldest <= version < self.version:
            raise NotFound(
                f"there is no version {version} to go back to; there is"
                f" {_span(self.oldest, self.version - 1)}"
            )
        found = dict(routes)
        for change in reversed(self.changes):
            if change.version == version:
                break
            for name, route in change.undo.items():
                if route is None:
                    found.pop(name, None)
                else:
                    found[name] = route
        return found


def _span(first: int, last: int) -> str:
    if last < first:
        return "none, because nothing was changed yet"
    return str(first) if first == last else f"{first} to {last}"


def undo(before: Routes, after: Routes) -> dict[str, DynamicRoute | None]:
    """What makes `before` out of `after`: see `Change`."""
    return {
        name: before.get(name)
        for name in (*before, *(name for name in after if name not in before))
        if before.get(name) != after.get(name)
    }


class _RouteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    routes: tuple[DynamicRoute, ...]
    version: int = 0
    history: tuple[Change, ...] = ()


def decode_routes(content: bytes) -> tuple[dict[str, DynamicRoute], History]:
    """The routes of a state file, by name, and their history.

    Raises ValueError, saying what is wrong. A file of version 0.1 has no history.
    """
    try:
        file = msgspec.json.decode(content, type=_RouteFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a file of dynamic routes: {error}") from error
    versions = [change.version for change in file.history]
    first = file.version - len(versions) + 1
    if versions != [*range(first, file.version + 1)] or file.version < 0:
        raise ValueError("not a file of dynamic routes: its history has gaps")
    routes = {route.model: route for route in file.routes}
    return routes, History(file.version, file.history)


def encode_routes(routes: Routes, history: History) -> bytes:
    """A state file, readable by people."""
    file = _RouteFile(tuple(routes.values()), history.version, history.changes)
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"
