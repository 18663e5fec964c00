"""Changing routes and configuration while requests run.

Changes follow one another. Each is checked, made durable, applied and answered, in this order: when
the answer is there the next request sees the change, and a change that is refused changes nothing.
"""

import asyncio
import hmac
import ipaddress
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from bitrouter.config.schema import Config, EndpointEntry, Strategy
from bitrouter.envelope import locate, split_fields
from bitrouter.errors import (
    BodyTooLarge,
    ConfigError,
    Forbidden,
    InvalidRequest,
    PreconditionFailed,
    RouterError,
    ServiceUnavailable,
    Unauthorized,
    UnsupportedMediaType,
)
from bitrouter.protocols import CODECS
from bitrouter.routing.breaker import State
from bitrouter.routing.state import DynamicRoute, RouteState
from bitrouter.server.answers import error_answer, json_answer
from bitrouter.server.body import read_json_body
from bitrouter.server.discovery import decode_name
from bitrouter.server.explain import States, explain, read_question
from bitrouter.server.services import Services

_log: Final = logging.getLogger("bitrouter")

T = TypeVar("T")

MAX_BODY_BYTES: Final = 1 << 20


class EndpointView(msgspec.Struct, frozen=True):
    """RouteEndpoint of the API document; a weight only where it is not 1."""

    provider: str
    model_id: str
    weight: int | UnsetType = UNSET


class RouteView(msgspec.Struct, frozen=True, kw_only=True):
    """AdminRouteListEntry of the API document. `note` says why a route is not in use; `states` are
    those of the circuit breakers that are not closed, by `provider:model_id`.
    """

    model: str
    strategy: Strategy | None
    endpoints: tuple[EndpointView, ...]
    source: Literal["config", "dynamic"]
    note: str | UnsetType = UNSET
    states: dict[str, str] | UnsetType = UNSET


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a change of one route. `dry_run` when it was not made."""

    status: Literal["ok"] = "ok"
    model: str
    removed: Literal[True] | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET
    dry_run: Literal[True] | UnsetType = UNSET


class Names(msgspec.Struct, frozen=True):
    """What differs between two mappings. Names alone, because values can be secret."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Changes(msgspec.Struct, frozen=True):
    """What differs between two configurations; `settings` are the other top-level sections."""

    providers: Names
    models: Names
    settings: list[str]


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a reload. `restart_needed` are changed settings that only a start applies."""

    status: Literal["ok"] = "ok"
    changes: Changes
    restart_needed: list[str]
    dry_run: Literal[True] | UnsetType = UNSET


class Admin:
    """The admin API. One object serves all its paths, so that one lock covers all changes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Future[Any]] = set()
        # The state's version begins anew with every start; a tag must not.
        self._start_id = secrets.token_hex(4)

    async def list_routes(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Every route: the dynamic ones, then those of the configuration."""
        if refusal := self._guard(request, request_id):
            return refusal
        views = _route_views(self._services.routes, self._services.state_of)
        return self._tagged(request_id, {"routes": list(views)})

    async def explain(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """How a model's name resolves, and what becomes of requests for it."""
        if refusal := self._guard(request, request_id):
            return refusal
        query = request.rel_url.query
        name, codecs = read_question(query.getall("model", []), query.getall("protocol", []))
        state = self._services.routes
        told = explain(state.current, state.config, self._services.state_of, name, codecs)
        return self._tagged(request_id, told)

    async def set_route(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Create a dynamic route, or replace the one of that name."""
        if refusal := self._guard(request, request_id):
            return refusal
        route = decode_route(await _read_body(request))
        dry_run = _is_dry_run(request)

        async def change() -> Changed:
            state = self._services.routes
            dynamic = state.with_route(route)
            warnings = _warnings(route, state.config)
            if not dry_run:
                await self._save_and_apply(dynamic)
                endpoints = ", ".join(f"{e.provider}:{e.model_id}" for e in route.endpoints)
                _log_change("route set", request, request_id, route.model, endpoints=endpoints)
            return Changed(
                model=route.model,
                warnings=warnings or UNSET,
                dry_run=True if dry_run else UNSET,
            )

        return self._tagged(request_id, await self._in_turn(request, change))

    async def remove_route(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Remove a dynamic route. A configured one of the same name comes to light."""
        if refusal := self._guard(request, request_id):
            return refusal
        name = decode_name(rest)
        dry_run = _is_dry_run(request)

        async def change() -> Changed:
            dynamic = self._services.routes.without_route(name)
            if not dry_run:
                before = self._services.routes.current
                await self._save_and_apply(dynamic)
                self._services.forget_unrouted(before)
                _log_change("route removed", request, request_id, name)
            return Changed(model=name, removed=True, dry_run=True if dry_run else UNSET)

        return self._tagged(request_id, await self._in_turn(request, change))

    async def reload(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Read the configuration anew: all of it or nothing."""
        if refusal := self._guard(request, request_id):
            return refusal
        dry_run = _is_dry_run(request)

        async def change() -> Reloaded:
            services = self._services
            old = services.routes.config
            new = services.load_config()
            if not dry_run:
                services.adopt_config(new)
                services.metrics.record_reload("ok")
                _log_change("configuration reloaded", request, request_id)
            return Reloaded(
                changes=_changes(old, new),
                restart_needed=_restart_needed(old, new),
                dry_run=True if dry_run else UNSET,
            )

        try:
            return self._tagged(request_id, await self._in_turn(request, change))
        except ConfigError as error:
            if not dry_run:
                self._services.metrics.record_reload("error")
                _log_change("configuration refused", request, request_id)
            return _config_problems(error, request_id)

    def _guard(self, request: web.BaseRequest, request_id: str) -> web.Response | None:
        """The answer to somebody who may not be here, None for everybody else."""
        token = self._services.routes.config.server.admin_token
        if not token:
            check_local(request)
            return None
        if _presents(request, token.reveal()):
            return None
        error = Unauthorized("the admin token is required, as Authorization: Bearer TOKEN")
        answer = error_answer(CODECS[0], error, request_id)
        answer.headers["WWW-Authenticate"] = 'Bearer realm="bitrouter admin"'
        return answer

    async def _in_turn(self, request: web.BaseRequest, change: Callable[[], Awaitable[T]]) -> T:
        """Run a change alone, if the routes are at the version that the client has seen.

        Once begun it is finished, even if the client does not wait: what is on disk and what is
        in use must not part.
        """

        async def run() -> T:
            async with self._lock:
                self._check_version(request)
                return await change()

        running = asyncio.ensure_future(run())
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)

    async def _save_and_apply(self, dynamic: Mapping[str, DynamicRoute]) -> None:
        try:
            await self._services.save_dynamic(dynamic)
        except OSError as error:
            _log.error("the dynamic routes could not be saved: %s", error)
            raise ServiceUnavailable(
                f"the change could not be saved ({error.strerror or 'I/O error'}),"
                " so it was not made"
            ) from error
        self._services.routes.apply_dynamic(dynamic)

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


# -- who may be here ------------------------------------------------------------------------

_PROXY_HEADERS: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
_HOST: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?"
)


def check_local(request: web.BaseRequest) -> None:
    """Let somebody on this machine in, where no token is set. Raises Forbidden.

    The connection must have come to a loopback address or a Unix socket. That alone would also let
    in what a proxy on this machine passes on, a page that had its own name resolve to 127.0.0.1
    (DNS rebinding), and forms on other sites; their requests give themselves away.
    """
    where = "without server.admin_token the admin API answers on this machine alone"
    how = "set server.admin_token"
    if not _is_local(request):
        raise Forbidden(f"{where}; {how}")
    if any(name in request.headers for name in _PROXY_HEADERS):
        raise Forbidden(f"{where}, and this request came through a proxy; {how}")
    host = request.headers.get("Host", "")
    if not _is_loopback_name(host):
        raise Forbidden(f"{where}, under a name such as localhost or 127.0.0.1; {how}")
    origin = request.headers.get("Origin")
    if origin is not None and _authority(origin) != host.lower():
        raise Forbidden(f"{where}, and not for pages of other origins; {how}")


def _is_local(request: web.BaseRequest) -> bool:
    """Whether the address that the client connected to is loopback or a Unix socket."""
    transport = request.transport
    if transport is None:
        return False
    name = transport.get_extra_info("sockname")
    if isinstance(name, tuple):
        return _is_loopback_address(name[0])
    return isinstance(name, str | bytes)  # the path of a Unix socket


def _is_loopback_name(host: str) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["v6"] or match["name"]
    return name.lower() == "localhost" or _is_loopback_address(name)


def _is_loopback_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _authority(origin: str) -> str | None:
    """Host and port of an origin; None for `null` and for what is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _presents(request: web.BaseRequest, token: str) -> bool:
    """Whether the request has the token. Compared whole, so that time tells nothing."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode(errors="surrogateescape"), token.encode(errors="surrogateescape")
    )


# -- reading a change -----------------------------------------------------------------------

_TAG: Final = re.compile(r'(?<!W/)"[^"]*"')
_route: Final = msgspec.json.Decoder(DynamicRoute)
_FLAGS: Final = {"1": True, "true": True, "0": False, "false": False}


async def _read_body(request: web.BaseRequest) -> bytes:
    """The body, which must say that it is JSON: a form on another site cannot."""
    if "Content-Type" not in request.headers:
        raise UnsupportedMediaType("Content-Type must be application/json")
    try:
        return await read_json_body(request, MAX_BODY_BYTES)
    except BodyTooLarge as error:
        raise BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes") from error


def decode_route(body: bytes) -> DynamicRoute:
    """The route in a body. Raises InvalidRequest, with the place, and what is allowed there."""
    locate(body, split_fields(body))  # finds duplicate keys, of which the decoder takes the last
    try:
        return _route.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_explain(str(error))) from error


def _explain(problem: str) -> str:
    """The decoder's words, and for an unknown field or value those that there are."""
    if "enum value" in problem:
        return f"{problem}; allowed: {', '.join(get_args(Strategy))}"
    if "unknown field" not in problem:
        return problem
    struct = EndpointEntry if "$.endpoints" in problem else DynamicRoute
    return f"{problem}; allowed: {', '.join(struct.__struct_fields__)}"


def _is_dry_run(request: web.BaseRequest) -> bool:
    given = request.rel_url.query.getall("dry_run", ["0"])
    flag = _FLAGS.get(given[0]) if len(given) == 1 else None
    if flag is None:
        raise InvalidRequest("dry_run must be 1 or 0")
    return flag


def _warnings(route: DynamicRoute, config: Config) -> list[str]:
    """What is allowed, and may not be what was meant."""
    warnings = [
        f"endpoints[{number}]: provider {endpoint.provider!r} is not usable:"
        f" {config.providers[endpoint.provider].unusable}"
        for number, endpoint in enumerate(route.endpoints)
        if config.providers[endpoint.provider].unusable is not None
    ]
    if route.model in config.models:
        warnings.append("the route of this name in the configuration is out of use meanwhile")
    return warnings


# -- answering ------------------------------------------------------------------------------


def _route_views(state: RouteState, states: States) -> Iterable[RouteView]:
    providers = state.config.providers
    for route in state.dynamic.values():
        gone = [one.provider for one in route.endpoints if one.provider not in providers]
        yield RouteView(
            model=route.model,
            strategy=route.strategy,
            endpoints=_endpoint_views(route.endpoints),
            source="dynamic",
            note=f"out of use: there is no provider {gone[0]!r}" if gone else UNSET,
            states=_troubled(route.endpoints, states) or UNSET,
        )
    for name, entry in state.config.models.items():
        shadow = state.current.routes[name].source == "dynamic"
        yield RouteView(
            model=name,
            strategy=None,
            endpoints=_endpoint_views(entry.endpoints),
            source="config",
            note="out of use: there is a dynamic route of this name" if shadow else UNSET,
            states=_troubled(entry.endpoints, states) or UNSET,
        )


def _troubled(endpoints: Iterable[EndpointEntry], states: States) -> dict[str, str]:
    """The states of the circuit breakers that are not closed."""
    found = {(key := f"{one.provider}:{one.model_id}"): states(key) for one in endpoints}
    return {key: state.value for key, state in found.items() if state is not State.CLOSED}


def _endpoint_views(endpoints: Iterable[EndpointEntry]) -> tuple[EndpointView, ...]:
    return tuple(
        EndpointView(one.provider, one.model_id, one.weight if one.weight != 1 else UNSET)
        for one in endpoints
    )


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


def _changes(old: Config, new: Config) -> Changes:
    names = [name for name in Config.__struct_fields__ if name not in _NOT_SETTINGS]
    return Changes(
        providers=_names(old.providers, new.providers),
        models=_names(old.models, new.models),
        settings=[name for name in names if getattr(old, name) != getattr(new, name)],
    )


_NOT_SETTINGS: Final = frozenset({"path", "providers", "models"})

# Read when the listeners, the connections to providers and the state directory are made.
_AT_START: Final = (
    "server.listen",
    "server.admin_listen",
    "server.state_dir",
    "limits.max_header_bytes",
    "timeouts.keepalive",
)


def _restart_needed(old: Config, new: Config) -> list[str]:
    return [path for path in _AT_START if _setting(old, path) != _setting(new, path)]


def _setting(config: Config, path: str) -> object:
    section, _, name = path.partition(".")
    return getattr(getattr(config, section), name)


def _names(old: Mapping[str, object], new: Mapping[str, object]) -> Names:
    return Names(
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        changed=[name for name in new if name in old and new[name] != old[name]],
    )


def _log_change(
    what: str, request: web.BaseRequest, request_id: str, model: str | None = None, **more: str
) -> None:
    fields = {"by": request.remote or "unix socket", "request_id": request_id}
    if model is not None:
        fields["route"] = model
    _log.info("admin: %s", what, extra={"fields": fields | more})
