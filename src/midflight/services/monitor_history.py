"""What monitors counted before this process: a snapshot in the store and the ledger behind it.

The ledger holds every advance, in intents and in refusals that count as attempts, and an action
that advances a monitor leaves only when its intent is durable. So the ledger alone gives the exact
values, and a snapshot only saves reading all of it. A snapshot is what one turn of the event loop
counts, with the id of the last record of that turn; it is stored once that record is on disk.

Where the snapshot cannot be read the whole ledger is; where the ledger cannot, monitors read as
full until what is lost has left their windows, and a record says so. Above: `apps/compose.py`.
"""

from __future__ import annotations

import os

import msgspec

from midflight.domain.chain import Damaged, Entry, is_intact, parse_record_id
from midflight.domain.errors import Conflict, Malformed, MidflightError, NotFound
from midflight.domain.identity import Author
from midflight.domain.monitor import Advanced, Per
from midflight.domain.monitor_cells import Saved
from midflight.domain.records import Changed, Observed
from midflight.domain.run import RunState
from midflight.domain.value import Value
from midflight.services.ledger import Ledger
from midflight.services.monitors import Kept, Lost, Monitors
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import KeyWrap
from midflight.services.ports.store import Store

NAME = "monitors"
KEY_ID = "midflight:monitors"
RESET = "monitor.reset"
LOST = "monitors.lost"

EVERY_S = 60.0
"""Seconds between snapshots, when there is news."""
EVERY_RECORDS = 20_000
"""Records behind the last snapshot that bring the next one early: they bound what a start reads."""

_KEY_BYTES = 32


class SavedCell(Value):
    """One cell of a snapshot."""

    of: str
    scope: str
    saved: Saved


class Snapshot(Value):
    """What was counted up to a record, that one included.

    Attributes:
        record: its id.
        at: monitors' time when it was taken.
        cells: all of them.
        lost: by fingerprint, from when on a history is known.
    """

    record: str
    at: int
    cells: tuple[SavedCell, ...]
    lost: dict[str, Lost] = {}


class _Line(msgspec.Struct):
    """The part of a record that matters here. Everything else is skipped, not decoded."""

    type: str
    advanced: Advanced | None = None
    run: str = ""
    what: str = ""
    details: msgspec.Raw = msgspec.Raw(b"{}")


class _Reset(msgspec.Struct):
    of: str


_LINE = msgspec.json.Decoder(_Line)
_SNAPSHOT = msgspec.json.Decoder(Snapshot)
_RESET = msgspec.json.Decoder(_Reset)


class MonitorHistory:
    """Restores monitors at a start and keeps what the next start needs."""

    def __init__(
        self, monitors: Monitors, *, store: Store, ledger: Ledger, wrap: KeyWrap, clock: Clock
    ) -> None:
        """Store and ledger are open before `start`, and stay open until after `close`."""
        self._monitors = monitors
        self._store = store
        self._ledger = ledger
        self._wrap = wrap
        self._clock = clock
        self._last_at = 0
        self._saved_record = ""
        self._saved_when = 0.0
        self._scopes: dict[str, Kept] = {}
        self.problem = ""
        """Why monitors read as full, or empty."""

    async def start(self) -> None:
        """Restore what was counted. Before the first action, after the policies are loaded.

        Raises:
            StoreUnavailable: the store does not answer, so nothing can be known.
        """
        key = await self._secret()
        self._scopes = {kept.fingerprint: kept for kept in self._monitors.kept()}
        lost = ""
        try:
            after = await self._load()
            async for page in self._ledger.pages(after=after):
                for _, entry in page:
                    self._replay(entry)
        except (MidflightError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = error.message if isinstance(error, MidflightError) else type(error).__name__
            lost = f"What monitors counted cannot be read: {why}"
        await self._forget_ended_runs()
        self._monitors.resume(key=key, at=self._last_at)
        self._scopes = {}
        if lost:
            self._lose(lost)

    async def keep(self) -> bool:
        """Store a snapshot if there is news enough; whether it did.

        Raises:
            StoreUnavailable, LedgerUnavailable: it could not; the last one stays good.
        """
        record = self._ledger.last
        if not self._monitors.is_restored or record == self._saved_record:
            return False
        due = self._clock.monotonic() - self._saved_when >= EVERY_S
        if not due and not self._has_grown(record):
            return False
        await self._store_snapshot()
        return True

    async def sweep(self) -> None:
        """Forget what counts no more, and keep a snapshot when it is time. As `keep`."""
        self._monitors.sweep()
        await self.keep()

    async def close(self) -> None:
        """Store a last snapshot. Without it the next start reads the ledger behind the last one."""
        if self._monitors.is_restored and self._ledger.last != self._saved_record:
            await self._store_snapshot()

    async def reset(self, name: str, author: Author) -> None:
        """Let a monitor count from zero, on an operator's word.

        Raises:
            NotFound: no such monitor is declared.
            LedgerUnavailable: it cannot be recorded, so nothing changes.
        """
        await self._ledger.flush()
        for kept in self._monitors.kept():
            if kept.name == name:
                break
        else:
            raise NotFound(
                f"No monitor is called {name}.", hint="`midflight monitor list` shows them."
            )
        # In one turn, so that the ledger and memory agree about what came before.
        ticket = self._ledger.append(
            Changed(
                at=self._clock.now(),
                what=RESET,
                author=author.name,
                proof=author.proof,
                details={"monitor": name, "of": kept.fingerprint},
            )
        )
        kept.cells, kept.lost = {}, None
        await ticket.durable()

    # Inside

    def _has_grown(self, record: str) -> bool:
        if not self._saved_record:
            return True
        writer, seq = parse_record_id(record)
        saved_writer, saved_seq = parse_record_id(self._saved_record)
        return writer != saved_writer or seq - saved_seq >= EVERY_RECORDS

    async def _store_snapshot(self) -> None:
        now = self._monitors.now()
        snapshot = Snapshot(
            record=self._ledger.last,
            at=now,
            cells=tuple(
                SavedCell(of=kept.fingerprint, scope=scope, saved=cell.save())
                for kept in self._monitors.kept()
                for scope, cell in kept.cells.items()
                if not cell.is_idle(now)
            ),
            lost={k.fingerprint: k.lost for k in self._monitors.kept() if k.lost is not None},
        )
        # It must not know more than the ledger: what it names is on disk before it is stored.
        await self._ledger.flush()
        await self._store.put_snapshot(NAME, msgspec.json.encode(snapshot))
        self._saved_record, self._saved_when = snapshot.record, self._clock.monotonic()

    async def _load(self) -> int:
        """Take over the snapshot; the position in the ledger behind which it knows nothing."""
        raw = await self._store.get_snapshot(NAME)
        if raw is None:
            return 0
        try:
            snapshot = _SNAPSHOT.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return 0  # the ledger has everything
        found = await self._ledger.read(snapshot.record)
        for cell in snapshot.cells:
            kept = self._scopes.get(cell.of)
            if kept is not None:
                kept.cell(cell.scope).load(cell.saved)
        for of, lost in snapshot.lost.items():
            if of in self._scopes:
                self._scopes[of].lost = lost
        self._last_at = snapshot.at
        return found.position

    def _replay(self, entry: Entry | Damaged) -> None:
        if isinstance(entry, Damaged):
            raise Malformed(f"The ledger is damaged: {entry.text}")
        if not is_intact(entry):
            raise Malformed(f"Entry {entry.id} of the ledger was altered.")
        line = _LINE.decode(entry.body)
        if line.advanced is not None:
            # Several writers may have had clocks of their own; a cell's time never steps back.
            at = self._last_at = max(self._last_at, line.advanced.at)
            for advance in line.advanced.by:
                kept = self._scopes.get(advance.of)
                if kept is not None:
                    cell = kept.cell(advance.scope)
                    cell.land(cell.confirm(cell.reserve(at, advance.amount, advance.keys), at))
        elif line.type == "run_ended":
            self._monitors.run_ended(line.run)
        elif line.type == "changed" and line.what == RESET:
            kept = self._scopes.get(_RESET.decode(line.details).of)
            if kept is not None:
                kept.cells, kept.lost = {}, None

    async def _forget_ended_runs(self) -> None:
        kept_runs = [kept for kept in self._scopes.values() if kept.monitor.per is Per.RUN]
        if not any(kept.cells for kept in kept_runs):
            return
        stored = await self._store.list_runs(state=RunState.OPEN, limit=1_000_000)
        is_open = {run.run.id for run in stored}
        for kept in kept_runs:
            kept.cells = {run: cell for run, cell in kept.cells.items() if run in is_open}

    def _lose(self, why: str) -> None:
        self.problem = why
        self._monitors.lose(self._monitors.now())
        details = {"why": why, "monitors": [kept.name for kept in self._monitors.kept()]}
        self._ledger.append(
            Observed(at=self._clock.now(), what=LOST, subject="monitors", details=details)
        )

    async def _secret(self) -> bytes:
        """The key that distinct values are hashed with, made at the first start."""
        wrapped = await self._store.get_seal_key(KEY_ID)
        if wrapped is None:
            wrapped = self._wrap.wrap(os.urandom(_KEY_BYTES), key_id=KEY_ID)
            try:
                await self._store.put_seal_key(KEY_ID, wrapped)
            except Conflict:  # another process was first
                wrapped = await self._store.get_seal_key(KEY_ID) or wrapped
        return self._wrap.unwrap(wrapped, key_id=KEY_ID)


__all__ = [
    "EVERY_RECORDS",
    "EVERY_S",
    "KEY_ID",
    "LOST",
    "NAME",
    "RESET",
    "MonitorHistory",
    "SavedCell",
    "Snapshot",
]
