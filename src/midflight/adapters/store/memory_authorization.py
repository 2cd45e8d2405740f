"""Clients and grants in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.authorization import Client, Code, Grant, Refresh
from midflight.domain.errors import Conflict


class MemoryAuthorization(MemoryPart):
    """See the module, and `services/ports/authorization_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: dict[str, Client] = {}
        self._codes: dict[str, tuple[Code, bool]] = {}
        self._grants: dict[str, tuple[Grant, bool]] = {}
        self._refreshes: dict[str, tuple[Refresh, bool]] = {}
        self._tokens: dict[str, tuple[str, int]] = {}

    async def put_client(self, client: Client) -> None:
        """Register or replace a client by id."""
        self._check_open()
        self._clients[client.id] = client

    async def get_client(self, client_id: str) -> Client | None:
        """A client by id."""
        self._check_open()
        return self._clients.get(client_id)

    async def list_clients(self) -> Sequence[Client]:
        """All clients, by id."""
        self._check_open()
        return [self._clients[key] for key in sorted(self._clients)]

    async def delete_client(self, client_id: str) -> bool:
        """Forget a client. False if there was none."""
        self._check_open()
        return self._clients.pop(client_id, None) is not None

    async def put_code(self, code: Code) -> None:
        """Keep a fresh code. `Conflict` if its digest exists."""
        self._check_open()
        if code.digest in self._codes:
            raise Conflict("The code exists.")
        self._codes[code.digest] = (code, False)

    async def take_code(self, digest: str) -> tuple[Code, bool] | None:
        """The code and whether this is its first use; None if there is none of that digest."""
        self._check_open()
        found = self._codes.get(digest)
        if found is None:
            return None
        self._codes[digest] = (found[0], True)
        return found[0], not found[1]

    async def put_grant(self, grant: Grant) -> None:
        """Keep a grant. `Conflict` if its id exists."""
        self._check_open()
        if grant.id in self._grants:
            raise Conflict("The grant exists.")
        self._grants[grant.id] = (grant, False)

    async def get_grant(self, grant_id: str) -> Grant | None:
        """A grant that has not ended."""
        self._check_open()
        grant, ended = self._grants.get(grant_id, (None, True))
        return None if ended else grant

    async def end_grant(self, grant_id: str) -> bool:
        """End a grant for good. False if there is none or it has ended."""
        self._check_open()
        found = self._grants.get(grant_id)
        if found is None or found[1]:
            return False
        self._grants[grant_id] = (found[0], True)
        return True

    async def put_refresh(self, refresh: Refresh) -> None:
        """Keep a fresh refresh token. `Conflict` if its digest exists."""
        self._check_open()
        if refresh.digest in self._refreshes:
            raise Conflict("The refresh token exists.")
        self._refreshes[refresh.digest] = (refresh, False)

    async def get_refresh(self, digest: str) -> tuple[Refresh, bool] | None:
        """The refresh token and whether it is unused, which it stays; None if there is none."""
        self._check_open()
        found = self._refreshes.get(digest)
        return None if found is None else (found[0], not found[1])

    async def take_refresh(self, digest: str) -> tuple[Refresh, bool] | None:
        """The refresh token and whether this is its first use; None if there is none."""
        self._check_open()
        found = self._refreshes.get(digest)
        if found is None:
            return None
        self._refreshes[digest] = (found[0], True)
        return found[0], not found[1]

    async def note_token(self, grant_id: str, token: str, *, expires_at: int) -> None:
        """Remember that an access token (its `jti`) came of a grant."""
        self._check_open()
        self._tokens[token] = (grant_id, expires_at)

    async def tokens_of(self, grant_id: str) -> Sequence[str]:
        """The `jti` of every access token that came of a grant and is remembered."""
        self._check_open()
        return sorted(token for token, (grant, _) in self._tokens.items() if grant == grant_id)

    async def prune_authorizations(self, *, before: int) -> int:
        """Forget codes, grants, refresh tokens and tokens that ended before (Unix s); how many."""
        self._check_open()
        kept = (len(self._codes), len(self._grants), len(self._refreshes), len(self._tokens))
        self._codes = {k: v for k, v in self._codes.items() if v[0].expires_at >= before}
        self._grants = {k: v for k, v in self._grants.items() if v[0].expires_at >= before}
        self._refreshes = {k: v for k, v in self._refreshes.items() if v[0].expires_at >= before}
        self._tokens = {k: v for k, v in self._tokens.items() if v[1] >= before}
        left = (len(self._codes), len(self._grants), len(self._refreshes), len(self._tokens))
        return sum(kept) - sum(left)


__all__ = ["MemoryAuthorization"]
