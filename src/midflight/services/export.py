"""Export: the ledger told to a collector, in order, from where the collector has got to.

The ledger is the spool. An exporter keeps a position in it and moves on when a batch was taken, so
a collector that is slow or away holds up nothing and loses nothing: what waits for it is counted,
and is on disk already. After a crash some events come twice, with the same record ids.

An action is told of when it has ended, with the facts of its intent. Above: `compose_export.py`
(one task a collector). Below: `adapters/export/`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from midflight.domain.errors import LedgerUnavailable, MidflightError, NotFound
from midflight.domain.records import Facts, Intent, Observed, Outcome, Record
from midflight.domain.value import Value
from midflight.services.ledger_query import Recorded, recorded
from midflight.services.ports.clock import Clock
from midflight.services.ports.export import Exportable, Page, Sink
from midflight.services.ports.recorder import Ticket
from midflight.services.ports.telemetry import Telemetry

BATCH = 200
"""Events sent at a time."""
MAX_OPEN = 20_000
"""Intents whose facts are kept until their outcome comes; those of older ones are read again."""
FIRST_WAIT_S, LAST_WAIT_S = 1.0, 60.0
"""How long after a failure it is tried again; doubled each time."""


class Exported(Protocol):
    """The ledger, as an exporter needs it."""

    def append(self, record: Record) -> Ticket:
        """See `Ledger`."""
        ...

    async def read(self, record_id: str) -> Recorded:
        """See `Ledger`."""
        ...

    async def size(self) -> int:
        """See `Ledger`."""
        ...

    def pages(self, *, after: int = 0) -> AsyncIterator[Page]:
        """See `Ledger`."""
        ...


class Snapshots(Protocol):
    """Where positions are kept (`Store`)."""

    async def put_snapshot(self, name: str, body: bytes) -> None:
        """See `Store`."""
        ...

    async def get_snapshot(self, name: str) -> bytes | None:
        """See `Store`."""
        ...


class ExportStatus(Value):
    """Where an exporter has got to.

    Attributes:
        name: as in the settings.
        position: the last entry of the ledger that its collector has.
        behind: entries that wait for it.
        sent: events since this process began.
        failures: attempts that failed since then.
        failing_since: Unix seconds since when every attempt has failed, or None.
        why: what the last of them said.
    """

    name: str
    position: int
    behind: int
    sent: int
    failures: int
    failing_since: float | None = None
    why: str = ""


class Exporter:
    """One collector. `step` again and again; it never raises for what the collector does."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        ledger: Exported,
        store: Snapshots,
        clock: Clock,
        telemetry: Telemetry,
        kinds: Collection[str] = (),
        whole: bool = False,
    ) -> None:
        """`kinds` are the tags of records to tell of, all of them if empty.

        A new exporter begins with what comes from now on, or with the `whole` ledger.
        """
        self.name = name
        self._sink = sink
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._kinds = frozenset(kinds)
        self._whole = whole
        self._one_at_a_time = asyncio.Lock()
        self._position: int | None = None
        self._open: dict[str, Facts] = {}
        self._sent = 0
        self._failures = 0
        self._failing_since: float | None = None
        self._wait_s = FIRST_WAIT_S
        self._why = ""

    async def status(self) -> ExportStatus:
        """Where it has got to."""
        size = await self._ledger.size()
        position = await self._at()
        return ExportStatus(
            name=self.name,
            position=position,
            behind=max(0, size - position),
            sent=self._sent,
            failures=self._failures,
            failing_since=self._failing_since,
            why=self._why,
        )

    async def step(self) -> float:
        """Send all that is new; seconds after which to call it again.

        A collector that fails is told of in the ledger once, and once more when it is back.
        """
        async with self._one_at_a_time:
            try:
                position = await self._at()
                async for page in self._ledger.pages(after=position):
                    await self._send_page(page)
                    self._well()
                await self._measure()
            except Exception as error:  # noqa: BLE001 -- a bug in one form must not end an export unsaid
                return self._failed(error)
        return FIRST_WAIT_S

    async def close(self) -> None:
        """Let go of the sink. What was not sent is sent after the next start."""
        await self._sink.close()

    # Inside

    async def _at(self) -> int:
        if self._position is None:
            kept = await self._store.get_snapshot(self._snapshot)
            if kept is not None and kept.isdigit():
                self._position = int(kept)
                size = await self._ledger.size()
                if self._position > size:
                    # The ledger is an older one than this was kept of, such as from a backup: what
                    # is appended to it now must not be taken for what was told.
                    self._note("export.rewound", position=self._position, to=size)
                    self._position = size
                    await self._keep()
            else:
                # Now, or from the first: written down before anything is sent, so that a crash
                # leaves no gap between two ideas of now.
                self._position = 0 if self._whole else await self._ledger.size()
                await self._keep()
        return self._position

    @property
    def _snapshot(self) -> str:
        return f"export:{self.name}"

    async def _keep(self) -> None:
        await self._store.put_snapshot(self._snapshot, b"%d" % (self._position or 0))

    async def _send_page(self, page: Page) -> None:
        for start in range(0, len(page), BATCH):
            part = page[start : start + BATCH]
            # Decoding is CPU that the actions in flight need more.
            found = await asyncio.to_thread(_records, part)
            batch = [each for record in found if (each := await self._exportable(record))]
            if batch:
                await self._sink.send(batch, now=self._clock.now())
                self._sent += len(batch)
                self._telemetry.count(f"export_{self.name}_sent", len(batch))
            self._position = part[-1][0]
            await self._keep()

    async def _exportable(self, found: Recorded) -> Exportable | None:
        record = found.record
        if isinstance(record, Intent):
            self._remember(found.id, record.facts)
            return None
        facts: Facts | None = None
        if isinstance(record, Outcome) and record.intent is not None:
            facts = self._open.pop(record.intent, None) or await self._facts_of(record.intent)
        if self._kinds and record is not None and found.kind not in self._kinds:
            return None
        return Exportable(
            record=found.id,
            kind=found.kind,
            position=found.position,
            value=record,
            damage=found.damage,
            facts=facts,
        )

    def _remember(self, intent: str, facts: Facts) -> None:
        if len(self._open) >= MAX_OPEN:
            del self._open[next(iter(self._open))]
        self._open[intent] = facts

    async def _facts_of(self, intent: str) -> Facts | None:
        # Sent before this process began, or pushed out by many that are open.
        with contextlib.suppress(NotFound):
            found = await self._ledger.read(intent)
            if isinstance(found.record, Intent):
                return found.record.facts
        return None

    async def _measure(self) -> None:
        behind = max(0, await self._ledger.size() - (self._position or 0))
        self._telemetry.gauge(f"export_{self.name}_behind", behind)

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        self._telemetry.count(f"export_{self.name}_failures")
        # Of an OSError the kind: its text can name what nobody outside should read.
        self._why = error.message if isinstance(error, MidflightError) else type(error).__name__
        if self._failing_since is None:
            self._failing_since = self._clock.now()
            self._note("export.stuck", why=self._why)
        wait, self._wait_s = self._wait_s, min(self._wait_s * 2, LAST_WAIT_S)
        return wait

    def _well(self) -> None:
        self._wait_s = FIRST_WAIT_S
        if self._failing_since is not None:
            away = int(self._clock.now() - self._failing_since)
            self._failing_since, self._why = None, ""
            self._note("export.recovered", away_s=away)

    def _note(self, what: str, **details: str | int) -> None:
        with contextlib.suppress(LedgerUnavailable):  # the ledger counts what it could not take
            self._ledger.append(
                Observed(at=self._clock.now(), what=what, subject=self.name, details=dict(details))
            )


def _records(page: Page) -> Sequence[Recorded]:
    return [recorded(position, entry) for position, entry in page]


__all__ = [
    "BATCH",
    "FIRST_WAIT_S",
    "LAST_WAIT_S",
    "MAX_OPEN",
    "ExportStatus",
    "Exported",
    "Exporter",
    "Snapshots",
]
