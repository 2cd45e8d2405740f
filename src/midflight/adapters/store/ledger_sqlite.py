"""The ledger in a SQLite file of its own: WAL with synchronous=FULL, so a commit is on disk.

Driven by the standard library's `sqlite3` and not through SQLAlchemy, and one batch is one padded
multi-row INSERT, for one reason: the driver lets go of the GIL at every step of a statement, and
each time a busy event loop may keep it for 5 ms. Measured once on two shared cores, median time of
a batch of 16 and of 128 entries, beside a thread that never idles (20 batches each, so rough):
`executemany` 104 and 723 ms, SQLAlchemy 106 and 12 ms (p99 334), this form 6 and 7 ms. Without
such a thread (200 batches): 0.42 and 1.07, 0.46 and 1.34, 0.33 and 0.66 ms.

The file is readable by its owner alone. Triggers refuse UPDATE and DELETE against slips of an
operator's hand; against intent there are the chain and the signed checkpoints.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from midflight.adapters.store.ledger_live import LiveWriters
from midflight.adapters.store.ledger_sqlite_reader import SqliteLedgerReader, live_folder
from midflight.domain.chain import Entry
from midflight.domain.errors import Conflict, LedgerUnavailable
from midflight.services.ports.ledger_store import Standing, StoredCheckpoint

_APPLICATION_ID = 0x4D494446  # "MIDF", shown by file(1)
_SCHEMA_VERSION = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entry (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  writer TEXT NOT NULL,
  seq INTEGER NOT NULL,
  prev BLOB NOT NULL,
  body BLOB NOT NULL,
  hash BLOB NOT NULL,
  UNIQUE (writer, seq)
) STRICT;
CREATE TABLE IF NOT EXISTS checkpoint (
  id INTEGER PRIMARY KEY,
  size INTEGER NOT NULL,
  note TEXT NOT NULL,
  peaks BLOB NOT NULL,
  UNIQUE (size, note)
) STRICT;
CREATE TABLE IF NOT EXISTS writer (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('live', 'settled')),
  seq INTEGER NOT NULL,
  open TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS writer_live ON writer (state) WHERE state = 'live';
CREATE TRIGGER IF NOT EXISTS entry_stays BEFORE UPDATE ON entry
  BEGIN SELECT RAISE(ABORT, 'ledger entries are append-only'); END;
CREATE TRIGGER IF NOT EXISTS entry_remains BEFORE DELETE ON entry
  BEGIN SELECT RAISE(ABORT, 'ledger entries are append-only'); END;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""

_COLUMNS = 5
_MAX_ROWS = 4_096  # 20,480 parameters; SQLite takes 32,766
# Padded to powers of two, so that 13 prepared statements serve every batch; the padding's NULLs
# are filtered out. VALUES come in the order given.
_INSERT = {
    rows: "INSERT INTO entry (writer, seq, prev, body, hash) SELECT * FROM (VALUES "  # noqa: S608 -- constants only
    + ",".join(["(?,?,?,?,?)"] * rows)
    + ") WHERE column1 IS NOT NULL"
    for rows in (1 << bits for bits in range(_MAX_ROWS.bit_length()))
}

_LOOK_EVERY_S = 0.25
_BUSY_TIMEOUT_S = 5.0


class SqliteLedgerStore(SqliteLedgerReader):
    """See `LedgerStore`. One object belongs to one thread at a time.

    Args:
        path: the file; it and its folder are made when missing.
        max_bytes: refuse to grow beyond this, as a full disk would; None for no limit.
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        super().__init__(path)
        self._max_bytes = max_bytes
        self._live = LiveWriters(live_folder(path))
        self._identity: tuple[int, int] | None = None
        self._looked_at = 0.0

    def open(self) -> None:
        """Open or create; also again, after a failure."""
        if sqlite3.sqlite_version_info < (3, 37):
            raise LedgerUnavailable(
                f"The ledger needs SQLite 3.37 or later; this is {sqlite3.sqlite_version}."
            )
        try:
            self._make_file()
            self._connection = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise _unavailable(error, self._path) from error

    def close(self) -> None:
        """Release everything, locks included."""
        super().close()
        self._identity = None
        self._live.close()

    def limit(self, max_bytes: int | None) -> None:
        """Change the size limit while open."""
        self._max_bytes = max_bytes
        if self._connection is not None:
            self._apply_limit(self._connection)

    def enter(self, writer: str) -> None:
        """See `LedgerStore.enter`."""
        try:
            if not self._live.hold(writer):
                raise Conflict(f"There already is a ledger writer called {writer}.")
            self._writing().execute(
                "INSERT INTO writer (id, state, seq, open) VALUES (?, 'live', 0, '[]')", (writer,)
            )
        except sqlite3.IntegrityError as error:
            self._live.release([writer])
            raise Conflict(f"There already is a ledger writer called {writer}.") from error
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def abandoned(self) -> Sequence[Standing]:
        """See `LedgerStore.abandoned`."""
        live = "SELECT id FROM writer WHERE state = 'live'"
        try:
            # The lock first and the row behind it: whoever held it may have settled the writer.
            held = [writer for (writer,) in self._rows(live) if self._take_over(writer)]
            rows = [
                self._rows("SELECT id, seq, open, state FROM writer WHERE id = ?", (writer,))[0]
                for writer in held
            ]
            self._live.release(writer for writer, _, _, state in rows if state != "live")
            return [
                Standing(
                    writer=writer, seq=seq, open=msgspec.json.decode(open_, type=tuple[int, ...])
                )
                for writer, seq, open_, state in rows
                if state == "live"
            ]
        except (OSError, msgspec.DecodeError) as error:
            raise LedgerUnavailable(
                f"The writers of {self._path} cannot be read: {error}.",
                hint="Verify the ledger with `midflight ledger verify`.",
            ) from error

    def append(
        self,
        entries: Sequence[Entry],
        *,
        standing: Standing | None = None,
        settled: Sequence[str] = (),
    ) -> int:
        """See `LedgerStore.append`."""
        try:
            connection = self._writing()
            if len(entries) <= _MAX_ROWS and entries and standing is None and not settled:
                return self._insert(connection, entries)
            connection.execute("BEGIN IMMEDIATE")
            first = self._insert_all(connection, entries)
            if standing is not None:
                connection.execute(
                    "UPDATE writer SET seq = ?, open = ? WHERE id = ?",
                    (standing.seq, msgspec.json.encode(standing.open).decode(), standing.writer),
                )
            for writer in settled:
                _settle(connection, writer)
            connection.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            self._roll_back()
            raise Conflict("A ledger entry of that writer and number exists.") from error
        except Conflict:
            self._roll_back()
            raise
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error
        self._live.release(settled)
        return first

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See `LedgerStore.add_checkpoint`."""
        try:
            self._writing().execute(
                "INSERT OR IGNORE INTO checkpoint (size, note, peaks) VALUES (?, ?, ?)",
                (checkpoint.size, checkpoint.note, checkpoint.peaks),
            )
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def last_checkpoint(self) -> StoredCheckpoint | None:
        """See `LedgerStore.last_checkpoint`."""
        rows = self._rows("SELECT size, note, peaks FROM checkpoint ORDER BY size DESC, id LIMIT 1")
        for size, note, peaks in rows:
            return StoredCheckpoint(size=size, note=note, peaks=peaks)
        return None

    def _insert_all(self, connection: sqlite3.Connection, entries: Sequence[Entry]) -> int:
        first = 0
        for start in range(0, len(entries), _MAX_ROWS):
            position = self._insert(connection, entries[start : start + _MAX_ROWS])
            first = first or position
        return first or self.size() + 1

    def _insert(self, connection: sqlite3.Connection, entries: Sequence[Entry]) -> int:
        rows = 1 << (len(entries) - 1).bit_length()
        values: list[Any] = []
        for entry in entries:
            values += (entry.writer, entry.seq, entry.prev, entry.body, entry.hash)
        values += [None] * (_COLUMNS * (rows - len(entries)))
        last = connection.execute(_INSERT[rows], values).lastrowid
        assert last is not None, "an INSERT of at least one row has a last row"
        return last - len(entries) + 1

    def _take_over(self, writer: str) -> bool:
        return not self._live.holds(writer) and self._live.hold(writer)

    def _reading(self) -> sqlite3.Connection:
        try:
            return self._connection or self._writing()
        except (OSError, sqlite3.Error) as error:
            raise _unavailable(error, self._path) from error

    def _writing(self) -> sqlite3.Connection:
        """The connection, made again after a failure, on the file that was opened at first."""
        if self._identity is None:
            raise LedgerUnavailable("The ledger is not open.")
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S or self._connection is None:
            # Without a look SQLite would go on writing to a file that no longer has a name.
            status = os.stat(self._path)  # noqa: PTH116 -- the hot path
            if self._identity != (status.st_dev, status.st_ino):
                raise LedgerUnavailable(
                    "The ledger's file was replaced while Midflight was using it.",
                    hint="Put the file back, or restart Midflight with a new ledger.",
                )
            self._looked_at = now
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _make_file(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the WAL and its index the mode of the file.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            status = os.fstat(descriptor)
            if status.st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,  # closed by whoever ends the ledger's thread
            cached_statements=64,
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA trusted_schema = OFF")
            _prepare_schema(connection)
            self._apply_limit(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _apply_limit(self, connection: sqlite3.Connection) -> None:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        pages = (1 << 32) - 2 if self._max_bytes is None else max(1, self._max_bytes // page)
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def _failed(self, error: Exception) -> LedgerUnavailable:
        """Roll back, and start from a fresh connection next time.

        After a failed flush the kernel may call pages clean that never reached the disk; a new
        transaction on a new connection writes them all again.
        """
        self._roll_back()
        super().close()
        return _unavailable(error, self._path)


def _prepare_schema(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(_SCHEMA)
    elif version != _SCHEMA_VERSION:
        raise LedgerUnavailable(
            f"The ledger has schema {version}; this Midflight knows {_SCHEMA_VERSION}.",
            hint="Start the version that wrote it, or start with a new ledger file.",
        )


def _settle(connection: sqlite3.Connection, writer: str) -> None:
    settle = "UPDATE writer SET state = 'settled' WHERE id = ? AND state = 'live'"
    if connection.execute(settle, (writer,)).rowcount != 1:
        raise Conflict("A ledger writer was settled by somebody else.")


def _unavailable(error: Exception, path: Path) -> LedgerUnavailable:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_FULL:
            why = "the disk (or the ledger's size limit) is full"
            hint = "Free space, or move old ledger files away while Midflight is stopped."
        case sqlite3.SQLITE_READONLY:
            why = "it is read-only"
            hint = "Check the mount and the permissions of the ledger's folder."
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            why = f"another process kept it locked for {_BUSY_TIMEOUT_S:.0f} seconds"
            hint = "Look for a backup or a shell that holds a transaction on it."
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            why = "the file is not a SQLite database or is damaged"
            hint = "Verify a copy with `midflight ledger verify`, and restore it or start anew."
        case _:
            why = str(error)
            hint = "Check the disk and the permissions of the ledger's folder."
    return LedgerUnavailable(f"The ledger at {path} cannot be written: {why}.", hint=hint)


__all__ = ["SqliteLedgerStore"]
