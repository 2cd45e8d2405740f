"""A list of revoked SSH certificates (OpenSSH KRL), kept as a file that servers read.

Written by `ssh-keygen -k`, beside a text file of what is on it, so that entries leave it when their
certificates have ended anyway. Above: `ssh.py`.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import tempfile
from pathlib import Path

from midflight.domain.errors import Misconfigured, Unavailable
from midflight.services.ports.clock import Clock

_ENTRY = re.compile(r"(\d{1,20}) (\d{1,12})\Z")
_TIME_S = 10.0


class RevocationList:
    """One KRL file, and `FILE.entries` beside it: a serial and its end (Unix seconds) a line."""

    def __init__(self, path: str, *, clock: Clock) -> None:
        self._path, self._clock = Path(path), clock
        self._entries = self._path.with_name(self._path.name + ".entries")
        self._lock = asyncio.Lock()

    async def check(self) -> None:
        """`Misconfigured` if the folder cannot be written or `ssh-keygen` is not there."""
        folder = self._path.parent
        if not os.access(folder, os.W_OK):
            raise Misconfigured(f"The folder {folder} of the revocation list cannot be written.")
        self._read()
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            await _keygen("-k", "-q", "-f", str(Path(scratch) / "krl"))

    async def add(self, serial: int, *, until: int, ca: bytes) -> None:
        """Revoke a serial of a CA (its public key in OpenSSH form) until its certificate ends.

        Raises:
            Unavailable: the list could not be written; the one before it is still there.
        """
        async with self._lock:
            now = self._clock.now()
            entries = {number: end for number, end in self._read().items() if end >= now}
            entries[serial] = until
            try:
                await self._write(entries, ca=ca, version=math.ceil(now))
            except OSError:
                raise Unavailable(f"The revocation list {self._path} cannot be written.") from None

    def _read(self) -> dict[int, int]:
        try:
            lines = self._entries.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError):
            raise Unavailable(f"{self._entries} cannot be read.") from None
        found = [_ENTRY.match(line) for line in lines]
        if not all(found):
            # Guessing would put a revoked certificate back into force.
            raise Unavailable(f"{self._entries} holds lines that are no entries.")
        return {int(entry[1]): int(entry[2]) for entry in found if entry is not None}

    async def _write(self, entries: dict[int, int], *, ca: bytes, version: int) -> None:
        with tempfile.TemporaryDirectory(dir=self._path.parent) as scratch:
            folder = Path(scratch)
            (folder / "ca.pub").write_bytes(ca + b"\n")
            listed = "".join(f"serial: {serial}\n" for serial in sorted(entries))
            (folder / "listed").write_text(listed, encoding="ascii")
            kept = "".join(f"{serial} {end}\n" for serial, end in sorted(entries.items()))
            (folder / "entries").write_text(kept, encoding="ascii")
            krl = str(folder / "krl")
            await _keygen(
                *("-k", "-q", "-f", krl, "-z", str(version), "-s", str(folder / "ca.pub")),
                str(folder / "listed"),
            )
            (folder / "krl").chmod(0o644)
            # Entries first: a crash between leaves a list that the next revocation completes.
            for name, place in (("entries", self._entries), ("krl", self._path)):
                with (folder / name).open("rb") as file:
                    os.fsync(file.fileno())
                (folder / name).replace(place)


async def _keygen(*arguments: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "ssh-keygen",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise Misconfigured(
            "ssh-keygen is not installed, which writes revocation lists.",
            hint="Install the OpenSSH client, or leave krl out.",
        ) from None
    try:
        async with asyncio.timeout(_TIME_S):
            status = await process.wait()
    except TimeoutError:
        raise Unavailable(f"ssh-keygen did not end within {_TIME_S:.0f} seconds.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status != 0:
        raise Unavailable(f"ssh-keygen ended with {status} and wrote no revocation list.")


__all__ = ["RevocationList"]
