"""Files that are written as a whole, and those that only their owner may read."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from midflight.domain.errors import Misconfigured


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 as a whole; what stood there is replaced, never written through.

    Raises:
        Misconfigured: it cannot be written.
    """
    write_whole(path, text, mode=0o600)


def write_whole(path: Path, text: str, *, mode: int) -> None:
    """Write a file with this mode as a whole; a reader sees the old one or the new one.

    Raises:
        Misconfigured: it cannot be written.
    """
    try:
        # mkstemp opens with O_EXCL and 0600; the rename replaces a symbolic link, not its target.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            if mode != 0o600:
                Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be written: {error.strerror}.", hint="Name another file with --out."
        ) from None


__all__ = ["write_private", "write_whole"]
