"""The file of the payments journal: how it is opened, checked and brought up to date."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from bitrouter.errors import ConfigError, Problem

COLUMNS: Final = (
    *("key", "id", "payer", "network", "asset", "scheme", "version", "payload", "terms"),
    *("ceiling", "amount", "expires_at", "state", "tx", "error_reason"),
    *("created_at", "updated_at", "model", "input_tokens", "output_tokens"),
)
_NAMES: Final = ", ".join(COLUMNS)
_PLACES: Final = ", ".join("?" * len(COLUMNS))

KEEP_OPEN: Final = f"INSERT OR REPLACE INTO pending ({_NAMES}) VALUES ({_PLACES})"
CLOSE: Final = "DELETE FROM pending WHERE key = ?"
KEEP_FINAL: Final = f"INSERT INTO payments ({_NAMES}) VALUES ({_PLACES})"
FIND: Final = (
    f"SELECT {_NAMES} FROM pending WHERE id = ? ORDER BY rowid DESC LIMIT 1",
    f"SELECT {_NAMES} FROM payments WHERE id = ? ORDER BY rowid DESC LIMIT 1",
)
UNFINISHED: Final = f"SELECT {_NAMES} FROM pending ORDER BY created_at, rowid"
USED_KEYS: Final = (
    "SELECT key, expires_at FROM pending WHERE expires_at >= ? AND state != 'open' UNION "
    "SELECT key, expires_at FROM payments WHERE expires_at >= ? AND state != 'released'"
)
PURGE: Final = (
    "DELETE FROM payments WHERE rowid IN (SELECT rowid FROM payments WHERE expires_at < ? LIMIT ?)"
)

_COLUMN_TYPES: Final = """
        key TEXT NOT NULL {key_rule},
        id TEXT NOT NULL,
        payer TEXT NOT NULL,
        network TEXT NOT NULL,
        asset TEXT NOT NULL,
        scheme TEXT NOT NULL,
        version INTEGER NOT NULL,
        payload BLOB NOT NULL,
        terms BLOB NOT NULL,
        ceiling TEXT NOT NULL,
        amount TEXT,
        expires_at INTEGER NOT NULL,
        state TEXT NOT NULL,
        tx TEXT NOT NULL,
        error_reason TEXT,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        model TEXT NOT NULL,
        input_tokens INTEGER,
        output_tokens INTEGER
"""

# Each brings the file from its place in the list to the next version; never change one that was
# released. What is unfinished has a table of its own, for that stays as small as the number of
# calls at a time: its pages are few, and the indexes of the large table are touched once a payment.
# That took a third off the cost. Amounts are decimal text, for a uint256 is more than SQLite's
# integers hold.
MIGRATIONS: Final[tuple[str, ...]] = (
    f"""
    CREATE TABLE pending ({_COLUMN_TYPES.format(key_rule="UNIQUE")});
    CREATE TABLE payments ({_COLUMN_TYPES.format(key_rule="")});
    CREATE INDEX payments_by_id ON payments (id);
    CREATE INDEX payments_by_expiry ON payments (expires_at);
    """,
)

_BUSY_S: Final = 5.0
# A larger one is not read through at each start; what is damaged in it shows when it is read.
_CHECKED_BYTES: Final = 64 * 1024 * 1024


def open_database(path: Path) -> sqlite3.Connection:
    """The journal at `path`, made if need be and readable by its owner alone.

    Raises ConfigError when it cannot be opened or written, is damaged, or of a newer version.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise _unusable(path, f"cannot be opened: {error.strerror}") from error
    connection: sqlite3.Connection | None = None
    try:
        # Used by the journal's thread alone from here on. No implicit transactions.
        connection = sqlite3.connect(
            path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        _prepare(connection, path)
    except sqlite3.Error as error:
        _close(connection)
        message = f"cannot be used: {error}; move it away to begin a new journal"
        raise _unusable(path, message) from error
    except ConfigError:
        _close(connection)
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # An entry that is said to be on disk is there after a loss of power as well.
    connection.execute("PRAGMA synchronous = FULL")
    # What is blanked is gone from the page, not only from the table.
    connection.execute("PRAGMA secure_delete = ON")
    if path.stat().st_size <= _CHECKED_BYTES:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _unusable(path, f"is damaged: {verdict}; move it away to begin a new journal")
    _migrate(connection, path)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    # Exclusive, for another router may be starting on the same file; also tells of a full disk.
    connection.execute("BEGIN EXCLUSIVE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        message = f"is of version {version}; this router knows versions up to {len(MIGRATIONS)}"
        raise _unusable(path, message)
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()


def _unusable(path: Path, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), 0, 0, "(payments journal)", message)])
