"""The `unix` attestor: user, groups, program and control group of a local process.

Strong: `uid`, `user`, `gid`, `group`, `supplementary_gid`, `supplementary_group`, `path`, `sha256`,
`cgroup`. Weak, since the caller arranges them: `script`, `script_sha256`, `cwd`, `venv`, `parent`.
`path` and `sha256` are those of the program that runs when we look; processes of one user can
become each other (ptrace(2), or exec with the connection left to another), so they narrow what a
user may be and separate no users. A path is said only if it leads to that very file from here.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from midflight.adapters.attestation.file_digests import FileDigests
from midflight.adapters.attestation.proc import fact, read_cmdline
from midflight.adapters.attestation.proc_files import (
    cgroup_of,
    ids_of,
    proc_file,
    proc_link,
    stat_of,
)
from midflight.domain.attestation import Process, Selector

MAX_PARENTS = 8
_INTERPRETERS = ("python", "node", "ruby", "perl", "bash", "sh", "dash", "deno", "bun", "php")


class UnixAttestor:
    """See the module."""

    type = "unix"

    def __init__(self, digests: FileDigests | None = None) -> None:
        self._digests = digests or FileDigests()

    async def attest(self, process: Process) -> Sequence[Selector]:
        """Facts about a process that is alive."""
        return await asyncio.to_thread(lambda: tuple(self._facts(process)))

    def _facts(self, process: Process) -> Iterator[Selector]:
        yield from _owner(process)
        pid = process.pid
        yield from fact("unix", "cgroup", cgroup_of(pid) or "")
        path = program(pid)
        yield from fact("unix", "path", path or "")
        yield from fact("unix", "sha256", self._digests.of(f"/proc/{pid}/exe") or "")
        yield from self._weak(pid, path or "")

    def _weak(self, pid: int, path: str) -> Iterator[Selector]:
        cwd = proc_link(pid, "cwd") or ""
        yield from fact("unix", "cwd", cwd)
        arguments = read_cmdline(proc_file(pid, "cmdline") or b"")
        script = script_of(path, arguments)
        if script and cwd:
            whole = os.path.normpath(PurePosixPath(cwd) / script)
            yield from fact("unix", "script", whole)
            yield from fact("unix", "script_sha256", self._digests.of(whole) or "")
        venv = PurePosixPath(arguments[0]).parent.parent if arguments else PurePosixPath()
        with suppress(OSError, ValueError):
            if venv.is_absolute() and (Path(venv) / "pyvenv.cfg").is_file():
                yield from fact("unix", "venv", str(venv))
        above = stat_of(pid)
        for _ in range(MAX_PARENTS):
            if above is None or above.parent <= 0:
                return
            yield from fact("unix", "parent", program(above.parent) or "")
            above = stat_of(above.parent)


def program(pid: int) -> str | None:
    """Path of a process's program, or None if it does not lead to that file from here.

    It is a path in the process's own view of the file system, where anything may stand anywhere.
    """
    path = proc_link(pid, "exe")
    if path is None or not path.startswith("/"):
        return None
    try:
        there, here = Path(f"/proc/{pid}/exe").stat(), Path(path).stat()
    except (OSError, ValueError):
        return None
    same = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    return path if same else None


def script_of(path: str, arguments: Sequence[str]) -> str | None:
    """The script that an interpreter was started with, or None; by argv, so whatever it says."""
    name = PurePosixPath(path).name
    if not name.startswith(_INTERPRETERS):
        return None
    for argument in arguments[1:]:
        if argument in ("-c", "-m", "-e", "-"):
            return None
        if not argument.startswith("-"):
            return argument
    return None


def _owner(process: Process) -> Iterator[Selector]:
    yield from fact("unix", "uid", str(process.uid))
    yield from fact("unix", "gid", str(process.gid))
    with suppress(KeyError):
        yield from fact("unix", "user", pwd.getpwuid(process.uid).pw_name)
    with suppress(KeyError):
        yield from fact("unix", "group", grp.getgrgid(process.gid).gr_name)
    ids = ids_of(process.pid)
    for group in () if ids is None else ids.groups:
        yield from fact("unix", "supplementary_gid", str(group))
        with suppress(KeyError):
            yield from fact("unix", "supplementary_group", grp.getgrgid(group).gr_name)


__all__ = ["UnixAttestor", "program", "script_of"]
