"""`server.tls`: the router's own certificate."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bitrouter.app import Router
from bitrouter.config.load import load_config
from bitrouter.errors import ConfigError
from bitrouter.protocols import BY_API_PROTOCOL
from tests.support.certificates import write_certificate
from tests.support.dialects import CHAT, settings
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream, sse

StartRouter = Callable[[Mapping[str, Any]], Awaitable[RunningRouter]]


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    """The setting, with files beside the configuration."""
    write_certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    return {"cert": "cert.pem", "key": "key.pem"}


def trusting(cert: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False  # it is asked by its address
    return context


async def shown(router: RunningRouter, **more: Any) -> bytes | None:
    """The certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = router.url.removeprefix("https://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, **more)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    assert isinstance(certificate, bytes | None)
    return certificate


async def test_answers_and_streams_come_through_tls(
    start_router: StartRouter, tmp_path: Path, tls: dict[str, str], upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, server={"tls": tls}))
    assert router.url.startswith("https://127.0.0.1:")
    upstream.script = sse(*CHAT.events)
    context = await asyncio.to_thread(trusting, tmp_path / "cert.pem")
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.post(f"{router.url}{CHAT.path()}", json=CHAT.body(stream=True)) as response,
    ):
        assert await response.read() == b"".join(CHAT.events)


async def test_a_refusal_that_ends_its_connection_arrives(
    start_router: StartRouter, tmp_path: Path, tls: dict[str, str]
) -> None:
    router = await start_router({"server": {"tls": tls}, "limits": {"max_body_bytes": 1000}})
    context = await asyncio.to_thread(trusting, tmp_path / "cert.pem")
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.post(f"{router.url}{CHAT.path()}", json={"x": "x" * 5000}) as response,
    ):
        assert response.status == 413


async def test_who_speaks_no_tls_gets_nothing(
    start_router: StartRouter, tls: dict[str, str]
) -> None:
    router = await start_router({"server": {"tls": tls}})
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(router.url.replace("https", "http") + "/health")


async def test_a_reload_shows_the_new_certificate_and_a_broken_one_changes_nothing(
    start_router: StartRouter, tmp_path: Path, tls: dict[str, str]
) -> None:
    router = await start_router({"server": {"tls": tls}})
    first = await shown(router)
    write_certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert await shown(router) == first
    await router.router.reload_and_log()
    second = await shown(router)
    assert second != first
    write_certificate(tmp_path / "cert.pem", tmp_path / "other.pem")  # not that of key.pem
    await router.router.reload_and_log()
    assert await shown(router) == second
    assert router.router.services.metrics.reloads["error"] == 1
    assert await shown(router, server_hostname="localhost") == second


async def test_the_admin_listener_is_plain_where_this_machine_alone_reaches_it(
    start_router: StartRouter, tls: dict[str, str]
) -> None:
    router = await start_router({"server": {"tls": tls, "admin_listen": "127.0.0.1:0"}})
    _, admin = router.router.addresses
    async with aiohttp.ClientSession() as session, session.get(f"{admin}/health") as response:
        assert response.status == 200


def broken(directory: Path, what: str) -> str:
    cert, key = directory / "cert.pem", directory / "key.pem"
    write_certificate(cert, key)
    if what == "missing":
        key.unlink()
        return "server.tls.key"
    if what == "of another":
        write_certificate(directory / "x.pem", key)
    elif what == "no PEM":
        cert.write_text("hello")
    return "server.tls: "


@pytest.mark.parametrize("what", ["missing", "of another", "no PEM"])
def test_files_that_do_not_fit_are_refused_by_name(tmp_path: Path, what: str) -> None:
    where = broken(tmp_path, what)
    file = tmp_path / "bitrouter.yaml"
    file.write_text("server: {tls: {cert: cert.pem, key: key.pem}}\n")
    environ = {"BITROUTER_HOME": str(tmp_path)}
    config = load_config(file, environ, BY_API_PROTOCOL)
    with pytest.raises(ConfigError) as error:
        Router(config, environ, lambda: config)
    assert where in str(error.value)
    assert str(tmp_path / "key.pem") in str(error.value)
    assert "PRIVATE" not in str(error.value)


def test_a_unix_socket_has_no_tls(tmp_path: Path) -> None:
    file = tmp_path / "bitrouter.yaml"
    file.write_text("server: {listen: 'unix:/run/x', tls: {cert: a, key: b}}\n")
    with pytest.raises(ConfigError, match="`listen` is a Unix socket"):
        load_config(file, {}, BY_API_PROTOCOL)
