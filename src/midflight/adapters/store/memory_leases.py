"""Credentials and leases in memory: a part of `memory.py`.

Atomic because no method awaits between looking and changing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.errors import Conflict
from midflight.domain.lease import Credential, Lease, LeaseState, may_follow
from midflight.services.ports.lease_store import MAX_WAIT_S, SealedSecret


class MemoryLeases(MemoryPart):
    """See the module, and `services/ports/lease_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._credentials: dict[str, Credential] = {}
        self._sealed_secrets: dict[str, SealedSecret] = {}
        self._leases: dict[str, Lease] = {}
        self._holders: dict[str, str] = {}

    async def put_credential(self, credential: Credential, *, replace: bool = False) -> None:
        """Keep a credential. `Conflict` if its name exists and is not to be replaced."""
        self._check_open()
        if credential.name in self._credentials and not replace:
            raise Conflict(f"Credential {credential.name} exists.")
        self._credentials[credential.name] = credential

    async def delete_credential(self, name: str) -> bool:
        """Forget a credential. `Conflict` while a lease of it is not revoked."""
        self._check_open()
        if any(
            lease.credential == name and lease.state is not LeaseState.REVOKED
            for lease in self._leases.values()
        ):
            raise Conflict(f"Leases of credential {name} are not revoked.")
        return self._credentials.pop(name, None) is not None

    async def list_credentials(self) -> Sequence[Credential]:
        """All credentials, by name."""
        self._check_open()
        return [self._credentials[name] for name in sorted(self._credentials)]

    async def put_sealed_secret(self, secret: SealedSecret) -> None:
        """Keep a sealed secret. `Conflict` if its id exists."""
        self._check_open()
        if secret.id in self._sealed_secrets:
            raise Conflict(f"Sealed secret {secret.id} exists.")
        self._sealed_secrets[secret.id] = secret

    async def get_sealed_secret(self, secret_id: str) -> SealedSecret | None:
        """A sealed secret, or None."""
        self._check_open()
        return self._sealed_secrets.get(secret_id)

    async def delete_sealed_secret(self, secret_id: str) -> bool:
        """Forget a sealed secret. False if there was none."""
        self._check_open()
        return self._sealed_secrets.pop(secret_id, None) is not None

    async def create_lease(self, lease: Lease, *, holder: str) -> None:
        """Write down an intent. `Conflict` if it exists, or its credential does not."""
        self._check_open()
        if lease.credential not in self._credentials:
            raise Conflict(f"There is no credential {lease.credential}.")
        if lease.id in self._leases:
            raise Conflict(f"Lease {lease.id} exists.")
        if any(known.external == lease.external for known in self._leases.values()):
            raise Conflict(f"External name {lease.external} exists.")
        self._leases[lease.id] = lease
        self._holders[lease.id] = holder

    async def activate_lease(self, lease_id: str, *, handle: str, expires_at: int) -> bool:
        """`intent` → `active`. False if it is no intent (any more)."""
        return self._move_lease(lease_id, LeaseState.ACTIVE, handle=handle, expires_at=expires_at)

    async def renew_lease(self, lease_id: str, *, before: int, expires_at: int) -> bool:
        """Move the end of an active lease that ends at `before`."""
        self._check_open()
        lease = self._leases.get(lease_id)
        if lease is None or lease.state is not LeaseState.ACTIVE or lease.expires_at != before:
            return False
        if expires_at > lease.max_expires_at:
            raise Conflict(f"Lease {lease_id} must end at {lease.max_expires_at}.")
        self._leases[lease_id] = msgspec.structs.replace(lease, expires_at=expires_at)
        return True

    async def begin_revoking(
        self, lease_ids: Collection[str], *, now: int, until: int
    ) -> Sequence[Lease]:
        """`intent` or `active` → `revoking`; those that were moved."""
        del now
        return [
            self._leases[lease_id]
            for lease_id in lease_ids
            if self._move_lease(lease_id, LeaseState.REVOKING, next_try_at=until)
        ]

    async def claim_due(self, *, now: int, until: int, holder: str, limit: int) -> Sequence[Lease]:
        """Leases that are to be ended, given to this caller alone."""
        self._check_open()

        def is_due(lease: Lease) -> bool:
            if lease.state is LeaseState.REVOKED:
                return False
            if self._holders[lease.id] != holder:
                return True
            if lease.state is LeaseState.REVOKING:
                return not now < lease.next_try_at <= now + MAX_WAIT_S
            return lease.expires_at <= now

        found = sorted(filter(is_due, self._leases.values()), key=lambda lease: lease.next_try_at)
        claimed: list[Lease] = []
        for lease in found[: max(0, limit)]:
            after = msgspec.structs.replace(lease, state=LeaseState.REVOKING, next_try_at=until)
            self._leases[lease.id] = after
            self._holders[lease.id] = holder
            claimed.append(after)
        return claimed

    async def finish_lease(self, lease_id: str) -> bool:
        """`revoking` → `revoked`. False if it was not `revoking`."""
        return self._move_lease(lease_id, LeaseState.REVOKED, error="", stuck=False)

    async def fail_revoking(
        self, lease_id: str, *, attempts: int, next_try_at: int, error: str, stuck: bool
    ) -> bool:
        """Note that a try failed."""
        self._check_open()
        lease = self._leases.get(lease_id)
        if lease is None or lease.state is not LeaseState.REVOKING or lease.attempts > attempts:
            return False
        self._leases[lease_id] = msgspec.structs.replace(
            lease,
            attempts=attempts,
            next_try_at=next_try_at,
            error=error,
            stuck=lease.stuck or stuck,
        )
        return True

    async def get_lease(self, lease_id: str) -> Lease | None:
        """A lease by id."""
        self._check_open()
        return self._leases.get(lease_id)

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
        self._check_open()

        def is_wanted(lease: Lease) -> bool:
            return (
                run in (None, lease.run)
                and credential in (None, lease.credential)
                and (states is None or lease.state in states)
                and stuck in (None, lease.stuck)
            )

        return _first(reversed(self._leases.values()), is_wanted, limit)

    async def unrevoked_names(self, externals: Collection[str]) -> frozenset[str]:
        """Which of these external names have a lease that is not revoked."""
        self._check_open()
        return frozenset(externals) & {
            lease.external
            for lease in self._leases.values()
            if lease.state is not LeaseState.REVOKED
        }

    async def count_leases(self) -> dict[LeaseState, int]:
        """How many there are in each state."""
        self._check_open()
        return dict(Counter(lease.state for lease in self._leases.values()))

    async def forget_revoked(self, *, before: int, limit: int) -> int:
        """Delete leases that are `revoked` and ended before; how many."""
        self._check_open()
        gone = _first(
            self._leases.values(),
            lambda lease: lease.state is LeaseState.REVOKED and lease.expires_at < before,
            limit,
        )
        for lease in gone:
            del self._leases[lease.id], self._holders[lease.id]
        return len(gone)

    def _move_lease(self, lease_id: str, state: LeaseState, **changes: object) -> bool:
        self._check_open()
        lease = self._leases.get(lease_id)
        if lease is None or not may_follow(lease.state, state):
            return False
        self._leases[lease_id] = msgspec.structs.replace(lease, state=state, **changes)
        return True


def _first(leases: Iterable[Lease], is_wanted: Callable[[Lease], bool], limit: int) -> list[Lease]:
    found = filter(is_wanted, leases)
    return [lease for lease, _ in zip(found, range(max(0, limit)), strict=False)]


__all__ = ["MemoryLeases"]
