"""Join tokens: one-time secrets that make whoever brings one a workload, once.

Only a hash is kept. What a token is traded for is `joining.py`'s. Below:
`ports/registration_store.py`. Above: the control API, `joining.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from midflight.domain.attestation import Attested, Entry, Selector
from midflight.domain.errors import Malformed, NotFound, Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.joining import JoinToken
from midflight.domain.value import Discreet
from midflight.services.changes import record_change
from midflight.services.inventory import Inventory
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

PREFIX = "mfjoin_"
SECRET_BYTES = 32
DEFAULT_TTL_S = 600
MAX_TTL_S = 86_400
MAX_LENGTH = 128


class NewJoinToken(Discreet):
    """A new join token, with the only copy of it."""

    shown = ("id", "spiffe_id", "expires_at")

    id: str
    spiffe_id: str
    expires_at: int
    token: str


class JoinTokens:
    """See the module."""

    def __init__(
        self, *, store: Store, recorder: Recorder, clock: Clock, inventory: Inventory
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._inventory = inventory

    async def create(
        self, spiffe_id: str, author: Author, *, ttl_s: int = DEFAULT_TTL_S
    ) -> NewJoinToken:
        """Make a token, recorded before it is handed out.

        Raises:
            Malformed: it would live too long.
            NotFound: no such workload.
        """
        if not 0 < ttl_s <= MAX_TTL_S:
            raise Malformed(
                f"A join token lives 1 to {MAX_TTL_S} seconds.",
                hint="It is used once; make it when the machine is about to join.",
            )
        await self._inventory.get(spiffe_id)
        now = int(self._clock.now())
        secret = PREFIX + self._clock.token(SECRET_BYTES)
        token = JoinToken(
            id=f"join_{self._clock.token()}",
            digest=_digest(secret),
            spiffe_id=spiffe_id,
            expires_at=now + ttl_s,
            added_by=author.name,
            proof=author.proof,
            added_at=now,
        )
        await self._store.put_join_token(token)
        await self._changed("create", token, author)
        return NewJoinToken(
            id=token.id, spiffe_id=spiffe_id, expires_at=token.expires_at, token=secret
        )

    async def list(self) -> Sequence[JoinToken]:
        """Those that were not used."""
        return await self._store.list_join_tokens()

    async def remove(self, token_id: str, author: Author) -> None:
        """Let nobody in with it any more. `NotFound` if it was used or never was."""
        found = [token for token in await self._store.list_join_tokens() if token.id == token_id]
        if not found or not await self._store.delete_join_token(token_id):
            raise NotFound(
                f"There is no unused join token {token_id}.",
                hint="midflight join-token list shows them.",
            )
        await self._changed("remove", found[0], author)

    async def redeem(self, secret: str) -> tuple[Attested, Entry]:
        """Who brings this token: it is used up by this, whatever comes after.

        Raises:
            Unauthenticated: unknown, used or expired; they are not told apart.
            StoreUnavailable: that it was used cannot be noted, so it lets nobody in.
        """
        found = None
        if secret.startswith(PREFIX) and len(secret) <= MAX_LENGTH:
            now = int(self._clock.now())
            found = await self._store.take_join_token(_digest(secret), now=now)
        if found is None:
            raise Unauthenticated(
                "This join token does not hold: it is unknown, used or expired.",
                hint="Ask for a new one: midflight join-token create.",
            )
        await self._changed("use", found, Author(name=found.spiffe_id, proof=found.id))
        selector = Selector(type="join_token", value=found.id)
        entry = Entry(
            id=f"entry_{found.id.removeprefix('join_')}",
            spiffe_id=found.spiffe_id,
            selectors=frozenset({selector}),
            expires_at=found.expires_at,
            added_by=found.added_by,
            proof=found.proof,
            added_at=found.added_at,
        )
        return Attested(selectors=entry.selectors), entry

    async def _changed(self, verb: str, token: JoinToken, author: Author) -> None:
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"join-token.{verb} {token.id}",
            author=author,
            details={"spiffe_id": token.spiffe_id, "expires_at": token.expires_at},
        )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


__all__ = ["JoinTokens", "NewJoinToken"]
