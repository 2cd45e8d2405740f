"""Burst: far more than this workload does, within a minute or within a run.

Counts what leaves, not what is refused (that is what `probing` looks at). What is usual is the most
that ended runs have shown, see `peaks.py`; below the floors nothing is said, and a workload that is
still new is held against ten times the floors, and never found more than `WEAK`. What was found is
found again where it goes on: in a window after half an hour, of a run when it is twice as much.

Six measures: calls, effects and bytes of the workload in a sliding window, whichever of its runs
they are of, and calls, effects and bytes of the one run. The second three find what is spread over
an hour so that no minute shows it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec

from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.traits import Effect
from midflight.domain.value import Value
from midflight.services.detectors.kept import AGAIN_S
from midflight.services.detectors.learning import Kept, Memory, Tally, Usual
from midflight.services.detectors.peaks import Peak, Window

WARM_RUNS = 20
"""Ended runs after which more than `WEAK` may be said."""
WEAK_TIMES = 2.0
"""How many times what is usual at most is worth a note."""
FAIR_TIMES = 3.0
"""How many times what is usual at most is seldom harmless."""
NEW_TIMES = 10.0
"""How many times the floor is worth a note of a workload that is new."""
CALLS_S, BYTES_S = 60.0, 600.0
"""Seconds of the windows of calls and effects, and of bytes."""


class Measure(Value):
    """One thing that is measured.

    Attributes:
        of: what is counted, in words.
        within: in which time, in words.
        floor: up to this much nothing is said, whatever is usual.
    """

    of: str
    within: str
    floor: int


MEASURES = (
    Measure(of="calls", within="60 seconds", floor=30),
    Measure(of="calls that change something", within="60 seconds", floor=10),
    Measure(of="bytes sent", within="10 minutes", floor=1_000_000),
    Measure(of="calls", within="a run", floor=100),
    Measure(of="calls that change something", within="a run", floor=30),
    Measure(of="bytes sent", within="a run", floor=2_000_000),
)
"""The first three are of the workload, the last three of a run. Stored by place: append only."""

_RUN = 3
"""From a measure of the workload to that of the run."""
_READS, _CHANGES, _SENDS = (0,), (0, 1), (2,)
_RECORDS = 8
_READ = Effect.READ


class _Usual(Usual):
    """A peak of each measure."""

    peaks: Annotated[
        list[Peak], msgspec.Meta(min_length=len(MEASURES), max_length=len(MEASURES))
    ] = msgspec.field(default_factory=lambda: [Peak() for _ in MEASURES])

    def next_day(self) -> None:
        for peak in self.peaks:
            peak.next_day()


_Windows: TypeAlias = tuple[Window, ...]


class _Tally(Tally[_Usual]):
    """`most` holds the largest sum of each window and the whole of the run.

    `quiet` holds from when on (monotonic seconds) a window, or beyond how much a run, is found
    again.
    """

    __slots__ = ("_limits", "_runs", "_usual", "most", "quiet", "records", "said", "windows")

    def __init__(self, kept: Kept[_Usual]) -> None:
        super().__init__(kept)
        if kept.live is None:
            kept.live = (Window(CALLS_S), Window(CALLS_S), Window(BYTES_S))
        self.windows: _Windows = kept.live
        self.most = [0] * len(MEASURES)
        self.said = [0] * len(MEASURES)
        self.quiet = [0.0] * len(MEASURES)
        self.records: deque[str] = deque(maxlen=_RECORDS)
        self._usual: _Usual | None = None
        self._runs = 0
        self._limits: list[float] = []

    def limits(self) -> list[float]:
        """From where on each measure is worth a word, made anew when something was learned."""
        usual = self.kept.usual
        if usual is not self._usual or usual.runs != self._runs:
            self._usual, self._runs = usual, usual.runs
            self._limits = [self.limit(place) for place in range(len(MEASURES))]
        return self._limits

    def limit(self, place: int) -> float:
        """From where on a measure may be worth more than was said already."""
        said, usual = self.said[place], self.kept.usual
        if said and usual.runs < WARM_RUNS:
            return math.inf  # no more than `WEAK` may be said of it yet, and that was
        least = limit(usual, place, Strength.FAIR if said else Strength.WEAK)
        return max(least, self.quiet[place]) if place >= _RUN else least

    def seen(self, place: int) -> int:
        """What a measure says now."""
        return self.most[place] if place >= _RUN else self.windows[place].total

    def is_new(self, place: int, strength: Strength, mono: float) -> bool:
        """Whether that is worse than what was said, or still so after a while."""
        if strength > self.said[place]:
            return True
        return strength >= Strength.FAIR and (place >= _RUN or mono >= self.quiet[place])

    def say(self, place: int, strength: Strength, mono: float) -> None:
        """It was said."""
        self.said[place] = strength
        if strength >= Strength.FAIR:
            self.quiet[place] = 2 * self.most[place] if place >= _RUN else mono + AGAIN_S
        self._limits[place] = self.limit(place)


class Burst:
    """See the module."""

    name = "burst"

    def __init__(self) -> None:
        """Knows nothing yet."""
        self.memory: Memory[_Usual, _Tally] = Memory(_Usual, _Tally, _learn)

    def see(self, event: Event) -> Sighting | None:
        """Look at what leaves, and at what has left when it has ended."""
        tally = self.memory.tally(event)
        if tally is None:
            return None
        if event.state is None:
            tally.records.append(event.record)
            return self._add(event, tally, 1, _READS if event.effect is _READ else _CHANGES)
        if event.bytes_out > 0:
            return self._add(event, tally, event.bytes_out, _SENDS)
        return None

    def run_ended(self, run: str) -> None:
        """Learn from it."""
        self.memory.run_ended(run)

    def is_warm(self, usual: _Usual) -> bool:
        """Whether more than `WEAK` may be said."""
        return usual.runs >= WARM_RUNS

    def say(self, usual: _Usual) -> Sequence[str]:
        """The most of each measure."""
        return [
            f"at most {_number(peak.high)} {measure.of} within {measure.within}"
            for measure, peak in zip(MEASURES, usual.peaks, strict=True)
        ]

    def _add(
        self, event: Event, tally: _Tally, amount: int, places: tuple[int, ...]
    ) -> Sighting | None:
        windows, most, limits = tally.windows, tally.most, tally.limits()
        over: list[int] = []
        for place in places:
            seen = windows[place].add(event.mono, amount)
            most[place] = max(most[place], seen)
            if seen > limits[place]:
                over.append(place)
            of_run = place + _RUN
            most[of_run] += amount
            if most[of_run] > limits[of_run]:
                over.append(of_run)
        return self._sighting(event, tally, over) if over else None

    def _sighting(self, event: Event, tally: _Tally, over: list[int]) -> Sighting | None:
        """What is said of the measures that are beyond what is usual, each once a strength."""
        usual = tally.kept.usual
        words: list[str] = []
        strongest = 0
        at_most: list[str] = []
        after = 0
        for place in over:
            seen = tally.seen(place)
            fair = self.is_warm(usual) and seen > limit(usual, place, Strength.FAIR)
            strength = Strength.FAIR if fair else Strength.WEAK
            if not tally.is_new(place, strength, event.mono):
                continue
            tally.say(place, strength, event.mono)
            strongest = max(strongest, strength)
            measure = MEASURES[place]
            words.append(f"{_number(seen)} {measure.of} within {measure.within}")
            at_most.append(f"{_number(usual.peaks[place].high)} within {measure.within}")
            after = max(after, tally.most[_RUN])
        if not words:
            return None
        if strongest >= Strength.FAIR:
            self.memory.doubt(event.run, workload=event.workload)
        return Sighting(
            strength=Strength(strongest),
            seen=", ".join(words),
            usual=_usual(usual, at_most),
            after=after,
            records=tuple(tally.records),
        )


def limit(usual: _Usual, place: int, strength: Strength) -> float:
    """How much of a measure goes without being said to be of a strength."""
    floor = MEASURES[place].floor
    if usual.runs < WARM_RUNS:
        return floor * NEW_TIMES
    times = WEAK_TIMES if strength is Strength.WEAK else FAIR_TIMES
    return max(floor, usual.peaks[place].high * times)


def _learn(usual: _Usual, tally: _Tally) -> None:
    freely = usual.runs <= WARM_RUNS
    for measure, peak, most in zip(MEASURES, usual.peaks, tally.most, strict=True):
        peak.learn(most, step=measure.floor / 10, freely=freely)


def _usual(usual: _Usual, at_most: list[str]) -> str:
    if usual.runs < WARM_RUNS:
        return f"not known yet: {usual.runs} of {WARM_RUNS} runs have ended"
    return f"at most {', '.join(at_most)}, in {usual.runs:,} runs on {usual.days:,} days"


def _number(value: float) -> str:
    return f"{value:,.0f}"


__all__ = [
    "BYTES_S",
    "CALLS_S",
    "FAIR_TIMES",
    "MEASURES",
    "NEW_TIMES",
    "WARM_RUNS",
    "WEAK_TIMES",
    "Burst",
    "Measure",
    "limit",
]
