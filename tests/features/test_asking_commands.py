"""`bitrouter reload`, `status`, `models` and `routes history|rollback` against a running router."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bitrouter import log
from bitrouter.cli import output
from bitrouter.cli.main import main
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, provider, route_to
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

    @property
    def words(self) -> list[list[str]]:
        """The words of every line."""
        return [line.split() for line in self.out.splitlines()]


Run = Callable[..., Awaitable[Ended]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `bitrouter WORDS` with the file of the router, beside the router's loop."""

    async def run(*words: str) -> Ended:
        log.flush()
        capsys.readouterr()  # what the router has logged so far
        file = str(tmp_path / "bitrouter.yaml")
        code = await asyncio.to_thread(main, [*words, "--config", file])
        log.flush()
        out, err = capsys.readouterr()
        logged = [line for line in err.splitlines(keepends=True) if line[:2] == "20"]
        return Ended(
            code, out, "".join(line for line in err.splitlines(True) if line not in logged)
        )

    return run


def content(url: str, listen: str = "127.0.0.1:0") -> dict[str, Any]:
    """A configuration of a usable provider and one without a key."""
    models = {"up-1": {"max_input_tokens": 200_000, "price": {"input": 3, "output": 15}}}
    return {
        "server": {"listen": listen},
        "providers": {
            "chat": provider(CHAT, url, models=models),
            "gemini": {"api_protocol": "google", "api_base": "https://gemini.example"},
        },
        "models": {"fast": route_to("chat", "gemini")},
        "circuit_breaker": {"failures": 1},
    }


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router whose file then names the port that it got."""
    upstream.script = Reply((CHAT.answer,))
    router = await start_router(content(upstream.url))
    router.configure(content(upstream.url, router.url.removeprefix("http://")))
    return router


def settings(router: RunningRouter, url: str) -> dict[str, Any]:
    return content(url, router.url.removeprefix("http://"))


# -- reload ---------------------------------------------------------------------------------


async def test_reload_tells_what_changed(
    router: RunningRouter, run: Run, upstream: ScriptedUpstream
) -> None:
    given = settings(router, upstream.url)
    given["providers"]["chat"]["api_key"] = "key-rotated"
    given["models"] = {"slow": route_to("chat")}
    given["limits"] = {"max_header_bytes": "32KiB"}
    router.configure(given)

    ended = await run("reload")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "the configuration was reloaded",
        "  ~ provider chat, another key",
        "  + model slow",
        "  - model fast",
        "  ~ setting server.listen",
        "  ~ setting limits.max_header_bytes",
        "  ! server.listen: only a restart applies it",
        "  ! limits.max_header_bytes: only a restart applies it",
    ]


async def test_reload_as_a_dry_run_changes_nothing(
    router: RunningRouter, run: Run, upstream: ScriptedUpstream
) -> None:
    given = settings(router, upstream.url)
    given["models"] = {}
    router.configure(given)
    ended = await run("reload", "--dry-run")
    assert ended.out.startswith("the configuration can be loaded\n")
    assert "  - model fast" in ended.out
    assert (await run("routes", "list", "--json")).json["routes"]


async def test_a_reload_without_a_change_says_so(router: RunningRouter, run: Run) -> None:
    await run("reload")
    assert "  nothing has changed" in (await run("reload")).out


async def test_reload_as_json_is_the_routers_answer(router: RunningRouter, run: Run) -> None:
    answer = (await run("reload", "--json")).json
    assert answer["status"] == "ok"
    assert answer["restart_needed"] == ["server.listen"]


async def test_a_file_that_the_router_refuses_ends_with_78_and_every_problem(
    router: RunningRouter, run: Run, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the command line cannot judge, because the variable is only there for the router.
    given = settings(router, upstream.url)
    given["retry"] = {"max_attempts": "${ATTEMPTS}"}
    router.configure(given)
    ended = await run("reload")
    assert (ended.code, ended.out) == (78, "")
    assert f"{router.file}:" in ended.err
    assert "retry.max_attempts: the environment variable ATTEMPTS is not set" in ended.err


async def test_a_running_router_can_be_steered_though_the_file_is_broken_by_now(
    start_router: StartRouter, upstream: ScriptedUpstream, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = content(upstream.url)
    given["server"]["admin_token"] = "admin-token-of-the-start"
    router = await start_router(given)
    listen = router.url.removeprefix("http://")
    router.file.write_text("models: [")
    assert (await run("status")).code == 78
    assert (await run("status", "--listen", listen)).code == 1  # who is asking?
    monkeypatch.setenv("BITROUTER_ADMIN_TOKEN", "admin-token-of-the-start")
    assert (await run("status", "--listen", listen)).code == 0
    assert (await run("routes", "add", "m", "chat:a", "--listen", listen)).code == 0
    ended = await run("reload", "--listen", listen)
    assert (ended.code, "bitrouter.yaml:" in ended.err) == (78, True)


# -- status and models ----------------------------------------------------------------------


async def test_status_tells_how_the_router_is_doing(
    router: RunningRouter, run: Run, upstream: ScriptedUpstream
) -> None:
    for status in (200, 500):
        upstream.script = Reply((CHAT.answer,), status=status)
        async with router.http.post(CHAT.path(), json=CHAT.body("fast")) as response:
            await response.read()

    ended = await run("status")

    assert (ended.code, ended.err) == (0, "")
    lines = [" ".join(words) for words in ended.words]
    assert lines[0].startswith("bitrouter ")
    assert " ready, up " in lines[0]
    assert f"configuration {router.file}" in lines
    assert "routes 1 configured, 0 dynamic" in lines
    assert "reloads 0 done, 0 refused" in lines
    assert "clients need no key" in lines
    assert "chat openai 1 usable" in lines
    assert "gemini google 0 no API key: set GEMINI_API_KEY" in lines
    (endpoint,) = (line for line in lines if line.startswith("chat:up-1 "))
    assert endpoint.startswith("chat:up-1 2 50.0% open, asked again in ")
    assert "gemini:up-1 0 0 ok" in lines


async def test_status_as_json_is_the_routers_answer(router: RunningRouter, run: Run) -> None:
    answer = (await run("status", "--json")).json
    assert (answer["status"], answer["in_flight"]) == ("ready", 0)
    assert answer["routes"] == {"configured": 1, "dynamic": 0, "version": 0}
    usable = {one["name"]: one["usable"] for one in answer["providers"]}
    assert (usable["chat"], usable["gemini"]) == (True, False)


async def test_models_lists_what_can_be_asked_for(router: RunningRouter, run: Run) -> None:
    ended = await run("models", "--provider", "chat")
    assert (ended.code, ended.err) == (0, "")
    assert [" ".join(words) for words in ended.words] == [
        "MODEL PROVIDER TOKENS IN TOKENS OUT USD PER MILLION",
        "fast chat 200,000 - 3 in, 15 out",
        "chat:up-1 chat 200,000 - 3 in, 15 out",
    ]
    assert [words[0] for words in (await run("models", "fas")).words[1:]] == ["fast"]
    assert (await run("models", "--json")).json["object"] == "list"


async def test_no_model_is_told_on_standard_error(router: RunningRouter, run: Run) -> None:
    ended = await run("models", "no-such-model")
    assert (ended.code, ended.out, ended.err) == (0, "", "no model matches\n")


# -- the way back ---------------------------------------------------------------------------


async def test_history_and_rollback(router: RunningRouter, run: Run) -> None:
    assert (await run("routes", "history")).err == "no route was ever set or removed\n"
    await run("routes", "add", "m", "chat:a")
    await run("routes", "add", "m", "chat:b")

    history = await run("routes", "history")
    assert [words[0] for words in history.words] == ["VERSION", "2", "1"]
    assert "127.0.0.1  bitrouter/" in history.out  # and the user's name

    ended = await run("routes", "rollback", "--dry-run")
    assert ended.out == "the routes would be those of version 1\n  ~ m\n"
    assert (await run("routes", "rollback")).out == "the routes are those of version 1\n  ~ m\n"
    assert (await run("routes", "rollback", "0", "--json")).json["changes"]["removed"] == ["m"]
    assert len((await run("routes", "history", "--json")).json["changes"]) == 4


async def test_a_route_that_is_set_twice_was_so_already(router: RunningRouter, run: Run) -> None:
    await run("routes", "add", "m", "chat:a")
    assert (await run("routes", "add", "m", "chat:a")).out == "route m was set so already\n"


async def test_a_rollback_to_nowhere_ends_with_1(router: RunningRouter, run: Run) -> None:
    ended = await run("routes", "rollback", "9")
    assert (ended.code, ended.out) == (1, "")
    assert "there is no version 9 to go back to" in ended.err


async def test_explain_tells_whom_the_next_request_asks_if_that_is_another(
    router: RunningRouter, run: Run, upstream: ScriptedUpstream
) -> None:
    await run("routes", "add", "two", "chat:up-1", "chat:other")
    upstream.script = Reply(status=500)
    async with router.http.post(CHAT.path(), json=CHAT.body("chat:up-1")) as response:
        await response.read()
    ended = await run("routes", "explain", "two", "--protocol", "openai")
    assert "openai clients: the next request asks chat:other first" in ended.out
    ended = await run("routes", "explain", "chat:up-1", "--protocol", "openai")
    assert "openai clients: nobody may be asked now" in ended.out


# -- colour ---------------------------------------------------------------------------------


class Terminal:
    """A stream that may be a terminal."""

    def __init__(self, is_tty: bool) -> None:
        self._is_tty = is_tty

    def isatty(self) -> bool:
        return self._is_tty


@pytest.mark.parametrize(
    ("is_tty", "environ", "expected"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    is_tty: bool, environ: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert output.is_coloured(Terminal(is_tty)) is expected  # type: ignore[arg-type]  # all that is asked of it


async def test_colour_does_not_move_the_columns(
    router: RunningRouter, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = (await run("status")).out.splitlines()[1:]
    monkeypatch.setattr("bitrouter.cli.status.is_coloured", lambda: True)
    coloured = (await run("status")).out.splitlines()[1:]
    assert any("\x1b[32musable\x1b[0m" in line for line in coloured)
    codes = ("\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m")
    for code in codes:
        coloured = [line.replace(code, "") for line in coloured]
    assert [line.rstrip() for line in coloured] == plain


# -- requests -------------------------------------------------------------------------------


async def test_requests_are_shown_the_newest_first(
    router: RunningRouter, run: Run, upstream: ScriptedUpstream
) -> None:
    assert (await run("requests")).err == "there is none\n"
    for model in ("fast", "chat:\u202ered"):
        async with router.http.post(CHAT.path(), json=CHAT.body(model)) as response:
            assert response.status == 200
    async with router.http.post(CHAT.path(), json=CHAT.body("none-such")) as response:
        assert response.status == 404

    ended = await run("requests")

    assert (ended.code, ended.err) == (0, "")
    assert ended.words[0][:6] == ["TIME", "ROUTE", "ENDPOINT", "TRIES", "STATUS", "OUTCOME"]
    shown = [line[1:6] for line in ended.words[1:]]
    assert shown == [
        ["-", "-", "0", "404", "client_error"],
        ["chat:\\u202ered", "chat:\\u202ered", "1", "200", "ok"],
        ["fast", "chat:up-1", "1", "200", "ok"],
    ]
    assert "\u202e" not in ended.out
    assert "11+7" in ended.out


async def test_requests_can_be_chosen_and_had_as_json(router: RunningRouter, run: Run) -> None:
    for model in ("fast", "none-such", "fast"):
        async with router.http.post(CHAT.path(), json=CHAT.body(model)) as response:
            await response.read()
    chosen = await run("requests", "--route", "fast", "--limit", "1", "--json")
    assert [one["route"] for one in chosen.json["requests"]] == ["fast"]
    assert [
        one["status"]
        for one in (await run("requests", "--outcome", "error", "--json")).json["requests"]
    ] == [404]


async def test_a_wrong_word_for_an_outcome_is_told_what_there_is(
    router: RunningRouter, run: Run
) -> None:
    ended = await run("requests", "--outcome", "bad")
    assert (ended.code, ended.out) == (1, "")
    assert "outcome: there is no 'bad'; allowed: ok, client_error" in ended.err
