"""What a detector that learns keeps: what is usual, by workload, and a tally of each open run.

Only a run that has ended teaches, and only one that nothing was found in: while it goes on, nothing
that it does changes what it is held against. A finding that is `FAIR` or `STRONG` takes the run out
of learning, and all of its workload's that overlap with it; so does a restart, since nobody knows
what such a run had done before. Everything is bounded: the workloads that were quiet longest are
forgotten, and so are tallies of the runs that were. Only workloads that somebody has registered are
kept at all, so that no caller can fill this with names.

Not a detector, and no store: `services/baselines.py` keeps it over a restart.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from midflight.domain.event import Event
from midflight.domain.finding import Finding, Strength
from midflight.services.detection import Detector
from midflight.services.detectors.peaks import DAY_S

MAX_WORKLOADS = 1_000
"""Workloads with a baseline, a detector."""
MAX_RUNS = 4_096
"""Open runs with a tally, a detector."""
SHARE = 8
"""Once all of these are taken, a workload that has this part of them makes room itself: who opens
thousands of runs must not have those of others forgotten, which then would never be learned from.
"""
MAX_SUSPECTS = 65_536
"""Runs that are remembered as ones to learn nothing from."""
MAX_DOUBTFUL = 64
"""Ended runs that taught nothing and may still be accepted, a detector."""
MAX_BEFORE = 8
"""Days on which something was learned that are remembered by themselves."""
PARTS = 16
"""Parts that baselines are stored in, so that a change writes a sixteenth of them."""


Count = Annotated[int, msgspec.Meta(ge=0)]


class Usual(msgspec.Struct):
    """What is usual for one workload, as far as a detector knows. Mutable; stored as JSON.

    Attributes:
        runs: how many ended runs taught it.
        days: on how many different days.
        day: the last of them, days since 1970.
        before: those before it, the last `MAX_BEFORE`. A clock that is set to and fro between two
            days must not make a day of each step, since each may teach half as much again.
    """

    runs: Count = 0
    days: Count = 0
    day: int = 0
    before: Annotated[list[int], msgspec.Meta(max_length=MAX_BEFORE)] = []

    def next_day(self) -> None:
        """A day begins on which something is learned."""

    def learned_on(self, at: float) -> None:
        """Count a run that was last seen at Unix second `at`."""
        day = int(at // DAY_S)
        # A clock that was wrong far ahead, and is right again, must not end learning.
        if (day > self.day or day < self.day - 1) and day not in self.before:
            self.before = [*self.before, self.day][-MAX_BEFORE:]
            self.day = day
            self.days += 1
            self.next_day()
        self.runs += 1


UsualT = TypeVar("UsualT", bound=Usual)


class Kept(Generic[UsualT]):
    """One workload.

    `generation` goes up when runs that are open now are to teach nothing. `live` is the detector's
    own: what it needs while this process lasts, and is not stored. `open` are its runs with a
    tally, in the order in which they began.
    """

    __slots__ = ("generation", "live", "open", "usual", "workload")

    def __init__(self, workload: str, usual: UsualT) -> None:
        self.workload = workload
        self.usual = usual
        self.generation = 0
        self.live: Any = None
        self.open: dict[str, None] = {}


class Tally(Generic[UsualT]):
    """What a detector has counted of one open run; each detector adds its own."""

    __slots__ = ("at", "generation", "kept", "suspect")

    def __init__(self, kept: Kept[UsualT]) -> None:
        self.kept = kept
        self.generation = kept.generation
        self.suspect = False
        self.at = 0.0


TallyT = TypeVar("TallyT", bound=Tally[Any])


class Memory(Generic[UsualT, TallyT]):
    """Baselines and tallies of one detector."""

    def __init__(
        self,
        usual: type[UsualT],
        tally: Callable[[Kept[UsualT]], TallyT],
        learn: Callable[[UsualT, TallyT], None],
        *,
        max_workloads: int = MAX_WORKLOADS,
        max_runs: int = MAX_RUNS,
    ) -> None:
        """`learn(usual, tally)` takes over what an ended run has shown."""
        self._usual = usual
        self._tally = tally
        self._learn = learn
        self._max_workloads = max_workloads
        self._max_runs = max_runs
        self._workloads: OrderedDict[str, Kept[UsualT]] = OrderedDict()
        self._runs: OrderedDict[str, TallyT] = OrderedDict()
        self._suspects: OrderedDict[str, None] = OrderedDict()
        self._doubtful: OrderedDict[str, TallyT] = OrderedDict()
        self.dirty: set[int] = set()
        """Parts that have changed since they were stored."""

    def tally(self, event: Event) -> TallyT | None:
        """The tally of an event's run; None where nothing is to be learned or said."""
        tally = self._runs.get(event.run)
        if tally is None:
            if not event.run or not event.owner:
                return None
            tally = self._begin(event)
        elif tally.kept.workload != event.workload:
            return None
        else:
            self._runs.move_to_end(event.run)
        tally.at = event.at
        return tally

    def run_ended(self, run: str) -> None:
        """Learn from a run, or from none of those that overlapped with it."""
        tally = self._runs.pop(run, None)
        self._suspects.pop(run, None)
        if tally is None:
            return
        kept = tally.kept
        kept.open.pop(run, None)
        if tally.suspect:
            kept.generation += 1
            self._doubtful[run] = tally
            if len(self._doubtful) > MAX_DOUBTFUL:
                self._doubtful.popitem(last=False)
        elif kept.generation == tally.generation:
            self._take_in(tally)

    def doubtful(self, run: str) -> str:
        """The workload of an ended run that taught nothing for what was found in it, or empty."""
        tally = self._doubtful.get(run)
        return "" if tally is None else tally.kept.workload

    def accept(self, run: str) -> None:
        """Learn from such a run after all, as from any other."""
        tally = self._doubtful.pop(run, None)
        if tally is not None:
            self._take_in(tally)

    def found(self, finding: Finding) -> None:
        """Learn nothing from what something was found in."""
        if finding.strength >= Strength.FAIR:
            self.doubt(finding.run, workload=finding.workload)

    def doubt(self, run: str, *, workload: str) -> None:
        """Learn nothing from a run, nor from others of the workload that are open."""
        if run:
            self.suspect((run,))
        if (kept := self._workloads.get(workload)) is not None:
            kept.generation += 1

    def suspect(self, runs: Iterable[str]) -> None:
        """Learn nothing from these runs, whether they were seen already or not."""
        for run in runs:
            if (tally := self._runs.get(run)) is not None:
                tally.suspect = True
            self._suspects[run] = None
            self._suspects.move_to_end(run)
        while len(self._suspects) > MAX_SUSPECTS:
            self._suspects.popitem(last=False)

    def usual(self, workload: str) -> UsualT | None:
        """What is known of a workload."""
        kept = self._workloads.get(workload)
        return None if kept is None else kept.usual

    def forget(self, workload: str) -> bool:
        """Know nothing of a workload; whether anything was known. Its open runs teach nothing."""
        kept = self._workloads.pop(workload, None)
        if kept is None:
            return False
        kept.usual = self._usual()  # what open runs are held against, too
        self.dirty.add(part_of(workload))
        return True

    def save(self, part: int) -> dict[str, UsualT]:
        """What is known of the workloads of one part; it is not dirty any more."""
        self.dirty.discard(part)
        return {
            workload: kept.usual
            for workload, kept in self._workloads.items()
            if part_of(workload) == part and kept.usual.runs
        }

    def load(self, known: object, *, part: int) -> None:
        """Take over what was saved of a part.

        Raises:
            msgspec.ValidationError: it is nothing that was ever saved.
        """
        loaded = msgspec.convert(known, dict[str, self._usual])
        if any(part_of(workload) != part for workload in loaded):
            raise msgspec.ValidationError("a workload of another part")
        for workload, usual in loaded.items():
            self._workloads[workload] = Kept(workload, usual)
        self._make_room()

    def sizes(self) -> tuple[int, int, int]:
        """How many workloads, runs and suspects are held, for tests of the bounds."""
        return len(self._workloads), len(self._runs), len(self._suspects)

    def _take_in(self, tally: TallyT) -> None:
        kept = tally.kept
        if self._workloads.get(kept.workload) is kept:
            kept.usual.learned_on(tally.at)
            self._learn(kept.usual, tally)
            self.dirty.add(part_of(kept.workload))

    def _begin(self, event: Event) -> TallyT:
        kept = self._workloads.get(event.workload)
        if kept is None:
            kept = self._workloads[event.workload] = Kept(event.workload, self._usual())
            self._make_room()
        else:
            self._workloads.move_to_end(event.workload)
        if len(self._runs) >= self._max_runs:
            crowded = len(kept.open) * SHARE >= self._max_runs
            gone = next(iter(kept.open if crowded else self._runs))
            self._runs.pop(gone).kept.open.pop(gone, None)
            self.suspect((gone,))  # what it goes on with is not all of it
        tally = self._runs[event.run] = self._tally(kept)
        kept.open[event.run] = None
        tally.suspect = event.run in self._suspects
        return tally

    def _make_room(self) -> None:
        while len(self._workloads) > self._max_workloads:
            gone, _ = self._workloads.popitem(last=False)
            self.dirty.add(part_of(gone))


@runtime_checkable
class Learner(Detector, Protocol):
    """A detector that learns what is usual."""

    @property
    def memory(self) -> Memory[Any, Any]:
        """What it knows."""
        ...

    def say(self, usual: Any) -> Sequence[str]:
        """What is usual, in words."""
        ...

    def is_warm(self, usual: Any) -> bool:
        """Whether it knows enough to say more than that something is unusual."""
        ...


def part_of(workload: str) -> int:
    """The part that a workload's baseline is stored in."""
    return zlib.crc32(workload.encode()) % PARTS


__all__ = [
    "MAX_BEFORE",
    "MAX_DOUBTFUL",
    "MAX_RUNS",
    "MAX_SUSPECTS",
    "MAX_WORKLOADS",
    "PARTS",
    "SHARE",
    "Kept",
    "Learner",
    "Memory",
    "Tally",
    "Usual",
    "part_of",
]
