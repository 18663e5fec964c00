"""The current table, and the ways in which it may change while requests run."""

from collections.abc import Mapping
from types import MappingProxyType

from bitrouter.config.schema import Config, RouteEntry
from bitrouter.errors import InvalidRequest, NotFound
from bitrouter.routing.dynamic import DynamicRoute
from bitrouter.routing.table import RouteTable, build_route, nearest, nearest_in_words


class RouteState:
    """Configuration and dynamic routes, and the table made of both.

    Each change builds a whole new table and assigns it; one that raises has changed nothing.
    `version` grows with every change of the dynamic routes or of the configuration.
    """

    def __init__(self, config: Config, dynamic: Mapping[str, DynamicRoute] | None = None) -> None:
        self.config = config
        self.version = 1
        self._dynamic = dict(dynamic or {})
        self.current = _build(config, self._dynamic)

    @property
    def dynamic(self) -> Mapping[str, DynamicRoute]:
        """The dynamic routes by name, for reading."""
        return MappingProxyType(self._dynamic)

    def with_route(self, route: DynamicRoute) -> dict[str, DynamicRoute]:
        """The dynamic routes as they would be with `route`. Raises InvalidRequest if it is none."""
        self._check(route)
        return self._dynamic | {route.model: route}

    def without_route(self, name: str) -> dict[str, DynamicRoute]:
        """The dynamic routes as they would be without `name`. Raises NotFound."""
        if name not in self._dynamic:
            raise NotFound(f"there is no dynamic route {name!r:.260}{self._hint(name)}")
        return {key: route for key, route in self._dynamic.items() if key != name}

    def apply_dynamic(self, dynamic: Mapping[str, DynamicRoute]) -> None:
        """Make `dynamic` the dynamic routes. The next request sees them."""
        table = _build(self.config, dynamic)
        self._dynamic = dict(dynamic)
        self.current = table
        self.version += 1

    def table_for(self, config: Config) -> RouteTable:
        """The table as it would be with `config`: what `apply_config` takes. For a thread: a
        thousand routes take 10 ms, in which nobody would be served.
        """
        return _build(config, self._dynamic)

    def apply_config(self, config: Config, table: RouteTable | None = None) -> None:
        """Make `config` the configuration, keeping the dynamic routes.

        One whose provider is gone stays, out of the table, and comes back with the provider.
        `table` is that of `table_for`, if it was made already and no dynamic route has changed
        since.
        """
        if table is None:
            table = _build(config, self._dynamic)
        self.config = config
        self.current = table
        self.version += 1

    def _hint(self, name: str) -> str:
        if name in self.current.routes:
            return "; it is defined in the configuration file"
        near = nearest(name, self._dynamic)
        return f"; {nearest_in_words(near)}" if near else ""

    def _check(self, route: DynamicRoute) -> None:
        _check_name(route.model)
        if not route.endpoints:
            raise InvalidRequest("endpoints must have at least one entry")
        providers = self.config.providers
        for number, endpoint in enumerate(route.endpoints):
            where = f"endpoints[{number}]"
            if endpoint.provider not in providers:
                near = nearest(endpoint.provider, providers) or sorted(providers)
                raise InvalidRequest(
                    f"{where}.provider: there is no provider {endpoint.provider!r:.80};"
                    f" there is {', '.join(near)}"
                )
            if not endpoint.model_id.isprintable():
                raise InvalidRequest(f"{where}.model_id must have printable characters alone")
            if "*" in endpoint.model_id and not route.model.endswith("*"):
                raise InvalidRequest(f"{where}.model_id: '*' needs a model name that ends in '*'")


def _check_name(name: str) -> None:
    if not name or len(name) > 256 or not name.isprintable():
        raise InvalidRequest("model must have 1 to 256 printable characters")
    if "*" in name[:-1]:
        raise InvalidRequest("model may have one '*', at its end")


def _build(config: Config, dynamic: Mapping[str, DynamicRoute]) -> RouteTable:
    providers = config.providers
    usable = [
        route
        for route in dynamic.values()
        if all(endpoint.provider in providers for endpoint in route.endpoints)
    ]
    overlay = [
        build_route(
            route.model,
            RouteEntry(endpoints=route.endpoints, strategy=route.strategy),
            providers,
            "dynamic",
        )
        for route in usable
    ]
    configured = [
        build_route(name, entry, providers, "config") for name, entry in config.models.items()
    ]
    return RouteTable(providers, [*overlay, *configured])
