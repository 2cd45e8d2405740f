"""The store in memory: the whole contract, and nothing survives the process.

For tests and for trying out. Atomic because no method awaits between looking and changing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from midflight.adapters.store.memory_approvals import MemoryApprovals
from midflight.adapters.store.memory_approvers import MemoryApprovers
from midflight.adapters.store.memory_authorization import MemoryAuthorization
from midflight.adapters.store.memory_canaries import MemoryCanaries
from midflight.adapters.store.memory_escalation import MemoryEscalation
from midflight.adapters.store.memory_flow import MemoryFlow
from midflight.adapters.store.memory_held import MemoryHeld
from midflight.adapters.store.memory_leases import MemoryLeases
from midflight.adapters.store.memory_registration import MemoryRegistration
from midflight.adapters.store.memory_responses import MemoryResponses
from midflight.adapters.store.memory_ssf import MemorySharedSignals
from midflight.adapters.store.memory_tasks import MemoryTasks
from midflight.adapters.store.rows import join_sources
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.revocation import Revocation
from midflight.domain.run import Run, RunState, may_follow
from midflight.domain.tool import Pin, PinnedKind
from midflight.services.ports.store import StoredRevocation, StoredRun


class MemoryStore(
    MemoryFlow,
    MemoryApprovals,
    MemoryApprovers,
    MemoryCanaries,
    MemoryHeld,
    MemoryLeases,
    MemoryRegistration,
    MemoryAuthorization,
    MemoryEscalation,
    MemoryResponses,
    MemorySharedSignals,
    MemoryTasks,
):
    """See the module, and `services/ports/store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._workloads: dict[str, Workload] = {}
        self._pins: dict[tuple[str, str, str], Pin] = {}
        self._revocations: list[StoredRevocation] = []
        self._seal_keys: dict[str, bytes] = {}
        self._snapshots: dict[str, bytes] = {}
        self._used: dict[tuple[str, str], int] = {}

    async def open(self) -> None:
        """Make it usable. What it held before stays."""
        self._is_open = True

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._is_open = False

    async def put_workload(self, workload: Workload) -> None:
        """Register or replace a workload by id."""
        self._check_open()
        self._workloads[workload.id] = workload

    async def get_workload(self, workload_id: str) -> Workload | None:
        """A workload by id."""
        self._check_open()
        return self._workloads.get(workload_id)

    async def list_workloads(self) -> Sequence[Workload]:
        """All workloads, by id."""
        self._check_open()
        return [self._workloads[key] for key in sorted(self._workloads)]

    async def create_run(self, run: Run, *, labels: Labels, labels_source: str) -> None:
        """Store a run in state `open`. `Conflict` if its id exists."""
        self._check_open()
        if run.id in self._runs:
            raise Conflict(f"Run {run.id} exists.")
        self._runs[run.id] = StoredRun(
            run=run,
            state=RunState.OPEN,
            labels=labels,
            labels_source=labels_source,
            steps_reserved=0,
        )

    async def get_run(self, run_id: str) -> StoredRun | None:
        """A run by id."""
        self._check_open()
        return self._runs.get(run_id)

    async def list_runs(
        self, *, workload: str | None = None, state: RunState | None = None, limit: int = 1000
    ) -> Sequence[StoredRun]:
        """Runs, newest first, at most `limit`."""
        self._check_open()
        found = [
            stored
            for stored in reversed(self._runs.values())
            if workload in (None, stored.run.workload) and state in (None, stored.state)
        ]
        return found[: max(0, limit)]

    async def last_run(self, workload: str) -> StoredRun | None:
        """The run of the workload that was opened last, whatever its state."""
        found = await self.list_runs(workload=workload, limit=1)
        return found[0] if found else None

    async def children(self, run_ids: Collection[str]) -> Sequence[StoredRun]:
        """Runs that were delegated by any of these, in the order of their opening."""
        self._check_open()
        parents = frozenset(run_ids)
        return [stored for stored in self._runs.values() if stored.run.parent in parents]

    async def set_intent(self, run_id: str, *, before: str, after: str) -> bool:
        """Replace the sealed intent of an open run; False if it is not open or not `before`."""
        self._check_open()
        stored = self._runs.get(run_id)
        if stored is None or stored.state is not RunState.OPEN or stored.run.intent != before:
            return False
        run = msgspec.structs.replace(stored.run, intent=after)
        self._runs[run_id] = msgspec.structs.replace(stored, run=run)
        return True

    async def end_run(self, run_id: str, state: RunState) -> bool:
        """Move an open run to a final state. False if it was not open: the first end stands."""
        self._check_open()
        stored = self._runs.get(run_id)
        if stored is None or not may_follow(stored.state, state):
            return False
        self._runs[run_id] = msgspec.structs.replace(stored, state=state)
        return True

    async def join_labels(self, run_id: str, labels: Labels, *, source: str) -> Labels:
        """Join labels into the run's and return the result. `NotFound` if there is no run."""
        self._check_open()
        stored = self._runs.get(run_id)
        if stored is None:
            raise NotFound(f"There is no run {run_id}.")
        if stored.labels.covers(labels):
            return stored.labels
        joined = stored.labels.join(labels)
        self._runs[run_id] = msgspec.structs.replace(
            stored, labels=joined, labels_source=join_sources(stored.labels_source, source)
        )
        return joined

    async def reserve_steps(self, run_id: str, count: int) -> int:
        """Reserve up to `count` steps of an open run; 0 for any other run."""
        self._check_open()
        stored = self._runs.get(run_id)
        if stored is None or stored.state is not RunState.OPEN:
            return 0
        granted = max(0, min(count, stored.run.max_steps - stored.steps_reserved))
        self._runs[run_id] = msgspec.structs.replace(
            stored, steps_reserved=stored.steps_reserved + granted
        )
        return granted

    async def put_pin(self, pin: Pin) -> None:
        """Pin a definition, replacing the pin of that upstream, kind and name."""
        self._check_open()
        self._pins[pin.upstream, pin.kind.value, pin.name] = pin

    async def delete_pin(self, upstream: str, kind: PinnedKind, name: str) -> bool:
        """Remove a pin. False if there was none."""
        self._check_open()
        return self._pins.pop((upstream, kind.value, name), None) is not None

    async def list_pins(self, upstream: str | None = None) -> Sequence[Pin]:
        """All pins, by upstream, kind and name."""
        self._check_open()
        return [self._pins[key] for key in sorted(self._pins) if upstream in (None, key[0])]

    async def append_revocation(self, revocation: Revocation) -> int:
        """Append and return the position. `Conflict` if the id exists."""
        self._check_open()
        if any(stored.revocation.id == revocation.id for stored in self._revocations):
            raise Conflict(f"Revocation {revocation.id} exists.")
        position = len(self._revocations) + 1
        self._revocations.append(StoredRevocation(position=position, revocation=revocation))
        return position

    async def revocations(self, *, after: int = 0) -> Sequence[StoredRevocation]:
        """All entries behind a position, in order."""
        self._check_open()
        return self._revocations[max(0, after) :]

    async def put_seal_key(self, key_id: str, wrapped: bytes) -> None:
        """Store a wrapped sealing key. `Conflict` if the id exists."""
        self._check_open()
        if key_id in self._seal_keys:
            raise Conflict(f"Sealing key {key_id} exists.")
        self._seal_keys[key_id] = wrapped

    async def get_seal_key(self, key_id: str) -> bytes | None:
        """A wrapped sealing key, or None if it never was or is erased."""
        self._check_open()
        return self._seal_keys.get(key_id)

    async def erase_seal_key(self, key_id: str) -> bool:
        """Forget a sealing key, and the salt and the words of the run of that id."""
        self._check_open()
        stored = self._runs.get(key_id)
        if stored is not None:
            bare = msgspec.structs.replace(stored.run, salt="", intent=None, delegated=None)
            self._runs[key_id] = msgspec.structs.replace(stored, run=bare)
        return self._seal_keys.pop(key_id, None) is not None

    async def put_snapshot(self, name: str, body: bytes) -> None:
        """Keep a service's snapshot, replacing the one of that name."""
        self._check_open()
        self._snapshots[name] = body

    async def get_snapshot(self, name: str) -> bytes | None:
        """The snapshot of that name, or None."""
        self._check_open()
        return self._snapshots.get(name)

    async def use_once(self, purpose: str, key: str, *, until: int, now: int) -> bool:
        """Note that `key` was used; False if it already was, or if `until` has passed."""
        self._check_open()
        if until < now:
            return False
        if await self.was_used(purpose, key, now=now):
            return False
        self._used[purpose, key] = until
        if len(self._used) % 512 == 0:
            self._used = {used: end for used, end in self._used.items() if end >= now}
        return True

    async def was_used(self, purpose: str, key: str, *, now: int) -> bool:
        """Whether `key` was used and has not ended; nothing is noted."""
        self._check_open()
        return self._used.get((purpose, key), now - 1) >= now


__all__ = ["MemoryStore"]
