"""What /proc/PID/stat says of a process (proc_pid_stat(5)): bytes in, facts out, no error.

A process chooses its name, which stands in the middle, so nothing here trusts the form. The other
files of /proc are read by `adapters/attestation/proc.py`.
"""

from __future__ import annotations

from midflight.domain.value import Value


class Stat(Value):
    """`started` is in clock ticks since boot; `ended` for a zombie."""

    parent: int
    started: int
    ended: bool


def read_stat(raw: bytes) -> Stat | None:
    """None for what has not the form. The name in field 2 may hold anything, even `)`."""
    fields = raw.rpartition(b")")[2].split()
    if len(fields) < 20:
        return None
    parent, started = _number(fields[1]), _number(fields[19])
    if parent is None or started is None:
        return None
    return Stat(parent=parent, started=started, ended=fields[0] in (b"Z", b"X"))


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= 20 else None


__all__ = ["Stat", "read_stat"]
