"""The run of a job: opened with its first token, joined by the next ones, ended with the job.

A job that is asked for twice has one run, so that its labels, budget and revocation are one. Which
run is a job's is written in the run itself (`opened_by`), so it is known after a restart. Only jobs
whose rule and event let them write get a run that may do more than read.
"""

from __future__ import annotations

import asyncio
import hashlib

from midflight.domain.errors import Conflict, Forbidden, NotFound
from midflight.domain.identity import Author, Workload
from midflight.domain.job_federation import FederatedSubject
from midflight.domain.labels import BOTTOM
from midflight.domain.narrowing import WHOLE, Narrowing
from midflight.domain.run import Run, RunState
from midflight.domain.traits import Effect
from midflight.services.openers import BY_JOB
from midflight.services.ports.store import Store
from midflight.services.run_bounds import Bounds
from midflight.services.runs import Runs

READS = Narrowing(effects=frozenset({Effect.READ}))
"""What is left to a job that may not write: reviewed tools that read."""


class JobRuns:
    """Runs of jobs of CI systems."""

    def __init__(self, *, runs: Runs, store: Store, bounds: Bounds) -> None:
        """`bounds` are the settings' for all runs."""
        self._runs = runs
        self._store = store
        self._bounds = bounds
        self._joining: dict[str, asyncio.Lock] = {}

    async def join(self, subject: FederatedSubject) -> Run:
        """The run of a job, opened if it has none.

        Raises:
            NotFound: the workload of its rule is not registered.
            Conflict: it is disabled, or the job's run has ended: a job gets one run, not the next.
            Forbidden: policy lets no such job open a run for this workload.
        """
        workload = await self._workload(subject.workload)
        author = author_of(subject)
        lock = self._joining.setdefault(subject.job, asyncio.Lock())
        try:
            async with lock:
                return await self._joined(subject, workload, author)
        finally:
            if not lock.locked():
                self._joining.pop(subject.job, None)

    async def end(self, run_id: str, *, workload: str) -> bool:
        """End the run of a job whose token said so. False if it is no open run of a job of it.

        Runs that an operator opened are not a job's to end.
        """
        stored = await self._store.get_run(run_id)
        if stored is None or stored.run.workload != workload or stored.state is not RunState.OPEN:
            return False
        if not stored.run.opened_by.endswith(f" ({BY_JOB})"):
            return False
        name = stored.run.opened_by.removesuffix(f" ({BY_JOB})")
        try:
            await self._runs.close_run(
                run_id, author=Author(name=name, proof=BY_JOB), reason="the job has ended"
            )
        except Conflict:
            return False
        return True

    async def _joined(self, subject: FederatedSubject, workload: Workload, author: Author) -> Run:
        opener = f"{author.name} ({author.proof})"
        for stored in await self._store.list_runs(workload=workload.id):
            if stored.run.opened_by != opener:
                continue
            if stored.state is not RunState.OPEN:
                raise Conflict(
                    f"The run of this job has ended ({stored.state.value}).",
                    hint="A job has one run; start the job again.",
                )
            await self._runs.opened(stored.run.id)  # Conflict where its time is over
            # What the first token could do, the next one of the same job may not go beyond, and a
            # token that may do less must not use a run that may do more.
            if not subject.may_write and stored.run.narrowed.effects is None:
                raise Forbidden(
                    f"This token may only read ({subject.no_write}), and the job's run may write."
                )
            return stored.run
        self._runs.check_opening(workload, author)
        live = await self._runs.mint(
            workload=workload.id,
            intent=None,
            author=author,
            ttl_s=self._bounds.ttl_s,
            max_steps=self._bounds.max_steps,
            labels=BOTTOM,
            labels_source="",
            narrowed=WHOLE if subject.may_write else READS,
        )
        return live.run

    async def _workload(self, spiffe_id: str) -> Workload:
        found = await self._store.get_workload(spiffe_id)
        if found is None:
            raise NotFound(
                f"There is no workload {spiffe_id}.", hint="Register it: midflight workload add."
            )
        if found.disabled:
            raise Conflict(f"Workload {spiffe_id} is disabled.", hint="midflight workload enable.")
        return found


def author_of(subject: FederatedSubject) -> Author:
    """A job as the opener of its run: `ci:<issuer>:<digest>`, which no two jobs share.

    The digest stands for ids that may be long; the record of the exchange holds them in full.
    """
    digest = hashlib.sha256(subject.job.encode()).hexdigest()[:32]
    return Author(name=f"ci:{subject.issuer}:{digest}", proof=BY_JOB)


__all__ = ["READS", "JobRuns", "author_of"]
