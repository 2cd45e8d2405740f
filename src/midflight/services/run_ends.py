"""Ends of runs: in force here at once, and in the store and the ledger as soon as it takes them.

The store may be slow or away while a run ends; until it has heard of the end it would still call
the run open. So what has ended here is remembered here, and told to the store again until it
listens. Above: `runs.py`.
"""

from __future__ import annotations

from midflight.domain.records import RunEnded
from midflight.services.live_run import LiveRun
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

REMEMBERED = 10_000
"""Ends that the store has heard of and that are kept, for reads that began before."""


class Ending:
    """One end of one run."""

    __slots__ = ("at", "author", "is_stored", "live", "proof", "reason")

    def __init__(self, live: LiveRun, *, author: str, proof: str, reason: str, at: float) -> None:
        """The run is in its final state already."""
        self.live = live
        self.author = author
        self.proof = proof
        self.reason = reason
        self.at = at
        self.is_stored = False


class RunEnds:
    """The ends that this process has brought about."""

    def __init__(self, *, store: Store, recorder: Recorder, clock: Clock) -> None:
        """Shares its parts with `Runs`."""
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._ends: dict[str, Ending] = {}

    def of(self, run_id: str) -> LiveRun | None:
        """The run if it has ended here, whatever the store says of it."""
        ending = self._ends.get(run_id)
        return None if ending is None else ending.live

    def note(self, live: LiveRun, *, author: str, proof: str, reason: str) -> Ending:
        """Remember that a run has ended; in force from now on."""
        ending = Ending(live, author=author, proof=proof, reason=reason, at=self._clock.now())
        self._ends[live.run.id] = ending
        if len(self._ends) > REMEMBERED:
            stored = next((run for run, end in self._ends.items() if end.is_stored), None)
            if stored is not None:
                del self._ends[stored]
        return ending

    async def store(self, ending: Ending) -> bool:
        """Tell the store, and record the end. False if somebody else had ended the run before.

        Raises:
            StoreUnavailable: it has not heard; the end stays in force here.
        """
        live = ending.live
        done = await self._store.end_run(live.run.id, live.state)
        ending.is_stored = True
        if done:
            self._recorder.append(
                RunEnded(
                    at=ending.at,
                    run=live.run.id,
                    state=live.state.value,
                    author=ending.author,
                    proof=ending.proof,
                    reason=ending.reason,
                )
            )
        return done

    async def store_again(self, run_id: str) -> bool:
        """Tell the store of an end that it did not take before. False if there is none."""
        ending = self._ends.get(run_id)
        return ending is not None and not ending.is_stored and await self.store(ending)

    async def store_rest(self) -> None:
        """Tell the store again what it did not take. `StoreUnavailable` as `store`."""
        for ending in [ending for ending in self._ends.values() if not ending.is_stored]:
            await self.store(ending)


__all__ = ["REMEMBERED", "Ending", "RunEnds"]
