"""The journal: what is on disk when, what is forgotten when, and what a bad disk does."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from bitrouter.errors import ConfigError
from bitrouter.payments.database import MIGRATIONS
from bitrouter.payments.journal import KEPT_S, Entry, Journal, JournalUnavailable, State
from tests.support.facilitator import payload_of, terms_of
from tests.support.settling import NOW, entry_of

TERMS = terms_of()
PAYLOAD = payload_of(TERMS)
SIGNATURE = PAYLOAD["payload"]["signature"].encode()

Open = Callable[..., Journal]


@pytest.fixture
async def open_journal(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the journal of this test, with the clock at `NOW` or where it is said to be."""
    opened: list[Journal] = []

    def start(now: float = NOW, **settings: float) -> Journal:
        opened.append(Journal(tmp_path, wall=lambda: now, **settings))
        return opened[-1]

    yield start
    for journal in opened:
        await journal.close()


def entry(name: str = "1", state: State = "open", **changes: object) -> Entry:
    return msgspec.structs.replace(entry_of(PAYLOAD, TERMS, name, state=state), **changes)


def on_disk(tmp_path: Path) -> list[tuple[str, str]]:
    """Key and state of every row, as another process sees them."""
    with sqlite3.connect(tmp_path / "payments.db") as connection:
        rows = connection.execute(
            "SELECT key, state FROM payments UNION ALL SELECT key, state FROM pending ORDER BY key"
        ).fetchall()
    connection.close()
    return rows


def is_healthy(journal: Journal) -> bool:
    """Asked as a question, for mypy takes an attribute to stay as it was asserted."""
    return journal.healthy


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to that")


async def test_what_is_kept_is_on_disk_when_that_is_said(
    tmp_path: Path, open_journal: Open
) -> None:
    journal = open_journal(linger_s=3600.0)

    await journal.keep(entry(state="settling"))

    assert on_disk(tmp_path) == [("key-1", "settling")]


async def test_what_is_noted_waits_for_company(tmp_path: Path, open_journal: Open) -> None:
    journal = open_journal(linger_s=3600.0)
    journal.note(entry("1"))
    await asyncio.sleep(0.05)
    assert on_disk(tmp_path) == []

    await journal.keep(entry("2"))

    assert on_disk(tmp_path) == [("key-1", "open"), ("key-2", "open")]


async def test_what_is_noted_is_written_without_company_too(
    tmp_path: Path, open_journal: Open
) -> None:
    journal = open_journal(linger_s=0.01)
    journal.note(entry())

    await until(lambda: on_disk(tmp_path) == [("key-1", "open")])


async def test_closing_writes_what_was_noted(tmp_path: Path, open_journal: Open) -> None:
    journal = open_journal(linger_s=3600.0)
    journal.note(entry())

    await journal.close()

    assert on_disk(tmp_path) == [("key-1", "open")]


async def test_an_entry_comes_back_as_it_went_in(open_journal: Open) -> None:
    journal = open_journal()
    kept = entry(
        state="unknown",
        amount=2**255,
        ceiling=2**256 - 1,
        transaction="0xab",
        error_reason="settlement_pending",
        input_tokens=12,
        output_tokens=0,
        model="gpt \N{SNOWMAN}",
    )

    await journal.keep(kept)

    assert await journal.find("req-1") == kept
    assert await journal.find("req-2") is None


async def test_of_two_entries_with_one_key_the_later_stays(
    tmp_path: Path, open_journal: Open
) -> None:
    journal = open_journal()
    journal.note(entry(state="open"))
    await journal.keep(entry(state="settling", id="other"))
    await journal.keep(entry(state="settled", id="other", amount=1))

    found = await journal.find("other")
    assert found is not None
    assert (found.state, found.amount) == ("settled", 1)
    assert on_disk(tmp_path) == [("key-1", "settled")]


async def test_an_authorisation_that_was_released_can_be_used_again(
    tmp_path: Path, open_journal: Open
) -> None:
    journal = open_journal()
    await journal.keep(entry(state="released", id="first"))
    await journal.keep(entry(state="settling", id="second"))
    await journal.keep(entry(state="settled", id="second"))

    first, second = await journal.find("first"), await journal.find("second")
    assert first is not None
    assert second is not None
    assert (first.state, second.state) == ("released", "settled")
    assert await journal.unfinished() == []
    assert list(await journal.unexpired_keys()) == ["key-1"]


async def test_of_two_payments_in_requests_of_one_name_the_newer_is_found(
    open_journal: Open,
) -> None:
    """Clients choose the ids of their requests."""
    journal = open_journal()
    await journal.keep(entry("1", id="same"))
    await journal.keep(entry("2", id="same"))

    found = await journal.find("same")

    assert found is not None
    assert found.key == "key-2"
    assert len(await journal.unfinished()) == 2


@pytest.mark.parametrize("state", ["settled", "failed", "released"])
async def test_signatures_are_gone_once_an_entry_is_final(
    tmp_path: Path, open_journal: Open, state: State
) -> None:
    journal = open_journal()
    await journal.keep(entry(state="settling"))
    await journal.keep(entry(state=state))
    await journal.close()

    assert SIGNATURE not in (tmp_path / "payments.db").read_bytes()
    assert not (tmp_path / "payments.db-wal").exists()
    found = await open_journal().find("req-1")
    assert found is not None
    assert found.payload == b""


@pytest.mark.parametrize("state", ["open", "settled"])
async def test_signatures_are_not_written_before_they_may_be_needed(
    tmp_path: Path, open_journal: Open, state: State
) -> None:
    await open_journal().keep(entry(state=state))

    for name in ("payments.db", "payments.db-wal"):
        assert SIGNATURE not in (tmp_path / name).read_bytes()


async def test_signatures_do_not_show_themselves() -> None:
    shown = repr(entry()) + str(entry()) + f"{[entry()]}" + repr(entry().__rich_repr__())
    assert SIGNATURE.decode() not in shown
    assert "req-1" in shown


async def test_its_files_are_the_owners_alone(tmp_path: Path, open_journal: Open) -> None:
    await open_journal().keep(entry())

    files = [f"payments.db{ending}" for ending in ("", "-wal", "-shm")]
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in files} == {0o600}


async def test_what_is_unfinished_and_what_is_used_up(open_journal: Open) -> None:
    journal = open_journal()
    states: list[State] = ["open", "settling", "unknown", "settled", "failed", "released"]
    for state in states:
        journal.note(entry(state, state=state))
    journal.note(entry("expired", state="settled", expires_at=NOW - 1))
    journal.note(entry("expired but unknown", state="unknown", expires_at=NOW - 1))

    unfinished = await journal.unfinished()

    assert {one.key for one in unfinished} == {
        *("key-open", "key-settling", "key-unknown", "key-expired but unknown")
    }
    payloads = {one.state: one.payload for one in unfinished}
    assert payloads["settling"] == payloads["unknown"] == msgspec.json.encode(PAYLOAD)
    assert await journal.unexpired_keys() == {
        f"key-{state}": NOW + 600 for state in ("settling", "unknown", "settled", "failed")
    }


async def test_old_entries_are_purged_and_unfinished_ones_are_not(open_journal: Open) -> None:
    journal = open_journal()
    journal.note(entry("old", state="settled"))
    journal.note(entry("old and open", state="unknown"))
    journal.note(entry("new", state="settled", expires_at=NOW + 700))
    await journal.close()

    later = open_journal(NOW + 650 + KEPT_S)
    await later.keep(entry("other"))  # it is purged after what is asked for

    assert await later.find("req-old") is None
    assert await later.find("req-old and open") is not None
    assert await later.find("req-new") is not None


async def test_more_old_entries_than_are_purged_at_a_time(open_journal: Open) -> None:
    journal = open_journal()
    for number in range(2500):
        journal.note(entry(str(number), state="settled"))
    await journal.close()

    later = open_journal(NOW + 650 + KEPT_S)
    for number in range(4):
        await later.keep(entry(f"new {number}"))

    left = await later._submit(
        lambda connection: connection.execute("SELECT count(*) FROM payments").fetchone()[0]
    )
    assert left == 0


async def test_many_at_once_share_the_transactions(open_journal: Open) -> None:
    journal = open_journal()
    statements: list[str] = []
    await journal._submit(lambda connection: connection.set_trace_callback(statements.append))

    await asyncio.gather(*(journal.keep(entry(str(number))) for number in range(200)))
    await journal._submit(lambda connection: connection.set_trace_callback(None))

    assert len(await journal.unfinished()) == 200
    assert sum(statement.startswith("BEGIN") for statement in statements) < 100


async def test_who_is_cancelled_while_waiting_leaves_the_entry(
    tmp_path: Path, open_journal: Open
) -> None:
    journal = open_journal()
    waiting = asyncio.create_task(journal.keep(entry()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    await journal.keep(entry("2"))

    assert len(on_disk(tmp_path)) == 2


# -- what goes wrong ------------------------------------------------------------------------------


async def test_a_disk_that_takes_nothing_is_told_and_nothing_is_lost(
    tmp_path: Path, open_journal: Open, caplog: pytest.LogCaptureFixture
) -> None:
    journal = open_journal(retry_s=0.01)
    for _ in range(2):  # what it does after the first is done before the second
        await journal.unfinished()
    await journal._submit(lambda connection: connection.execute("PRAGMA query_only = ON"))

    for number in range(3):
        with pytest.raises(JournalUnavailable):
            await journal.keep(entry(str(number)))
    assert not is_healthy(journal)
    assert await journal.find("req-1") is None  # to read is possible

    journal._connection.execute("PRAGMA query_only = OFF")
    await until(lambda: len(on_disk(tmp_path)) == 3)
    await journal.keep(entry("3"))
    assert is_healthy(journal)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_a_full_disk_is_told(open_journal: Open) -> None:
    journal = open_journal()
    await journal._submit(
        lambda connection: connection.execute("PRAGMA max_page_count = 12").fetchall()
    )

    for number in range(100):
        journal.note(entry(str(number), state="settling"))
    with pytest.raises(JournalUnavailable, match="full"):
        await journal.keep(entry())

    assert not journal.healthy


async def test_what_cannot_be_written_at_the_end_is_told(
    open_journal: Open, caplog: pytest.LogCaptureFixture
) -> None:
    journal = open_journal()
    await journal._submit(lambda connection: connection.execute("PRAGMA query_only = ON"))
    journal.note(entry())

    await journal.close()

    assert "1 entries of the payments journal were lost" in caplog.text


def test_a_file_that_is_no_database_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "payments.db").write_bytes(b"not a database at all " * 500)

    with pytest.raises(ConfigError, match=r"payments\.db.*not a database.*move it away"):
        Journal(tmp_path, wall=lambda: NOW)


async def test_a_damaged_database_stops_the_start(tmp_path: Path, open_journal: Open) -> None:
    journal = open_journal()
    for number in range(200):
        journal.note(entry(str(number)))
    await journal.close()
    file = tmp_path / "payments.db"
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"payments\.db.*(damaged|malformed)"):
        Journal(tmp_path, wall=lambda: NOW)


def test_a_newer_database_stops_the_start(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "payments.db") as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()

    with pytest.raises(ConfigError, match="is of version 2; this router knows versions up to 1"):
        Journal(tmp_path, wall=lambda: NOW)


def test_a_directory_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="cannot be opened"):
        Journal(tmp_path / "file" / "state", wall=lambda: NOW)


async def test_a_released_version_is_brought_up_to_date(
    tmp_path: Path, open_journal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_journal().keep(entry())
    added = "ALTER TABLE payments ADD COLUMN more TEXT"
    monkeypatch.setattr("bitrouter.payments.database.MIGRATIONS", (*MIGRATIONS, added))

    newer = open_journal()

    columns = await newer._submit(
        lambda connection: [row[1] for row in connection.execute("PRAGMA table_info(payments)")]
    )
    assert "more" in columns
    assert await newer.find("req-1") is not None
