"""The file that a launched program reads its access token from: private, replaced, removed.

The folder belongs to the launcher, so a program of another user cannot swap it for another place;
the file belongs to that user, mode 0600. A reader sees the old token or the new one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self


class TokenFile:
    """One file in a folder of its own. A context manager: the folder goes at its end."""

    def __init__(self, owner: tuple[int, int] | None = None) -> None:
        """`owner` is (uid, gid) of another user that reads it, or None."""
        self._owner = owner
        self._folder = Path(tempfile.mkdtemp(prefix="midflight-run-"))
        if owner is not None:
            # To be passed through and not listed; what is in it only its owner reads.
            self._folder.chmod(0o711)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._folder / "token"

    def write(self, token: str) -> None:
        """Replace the token. `OSError` if it cannot be written."""
        descriptor, temporary = tempfile.mkstemp(dir=self._folder)  # O_EXCL, mode 0600
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
            if self._owner is not None:
                os.fchown(file.fileno(), *self._owner)
        Path(temporary).replace(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


__all__ = ["TokenFile"]
