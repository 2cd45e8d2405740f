"""Handles of waiting agents: given out, taken once, worth nothing to anybody else.

A handle is 128 random bits. The store keeps its hash with whose call it belongs to, so that it
outlives a restart, and whoever reads the store holds none. It says which question a request goes on
with and permits nothing: the guard decides when the action is tried again.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from midflight.domain.errors import NotFound
from midflight.domain.held import Held, HeldForm, HeldState
from midflight.domain.identity import Caller
from midflight.services.ports.clock import Clock
from midflight.services.ports.held_store import HeldStore

HANDLE: Final = "mfa_"
"""Begins the handles that a call is tried again with."""
TASK: Final = "mft_"
"""Begins the ids of tasks."""
GRACE_S: Final = 900
"""How long after its question has ended a handle still says what became of it."""
MAX_OF_RUN: Final = 100
MAX_OF_WORKLOAD: Final = 1_000


class Handles:
    """See the module. Own state: none; the store is the record."""

    def __init__(
        self,
        *,
        store: HeldStore,
        clock: Clock,
        max_of_run: int = MAX_OF_RUN,
        max_of_workload: int = MAX_OF_WORKLOAD,
    ) -> None:
        """The bounds are of handles that are out; beyond them one's own oldest is worth nothing."""
        self._store = store
        self._clock = clock
        self._max_of_run = max_of_run
        self._max_of_workload = max_of_workload

    async def give(
        self,
        form: HeldForm,
        caller: Caller,
        *,
        approval: str,
        run: str,
        subject: str,
        ends_at: int,
        shown: bool = False,
        rounds: int = 0,
    ) -> str:
        """A fresh handle for a call that waits for an approval.

        Args:
            form: how the agent waits.
            caller: whose call it is; nobody else can take it.
            approval: which question it waits for.
            run: in which run the call was judged.
            subject: what a later request must be about.
            ends_at: when the question expires, Unix seconds.
            shown: whether the client has been asked to open the approver's page.
            rounds: how often the client has come back already.

        Raises:
            StoreUnavailable: so there is none.
        """
        handle = f"{TASK if form is HeldForm.TASK else HANDLE}{self._clock.token()}"
        now = int(self._clock.now())
        await self._store.put_held(
            Held(
                key=_key(handle),
                form=form,
                state=HeldState.WAITING,
                approval=approval,
                workload=caller.workload,
                run=run,
                bound=caller.run or "",
                subject=subject,
                shown=shown,
                rounds=rounds,
                created_at=now,
                expires_at=max(now, ends_at) + GRACE_S,
            ),
            max_of_run=self._max_of_run,
            max_of_workload=self._max_of_workload,
        )
        return handle

    async def take(self, handle: str, caller: Caller, *, subject: str) -> Held:
        """Use a handle up.

        Raises:
            NotFound: it is unknown, used, expired, somebody else's, or of another request. Which
                of these is not said; one that is not the caller's stays as it is.
        """
        held = await self._store.get_held(_key(handle))
        if held is None or held.form is HeldForm.TASK or held.subject != subject:
            raise _unknown()
        self._check(held, caller)
        taken = await self._store.take_held(held.key)
        if taken is None:
            raise _unknown()
        return taken

    async def task(self, task_id: str, caller: Caller) -> Held:
        """What is kept of a task. `NotFound` as `take`; it can be asked for again."""
        held = await self._store.get_held(_key(task_id))
        if held is None or held.form is not HeldForm.TASK:
            raise _unknown()
        self._check(held, caller)
        return held

    async def change(self, held: Held, *, was: HeldState) -> bool:
        """Replace what is kept of a task, unless somebody else has changed its state."""
        return await self._store.change_held(held, was=was)

    async def rebind(self, held: Held, *, approval: str, ends_at: int) -> bool:
        """Have a task that was being done wait for another question."""
        now = int(self._clock.now())
        changed = msgspec.structs.replace(
            held,
            state=HeldState.WAITING,
            approval=approval,
            shown=False,
            rounds=held.rounds + 1,
            expires_at=max(now, ends_at) + GRACE_S,
        )
        return await self.change(changed, was=HeldState.ACTING)

    async def sweep(self) -> None:
        """Forget what has expired."""
        await self._store.prune_held(now=int(self._clock.now()))

    def _check(self, held: Held, caller: Caller) -> None:
        mine = held.workload == caller.workload and held.bound == (caller.run or "")
        if not mine or self._clock.now() >= held.expires_at:
            raise _unknown()


def _key(handle: str) -> str:
    return hashlib.sha256(handle.encode()).hexdigest()


def _unknown() -> NotFound:
    return NotFound(
        "That handle is not one of this request.",
        hint="Send the request again without it.",
    )


__all__ = ["GRACE_S", "HANDLE", "TASK", "Handles"]
