"""Changing routes and configuration while requests run.

Changes follow one another. Each is checked, made durable, applied and answered, in this order: when
the answer is there the next request sees the change, and a change that is refused changes nothing.
"""

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Literal, Protocol

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from bitrouter.config.compare import Names, compare_names
from bitrouter.config.schema import Config
from bitrouter.errors import (
    ConfigError,
    PreconditionFailed,
    RouterError,
    ServiceUnavailable,
)
from bitrouter.routing.dynamic import Action, Change, DynamicRoute, Routes, undo
from bitrouter.routing.table import nearest, nearest_in_words
from bitrouter.server.adminbody import decode_rollback, decode_route, is_dry_run, read_body
from bitrouter.server.answers import json_answer
from bitrouter.server.discovery import decode_name
from bitrouter.server.explain import explain, read_question
from bitrouter.server.guard import actor, refusal
from bitrouter.server.reload import Reloaded
from bitrouter.server.routeviews import route_views
from bitrouter.server.services import Services
from bitrouter.server.statedir import utc_now
from bitrouter.state.audit import Actor, Entry

_log: Final = logging.getLogger("bitrouter")

_TAG: Final = re.compile(r'(?<!W/)"[^"]*"')


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a change of one route. `version` is that of the dynamic routes after it;
    `unchanged` says that the route was so already, `dry_run` that the change was not made.
    """

    status: Literal["ok"] = "ok"
    model: str
    version: int
    removed: Literal[True] | UnsetType = UNSET
    unchanged: Literal[True] | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET
    dry_run: Literal[True] | UnsetType = UNSET


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a rollback: the routes are those of version `to` again, as a new `version`."""

    status: Literal["ok"] = "ok"
    to: int
    version: int
    changes: Names
    warnings: list[str] | UnsetType = UNSET
    dry_run: Literal[True] | UnsetType = UNSET


class PastChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the dynamic routes. `before` has every route that it changed as it was, null
    for one that was not there.
    """

    version: int
    time: str
    action: Action
    by: str
    agent: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    to: int | UnsetType = UNSET
    before: dict[str, DynamicRoute | None]


class Reload(Protocol):
    """See Router.reload."""

    async def __call__(
        self, actor: Actor, *, dry_run: bool = False, expect: Callable[[], None] | None = None
    ) -> Reloaded:
        """Reload. Raises ConfigError, and whatever `expect` raises."""


class Admin:
    """The admin API. `reload` reads the configuration anew."""

    def __init__(self, services: Services, reload: Reload) -> None:
        self._services = services
        self._reload = reload
        # The state's version begins anew with every start; a tag must not.
        self._start_id = secrets.token_hex(4)

    async def list_routes(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Every route: the dynamic ones, then those of the configuration."""
        if refused := self._guard(request, request_id):
            return refused
        views = route_views(self._services.routes, self._services.state_of)
        body = {"routes": list(views), "version": self._services.history.version}
        return self._tagged(request_id, body)

    async def explain(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """How a model's name resolves, and what becomes of requests for it."""
        if refused := self._guard(request, request_id):
            return refused
        query = request.rel_url.query
        name, codecs = read_question(query.getall("model", []), query.getall("protocol", []))
        return self._tagged(request_id, explain(self._services, name, codecs))

    async def history(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """The last changes of the dynamic routes, the newest first."""
        if refused := self._guard(request, request_id):
            return refused
        history = self._services.history
        changes = [_past(change) for change in reversed(history.changes)]
        body = {"version": history.version, "oldest": history.oldest, "changes": changes}
        return self._tagged(request_id, body)

    async def set_route(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Create a dynamic route, or replace the one of that name."""
        if refused := self._guard(request, request_id):
            return refused
        route = decode_route(await read_body(request))
        dry_run = is_dry_run(request)
        who = actor(request, request_id)

        async def change() -> Changed:
            state = self._services.routes
            routes = state.with_route(route)
            is_new = state.dynamic.get(route.model) != route
            if is_new and not dry_run:
                await self._make("set", routes, who, route.model)
            return Changed(
                model=route.model,
                version=self._services.history.version,
                unchanged=UNSET if is_new else True,
                warnings=list(_warnings(route, state.config)) or UNSET,
                dry_run=_flag(dry_run),
            )

        return self._tagged(request_id, await self._in_turn(request, change))

    async def remove_route(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Remove a dynamic route. A configured one of the same name comes to light."""
        if refused := self._guard(request, request_id):
            return refused
        name = decode_name(rest)
        dry_run = is_dry_run(request)
        who = actor(request, request_id)

        async def change() -> Changed:
            routes = self._services.routes.without_route(name)
            if not dry_run:
                await self._make("remove", routes, who, name)
            version = self._services.history.version
            return Changed(model=name, version=version, removed=True, dry_run=_flag(dry_run))

        return self._tagged(request_id, await self._in_turn(request, change))

    async def roll_back(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Make the dynamic routes what they were at an earlier version: before the last change,
        unless the body says which.
        """
        if refused := self._guard(request, request_id):
            return refused
        wanted = decode_rollback(await read_body(request))
        dry_run = is_dry_run(request)
        who = actor(request, request_id)

        async def change() -> RolledBack:
            services = self._services
            history, before = services.history, services.routes.dynamic
            to = history.version - 1 if wanted is None else wanted
            routes = history.routes_at(to, before)
            changes = compare_names(before, routes)
            if not dry_run:
                await self._make("rollback", routes, who, to=to)
            changed = [routes[name] for name in (*changes.added, *changes.changed)]
            config = services.routes.config
            warnings = [text for route in changed for text in _warnings(route, config)]
            return RolledBack(
                to=to,
                version=services.history.version,
                changes=changes,
                warnings=warnings or UNSET,
                dry_run=_flag(dry_run),
            )

        return self._tagged(request_id, await self._in_turn(request, change))

    async def reload(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Read the configuration anew: all of it or nothing."""
        if refused := self._guard(request, request_id):
            return refused
        try:
            done = await self._reload(
                actor(request, request_id),
                dry_run=is_dry_run(request),
                expect=lambda: self._check_version(request),
            )
        except ConfigError as error:
            return _config_problems(error, request_id)
        return self._tagged(request_id, done)

    def _guard(self, request: web.BaseRequest, request_id: str) -> web.Response | None:
        return refusal(request, request_id, self._services.routes.config.server.admin_token)

    async def _in_turn(self, request: web.BaseRequest, change: Callable[[], Awaitable[Any]]) -> Any:
        """Run a change alone, if the routes are at the version that the client has seen."""

        async def run() -> Any:
            self._check_version(request)
            return await change()

        return await self._services.turns.take(run)

    async def _make(
        self, action: Action, routes: Routes, who: Actor, model: str = "", to: int | None = None
    ) -> None:
        """Make a change durable, apply it, and tell of it. Raises ServiceUnavailable, with nothing
        changed, when it cannot be saved.
        """
        services = self._services
        before = services.routes.dynamic
        change = Change(
            version=services.history.version + 1,
            time=utc_now(),
            action=action,
            by=who.by,
            agent=who.agent,
            request_id=who.request_id,
            to=to,
            undo=undo(before, routes),
        )
        history = services.history.with_change(change)
        try:
            await services.save_dynamic(routes, history)
        except OSError as error:
            _log.error("the dynamic routes could not be saved: %s", error)
            raise ServiceUnavailable(
                f"the change could not be saved ({error.strerror or 'I/O error'}),"
                " so it was not made"
            ) from error
        table = services.routes.current
        services.routes.apply_dynamic(routes)
        services.history = history
        if any(route is not None for route in change.undo.values()):
            services.forget_unrouted(table)
        await self._tell(change, routes, model)

    async def _tell(self, change: Change, routes: Routes, model: str) -> None:
        """One line in the log and one in the audit file."""
        detail: dict[str, Any] = {}
        if change.action == "set":
            route = routes[model]
            endpoints = ", ".join(f"{one.provider}:{one.model_id}" for one in route.endpoints)
            detail = {"endpoints": endpoints, "strategy": route.strategy}
        elif change.to is not None:
            detail = {"to": change.to, "routes": [*change.undo]}
        fields: dict[str, Any] = {
            "by": change.by,
            "agent": change.agent,
            "request_id": change.request_id,
            "version": change.version,
            "route": model,
            **detail,
        }
        shown = {key: value for key, value in fields.items() if value != ""}
        _log.info("admin: %s", _DONE[change.action], extra={"fields": shown})
        await self._services.audit(
            Entry(
                time=change.time,
                action=change.action,
                by=change.by,
                agent=change.agent,
                request_id=change.request_id,
                version=change.version,
                route=model,
                detail=detail,
            )
        )

    def _check_version(self, request: web.BaseRequest) -> None:
        """Honour If-Match (RFC 9110, section 13.1.1)."""
        wanted = request.headers.getall("If-Match", [])
        if not wanted or "*" in (text.strip() for text in wanted):
            return
        if self._tag not in _TAG.findall(",".join(wanted)):
            raise PreconditionFailed(
                f"the routes have changed: they are at {self._tag}, GET /admin/routes lists them"
            )

    @property
    def _tag(self) -> str:
        return f'"{self._start_id}-{self._services.routes.version}"'

    def _tagged(self, request_id: str, body: Any) -> web.Response:
        return json_answer(request_id, body, headers={"ETag": self._tag})


_DONE: Final[dict[Action, str]] = {
    "set": "route set",
    "remove": "route removed",
    "rollback": "routes rolled back",
}


def _flag(value: bool) -> Literal[True] | UnsetType:
    return True if value else UNSET


def _past(change: Change) -> PastChange:
    return PastChange(
        version=change.version,
        time=change.time,
        action=change.action,
        by=change.by,
        agent=change.agent or UNSET,
        request_id=change.request_id or UNSET,
        to=UNSET if change.to is None else change.to,
        before=change.undo,
    )


def _warnings(route: DynamicRoute, config: Config) -> Iterator[str]:
    """What is allowed, and may not be what was meant."""
    for number, endpoint in enumerate(route.endpoints):
        where = f"endpoints[{number}]"
        provider = config.providers.get(endpoint.provider)
        if provider is None:  # of an earlier version; a route that is set now is refused
            yield f"route {route.model!r} is out of use: no provider {endpoint.provider!r}"
        elif provider.unusable is not None:
            yield f"{where}: provider {provider.name!r} is not usable: {provider.unusable}"
        elif near := _likely_meant(endpoint.model_id, provider.models):
            yield (
                f"{where}: {endpoint.model_id!r} is not in the catalogue of {provider.name!r};"
                f" {nearest_in_words(near)}"
            )
    if route.model in config.models:
        yield "the route of this name in the configuration is out of use meanwhile"


def _likely_meant(model_id: str, models: Any) -> list[str]:
    if not models or model_id in models or "*" in model_id:
        return []
    return nearest(model_id, models)


class _ProblemView(msgspec.Struct, frozen=True):
    file: str
    line: int
    column: int
    path: str
    message: str


def _config_problems(error: ConfigError, request_id: str) -> web.Response:
    """The API document's Error, and each problem by itself."""
    problems = [
        _ProblemView(one.file, one.line, one.column, one.where, one.message)
        for one in error.problems
    ]
    return json_answer(
        request_id,
        {
            "error": {
                "message": f"the configuration stays as it was: {error}",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_config",
                "problems": problems,
            }
        },
        status=400,
        headers={"x-bitrouter-error-source": RouterError.source},
    )
