"""Places for what lasts, shared fairly: whoever has many gives way to whoever has fewer.

A bound on all together would let a few workloads keep everybody else out, and a bound of one
workload would let one of its runs keep the others out. So where there is no room, the oldest of
whoever holds most goes, as long as that makes it more even: at least two fewer are held by whoever
comes. Nobody is turned out by his like, so that nothing swings to and fro.

It knows no streams: what goes is told by its owner (`freezing.py`, above).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sized
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
K = TypeVar("K")


class _Workload(Generic[T]):
    """What one workload holds, by run, the oldest first."""

    __slots__ = ("count", "runs")

    def __init__(self) -> None:
        self.count = 0
        self.runs: dict[str, dict[T, None]] = {}

    def __len__(self) -> int:
        return self.count


class FairPlaces(Generic[T]):
    """See the module. One event loop."""

    def __init__(self, *, of_all: int, of_workload: int) -> None:
        """How many there are, of all and of one workload."""
        self._of_all = of_all
        self._of_workload = of_workload
        self._workloads: dict[str, _Workload[T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def make_room(self, workload: str, run: str) -> tuple[bool, T | None]:
        """Whether there is a place for a run of a workload, and who has lost his for it."""
        own = self._workloads.get(workload)
        if own is not None and own.count >= self._of_workload:
            greedy = workload
            if _most(own.runs) < len(own.runs.get(run, ())) + 2:
                return False, None
        elif self._count >= self._of_all:
            greedy = _greediest(self._workloads)
            if _most(self._workloads) < (0 if own is None else own.count) + 2:
                return False, None
        else:
            return True, None
        runs = self._workloads[greedy].runs
        greediest = _greediest(runs)
        gone = next(iter(runs[greediest]))
        self.leave(gone, greedy, greediest)
        return True, gone

    def enter(self, holder: T, workload: str, run: str) -> None:
        """Take a place that there is room for."""
        own = self._workloads.setdefault(workload, _Workload[T]())
        own.runs.setdefault(run, {})[holder] = None
        own.count += 1
        self._count += 1

    def leave(self, holder: T, workload: str, run: str) -> None:
        """Give a place back. Twice does nothing."""
        own = self._workloads.get(workload)
        held = None if own is None else own.runs.get(run)
        if own is None or held is None or holder not in held:
            return
        del held[holder]
        own.count -= 1
        self._count -= 1
        if not held:
            del own.runs[run]
        if not own.count:
            del self._workloads[workload]


def _greediest(holders: Mapping[K, Sized]) -> K:
    return max(holders, key=lambda key: len(holders[key]))


def _most(holders: Mapping[K, Sized]) -> int:
    return max((len(held) for held in holders.values()), default=0)


__all__ = ["FairPlaces"]
