"""Baselines: what the detectors that learn know, kept over a restart, shown and forgotten.

Stored in parts, so that a change writes a sixteenth of them, and in a form with a version. What
cannot be read is not trusted and not an obstacle: the detectors learn that part anew, and a record
says so. A crash loses what was learned since the last sweep, which is a matter of seconds.

Above: `apps/compose_watching.py`, the control API. Below: `detectors/`, `ports/store.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec

from midflight.domain.errors import LedgerUnavailable, NotFound
from midflight.domain.finding import Finding
from midflight.domain.identity import Author
from midflight.domain.records import Observed
from midflight.domain.run import RunState
from midflight.domain.value import JSONObject, Value
from midflight.services.changes import record_change
from midflight.services.detection import Detector
from midflight.services.detectors.learning import PARTS, Learner, part_of
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

VERSION = 1
"""Of the stored form."""
PARTS_PER_SWEEP = 4
"""So many parts are written in one sweep, in turns: all of them may be large."""
FORGET = "baseline.forget"
ACCEPT = "baseline.accept"
LOST = "baselines.lost"

_MAX_OPEN = 1_000_000


class Snapshot(Value):
    """One stored part: by detector, by workload, what is usual."""

    version: int
    detectors: dict[str, Any]


class Learned(Value):
    """What one detector knows of a workload.

    Attributes:
        detector: which one.
        runs: how many ended runs taught it; `days`: on how many different days.
        warm: whether it knows enough to say more than that something is unusual.
        usual: what is usual, in words.
    """

    detector: str
    runs: int
    days: int
    warm: bool
    usual: tuple[str, ...]


class Baseline(Value):
    """What is usual for a workload."""

    workload: str
    detectors: tuple[Learned, ...]


_SNAPSHOT = msgspec.json.Decoder(Snapshot)


class Baselines:
    """The baselines of one plane. One event loop."""

    def __init__(
        self, detectors: Sequence[Detector], *, store: Store, recorder: Recorder, clock: Clock
    ) -> None:
        """Of all detectors, those that learn are kept. The store is open before `start`."""
        self._learners = [each for each in detectors if isinstance(each, Learner)]
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._last = -1

    async def start(self) -> None:
        """Take over what was kept. Before the first action.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        for part in range(PARTS):
            raw = await self._store.get_snapshot(_name(part))
            if raw is not None:
                self._load(part, raw)
        # Nobody knows any more what was found in them.
        stored = await self._store.list_runs(state=RunState.OPEN, limit=_MAX_OPEN)
        for learner in self._learners:
            learner.memory.suspect(run.run.id for run in stored)

    def found(self, finding: Finding) -> None:
        """Let no detector learn from what something was found in, whoever found it."""
        for learner in self._learners:
            learner.memory.found(finding)

    def run_ends(self, run: str, state: RunState) -> None:
        """A run ends, and detectors are told next. One that was revoked teaches nothing."""
        if state is RunState.REVOKED:
            for learner in self._learners:
                learner.memory.suspect((run,))

    async def sweep(self) -> None:
        """Keep some of what has changed; all of it within a few sweeps. As `save`."""
        dirty = self._dirty()
        waiting = [*(each for each in dirty if each > self._last), *dirty]
        for part in waiting[: min(PARTS_PER_SWEEP, len(dirty))]:
            await self._save(part)
            self._last = part

    async def save(self) -> None:
        """Keep all that has changed.

        Raises:
            StoreUnavailable: what is kept is what it was, and the next call tries again.
        """
        for part in self._dirty():
            await self._save(part)

    def show(self, workload: str) -> Baseline:
        """What is usual for a workload.

        Raises:
            NotFound: nothing is known of it.
        """
        learned: list[Learned] = []
        for learner in self._learners:
            usual = learner.memory.usual(workload)
            if usual is not None and usual.runs:
                learned.append(
                    Learned(
                        detector=learner.name,
                        runs=usual.runs,
                        days=usual.days,
                        warm=learner.is_warm(usual),
                        usual=tuple(learner.say(usual)),
                    )
                )
        if not learned:
            raise _unknown(workload)
        return Baseline(workload=workload, detectors=tuple(learned))

    async def forget(self, workload: str, author: Author) -> None:
        """Let a workload be learned anew, on an operator's word.

        Raises:
            NotFound: nothing is known of it.
            LedgerUnavailable: it cannot be recorded, so nothing changes.
            StoreUnavailable: it is forgotten here, and stays so once the store answers.
        """
        self.show(workload)
        await self._record(FORGET, author, {"workload": workload})
        for learner in self._learners:
            learner.memory.forget(workload)
        await self._save(part_of(workload))

    async def accept(self, run: str, author: Author) -> str:
        """Learn from an ended run although something was found in it; its workload.

        On an operator's word, who has looked at it: from then on what it did is as usual as what
        any other run does.

        Raises:
            NotFound: nothing is known of it, or not any more: a restart forgets such runs, and
                only the last ones are kept.
            LedgerUnavailable: it cannot be recorded, so nothing changes.
        """
        workload = next((w for each in self._learners if (w := each.memory.doubtful(run))), "")
        if not workload:
            raise NotFound(
                f"There is no run {run} that was found out and may be learned from.",
                hint="It must have ended, since the plane was started, and not long ago;"
                " `midflight finding list` shows runs.",
            )
        await self._record(ACCEPT, author, {"run": run, "workload": workload})
        for learner in self._learners:
            learner.memory.accept(run)
        return workload

    async def _record(self, what: str, author: Author, details: JSONObject) -> None:
        await record_change(
            self._recorder, at=self._clock.now(), what=what, author=author, details=details
        )

    def _dirty(self) -> list[int]:
        return sorted({part for learner in self._learners for part in learner.memory.dirty})

    async def _save(self, part: int) -> None:
        kept = {learner.name: learner.memory.save(part) for learner in self._learners}
        body = msgspec.json.encode(Snapshot(version=VERSION, detectors=kept))
        try:
            await self._store.put_snapshot(_name(part), body)
        except BaseException:
            for learner in self._learners:
                learner.memory.dirty.add(part)
            raise

    def _load(self, part: int, raw: bytes) -> None:
        try:
            snapshot = _SNAPSHOT.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._lose(part, "it is not what was written")
            return
        if snapshot.version != VERSION:
            self._lose(part, f"it has the form {snapshot.version}, and this is {VERSION}")
            return
        for learner in self._learners:
            known = snapshot.detectors.get(learner.name)
            if known is None:
                continue
            try:
                learner.memory.load(known, part=part)
            except msgspec.ValidationError:
                self._lose(part, f"what {learner.name} knew is not what was written")

    def _lose(self, part: int, why: str) -> None:
        record = Observed(
            at=self._clock.now(),
            what=LOST,
            subject="baselines",
            details={"part": part, "parts": PARTS, "why": why},
        )
        # The ledger counts what it cannot take; nothing that is lost here is worth not starting.
        with contextlib.suppress(LedgerUnavailable):
            self._recorder.append(record)


def _name(part: int) -> str:
    return f"baselines-{part:02d}"


def _unknown(workload: str) -> NotFound:
    return NotFound(
        f"Nothing is known of what is usual for {workload}.",
        hint="It is learned from runs that have ended, and not from those that something was"
        " found in.",
    )


__all__ = [
    "ACCEPT",
    "FORGET",
    "LOST",
    "PARTS_PER_SWEEP",
    "VERSION",
    "Baseline",
    "Baselines",
    "Learned",
    "Snapshot",
]
