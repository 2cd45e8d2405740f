"""What is kept for the authorization server: clients, and what was granted to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.authorization import Client, Code, Grant, Refresh


class AuthorizationStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer.

    `take_code` and `take_refresh` are atomic: of two that take the same one, one is the first.
    """

    async def put_client(self, client: Client) -> None:
        """Register or replace a client by id."""
        ...

    async def get_client(self, client_id: str) -> Client | None:
        """A client by id."""
        ...

    async def list_clients(self) -> Sequence[Client]:
        """All clients, by id."""
        ...

    async def delete_client(self, client_id: str) -> bool:
        """Forget a client. False if there was none."""
        ...

    async def put_code(self, code: Code) -> None:
        """Keep a fresh code. `Conflict` if its digest exists."""
        ...

    async def take_code(self, digest: str) -> tuple[Code, bool] | None:
        """The code and whether this is its first use; None if there is none of that digest."""
        ...

    async def put_grant(self, grant: Grant) -> None:
        """Keep a grant. `Conflict` if its id exists."""
        ...

    async def get_grant(self, grant_id: str) -> Grant | None:
        """A grant that has not ended."""
        ...

    async def end_grant(self, grant_id: str) -> bool:
        """End a grant for good. False if there is none or it has ended."""
        ...

    async def put_refresh(self, refresh: Refresh) -> None:
        """Keep a fresh refresh token. `Conflict` if its digest exists."""
        ...

    async def get_refresh(self, digest: str) -> tuple[Refresh, bool] | None:
        """The refresh token and whether it is unused, which it stays; None if there is none."""
        ...

    async def take_refresh(self, digest: str) -> tuple[Refresh, bool] | None:
        """The refresh token and whether this is its first use; None if there is none."""
        ...

    async def note_token(self, grant_id: str, token: str, *, expires_at: int) -> None:
        """Remember that an access token (its `jti`) came of a grant."""
        ...

    async def tokens_of(self, grant_id: str) -> Sequence[str]:
        """The `jti` of every access token that came of a grant and is remembered."""
        ...

    async def prune_authorizations(self, *, before: int) -> int:
        """Forget codes, grants, refresh tokens and tokens that ended before (Unix s); how many."""
        ...


__all__ = ["AuthorizationStore"]
