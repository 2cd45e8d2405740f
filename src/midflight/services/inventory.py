"""Inventory: which workloads are registered, and which of them are in good standing.

The store is the record; a copy in memory answers the hot path without I/O and is never ahead of
the store. It judges nothing: `standing` says why a workload is to be denied, the guard denies.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from midflight.domain.errors import Conflict, Malformed, NotFound
from midflight.domain.identity import (
    OWN_PATH,
    Author,
    Caller,
    Mode,
    Tier,
    Workload,
    own_id,
    spiffe_id,
    trust_domain,
)
from midflight.domain.revocation import ScopeKind
from midflight.domain.value import JSONObject
from midflight.services.changes import record_change
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

KINDS = ("agent", "service", "pipeline")
# Names are shown to people and stand in records: no control characters, nothing unbounded.
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,256}\Z")


class Inventory:
    """The registry of workloads, and its copy for the hot path."""

    def __init__(
        self, *, store: Store, recorder: Recorder, clock: Clock, trust_domain: str
    ) -> None:
        """`refresh` must be called before the first action: an empty copy knows nobody."""
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._trust_domain = trust_domain
        self._current: dict[str, Workload] = {}
        # Writers and `refresh` take turns, so that no stale list replaces a newer entry.
        self._turn = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when what `current` says may have changed."""
        self._listeners.append(listener)

    # For the hot path

    def current(self, workload_id: str) -> Workload | None:
        """The workload as last written or refreshed, in the mode that is in force. No I/O.

        One of tier mandatory is enforced from the second on at which its waiver ends.
        """
        found = self._current.get(workload_id)
        if found is None or found.mode is not Mode.OBSERVE:
            return found
        return in_force(found, self._clock.now())

    @property
    def size(self) -> int:
        """How many workloads are registered. No I/O."""
        return len(self._current)

    def by_uid(self, uid: int) -> Workload | None:
        """A workload, disabled ones included, that runs as this local user, or None. No I/O.

        Several may share a user; the first by id is given. It is for refusing, not for naming.
        """
        found = [workload for workload in self._current.values() if workload.uid == uid]
        return min(found, key=lambda workload: workload.id, default=None)

    @staticmethod
    def standing(workload: Workload | None, now: float) -> str | None:
        """None if the workload is in good standing at `now` (Unix seconds), else why not."""
        if workload is None:
            return "The workload is not registered."
        if workload.disabled:
            return "The workload is disabled."
        if not workload.owner.strip() or not workload.escalation.strip():
            return "The workload has no owner or no escalation contact."
        if now >= workload.review_by:
            return "The workload's review date has passed."
        return None

    def standing_of(self, caller: Caller, now: float) -> str | None:
        """`standing` of a caller's workload and of every one here that acts for it. No I/O."""
        missing = self.standing(self._current.get(caller.workload), now)
        if missing is not None or not caller.actors:
            return missing
        for actor in caller.acting:
            known = self._current.get(actor)
            problem = None if known is None else self.standing(known, now)
            if problem is not None:
                return f"{actor} acts for it: {problem}"
        return None

    def revoked_with(self, workloads: Iterable[str]) -> tuple[tuple[ScopeKind, str], ...]:
        """What revokes these workloads, and so what is done for or through them. No I/O."""
        found: list[tuple[ScopeKind, str]] = []
        for workload in workloads:
            found += [
                (ScopeKind.WORKLOAD, workload),
                (ScopeKind.TRUST_DOMAIN, trust_domain(workload)),
            ]
            known = self._current.get(workload)
            if known is not None:
                found.append((ScopeKind.OWNER, known.owner))
        return tuple(found)

    async def refresh(self) -> None:
        """Read the registry again. `StoreUnavailable` leaves the copy as it was."""
        async with self._turn:
            listed = await self._store.list_workloads()
            self._current = {workload.id: workload for workload in listed}
        self._tell()

    def all(self) -> Sequence[Workload]:
        """Every workload as `current` knows it. No I/O."""
        return list(self._current.values())

    # For operators

    async def register(self, workload: Workload, author: Author) -> Workload:
        """Register a workload, or replace its registration, and return what is now registered.

        A disabled workload stays disabled and keeps its first date: only `enable` enables.

        Raises:
            Malformed: every problem with the registration, at once.
            LedgerUnavailable: the change is stored and could not be recorded.
        """
        now = int(self._clock.now())
        self._check(workload, now)
        async with self._turn:
            before = await self._store.get_workload(workload.id)
            registered = msgspec.structs.replace(
                workload,
                registered_at=now if before is None else before.registered_at,
                disabled=workload.disabled or (before is not None and before.disabled),
            )
            await self._write("register", registered, author, before=before)
        return registered

    async def disable(self, workload_id: str, author: Author) -> Workload:
        """Deny everything the workload does from now on. `NotFound` if it is not registered."""
        return await self._switch("disable", workload_id, author, disabled=True)

    async def enable(self, workload_id: str, author: Author) -> Workload:
        """End `disable`. `NotFound` if the workload is not registered."""
        return await self._switch("enable", workload_id, author, disabled=False)

    async def get(self, workload_id: str) -> Workload:
        """A workload from the store. `NotFound` if it is not registered."""
        found = await self._store.get_workload(workload_id)
        if found is None:
            raise _unknown(workload_id)
        return found

    async def list(self) -> Sequence[Workload]:
        """All workloads from the store, by id."""
        return await self._store.list_workloads()

    # Inside

    async def _switch(
        self, verb: str, workload_id: str, author: Author, *, disabled: bool
    ) -> Workload:
        async with self._turn:
            before = await self._store.get_workload(workload_id)
            if before is None:
                raise _unknown(workload_id)
            after = msgspec.structs.replace(before, disabled=disabled)
            await self._write(verb, after, author, before=before)
        return after

    async def _write(
        self, verb: str, workload: Workload, author: Author, *, before: Workload | None
    ) -> None:
        if workload.disabled:
            # What narrows is in effect here at once, whatever the store says next.
            self._current[workload.id] = workload
            self._tell()
        await self._store.put_workload(workload)
        self._current[workload.id] = workload
        self._tell()
        after: JSONObject = msgspec.to_builtins(workload)
        details: JSONObject = {"after": after}
        if before is not None:
            old: JSONObject = msgspec.to_builtins(before)
            details["before"] = {k: v for k, v in old.items() if after.get(k) != v}
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"workload.{verb} {workload.id}",
            author=author,
            details=details,
        )

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _check(self, workload: Workload, now: int) -> None:
        problems = _problems(workload, now, self._trust_domain)
        if problems:
            raise Malformed(
                f"The workload cannot be registered: {'; '.join(problems)}.",
                hint="See `midflight workload add --help`.",
            )
        if in_force(workload, now).mode is not workload.mode:
            raise Conflict(
                "A workload of tier mandatory cannot be in mode observe without a waiver.",
                hint="Choose enforce or lockdown, or have its owner sign one that ends"
                " (`--waiver-until 30d`).",
            )


def in_force(workload: Workload, now: float) -> Workload:
    """The workload in the mode that counts at `now` (Unix seconds)."""
    if workload.mode is not Mode.OBSERVE or workload.tier is not Tier.MANDATORY:
        return workload
    signed = bool(workload.waiver_by) and workload.waiver_by == workload.owner
    if signed and workload.waiver_until is not None and now < workload.waiver_until:
        return workload
    return msgspec.structs.replace(workload, mode=Mode.ENFORCE)


def _problems(workload: Workload, now: int, domain: str) -> Sequence[str]:
    found: list[str] = []
    try:
        if trust_domain(spiffe_id(workload.id)) != domain:
            found.append(f"its id is not in the trust domain {domain}")
        if workload.id.startswith(own_id(domain, "")):
            found.append(f"{OWN_PATH} is kept for Midflight's own parts")
    except ValueError:
        found.append(f"its id is not a SPIFFE ID such as spiffe://{domain}/agents/triage")
    for name in ("owner", "escalation", "team"):
        text: str = getattr(workload, name)
        if _NAME.match(text) is None or not text.strip():
            found.append(f"{name} is not one line of 1 to 256 characters")
    if workload.kind not in KINDS:
        found.append(f"kind is none of {', '.join(KINDS)}")
    if workload.review_by <= now:
        found.append("review_by is not in the future")
    if workload.uid is not None and workload.uid < 0:
        found.append("uid is negative")
    found.extend(_waiver_problems(workload, now))
    return found


def _waiver_problems(workload: Workload, now: int) -> Iterator[str]:
    by, until = workload.waiver_by, workload.waiver_until
    if by is None and until is None:
        return
    if by != workload.owner:
        yield "its waiver is not signed by its owner"
    if until is None or not now < until <= workload.review_by:
        yield "its waiver does not end in the future and before it is reviewed"


def _unknown(workload_id: str) -> NotFound:
    return NotFound(
        f"There is no workload {workload_id}.", hint="midflight workload list shows them."
    )


__all__ = ["KINDS", "Inventory", "in_force"]
