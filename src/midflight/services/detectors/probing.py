"""Denial probing: somebody finds out what is forbidden by trying it.

Different refusals count: another thing asked for, or another policy that says no. An agent that
tries the same thing again and again is stuck and not probing. Names that nobody serves count as
what they are: guesses. Per run within minutes, per workload within an hour over all of its runs,
and within a day, so that going slowly or in many runs is no way around it.
"""

from __future__ import annotations

from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.sequence import When
from midflight.services.detectors.kept import RUNS, WORKLOADS, Kept
from midflight.services.detectors.tries import Steps, Tries, is_telling

RUN_WINDOW_S = 600.0
WORKLOAD_WINDOW_S = 3_600.0
SLOW_WINDOW_S = 86_400.0

RUN_NOTED, RUN_FOUND = 4, 8
"""Different refusals of one run within `RUN_WINDOW_S`: a weak finding, and a fair one."""
WORKLOAD_FOUND = 16
"""The same of a workload, over all its runs, within `WORKLOAD_WINDOW_S`: a fair one."""
SLOW_FOUND = 32
"""The same within `SLOW_WINDOW_S`."""

_RUN: Steps = (
    (RUN_NOTED, Strength.WEAK),
    (RUN_FOUND, Strength.FAIR),
    (2 * RUN_FOUND, Strength.FAIR),
    (4 * RUN_FOUND, Strength.FAIR),
)
_WORKLOAD: Steps = (
    (WORKLOAD_FOUND, Strength.FAIR),
    (2 * WORKLOAD_FOUND, Strength.FAIR),
    (4 * WORKLOAD_FOUND, Strength.FAIR),
)
_SLOW: Steps = ((SLOW_FOUND, Strength.FAIR), (2 * SLOW_FOUND, Strength.FAIR))


class Probing:
    """See the module."""

    name = "probing"
    looks_at = frozenset({When.REFUSED})

    def __init__(self) -> None:
        """Nothing was refused yet."""
        self._runs: Kept[str, Tries] = Kept(lambda: Tries(RUN_WINDOW_S), bound=RUNS)
        self._workloads: Kept[str, tuple[Tries, Tries]] = Kept(
            lambda: (Tries(WORKLOAD_WINDOW_S), Tries(SLOW_WINDOW_S)), bound=WORKLOADS
        )

    def see(self, event: Event) -> Sighting | None:
        """Look at one event; only refusals matter."""
        if not is_telling(event):
            return None
        what = hash((event.upstream, event.name, event.policies[:1]))
        in_hour, in_day = self._workloads.of(event.workload)
        counted = [(in_hour, _WORKLOAD, "all runs"), (in_day, _SLOW, "all runs")]
        if event.run:
            counted.append((self._runs.of(event.run), _RUN, "this run"))
        found: Sighting | None = None
        for tries, steps, where in counted:
            strength = tries.add(what, mono=event.mono, record=event.record, steps=steps)
            if strength is not None and (found is None or strength > found.strength):
                found = Sighting(
                    strength=strength,
                    seen=f"{len(tries)} different refusals within "
                    f"{int(tries.window_s) // 60} minutes, of {where}",
                    usual=f"fewer than {steps[0][0]}",
                    after=len(tries),
                    records=tuple(tries.records),
                )
        return found

    def run_ended(self, run: str) -> None:
        """Forget the run; its workload is remembered."""
        self._runs.drop(run)


__all__ = [
    "RUN_FOUND",
    "RUN_NOTED",
    "RUN_WINDOW_S",
    "SLOW_FOUND",
    "SLOW_WINDOW_S",
    "WORKLOAD_FOUND",
    "WORKLOAD_WINDOW_S",
    "Probing",
]
