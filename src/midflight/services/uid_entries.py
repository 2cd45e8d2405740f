"""Who a local process is by its user alone: a workload that is registered with that uid.

The simplest attestation there is, and a sound one where every workload has a user of its own. The
kernel names the user (SO_PEERCRED); nothing of it is up to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midflight.domain.attestation import Attested, Entry, Process, Selector
from midflight.domain.spiffe import MAX_JWT_TTL_S, MAX_X509_TTL_S
from midflight.services.inventory import Inventory


class UidEntries:
    """Attests by uid and makes an entry of each registered workload of that user."""

    def __init__(self, inventory: Inventory, *, federates_with: Sequence[str] = ()) -> None:
        """`federates_with` are the trust domains whose bundles each of them is given."""
        self._inventory = inventory
        self._federates_with = tuple(federates_with)

    async def attest(self, process: Process) -> Attested:
        """The one fact that is needed."""
        return Attested(
            selectors=frozenset({Selector(type="unix", value=f"uid:{process.uid}")}),
            process=process.start,
            uid=process.uid,
        )

    def entries(self, attested: Attested) -> Sequence[Entry]:
        """One entry a workload, by id; empty for users without one."""
        if attested.uid is None:
            return ()
        found = [
            Entry(
                id=f"uid:{workload.uid}",
                spiffe_id=workload.id,
                selectors=frozenset({Selector(type="unix", value=f"uid:{workload.uid}")}),
                x509_ttl_s=MAX_X509_TTL_S,
                jwt_ttl_s=MAX_JWT_TTL_S,
                federates_with=self._federates_with,
                added_by="midflight:inventory",
                added_at=workload.registered_at,
            )
            for workload in self._inventory.of_uid(attested.uid)
            if not workload.disabled
        ]
        return [entry for entry in found if entry.matches(attested.selectors)]

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener` when entries may have changed."""
        self._inventory.on_changed(listener)


__all__ = ["UidEntries"]
