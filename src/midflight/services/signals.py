"""Signals from elsewhere: an authenticated source says something of a run, and it is a finding.

The signature has been checked before (`wire/webhook.py`); here is what the source may say, that it
says it once, and how often. What a message says is taken at most once, also over a restart and in
all replicas of one store: its id is spent before the finding is made, so a crash in between loses
it and never doubles it. What the store cannot answer is not taken, and may come again. Refusals of
an authenticated source are recorded, within its rate.
Above: `apps/gateway/signals.py`. Below: `telling.py`, the store.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence

from midflight.domain.errors import (
    Conflict,
    LedgerUnavailable,
    MidflightError,
    NotFound,
    Unavailable,
)
from midflight.domain.finding import Sighting, Strength
from midflight.domain.identity import Workload
from midflight.domain.records import Observed
from midflight.domain.signal import PREFIX, Signal, SignalSource
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.telling import Tell

PURPOSE = "signal"


class TooOften(Unavailable):
    """A source says more than its settings let it; the message was not taken and may come again."""

    code = "too_often"
    http_status = 429


class Taken(Value):
    """A signal that has become a finding.

    Attributes:
        record: id of its record; empty if the ledger could not take it.
        strength: what it counts as, which may be less than was said.
        workload: whom it is about.
    """

    record: str
    strength: Strength
    workload: str


class Signals:
    """See the module. One event loop."""

    def __init__(
        self,
        sources: Sequence[SignalSource],
        *,
        tell: Tell,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        current: Callable[[str], Workload | None],
        workload_of: Callable[[str], Awaitable[str]],
    ) -> None:
        """Sources are settings.

        Args:
            sources: by different names.
            tell: makes a finding.
            store: where ids are spent.
            recorder: the ledger, for refusals.
            clock: time.
            current: a workload as it is registered now.
            workload_of: of a run by id; empty if there is no such run.
        """
        self._sources = {source.name: source for source in sources}
        self._tell = tell
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._current = current
        self._workload_of = workload_of
        self._left = {
            name: (float(source.per_minute), clock.monotonic())
            for name, source in self._sources.items()
        }

    async def take(self, source_name: str, signal: Signal, *, id: str, until: int) -> Taken:  # noqa: A002 -- as the standard calls it
        """Make a finding of what a source says.

        Args:
            source_name: of the source, as its secret has proved.
            signal: what it says.
            id: of the message, which is spent with this.
            until: Unix seconds until which the message could be sent again.

        Raises:
            TooOften: the source has had what it is given.
            Conflict: the message was taken already.
            NotFound: no such run or workload, or none that the source may speak of.
            StoreUnavailable: whether it was taken cannot be known, so it is not.
        """
        source = self._sources[source_name]
        self._count(source)
        try:
            try:
                workload = await self._about(source, signal)
            except NotFound:
                await self._spend(source, id, until)  # refused for good
                raise
            await self._spend(source, id, until)
        except MidflightError as error:
            self._refused(source, error)
            raise
        strength = min(signal.strength, source.max_strength)
        record = self._tell(
            f"{PREFIX}{source.name}",
            Sighting(strength=strength, seen=signal.seen, usual=signal.usual, after=1),
            workload=workload.id,
            owner=workload.owner,
            run=signal.run,
        )
        return Taken(record=record, strength=strength, workload=workload.id)

    # Inside

    def _count(self, source: SignalSource) -> None:
        left, since = self._left[source.name]
        now, most = self._clock.monotonic(), float(source.per_minute)
        left = min(most, left + (now - since) * most / 60.0)
        if left < 1.0:
            self._left[source.name] = (left, now)
            raise TooOften(
                f"{source.name} is given {source.per_minute} signals a minute, and sends more.",
                hint="Send the same message again in a minute.",
            )
        self._left[source.name] = (left - 1.0, now)

    async def _spend(self, source: SignalSource, message: str, until: int) -> None:
        key = hashlib.sha256(f"{source.name} {message}".encode()).hexdigest()
        now = int(self._clock.now())
        if not await self._store.use_once(PURPOSE, key, until=until, now=now):
            # Whoever replays what he has seen must not use up what the source may say.
            left, since = self._left[source.name]
            self._left[source.name] = (min(float(source.per_minute), left + 1.0), since)
            raise Conflict(
                "This message has been taken already.",
                hint="Nothing is to be done. A new message has a new webhook-id.",
            )

    async def _about(self, source: SignalSource, signal: Signal) -> Workload:
        """The workload that it is about, if it is one that the source may speak of."""
        named = signal.workload
        if signal.run:
            named = await self._workload_of(signal.run)
        workload = self._current(named) if named else None
        if (
            workload is None
            or (signal.workload and signal.workload != workload.id)
            or not source.may_speak_of(workload)
        ):
            # One sentence for all of these: a source learns nothing of whom it may not speak of.
            raise NotFound(
                "There is no such run or workload that this source may speak of.",
                hint="`workloads` and `owners` of its [[signals]] table say which.",
            )
        return workload

    def _refused(self, source: SignalSource, error: MidflightError) -> None:
        with contextlib.suppress(LedgerUnavailable):  # counted there as dropped
            self._recorder.append(
                Observed(
                    at=self._clock.now(),
                    what="signal.refused",
                    subject=f"{PREFIX}{source.name}",
                    details={"why": error.message},
                )
            )


__all__ = ["PURPOSE", "Signals", "Taken", "TooOften"]
