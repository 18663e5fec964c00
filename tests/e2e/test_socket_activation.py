"""Sockets that the service manager made: real descriptors, inherited by real processes."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bench import restarts
from bench.manager import listening
from bench.process import free_port
from tests.support.dialects import CHAT, settings
from tests.support.managed import Sockets, run_managed, start_managed
from tests.support.process import RouterProcess, environment
from tests.support.upstream import Reply, ScriptedUpstream, sse

PROMPTLY_S = 15.0
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"

Start = Callable[..., RouterProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a router that inherits sockets."""
    running: list[RouterProcess] = []

    def begin(sockets: Sockets, *words: str) -> RouterProcess:
        running.append(start_managed(*words, cwd=tmp_path, sockets=sockets))
        return running[-1]

    yield begin
    for process in running:
        process.stop()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket on a free port of 127.0.0.1, which listens."""
    with listening(("127.0.0.1", 0)) as made:
        yield made


def unix_listener(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def at(one: socket.socket) -> str:
    """Where it listens, as the configuration has it."""
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def write(directory: Path, server: dict[str, Any], **more: Any) -> None:
    (directory / "bitrouter.yaml").write_text(yaml.safe_dump({"server": server, **more}))


def ask(where: socket.socket) -> bytes:
    """A request over a connection of its own, and the first line of its answer."""
    with socket.socket(where.family) as client:
        client.settimeout(PROMPTLY_S)
        client.connect(where.getsockname())
        client.sendall(GET)
        return client.recv(4096).partition(b"\r\n")[0]


# -- which sockets ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_tcp_socket_is_served(start: Start, tmp_path: Path, host: str) -> None:
    with listening((host, 0)) as one:
        write(tmp_path, {"listen": at(one)})
        process = start([("listen", one)])
        assert process.url == f"http://{at(one)}"
        assert ask(one) == b"HTTP/1.1 200 OK"


def test_a_unix_socket_is_served_and_stays_when_the_router_ends(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "router.sock"
    with unix_listener(path) as one:
        process = start([("listen", one)], "--listen", f"unix:{path}")
        assert process.url == f"unix:{path}"
        assert ask(one) == b"HTTP/1.1 200 OK"
        process.send(signal.SIGTERM)
        assert process.wait(PROMPTLY_S) == 0
        assert path.is_socket()


def test_the_admin_has_the_socket_of_its_name(
    start: Start, tmp_path: Path, listener: socket.socket
) -> None:
    with unix_listener(tmp_path / "admin.sock") as admin:
        where = {"listen": at(listener), "admin_listen": f"unix:{tmp_path / 'admin.sock'}"}
        write(tmp_path, where)
        process = start([("admin_listen", admin), ("listen", listener)])
        assert f"{process.url} and unix:" in process.banner
        for one, status in ((admin, b"200 OK"), (listener, b"404 Not Found")):
            with socket.socket(one.family) as client:
                client.settimeout(PROMPTLY_S)
                client.connect(one.getsockname())
                client.sendall(GET.replace(b"/health", b"/admin/routes"))
                assert client.recv(4096).startswith(b"HTTP/1.1 " + status)


def test_a_listener_may_have_several_sockets_and_another_none(
    start: Start, tmp_path: Path, listener: socket.socket
) -> None:
    with listening(("::1", 0)) as other:
        write(tmp_path, {"listen": at(listener), "admin_listen": "127.0.0.1:0"})
        process = start([("listen", listener), ("listen", other)])
        assert ask(listener) == ask(other) == b"HTTP/1.1 200 OK"
        assert process.banner.count("http://") == 3


def test_sockets_for_another_process_are_left_alone(tmp_path: Path) -> None:
    more = {"LISTEN_PID": "1", "LISTEN_FDS": "7"}
    process = start_managed("--listen", "127.0.0.1:0", cwd=tmp_path, more=more)
    try:
        assert "listening on http://127.0.0.1:" in process.banner
    finally:
        process.stop()


def test_sockets_without_names_are_the_routers(
    start: Start, tmp_path: Path, listener: socket.socket
) -> None:
    write(tmp_path, {"listen": at(listener)})
    start([("", listener)])
    assert ask(listener) == b"HTTP/1.1 200 OK"


def datagram() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def unheard() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


UNFIT: dict[str, tuple[Callable[[], socket.socket], str, str]] = {
    "a datagram socket": (datagram, "listen", "must be a TCP or Unix stream socket"),
    "one that does not listen": (unheard, "listen", "must be listening, not a connection"),
    "a name that nothing has": (
        lambda: listening(("127.0.0.1", 0)),
        "admin_listn",
        "did you mean `admin_listen`? allowed: listen, admin_listen",
    ),
    "too many names": (lambda: listening(("127.0.0.1", 0)), "listen:x", "2 names for 1 sockets"),
    "another address": (
        lambda: listening(("127.0.0.1", 0)),
        "listen",
        "the configuration says 127.0.0.1:8787; change one of the two",
    ),
}


@pytest.mark.parametrize(("make", "names", "message"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_ends_the_start_with_78(
    tmp_path: Path, make: Callable[[], socket.socket], names: str, message: str
) -> None:
    with make() as one:
        ended = run_managed(cwd=tmp_path, sockets=[("listen", one)], names=names)
    assert ended.returncode == 78
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


# -- restarts ---------------------------------------------------------------------------------


def test_who_waits_while_there_is_no_router_is_served_by_the_next(
    start: Start, tmp_path: Path, listener: socket.socket
) -> None:
    write(tmp_path, {"listen": at(listener)})
    for _ in range(2):  # before the first one, and after it
        with socket.create_connection(listener.getsockname(), timeout=PROMPTLY_S) as early:
            early.sendall(GET)
            process = start([("listen", listener)])
            assert early.recv(4096).startswith(b"HTTP/1.1 200 OK")
        process.send(signal.SIGTERM)
        assert process.wait(PROMPTLY_S) == 0


async def test_while_it_drains_clients_may_ask_once_more_and_new_ones_wait_for_the_next(
    start: Start, tmp_path: Path, listener: socket.socket, upstream: ScriptedUpstream
) -> None:
    write(tmp_path, {"listen": at(listener)}, **settings(CHAT, upstream.url))
    process = start([("listen", listener)])
    go_on = asyncio.Event()
    url = f"{process.url}{CHAT.path()}"
    async with aiohttp.ClientSession() as session, aiohttp.ClientSession() as other:
        async with other.post(url, json=CHAT.body()) as response:
            assert "Connection" not in response.headers  # and it stays open
        upstream.script = sse(*CHAT.events, pause=go_on)
        async with session.post(url, json=CHAT.body(stream=True)) as response:
            first = await response.content.readexactly(len(CHAT.events[0]))
            process.send(signal.SIGTERM)
            await asyncio.to_thread(process.wait_for, "stopping")
            upstream.script = Reply()
            async with other.post(url, json=CHAT.body()) as last:
                assert (last.status, last.headers["Connection"]) == (200, "close")
            late = asyncio.ensure_future(other.post(url, json=CHAT.body()))
            go_on.set()
            assert first + await response.read() == b"".join(CHAT.events)
        assert await asyncio.to_thread(process.wait, PROMPTLY_S) == 0
        assert not late.done()
        await asyncio.to_thread(start, [("listen", listener)])
        async with await late as response:
            assert response.status == 200
            assert "Connection" not in response.headers


def test_restarts_under_load_lose_no_request(capfd: pytest.CaptureFixture[str]) -> None:
    """The short version of `python -m bench.restarts`, which has 50 among 10,000 requests."""
    assert restarts.run(restarts=3, requests=300)
    assert "restarts: 3, exit codes [0]" in capfd.readouterr().out


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd's own tool is not here"
)
def test_systemds_own_tool_hands_its_socket_over(tmp_path: Path) -> None:
    tool, port = str(shutil.which("systemd-socket-activate")), free_port()
    write(tmp_path, {"listen": f"127.0.0.1:{port}"})
    variables = [f"-E{name}={value}" for name, value in environment(tmp_path).items()]
    command = [tool, *variables, "--fdname=listen", "-l", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "bitrouter", "serve"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert "Listening" in process.stderr.readline()  # and begins at the first connection
        with socket.create_connection(("127.0.0.1", port), timeout=PROMPTLY_S) as client:
            client.sendall(GET)
            assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PROMPTLY_S) == 0
    finally:
        process.kill()
        process.communicate()
