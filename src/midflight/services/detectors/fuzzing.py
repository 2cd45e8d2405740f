"""Argument fuzzing: one tool, and arguments tried out until some pass.

Events hold no arguments; their digests tell different ones apart, within a run. What is refused
counts most: whoever is told no and varies the arguments looks for the gap. Failures alone say
little (programs that are being written fail all day), so they are only noted. A workload that does
it in many runs is counted over all of them, as soon as a run has tried two.
"""

from __future__ import annotations

from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.records import Terminal
from midflight.services.detectors.kept import RUNS, WORKLOADS, Kept
from midflight.services.detectors.tries import Steps, Tries, is_telling

RUN_WINDOW_S = 600.0
WORKLOAD_WINDOW_S = 3_600.0

REFUSED_NOTED, REFUSED_FOUND = 5, 10
"""Different arguments of one tool refused in one run: a weak finding, and a fair one."""
FAILED_NOTED = 24
"""Different arguments of one tool that failed in one run: a weak finding."""
WORKLOAD_FOUND = 40
"""Different arguments of one tool refused to a workload, in runs that tried more than one."""

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


class _Run:
    """The tools of one run, each with what was refused and what failed."""

    __slots__ = ("tools",)

    def __init__(self) -> None:
        self.tools: Kept[tuple[str, str], tuple[Tries, Tries]] = Kept(
            lambda: (Tries(RUN_WINDOW_S), Tries(RUN_WINDOW_S)), bound=TOOLS
        )


class Fuzzing:
    """See the module."""

    name = "fuzzing"

    def __init__(self) -> None:
        """Nothing was tried yet."""
        self._runs: Kept[str, _Run] = Kept(_Run, bound=RUNS)
        self._workloads: Kept[tuple[str, str, str], Tries] = Kept(
            lambda: Tries(WORKLOAD_WINDOW_S), bound=WORKLOADS
        )

    def see(self, event: Event) -> Sighting | None:
        """Look at one event; only refusals and failures with a digest matter."""
        if event.state is None or (event.state is Terminal.DONE and not event.undone):
            return None
        if not event.digest or not event.run or not event.known:
            return None
        refused = is_telling(event)
        if not refused and event.state not in (Terminal.DONE, Terminal.FAILED):
            return None
        tool = (event.upstream, event.name)
        denied, failed = self._runs.of(event.run).tools.of(tool)
        tries, steps = (denied, _REFUSED) if refused else (failed, _FAILED)
        what = hash(event.digest)
        strength = tries.add(what, mono=event.mono, record=event.record, steps=steps)
        if refused and len(tries) > 1:
            over = self._workloads.of((event.workload, *tool))
            wider = over.add(what, mono=event.mono, record=event.record, steps=_WORKLOAD)
            if wider is not None and (strength is None or wider > strength):
                return _said(over, wider, "refused", "all runs")
        if strength is None:
            return None
        return _said(tries, strength, "refused" if refused else "failed", "this run")

    def run_ended(self, run: str) -> None:
        """Forget the run; its workload is remembered."""
        self._runs.drop(run)


def _said(tries: Tries, strength: Strength, how: str, where: str) -> Sighting:
    return Sighting(
        strength=strength,
        seen=f"{len(tries)} different sets of arguments of one tool {how} within "
        f"{int(tries.window_s) // 60} minutes, in {where}",
        after=len(tries),
        records=tuple(tries.records),
    )


__all__ = [
    "FAILED_NOTED",
    "REFUSED_FOUND",
    "REFUSED_NOTED",
    "RUN_WINDOW_S",
    "TOOLS",
    "WORKLOAD_FOUND",
    "WORKLOAD_WINDOW_S",
    "Fuzzing",
]
