"""A directory of secrets: 0700, each file 0600, ours alone, written whole or not at all.

What is wrong with owner or mode is refused, not repaired: a key that others could read may have
been read. Files are reached through one directory handle and never through a symbolic link, so
nothing can be swapped between the check and the reading. It knows nothing of keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Self

from midflight.domain.errors import Misconfigured

MAX_FILE_BYTES = 65_536
_LOCK = ".lock"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SAFE_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC


class PrivateDirectory:
    """See the module. A context manager; holds one file descriptor."""

    def __init__(self, path: Path) -> None:
        """Open the directory, made if it is missing.

        Raises:
            Misconfigured: it is another user's, open to others, a symbolic link, or unusable.
        """
        self._path = path
        with self._told(path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFE_OPEN)
        try:
            self._check(os.fstat(self._handle), what=f"key directory {path}", mode="700")
            with self.locked():
                self._sweep()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the directory."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the directory against every other process that asks; not for nesting."""
        with self._told(_LOCK):
            flags = os.O_RDWR | os.O_CREAT | _SAFE_OPEN
            lock = os.open(_LOCK, flags, 0o600, dir_fd=self._handle)
        try:
            with self._told(_LOCK):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def read(self, name: str) -> bytes | None:
        """The whole file, or None if there is none.

        Raises:
            Misconfigured: not a plain file, another user's, open to others, linked from elsewhere
                or larger than 64 KiB.
        """
        with self._told(name):
            try:
                file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _SAFE_OPEN, dir_fd=self._handle)
            except FileNotFoundError:
                return None
        try:
            with self._told(name):
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                    raise Misconfigured(
                        f"The key file {self._path / name} is not a plain file of its own.",
                        hint="Remove the link, or restore the file from a backup.",
                    )
                self._check(status, what=f"key file {self._path / name}", mode="600")
                with os.fdopen(file, "rb", closefd=False) as opened:
                    content = opened.read(MAX_FILE_BYTES + 1)
        finally:
            os.close(file)
        if len(content) > MAX_FILE_BYTES:
            raise Misconfigured(f"The key file {self._path / name} is larger than 64 KiB.")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place of what is there: after a crash it is the old one or the new one.

        On disk when this returns: the file is flushed, renamed, and the directory flushed. To be
        called inside `locked`.

        Raises:
            Misconfigured: it cannot be written, or is larger than what `read` reads.
        """
        if len(content) > MAX_FILE_BYTES:
            raise Misconfigured(f"The key file {self._path / name} would be larger than 64 KiB.")
        draft = f".{name}.{secrets.token_hex(8)}.tmp"
        with self._told(name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE_OPEN
            file = os.open(draft, flags, 0o600, dir_fd=self._handle)
            try:
                with os.fdopen(file, "wb") as opened:
                    os.fchmod(file, 0o600)  # whatever the umask said
                    opened.write(content)
                    opened.flush()
                    os.fsync(file)
                os.rename(draft, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft, dir_fd=self._handle)
                raise
            os.fsync(self._handle)

    def remove(self, name: str) -> None:
        """Remove a file that another has taken the place of; none is fine. Inside `locked`."""
        with self._told(name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._handle)
            os.fsync(self._handle)

    def _sweep(self) -> None:
        """Remove drafts that a crash left: they hold key material."""
        with self._told(self._path.name):
            for name in os.listdir(self._handle):  # noqa: PTH208 -- pathlib knows no handles
                if name.startswith(".") and name.endswith(".tmp"):
                    os.unlink(name, dir_fd=self._handle)

    @staticmethod
    def _check(status: os.stat_result, *, what: str, mode: str) -> None:
        if status.st_uid != os.geteuid():
            raise Misconfigured(
                f"The {what} belongs to another user.",
                hint="Run as the user that it belongs to, or give it to this one with chown.",
            )
        if status.st_mode & _OTHERS:
            raise Misconfigured(
                f"The {what} is open to others; what is in it may be known.",
                hint=f"Replace the keys if others could read them, then: chmod {mode}",
            )

    @contextlib.contextmanager
    def _told(self, name: str) -> Generator[None]:
        """Say what failed in the product's own words."""
        try:
            yield
        except OSError as error:
            raise Misconfigured(
                f"{name} in the key directory {self._path} cannot be used: {error.strerror}.",
                hint="Check the directory, its owner, and the room on its disk.",
            ) from None


__all__ = ["MAX_FILE_BYTES", "PrivateDirectory"]
