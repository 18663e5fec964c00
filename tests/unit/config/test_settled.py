"""Reading a file that may be being written."""

import os
import time
from pathlib import Path

import pytest

from bitrouter.config import settled
from bitrouter.config.settled import read_settled
from bitrouter.errors import ConfigError, Problem


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that nobody has touched for an hour."""
    path = tmp_path / "bitrouter.yaml"
    path.write_text("models: {}")
    age(path)
    return path


def age(path: Path) -> None:
    then = time.time() - 3600
    os.utime(path, (then, then))


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of every sleep, which takes none."""
    taken: list[float] = []
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


def refuse() -> str:
    raise ConfigError([Problem("f", 1, 1, "m", "is wrong")])


def test_a_calm_file_is_read_at_once(
    file: Path, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "_CALM_NS", 0)
    assert read_settled(file, file.read_text) == "models: {}"
    assert naps == []


def test_a_file_that_was_just_written_is_left_alone_for_a_moment(file: Path) -> None:
    file.write_text("models: {a: 1}")
    began = time.time_ns()
    assert read_settled(file, file.read_text) == "models: {a: 1}"
    assert time.time_ns() - file.stat().st_mtime_ns >= settled._CALM_NS
    assert began


def test_what_was_read_while_it_was_being_written_does_not_count(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "_CALM_NS", 0)
    seen = []

    def read() -> str:
        text = file.read_text()
        seen.append(text)
        if len(seen) == 1:
            file.write_text("models: {whole: 1}")
            return text
        if len(seen) == 2:
            file.write_text("models: {whole: 2}")
            return refuse()  # half of it is wrong, and what is wrong with it does not count either
        return text

    assert read_settled(file, read) == "models: {whole: 2}"
    assert len(seen) == 3


def test_a_file_that_is_never_at_rest_is_told_as_that(
    file: Path, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "_CALM_NS", 10**18)
    with pytest.raises(ConfigError, match=r"bitrouter\.yaml:1:1: .*being written to; reload again"):
        read_settled(file, file.read_text)
    assert len(naps) == settled._TRIES


def test_an_environment_file_beside_it_counts_as_well(
    file: Path, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "_CALM_NS", 3600 * 10**9)
    file.with_name(".env").write_text("A=")
    with pytest.raises(ConfigError, match="being written to"):
        read_settled(file, file.read_text)


@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_an_empty_file_is_one_that_is_being_written(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError, match="it is empty, as a file is that is being written"):
        read_settled(file, file.read_text)


def test_what_is_wrong_with_a_calm_file_is_told(file: Path) -> None:
    with pytest.raises(ConfigError, match="f:1:1: m: is wrong"):
        read_settled(file, refuse)


def test_a_missing_file_is_the_readers_affair(file: Path) -> None:
    file.unlink()
    with pytest.raises(FileNotFoundError):
        read_settled(file, file.read_text)


def test_without_a_file_there_is_nothing_to_wait_for(naps: list[float]) -> None:
    assert read_settled(None, lambda: 7) == 7
    assert naps == []
