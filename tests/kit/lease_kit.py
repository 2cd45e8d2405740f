"""A plane with a credential of accounts in memory, and what tests do to its leases."""

from __future__ import annotations

import asyncio
from typing import Any

from midflight.domain.decision import Deny
from midflight.domain.identity import Workload
from midflight.domain.lease import Credential, Injection, Lease, LeaseState, Placement
from midflight.domain.records import LeaseMoved
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.broker import Held
from midflight.services.live_run import LiveRun
from midflight.testing import OPERATOR, WORKLOAD, MemoryPlane, ScriptedUpstream

READ = Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)


def credential(name: str = "db", **changes: Any) -> Credential:
    fields: dict[str, Any] = {
        "name": name,
        "backend": "memory",
        "upstreams": frozenset({"one"}),
        "injections": (Injection(placement=Placement.HEADER, name="Authorization"),),
        "scopes": ("ro", "rw"),
        "settings": {"scope_effects": {"ro": "read", "rw": "write"}},
        "ttl_s": 60,
        "max_ttl_s": 600,
    }
    return Credential(**{**fields, **changes})


class LeasePlane(MemoryPlane):
    """See the module."""

    def __init__(self, **more: Any) -> None:
        super().__init__(upstream=ScriptedUpstream("one", ()), **more)

    async def begin(self, *credentials: Credential) -> LiveRun:
        """Start, know these credentials, and open a run."""
        await self.start()
        for each in credentials or (credential(),):
            await self.credentials.put(each, author=OPERATOR)
        return await self.open()

    async def workload(self) -> Workload:
        return await self.inventory.get(WORKLOAD)

    async def open(self, **more: Any) -> LiveRun:
        run = await self.runs.open_run(
            workload=await self.workload(), intent="Look it up.", author=OPERATOR, **more
        )
        live = self.runs.live(run.id)
        assert live is not None
        return live

    async def ask(self, live: LiveRun, name: str = "db", **more: Any) -> Held | Deny:
        fields: dict[str, Any] = {"upstream": "one", "traits": READ}
        workload = await self.inventory.get(live.run.workload)
        return await self.broker.lease_for(live, workload, name, **{**fields, **more})

    async def lease(self, live: LiveRun, name: str = "db", **more: Any) -> Held:
        held = await self.ask(live, name, **more)
        assert isinstance(held, Held), held
        return held

    async def stored(self, lease_id: str) -> Lease:
        found = await self.store.get_lease(lease_id)
        assert found is not None
        return found

    async def state(self, held: Held) -> LeaseState:
        return (await self.stored(held.lease.id)).state

    async def moves(self, lease_id: str) -> list[str]:
        """States that the ledger says a lease went through."""
        return [
            record.state
            for record in await self.records()
            if isinstance(record, LeaseMoved) and record.lease == lease_id
        ]

    async def settle(self) -> None:
        """Wait until nothing is under way beside."""
        while self._beside:
            await asyncio.gather(*self._beside)
        await self.broker.settle()
