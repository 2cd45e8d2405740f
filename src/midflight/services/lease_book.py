"""Leases that this process holds: the only place where their secrets are, bounded and forgetful.

A slot stands for one (run, credential, scopes) and has at most one lease that is handed out. An
entry is in the book from before its lease is written down until it is taken out, so a revocation
finds what is still being made. It decides nothing. Above: `broker.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TypeAlias

from midflight.domain.lease import Credential, Lease, Secret
from midflight.domain.run import Run
from midflight.services.ports.leases import Held

MAX_A_RUN = 64
"""Leases that one run may hold at a time."""

MARGIN_S = 5.0
"""A secret that ends sooner is not handed out: it must outlast the call it is for."""

Key: TypeAlias = tuple[str, str, tuple[str, ...]]


class Entry:
    """One lease of this process. Mutable; times are monotonic seconds."""

    __slots__ = (
        "began",
        "credential",
        "ends",
        "fresh",
        "is_gone",
        "is_making",
        "is_replaced",
        "key",
        "lease",
        "owner",
        "run",
        "secret",
        "uses",
    )

    def __init__(
        self,
        key: Key,
        lease: Lease,
        *,
        run: Run,
        owner: str,
        credential: Credential,
        began: float,
    ) -> None:
        """It has no secret before `give`."""
        self.began = began
        self.key = key
        self.lease = lease
        self.run = run
        self.owner = owner
        self.credential = credential
        self.secret: Secret | None = None
        self.fresh = 0.0
        self.ends = 0.0
        self.uses = 0
        self.is_making = True
        """The backend may be at it: what it makes is ended by who asked it, not before."""
        self.is_gone = False
        """Nothing of it is handed out or used any more."""
        self.is_replaced = False
        """A newer one is handed out; this one ends with its last use."""

    def give(self, lease: Lease, secret: Secret, *, fresh: float, ends: float) -> None:
        """It may be handed out, is to be renewed from `fresh` on, and ends at `ends`."""
        self.lease = lease
        self.secret = secret
        self.fresh = fresh
        self.ends = ends

    def drop(self) -> None:
        """Forget the secret. Python cannot overwrite text; it can let go of it at once."""
        self.is_gone = True
        self.secret = None

    def __repr__(self) -> str:
        return f"Entry(lease={self.lease.id!r}, is_gone={self.is_gone})"


class Slot:
    """What is handed out for one key, and the task that gets the next."""

    __slots__ = ("entry", "task")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.task: asyncio.Task[Entry] | None = None


class LeaseBook:
    """See the module. One event loop."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._slots: dict[Key, Slot] = {}
        self._by_run: dict[str, set[str]] = {}
        self._begun: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def slot(self, key: Key) -> Slot:
        """The slot of a key, made at first use."""
        return self._slots.setdefault(key, Slot())

    def settle(self, key: Key) -> None:
        """Forget the slot of a key if it holds nothing."""
        slot = self._slots.get(key)
        if slot is not None and slot.entry is None and slot.task is None:
            del self._slots[key]

    def has_room(self, run: str) -> bool:
        """Whether the run may hold another one; those that are about to be made count."""
        return len(self._by_run.get(run, ())) + self._begun.get(run, 0) < MAX_A_RUN

    def begun(self, run: str) -> Callable[[], None]:
        """One is about to be made. What it returns is called when it is entered, or never will be.

        Twice does no harm.
        """
        self._begun[run] = self._begun.get(run, 0) + 1
        is_over = False

        def over() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._begun[run] -= 1
                if not self._begun[run]:
                    del self._begun[run]

        return over

    def add(self, entry: Entry) -> None:
        """Enter one that is being made."""
        self._entries[entry.lease.id] = entry
        self._by_run.setdefault(entry.run.id, set()).add(entry.lease.id)

    def get(self, lease_id: str) -> Entry | None:
        """One by the id of its lease."""
        return self._entries.get(lease_id)

    def take_out(self, entry: Entry) -> None:
        """It is usable no longer: forget its secret, and what led to it."""
        entry.drop()
        self._entries.pop(entry.lease.id, None)
        of_run = self._by_run.get(entry.run.id)
        if of_run is not None:
            of_run.discard(entry.lease.id)
            if not of_run:
                del self._by_run[entry.run.id]
        slot = self._slots.get(entry.key)
        if slot is not None and slot.entry is entry:
            slot.entry = None
            self.settle(entry.key)

    def matching(self, is_wanted: Callable[[Entry], bool]) -> list[Entry]:
        """Those that a condition holds for."""
        return [entry for entry in self._entries.values() if is_wanted(entry)]

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))


__all__ = ["MARGIN_S", "MAX_A_RUN", "Entry", "Held", "Key", "LeaseBook", "Slot"]
