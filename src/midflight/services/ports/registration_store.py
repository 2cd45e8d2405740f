"""What is kept of registration: entries, join tokens as hashes, and who was launched for a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.attestation import Entry
from midflight.domain.joining import JoinToken, Launch


class RegistrationStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer."""

    async def put_entry(self, entry: Entry) -> None:
        """Store an entry. `Conflict` if its id exists."""
        ...

    async def delete_entry(self, entry_id: str) -> bool:
        """Forget an entry. False if there was none of that id."""
        ...

    async def list_entries(self) -> Sequence[Entry]:
        """All entries, by id."""
        ...

    async def put_join_token(self, token: JoinToken) -> None:
        """Store a join token. `Conflict` if its digest exists."""
        ...

    async def take_join_token(self, digest: str, *, now: int) -> JoinToken | None:
        """Remove the join token of this digest and return it: at most one caller gets it.

        None if there is none, or if it has expired; one that has expired is removed, too.
        """
        ...

    async def list_join_tokens(self) -> Sequence[JoinToken]:
        """All join tokens that were not used, by id."""
        ...

    async def delete_join_token(self, token_id: str) -> bool:
        """Forget a join token. False if there was none of that id."""
        ...

    async def put_launch(self, launch: Launch) -> None:
        """Note who was launched for a run. `Conflict` if the run has a launch: it is for one."""
        ...

    async def delete_launch(self, run: str) -> bool:
        """Forget the launch of a run. False if there was none."""
        ...

    async def list_launches(self) -> Sequence[Launch]:
        """All launches, by run."""
        ...


__all__ = ["RegistrationStore"]
