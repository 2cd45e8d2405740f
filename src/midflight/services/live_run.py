"""A run in this process: its state, labels, budget, and its place among those it descends from.

It is not the registry of runs (`runs.py`, which owns every one of these), and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from midflight.domain.errors import Interrupted
from midflight.domain.labels import BOTTOM
from midflight.domain.question import RunFacts
from midflight.domain.response import CLEAR, Standing
from midflight.domain.run import RunState
from midflight.services.ports.store import Store, StoredRun
from midflight.services.standings import Standings, Stood

STEP_BLOCK = 64
"""Steps reserved at a time: one store write for 64 actions; a crash loses at most 63 of them."""


class LiveRun:
    """A run in this process. Mutable; owned by `Runs`; one event loop."""

    __slots__ = (
        "_granted",
        "_lock",
        "children",
        "ends",
        "flying",
        "fresh",
        "labels",
        "labels_source",
        "last_seen",
        "parent",
        "run",
        "spread_labels",
        "standings",
        "state",
        "steps",
        "stood",
        "stored_labels",
    )

    def __init__(
        self,
        stored: StoredRun,
        *,
        now: float,
        parent: LiveRun | None = None,
        standings: Standings | None = None,
    ) -> None:
        """`now` is monotonic seconds. Steps reserved before are taken as used.

        `standings` is where the standing of every run of the process is looked up.
        """
        self.standings = standings
        self.stood: Stood | None = None
        """What `standings` has found last; its own to use."""
        self.run = stored.run
        self.state = stored.state
        self.labels = stored.labels
        self.stored_labels = stored.labels
        self.spread_labels = stored.labels if parent is None else BOTTOM
        """What all runs that must have this one's labels are known to have in the store."""
        self.labels_source = stored.labels_source
        self.steps = stored.steps_reserved
        self.fresh = not stored.steps_reserved
        """It had not acted when this process took it up."""
        self.last_seen = now
        self.ends = float("inf")
        """Where the monotonic clock ends it."""
        self.flying = 0
        """Actions in flight: while there are any, the run is not idle."""
        self.parent = parent
        self.children: set[LiveRun] = set()
        """Those of its children that are open in this process."""
        self._granted = stored.steps_reserved
        self._lock = asyncio.Lock()

    def look(self) -> None:
        """Raise `Interrupted` if the run has ended: nothing leaves for it or is delivered to it.

        What took its step of a budget that is used up by now may finish.
        """
        if self.state not in (RunState.OPEN, RunState.EXHAUSTED):
            raise over(self.run.id, self.state)

    def take_reserved(self) -> bool:
        """Take a step that is reserved already, as nearly all are; False if there is none."""
        if self.steps >= self._granted:
            return False
        self.steps += 1
        return True

    async def take_step(self, store: Store) -> bool:
        """Take one step of the budget; False when it is used up."""
        while self.steps >= self._granted:
            async with self._lock:
                if self.steps < self._granted:
                    continue
                granted = await store.reserve_steps(self.run.id, STEP_BLOCK)
                if granted == 0:
                    return False
                self._granted += granted
        self.steps += 1
        return True

    async def take_steps(self, store: Store, count: int) -> bool:
        """Take so many steps at once, for a child; False, and none taken, if there are fewer.

        They are reserved in the store before this returns, so a crash cannot give them back.
        """
        async with self._lock:
            while (missing := self.steps + count - self._granted) > 0:
                granted = await store.reserve_steps(self.run.id, missing)
                if granted == 0:
                    return False
                self._granted += granted
            self.steps += count
            return True

    def standing(self, now: float, through: Iterable[str] = ()) -> Standing:
        """What holds for it at `now` (Unix seconds), with what holds for those acting through."""
        return CLEAR if self.standings is None else self.standings.of(self, now, through)

    def facts(
        self,
        *,
        now: int,
        monitors: dict[str, int] | None = None,
        through: Iterable[str] = (),
    ) -> RunFacts:
        """What policy may know of the run.

        `monitors` is what each says with this action, `through` are workloads that act in it.
        """
        standing = self.standing(now, through)
        return RunFacts(
            id=self.run.id,
            has_intent=self.run.intent is not None,
            implicit=self.run.implicit,
            age_s=max(0, now - self.run.opened_at),
            steps=self.steps,
            labels=self.labels,
            labels_source=self.labels_source,
            monitors=monitors or {},
            risk=standing.risk,
            response=standing.level.value,
            findings=standing.findings,
        )

    def ancestors(self) -> Iterator[LiveRun]:
        """Its parent, the parent's parent and so on."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent

    def first(self) -> LiveRun:
        """The run that all of its family descends from: itself, if it was not delegated."""
        first = self
        while first.parent is not None:
            first = first.parent
        return first

    def descendants(self) -> Iterator[LiveRun]:
        """Its children that are open in this process, and theirs; parents before children."""
        for child in self.children:
            yield child
            yield from child.descendants()

    def family(self) -> Iterator[LiveRun]:
        """All that descend from the same first run and are open in this process."""
        first = self.first()
        yield first
        yield from first.descendants()

    def kin(self) -> list[LiveRun]:
        """Runs whose labels grow when this one's do, itself among them; outermost first.

        Those it descends from: a child's labels join its parent's. And those of its family that
        are for the same workload as one of these: without attestation it may be the same process
        that acts in both, and what it has read in the one it knows in the other.
        """
        family = list(self.family())
        found: set[LiveRun] = {self}
        waiting: list[LiveRun] = [self]
        while waiting:
            run = waiting.pop()
            alike = (other for other in family if other.run.workload == run.run.workload)
            fresh = {*run.ancestors(), *alike} - found
            found |= fresh
            waiting += fresh
        return sorted(found, key=lambda run: run.run.depth)


def over(run: str, state: RunState) -> Interrupted:
    """What becomes of an action whose run has ended under it."""
    return Interrupted(
        f"Run {run} has ended ({state.value}).",
        revocation="",
        hint="Ask who opened the run for a new one.",
    )


__all__ = ["STEP_BLOCK", "LiveRun", "over"]
