"""conf/systemd: the units, and how they come onto a machine."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bitrouter.cli.serve import BAD_CONFIG
from bitrouter.config.address import is_loopback
from bitrouter.config.load import load_config
from bitrouter.config.schema import Config, Timeouts
from bitrouter.protocols import BY_API_PROTOCOL

ROOT = Path(__file__).parents[3]
SYSTEMD = ROOT / "conf" / "systemd"
SECONDS = {"s": 1, "min": 60, "h": 3600}
LIMIT_S = 60
UNITS = ("bitrouter.service", "bitrouter.socket", "bitrouter-admin.socket")
OLD = "252"  # the last without notify-reload
NEW = "257"

with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


def section(text: str, name: str) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep capitals
    parser.read_string(text)
    return parser[name]


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    """Section [Service] of the unit."""
    return section((SYSTEMD / "bitrouter.service").read_text(), "Service")


def seconds(text: str) -> int:
    given = re.fullmatch(r"(\d+)(s|min|h)", text)
    assert given is not None
    return int(given[1]) * SECONDS[given[2]]


# -- what the units say -----------------------------------------------------------------------


def test_a_bad_configuration_is_not_started_again(service: configparser.SectionProxy) -> None:
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == str(BAD_CONFIG) == "78"


def test_a_crash_is_back_within_five_seconds(service: configparser.SectionProxy) -> None:
    assert seconds(service["RestartSec"]) < 5


def test_the_manager_is_told_and_reloads_by_the_signal_that_serve_takes(
    service: configparser.SectionProxy,
) -> None:
    assert service["Type"] == "notify-reload"  # SIGHUP, and no ExecReload beside it
    assert "ExecReload" not in service
    assert seconds(service["WatchdogSec"]) >= 10


def test_a_stop_may_take_longer_than_the_drain(service: configparser.SectionProxy) -> None:
    assert seconds(service["TimeoutStopSec"]) > Timeouts().drain


def test_state_and_keys_are_where_the_router_looks_for_them(
    service: configparser.SectionProxy,
) -> None:
    assert service["StateDirectory"] == "bitrouter"
    assert service["LoadCredential"] == "bitrouter:/etc/bitrouter/credentials"
    assert service["EnvironmentFile"].startswith("-/")
    assert service["DynamicUser"] == "yes"
    assert service["LimitNOFILE"] == "65536"
    assert service["LimitCORE"] == "0"  # a core file would hold the keys


def test_the_sockets_have_the_names_and_addresses_of_the_settings() -> None:
    main = section((SYSTEMD / "bitrouter.socket").read_text(), "Socket")
    admin = section((SYSTEMD / "bitrouter-admin.socket").read_text(), "Socket")
    assert (main["FileDescriptorName"], main["ListenStream"]) == ("listen", Config().server.listen)
    assert admin["FileDescriptorName"] == "admin_listen"
    assert admin["Service"] == "bitrouter.service"
    assert is_loopback(admin["ListenStream"])


def test_the_configuration_that_is_installed_listens_at_the_socket() -> None:
    config = load_config(SYSTEMD / "bitrouter.yaml", {}, BY_API_PROTOCOL)
    main = section((SYSTEMD / "bitrouter.socket").read_text(), "Socket")
    assert config.server.listen == main["ListenStream"]


# -- installing -------------------------------------------------------------------------------


def install(verb: str, destination: Path | None, **more: str) -> subprocess.CompletedProcess[str]:
    given = {} if destination is None else {"DESTDIR": str(destination)}
    env = {"PATH": os.environ["PATH"], **given, **more}
    return subprocess.run(
        ["make", "--no-print-directory", verb],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def files(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below, with its mode and content."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_install_puts_the_files_in_place_and_is_idempotent(tmp_path: Path) -> None:
    first = install("install-service", tmp_path, SYSTEMD_VERSION=NEW)
    assert first.returncode == 0, first.stderr
    there = files(tmp_path)
    assert {name: mode for name, (mode, _) in there.items()} == {
        **{f"etc/systemd/system/{unit}": 0o644 for unit in UNITS},
        "etc/bitrouter/bitrouter.yaml": 0o644,
        "etc/bitrouter/bitrouter.env": 0o600,
    }
    for unit in UNITS:
        assert there[f"etc/systemd/system/{unit}"][1] == (SYSTEMD / unit).read_bytes()
    assert (tmp_path / "etc/bitrouter/credentials").stat().st_mode & 0o777 == 0o700
    assert install("install-service", tmp_path, SYSTEMD_VERSION=NEW).returncode == 0
    assert files(tmp_path) == there


def test_install_renews_units_and_keeps_the_configuration(tmp_path: Path) -> None:
    etc, units = tmp_path / "etc/bitrouter", tmp_path / "etc/systemd/system"
    for directory in (etc, units):
        directory.mkdir(parents=True)
    (etc / "bitrouter.yaml").write_text("models: {}\n")
    (units / "bitrouter.service").write_text("an older one\n")
    assert install("install-service", tmp_path, SYSTEMD_VERSION=NEW).returncode == 0
    assert (etc / "bitrouter.yaml").read_text() == "models: {}\n"
    assert "notify-reload" in (units / "bitrouter.service").read_text()


def test_a_systemd_without_notify_reload_gets_a_command_for_it(tmp_path: Path) -> None:
    assert install("install-service", tmp_path, SYSTEMD_VERSION=OLD).returncode == 0
    old = section((tmp_path / "etc/systemd/system/bitrouter.service").read_text(), "Service")
    assert (old["Type"], old["ExecReload"]) == ("notify", "/bin/kill -HUP $MAINPID")


def test_uninstall_takes_the_units_away_and_leaves_what_is_the_users(tmp_path: Path) -> None:
    assert install("install-service", tmp_path, SYSTEMD_VERSION=NEW).returncode == 0
    for _ in range(2):
        assert install("uninstall-service", tmp_path).returncode == 0
        assert {*files(tmp_path)} == {
            "etc/bitrouter/bitrouter.yaml",
            "etc/bitrouter/bitrouter.env",
        }


@pytest.mark.parametrize("verb", ["install-service", "uninstall-service"])
def test_without_root_it_says_so_and_changes_nothing(tmp_path: Path, verb: str) -> None:
    """`id` is somebody else's here, so that the test is safe to be run by root."""
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    ended = install(verb, None, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ended.returncode != 0
    assert f"needs root: sudo make {verb}" in ended.stderr


# -- what systemd says of them ----------------------------------------------------------------


def installed_for_this_systemd(directory: Path) -> list[Path]:
    """The units as they would be installed here, with a program that exists."""
    assert install("install-service", directory).returncode == 0
    units = [directory / "etc/systemd/system" / name for name in UNITS]
    text = units[0].read_text()
    assert "ExecStart=/opt/bitrouter/bin/bitrouter " in text
    units[0].write_text(text.replace("/opt/bitrouter/bin/bitrouter", "/bin/true"))
    return units


@with_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    units = installed_for_this_systemd(tmp_path)
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (verify.returncode, verify.stdout, verify.stderr) == (0, "", "")


@with_systemd
def test_the_exposure_is_at_most_one_and_a_half(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = installed_for_this_systemd(tmp_path)[0]
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        env={**os.environ, "SYSTEMD_COLORS": "0"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said.stdout)
    assert found is not None, said.stderr
    with capsys.disabled():
        print(f" systemd-analyze security: {found[1]} ", end="")
    assert float(found[1]) <= 1.5
