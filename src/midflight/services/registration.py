"""Registration: which selectors make which SPIFFE ID, and join tokens.

An entry speaks for a registered workload and is worth nothing while that workload is disabled, out
of its review or revoked, or after the entry's run or time has ended. Three kinds of entries: those
that operators add; `unix:uid:N` of every workload with a user of its own; and the one of every
launched run (`launches.py`). The store is the record; a copy in memory answers without I/O and is
narrowed before the store is. Below: `entry_index.py`, `ports/registration_store.py`. Above: the
Workload API, the authorization server, `joining.py`, the control API.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Collection, Sequence

from midflight.domain.attestation import Attested, Entry, Selector
from midflight.domain.errors import Conflict, Malformed, MidflightError, NotFound
from midflight.domain.identity import Author, Workload
from midflight.domain.revocation import scopes_over
from midflight.domain.run import RunState
from midflight.domain.spiffe import MAX_JWT_TTL_S, MAX_X509_TTL_S
from midflight.domain.value import JSONObject
from midflight.services.changes import record_change
from midflight.services.entry_index import EntryIndex
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

MAX_SELECTORS = 32
MAX_HINT = 128
MIN_TTL_S = 30
LAUNCHER = "launcher"
"""Type of the selector of launched programs."""


class Registration:
    """See the module. `start` it before use."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        inventory: Inventory,
        interruption: Interruption,
        federates_with: Sequence[str] = (),
    ) -> None:
        """`federates_with` is what entries of uids and launches are given the bundles of."""
        self.federates_with = tuple(federates_with)
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._inventory = inventory
        self._interruption = interruption
        self._added: dict[str, Entry] = {}
        self._launched: dict[str, Entry] = {}
        self._by_uid: dict[str, Entry] = {}
        self._index = EntryIndex()
        self._changing = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener()` whenever what `entries_for` answers may have changed."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Read the entries. Those of runs that are not open any more end.

        Raises:
            StoreUnavailable: who is who is not known.
        """
        for entry in await self._store.list_entries():
            self._added[entry.id] = entry
            self._index.add(entry)
        for run in {entry.run for entry in self._added.values() if entry.run is not None}:
            stored = await self._store.get_run(run)
            if stored is None or stored.state is not RunState.OPEN:
                await self.run_ended(run)
        self._read_uids()
        self._inventory.on_changed(self._workloads_changed)
        self._interruption.on_revoked(lambda _: self._tell())

    # Asking; no I/O

    def entries_for(self, attested: Attested) -> Sequence[Entry]:
        """The entries in force that this caller matches, those of a run first, then by id.

        Who is launched for a run matches entries of that run alone: by another, such as one for its
        user, it could act outside of the run and of what ends it.
        """
        found = self._index.matching(attested.selectors)
        launched = {s.value.removeprefix("run:") for s in attested.selectors if s.type == LAUNCHER}
        return sorted(
            (
                entry
                for entry in found
                if self.why_not(entry) is None and (not launched or entry.run in launched)
            ),
            key=lambda entry: (entry.run is None, entry.id),
        )

    def list(self) -> Sequence[Entry]:
        """All entries, those that follow from workloads and launches included, by id."""
        known = {**self._added, **self._launched, **self._by_uid}
        return [known[key] for key in sorted(known)]

    def get(self, entry_id: str) -> Entry:
        """One entry. `NotFound` if there is none."""
        for entries in (self._added, self._launched, self._by_uid):
            if entry_id in entries:
                return entries[entry_id]
        raise _unknown(entry_id)

    def why_not(self, entry: Entry) -> str | None:
        """Why an entry is not in force, or None if it is."""
        now = self._clock.now()
        if entry.expires_at is not None and entry.expires_at <= now:
            return "It has expired."
        workload = self._inventory.current(entry.spiffe_id)
        problem = self._inventory.standing(workload, now)
        if problem is not None or workload is None:
            return problem
        revocation = self._interruption.covering(
            scopes_over(workload.id, owner=workload.owner, runs=(entry.run,))
        )
        return None if revocation is None else f"It is revoked ({revocation.id})."

    # Verbs of operators

    async def add(
        self,
        *,
        spiffe_id: str,
        selectors: Collection[Selector],
        author: Author,
        x509_ttl_s: int = MAX_X509_TTL_S,
        jwt_ttl_s: int = MAX_JWT_TTL_S,
        federates_with: Sequence[str] = (),
        hint: str = "",
        run: str | None = None,
        ttl_s: int | None = None,
    ) -> Entry:
        """Register who has these selectors as a workload.

        Raises:
            Malformed: every problem with the entry, at once.
            NotFound: no such workload or run.
            Conflict: the same selectors make this workload already, or the run has ended.
            LedgerUnavailable: the entry is stored and could not be recorded.
        """
        wanted = frozenset(selectors)
        _check(wanted, x509_ttl_s=x509_ttl_s, jwt_ttl_s=jwt_ttl_s, hint=hint, ttl_s=ttl_s)
        await self._inventory.get(spiffe_id)
        async with self._changing:
            ends = await self._run_ends(run, spiffe_id)
            for known in self._added.values():
                same = known.spiffe_id == spiffe_id and known.selectors == wanted
                if same and known.run == run:
                    raise Conflict(f"Entry {known.id} says the same.", hint="Remove it first.")
            now = int(self._clock.now())
            ends += [] if ttl_s is None else [now + ttl_s]
            entry = Entry(
                id=f"entry_{self._clock.token()}",
                spiffe_id=spiffe_id,
                selectors=wanted,
                x509_ttl_s=x509_ttl_s,
                jwt_ttl_s=jwt_ttl_s,
                federates_with=tuple(sorted(set(federates_with))),
                hint=hint,
                run=run,
                expires_at=min(ends, default=None),
                added_by=author.name,
                proof=author.proof,
                added_at=now,
            )
            await self._store.put_entry(entry)
            # On record before it counts: nobody is anybody by an entry that no record explains.
            try:
                await self._changed(f"entry.add {entry.id}", author, described(entry))
            except MidflightError:
                await self._store.delete_entry(entry.id)  # nor after a restart
                raise
            self._added[entry.id] = entry
            self._index.add(entry)
        self._tell()
        return entry

    async def remove(self, entry_id: str, author: Author) -> Entry:
        """End an entry at once. `NotFound`; `Conflict` if it follows from something else."""
        entry = self.get(entry_id)
        if entry_id not in self._added:
            raise Conflict(
                f"Entry {entry_id} follows from "
                + ("a launched run." if entry.run else f"the uid of {entry.spiffe_id}."),
                hint="Close the run, or register the workload without its uid.",
            )
        async with self._changing:
            self._drop(entry_id)
            try:
                await self._store.delete_entry(entry_id)
            except MidflightError:
                # Without force from here on, and still to be removed, or a restart would revive it.
                self._added[entry_id] = entry
                raise
            await self._changed(f"entry.remove {entry_id}", author, described(entry))
        return entry

    # For launches and runs

    def launched(self, entry: Entry) -> None:
        """Take in the entry of a launched run."""
        self._launched[entry.id] = entry
        self._index.add(entry)
        self._tell()

    async def run_ended(self, run: str) -> None:
        """End the entries of a run: in memory at once, then in the store."""
        mine = [entry.id for entry in self.list() if entry.run == run]
        stored = [entry_id for entry_id in mine if entry_id in self._added]
        for entry_id in mine:
            self._drop(entry_id)
        for entry_id in stored:
            await self._store.delete_entry(entry_id)

    async def sweep(self) -> None:
        """Remove entries and join tokens whose time is over."""
        now = self._clock.now()
        over = [
            entry.id
            for entry in self._added.values()
            if entry.expires_at is not None and entry.expires_at <= now
        ]
        # All in memory first: an operator may remove one of them while the store is waited for.
        for entry_id in over:
            self._drop(entry_id)
        for entry_id in over:
            await self._store.delete_entry(entry_id)
        for token in await self._store.list_join_tokens():
            if token.expires_at <= now:
                await self._store.delete_join_token(token.id)

    # Inside

    async def _run_ends(self, run: str | None, spiffe_id: str) -> list[int]:
        if run is None:
            return []
        stored = await self._store.get_run(run)
        if stored is None or stored.run.workload != spiffe_id:
            raise NotFound(f"Workload {spiffe_id} has no run {run}.", hint="midflight run list.")
        if stored.state is not RunState.OPEN:
            raise Conflict(f"Run {run} has ended ({stored.state.value}).", hint="Open a new one.")
        return [stored.run.expires_at]

    def _drop(self, entry_id: str) -> None:
        self._added.pop(entry_id, None)
        self._launched.pop(entry_id, None)
        self._index.remove(entry_id)
        self._tell()

    def _workloads_changed(self) -> None:
        self._read_uids()
        self._tell()

    def _read_uids(self) -> None:
        wanted = {
            entry.id: entry
            for workload in self._inventory.all()
            if (entry := _uid_entry(workload, self.federates_with)) is not None
        }
        for entry_id in self._by_uid.keys() - wanted.keys():
            self._index.remove(entry_id)
        for entry_id, entry in wanted.items():
            if self._by_uid.get(entry_id) != entry:
                self._index.add(entry)
        self._by_uid = wanted

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    async def _changed(self, what: str, author: Author, details: JSONObject) -> None:
        await record_change(
            self._recorder, at=self._clock.now(), what=what, author=author, details=details
        )


def described(entry: Entry) -> JSONObject:
    """An entry as records and people see it."""
    return {
        "id": entry.id,
        "spiffe_id": entry.spiffe_id,
        "selectors": [str(selector) for selector in sorted(entry.selectors)],
        "x509_ttl_s": entry.x509_ttl_s,
        "jwt_ttl_s": entry.jwt_ttl_s,
        "federates_with": list(entry.federates_with),
        "hint": entry.hint,
        "run": entry.run,
        "expires_at": entry.expires_at,
    }


def _uid_entry(workload: Workload, federates_with: tuple[str, ...]) -> Entry | None:
    if workload.uid is None:
        return None
    digest = hashlib.sha256(f"uid {workload.id}".encode()).digest()[:16]
    name = base64.b32encode(digest).decode("ascii").rstrip("=").lower()
    return Entry(
        id=f"entry_{name}",
        spiffe_id=workload.id,
        selectors=frozenset({Selector(type="unix", value=f"uid:{workload.uid}")}),
        federates_with=federates_with,
        added_by=workload.owner,
        proof="workload",
        added_at=workload.registered_at,
    )


def _check(
    selectors: frozenset[Selector],
    *,
    x509_ttl_s: int,
    jwt_ttl_s: int,
    hint: str,
    ttl_s: int | None,
) -> None:
    problems: list[str] = []
    if not 0 < len(selectors) <= MAX_SELECTORS:
        problems.append(f"it has not 1 to {MAX_SELECTORS} selectors")
    elif all(selector.weak for selector in selectors):
        weak = ", ".join(sorted(str(selector) for selector in selectors))
        problems.append(
            f"all of its selectors are weak ({weak}): whoever calls arranges them; add a strong"
            " one, such as unix:uid:N"
        )
    if not MIN_TTL_S <= x509_ttl_s <= MAX_X509_TTL_S:
        problems.append(f"an X509-SVID lives {MIN_TTL_S} to {MAX_X509_TTL_S} seconds")
    if not MIN_TTL_S <= jwt_ttl_s <= MAX_JWT_TTL_S:
        problems.append(f"a JWT-SVID lives {MIN_TTL_S} to {MAX_JWT_TTL_S} seconds")
    if len(hint) > MAX_HINT or not hint.isprintable():
        problems.append(f"its hint is not one line of at most {MAX_HINT} characters")
    if ttl_s is not None and ttl_s <= 0:
        problems.append("its time is over before it begins")
    if problems:
        raise Malformed(
            f"The entry cannot be added: {'; '.join(problems)}.",
            hint="See `midflight entry add --help`.",
        )


def _unknown(entry_id: str) -> NotFound:
    return NotFound(f"There is no entry {entry_id}.", hint="midflight entry list shows them.")


__all__ = ["LAUNCHER", "Registration", "described"]
