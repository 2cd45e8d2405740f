"""The SQLite file itself: how it is made, protected, opened and brought up to date.

Several processes may do this at once. A lock on the folder serialises making and migrating; after
that SQLite's own locks are enough.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from midflight.adapters.store.migrate import migrate

BUSY_TIMEOUT_S = 5.0
"""How long a writer waits for another process's transaction before it gives up."""

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # an erased key is overwritten, not only unlinked
    "PRAGMA trusted_schema=OFF",  # a schema somebody tampered with calls no functions
)


class SqliteFile:
    """One database file and how to connect to it. Opens nothing by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers = _engine(path, begin="BEGIN IMMEDIATE")
        self._readers = _engine(path, begin="BEGIN")

    def connect_writer(self) -> Connection:
        """A connection whose transactions hold the write lock; the schema is up to date."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _folder_lock(self._path.parent):
            _protect(self._path)
            connection = self._writers.connect()
            try:
                migrate(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def connect_reader(self) -> Connection:
        """A connection that cannot change anything."""
        connection = self._readers.connect()
        _raw(connection).execute("PRAGMA query_only=ON")
        return connection


def empty_log(connection: Connection) -> None:
    """Move the write-ahead log into the file and cut it to nothing, if nobody reads it now."""
    raw = _raw(connection)
    raw.execute("PRAGMA busy_timeout=100")
    try:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        raw.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")


def _engine(path: Path, *, begin: str) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=NullPool,
        hide_parameters=True,  # they hold salts and keys, and errors end up in logs
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        raw.isolation_level = None  # the driver begins nothing by itself; `start` does
        for pragma in _PRAGMAS:
            raw.execute(pragma)

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(begin)

    return engine


def _protect(path: Path) -> None:
    """Make the file for its owner alone, or take rights of others away.

    Without opening it: closing any descriptor of a database file drops all locks that SQLite
    holds on it in this process (POSIX advisory locks). SQLite gives its log the file's mode.
    """
    with contextlib.suppress(FileExistsError):
        os.mknod(path, mode=stat.S_IFREG | 0o600)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


@contextlib.contextmanager
def _folder_lock(folder: Path) -> Generator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # and the lock with it


def _raw(connection: Connection) -> Any:
    return connection.connection.driver_connection


__all__ = ["BUSY_TIMEOUT_S", "SqliteFile", "empty_log"]
