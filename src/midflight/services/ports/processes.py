"""Processes of this machine, held so that their numbers cannot be taken over unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class HeldProcess(Protocol):
    """One process, held by a descriptor of the kernel (pidfd) while it is looked at."""

    @property
    def start(self) -> str:
        """`PID@START`."""
        ...

    def uid(self) -> int | None:
        """Its effective user id now, or None if it is gone."""
        ...

    def gid(self) -> int | None:
        """Its effective group id now, or None if it is gone."""
        ...

    def alive(self) -> bool:
        """Whether it has not ended: then its number was its own all the time."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Processes(Protocol):
    """Looks at processes. A process that is gone is `NotFound`."""

    @property
    def boot(self) -> str:
        """Boot id of the kernel: start times count from there."""
        ...

    def hold(self, pid: int) -> HeldProcess:
        """Hold a process. `NotFound` if there is none of that number."""
        ...

    def elsewhere(self, pid: int) -> bool:
        """Whether it counts processes otherwise than we do, or is gone: it has a PID namespace."""
        ...

    def lineage(self, pid: int) -> tuple[str, ...]:
        """`PID@START` of the process and its ancestors, nearest first, as they were at one moment.

        `NotFound` if it is gone or kept changing.
        """
        ...

    def watch(self, start: str, ended: Callable[[], None]) -> Callable[[], None] | None:
        """Call `ended()` once that process has ended; what is returned stops watching.

        None if it has ended already. Called from the running event loop.
        """
        ...


__all__ = ["HeldProcess", "Processes"]
