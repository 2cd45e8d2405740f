"""Labels of runs: joined in memory at once, in the store before they count, shared by kin.

A run's kin (`LiveRun.kin`) are those it descends from and those of its family that are for the same
workload. Labels only grow, and those further out have them first, so that no crash leaves a child
with a label that its parent does not have. Above: `runs.py`. Below: `live_run.py`, the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midflight.domain.labels import Labels
from midflight.domain.records import LabelRaised
from midflight.domain.run import Run
from midflight.services.live_run import LiveRun
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store, StoredRun


class RunLabels:
    """See the module. Own state: none; a live run carries its own."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        known: Callable[[str], LiveRun | None],
    ) -> None:
        """`known(run id)` is a run that lives in this process or has ended in it."""
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._known = known

    async def join(self, live: LiveRun, labels: Labels, *, source: str) -> None:
        """Join labels into the run's: in memory at once, and in the store before this returns.

        Its kin get them as well (`LiveRun.kin`), those it descends from first, so that no crash
        leaves a child with a label that its parent does not have.
        """
        # Asked of what the store has: a join that failed there must be tried again.
        if live.spread_labels.covers(labels):
            return
        for each in raise_labels(live, labels, source=source):
            await self._keep(each, labels, source=_source(source, live, each))
        live.spread_labels = live.spread_labels.join(labels)

    async def _keep(self, live: LiveRun, labels: Labels, *, source: str) -> None:
        if live.stored_labels.covers(labels):
            return
        joined = await self._store.join_labels(live.run.id, labels, source=source)
        live.labels = live.labels.join(joined)
        live.stored_labels = live.stored_labels.join(joined)
        self._recorder.append(
            LabelRaised(
                at=self._clock.now(), run=live.run.id, label=live.labels.described(), source=source
            )
        )

    async def alike(self, run: Run) -> Sequence[StoredRun]:
        """Those of a child's family that are or were for its workload."""
        first = await self._store.get_run(run.ancestors[-1])
        found = [] if first is None else [first]
        below = await self._store.children([run.ancestors[-1]])
        while below:
            found += below
            below = await self._store.children([stored.run.id for stored in below])
        return [stored for stored in found if stored.run.workload == run.workload]

    def raise_alike(self, live: LiveRun, alike: Sequence[StoredRun]) -> None:
        """Give a run that has just been entered the labels of its family's for its workload.

        Of those that live here, or have ended here, memory has newer ones.
        """
        for stored in alike:
            known = self._known(stored.run.id)
            labels = stored.labels if known is None else stored.labels.join(known.labels)
            if not live.labels.covers(labels):
                raise_labels(live, labels, source=stored.run.id)
        for each in live.family():  # those that were opened meanwhile
            if each.run.workload == live.run.workload and not live.labels.covers(each.labels):
                raise_labels(live, each.labels, source=each.run.id)


def raise_labels(live: LiveRun, labels: Labels, *, source: str) -> list[LiveRun]:
    """Join labels into a run and its kin, in memory; all of them, outermost first."""
    kin = live.kin()
    for each in kin:
        if not each.labels.covers(labels):
            each.labels = each.labels.join(labels)
            each.labels_source = each.labels_source or _source(source, live, each)
    return kin


def _source(source: str, grown: LiveRun, other: LiveRun) -> str:
    """What raised the labels of `other`: the record, and the run it belongs to if another one."""
    return source if other is grown else f"{source}@{grown.run.id}"


__all__ = ["RunLabels", "raise_labels"]
