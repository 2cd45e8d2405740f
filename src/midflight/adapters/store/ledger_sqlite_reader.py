"""Reading a ledger file without changing it, also while a writer runs.

Pages of rows in statements of their own: no long transaction keeps SQLite from resetting its WAL,
and an append-only table gives the same rows whichever snapshot a page comes from. What a hostile
hand may have put into the file (other types, other tables, broken pages) comes out as `Damaged`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from midflight.adapters.store.ledger_live import LiveWriters
from midflight.domain.chain import Damaged, Entry
from midflight.domain.errors import LedgerUnavailable

_PAGE = 2_000
_COLUMNS = "writer, seq, prev, body, hash"


class SqliteLedgerReader:
    """See `LedgerReader`. Raises `LedgerUnavailable` when the file is not a readable ledger."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open for reading only."""
        if not self._path.is_file():
            raise LedgerUnavailable(
                f"There is no ledger at {self._path}.", hint="Give the path of ledger.sqlite3."
            )
        location = f"file:{quote(str(self._path.absolute()))}?mode=ro"
        # On read-only media SQLite cannot make the index of the WAL; without a WAL it needs none.
        wal = self._path.with_name(self._path.name + "-wal")
        modes = [""] if wal.exists() else ["", "&immutable=1"]
        failure: sqlite3.Error | None = None
        for mode in modes:
            connection = sqlite3.connect(location + mode, uri=True, isolation_level=None, timeout=5)
            connection.text_factory = _lenient_text
            try:
                connection.execute("SELECT position, writer, hash FROM entry LIMIT 1").fetchall()
                connection.execute("SELECT size, note FROM checkpoint LIMIT 1").fetchall()
            except sqlite3.Error as error:
                connection.close()
                failure = error
            else:
                self._connection = connection
                return
        raise LedgerUnavailable(
            f"{self._path} cannot be read as a ledger: {failure}.",
            hint="When copying a ledger, copy ledger.sqlite3-wal with it, or stop Midflight first.",
        )

    def close(self) -> None:
        """Release everything."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def entries(
        self, *, after: int = 0, limit: int | None = None
    ) -> Iterator[tuple[int, Entry | Damaged]]:
        """See `LedgerReader.entries`."""
        left = limit
        while left is None or left > 0:
            page = _PAGE if left is None else min(left, _PAGE)
            query = (
                f"SELECT position, {_COLUMNS} FROM entry "  # noqa: S608 -- constants only
                "WHERE position > ? ORDER BY position LIMIT ?"
            )
            try:
                rows = self._reading().execute(query, (after, page)).fetchall()
            except sqlite3.DatabaseError as error:
                yield after + 1, Damaged(text=f"the file cannot be read from here on: {error}")
                return
            for position, *columns in rows:
                if not isinstance(position, int):
                    yield after + 1, Damaged(text="a row has a position that is no number")
                    return
                after = position
                yield position, _entry(columns)
            if len(rows) < page:
                return
            left = None if left is None else left - page

    def entries_of(self, writer: str, *, after: int = 0) -> Iterator[Entry]:
        """See `LedgerStore.entries_of`."""
        while True:
            rows = self._rows(
                f"SELECT {_COLUMNS} FROM entry "  # noqa: S608 -- constants only
                "WHERE writer = ? AND seq > ? ORDER BY seq LIMIT ?",
                (writer, after, _PAGE),
            )
            for row in rows:
                entry = _entry(row)
                after = row[1]
                if isinstance(entry, Entry):
                    yield entry
            if len(rows) < _PAGE:
                return

    def hashes(self, *, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """See `LedgerStore.hashes`."""
        while True:
            rows = self._rows(
                "SELECT position, hash FROM entry WHERE position > ? ORDER BY position LIMIT ?",
                (after, _PAGE),
            )
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def entry(self, writer: str, seq: int) -> tuple[int, Entry] | None:
        """See `LedgerStore.entry`."""
        rows = self._rows(
            f"SELECT position, {_COLUMNS} FROM entry "  # noqa: S608 -- constants only
            "WHERE writer = ? AND seq = ?",
            (writer, seq),
        )
        for position, *columns in rows:
            entry = _entry(columns)
            if isinstance(entry, Entry):
                return position, entry
        return None

    def size(self) -> int:
        """See `LedgerReader.size`."""
        return self._rows("SELECT coalesce(max(position), 0) FROM entry")[0][0]

    def checkpoints(self) -> Sequence[tuple[int, str]]:
        """See `LedgerReader.checkpoints`."""
        rows = self._rows("SELECT size, note FROM checkpoint ORDER BY size, id")
        return [(size, note) for size, note in rows if isinstance(size, int)]

    def live_writers(self) -> frozenset[str]:
        """The writers that some process on this machine is writing with at this moment."""
        live = LiveWriters(live_folder(self._path))
        rows = self._rows("SELECT id FROM writer WHERE state = 'live'")
        return frozenset(writer for (writer,) in rows if live.is_live(writer))

    def _reading(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LedgerUnavailable("The ledger is not open.")
        return self._connection

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._reading().execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"The ledger cannot be read: {error}.") from error


def live_folder(path: Path) -> Path:
    """Where the locks of the writers of a ledger file are."""
    return path.with_name(path.name + "-live")


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _entry(columns: Sequence[Any]) -> Entry | Damaged:
    match columns:
        case [str() as writer, int() as seq, bytes() as prev, bytes() as body, bytes() as digest]:
            return Entry(writer=writer, seq=seq, prev=prev, body=body, hash=digest)
        case _:
            return Damaged(text="a row whose columns have other types than an entry's")


__all__ = ["SqliteLedgerReader", "live_folder"]
