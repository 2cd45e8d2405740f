"""Which ledger writers are alive: one locked file a writer, beside the ledger.

A lock taken with `flock` ends with the open file, so with the process, `kill -9` included; no
clock and no process id (which the kernel hands out again) is involved. All processes that share a
ledger file run on one machine, which SQLite's WAL asks for anyway. A copy of a ledger has no such
files: its writers count as ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path


class LiveWriters:
    """The locks of one process (or of one store object within it)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    def hold(self, writer: str) -> bool:
        """Lock a writer for as long as this object lives; False if somebody else has it."""
        if writer in self._held:
            return True
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._folder / writer, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._held[writer] = descriptor
        return True

    def holds(self, writer: str) -> bool:
        """Whether this object itself holds the writer."""
        return writer in self._held

    def is_live(self, writer: str) -> bool:
        """Whether some process, this one included, holds the writer. Changes nothing."""
        if writer in self._held:
            return True
        try:
            descriptor = os.open(self._folder / writer, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self, writers: Iterable[str]) -> None:
        """The writers have ended for good: forget them and their files."""
        for writer in writers:
            descriptor = self._held.pop(writer, None)
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    (self._folder / writer).unlink()
                os.close(descriptor)

    def close(self) -> None:
        """Let go of all locks and leave the files: whoever comes next finds them unlocked."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()


__all__ = ["LiveWriters"]
