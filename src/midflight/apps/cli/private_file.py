"""Files that are written as a whole, and those that only their owner may read."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from midflight.apps.cli.output import print_json
from midflight.domain.errors import Misconfigured


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 as a whole; what stood there is replaced, never written through.

    Raises:
        Misconfigured: it cannot be written.
    """
    write_whole(path, text, mode=0o600)


def hand_out(made: dict[str, Any], name: str, *, out: Path | None, as_json: bool) -> None:
    """Give a new secret to who asked for it, once: into a private file, or on standard output.

    Raises:
        Misconfigured: the file cannot be written.
    """
    secret: str = made[name]
    if out is not None:
        write_private(out, secret + "\n")
        made[name] = None
        made["file"] = str(out)
    if as_json:
        print_json(made)
    elif out is None:
        typer.echo(secret)


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


__all__ = ["hand_out", "write_private", "write_whole"]
