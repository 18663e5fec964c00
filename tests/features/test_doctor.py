"""`bitrouter doctor`: what it finds, and what it says to do about it."""

import asyncio
import json
import os
import resource
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp.http_parser import HttpRequestParserPy

from bitrouter.cli import examine, reach
from bitrouter.cli.main import main
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, provider, route_to
from tests.support.upstream import Reply, ScriptedUpstream

Doctor = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def doctor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Doctor:
    """Runs `bitrouter doctor --json` with a configuration: what was found, by what was looked at,
    and the exit code as `code`.
    """
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("BITROUTER"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BITROUTER_HOME", str(tmp_path))

    async def run(given: object, *words: str) -> dict[str, Any]:
        text = given if isinstance(given, str) else yaml.safe_dump(given)
        (tmp_path / "bitrouter.yaml").write_text(text)
        code = await asyncio.to_thread(main, ["doctor", "--json", *words])
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] is (code == 0)
        return {"code": code} | {one["check"]: one for one in report["findings"]}

    return run


def settings(*providers: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Providers at their addresses, and a route to all of them."""
    return {
        "server": {"listen": "127.0.0.1:0"},
        "providers": {name: provider(CHAT, url) for name, url in providers},
        "models": {"m": route_to(*(name for name, _ in providers))},
        **more,
    }


async def test_where_all_is_well_the_exit_code_is_0(
    doctor: Doctor, upstream: ScriptedUpstream
) -> None:
    found = await doctor(settings(("p1", upstream.url)))
    assert found.pop("code") == 0
    assert {one["state"] for one in found.values()} == {"ok"}
    assert {"python", "aiohttp", "uvloop", "configuration", "state directory", "open files"} < {
        *found
    }
    assert found["provider p1"]["said"].startswith(f"127.0.0.1:{upstream.port} answers, by plain")


async def test_offline_nobody_is_called(doctor: Doctor, upstream: ScriptedUpstream) -> None:
    found = await doctor(settings(("p1", upstream.url)), "--offline")
    assert (found["code"], upstream.connections) == (0, 0)
    assert "provider p1" not in found


async def test_a_bad_file_ends_with_78_and_says_where(doctor: Doctor) -> None:
    found = await doctor("retry:\n  max_attempts: 0\n")
    assert (found["code"], found["configuration"]["state"]) == (78, "fail")
    assert "bitrouter.yaml:2:17: retry.max_attempts: must be" in found["configuration"]["said"]


async def test_a_provider_without_a_key_is_worth_a_look_and_a_dead_route_is_wrong(
    doctor: Doctor, upstream: ScriptedUpstream
) -> None:
    given = settings(("p1", upstream.url))
    given["models"]["mixed"] = route_to("p1", "openai")
    found = await doctor(given)
    assert (found["code"], found["credential"]["state"]) == (0, "warn")
    assert found["credential"]["advice"] == "no API key: set OPENAI_API_KEY"
    given["models"]["dead"] = route_to("openai", "anthropic")
    found = await doctor(given)
    assert (found["code"], found["route"]["state"]) == (1, "fail")
    assert found["route"]["said"] == "dead: none of its endpoints is usable"
    assert "openai: no API key: set OPENAI_API_KEY" in found["route"]["advice"]


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Listen until the client has had enough."""
    await reader.read()
    writer.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_who_cannot_be_reached_is_told_with_the_reason(doctor: Doctor) -> None:
    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    try:
        given = settings(
            ("refused", f"http://127.0.0.1:{closed_port()}"),
            ("unknown", "https://nobody.invalid"),
            ("silent", f"http://127.0.0.1:{port}"),
            ("no-tls", f"https://127.0.0.1:{port}"),
        )
        found = await doctor(given, "--timeout", "0.3")
    finally:
        silent.close()
    assert found["code"] == 1
    assert {name: found[f"provider {name}"]["state"] for name in given["providers"]} == (
        dict.fromkeys(given["providers"], "fail")
    )
    assert "the connection was refused" in found["provider refused"]["said"]
    assert "the name is not known" in found["provider unknown"]["said"]
    assert "does not answer within 0.3 s" in found["provider silent"]["said"]


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody has signed."""
    pem = tmp_path / "pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    subprocess.run(
        [*command, "-keyout", str(pem), "-out", f"{pem}.crt"], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{pem}.crt", pem)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_told(
    doctor: Doctor, certificate: ssl.SSLContext
) -> None:
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0, ssl=certificate)
    port = server.sockets[0].getsockname()[1]
    try:
        found = await doctor(settings(("p1", f"https://127.0.0.1:{port}")))
    finally:
        server.close()
    assert (found["code"], found["provider p1"]["state"]) == (1, "fail")
    assert "its certificate is not valid: self-signed certificate" in found["provider p1"]["said"]
    assert "ca-certificates" in found["provider p1"]["advice"]


@pytest.mark.parametrize(
    ("ahead_s", "state", "said"),
    [
        (0, "ok", "it agrees with the providers'"),
        (100, "warn", "100 s ahead of the providers'"),
        (-4000, "fail", "4000 s behind the providers'"),
    ],
)
def test_a_clock_that_is_wrong_is_told(ahead_s: float, state: str, said: str) -> None:
    found = reach._clock([ahead_s + 0.2, ahead_s, ahead_s - 0.2])
    assert (found.state, said in found.said) == (state, True)


async def test_the_clock_is_compared_with_the_providers(
    doctor: Doctor, upstream: ScriptedUpstream
) -> None:
    upstream.script = Reply(headers={"Date": "Mon, 01 Jan 2024 00:00:00 GMT"})
    found = await doctor(settings(("p1", upstream.url)))
    assert (found["code"], found["clock"]["state"]) == (1, "fail")
    assert "ahead of the providers'" in found["clock"]["said"]


async def test_a_port_that_another_program_has_is_told(
    doctor: Doctor, upstream: ScriptedUpstream
) -> None:
    given = settings(("p1", upstream.url), server={"listen": f"127.0.0.1:{upstream.port}"})
    found = await doctor(given)
    assert (found["code"], found["listener"]["state"]) == (1, "fail")
    assert "ss -ltnp" in found["listener"]["advice"]


async def test_a_router_that_runs_there_is_no_problem(
    doctor: Doctor, start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(("p1", upstream.url)))
    listen = router.url.removeprefix("http://")
    found = await doctor(settings(("p1", upstream.url), server={"listen": listen}))
    assert (found["code"], found["listener"]["said"]) == (0, f"{listen}: a router runs there")


@pytest.mark.parametrize(
    ("listen", "said"),
    [("192.0.2.1:80", "Cannot assign requested address"), ("unix:/nowhere/s", "cannot be written")],
)
async def test_an_address_that_cannot_be_had_is_told(
    doctor: Doctor, upstream: ScriptedUpstream, listen: str, said: str
) -> None:
    server = {"listen": listen, "admin_token": "a-token-of-some-length"}
    found = await doctor(settings(("p1", upstream.url), server=server), "--offline")
    assert (found["code"], said in found["listener"]["said"]) == (1, True)


async def test_a_state_directory_that_is_none_is_told(
    doctor: Doctor, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    server = {"listen": "127.0.0.1:0", "state_dir": "file/below"}
    found = await doctor(settings(("p1", upstream.url), server=server), "--offline")
    assert (found["code"], found["state directory"]["state"]) == (1, "fail")
    assert "server.state_dir" in found["state directory"]["advice"]


async def test_state_files_that_are_damaged_are_told(
    doctor: Doctor, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "routes.json").write_text("{")
    found = await doctor(settings(("p1", upstream.url)), "--offline")
    assert (found["code"], found["state file"]["state"]) == (1, "fail")
    assert "routes.json: not a file of dynamic routes" in found["state file"]["said"]


def test_too_few_descriptors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    assert examine.descriptors(1000).state == "ok"
    found = examine.descriptors(2000)
    assert (found.state, "LimitNOFILE=4128" in found.advice) == ("warn", True)


def test_an_interpreter_without_the_compiled_parser_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examine, "HttpRequestParser", HttpRequestParserPy)
    found = {one.check: one.state for one in examine.interpreter()}
    assert found["aiohttp"] == "fail"


async def test_a_short_token_is_worth_a_look_and_is_not_shown(
    doctor: Doctor, upstream: ScriptedUpstream
) -> None:
    server = {"listen": "127.0.0.1:0", "admin_token": "tok-9f"}
    found = await doctor(settings(("p1", upstream.url), server=server), "--offline")
    assert found["admin token"]["state"] == "warn"
    assert "tok-9f" not in json.dumps(found)


async def test_each_endpoint_is_asked_for_a_few_words(
    doctor: Doctor, upstream: ScriptedUpstream
) -> None:
    def script(received: Any) -> Reply:
        if json.loads(received.body or b"{}").get("model") == "gone":
            return Reply((b'{"error":{"message":"no such model"}}',), status=404)
        return Reply((CHAT.answer,))

    upstream.script = script
    given = settings(("p1", upstream.url))
    given["models"]["n"] = {"endpoints": [{"provider": "p1", "model_id": "gone"}]}

    found = await doctor(given)

    assert found["code"] == 1
    assert found["live call p1:up-1"]["state"] == "ok"
    assert found["live call p1:gone"]["said"].startswith("status 404: ")
    assert found["live call p1:gone"]["advice"] == "the provider has no such model: see model_id"


async def test_without_routes_one_model_of_each_provider_is_asked(
    doctor: Doctor, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda received: Reply((CHAT.answer,))
    given = settings(("p1", upstream.url), models={})
    given["providers"]["p1"]["models"] = {"first": {}, "second": {}}

    found = await doctor(given)

    assert found["live call p1:first"]["state"] == "ok"
    assert "live call p1:second" not in found


@pytest.mark.parametrize("words", ["--offline", "--no-live"])
async def test_nobody_is_asked_where_that_is_not_wanted(
    doctor: Doctor, upstream: ScriptedUpstream, words: str
) -> None:
    found = await doctor(settings(("p1", upstream.url)), words)

    assert not any(check.startswith("live call") for check in found)
    assert not any(received.body for received in upstream.received)


async def test_the_answer_is_the_endpoints_own_and_nobody_elses(
    doctor: Doctor, upstream: ScriptedUpstream, second_upstream: ScriptedUpstream
) -> None:
    """A route would go on to the second one, and its health would hide the first one's."""
    upstream.script = lambda received: Reply((b"{}",), status=503)
    second_upstream.script = lambda received: Reply((CHAT.answer,))

    found = await doctor(settings(("p1", upstream.url), ("p2", second_upstream.url)))

    assert found["live call p1:up-1"]["state"] == "fail"
    assert found["live call p2:up-1"]["state"] == "ok"


async def test_for_people_there_is_a_line_each_and_what_to_do(
    doctor: Doctor, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    await doctor(settings(("p1", "https://nobody.invalid")), "--offline")
    code = await asyncio.to_thread(main, ["doctor", "--no-live"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    at = next(number for number, line in enumerate(lines) if line.startswith("FAIL  provider p1"))
    assert lines[at + 1] == "      check the spelling of api_base, and the machine's DNS"
    assert lines[-1].endswith("1 wrong")
