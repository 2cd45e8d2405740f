"""What follows a security event of others: a revocation, a finding, or a note.

The author of a revocation is the transmitter (`ssf:NAME`), its proof the SET's `jti`. What is
revoked already is not revoked again: two planes that tell each other of a revocation would never
come to an end. Above: `ssf_receiving.py`. Below: the interruption, detection.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Protocol

import msgspec

from midflight.domain.errors import StoreUnavailable
from midflight.domain.finding import Finding, Strength
from midflight.domain.identity import Author
from midflight.domain.records import Changed
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.security_event import SecurityEvent, short
from midflight.domain.shared_receiver import (
    Effect,
    Reachable,
    revokes,
    scopes_of,
    session_of,
    weight,
)
from midflight.domain.subject_identifiers import OtherSubject, described
from midflight.domain.value import JSONObject
from midflight.services.interruption import Interruption
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

MAX_WORDS = 200
MAX_FOUND = 10_000
"""Findings that are remembered, so that an event that comes again is not found again."""
TOKEN_S = 2 * 3_600
"""How long a token stays revoked that others named: longer than any of ours lives."""


class Finds(Protocol):
    """The part of `services/detection.py` that is needed here."""

    def found(self, finding: Finding) -> str:
        """Record a finding, and do what policy says."""
        ...


class Effects:
    """See the module."""

    def __init__(
        self,
        *,
        interruption: Interruption,
        detection: Finds,
        store: Store,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._interruption = interruption
        self._detection = detection
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._found: dict[str, None] = {}

    async def of(
        self,
        event: SecurityEvent,
        *,
        name: str,
        reachable: Reachable,
        effect: Effect,
        retried: bool,
    ) -> str:
        """Do what follows, and say what that was.

        Args:
            event: one that holds.
            name: of its transmitter.
            reachable: whom that may speak of.
            effect: what settings say of this type.
            retried: whether it was begun before: then what is in force by it is made durable, and
                nothing is added.

        Raises:
            StoreUnavailable: it is in force here and not durable, so it must come again.
        """
        strength = weight(event)
        if strength is None or effect is Effect.NOTE:
            return "noted"
        scopes = await self._scopes(event, reachable)
        if not scopes:
            return "noted: about nobody this transmitter may speak of"
        if effect is Effect.REVOKE and revokes(event):
            return await self._revoke(event, scopes, name=name, retried=retried)
        for scope in scopes:
            await self._find(event, scope, strength, name=name)
        return f"found: {', '.join(map(str, scopes))}"

    async def record(self, event: SecurityEvent, *, name: str, outcome: str) -> None:
        """Record that it was taken, durably. `LedgerUnavailable` if it cannot be."""
        subject = event.subject
        shown: JSONObject = (
            {"format": subject.name} if isinstance(subject, OtherSubject) else described(subject)
        )
        ticket = self._recorder.append(
            Changed(
                at=self._clock.now(),
                what=f"ssf.received {short(event.kind)}",
                author=f"ssf:{name}",
                proof=event.jti,
                details=msgspec.to_builtins(
                    {
                        "kind": event.kind,
                        "issuer": event.issuer,
                        "issued_at": event.issued_at,
                        "txn": event.txn,
                        "subject": shown,
                        "outcome": outcome,
                    }
                ),
            )
        )
        await ticket.durable()

    # Inside

    async def _scopes(self, event: SecurityEvent, reachable: Reachable) -> Sequence[Scope]:
        session = session_of(event.subject)
        if session is not None:
            stored = await self._store.get_run(session)
            if stored is not None and reachable.workload(stored.run.workload):
                return [Scope(kind=ScopeKind.RUN, id=session)]
        return scopes_of(event.subject, reachable)

    async def _workload(self, scope: Scope) -> str:
        if scope.kind is ScopeKind.RUN:
            stored = await self._store.get_run(scope.id)
            return "" if stored is None else stored.run.workload
        return scope.id if scope.kind is ScopeKind.WORKLOAD else ""

    async def _find(
        self, event: SecurityEvent, scope: Scope, strength: Strength, *, name: str
    ) -> None:
        own = _id("fnd", event, scope, name=name)
        if own in self._found:
            return  # it came again because it could not be written down; two findings add up
        if len(self._found) >= MAX_FOUND:
            del self._found[next(iter(self._found))]
        self._found[own] = None
        self._detection.found(
            Finding(
                id=own,
                at=self._clock.now(),
                detector="ssf",
                strength=strength,
                workload=await self._workload(scope),
                owner=scope.id if scope.kind is ScopeKind.OWNER else "",
                run=scope.id if scope.kind is ScopeKind.RUN else "",
                seen=f"{short(event.kind)} of {scope}, says {name}{_because(event)}",
            )
        )

    def _is_in_force(self, revocation: str) -> bool:
        return any(each.id == revocation for each in self._interruption.listing())

    async def _revoke(
        self, event: SecurityEvent, scopes: Sequence[Scope], *, name: str, retried: bool
    ) -> str:
        done: list[str] = []
        for scope in scopes:
            known = self._interruption.covering([(scope.kind, scope.id)])
            own = _id("rev", event, scope, name=name)
            # Begun before: what is in force by this very event may not be durable.
            if known is not None and not (retried and self._is_in_force(own)):
                done.append(f"{scope} was already")
                continue
            receipt = await self._interruption.revoke(
                scope,
                reason=f"{short(event.kind)} from {name}{_because(event)}",
                author=Author(name=f"ssf:{name}", proof=event.jti),
                until=self._clock.now() + TOKEN_S if scope.kind is ScopeKind.TOKEN else None,
                known_as=own,
            )
            if not receipt.durable:
                raise StoreUnavailable(
                    "The revocation is in force here and not durable yet.",
                    hint="Send the event again.",
                )
            done.append(str(scope))
        return f"revoked: {', '.join(done)}"


def _id(prefix: str, event: SecurityEvent, scope: Scope, *, name: str) -> str:
    """What this event makes of this scope is called; the same however often it comes."""
    said = f"{name}\0{event.issuer}\0{event.jti}\0{scope}"
    digest = hashlib.sha256(said.encode()).digest()
    return f"{prefix}_{base64.b32encode(digest).decode().lower()[:26]}"


def _because(event: SecurityEvent) -> str:
    """The transmitter's words for administrators, if there are some; they are of a stranger."""
    said = event.event.get("reason_admin")
    if isinstance(said, dict):
        said = next(iter(said.values()), None)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  -- JSON
    if not isinstance(said, str) or not said.strip():
        return ""
    visible = "".join(one if one.isprintable() else " " for one in said[:MAX_WORDS])
    return f": {visible.strip()}"


__all__ = ["MAX_WORDS", "TOKEN_S", "Effects", "Finds"]
