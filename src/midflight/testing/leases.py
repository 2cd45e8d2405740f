"""Leases as a test plays the broker: secrets by credential, one lease a run, taken back at will."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from midflight.domain.decision import Deny
from midflight.domain.errors import Interrupted
from midflight.domain.identity import Workload
from midflight.domain.lease import Credential, Lease, LeaseState, Secret
from midflight.domain.traits import Traits
from midflight.services.live_run import LiveRun
from midflight.services.ports.leases import Held


class ScriptedLeases:
    """Implements `services/ports/leases.py` from memory."""

    def __init__(self) -> None:
        """Without credentials; `add` some."""
        self.credentials: dict[str, Credential] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.refusals: dict[str, Deny | Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        """A lease of a credential that is here waits until the event is set."""
        self.uses: dict[str, int] = {}
        self.live: dict[tuple[str, str], Held] = {}
        self.over: set[str] = set()
        self._number = 0
        self._gone: list[Callable[[Lease], None]] = []
        self._replaced: list[Callable[[Lease, Held], None]] = []

    def add(self, credential: Credential, **fields: str) -> None:
        """Configure a credential; `fields` are its secret."""
        self.credentials[credential.name] = credential
        self.secrets[credential.name] = fields

    def credentials_for(self, upstream: str) -> Sequence[Credential]:
        """By name."""
        return [
            credential
            for _, credential in sorted(self.credentials.items())
            if upstream in credential.upstreams
        ]

    async def lease_for(
        self,
        live: LiveRun,
        workload: Workload,
        credential: str,
        *,
        upstream: str,
        traits: Traits,
    ) -> Held | Deny:
        """The run's lease."""
        del traits, upstream
        refusal = self.refusals.get(credential)
        if isinstance(refusal, Exception):
            raise refusal
        if refusal is not None:
            return refusal
        gate = self.gates.get(credential)
        if gate is not None:
            await gate.wait()
        key = (live.run.id, credential)
        held = self.live.get(key)
        if held is None:
            held = self.live[key] = self._make(live.run.id, workload.id, credential)
        self.uses[held.lease.id] = self.uses.get(held.lease.id, 0) + 1
        return held

    def done(self, held: Held) -> None:
        """Count it."""
        self.uses[held.lease.id] -= 1

    def check(self, held: Held) -> None:
        """Refuse what was taken back."""
        if held.lease.id in self.over:
            raise Interrupted("The lease is over.", revocation="")

    def on_gone(self, listener: Callable[[Lease], None]) -> None:
        """Call it from `take_back`."""
        self._gone.append(listener)

    def on_replaced(self, listener: Callable[[Lease, Held], None]) -> None:
        """Call it from `replace`."""
        self._replaced.append(listener)

    def take_back(self, run: str, credential: str) -> None:
        """Revoke the run's lease."""
        held = self.live.pop((run, credential))
        self.over.add(held.lease.id)
        for listener in self._gone:
            listener(held.lease)

    def replace(self, run: str, credential: str, **fields: str) -> None:
        """Give the run a newer lease, with another secret."""
        before = self.live[run, credential]
        self.secrets[credential] = fields
        after = self._make(run, before.lease.workload, credential)
        self.live[run, credential] = after
        for listener in self._replaced:
            listener(before.lease, after)

    def _make(self, run: str, workload: str, credential: str) -> Held:
        self._number += 1
        lease = Lease(
            id=f"lease_{self._number:026}",
            credential=credential,
            backend="memory",
            external=f"midflight-{self._number:026}",
            run=run,
            workload=workload,
            state=LeaseState.ACTIVE,
            created_at=0,
            expires_at=2**31,
            max_expires_at=2**31,
        )
        return Held(
            lease=lease,
            secret=Secret(fields=dict(self.secrets[credential])),
            credential=msgspec.structs.replace(self.credentials[credential]),
        )


__all__ = ["ScriptedLeases"]
