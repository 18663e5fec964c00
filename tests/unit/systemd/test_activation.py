"""Sockets and the settings that they have to fit. Real descriptors are in tests/e2e."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.manager import listening
from bitrouter.config.schema import ServerSettings
from bitrouter.errors import ConfigError
from bitrouter.systemd.activation import Inherited, Setting, check_fit, inherited_sockets


@pytest.fixture
def loopback() -> Iterator[socket.socket]:
    """A TCP listener of this machine alone."""
    with listening(("127.0.0.1", 0)) as made:
        yield made


def port_of(one: socket.socket) -> int:
    port: int = one.getsockname()[1]
    return port


def misfit(server: ServerSettings, *sockets: tuple[Setting, socket.socket]) -> str:
    """What is wrong with them, or nothing."""
    try:
        check_fit(server, [Inherited(*one) for one in sockets])
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("any_port", [False, True])
def test_an_address_fits_by_what_it_means(
    loopback: socket.socket, host: str, any_port: bool
) -> None:
    listen = f"{host}:{0 if any_port else port_of(loopback)}"
    assert misfit(ServerSettings(listen=listen), ("listen", loopback)) == ""


def test_an_ipv6_address_fits_however_it_is_written() -> None:
    with listening(("::1", 0)) as one:
        listen = f"[0:0:0:0:0:0:0:1]:{port_of(one)}"
        assert misfit(ServerSettings(listen=listen), ("listen", one)) == ""
        assert Inherited("listen", one).listen == f"[::1]:{port_of(one)}"


def test_an_address_that_differs_is_told_with_both(loopback: socket.socket) -> None:
    found = f"127.0.0.1:{port_of(loopback)}"
    assert misfit(ServerSettings(listen="127.0.0.2:1"), ("listen", loopback)) == (
        "(inherited sockets):0:0: server.listen: the socket for it is at"
        f" {found}, the configuration says 127.0.0.2:1; change one of the two"
    )


def test_a_socket_for_a_listener_that_is_not_set_is_refused(loopback: socket.socket) -> None:
    assert "server.admin_listen: not set" in misfit(ServerSettings(), ("admin_listen", loopback))


def test_a_second_socket_may_not_let_in_more_than_the_first(loopback: socket.socket) -> None:
    listen = f"127.0.0.1:{port_of(loopback)}"
    with listening(("0.0.0.0", 0)) as wide:
        message = misfit(ServerSettings(listen=listen), ("listen", loopback), ("listen", wide))
        assert f"0.0.0.0:{port_of(wide)} is reachable from other machines" in message
        open_wide = ServerSettings(listen=f"0.0.0.0:{port_of(wide)}")
        assert misfit(open_wide, ("listen", wide), ("listen", loopback)) == ""


def test_a_unix_socket_fits_its_path_through_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
        one.listen()
        server = ServerSettings(listen=f"unix:{tmp_path}/link/s")
        assert misfit(server, ("listen", one)) == ""
        other = ServerSettings(listen=f"unix:{tmp_path}/other")
        assert f"is at unix:{tmp_path}/s" in misfit(other, ("listen", one))
        assert "unix:" in misfit(ServerSettings(), ("listen", one))


def test_an_abstract_socket_fits_nothing() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("\0bitrouter-test-abstract")
        one.listen()
        assert "at unix:@bitrouter-test-abstract" in misfit(ServerSettings(), ("listen", one))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "8", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "", "LISTEN_FDS": "1"},
    ],
)
def test_what_is_for_nobody_or_another_is_left_alone(environ: dict[str, str]) -> None:
    assert inherited_sockets(environ, 7) == []


@pytest.mark.parametrize("count", ["", "x", "-1", "65", "9999", "1.0"])
def test_a_number_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(ConfigError, match="LISTEN_FDS: must be a number of sockets, at most 64"):
        inherited_sockets({"LISTEN_PID": "7", "LISTEN_FDS": count}, 7)
