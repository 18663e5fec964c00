"""What is on disk after a crash, and what becomes of files that are damaged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bitrouter.errors import ConfigError
from bitrouter.routing.dynamic import Change, DynamicRoute, History
from bitrouter.server.statedir import RouteStore, utc_now
from tests.support.routes import endpoint

ROOT = Path(__file__).parents[3]


def saved(store: RouteStore, *names: str) -> None:
    """Set these routes one after the other."""
    routes: dict[str, DynamicRoute] = {}
    history = History()
    for name in names:
        change = Change(
            version=history.version + 1, time=utc_now(), action="set", by="test", undo={name: None}
        )
        routes = routes | {name: DynamicRoute(name, (endpoint("p:1"),))}
        history = history.with_change(change)
        store.save(routes, history)


@pytest.fixture
def store(tmp_path: Path) -> RouteStore:
    return RouteStore(tmp_path)


def test_what_was_saved_is_there_with_its_history(store: RouteStore) -> None:
    saved(store, "a", "b")
    routes, history = RouteStore(store.file.parent).load()
    assert ([*routes], history.version) == (["a", "b"], 2)
    assert store.file.stat().st_mode & 0o777 == 0o600


def test_without_a_file_there_are_no_routes(store: RouteStore) -> None:
    assert store.load() == ({}, History())


SAVE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tests.unit.server.test_statedir import RouteStore, saved
saved(RouteStore(Path(sys.argv[1])), "a", "b")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_saved_outlives_a_kill_right_after_it(store: RouteStore) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SAVE_AND_DIE, str(store.file.parent)],
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert [*store.load()[0]] == ["a", "b"]


@pytest.mark.parametrize("step", ["write", "fsync", "link", "replace"])
def test_a_crash_at_any_step_leaves_the_old_routes_or_the_new(
    store: RouteStore, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(store, "a")

    class Crash(BaseException):
        pass

    def crash(*given: object, **more: object) -> None:
        raise Crash

    if step == "write":  # half of the draft is there
        real = os.open

        def half(path: object, *given: object, **more: object) -> int:
            descriptor = real(path, *given, **more)  # type: ignore[arg-type]  # passed on as they are
            if str(path).endswith(".new"):
                os.write(descriptor, b'{"routes": [{"mod')
                raise Crash
            return descriptor

        monkeypatch.setattr(os, "open", half)
    else:
        monkeypatch.setattr(os, step, crash)
    with pytest.raises(Crash):
        saved(store, "a", "b")
    monkeypatch.undo()

    assert [*store.load()[0]] == ["a"]
    saved(store, "a", "c")  # and nothing that was left behind is in the way
    assert [*store.load()[0]] == ["a", "c"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe", b'{"routes":[{"model":1}]}', b"\0" * 99]
)
def test_a_damaged_file_is_set_aside_for_the_one_before_it(
    store: RouteStore, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    saved(store, "a", "b")
    store.file.write_bytes(damage)

    routes, history = store.load()

    assert ([*routes], history.version) == (["a"], 1)
    assert store.file.with_name("routes.json.broken").read_bytes() == damage
    assert "is damaged" in caplog.text
    assert "those of version 1, before the last change" in caplog.text
    caplog.clear()
    assert [*store.load()[0]] == ["a"]  # it was mended
    assert caplog.text == ""


def test_a_damaged_file_without_a_backup_costs_the_routes_and_not_the_service(
    store: RouteStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.file.write_text("{")
    assert store.load() == ({}, History())
    assert "the dynamic routes are lost" in caplog.text


def test_a_file_that_cannot_be_read_is_told_as_that(store: RouteStore) -> None:
    store.file.mkdir()
    with pytest.raises(ConfigError, match=r"routes\.json:0:0: .*cannot be read"):
        store.load()
