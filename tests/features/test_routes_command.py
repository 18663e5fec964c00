"""`bitrouter routes` against a running router."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bitrouter.cli.main import main
from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, provider, route_to
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream


class Ended(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


Routes = Callable[..., Awaitable[Ended]]


@pytest.fixture
def routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Routes:
    """Runs `bitrouter routes WORDS` with the file of the router, beside the router's loop."""

    async def run(*words: str) -> Ended:
        file = str(tmp_path / "bitrouter.yaml")
        code = await asyncio.to_thread(main, ["routes", *words, "--config", file])
        return Ended(code, *capsys.readouterr())

    return run


def content(url: str, **server: Any) -> dict[str, Any]:
    """A configuration of three usable providers and one without a key."""
    return {
        "server": server,
        "providers": {
            "chat": provider(CHAT, url),
            "chat2": provider(CHAT, url),
            "claude": provider(ANTHROPIC, url),
            "gemini": {"api_protocol": "google", "api_base": "https://gemini.example"},
        },
        "models": {
            "fast": route_to("claude", "chat", "gemini"),
            "team/*": {"endpoints": [{"provider": "chat", "model_id": "*"}]},
        },
    }


async def started(
    start_router: StartRouter, url: str, settings: Mapping[str, Any] | None = None
) -> RunningRouter:
    """A router whose file then names the port that it got."""
    settings = settings or content(url)
    router = await start_router(settings)
    listen = router.url.removeprefix("http://")
    router.configure({**settings, "server": {**settings["server"], "listen": listen}})
    return router


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router with the routes `fast` and `team/*`."""
    upstream.script = Reply((CHAT.answer,))
    return await started(start_router, upstream.url)


def words(text: str) -> list[list[str]]:
    """The words of every line."""
    return [line.split() for line in text.splitlines()]


# -- list, add, rm --------------------------------------------------------------------------


async def test_list_shows_every_route_with_its_endpoints(
    router: RunningRouter, routes: Routes
) -> None:
    ended = await routes("list")

    assert (ended.code, ended.err) == (0, "")
    assert words(ended.out) == [
        ["MODEL", "SOURCE", "STRATEGY", "ENDPOINTS"],
        ["fast", "config", "-", "claude:up-1,", "chat:up-1,", "gemini:up-1"],
        ["team/*", "config", "-", "chat:*"],
    ]


async def test_a_route_that_was_added_serves_the_next_request_until_it_is_removed(
    router: RunningRouter, routes: Routes, upstream: ScriptedUpstream
) -> None:
    added = await routes("add", "re:search/ü", "chat:org/up:9")

    assert added == Ended(0, "route re:search/ü is set\n", "")
    async with router.http.post(CHAT.path(), json=CHAT.body("re:search/ü")) as response:
        assert response.status == 200
    assert json.loads(upstream.last.body)["model"] == "org/up:9"

    assert await routes("rm", "re:search/ü") == Ended(0, "route re:search/ü is removed\n", "")
    async with router.http.post(CHAT.path(), json=CHAT.body("re:search/ü")) as response:
        assert response.status == 404


async def test_add_takes_a_strategy_and_weights(router: RunningRouter, routes: Routes) -> None:
    spread = ("--strategy", "load_balance", "--weights", "3,1")
    await routes("add", "spread", "chat:a", "chat2:b", *spread)

    listed = (await routes("list", "--json")).json["routes"][0]
    assert listed == {
        "model": "spread",
        "strategy": "load_balance",
        "source": "dynamic",
        "endpoints": [
            {"provider": "chat", "model_id": "a", "weight": 3},
            {"provider": "chat2", "model_id": "b"},
        ],
    }
    assert words((await routes("list")).out)[1] == [
        *("spread", "dynamic", "load_balance", "chat:a", "x3,", "chat2:b")
    ]


async def test_what_may_not_have_been_meant_is_told_on_standard_error(
    router: RunningRouter, routes: Routes
) -> None:
    ended = await routes("add", "fast", "gemini:x")

    assert (ended.code, ended.out) == (0, "route fast is set\n")
    assert "provider 'gemini' is not usable: no API key: set GEMINI_API_KEY" in ended.err
    assert "the route of this name in the configuration is out of use" in ended.err
    assert "(out of use: there is a dynamic route of this name)" in (await routes("list")).out


async def test_a_dry_run_changes_nothing(router: RunningRouter, routes: Routes) -> None:
    before = (await routes("list")).out

    assert (await routes("add", "m", "chat:a", "--dry-run")).out == "route m would be set\n"
    assert (await routes("list")).out == before


async def test_json_is_what_the_router_answered(router: RunningRouter, routes: Routes) -> None:
    added = (await routes("add", "m", "chat:a", "--json")).json
    assert added == {"status": "ok", "model": "m", "version": 1}
    removed = (await routes("rm", "m", "--json")).json
    assert removed == {"status": "ok", "model": "m", "version": 2, "removed": True}


async def test_without_a_route_the_list_says_what_there_is_instead(
    start_router: StartRouter, routes: Routes
) -> None:
    await started(start_router, "", {"server": {}})
    ended = await routes("list")
    assert (ended.code, ended.out) == (0, "")
    assert "provider:model_id" in ended.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("add", "m", "nobody:x"), "there is no provider 'nobody'"),
        (("add", "a*b", "chat:x"), "model may have one '*', at its end"),
        (("rm", "fast"), "there is no dynamic route 'fast'; it is defined in the configuration"),
        (("explain", "faste"), "the nearest name is fast"),
        (("explain", ""), "model must be given"),
    ],
)
async def test_a_refusal_is_told_on_standard_error_with_exit_code_1(
    router: RunningRouter, routes: Routes, command: tuple[str, ...], said: str
) -> None:
    ended = await routes(*command)

    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1


async def test_a_wrong_number_of_weights_is_a_wrong_command_line(
    router: RunningRouter, routes: Routes
) -> None:
    ended = await routes("add", "m", "chat:a", "--weights", "1,2")
    assert ended == Ended(2, "", "bitrouter routes add: 2 weights for 1 endpoints\n")


# -- explain --------------------------------------------------------------------------------


async def test_explain_tells_the_order_the_protocol_and_the_reason(
    router: RunningRouter, routes: Routes
) -> None:
    ended = await routes("explain", "fast", "--protocol", "openai")

    assert (ended.code, ended.err) == (0, "")
    assert [" ".join(line) for line in words(ended.out)] == [
        "fast: route fast, of the configuration",
        "priority; at most 3 attempts",
        "",
        "openai clients",
        "1. chat:up-1 pass through speaks the client's protocol openai: bytes pass through",
        "2. claude:up-1 translate to anthropic speaks anthropic: after those that speak openai",
        "with reasoning=adaptive, efforts=[none, low, medium, high, xhigh, max],"
        " cache_hints=cache_control, web_search=web_search_20250305",
        "- gemini:up-1 not asked not usable: no API key: set GEMINI_API_KEY",
    ]


async def test_explain_tells_it_for_the_clients_of_every_protocol(
    router: RunningRouter, routes: Routes
) -> None:
    explained = (await routes("explain", "fast", "--json")).json

    first = {
        client["protocol"]: (client["endpoints"][0]["provider"], client["endpoints"][0]["native"])
        for client in explained["clients"]
    }
    assert first == {
        "openai": ("chat", True),
        "responses": ("claude", False),
        "anthropic": ("claude", True),
        "google": ("claude", False),
    }


async def test_the_endpoint_that_is_explained_first_is_the_one_that_answers(
    router: RunningRouter, routes: Routes
) -> None:
    explained = (await routes("explain", "fast", "--protocol", "openai", "--json")).json
    async with router.http.post(CHAT.path(), json=CHAT.body("fast")) as response:
        assert response.status == 200
        answered = response.headers["x-bitrouter-provider"]
    assert explained["clients"][0]["endpoints"][0]["provider"] == answered == "chat"


@pytest.mark.parametrize(
    ("name", "expected", "said"),
    [
        ("fast", ("fast", "config", False), "fast: route fast, of the configuration"),
        ("set", ("set", "dynamic", False), "set: route set, set by the admin API"),
        (
            "team/blue",
            ("team/*", "config", True),
            "team/blue: wildcard team/*, of the configuration",
        ),
        ("all/x", ("all/*", "dynamic", True), "all/x: wildcard all/*, set by the admin API"),
        ("chat:any", ("chat:any", "direct", False), "chat:any: chat:any, provider:model_id"),
        ("chat/any", ("chat:any", "direct", False), "chat/any: chat:any, provider:model_id"),
        ("local/smollm2", ("local:smollm2", "direct", False), "local:smollm2, provider:model_id"),
    ],
)
async def test_explain_tells_how_a_name_resolves(
    router: RunningRouter,
    routes: Routes,
    name: str,
    expected: tuple[str, str, bool],
    said: str,
) -> None:
    await routes("add", "set", "chat:a")
    await routes("add", "all/*", "chat:*")

    explained = (await routes("explain", name, "--json")).json
    assert (explained["route"], explained["source"], explained["wildcard"]) == expected
    assert explained["model"] == name
    assert said in (await routes("explain", name)).out.splitlines()[0]


async def test_explain_fills_in_what_a_wildcard_stands_for(
    router: RunningRouter, routes: Routes
) -> None:
    explained = (await routes("explain", "team/blue", "--protocol", "openai", "--json")).json
    assert [one["model_id"] for one in explained["clients"][0]["endpoints"]] == ["blue"]


async def test_explain_tells_how_requests_are_spread(router: RunningRouter, routes: Routes) -> None:
    spread = ("--strategy", "load_balance", "--weights", "1,3,1")
    await routes("add", "spread", "chat:a", "chat2:b", "claude:c", *spread)

    ended = await routes("explain", "spread", "--protocol", "openai")
    assert "pass through, first for 25%" in ended.out
    assert "pass through, first for 75%" in ended.out
    explained = (await routes("explain", "spread", "--protocol", "google", "--json")).json
    shares = [one["share"] for one in explained["clients"][0]["endpoints"]]
    assert shares == [0.2, 0.6, 0.2]


async def test_explain_tells_of_a_route_that_shadows_another(
    router: RunningRouter, routes: Routes
) -> None:
    await routes("add", "fast", "chat:a")
    ended = await routes("explain", "fast")
    assert "the route of this name in the configuration is out of use meanwhile" in ended.out


async def test_explaining_does_not_disturb_the_balance(
    router: RunningRouter, routes: Routes
) -> None:
    await routes("add", "spread", "chat:a", "chat2:b", "--strategy", "load_balance")
    providers = []
    for _ in range(4):
        await routes("explain", "spread")
        async with router.http.post(CHAT.path(), json=CHAT.body("spread")) as response:
            providers.append(response.headers["x-bitrouter-provider"])
    assert providers == ["chat", "chat2", "chat", "chat2"]


async def test_an_unknown_protocol_is_a_wrong_command_line(
    router: RunningRouter, routes: Routes
) -> None:
    ended = await routes("explain", "fast", "--protocol", "chat")
    assert (ended.code, ended.out) == (2, "")
    assert "'chat': must be one of openai, responses, anthropic, google" in ended.err


# -- where the router is --------------------------------------------------------------------


async def test_the_token_of_the_file_opens_the_admin_api(
    start_router: StartRouter, upstream: ScriptedUpstream, routes: Routes
) -> None:
    guarded = content(upstream.url, admin_token="admin-1")
    router = await started(start_router, upstream.url, guarded)
    assert (await routes("list")).code == 0

    listen = router.url.removeprefix("http://")
    router.configure(content(upstream.url, admin_token="admin-2", listen=listen))
    ended = await routes("list")
    assert ended.code == 1
    assert "the admin token is required" in ended.err
    assert "admin-" not in ended.err


async def test_a_token_whose_variable_is_not_set_here_is_told_as_that(
    start_router: StartRouter, upstream: ScriptedUpstream, routes: Routes
) -> None:
    router = await started(start_router, upstream.url)
    listen = router.url.removeprefix("http://")
    router.configure(content(upstream.url, admin_token="${NOT_SET_HERE}", listen=listen))

    ended = await routes("list")
    assert ended.code == 1
    assert "server.admin_token needs the environment variable NOT_SET_HERE" in ended.err


async def test_a_unix_socket_is_asked_as_well(
    start_router: StartRouter, upstream: ScriptedUpstream, routes: Routes, tmp_path: Path
) -> None:
    await start_router(content(upstream.url, admin_listen=f"unix:{tmp_path}/admin.sock"))

    assert (await routes("add", "m", "chat:a")).code == 0
    assert (await routes("explain", "m")).out.startswith("m: route m, ")


async def test_an_address_on_the_command_line_wins_over_the_file(
    start_router: StartRouter, upstream: ScriptedUpstream, routes: Routes
) -> None:
    router = await start_router(content(upstream.url))  # its file says port 0
    ended = await routes("list")
    assert ended.code == 1
    assert "127.0.0.1:0 leaves the port to the system; say with --listen" in ended.err

    listen = router.url.removeprefix("http://")
    assert (await routes("list", "--listen", listen)).code == 0
    anywhere = listen.replace("127.0.0.1", "0.0.0.0")
    assert (await routes("list", "--listen", anywhere)).code == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("where", ["127.0.0.1:{port}", "unix:{directory}/nobody.sock"])
async def test_a_router_that_does_not_run_is_told_in_one_line(
    routes: Routes, tmp_path: Path, where: str
) -> None:
    (tmp_path / "bitrouter.yaml").write_text("")
    listen = where.format(port=free_port(), directory=tmp_path)
    ended = await routes("list", "--listen", listen)

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"bitrouter: no router answers at {listen}: ")
    assert ended.err.endswith("; is it running, with this configuration?\n")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply((b"<html>",), status=404), "with status 404 is not a BitRouter"),
        (Reply((b'{"error":"no"}',), status=500), "with status 500 is not a BitRouter"),
        (Reply((b"<html>",)), "the router's answer is not understood"),
        (Reply((b'{"routes":[{"model":1}]}',)), "the router's answer is not understood"),
    ],
)
async def test_something_else_at_the_address_is_told_as_that(
    routes: Routes, upstream: ScriptedUpstream, tmp_path: Path, reply: Reply, said: str
) -> None:
    (tmp_path / "bitrouter.yaml").write_text("")
    upstream.script = reply
    ended = await routes("list", "--listen", upstream.url.partition("://")[2].partition("/")[0])

    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1


async def test_a_bad_file_ends_with_78_and_says_where(routes: Routes, tmp_path: Path) -> None:
    (tmp_path / "bitrouter.yaml").write_text("models: {m: {endpoints: []}}")
    ended = await routes("list")
    assert (ended.code, ended.out) == (78, "")
    assert "bitrouter.yaml:1:25: models.m.endpoints: needs at least 1 entry" in ended.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["add", "m"], "PROVIDER:MODEL_ID"),
        (["add", "m", "chat"], "'chat': must be PROVIDER:MODEL_ID"),
        (["add", "m", ":x"], "':x': must be PROVIDER:MODEL_ID"),
        (["add", "m", "a:b", "--weights", "0"], "'0': must be numbers from 1 to 1000000"),
        (["add", "m", "a:b", "--weights", "1,"], "'1,': must be numbers"),
        (["add", "m", "a:b", "--strategy", "random"], "priority"),
        (["rm"], "MODEL"),
        (["rm", "\udcff"], "must be UTF-8"),
        (["explain"], "MODEL"),
        (["list", "--listen", "nowhere"], "must be host:port"),
        ([], "ACTION"),
    ],
)
def test_what_is_no_command_ends_with_2(
    command: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["routes", *command])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
