"""Whose child a process is: the ancestry of a peer, read from /proc so that races show.

It knows nothing of operators; `operators.py` asks it. Linux only, like peer credentials.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from midflight.domain.errors import Unauthenticated
from midflight.wire.proc_stat import read_stat

# A snapshot that keeps changing is somebody's doing; three looks are enough for honest churn.
_LOOKS = 3
_MAX_DEPTH = 256
# linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36

_REAPERS: set[asyncio.Task[None]] = set()


class Process(NamedTuple):
    """One process. The pair (pid, started) is never reused while the machine is up."""

    pid: int
    parent: int
    started: int  # clock ticks since boot, /proc/[pid]/stat field 22


ReadProcess = Callable[[int], Process | None]


def read_process(pid: int) -> Process | None:
    """A process as /proc shows it now, or None if there is none."""
    try:
        stat = read_stat(Path(f"/proc/{pid}/stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if stat is None else Process(pid=pid, parent=stat.parent, started=stat.started)


def ancestry(pid: int, *, read: ReadProcess = read_process) -> tuple[Process, ...]:
    """The process and its ancestors, nearest first, as they were at one moment.

    The chain is read twice: a process that ended, was replaced or got another parent in between
    shows as a difference. A pidfd held meanwhile keeps the first one's number from being reused.

    Raises:
        Unauthenticated: it is gone, not visible, or kept changing.
    """
    if pid <= 0:
        raise _unclear("its process is not visible from here (another PID namespace)")
    descriptor = _pidfd(pid)
    try:
        for _ in range(_LOOKS):
            chain = _walk(pid, read)
            if chain is None:
                continue
            if all(read(process.pid) == process for process in chain):
                if _ended(descriptor):
                    raise _unclear("its process ended")
                return chain
    finally:
        os.close(descriptor)
    raise _unclear("its ancestors changed while they were read")


def descends_from(chain: Collection[Process], pids: Collection[int]) -> int | None:
    """The first of the chain that is one of `pids`, or None."""
    return next((process.pid for process in chain if process.pid in pids), None)


def adopt_orphans() -> bool:
    """Make this process the parent of descendants whose own parent ends (PR_SET_CHILD_SUBREAPER).

    Without it, a child of a tool server that forks twice is reparented to init and no longer shows
    as our descendant. Returns whether the kernel agreed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    return library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def reap_orphans(managed: Collection[int], *, seen: set[int]) -> int:
    """Collect adopted children that have ended; how many.

    A child that somebody here manages is left to its owner. A zombie is collected only when it was
    already seen by the call before (`seen` is kept by the caller), so a child that was spawned a
    moment ago and is not yet in `managed` is not taken from the code that waits for it.
    """
    waiting: set[int] = set()
    reaped = 0
    for pid in _zombie_children():
        if pid in managed:
            continue
        if pid not in seen:
            waiting.add(pid)
            continue
        with suppress(ChildProcessError):
            reaped += os.waitpid(pid, os.WNOHANG)[0] == pid
    seen.clear()
    seen.update(waiting)
    return reaped


def end_descendants() -> None:
    """Kill and collect every child, adopted ones included, until there is none.

    For a process that is about to end: what it leaves behind goes to init, and nothing tells it
    from what a person of the same user has started.
    """
    spared: set[int] = set()
    while children := set(_children()) - spared:
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:  # it has become another user, who is no operator
                spared.add(pid)
                continue
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def keep_reaping(
    managed: Callable[[], Collection[int]] = frozenset, *, every_s: float = 5.0
) -> asyncio.Task[None]:
    """Collect adopted children that have ended, for as long as the running loop lives."""

    async def reap() -> None:
        seen: set[int] = set()
        while True:
            await asyncio.sleep(every_s)
            reap_orphans(managed(), seen=seen)

    task = asyncio.ensure_future(reap())
    # The loop keeps weak references only.
    _REAPERS.add(task)
    task.add_done_callback(_REAPERS.discard)
    return task


def _unclear(why: str) -> Unauthenticated:
    return Unauthenticated(
        f"The caller cannot be told apart from an agent: {why}.",
        hint="Call again, from a process that waits for the answer.",
    )


def _walk(pid: int, read: ReadProcess) -> tuple[Process, ...] | None:
    chain: list[Process] = []
    while pid > 0:
        process = read(pid)
        if process is None:
            if not chain:
                raise _unclear("its process is gone")
            return None
        # A parent is never younger than its child: such a pair is a reused number.
        if chain and process.started > chain[-1].started:
            return None
        chain.append(process)
        if len(chain) > _MAX_DEPTH:
            raise _unclear("its ancestry is longer than any honest one")
        pid = process.parent
    return tuple(chain)


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise _unclear("its process is gone") from None
    except OSError as error:
        raise _unclear(f"its process cannot be held ({error.strerror})") from None


def _ended(descriptor: int) -> bool:
    """A pidfd becomes readable when its process ends (pidfd_open(2))."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            yield from map(int, (task / "children").read_text("ascii").split())


def _zombie_children() -> list[int]:
    found: list[int] = []
    for pid in _children():
        with suppress(FileNotFoundError, ProcessLookupError):
            stat = read_stat(Path(f"/proc/{pid}/stat").read_bytes())
            if stat is not None and stat.ended:
                found.append(pid)
    return found


__all__ = [
    "Process",
    "adopt_orphans",
    "ancestry",
    "descends_from",
    "end_descendants",
    "keep_reaping",
    "read_process",
    "reap_orphans",
]
