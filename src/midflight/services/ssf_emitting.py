"""What is said to others: each durable revocation, and each change of a workload's risk.

Revocations are read from their log and not from memory: what is said is durable, what another
process appended is said as well, and what was not said before a crash is said after it, once for
each stream (its `jti` follows from the revocation). Lifting one is said to nobody: CAEP has no
event for it, and a receiver decides itself when it lets somebody in again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Literal

import structlog

from midflight.domain.errors import MidflightError
from midflight.domain.revocation import Revocation, ScopeKind
from midflight.domain.security_event import (
    CREDENTIAL_CHANGE,
    RISK_LEVEL_CHANGE,
    SESSION_REVOKED,
)
from midflight.domain.subject_identifiers import Complex, IssSub, JwtId, Opaque, Simple, Subject
from midflight.domain.value import JSONObject
from midflight.services.ports.store import Store
from midflight.services.ssf_outbox import Outbox

log = structlog.get_logger(__name__)

SNAPSHOT = "ssf-revocations-v1"
MAX_REASON = 500
RiskLevel = Literal["LOW", "MEDIUM", "HIGH"]


class Emitting:
    """See the module."""

    def __init__(self, *, store: Store, outbox: Outbox, trust_domain: str) -> None:
        """`trust_domain` is our own: who revokes everything revokes it."""
        self._store = store
        self._outbox = outbox
        self._trust_domain = trust_domain
        self._following = asyncio.Lock()
        self._levels: dict[str, RiskLevel] = {}
        self._beside: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Say what was not said before the last end; at the very first start, nothing."""
        if await self._store.get_snapshot(SNAPSHOT) is None:
            log_end = [each.position for each in await self._store.revocations(after=0)]
            await self._store.put_snapshot(SNAPSHOT, b"%d" % max(log_end, default=0))
        await self.follow()

    async def told(self, _position: int) -> None:
        """The log has grown. Returns at once: no revocation waits until others hear of it."""
        self._aside(self._follow())

    async def _follow(self) -> None:
        try:
            await self.follow()
        except MidflightError as error:  # it is in the log, and said at the next look
            log.warning("ssf_not_said", why=error.message)

    async def follow(self) -> None:
        """Say every revocation of the log that was not said. `StoreUnavailable` if it is silent."""
        async with self._following:
            said = int(await self._store.get_snapshot(SNAPSHOT) or b"0")
            for stored in await self._store.revocations(after=said):
                await self._say(stored.revocation)
                await self._store.put_snapshot(SNAPSHOT, b"%d" % stored.position)

    def risk_changed(self, workload: str, level: RiskLevel, reason: str) -> None:
        """Say that a workload's risk is another one now. Returns at once; the rest goes aside.

        Args:
            workload: SPIFFE ID.
            level: as CAEP 1.0 §3.8 names it.
            reason: why, in words; it is told to every receiver that asked for such events.
        """
        before = self._levels.get(workload)
        if before == level:
            return
        if len(self._levels) >= 100_000 and before is None:  # bound: the oldest is forgotten first
            del self._levels[next(iter(self._levels))]
        self._levels[workload] = level
        event: JSONObject = {
            "principal": "USER",
            "current_level": level,
            "risk_reason": reason[:MAX_REASON],
            "initiating_entity": "policy",
            "reason_admin": {"en": reason[:MAX_REASON] or "Its risk has changed."},
        }
        if before is not None:
            event["previous_level"] = before
        self._aside(self._tell_risk(workload, event))

    async def settle(self) -> None:
        """Wait until what is on its way into the outbox is there."""
        while self._beside:
            await asyncio.gather(*self._beside)

    # Inside

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _tell_risk(self, workload: str, event: JSONObject) -> None:
        try:
            await self._outbox.tell(RISK_LEVEL_CHANGE, self._named(workload), event)
        except MidflightError as error:
            log.warning("ssf_risk_not_said", workload=workload, why=error.message)

    async def _say(self, revocation: Revocation) -> None:
        if revocation.lifts is not None:
            return
        kind, event = SESSION_REVOKED, _event(revocation)
        if revocation.scope.kind is ScopeKind.CREDENTIAL:
            kind = CREDENTIAL_CHANGE
            event |= {
                "credential_type": "app",
                "change_type": "revoke",
                "friendly_name": revocation.scope.id,
            }
        for number, subject in enumerate(await self._subjects(revocation)):
            await self._outbox.tell(
                kind, subject, event, jti=f"{revocation.id}.{number}", txn=revocation.id
            )

    async def _subjects(self, revocation: Revocation) -> Sequence[Subject]:
        """Who is revoked, one subject each; nobody for what others know nothing of."""
        name = revocation.scope.id
        found: Sequence[Subject]
        match revocation.scope.kind:
            case ScopeKind.WORKLOAD:
                found = [self._named(name)]
            case ScopeKind.RUN:
                stored = await self._store.get_run(name)
                session: dict[str, Simple] = {"session": Opaque(id=name)}
                if stored is not None:
                    session["user"] = self._named(stored.run.workload)
                found = [Complex(members=session)]
            case ScopeKind.TOKEN:
                found = [JwtId(iss=self._outbox.issuer, jti=name)]
            case ScopeKind.OWNER:
                workloads = await self._store.list_workloads()
                found = [self._named(each.id) for each in workloads if each.owner == name]
            case ScopeKind.CREDENTIAL:
                found = [self._named(f"credential:{name}")]
            case ScopeKind.TRUST_DOMAIN | ScopeKind.EVERYTHING:
                found = [Complex(members={"tenant": Opaque(id=name or self._trust_domain)})]
            case ScopeKind.TOOL | ScopeKind.UPSTREAM:
                found = []
        return found

    def _named(self, name: str) -> IssSub:
        return IssSub(iss=self._outbox.issuer, sub=name)


def _event(revocation: Revocation) -> JSONObject:
    """What every event of a revocation says; `reason_admin` is never empty (CAEP interop §3)."""
    reason = revocation.reason[:MAX_REASON] or "revoked"
    return {
        "event_timestamp": int(revocation.at),
        "initiating_entity": _initiating(revocation),
        "reason_admin": {"en": reason},
    }


def _initiating(revocation: Revocation) -> str:
    """CAEP 1.0 §2: a person here, somebody else's system, or a rule of our own."""
    if revocation.author.startswith("ssf:"):
        return "system"
    kind = revocation.proof.partition(":")[0]
    return "policy" if kind in {"", "detector", "policy", "finding", "response"} else "admin"


__all__ = ["SNAPSHOT", "Emitting", "RiskLevel"]
