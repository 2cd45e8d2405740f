"""What detectors keep of runs, workloads and tokens: so many and no more.

Whoever makes a million runs costs no memory: what was looked at longest ago goes first. What goes
is forgotten, so a bound is also how many can be watched at once; detectors say theirs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

RUNS = 10_000
"""Runs, tokens or tools of runs that one detector keeps something of."""
WORKLOADS = 4_096
"""Workloads or owners that it does."""
AGAIN_S, STRONG_AGAIN_S = 1_800.0, 14_400.0
"""What goes on is said again after so many seconds, what is strong after the second. That is how
long standard policy holds a run for it: who waits that out and goes on is found again."""


class Kept(Generic[K, V]):
    """Values by key, at most `bound`; made when first asked for."""

    __slots__ = ("_bound", "_make", "_values")

    def __init__(self, make: Callable[[], V], *, bound: int) -> None:
        """`make` is what a key begins with."""
        self._make = make
        self._bound = bound
        self._values: OrderedDict[K, V] = OrderedDict()

    def of(self, key: K) -> V:
        """The value of a key, which is now the one that was looked at last."""
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
            return found
        while len(self._values) >= self._bound:
            self._values.popitem(last=False)
        made = self._values[key] = self._make()
        return made

    def get(self, key: K) -> V | None:
        """The value of a key, if it is kept."""
        return self._values.get(key)

    def drop(self, key: K) -> None:
        """Forget a key."""
        self._values.pop(key, None)

    def items(self) -> Iterator[tuple[K, V]]:
        """All that is kept, oldest look first."""
        return iter(list(self._values.items()))

    def __len__(self) -> int:
        return len(self._values)


class KeptOfRuns(Generic[K, V]):
    """Values by run and key: `each` of one run at most, and `bound` of all runs together.

    Beyond the first the key that was looked at longest ago goes, beyond the second all of the run
    that was.
    """

    __slots__ = ("_all", "_bound", "_each", "_make", "_runs")

    def __init__(self, make: Callable[[], V], *, each: int, bound: int) -> None:
        """`make` is what a key begins with."""
        self._make = make
        self._each = each
        self._bound = bound
        self._runs: OrderedDict[str, OrderedDict[K, V]] = OrderedDict()
        self._all = 0

    def of(self, run: str, key: K) -> V:
        """The value of a key of a run; both are now those that were looked at last."""
        values = self._runs.get(run)
        if values is None:
            values = self._runs[run] = OrderedDict()
        else:
            self._runs.move_to_end(run)
        found = values.get(key)
        if found is not None:
            values.move_to_end(key)
            return found
        if len(values) >= self._each:
            values.popitem(last=False)
            self._all -= 1
        while self._all >= self._bound:
            self.drop(next(iter(self._runs)))
        # It may have been the only run.
        self._runs.setdefault(run, values)
        made = values[key] = self._make()
        self._all += 1
        return made

    def get(self, run: str, key: K) -> V | None:
        """The value of a key of a run, if it is kept."""
        values = self._runs.get(run)
        return None if values is None else values.get(key)

    def having(self, key: K) -> Iterator[tuple[str, V]]:
        """All runs that have a key."""
        for run, values in list(self._runs.items()):
            found = values.get(key)
            if found is not None:
                yield run, found

    def drop(self, run: str) -> None:
        """Forget a run."""
        values = self._runs.pop(run, None)
        if values is not None:
            self._all -= len(values)
            values.clear()

    def __len__(self) -> int:
        return self._all


__all__ = ["AGAIN_S", "RUNS", "STRONG_AGAIN_S", "WORKLOADS", "Kept", "KeptOfRuns"]
