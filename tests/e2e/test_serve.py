"""`bitrouter serve` and `bitrouter check` as an operator meets them."""

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bitrouter import __version__
from tests.e2e.conftest import StartProcess
from tests.support.dialects import CHAT, settings
from tests.support.process import RouterProcess, environment, run
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse

ANY_PORT = ("--listen", "127.0.0.1:0")
PROMPTLY_S = 15.0  # what takes minutes when it goes wrong


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the configuration goes."""
    return tmp_path / "bitrouter.yaml"


def write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(content))


# -- starting ---------------------------------------------------------------------------------


def test_the_banner_is_one_line_that_tells_address_providers_routes_and_who_may_call(
    start_process: StartProcess, file: Path
) -> None:
    write(file, settings(CHAT, "http://127.0.0.1:1", "http://127.0.0.1:1"))
    process = start_process(*ANY_PORT)
    assert process.banner == (
        f"bitrouter {__version__} listening on {process.url} · providers: p1, p2 · routes: 1 route"
        f" · auth: none, anybody who can connect · config: {file}"
    )
    assert process.lines == [process.banner]


def test_without_a_file_and_a_key_the_banner_says_that_the_embedded_model_answers(
    start_process: StartProcess,
) -> None:
    process = start_process(*ANY_PORT)
    assert "no provider key found, the embedded model answers" in process.banner
    process.wait_for("curl http://127.0.0.1:")


def test_without_a_file_keys_in_the_environment_make_providers(
    start_process: StartProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, OPENAI_API_KEY="sk-not-a-real-key", GEMINI_API_KEY="not-real")
    process = start_process(*ANY_PORT, env=env)
    assert "providers: google, openai" in process.banner
    assert "routes: provider:model" in process.banner
    process.wait_for("generateContent")
    assert "not-real" not in process.text
    assert "sk-not" not in process.text


def test_the_start_says_when_keys_are_needed(start_process: StartProcess, tmp_path: Path) -> None:
    assert run("keys", "create", "alice", cwd=tmp_path).returncode == 0
    assert "auth: keys" in start_process(*ANY_PORT).banner


BAD_FILES = {
    "an unknown key": ("retry: {max_attemptz: 1}\n", "bitrouter.yaml:1:9: retry"),
    "a wrong value": ("retry:\n  max_attempts: none\n", "bitrouter.yaml:2:17: retry.max_attempts"),
    "not YAML": ("models: {\n", "bitrouter.yaml:2:1"),
    "a provider that is not there": (
        "models: {m: {endpoints: [{provider: nobody, model_id: x}]}}\n",
        "models.m.endpoints[0].provider",
    ),
    "an address that is none": ("server: {listen: somewhere}\n", "server.listen"),
    "open to everybody by accident": ("server: {listen: '0.0.0.0:0'}\n", "server."),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_ends_the_start_with_78_and_says_where(
    tmp_path: Path, file: Path, content: str, message: str
) -> None:
    file.write_text(content)
    ended = run("serve", cwd=tmp_path)
    assert ended.returncode == 78
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_file_that_is_named_and_not_there_ends_the_start_with_78(tmp_path: Path) -> None:
    ended = run("serve", "--config", "nowhere.yaml", cwd=tmp_path)
    assert ended.returncode == 78
    assert "nowhere.yaml" in ended.stderr


def test_a_broken_key_file_ends_the_start_with_78(tmp_path: Path) -> None:
    directory = tmp_path / ".bitrouter" / "state"
    directory.mkdir(parents=True)
    (directory / "keys.json").write_text("{")
    ended = run("serve", *ANY_PORT, cwd=tmp_path)
    assert ended.returncode == 78
    assert "keys.json" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_damaged_file_of_dynamic_routes_is_told_and_does_not_end_the_start(
    start_process: StartProcess, tmp_path: Path
) -> None:
    directory = tmp_path / ".bitrouter" / "state"
    directory.mkdir(parents=True)
    (directory / "routes.json").write_text("{")
    process = start_process(*ANY_PORT)
    assert "routes.json is damaged" in process.text
    assert (directory / "routes.json.broken").read_text() == "{"


def test_without_the_compiled_parser_it_does_not_start(tmp_path: Path) -> None:
    ended = run("serve", cwd=tmp_path, env=environment(tmp_path, AIOHTTP_NO_EXTENSIONS="1"))
    assert ended.returncode == 1
    assert ended.stderr == "bitrouter: aiohttp's compiled HTTP parser is missing\n"


def test_a_taken_port_ends_the_start_with_1_and_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("serve", "--listen", f"127.0.0.1:{port}", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("bitrouter: cannot listen")
    assert f"{port}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [(), ("serv",), ("serve", "--port", "1"), ("keys",)])
def test_a_wrong_command_line_ends_with_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    ended = run(*words, cwd=tmp_path)
    assert ended.returncode == 2
    assert "usage:" in ended.stderr


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout == f"bitrouter {__version__}\n"


# -- other listeners --------------------------------------------------------------------------


async def test_a_unix_socket_serves_and_a_stale_one_is_replaced(
    start_process: StartProcess, tmp_path: Path
) -> None:
    path = tmp_path / "router.sock"
    for end in (signal.SIGKILL, signal.SIGTERM):
        process = start_process("--listen", f"unix:{path}")
        assert process.url == f"unix:{path}"
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://localhost/health") as response,
        ):
            assert await response.json() == {"status": "ok"}
        process.send(end)
        assert process.wait() in (-signal.SIGKILL, 0)


async def test_the_admin_may_have_a_listener_of_its_own(
    start_process: StartProcess, file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    write(file, {"server": {"listen": "127.0.0.1:0", "admin_listen": f"unix:{path}"}})
    process = start_process()
    assert f"unix:{path}" in process.banner
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{process.url}/admin/routes") as response:
            assert response.status == 404
        async with session.get(f"{process.url}/metrics") as response:
            assert response.status == 404
        async with session.get(f"{process.url}/health") as response:
            assert response.status == 200
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get("http://localhost/admin/routes") as response:
            assert response.status == 200
        async with session.post("http://localhost/v1/messages") as response:
            assert response.status == 404


# -- reloading --------------------------------------------------------------------------------


async def ask(session: aiohttp.ClientSession, url: str, model: str = "m") -> int:
    """One request: its status."""
    async with session.post(f"{url}{CHAT.path()}", json=CHAT.body(model)) as response:
        await response.read()
        return response.status


async def test_sighup_reads_the_file_again_and_keeps_the_old_one_if_it_is_bad(
    start_process: StartProcess, file: Path, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url)
    write(file, given)
    process = start_process(*ANY_PORT)
    async with aiohttp.ClientSession() as session:
        assert await ask(session, process.url, "m") == 200
        await asyncio.to_thread(file.write_text, "models: [\n")
        process.send(signal.SIGHUP)
        await asyncio.to_thread(process.wait_for, "the configuration stays as it was")
        assert await ask(session, process.url, "m") == 200
        given["models"]["n"] = given["models"].pop("m")
        write(file, given)
        process.send(signal.SIGHUP)
        await asyncio.to_thread(process.wait_for, "the configuration was reloaded")
        assert await ask(session, process.url, "n") == 200
        assert await ask(session, process.url, "m") == 404


# -- stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_router_promptly_with_0(
    start_process: StartProcess, number: signal.Signals
) -> None:
    process = start_process(*ANY_PORT)
    process.send(number)
    assert process.wait(PROMPTLY_S) == 0
    assert "Traceback" not in process.text
    assert "Unclosed" not in process.text


async def wait_until_draining(process: RouterProcess) -> None:
    await asyncio.to_thread(process.wait_for, "stopping")


async def test_sigterm_lets_a_running_stream_finish_and_takes_no_more(
    start_process: StartProcess, file: Path, upstream: ScriptedUpstream
) -> None:
    write(file, settings(CHAT, upstream.url))
    process = start_process(*ANY_PORT)
    go_on = asyncio.Event()
    upstream.script = sse(*CHAT.events, pause=go_on)
    url = f"{process.url}{CHAT.path()}"
    async with aiohttp.ClientSession() as session, aiohttp.ClientSession() as watch:
        async with watch.get(f"{process.url}/ready") as ready:
            assert ready.status == 200  # and its connection stays open
        async with session.post(url, json=CHAT.body(stream=True)) as response:
            first = await response.content.readexactly(len(CHAT.events[0]))
            process.send(signal.SIGTERM)
            await wait_until_draining(process)
            async with watch.get(f"{process.url}/ready") as ready:
                assert ready.status == 503
            async with watch.get(f"{process.url}/health") as alive:
                assert alive.status == 200
            async with aiohttp.ClientSession() as stranger:
                with pytest.raises(aiohttp.ClientConnectorError):
                    await stranger.get(f"{process.url}/health")
            go_on.set()
            assert first + await response.read() == b"".join(CHAT.events)
    assert await asyncio.to_thread(process.wait, PROMPTLY_S) == 0
    assert "Traceback" not in process.text


async def test_a_live_connection_is_told_to_go_elsewhere_while_the_router_drains(
    start_process: StartProcess, file: Path, upstream: ScriptedUpstream
) -> None:
    write(file, settings(CHAT, upstream.url))
    process = start_process(*ANY_PORT)
    go_on = asyncio.Event()

    def script(received: Received) -> Reply:
        return sse(*CHAT.events, pause=go_on) if b'"stream"' in received.body else Reply()

    upstream.script = script
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session:
        assert await ask(session, process.url) == 200
        url = f"{process.url}{CHAT.path()}"
        async with (
            aiohttp.ClientSession() as other,
            other.post(url, json=CHAT.body(stream=True)) as response,
        ):
            await response.content.readany()
            process.send(signal.SIGTERM)
            await wait_until_draining(process)
            async with session.post(url, json=CHAT.body()) as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"]
                assert "shutting down" in CHAT.error(await refused.read(), 503)
            go_on.set()
            await response.read()
    assert await asyncio.to_thread(process.wait, PROMPTLY_S) == 0


async def test_a_broken_pipe_is_no_reason_to_end(
    start_process: StartProcess, file: Path, upstream: ScriptedUpstream
) -> None:
    write(file, settings(CHAT, upstream.url))
    process = start_process(*ANY_PORT)
    process.send(signal.SIGPIPE)
    upstream.script = Reply((CHAT.answer,))
    async with aiohttp.ClientSession(process.url) as session:
        for _ in range(2):
            async with session.post(CHAT.path(), json=CHAT.body()) as response:
                assert (response.status, await response.read()) == (200, CHAT.answer)


async def test_a_second_signal_does_not_wait(
    start_process: StartProcess, file: Path, upstream: ScriptedUpstream
) -> None:
    write(file, settings(CHAT, upstream.url))
    process = start_process(*ANY_PORT)
    upstream.script = sse(*CHAT.events, pause=asyncio.Event())
    url = f"{process.url}{CHAT.path()}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=CHAT.body(stream=True)) as response,
    ):
        await response.content.readany()
        process.send(signal.SIGTERM)
        await wait_until_draining(process)
        process.send(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PROMPTLY_S) == 0
        with pytest.raises(aiohttp.ClientPayloadError):  # cut, and not made to look whole
            await response.read()
    assert "Traceback" not in process.text


async def test_the_drain_has_an_end(
    start_process: StartProcess, file: Path, upstream: ScriptedUpstream
) -> None:
    write(file, settings(CHAT, upstream.url, timeouts={"drain": "100ms"}))
    process = start_process(*ANY_PORT)
    upstream.script = sse(*CHAT.events, pause=asyncio.Event())
    url = f"{process.url}{CHAT.path()}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=CHAT.body(stream=True)) as response,
    ):
        await response.content.readany()
        process.send(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PROMPTLY_S) == 0
        assert "the router was stopped" in CHAT.error_in_stream(await response.read())


# -- checking ---------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("check",), ("serve", "--check")])
def test_check_passes_a_good_file_without_its_secrets(
    tmp_path: Path, file: Path, words: tuple[str, ...]
) -> None:
    given = settings(CHAT, "http://127.0.0.1:1")
    given["providers"]["p1"]["api_key"] = "${NOT_SET_HERE}"
    write(file, given)
    ended = run(*words, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"ok: {file}: 5 providers, 1 models\n"


@pytest.mark.parametrize("words", [("check",), ("serve", "--check")])
def test_check_prints_every_problem_and_ends_with_78(
    tmp_path: Path, file: Path, words: tuple[str, ...]
) -> None:
    file.write_text("retry: {max_attempts: 0}\nlimits: {max_body_bytes: lots}\n")
    ended = run(*words, cwd=tmp_path)
    assert ended.returncode == 78
    first, second = ended.stdout.splitlines()
    assert first.startswith(f"{file}:1:23: retry.max_attempts: ")
    assert second.startswith(f"{file}:2:26: limits.max_body_bytes: ")


def test_check_as_json_is_one_object(tmp_path: Path, file: Path) -> None:
    file.write_text("retry: {max_attempts: 0}\n")
    ended = run("check", "--json", cwd=tmp_path)
    assert ended.returncode == 78
    report = json.loads(ended.stdout)
    assert report["ok"] is False
    assert report["file"] == str(file)
    assert [problem["path"] for problem in report["problems"]] == ["retry.max_attempts"]
    file.write_text("retry: {max_attempts: 1}\n")
    ended = run("check", "--json", cwd=tmp_path)
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == {"ok": True, "file": str(file), "problems": []}
