"""Known counterparties: an owner's list of those he deals with, in the store and in memory.

The list is asked on the hot path, so a copy of its hashes is in memory and a look-up does no I/O;
what has ended counts as unknown the moment it ends. What a known value counts for is flow's to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from midflight.domain.counterparty import (
    MAX_REMEMBER_S,
    MAX_VALUE,
    REMEMBERED_ROLES,
    Counterparty,
    canonical_value,
    keyed_hash,
)
from midflight.domain.errors import Conflict, Malformed, NotFound
from midflight.domain.identity import Author
from midflight.domain.traits import Role
from midflight.domain.value import JSONObject, Value
from midflight.services.changes import record_change
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.sealing import Sealer

PURPOSE = "midflight/counterparty/v1"
MAX_EACH = 10_000
"""Entries of one owner."""


class CounterpartyStatus(Value):
    """An entry as shown to its owner. `value` is None if the owner's key was erased."""

    owner: str
    key: str
    value: str | None
    role: Role
    added_by: str
    added_at: int
    expires_at: int
    approval: str

    def __repr__(self) -> str:
        return f"CounterpartyStatus(owner={self.owner!r}, key={self.key!r})"


class Counterparties:
    """See the module."""

    def __init__(self, *, store: Store, sealer: Sealer, recorder: Recorder, clock: Clock) -> None:
        """`refresh` must be called before the first action: an empty copy knows nobody."""
        self._store = store
        self._sealer = sealer
        self._recorder = recorder
        self._clock = clock
        self._keys: dict[str, bytes] = {}
        self._known: dict[str, dict[str, int]] = {}
        # Writers and `refresh` take turns, so that no stale list replaces a newer entry.
        self._turn = asyncio.Lock()

    # For the hot path

    def is_known(self, owner: str, value: str, now: float | None = None) -> bool:
        """Whether the owner's list has a value, in canonical form, at `now` (else: now). No I/O."""
        known = self._known.get(owner)
        if not known:
            return False
        ends = known.get(keyed_hash(self._keys[owner], value), 0)
        return ends > (self._clock.now() if now is None else now)

    def known(self, owner: str) -> frozenset[str]:
        """The keyed hashes in an owner's list that have not ended. No I/O."""
        now = self._clock.now()
        return frozenset(key for key, end in self._known.get(owner, {}).items() if end > now)

    async def refresh(self) -> None:
        """Read the lists again and forget what has ended."""
        async with self._turn:
            await self._refresh()

    # For operators

    async def list(self, owner: str | None = None) -> Sequence[CounterpartyStatus]:
        """Entries that have not ended, by owner, then oldest first."""
        now = self._clock.now()
        return [
            await self._status(entry)
            for entry in await self._store.list_counterparties(owner)
            if entry.expires_at > now
        ]

    async def add(
        self,
        owner: str,
        values: Sequence[tuple[Role, str]],
        *,
        for_s: int,
        author: Author,
        approval: str = "",
    ) -> Sequence[CounterpartyStatus]:
        """Put values on an owner's list for `for_s` seconds; a value that is there is renewed.

        Raises:
            Malformed: not a value that names a counterparty, or for longer than a year and a day.
            Conflict: the list is full.
        """
        if not owner.strip():
            raise Malformed("A list of counterparties belongs to an owner.", hint="Add --owner.")
        if not 0 < for_s <= MAX_REMEMBER_S:
            raise Malformed(
                "A counterparty is known for 1 second to 366 days.",
                hint="Give a duration such as 30d; it can be renewed.",
            )
        for role, value in values:
            _check(role, value)
        async with self._turn:
            key = await self._key(owner)
            held = await self._store.list_counterparties(owner)
            if len(held) + len(values) > MAX_EACH:
                raise Conflict(
                    f"The list of {owner} holds {MAX_EACH:,} entries at most.",
                    hint="Remove some with `midflight counterparty remove`.",
                )
            now = int(self._clock.now())
            await self._sealer.key_for(_key_id(owner))
            added = [
                Counterparty(
                    owner=owner,
                    key=keyed_hash(key, canonical_value(value)),
                    text=self._sealer.seal_text(_key_id(owner), value.strip()),
                    role=role,
                    added_by=author.name,
                    proof=author.proof,
                    added_at=now,
                    expires_at=now + for_s,
                    approval=approval,
                )
                for role, value in values
            ]
            for entry in added:
                details: JSONObject = {
                    "owner": owner,
                    "key": entry.key,
                    "role": entry.role.value,
                    "expires_at": entry.expires_at,
                    "approval": approval,
                }
                # On record before it counts.
                await self._note("counterparty.add", author, details)
                await self._store.put_counterparty(entry)
            await self._refresh()
        return [await self._status(entry) for entry in added]

    async def remove(self, owner: str, value: str, *, author: Author) -> str:
        """Take a value, or the entry whose key (or the begin of it) is given, off a list.

        Returns:
            The entry's key.

        Raises:
            NotFound: the list has no such entry.
        """
        async with self._turn:
            keys = [entry.key for entry in await self._store.list_counterparties(owner)]
            wanted = ""
            if keys:
                wanted = keyed_hash(await self._key(owner), canonical_value(value))
            begins = [key for key in keys if len(value) >= 8 and key.startswith(value)]
            found = wanted if wanted in keys else begins[0] if len(begins) == 1 else None
            if found is None:
                raise NotFound(
                    f"The list of {owner} has no such counterparty.",
                    hint="midflight counterparty list shows it; an entry's key will do, too.",
                )
            await self._store.delete_counterparty(owner, found)
            await self._refresh()
            await self._note("counterparty.remove", author, {"owner": owner, "key": found})
        return found

    # Inside

    async def _refresh(self) -> None:
        await self._store.prune_counterparties(now=int(self._clock.now()))
        fresh: dict[str, dict[str, int]] = {}
        for entry in await self._store.list_counterparties():
            fresh.setdefault(entry.owner, {})[entry.key] = entry.expires_at
        for owner in fresh:
            await self._key(owner)
        self._known = fresh

    async def _key(self, owner: str) -> bytes:
        """The owner's key. Asked of the store each time, so that an erasure counts."""
        key = await self._sealer.derive(_key_id(owner), purpose=PURPOSE)
        self._keys[owner] = key
        return key

    async def _status(self, entry: Counterparty) -> CounterpartyStatus:
        try:
            value = await self._sealer.open_text(_key_id(entry.owner), entry.text)
        except Malformed:  # sealed under a key that was erased, and made anew since
            value = None
        return CounterpartyStatus(
            owner=entry.owner,
            key=entry.key,
            value=value,
            role=entry.role,
            added_by=entry.added_by,
            added_at=entry.added_at,
            expires_at=entry.expires_at,
            approval=entry.approval,
        )

    async def _note(self, what: str, author: Author, details: JSONObject) -> None:
        await record_change(
            self._recorder, at=self._clock.now(), what=what, author=author, details=details
        )


def _check(role: Role, value: str) -> None:
    text = canonical_value(value)
    if role not in REMEMBERED_ROLES:
        raise Malformed(
            f"A value of role {role.value} names no counterparty.",
            hint=f"Roles are {', '.join(sorted(r.value for r in REMEMBERED_ROLES))}.",
        )
    if not text or len(text) > MAX_VALUE or not text.isprintable():
        raise Malformed(f"A counterparty is 1 to {MAX_VALUE:,} printable characters.")


def _key_id(owner: str) -> str:
    return f"counterparties:{owner}"


__all__ = ["MAX_EACH", "PURPOSE", "Counterparties", "CounterpartyStatus"]
