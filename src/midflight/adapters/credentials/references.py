"""References to secrets, read when they are needed: `env:NAME`, `file:PATH`, `sealed:ID`.

A file that others may read holds no secret, so it is refused. What was read is kept nowhere.
Below: the secret reader port. Above: backends.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from midflight.domain.errors import Misconfigured

MAX_BYTES = 262_144


class References:
    """A `SecretReader` over this process's environment, its files and the sealed secrets."""

    def __init__(self, sealed: Callable[[str], Awaitable[str]]) -> None:
        """`sealed` opens a sealed secret by its id."""
        self._sealed = sealed

    async def read(self, reference: str) -> str:
        """The secret, without a line end behind it. `Misconfigured` if there is none."""
        kind, _, rest = reference.partition(":")
        match kind:
            case "env":
                return _of_environment(rest)
            case "file":
                return await asyncio.to_thread(_of_file, Path(rest))
            case "sealed":
                return await self._sealed(rest)
            case _:
                # Not shown: whoever wrote it may have written the secret itself.
                raise Misconfigured(
                    "A secret is named by env:NAME, file:PATH or sealed:ID, and this is none.",
                    hint="midflight credential add --secret password=file:/run/secrets/db",
                )


def _of_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise Misconfigured(
            f"The environment of Midflight has no {name}.",
            hint="Set it where Midflight is started, or use file:PATH.",
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        # What is no text stands there as half characters, which nothing can be made of.
        raise Misconfigured(f"The variable {name} of Midflight is no text in UTF-8.") from None
    return value


def _of_file(path: Path) -> str:
    try:
        # Opened first and looked at then, so that nobody exchanges it between the two.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor
            status = os.fstat(file.fileno())
            _check(path, status)
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Misconfigured(f"The secret file {path} cannot be read ({error.strerror}).") from None
    if len(raw) > MAX_BYTES:
        raise Misconfigured(f"The secret file {path} is longer than {MAX_BYTES:,} bytes.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Misconfigured(f"The secret file {path} is no text in UTF-8.") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Misconfigured(f"The secret file {path} is empty.")
    return text


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Misconfigured(f"The secret file {path} is no regular file.")
    if status.st_mode & 0o077:
        raise Misconfigured(
            f"The secret file {path} can be read or changed by others.",
            hint=f"chmod 600 {path}",
        )
    if status.st_uid not in (0, os.geteuid()):
        raise Misconfigured(f"The secret file {path} belongs to somebody else.")


__all__ = ["References"]
