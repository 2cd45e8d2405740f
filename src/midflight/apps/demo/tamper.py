"""The demo's last act: verifies a ledger as an outsider would, and changes one byte of a copy."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
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


def change_one_entry(database: Path) -> str:
    """Flip one byte in the body of an entry in the middle; its record id."""
    with sqlite3.connect(database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM entry").fetchone()
        row = connection.execute(
            "SELECT position, writer, seq, body FROM entry ORDER BY position LIMIT 1 OFFSET ?",
            (count // 2,),
        ).fetchone()
        position, writer, seq, body = row
        changed = bytearray(body)
        changed[len(changed) // 2] ^= 0x01
        connection.execute(
            "UPDATE entry SET body = ? WHERE position = ?", (bytes(changed), position)
        )
    connection.close()
    return f"{writer}-{seq}"


__all__ = ["Verdict", "change_one_entry", "verify"]
