"""The system of record: registry, runs, pins, revocations, keys.

Every method that changes a value does so atomically in the store, in one statement or transaction:
a second replica sees the same truth, and no caller reads, changes and writes back.
Errors: `StoreUnavailable` when the store does not answer; the others where said.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.revocation import Revocation
from midflight.domain.run import Run, RunState
from midflight.domain.tool import Pin, PinnedKind
from midflight.domain.value import Value
from midflight.services.ports.approval_store import ApprovalStore
from midflight.services.ports.approver_store import ApproverStore
from midflight.services.ports.authorization_store import AuthorizationStore
from midflight.services.ports.canary_store import CanaryStore
from midflight.services.ports.escalation_store import EscalationStore
from midflight.services.ports.flow_store import FlowStore
from midflight.services.ports.held_store import HeldStore
from midflight.services.ports.lease_store import LeaseStore
from midflight.services.ports.registration_store import RegistrationStore
from midflight.services.ports.response_store import ResponseStore
from midflight.services.ports.ssf_store import SharedSignalStore
from midflight.services.ports.task_store import TaskStore
from midflight.services.ports.use_store import UseStore


class StoredRun(Value):
    """A run as the store has it.

    `labels_source` holds the sources of the raises in their order, one space between them.
    """

    run: Run
    state: RunState
    labels: Labels
    labels_source: str
    steps_reserved: int


class StoredRevocation(Value):
    """A revocation with its position in the log (1, 2, 3 … without gaps)."""

    position: int
    revocation: Revocation


class Store(
    FlowStore,
    ApprovalStore,
    ApproverStore,
    CanaryStore,
    HeldStore,
    LeaseStore,
    RegistrationStore,
    AuthorizationStore,
    EscalationStore,
    ResponseStore,
    SharedSignalStore,
    UseStore,
    TaskStore,
    Protocol,
):
    """See the module."""

    async def open(self) -> None:
        """Connect and bring the schema up to date. Called once, before anything else."""
        ...

    async def close(self) -> None:
        """Release everything. The store may not be used afterwards."""
        ...

    # Registry

    async def put_workload(self, workload: Workload) -> None:
        """Register or replace a workload by id."""
        ...

    async def get_workload(self, workload_id: str) -> Workload | None:
        """A workload by id."""
        ...

    async def list_workloads(self) -> Sequence[Workload]:
        """All workloads, by id."""
        ...

    # Runs

    async def create_run(self, run: Run, *, labels: Labels, labels_source: str) -> None:
        """Store a run in state `open`. `Conflict` if its id exists."""
        ...

    async def get_run(self, run_id: str) -> StoredRun | None:
        """A run by id."""
        ...

    async def list_runs(
        self, *, workload: str | None = None, state: RunState | None = None, limit: int = 1000
    ) -> Sequence[StoredRun]:
        """Runs, newest first, at most `limit`."""
        ...

    async def last_run(self, workload: str) -> StoredRun | None:
        """The run of the workload that was opened last, whatever its state."""
        ...

    async def children(self, run_ids: Collection[str]) -> Sequence[StoredRun]:
        """Runs that were delegated by any of these, whatever their state, in order of opening."""
        ...

    async def set_intent(self, run_id: str, *, before: str, after: str) -> bool:
        """Replace the sealed intent of an open run; False if it is not open or not `before`."""
        ...

    async def end_run(self, run_id: str, state: RunState) -> bool:
        """Move an open run to a final state. False if it was not open: the first end stands."""
        ...

    async def join_labels(self, run_id: str, labels: Labels, *, source: str) -> Labels:
        """Join labels into the run's and return the result; the first source of a raise stays.

        `NotFound` if there is no such run.
        """
        ...

    async def reserve_steps(self, run_id: str, count: int) -> int:
        """Reserve up to `count` steps of the run's budget; how many were granted (0: exhausted).

        A run that does not exist or has ended grants none.

        What was reserved and not taken before a crash is lost, never taken twice.
        """
        ...

    # Pins

    async def put_pin(self, pin: Pin) -> None:
        """Pin a definition, replacing the pin of that upstream, kind and name."""
        ...

    async def delete_pin(self, upstream: str, kind: PinnedKind, name: str) -> bool:
        """Remove a pin. False if there was none."""
        ...

    async def list_pins(self, upstream: str | None = None) -> Sequence[Pin]:
        """All pins, by upstream, kind and name."""
        ...

    # Revocations

    async def append_revocation(self, revocation: Revocation) -> int:
        """Append durably and return the position. `Conflict` if the id exists."""
        ...

    async def revocations(self, *, after: int = 0) -> Sequence[StoredRevocation]:
        """All entries behind a position, in order."""
        ...

    # Secrets that can be erased

    async def put_seal_key(self, key_id: str, wrapped: bytes) -> None:
        """Store a wrapped sealing key. `Conflict` if the id exists."""
        ...

    async def get_seal_key(self, key_id: str) -> bytes | None:
        """A wrapped sealing key, or None if it never was or is erased."""
        ...

    async def erase_seal_key(self, key_id: str) -> bool:
        """Forget a sealing key for good. False if there was none.

        The salt, the intent and the delegated words of the run of that id go with it.
        """
        ...

    # What services keep of their own

    async def put_snapshot(self, name: str, body: bytes) -> None:
        """Keep a service's snapshot, replacing the one of that name."""
        ...

    async def get_snapshot(self, name: str) -> bytes | None:
        """The snapshot of that name, or None."""
        ...


__all__ = ["Store", "StoredRevocation", "StoredRun"]
