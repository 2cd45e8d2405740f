"""Events into a file, a line each, flushed to disk before a batch counts as taken.

The file may be moved away or cut by who rotates logs: it is opened anew. A line that a crash or a
full disk left unfinished is cut off; its event comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

from midflight.adapters.export.telling import told
from midflight.domain.errors import Unavailable
from midflight.services.ports.export import Exportable
from midflight.wire.export.lines import Form, line

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class FileSink:
    """See the module."""

    def __init__(self, path: Path, form: Form) -> None:
        """`path` is made, readable for its owner alone; its folder must be there."""
        self._path = path
        self._form = form
        self._file: int | None = None
        # A batch that is being written when everything stops is written to its end: the number of a
        # file that was closed under it may be that of another file by then.
        self._writing = threading.Lock()

    async def send(self, batch: Sequence[Exportable], *, now: float) -> None:
        """Append a batch and flush it."""
        await asyncio.to_thread(self._append, batch, now)

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._writing:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _append(self, batch: Sequence[Exportable], now: float) -> None:
        with self._writing:
            self._write(batch, now)

    def _write(self, batch: Sequence[Exportable], now: float) -> None:
        lines = [line(event, self._form) for event in told(batch, now=now)]
        body = "".join(f"{each}\n" for each in lines).encode(errors="replace")
        try:
            file = self._opened()
            before = os.fstat(file).st_size
            try:
                _write(file, body)
                os.fsync(file)
            except OSError:
                # Nothing, or all of it: half a line would be glued to the next one.
                with contextlib.suppress(OSError):
                    os.ftruncate(file, before)
                raise
        except OSError as error:
            raise Unavailable(
                f"The export file cannot be written ({os.strerror(error.errno or 0)}).",
                hint="Look at its folder, its owner and the space that is left.",
            ) from error

    def _opened(self) -> int:
        if self._file is not None and not self._is_still_there(self._file):
            os.close(self._file)
            self._file = None
        if self._file is None:
            opened = os.open(self._path, _FLAGS, 0o600)
            try:
                _check(opened)
                _cut_unfinished(opened)
            except BaseException:
                # Kept, it would pass for one that was looked at.
                os.close(opened)
                raise
            self._file = opened
        return self._file

    def _is_still_there(self, file: int) -> bool:
        try:
            there = self._path.lstat()
        except OSError:
            return False
        own = os.fstat(file)
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)


def _check(file: int) -> None:
    """Something else than a file, such as a pipe, cannot be flushed or cut."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(errno.EINVAL, "not a file")


def _write(file: int, body: bytes) -> None:
    rest = memoryview(body)
    while rest:
        rest = rest[os.write(file, rest) :]


def _cut_unfinished(file: int) -> None:
    """Cut what stands behind the last end of a line."""
    size = os.fstat(file).st_size
    end = size
    while end > 0:
        start = max(0, end - 65_536)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(file, end)


__all__ = ["FileSink"]
