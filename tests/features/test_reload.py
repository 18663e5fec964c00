"""A new configuration while requests run: by every way to ask for it, and when it is no good."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bitrouter import log
from bitrouter.config.schema import Config
from bitrouter.errors import ConfigError
from bitrouter.state.audit import Actor
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, provider, route_to, settings
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream, sse

WHO = Actor("test")


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router with the provider `p1` and the route `m`."""
    upstream.script = Reply((CHAT.answer,))
    return await start_router(settings(CHAT, upstream.url))


async def ask(router: RunningRouter, model: str = "m") -> int:
    async with router.http.post(CHAT.path(), json=CHAT.body(model)) as response:
        await response.read()
        return response.status


async def reload(router: RunningRouter, **query: str) -> tuple[int, Any]:
    async with router.http.post("/admin/reload", params=query) as response:
        return response.status, await response.json()


def outcomes(router: RunningRouter) -> tuple[int, int]:
    """Reloads that were done, and that were refused."""
    counted = router.router.services.metrics.reloads
    return counted["ok"], counted["error"]


def audit(router: RunningRouter) -> list[dict[str, Any]]:
    """The lines of the audit file."""
    file = router.file.parent / "state" / "audit.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def logged(capsys: pytest.CaptureFixture[str]) -> str:
    """What the log says, once its own thread has written it."""
    log.flush()
    return capsys.readouterr().err


# -- what stays and what changes ------------------------------------------------------------


async def test_connections_to_providers_that_did_not_change_survive(
    router: RunningRouter, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    second_upstream.script = Reply((CHAT.answer,))
    assert await ask(router) == 200
    given = settings(CHAT, upstream.url)
    given["providers"]["p2"] = provider(CHAT, second_upstream.url)
    given["models"]["n"] = route_to("p2")
    router.configure(given)

    status, answer = await reload(router)

    assert (status, answer["changes"]["providers"]["added"]) == (200, ["p2"])
    assert await ask(router, "n") == 200
    assert await ask(router) == 200
    assert (upstream.connections, len(upstream.received)) == (1, 2)


async def test_a_stream_goes_on_through_reloads(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    go_on = asyncio.Event()
    upstream.script = sse(*CHAT.events, pause=go_on)
    async with router.http.post(CHAT.path(), json=CHAT.body(stream=True)) as response:
        first = await response.content.readexactly(len(CHAT.events[0]))
        router.configure({"models": {}})
        assert (await reload(router))[0] == 200
        go_on.set()
        assert first + await response.read() == b"".join(CHAT.events)


async def test_a_provider_gets_its_new_key_from_the_next_request_on(
    router: RunningRouter, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    await ask(router)
    given = settings(CHAT, upstream.url)
    given["providers"]["p1"]["api_key"] = "key-rotated-9"
    router.configure(given)

    status, answer = await reload(router)
    await ask(router)

    assert (status, answer["changes"]["keys_rotated"]) == (200, ["p1"])
    assert [one.headers["authorization"] for one in upstream.received] == [
        "Bearer key-up",
        "Bearer key-rotated-9",
    ]
    assert upstream.connections == 2  # one is not shared by two keys
    said = logged(capsys)
    assert "keys of p1" in said
    assert "key-rotated-9" not in said + json.dumps(audit(router)) + json.dumps(answer)


async def test_a_key_from_the_environment_file_rotates_as_well(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url)
    given["providers"]["p1"]["api_key"] = "${P1_KEY}"
    router.configure(given)
    env = router.file.with_name(".env")
    for key in ("first", "second"):
        env.write_text(f"P1_KEY={key}\n")
        assert (await reload(router))[0] == 200
        await ask(router)
    keys = [one.headers["authorization"] for one in upstream.received]
    assert keys == ["Bearer first", "Bearer second"]


async def test_what_only_a_restart_applies_is_told_until_it_is_restarted(
    router: RunningRouter, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    given = settings(CHAT, upstream.url, server={"listen": "127.0.0.1:1"})
    router.configure(given)
    for _ in range(2):
        status, answer = await reload(router)
        assert (status, answer["restart_needed"]) == (200, ["server.listen"])
    assert logged(capsys).count("in use only after a restart: server.listen") == 2
    assert await ask(router) == 200  # where it listened before


# -- who asks -------------------------------------------------------------------------------


async def test_a_hang_up_reloads_as_the_admin_api_does(
    router: RunningRouter, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    given = settings(CHAT, upstream.url)
    given["models"]["n"] = route_to("p1")
    router.configure(given)

    router.router.hang_up()
    async with asyncio.timeout(20):
        while outcomes(router) == (0, 0):  # noqa: ASYNC110 - a signal has no answer
            await asyncio.sleep(0.01)

    assert outcomes(router) == (1, 0)
    assert await ask(router, "n") == 200
    (line,) = audit(router)
    assert (line["action"], line["by"]) == ("reload", "SIGHUP")
    assert line["detail"]["changes"]["models"]["added"] == ["n"]
    said = "the configuration was reloaded by=SIGHUP changes=models +n\n"
    assert logged(capsys).count(said) == 1


async def test_the_loop_serves_while_the_file_is_read(
    router: RunningRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, may_go_on = threading.Event(), threading.Event()
    read = router.router._reloader._read

    def slowly() -> Config:
        reading.set()
        assert may_go_on.wait(20)
        return read()

    monkeypatch.setattr(router.router._reloader, "_read", slowly)
    running = asyncio.create_task(reload(router))
    assert await asyncio.to_thread(reading.wait, 20)
    assert await ask(router) == 200
    assert not running.done()
    may_go_on.set()
    assert (await running)[0] == 200


async def test_reloads_and_changes_of_routes_follow_one_another(
    router: RunningRouter, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = threading.Semaphore(1)
    read = router.router._reloader._read

    def alone() -> Config:
        assert at_once.acquire(blocking=False)
        try:
            return read()
        finally:
            at_once.release()

    monkeypatch.setattr(router.router._reloader, "_read", alone)
    route = {"model": "d", "endpoints": [{"provider": "p1", "model_id": "x"}]}

    async def set_route(number: int) -> int:
        body = {**route, "model": f"d{number}"}
        async with router.http.post("/admin/routes", json=body) as response:
            return response.status

    answers = await asyncio.gather(
        *(reload(router) for _ in range(5)), *(set_route(number) for number in range(5))
    )
    assert [one if isinstance(one, int) else one[0] for one in answers] == [200] * 10
    assert outcomes(router) == (5, 0)
    for number in range(5):
        assert await ask(router, f"d{number}") == 200


async def test_a_router_that_stops_finishes_the_reload_that_it_has_begun(
    router: RunningRouter,
) -> None:
    router.router.hang_up()
    await router.router.stop()
    assert sum(outcomes(router)) == 1


# -- files that are no good -----------------------------------------------------------------


def syntax_error(file: Path) -> None:
    file.write_text("models: [\n")


def wrong_type(file: Path) -> None:
    file.write_text("retry:\n  max_attempts: many\n")


def missing_variable(file: Path) -> None:
    file.write_text("server: {admin_token: '${NOT_SET_ANYWHERE}'}\n")


def removed(file: Path) -> None:
    file.unlink()


def unreadable(file: Path) -> None:
    """As a file without permission is, but for root too."""
    file.unlink()
    file.mkdir()


def emptied(file: Path) -> None:
    file.write_text("")


def cut_in_a_character(file: Path) -> None:
    file.write_bytes("models: {ä".encode()[:-1])


def open_to_everybody(file: Path) -> None:
    file.write_text("server: {listen: '0.0.0.0:80', admin_token: some-token}\n")


BROKEN = {
    syntax_error: (2, "YAML syntax"),
    wrong_type: (2, "must be a whole number"),
    missing_variable: (1, "NOT_SET_ANYWHERE is not set"),
    removed: (0, "cannot be read: No such file"),
    unreadable: (0, "cannot be read: Is a directory"),
    emptied: (1, "it is empty"),
    cut_in_a_character: (1, "not UTF-8"),
    open_to_everybody: (0, "no client needs a key"),
}


@pytest.mark.parametrize(
    ("spoil", "line", "said"),
    [(spoil, *expected) for spoil, expected in BROKEN.items()],
    ids=[spoil.__name__ for spoil in BROKEN],
)
async def test_a_file_that_is_no_good_changes_nothing_and_is_told_with_its_place(
    router: RunningRouter,
    upstream: ScriptedUpstream,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    line: int,
    said: str,
) -> None:
    before = router.router.services.routes.current
    spoil(router.file)

    status, answer = await reload(router)
    with pytest.raises(ConfigError):
        await router.router.reload(WHO)

    assert (status, answer["error"]["code"]) == (400, "invalid_config")
    (problem,) = answer["error"]["problems"]
    assert (problem["file"], problem["line"]) == (str(router.file), line)
    assert problem["line"] == 0 or problem["column"] > 0
    assert said in problem["message"]
    assert said in caplog.text
    assert router.router.services.routes.current is before
    assert outcomes(router) == (0, 2)
    assert [one["action"] for one in audit(router)] == ["reload refused"] * 2
    assert await ask(router) == 200


async def test_after_a_bad_file_a_good_one_is_taken(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    router.file.write_text("models: [\n")
    assert (await reload(router))[0] == 400
    router.configure(settings(CHAT, upstream.url))
    assert (await reload(router))[0] == 200
    assert outcomes(router) == (1, 1)


async def test_a_file_that_is_being_written_counts_when_it_is_whole(
    router: RunningRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url)
    given["models"] = {f"m{number}": route_to("p1") for number in range(20)}
    whole = yaml.safe_dump(given | {"server": {"listen": "127.0.0.1:0"}}, sort_keys=False)
    halves = [whole[: len(whole) * part // 8] for part in range(9)]

    async def write_slowly() -> None:
        for half in halves:
            router.file.write_text(half)
            await asyncio.sleep(0.01)

    writing = asyncio.create_task(write_slowly())
    await asyncio.sleep(0.02)
    status, answer = await reload(router)
    await writing

    assert (status, len(answer["changes"]["models"]["added"])) == (200, 20)


async def test_a_fault_of_the_routers_own_leaves_everything_as_it_was(
    router: RunningRouter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Config:
        raise RuntimeError("secret-in-a-traceback")

    monkeypatch.setattr(router.router._reloader, "_read", fail)
    assert (await reload(router))[0] == 500
    await router.router.reload_and_log()
    assert outcomes(router) == (0, 2)
    assert "by an error of the router's own" in caplog.text
    assert await ask(router) == 200


async def test_an_audit_file_that_cannot_be_written_is_told_and_stops_nothing(
    router: RunningRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    (router.file.parent / "state" / "audit.jsonl").mkdir(parents=True)
    assert (await reload(router))[0] == 200
    assert "the audit file cannot be written: Is a directory" in logged(capsys)
