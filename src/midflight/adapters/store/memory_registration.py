"""Entries, join tokens and launches in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.attestation import Entry
from midflight.domain.errors import Conflict
from midflight.domain.joining import JoinToken, Launch


class MemoryRegistration(MemoryPart):
    """See the module, and `services/ports/registration_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[str, Entry] = {}
        self._join_tokens: dict[str, JoinToken] = {}
        self._launches: dict[str, Launch] = {}

    async def put_entry(self, entry: Entry) -> None:
        """Store an entry. `Conflict` if its id exists."""
        self._check_open()
        if entry.id in self._entries:
            raise Conflict(f"Entry {entry.id} exists.")
        self._entries[entry.id] = entry

    async def delete_entry(self, entry_id: str) -> bool:
        """Forget an entry. False if there was none of that id."""
        self._check_open()
        return self._entries.pop(entry_id, None) is not None

    async def list_entries(self) -> Sequence[Entry]:
        """All entries, by id."""
        self._check_open()
        return [self._entries[key] for key in sorted(self._entries)]

    async def put_join_token(self, token: JoinToken) -> None:
        """Store a join token. `Conflict` if its digest exists."""
        self._check_open()
        if token.digest in self._join_tokens:
            raise Conflict("This join token exists.")
        self._join_tokens[token.digest] = token

    async def take_join_token(self, digest: str, *, now: int) -> JoinToken | None:
        """Remove the join token of this digest and return it: at most one caller gets it."""
        self._check_open()
        found = self._join_tokens.pop(digest, None)
        return None if found is None or found.expires_at <= now else found

    async def list_join_tokens(self) -> Sequence[JoinToken]:
        """All join tokens that were not used, by id."""
        self._check_open()
        return sorted(self._join_tokens.values(), key=lambda token: token.id)

    async def delete_join_token(self, token_id: str) -> bool:
        """Forget a join token. False if there was none of that id."""
        self._check_open()
        found = [key for key, token in self._join_tokens.items() if token.id == token_id]
        for key in found:
            del self._join_tokens[key]
        return bool(found)

    async def put_launch(self, launch: Launch) -> None:
        """Note who was launched for a run. `Conflict` if the run has a launch."""
        self._check_open()
        if launch.run in self._launches:
            raise Conflict(f"Run {launch.run} has a process already.")
        self._launches[launch.run] = launch

    async def delete_launch(self, run: str) -> bool:
        """Forget the launch of a run. False if there was none."""
        self._check_open()
        return self._launches.pop(run, None) is not None

    async def list_launches(self) -> Sequence[Launch]:
        """All launches, by run."""
        self._check_open()
        return [self._launches[run] for run in sorted(self._launches)]


__all__ = ["MemoryRegistration"]
