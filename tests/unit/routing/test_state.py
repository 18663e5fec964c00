"""Routes that change while requests run."""

import json
from typing import Any

import msgspec
import pytest

from bitrouter.errors import InvalidRequest, NotFound, RouteNotFound
from bitrouter.routing.dynamic import DynamicRoute, History, decode_routes, encode_routes
from bitrouter.routing.state import RouteState
from tests.support.routes import config, endpoint, entry, provider

PROVIDERS = [provider("openai"), provider("acme")]


def dynamic(model: str, *endpoints: str, **fields: Any) -> DynamicRoute:
    return DynamicRoute(model, tuple(map(endpoint, endpoints)), **fields)


@pytest.fixture
def state() -> RouteState:
    return RouteState(config(PROVIDERS, {"default": entry("openai:gpt-4o")}))


def add(state: RouteState, route: DynamicRoute) -> None:
    state.apply_dynamic(state.with_route(route))


def keys(state: RouteState, name: str) -> list[str]:
    return [endpoint.key for endpoint in state.current.resolve(name).endpoints]


def test_added_route_serves_and_removed_one_does_not(state: RouteState) -> None:
    add(state, dynamic("mine", "acme:a", "openai:b"))
    assert keys(state, "mine") == ["acme:a", "openai:b"]
    assert state.current.resolve("mine").source == "dynamic"

    state.apply_dynamic(state.without_route("mine"))
    with pytest.raises(RouteNotFound):
        state.current.resolve("mine")


def test_dynamic_route_hides_the_configured_one_until_it_is_removed(state: RouteState) -> None:
    add(state, dynamic("default", "acme:a"))
    assert keys(state, "default") == ["acme:a"]

    state.apply_dynamic(state.without_route("default"))
    assert keys(state, "default") == ["openai:gpt-4o"]


def test_planning_a_change_changes_nothing(state: RouteState) -> None:
    table, version = state.current, state.version

    state.with_route(dynamic("mine", "acme:a"))

    assert (state.current, state.version, dict(state.dynamic)) == (table, version, {})


def test_request_keeps_the_table_that_it_took(state: RouteState) -> None:
    table = state.current
    add(state, dynamic("default", "acme:a"))

    assert table.resolve("default").endpoints[0].key == "openai:gpt-4o"
    assert state.current is not table


def test_version_grows_with_every_change(state: RouteState) -> None:
    versions = [state.version]
    add(state, dynamic("mine", "acme:a"))
    versions.append(state.version)
    state.apply_config(state.config)
    versions.append(state.version)

    assert versions == sorted(set(versions))


def test_configured_route_cannot_be_removed(state: RouteState) -> None:
    with pytest.raises(NotFound, match="defined in the configuration file"):
        state.without_route("default")


def test_removing_what_is_not_there_is_not_found(state: RouteState) -> None:
    with pytest.raises(NotFound, match=r"there is no dynamic route 'nothing'$"):
        state.without_route("nothing")


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        (dynamic("", "acme:a"), "model must have 1 to 256"),
        (dynamic("m" * 257, "acme:a"), "model must have 1 to 256"),
        (dynamic("a\nb", "acme:a"), "printable"),
        (dynamic("a\u202eb", "acme:a"), "printable"),
        (dynamic("a*b", "acme:a"), r"one '\*', at its end"),
        (dynamic("**", "acme:a"), r"one '\*', at its end"),
        (dynamic("mine"), "at least one entry"),
        (dynamic("mine", "acme:a", "acne:a"), r"endpoints\[1\].provider: .*'acne'; there is acme"),
        (dynamic("mine", "zzz:a"), "there is acme, openai"),
        (dynamic("mine", "acme:a\nb"), r"endpoints\[0\].model_id must have printable"),
        (dynamic("mine", "acme:*"), r"endpoints\[0\].model_id: '\*' needs"),
    ],
)
def test_route_that_cannot_be_is_refused_and_changes_nothing(
    state: RouteState, route: DynamicRoute, problem: str
) -> None:
    table = state.current

    with pytest.raises(InvalidRequest, match=problem):
        state.with_route(route)

    assert (state.current, dict(state.dynamic)) == (table, {})


def test_reload_keeps_dynamic_routes(state: RouteState) -> None:
    add(state, dynamic("mine", "acme:a"))
    state.apply_config(config(PROVIDERS, {"new": entry("openai:o3")}))

    assert keys(state, "mine") == ["acme:a"]
    assert keys(state, "new") == ["openai:o3"]
    with pytest.raises(RouteNotFound):
        state.current.resolve("default")


def test_route_whose_provider_is_gone_comes_back_with_it(state: RouteState) -> None:
    add(state, dynamic("mine", "acme:a", "openai:b"))

    state.apply_config(config([provider("openai")]))
    assert "mine" in state.dynamic
    with pytest.raises(RouteNotFound):
        state.current.resolve("mine")

    state.apply_config(config(PROVIDERS))
    assert keys(state, "mine") == ["acme:a", "openai:b"]


def test_state_file_reads_back() -> None:
    routes = {
        "a/b:c": dynamic("a/b:c", "acme:x@3", "openai:ä", strategy="load_balance"),
        "w/*": dynamic("w/*", "acme:*"),
    }

    assert decode_routes(encode_routes(routes, History())) == (routes, History())
    assert json.loads(encode_routes(routes, History()))["routes"][1] == {
        "model": "w/*",
        "endpoints": [{"provider": "acme", "model_id": "*", "weight": 1}],
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"routes":[{"model":"\xff","endpoints":[]}]}',
        b'{"routes":[{"model":"a"}]}',
        b'{"routes":[{"model":"a","endpoints":[],"extra":1}]}',
        b'{"routes":[{"model":"a","endpoints":[{"provider":"x","model_id":"y","weight":0}]}]}',
        b'{"routes":[{"model":"a","endpoints":[],"strategy":"random"}]}',
    ],
)
def test_file_that_is_no_state_file_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a file of dynamic routes"):
        decode_routes(content)


def test_body_of_the_admin_call_refuses_unknown_members() -> None:
    with pytest.raises(msgspec.ValidationError, match="weigth"):
        msgspec.json.decode(
            b'{"model":"a","endpoints":[{"provider":"x","model_id":"y","weigth":1}]}',
            type=DynamicRoute,
        )
