"""The audit file."""

import json
from pathlib import Path

import pytest

from bitrouter.state.audit import AuditFile, Entry


def entry(action: str, **more: str) -> Entry:
    return Entry(time="2026-11-23T00:00:00.000Z", action=action, by="127.0.0.1", **more)  # type: ignore[arg-type]  # texts alone


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_entry_is_a_line_of_json_for_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "audit.jsonl"
    audit = AuditFile(file)
    audit.add(entry("set", route="line\nbreak"))
    audit.add(entry("remove"))

    assert [line["action"] for line in lines(file)] == ["set", "remove"]
    assert lines(file)[0]["route"] == "line\nbreak"
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_a_crash_has_left_of_a_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text('{"time":"2026-11-2')
    AuditFile(file).add(entry("set"))

    torn, whole = file.read_text().splitlines()
    assert torn == '{"time":"2026-11-2'
    assert json.loads(whole)["action"] == "set"


def test_a_file_that_is_full_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    audit = AuditFile(file, max_bytes=200)
    for number in range(5):
        audit.add(entry(f"change {number}"))

    before = [line["action"] for line in lines(tmp_path / "audit.jsonl.1")]
    assert (
        before + [line["action"] for line in lines(file)]
        == [*("change 0", "change 1", "change 2", "change 3", "change 4")][
            -len(before) - len(lines(file)) :
        ]
    )
    assert len(before) >= 2


def test_a_directory_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(OSError, match=r"exists|directory"):
        AuditFile(tmp_path / "state" / "audit.jsonl").add(entry("set"))
