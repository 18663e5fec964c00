"""Which page is where. What a page does is in discovery, admin and observability."""

from typing import Final

from bitrouter.protocols.base import path_spellings
from bitrouter.server.admin import Admin, Reload
from bitrouter.server.discovery import GOOGLE_PATHS, Discovery
from bitrouter.server.dispatch import Methods, Pages
from bitrouter.server.observability import Observability
from bitrouter.server.overview import Overview
from bitrouter.server.receipts import Receipts
from bitrouter.server.recent import RecentPage
from bitrouter.server.services import Services
from bitrouter.server.status import Status

_VERSIONS: Final = ("", "/v1")

_Exact = dict[str, Methods]
_Prefixes = list[tuple[str, Methods]]


def public_pages(services: Services) -> Pages:
    """What the clients' listener serves beside inference when the admin has one of its own."""
    exact, prefixes = _discovery(services)
    return Pages(exact | _probes(services), prefixes)


def admin_pages(services: Services, reload: Reload) -> Pages:
    """What the admin's own listener serves."""
    exact, prefixes = _admin(services, reload)
    return Pages(exact | _probes(services) | _metrics(services), prefixes)


def all_pages(services: Services, reload: Reload) -> Pages:
    """What a single listener serves beside inference."""
    discovery, models = _discovery(services)
    admin, routes = _admin(services, reload)
    return Pages(discovery | admin | _probes(services) | _metrics(services), models + routes)


def _discovery(services: Services) -> tuple[_Exact, _Prefixes]:
    discovery = Discovery(services)
    lists = (*path_spellings("/models"), *GOOGLE_PATHS)
    exact: _Exact = {path: {"GET": discovery.list_models} for path in lists}
    exact |= {path: {"GET": discovery.list_routes} for path in path_spellings("/routes")}
    receipts = Receipts(services)
    exact["/openapi.json"] = {"GET": discovery.get_document}
    prefixes: _Prefixes = [(f"{path}/", {"GET": discovery.get_model}) for path in lists]
    return exact, [*prefixes, ("/v1/payments/", {"GET": receipts.get_payment})]


def _admin(services: Services, reload: Reload) -> tuple[_Exact, _Prefixes]:
    admin = Admin(services, reload)
    overview = Overview(services)
    recent = RecentPage(services)
    exact: _Exact = {}
    prefixes: _Prefixes = []
    for version in _VERSIONS:
        path = f"{version}/admin/routes"
        exact[path] = {"GET": admin.list_routes, "POST": admin.set_route}
        exact[f"{version}/admin/explain"] = {"GET": admin.explain}
        exact[f"{version}/admin/history"] = {"GET": admin.history}
        exact[f"{version}/admin/rollback"] = {"POST": admin.roll_back}
        exact[f"{version}/admin/models"] = {"GET": overview.models}
        exact[f"{version}/admin/status"] = {"GET": overview.status}
        exact[f"{version}/admin/requests"] = {"GET": recent.list_requests}
        exact[f"{version}/admin/reload"] = {"POST": admin.reload}
        prefixes.append((f"{path}/", {"DELETE": admin.remove_route}))
    return exact, prefixes


def _probes(services: Services) -> _Exact:
    watch = Observability(services)
    return {"/health": {"GET": watch.health}, "/ready": {"GET": watch.ready}}


def _metrics(services: Services) -> _Exact:
    watch = Observability(services)
    page = Status(services)
    return {
        "/": {"GET": page.page},
        "/metrics": {"GET": watch.metrics},
        "/v1/metrics": {"GET": watch.snapshot},
    }
