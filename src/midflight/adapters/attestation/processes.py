"""Processes of this machine by pidfd_open(2) and /proc: the adapter of `ports/processes.py`."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path

from midflight.adapters.attestation.proc_files import ids_of, namespaces_of, stat_of
from midflight.domain.errors import NotFound

# A lineage that keeps changing is somebody's doing; three looks are enough for honest churn.
_LOOKS = 3
_MAX_DEPTH = 256


class PidfdProcess:
    """A process held by a pidfd; see `HeldProcess`."""

    def __init__(self, pid: int) -> None:
        """`NotFound` if there is no such process."""
        if pid <= 0:
            raise NotFound("The process is not visible from here (another PID namespace).")
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError as error:
            raise NotFound(f"The process cannot be held ({error.strerror}).") from None
        self._pid = pid
        stat = stat_of(pid)
        if stat is None or not self.alive():
            self.close()
            raise NotFound("The process has ended.")
        self._start = f"{pid}@{stat.started}"

    @property
    def start(self) -> str:
        """`PID@START`."""
        return self._start

    def uid(self) -> int | None:
        """Its effective user id now, or None if it is gone."""
        ids = ids_of(self._pid)
        return None if ids is None or not self.alive() else ids.uid

    def gid(self) -> int | None:
        """Its effective group id now, or None if it is gone."""
        ids = ids_of(self._pid)
        return None if ids is None or not self.alive() else ids.gid

    def alive(self) -> bool:
        """Whether it has not ended. A pidfd becomes readable when it does (pidfd_open(2))."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Let go."""
        os.close(self._descriptor)


class LocalProcesses:
    """See `Processes`."""

    def __init__(self) -> None:
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()

    @property
    def boot(self) -> str:
        """Boot id of the kernel."""
        return self._boot

    def hold(self, pid: int) -> PidfdProcess:
        """Hold a process. `NotFound` if there is none of that number."""
        return PidfdProcess(pid)

    def elsewhere(self, pid: int) -> bool:
        """Whether it has a PID namespace within ours, or is gone."""
        return namespaces_of(pid) != 1

    def lineage(self, pid: int) -> tuple[str, ...]:
        """`PID@START` of the process and its ancestors, nearest first, as they were at one moment.

        Read twice: one that ended, was replaced or got another parent in between shows.
        """
        held = PidfdProcess(pid)
        try:
            for _ in range(_LOOKS):
                first = _walk(pid)
                if first and _walk(pid) == first and held.alive():
                    return tuple(f"{number}@{started}" for number, started in first)
        finally:
            held.close()
        raise NotFound("The process has ended, or its ancestors kept changing.")

    def watch(self, start: str, ended: Callable[[], None]) -> Callable[[], None] | None:
        """Call `ended()` once that process has ended; what is returned stops watching."""
        try:
            number = int(start.partition("@")[0])
            descriptor = os.pidfd_open(number)
        except (ValueError, OSError):
            return None
        stat = stat_of(number)
        if stat is None or stat.ended or f"{number}@{stat.started}" != start:
            os.close(descriptor)
            return None
        loop = asyncio.get_running_loop()
        watching = True

        def stop() -> None:
            nonlocal watching
            if watching:
                watching = False
                loop.remove_reader(descriptor)
                os.close(descriptor)

        def over() -> None:
            stop()
            ended()

        loop.add_reader(descriptor, over)
        return stop


def _walk(pid: int) -> list[tuple[int, int]]:
    """(pid, start) from the process up; empty if it changed while it was read."""
    chain: list[tuple[int, int]] = []
    while pid > 0:
        stat = stat_of(pid)
        # A parent is never younger than its child: such a pair is a reused number.
        if stat is None or (chain and stat.started > chain[-1][1]) or len(chain) >= _MAX_DEPTH:
            return []
        chain.append((pid, stat.started))
        pid = stat.parent
    return chain


__all__ = ["LocalProcesses", "PidfdProcess"]
