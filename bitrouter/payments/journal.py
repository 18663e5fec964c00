"""The durable memory of payments: one row each, in SQLite, written by a thread of its own.

The loop hands entries over and goes on, or waits for the disk without blocking. What is handed over
while a transaction is being written goes into the next one together, and of several states of one
payment only the last is written.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from bitrouter.payments import database
from bitrouter.payments.database import open_database

_log: Final = logging.getLogger("bitrouter.payments")

DATABASE_FILE: Final = "payments.db"
KEPT_S: Final = 30 * 24 * 3600
# How long a note may wait for company, so that one transaction serves many calls. What must not be
# lost is kept, not noted; and who asks for an entry has all that was noted written first.
_LINGER_S: Final = 0.2
# The same for what is kept, which a settlement of some seconds waits for. CPU of both threads for a
# payment (open, settling, settled): 80 us at 3000 a second, 115 at 1000, 340 at 200, where nearly
# every one has an fsync of its own; 5 to 10 of them on the loop's thread when it is busy
# (CPython 3.11, SQLite 3.40, ext4).
_GATHER_S: Final = 0.01
_RETRY_S: Final = 1.0
_PURGE_EVERY_S: Final = 3600.0
_PURGE_ROWS: Final = 1000

State = Literal["open", "settling", "unknown", "settled", "failed", "released"]
FINAL: Final = frozenset({"settled", "failed", "released"})
# Those whose settlement may have to be repeated, for which alone the signature is needed.
_REPEATABLE: Final = frozenset({"settling", "unknown"})

Result = TypeVar("Result")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One payment. A later entry with the same `key` takes its place, unless it was final: of an
    authorisation that was released and used again there are several.

    `id` is the request's, `key` Authorization.key. `payload` and `terms` are JSON: what the client
    sent, and our terms with the ceiling as amount. `payload` holds the signature: it never shows in
    a repr. Both are on disk while a settlement may have to be repeated, and at no other time.
    `ceiling` is what was authorised, `amount`
    what is charged, both in the asset's smallest units, `amount` None until it is known. Times are
    Unix seconds; `expires_at` is Authorization.expires_at.
    """

    id: str
    key: str
    payer: str
    network: str
    asset: str
    scheme: str
    version: int
    payload: bytes
    terms: bytes
    ceiling: int
    amount: int | None = None
    expires_at: int
    state: State
    transaction: str = ""
    error_reason: str | None = None
    created_at: float
    updated_at: float
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What may be shown."""
        return [(name, getattr(self, name)) for name in ("id", "key", "state", "amount")]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"Entry({shown})"


class JournalUnavailable(Exception):
    """The entry is not on disk. The text says why, in SQLite's words; it quotes no entry."""


class Journal:
    """Opened in place, by the constructor: a start that cannot read its journal must not begin.

    Call it on the event loop's thread. `wall` gives Unix seconds. `healthy` turns False when the
    disk refuses an entry and True when it takes them again; what it refused is tried again until
    then. Raises ConfigError when the file cannot be opened, is damaged or of a newer version.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        wall: Callable[[], float],
        linger_s: float = _LINGER_S,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._connection = open_database(state_dir / DATABASE_FILE)
        self._wall = wall
        self._linger_s = linger_s
        self._retry_s = retry_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._entries: deque[Entry] = deque()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._unsaved: dict[str, Entry] = {}  # the thread's
        self._next_purge = 0.0  # the thread's, of the monotonic clock
        self.healthy = True
        self._thread = threading.Thread(target=self._run, name="payments-journal", daemon=True)
        self._thread.start()

    # -- the loop's side --------------------------------------------------------------------

    def note(self, entry: Entry) -> None:
        """Have it written soon, without waiting. A crash within that time loses it."""
        self._entries.append(entry)
        if self._timer is None:
            self._timer = self._running_loop().call_later(self._linger_s, self._hand_over)

    async def keep(self, entry: Entry) -> None:
        """Return when it is on disk. Raises JournalUnavailable; it is then written when possible.

        A caller that is cancelled leaves it to be written all the same.
        """
        self._entries.append(entry)
        await self._submit(_nothing, durable=True)

    async def find(self, request_id: str) -> Entry | None:
        """The newest entry of a request as it is on disk, None if there is none.

        Raises JournalUnavailable.
        """
        return await self._submit(lambda connection: _find(connection, request_id))

    async def unfinished(self) -> list[Entry]:
        """What no outcome is known of, in the order in which it began."""
        return await self._submit(
            lambda connection: [_entry(row) for row in connection.execute(database.UNFINISHED)]
        )

    async def unexpired_keys(self) -> dict[str, int]:
        """The keys that were used and could be used again, each with the second it expires at.

        Those of released entries are not among them: nothing was taken.
        """
        now = int(self._wall())
        return await self._submit(
            lambda connection: dict(connection.execute(database.USED_KEYS, (now, now)).fetchall())
        )

    async def close(self) -> None:
        """Write what is left and close the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _hand_over(self) -> None:
        self._timer = None
        self._jobs.put(_Job(_nothing, None, durable=False))

    def _submit(
        self, work: Callable[[sqlite3.Connection], Result], *, durable: bool = False
    ) -> "asyncio.Future[Result]":
        future: asyncio.Future[Result] = self._running_loop().create_future()
        self._jobs.put(_Job(work, future, durable=durable))
        return future

    # -- the thread's side ------------------------------------------------------------------

    def _run(self) -> None:
        stop = False
        while not stop:
            jobs, stop = self._wait()
            failure = self._write()
            done = [(job, *self._work(job, failure)) for job in jobs if job.future is not None]
            if done and self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_tell, done)
            if not stop:
                self._purge_now_and_then()
        if self._unsaved:
            _log.error("%d entries of the payments journal were lost", len(self._unsaved))
        self._connection.close()

    def _wait(self) -> "tuple[list[_Job], bool]":
        """All that is asked for by now, at least one thing; None of them ends it all."""
        jobs: list[_Job] = []
        try:
            job = self._jobs.get(timeout=self._retry_s if self._unsaved else None)
            if job is not None and job.durable:
                time.sleep(_GATHER_S)
            while job is not None:
                jobs.append(job)
                job = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, False
        return jobs, True

    def _write(self) -> str | None:
        """Write all entries that were handed over; say why that failed."""
        entries = self._unsaved
        while self._entries:
            entry = self._entries.popleft()
            entries[entry.key] = entry
        if not entries:
            return None
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                _store(self._connection, entries.values())
        except sqlite3.Error as error:
            if self.healthy:
                _log.error("the payments journal cannot be written: %s", error)
            self.healthy = False
            return str(error)
        entries.clear()
        if not self.healthy:
            _log.warning("the payments journal can be written again")
        self.healthy = True
        return None

    def _work(self, job: "_Job", failure: str | None) -> tuple[object, Exception | None]:
        if failure is not None and job.durable:
            return None, JournalUnavailable(failure)
        try:
            return job.work(self._connection), None
        except sqlite3.Error as error:
            return None, JournalUnavailable(str(error))

    def _purge_now_and_then(self) -> None:
        """Forget what is old, some rows at a time, so that nobody waits for long behind it."""
        now = time.monotonic()
        if now < self._next_purge or not self.healthy:
            return
        before = int(self._wall()) - KEPT_S
        try:
            with self._connection:
                purged = self._connection.execute(database.PURGE, (before, _PURGE_ROWS)).rowcount
        except sqlite3.Error as error:
            _log.warning("the payments journal cannot be purged: %s", error)
            purged = 0
        self._next_purge = now if purged == _PURGE_ROWS else now + _PURGE_EVERY_S


class _Job(msgspec.Struct, frozen=True):
    """Something to do with the connection, and who waits for it.

    `durable` says that it fails if what was handed over before it could not be written.
    """

    work: Callable[[sqlite3.Connection], object]
    # Of whatever `work` gives; a Future is invariant, so no type fits them all.
    future: "asyncio.Future[Any] | None"
    durable: bool


def _nothing(connection: sqlite3.Connection) -> None:
    """For jobs that only want the entries written."""


def _tell(done: "list[tuple[_Job, object, Exception | None]]") -> None:
    for job, result, error in done:
        if job.future is None or job.future.done():
            continue
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)


def _store(connection: sqlite3.Connection, entries: Collection[Entry]) -> None:
    final = [entry for entry in entries if entry.state in FINAL]
    if len(final) < len(entries):
        still_open = (_row(entry) for entry in entries if entry.state not in FINAL)
        connection.executemany(database.KEEP_OPEN, still_open)
    if final:
        connection.executemany(database.CLOSE, [(entry.key,) for entry in final])
        connection.executemany(database.KEEP_FINAL, map(_row, final))


def _row(entry: Entry) -> tuple[object, ...]:
    repeatable = entry.state in _REPEATABLE
    return (
        entry.key,
        entry.id,
        entry.payer,
        entry.network,
        entry.asset,
        entry.scheme,
        entry.version,
        entry.payload if repeatable else b"",
        entry.terms if repeatable else b"",
        str(entry.ceiling),  # uint256: more than SQLite's integers hold
        None if entry.amount is None else str(entry.amount),
        entry.expires_at,
        entry.state,
        entry.transaction,
        entry.error_reason,
        entry.created_at,
        entry.updated_at,
        entry.model,
        entry.input_tokens,
        entry.output_tokens,
    )


def _find(connection: sqlite3.Connection, request_id: str) -> Entry | None:
    for query in database.FIND:
        if (row := connection.execute(query, (request_id,)).fetchone()) is not None:
            return _entry(row)
    return None


def _entry(row: tuple[object, ...]) -> Entry:
    named = dict(zip(FIELDS, row, strict=True))
    return msgspec.convert(named, Entry, strict=False)


# The entry's fields in the order of COLUMNS.
FIELDS: Final = tuple("transaction" if name == "tx" else name for name in database.COLUMNS)
