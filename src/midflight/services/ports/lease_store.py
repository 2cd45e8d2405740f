"""What is kept of credentials and leases: where a crash leaves something behind, a row names it.

Each move of a lease is one atomic compare-and-set: it happens if the state is still what the move
starts from, and says so. No lease is forgotten unless it is `revoked`.

Time is passed in as Unix seconds, by the caller's clock. A step of that clock cannot lose a lease:
set forward, leases are due too early; set back, `claim_due` still finds whatever was put off for
longer than anything is ever put off (`MAX_WAIT_S`), the broker measures the life of what it hands
out with monotonic time, and backends end credentials by their own clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from midflight.domain.lease import Credential, Lease, LeaseState
from midflight.domain.value import Discreet

MAX_WAIT_S = 600
"""Seconds that the next try of a revocation is put off at most."""


class SealedSecret(Discreet):
    """A static secret under a key of its own, which is wrapped.

    Attributes:
        id: `sealed_` and 26 characters.
        wrapped: the key, wrapped (`KeyWrap`) and bound to the id.
        box: nonce and AES-256-GCM ciphertext, with the id as associated data.
        sealed_at, sealed_by: Unix seconds and operator.
    """

    shown = ("id", "sealed_at", "sealed_by")

    id: str
    wrapped: bytes
    box: bytes
    sealed_at: int
    sealed_by: str


class LeaseStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer; the others where said."""

    # Credentials and sealed secrets

    async def put_credential(self, credential: Credential, *, replace: bool = False) -> None:
        """Keep a credential. `Conflict` if its name exists and is not to be replaced."""
        ...

    async def delete_credential(self, name: str) -> bool:
        """Forget a credential; False if there is none.

        `Conflict` while a lease of it is not revoked: nobody could end that any more.
        """
        ...

    async def list_credentials(self) -> Sequence[Credential]:
        """All credentials, by name."""
        ...

    async def put_sealed_secret(self, secret: SealedSecret) -> None:
        """Keep a sealed secret. `Conflict` if its id exists."""
        ...

    async def get_sealed_secret(self, secret_id: str) -> SealedSecret | None:
        """A sealed secret, or None."""
        ...

    async def delete_sealed_secret(self, secret_id: str) -> bool:
        """Forget a sealed secret. False if there was none."""
        ...

    # Leases

    async def create_lease(self, lease: Lease, *, holder: str) -> None:
        """Write down an intent, for the process `holder`.

        Raises:
            Conflict: its id or external name exists, or its credential does not.
        """
        ...

    async def activate_lease(self, lease_id: str, *, handle: str, expires_at: int) -> bool:
        """`intent` → `active`. False if it is no intent (any more): it must be revoked."""
        ...

    async def renew_lease(self, lease_id: str, *, before: int, expires_at: int) -> bool:
        """Move the end of an active lease. False if it is not active, or does not end at `before`.

        `Conflict` beyond its `max_expires_at`.
        """
        ...

    async def begin_revoking(
        self, lease_ids: Collection[str], *, now: int, until: int
    ) -> Sequence[Lease]:
        """`intent` or `active` → `revoking`; those that were moved, as they are now.

        Nobody else is given them by `claim_due` before `until`.
        """
        ...

    async def claim_due(self, *, now: int, until: int, holder: str, limit: int) -> Sequence[Lease]:
        """Leases that are to be ended, moved to `revoking` and given to this caller alone.

        Those are: in `revoking` and not put off beyond `now`; at their end; in any state of another
        holder than `holder`, whose process has ended: with it what it had under way, and its
        secrets. Each is put off to `until` and is `holder`'s from then on, so that the next call
        gets others. One process uses a store at a time. `now` and `until` are no further apart than
        `MAX_WAIT_S`.
        """
        ...

    async def finish_lease(self, lease_id: str) -> bool:
        """`revoking` → `revoked`. False if it was not `revoking`."""
        ...

    async def fail_revoking(
        self, lease_id: str, *, attempts: int, next_try_at: int, error: str, stuck: bool
    ) -> bool:
        """Note that a try failed. False if it is not `revoking`, or has more attempts already.

        A stuck lease stays so until it is revoked.
        """
        ...

    async def get_lease(self, lease_id: str) -> Lease | None:
        """A lease by id."""
        ...

    async def list_leases(
        self,
        *,
        run: str | None = None,
        credential: str | None = None,
        states: Collection[LeaseState] | None = None,
        stuck: bool | None = None,
        limit: int = 1000,
    ) -> Sequence[Lease]:
        """Leases, newest first, at most `limit`."""
        ...

    async def unrevoked_names(self, externals: Collection[str]) -> frozenset[str]:
        """Which of these external names have a lease that is not revoked."""
        ...

    async def count_leases(self) -> dict[LeaseState, int]:
        """How many there are in each state; a state without any is left out."""
        ...

    async def forget_revoked(self, *, before: int, limit: int) -> int:
        """Delete leases that are `revoked` and ended before; how many. Never any other."""
        ...


__all__ = ["MAX_WAIT_S", "LeaseStore", "SealedSecret"]
