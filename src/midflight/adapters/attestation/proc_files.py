"""Opens files of /proc, in bounds. What is gone or not ours to read is None. Linux only."""

from __future__ import annotations

import os
from pathlib import Path

from midflight.adapters.attestation import proc
from midflight.wire.proc_stat import Stat, read_stat

MAX_BYTES = 1_048_576
"""Bytes that are read of one file of /proc: a process chooses how long its arguments are."""


def proc_file(pid: int, name: str) -> bytes | None:
    """The beginning of /proc/PID/NAME, or None."""
    try:
        with Path(f"/proc/{pid}/{name}").open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return None


def proc_link(pid: int, name: str) -> str | None:
    """Where /proc/PID/NAME leads, or None."""
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115 -- as text, unresolved
    except OSError:
        return None


def stat_of(pid: int) -> Stat | None:
    """Parent and start time of a process, or None if there is none."""
    raw = proc_file(pid, "stat")
    return None if raw is None else read_stat(raw)


def ids_of(pid: int) -> proc.Ids | None:
    """Effective user and groups of a process, or None if there is none."""
    raw = proc_file(pid, "status")
    return None if raw is None else proc.read_status(raw)


def namespaces_of(pid: int) -> int:
    """How many PID namespaces a process is in, from ours on; 0 if there is none such."""
    raw = proc_file(pid, "status")
    return 0 if raw is None else proc.read_namespaces(raw)


def cgroup_of(pid: int) -> str | None:
    """Control group of a process, or None if it has none that says anything."""
    raw = proc_file(pid, "cgroup")
    return None if raw is None else proc.read_cgroup(raw)


__all__ = ["MAX_BYTES", "cgroup_of", "ids_of", "namespaces_of", "proc_file", "proc_link", "stat_of"]
