"""One way to a new configuration, whoever asks for it: SIGHUP, the admin API, the command line.

The file is read and judged, and the new route table made, in a thread, because that takes tens of
milliseconds for a thousand routes. Then all of it is swapped in on the loop, without a pause, or
nothing is.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bitrouter.config.compare import Changes, Names, compare, needs_restart
from bitrouter.config.schema import Config
from bitrouter.config.settled import read_settled
from bitrouter.errors import ConfigError
from bitrouter.routing.table import RouteTable
from bitrouter.server.services import Services
from bitrouter.server.statedir import utc_now
from bitrouter.state.audit import Actor, Entry

_log: Final = logging.getLogger("bitrouter")

_MAX_NAMES: Final = 20  # in a line of the log


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a reload. `restart_needed` are settings whose value in the file is another than
    the one in use, because only a start applies it.
    """

    status: Literal["ok"] = "ok"
    changes: Changes
    restart_needed: list[str]
    dry_run: Literal[True] | UnsetType = UNSET


class ReloadWatcher:
    """Who wants to know of reloads, whoever asked for them. This one does not."""

    def begins(self) -> None:
        """The configuration is about to be read anew."""

    def ends(self, error: ConfigError | None) -> None:
        """It is in use, or is not because of `error`."""


class _Prepared(msgspec.Struct, frozen=True):
    config: Config
    table: RouteTable
    changes: Changes


class Reloader:
    """Reloads one router.

    `read` reads the configuration anew, in a thread, raising ConfigError. `check` raises it for
    what no file shows; `adopt` makes a configuration and its table the current ones, and raises
    nothing. `watcher` is asked for whoever is to be told.
    """

    def __init__(
        self,
        services: Services,
        read: Callable[[], Config],
        check: Callable[[Config], None],
        adopt: Callable[[Config, RouteTable], None],
        watcher: Callable[[], ReloadWatcher],
    ) -> None:
        self._services = services
        self._read = read
        self._check = check
        self._adopt = adopt
        self._watcher = watcher
        self._started = services.routes.config

    async def reload(
        self, actor: Actor, *, dry_run: bool = False, expect: Callable[[], None] | None = None
    ) -> Reloaded:
        """Read the configuration anew and use it from the next request on: all of it or nothing.

        Reloads follow one another. `expect` raises when its turn comes and things are not as the
        asker has seen them. Raises ConfigError, and the old configuration stays.
        """

        async def change() -> Reloaded:
            if expect is not None:
                expect()
            return await (self._try() if dry_run else self._reload(actor))

        return await self._services.turns.take(change)

    async def _try(self) -> Reloaded:
        prepared = await self._prepared()
        restart_needed = needs_restart(self._started, prepared.config)
        return Reloaded(changes=prepared.changes, restart_needed=restart_needed, dry_run=True)

    async def _reload(self, actor: Actor) -> Reloaded:
        watcher = self._watcher()
        watcher.begins()
        try:
            prepared = await self._prepared()
        except ConfigError as error:
            watcher.ends(error)
            await self._tell_refused(actor, error)
            raise
        except BaseException:  # a fault of ours; whoever was told of the begin must hear the end
            watcher.ends(ConfigError([]))
            self._services.metrics.record_reload("error")
            raise
        self._adopt(prepared.config, prepared.table)
        watcher.ends(None)
        restart_needed = needs_restart(self._started, prepared.config)
        await self._tell_done(actor, prepared.changes, restart_needed)
        return Reloaded(changes=prepared.changes, restart_needed=restart_needed)

    async def _prepared(self) -> _Prepared:
        prepared = await asyncio.to_thread(self._prepare, self._services.routes.config)
        self._check(prepared.config)
        return prepared

    def _prepare(self, old: Config) -> _Prepared:
        config = read_settled(Path(old.path) if old.path else None, self._read)
        return _Prepared(config, self._services.routes.table_for(config), compare(old, config))

    async def _tell_done(self, actor: Actor, changes: Changes, restart_needed: list[str]) -> None:
        self._services.metrics.record_reload("ok")
        said = {"changes": describe(changes)}
        _log.info("the configuration was reloaded", extra={"fields": _fields(actor) | said})
        if restart_needed:
            _log.warning(
                "in the file, and in use only after a restart: %s", ", ".join(restart_needed)
            )
        detail = {"changes": changes, "restart_needed": restart_needed}
        await self._services.audit(_entry(actor, "reload", detail))

    async def _tell_refused(self, actor: Actor, error: ConfigError) -> None:
        self._services.metrics.record_reload("error")
        for problem in error.problems:
            _log.error(
                "the configuration stays as it was: %s",
                problem,
                extra={"fields": _fields(actor)},
            )
        problems = [str(problem) for problem in error.problems[:_MAX_NAMES]]
        await self._services.audit(_entry(actor, "reload refused", {"problems": problems}))


def describe(changes: Changes) -> str:
    """What changed in one line, such as `providers +acme ~openai; keys ~openai`; `none`."""
    parts = [
        f"{what} {marked}"
        for what, names in (("providers", changes.providers), ("models", changes.models))
        if (marked := _marked(names))
    ]
    for what, paths in (("keys of", changes.keys_rotated), ("settings", changes.settings)):
        if paths:
            parts.append(f"{what} {_short(paths)}")
    return "; ".join(parts) or "none"


def _marked(names: Names) -> str:
    marked = [f"+{name}" for name in names.added]
    marked += [f"-{name}" for name in names.removed]
    marked += [f"~{name}" for name in names.changed]
    return _short(marked) if marked else ""


def _short(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return " ".join(names[:_MAX_NAMES]) + more


def _fields(actor: Actor) -> dict[str, str]:
    return {key: value for key, value in msgspec.structs.asdict(actor).items() if value}


def _entry(actor: Actor, action: str, detail: dict[str, Any]) -> Entry:
    return Entry(
        time=utc_now(),
        action=action,
        by=actor.by,
        agent=actor.agent,
        request_id=actor.request_id,
        detail=detail,
    )
