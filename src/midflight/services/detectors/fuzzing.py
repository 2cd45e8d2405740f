"""Argument fuzzing: one tool, and arguments tried out until some pass.

Events hold no arguments; their digests tell different ones apart, within a run. What is refused
counts most: whoever is told no and varies the arguments looks for the gap. Failures alone say
little (programs that are being written fail all day), so they are only noted. A workload that does
it in many runs is counted over all of them, as soon as a run has tried two. Of runs that have tried
one, only very many are noted: the same arguments have another digest in each run, so it may be one
thing that is done again and again.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.records import Terminal
from midflight.domain.sequence import When
from midflight.services.detectors.kept import WORKLOADS, Kept, KeptOfRuns
from midflight.services.detectors.peaks import Window
from midflight.services.detectors.tries import RECORDS, Steps, Tries, is_telling

RUN_WINDOW_S = 600.0
WORKLOAD_WINDOW_S = 3_600.0

REFUSED_NOTED, REFUSED_FOUND = 5, 10
"""Different arguments of one tool refused in one run: a weak finding, and a fair one."""
FAILED_NOTED = 24
"""Different arguments of one tool that failed in one run: a weak finding."""
WORKLOAD_FOUND = 40
"""Different arguments of one tool refused to a workload, in runs that tried more than one."""
RUNS_NOTED = 128
"""Runs of a workload that were refused one tool within `WORKLOAD_WINDOW_S`: a weak finding."""

_DONE = Terminal.DONE
_REFUSED: Steps = (
    (REFUSED_NOTED, Strength.WEAK),
    (REFUSED_FOUND, Strength.FAIR),
    (2 * REFUSED_FOUND, Strength.FAIR),
    (4 * REFUSED_FOUND, Strength.FAIR),
)
_FAILED: Steps = ((FAILED_NOTED, Strength.WEAK),)
_WORKLOAD: Steps = ((WORKLOAD_FOUND, Strength.FAIR),)
TOOLS = 32
"""Tools of one run that are counted apart."""
COUNTERS = 20_000
"""Tools of all runs together, for what is refused and for what fails."""
_Tool: TypeAlias = tuple[str, str]


class _Firsts:
    """Runs whose first try of a tool was refused."""

    __slots__ = ("quiet", "records", "window")

    def __init__(self) -> None:
        self.window = Window(WORKLOAD_WINDOW_S)
        self.records: deque[str] = deque(maxlen=RECORDS)
        self.quiet = 0.0


class Fuzzing:
    """See the module."""

    name = "fuzzing"
    looks_at = frozenset({When.REFUSED, When.ENDED})

    def __init__(self) -> None:
        """Nothing was tried yet."""
        self._denied: KeptOfRuns[_Tool, Tries] = _counters()
        self._failed: KeptOfRuns[_Tool, Tries] = _counters()
        self._workloads: Kept[tuple[str, str, str], Tries] = Kept(
            lambda: Tries(WORKLOAD_WINDOW_S), bound=WORKLOADS
        )
        self._firsts: Kept[tuple[str, str, str], _Firsts] = Kept(_Firsts, bound=WORKLOADS)

    def see(self, event: Event) -> Sighting | None:
        """Look at one event; only refusals and failures with a digest matter."""
        if event.state is None or (event.state is _DONE and not event.undone):
            return None
        refused = is_telling(event)
        counts = refused or event.state in (_DONE, Terminal.FAILED)
        if not counts or not event.digest or not event.run or not event.known:
            return None
        tool = (event.upstream, event.name)
        kept, steps = (self._denied, _REFUSED) if refused else (self._failed, _FAILED)
        tries = kept.of(event.run, tool)
        what = hash(event.digest)
        strength = tries.add(what, mono=event.mono, record=event.record, steps=steps)
        if refused and len(tries) == 1:
            return self._first(event, tool)
        if refused:
            over = self._workloads.of((event.workload, *tool))
            wider = over.add(what, mono=event.mono, record=event.record, steps=_WORKLOAD)
            if wider is not None and (strength is None or wider > strength):
                return _said(over, wider, "refused", "all runs")
        if strength is None:
            return None
        return _said(tries, strength, "refused" if refused else "failed", "this run")

    def _first(self, event: Event, tool: _Tool) -> Sighting | None:
        firsts = self._firsts.of((event.workload, *tool))
        count = firsts.window.add(event.mono, 1)
        firsts.records.append(event.record)
        if count < RUNS_NOTED or event.mono < firsts.quiet:
            return None
        firsts.quiet = event.mono + WORKLOAD_WINDOW_S
        return Sighting(
            strength=Strength.WEAK,
            seen=f"one tool refused in {count} runs within {int(WORKLOAD_WINDOW_S) // 60} minutes",
            after=count,
            records=tuple(firsts.records),
        )

    def run_ended(self, run: str) -> None:
        """Forget the run; its workload is remembered."""
        self._denied.drop(run)
        self._failed.drop(run)


def _counters() -> KeptOfRuns[_Tool, Tries]:
    return KeptOfRuns(lambda: Tries(RUN_WINDOW_S), each=TOOLS, bound=COUNTERS)


def _said(tries: Tries, strength: Strength, how: str, where: str) -> Sighting:
    return Sighting(
        strength=strength,
        seen=f"{len(tries)} different sets of arguments of one tool {how} within "
        f"{int(tries.window_s) // 60} minutes, in {where}",
        after=len(tries),
        records=tuple(tries.records),
    )


__all__ = [
    "COUNTERS",
    "FAILED_NOTED",
    "REFUSED_FOUND",
    "REFUSED_NOTED",
    "RUNS_NOTED",
    "RUN_WINDOW_S",
    "TOOLS",
    "WORKLOAD_FOUND",
    "WORKLOAD_WINDOW_S",
    "Fuzzing",
]
