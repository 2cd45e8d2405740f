"""One plane a state directory: a lock that is held while it runs, and that ends with its process.

A start ends what any other holder of the store has lent (`services/lease_reaper.py`), so a second
plane on the same state would take the credentials of the first out from under it. It is refused
before it looks at anything. `flock` ends with the open file, `kill -9` included. Above: `Parts`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from midflight.domain.errors import Misconfigured

_FILE = "plane.lock"


@contextmanager
def alone(directory: Path) -> Generator[None]:
    """Meanwhile no other plane runs on this state directory, which exists.

    Raises:
        Misconfigured: one does, or the directory cannot be written.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        held = os.open(directory / _FILE, flags, 0o600)
    except OSError as error:
        raise Misconfigured(
            f"The state directory {directory} cannot be locked: {error.strerror}.",
            hint="It must belong to the user that runs Midflight.",
        ) from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(
                f"Another Midflight runs on the state directory {directory}, and what it has lent "
                "would be taken from it.",
                hint="Stop it, or give this one a state directory of its own.",
            ) from None
        yield
    finally:
        os.close(held)  # the file stays: removing it would let two planes lock two files


__all__ = ["alone"]
