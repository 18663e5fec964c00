"""From a model's name to the endpoints that serve it."""

import msgspec
import pytest

from bitrouter.config.schema import Duration, RouteTimeouts, Timeouts
from bitrouter.errors import RouteNotFound
from bitrouter.routing.table import OTHER, RouteTable, nearest
from tests.support.routes import entry, provider, table


@pytest.fixture
def routes() -> RouteTable:
    providers = [
        provider("openai", "openai", "responses", models=["gpt-4o", "o3"]),
        provider("acme", "anthropic", models=["acme/one"]),
        provider("odd:name"),
        provider("keyless", models=["hidden"], unusable="it has no key"),
    ]
    models = {
        "default": entry("openai:gpt-4o", "acme:acme/one"),
        "openai:o3": entry("acme:disguised"),
        "team/*": entry("acme:*"),
        "team/fast-*": entry("openai:gpt-*"),
        "team/fast-exact": entry("openai:o3"),
        "fixed-*": entry("openai:o3"),
    }
    return table(providers, models)


@pytest.mark.parametrize(
    ("name", "endpoints", "source"),
    [
        pytest.param("default", ["openai:gpt-4o", "acme:acme/one"], "config", id="entry"),
        pytest.param("openai:o3", ["acme:disguised"], "config", id="entry before direct"),
        pytest.param("openai:gpt-4o", ["openai:gpt-4o"], "direct", id="provider:model"),
        pytest.param("openai:new", ["openai:new"], "direct", id="model not in the catalogue"),
        pytest.param("openai/gpt-4o", ["openai:gpt-4o"], "direct", id="provider/model"),
        pytest.param("acme/acme/one", ["acme:acme/one"], "direct", id="slash in the model"),
        pytest.param("acme:a:b", ["acme:a:b"], "direct", id="colon in the model"),
        pytest.param("acme/a:b", ["acme:a:b"], "direct", id="colon after the slash"),
        pytest.param("keyless:x", ["keyless:x"], "direct", id="not usable, but known"),
        pytest.param("team/any", ["acme:any"], "config", id="wildcard"),
        pytest.param("team/a/b:c", ["acme:a/b:c"], "config", id="rest with slash"),
        pytest.param("team/fast-5", ["openai:gpt-5"], "config", id="longest wildcard"),
        pytest.param("team/fast-exact", ["openai:o3"], "config", id="exact before wildcard"),
        pytest.param("fixed-x", ["openai:o3"], "config", id="wildcard to one model"),
    ],
)
def test_name_resolves_in_the_documented_order(
    routes: RouteTable, name: str, endpoints: list[str], source: str
) -> None:
    route = routes.resolve(name)

    assert [endpoint.key for endpoint in route.endpoints] == endpoints
    assert (route.name in (name, endpoints[0]), route.source) == (True, source)


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "Default",
        " default",
        "openai:",
        "openai/",
        ":gpt-4o",
        "/",
        "team/",
        "nobody:x",
        "*",
    ],
)
def test_unknown_name_is_not_found(routes: RouteTable, name: str) -> None:
    with pytest.raises(RouteNotFound) as caught:
        routes.resolve(name)

    assert repr(name) in caught.value.detail
    assert "GET /v1/models lists all" in caught.value.detail


def test_error_names_what_may_have_been_meant(routes: RouteTable) -> None:
    with pytest.raises(RouteNotFound, match=r"the nearest names? (is|are) openai:gpt-4o"):
        routes.resolve("gpt-4o")


def test_wildcard_for_everything_takes_what_nothing_else_does() -> None:
    routes = table([provider("acme"), provider("big")], {"*": entry("big:*")})

    assert routes.resolve("acme:x").endpoints[0].key == "acme:x"
    assert routes.resolve("anything/at:all").endpoints[0].key == "big:anything/at:all"


def test_names_that_the_configuration_spells_out_are_listed_if_they_can_be_served(
    routes: RouteTable,
) -> None:
    assert sorted(routes.names()) == [
        *("acme:acme/one", "default", "openai:gpt-4o", "openai:o3", "team/fast-exact"),
    ]


def test_every_endpoint_that_can_serve_is_listed_once(routes: RouteTable) -> None:
    keys = [endpoint.key for endpoint in routes.endpoints()]

    assert len(keys) == len(set(keys))
    assert {"openai:gpt-4o", "acme:acme/one", "acme:disguised"} <= set(keys)
    assert "keyless:hidden" not in keys


@pytest.mark.parametrize(
    ("name", "route_label", "endpoint_label"),
    [
        ("default", "default", "openai:gpt-4o"),
        ("openai:gpt-4o", "openai:gpt-4o", "openai:gpt-4o"),
        ("openai/gpt-4o", "openai:gpt-4o", "openai:gpt-4o"),
        ("openai:made-up", OTHER, OTHER),
        ("team/made-up", "team/*", "acme:*"),
    ],
)
def test_labels_are_out_of_the_closed_set_of_the_configuration(
    routes: RouteTable, name: str, route_label: str, endpoint_label: str
) -> None:
    route = routes.resolve(name)

    assert (route.label, route.endpoints[0].label) == (route_label, endpoint_label)


def test_endpoints_that_speak_a_protocol_and_the_others_keep_their_order() -> None:
    providers = [
        provider("a", "openai"),
        provider("b", "anthropic"),
        provider("c", "openai", "anthropic"),
    ]
    route = table(providers, {"r": entry("c:1", "b:1", "a:1")}).resolve("r")

    def keys(protocol: str) -> list[list[str]]:
        return [[one.key for one in group] for group in route.by_preference(protocol)]

    assert keys("openai") == [["c:1", "a:1"], ["b:1"]]
    assert keys("anthropic") == [["c:1", "b:1"], ["a:1"]]
    assert keys("google") == [[], ["c:1", "b:1", "a:1"]]


def test_endpoint_that_cannot_be_used_is_asked_only_where_no_other_is() -> None:
    providers = [provider("a", unusable="it has no key"), provider("b")]
    routes = table(providers, {"both": entry("a:1", "b:1"), "one": entry("a:1")})

    asked = {
        name: [endpoint.key for endpoint in routes.resolve(name).by_preference("openai")[0]]
        for name in ("both", "one")
    }

    assert asked == {"both": ["b:1"], "one": ["a:1"]}


def test_route_and_endpoint_show_what_they_are(routes: RouteTable) -> None:
    route = routes.resolve("default")

    assert f"{route} {route.endpoints[0]}" == "<Route default config> <Endpoint openai:gpt-4o>"


def test_first_route_of_a_name_wins() -> None:
    known = {"a": provider("a")}
    first, second = (table(known.values(), {"r": entry(f"a:{n}")}).resolve("r") for n in (1, 2))

    assert RouteTable(known, [first, second]).resolve("r") is first


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("claude-sonet-4-5", ["claude-sonnet-4-5", "gpt-4o"], ["claude-sonnet-4-5"]),
        ("gpt4o", ["gpt-4o", "o3"], ["gpt-4o"]),
        ("zzzz", ["gpt-4o"], []),
        ("x", [], []),
        ("gpt-4o", [f"p{n}:gpt-4o" for n in range(9)], 3),
    ],
)
def test_nearest_names_are_few_and_alike(
    name: str, names: list[str], expected: list[str] | int
) -> None:
    found = nearest(name, names)

    assert (len(found) if isinstance(expected, int) else found) == expected


def test_looking_for_nearest_names_compares_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[int] = []

    def count(name: str, pool: list[str], **_: object) -> list[str]:
        compared.append(len(pool))
        return []

    monkeypatch.setattr("difflib.get_close_matches", count)
    nearest("model-x" * 30, [f"model-{n}" for n in range(10_000)])

    assert compared
    assert max(compared) <= 64


# -- timers ---------------------------------------------------------------------------------

SLOW = msgspec.structs.replace(
    provider("slow", models=["m"]), timeouts=Timeouts(total=Duration(900), idle=Duration(90))
)


def test_a_routes_own_timers_win_over_those_of_its_providers() -> None:
    own = RouteTimeouts(first_byte=Duration(7), total=Duration(30))
    models = {
        name: msgspec.structs.replace(entry("slow:m"), timeouts=timeouts)
        for name, timeouts in (("own", own), ("own/*", own), ("plain", None))
    }
    found = table([SLOW], models)

    def timers(name: str) -> tuple[float, ...]:
        (endpoint,) = found.resolve(name).endpoints
        timeouts = endpoint.timeouts
        return timeouts.first_byte, timeouts.idle, timeouts.total

    assert timers("own") == timers("own/x") == (7, 90, 30)
    assert timers("plain") == timers("slow:m") == timers("slow:unlisted") == (60, 90, 900)


@pytest.mark.parametrize(
    ("endpoints", "timeouts", "expected"),
    [
        (("quick:m",), None, 600),
        (("quick:m", "slow:m"), None, 900),
        (("quick:m", "slow:m"), RouteTimeouts(total=Duration(90)), 90),
        (("quick:m",), RouteTimeouts(first_byte=Duration(1200)), 1200),
        (("quick:m", "slow:m"), RouteTimeouts(deadline=Duration(700)), 700),
    ],
)
def test_a_request_may_take_as_long_as_the_most_patient_endpoint_may(
    endpoints: tuple[str, ...], timeouts: RouteTimeouts | None, expected: float
) -> None:
    route = msgspec.structs.replace(entry(*endpoints), timeouts=timeouts)

    found = table([SLOW, provider("quick")], {"m": route}).resolve("m")

    assert found.within_s == expected
