"""The demo's last act: verifies a ledger as an outsider would, and changes one byte of a copy."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from midflight.domain.value import Value


class Verdict(Value):
    """What `midflight ledger verify` said."""

    ok: bool
    text: str


def verify(database: Path, checkpoint: Path) -> Verdict:
    """Run the verifier in a process of its own: it needs nothing of the plane but its file."""
    done = subprocess.run(  # noqa: S603 -- our own interpreter and paths
        [
            sys.executable,
            "-m",
            "midflight.apps.cli.main",
            "ledger",
            "verify",
            str(database),
            "--checkpoint",
            str(checkpoint),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return Verdict(ok=done.returncode == 0, text=(done.stdout + done.stderr).strip())


def copy_of(database: Path, target: Path) -> Path:
    """A whole copy of a database in use."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def change_one_entry(database: Path) -> str:
    """Flip one bit in an entry in the middle, as somebody with the file would; its record id."""
    with closing(sqlite3.connect(database)) as connection, connection:
        # The trigger keeps accidents away; it cannot keep the owner of the file away.
        connection.execute("DROP TRIGGER entry_stays")
        (count,) = connection.execute("SELECT count(*) FROM entry").fetchone()
        position, writer, seq, body = connection.execute(
            "SELECT position, writer, seq, body FROM entry ORDER BY position LIMIT 1 OFFSET ?",
            (count // 2,),
        ).fetchone()
        changed = bytearray(body)
        changed[len(changed) // 2] ^= 0x01
        connection.execute(
            "UPDATE entry SET body = ? WHERE position = ?", (bytes(changed), position)
        )
    return f"{writer}-{seq}"


__all__ = ["Verdict", "change_one_entry", "copy_of", "verify"]
