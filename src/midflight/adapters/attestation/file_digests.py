"""SHA-256 of files that processes name: in bounds, and remembered while they stay the same.

A file is the same while device, inode, size, mtime and ctime are: its owner can set mtime back, and
not ctime. Only regular files are opened; anything else could wait for ever or act on being read.
"""

from __future__ import annotations

import hashlib
import os
import stat

DEFAULT_LIMIT = 128 * 1024 * 1024
REMEMBERED = 1_024
_BLOCK = 1_048_576

_Key = tuple[int, int, int, int, int]


class FileDigests:
    """Digests, and the memory of them. Blocks: call it in a thread."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """`limit` is the size in bytes above which a file is not read."""
        self._limit = limit
        self._known: dict[_Key, str] = {}

    def of(self, path: str) -> str | None:
        """Lower-case hexadecimal SHA-256, or None: unreadable, too large, no file, or changing."""
        try:
            # O_PATH opens nothing: a FIFO or a device is not touched.
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        try:
            key = _key(os.fstat(place))
            if key is None or key[2] > self._limit:
                return None
            known = self._known.get(key)
            return known if known is not None else self._read(place, key)
        except OSError:
            return None
        finally:
            os.close(place)

    def _read(self, place: int, key: _Key) -> str | None:
        digest, left = hashlib.sha256(), self._limit
        with open(f"/proc/self/fd/{place}", "rb", buffering=0) as file:  # noqa: PTH123 -- a descriptor
            while block := file.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    return None
                digest.update(block)
            if _key(os.fstat(file.fileno())) != key:
                return None
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[key] = digest.hexdigest()
        return self._known[key]


def _key(found: os.stat_result) -> _Key | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


__all__ = ["DEFAULT_LIMIT", "FileDigests"]
