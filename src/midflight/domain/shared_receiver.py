"""What a transmitter of security events may do here: whom it may speak of, and what follows.

Settings say both. A transmitter never reaches beyond the workloads and names that its row lists,
and never stops everything, a trust domain, an upstream or a tool.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final

from midflight.domain.finding import Strength
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.security_event import (
    ACCOUNT_DISABLED,
    ACCOUNT_PURGED,
    ASSURANCE_LEVEL_CHANGE,
    CREDENTIAL_CHANGE,
    CREDENTIAL_COMPROMISE,
    DEVICE_COMPLIANCE_CHANGE,
    RISK_LEVEL_CHANGE,
    SESSION_REVOKED,
    SESSIONS_REVOKED,
    TOKEN_CLAIMS_CHANGE,
    SecurityEvent,
    short,
)
from midflight.domain.subject_identifiers import (
    Complex,
    Email,
    IssSub,
    JwtId,
    Opaque,
    OtherSubject,
    Simple,
    Subject,
)
from midflight.domain.value import Value


class Effect(enum.StrEnum):
    """What follows an event, by settings."""

    REVOKE = "revoke"
    FINDING = "finding"
    NOTE = "note"
    """It is recorded and nothing else."""


DEFAULT_EFFECTS: Final[Mapping[str, Effect]] = {
    short(SESSION_REVOKED): Effect.REVOKE,
    short(SESSIONS_REVOKED): Effect.REVOKE,
    short(ACCOUNT_DISABLED): Effect.REVOKE,
    short(ACCOUNT_PURGED): Effect.REVOKE,
    short(CREDENTIAL_COMPROMISE): Effect.FINDING,
    short(CREDENTIAL_CHANGE): Effect.FINDING,
    short(TOKEN_CLAIMS_CHANGE): Effect.FINDING,
    short(ASSURANCE_LEVEL_CHANGE): Effect.FINDING,
    short(DEVICE_COMPLIANCE_CHANGE): Effect.FINDING,
    short(RISK_LEVEL_CHANGE): Effect.FINDING,
}
FORMATS: Final = ("email", "opaque", "sub")
MAY_NAME: Final = frozenset({ScopeKind.WORKLOAD, ScopeKind.OWNER, ScopeKind.CREDENTIAL})
"""What a name of a transmitter may stand for."""


class Reachable(Value):
    """Whom a transmitter may speak of.

    Attributes:
        issuer: the transmitter's own.
        own_issuer: ours, whose tokens and workloads others name.
        workloads: SPIFFE IDs, or the beginning of some (`spiffe://example.org/ci/*`).
        names: what an e-mail address, an opaque id or a `sub` of the transmitter stands for, under
            its format and a space (`email ann@example.org`, `opaque dev-7`, `sub 00u1`): who may
            choose a name in one format must not be taken for somebody of another.
        tokens: whether single tokens of ours may be named (`jwt_id`).
    """

    issuer: str
    own_issuer: str
    workloads: tuple[str, ...] = ()
    names: Mapping[str, Scope] = {}
    tokens: bool = False

    def workload(self, name: str) -> bool:
        """Whether it may speak of this workload."""
        return any(
            name.startswith(each[:-1]) if each.endswith("/*") else name == each
            for each in self.workloads
        )

    def scope(self, subject: Simple) -> Scope | None:
        """What a simple subject stands for here, or None if that is nothing it may speak of."""
        found: Scope | None = None
        match subject:
            case Email(email=name):
                found = self.names.get(f"email {name}")
            case Opaque(id=name):
                found = self.names.get(f"opaque {name}")
            case IssSub(iss=iss, sub=name):
                if iss in (self.issuer, self.own_issuer) and self.workload(name):
                    found = Scope(kind=ScopeKind.WORKLOAD, id=name)
                elif iss == self.issuer:
                    found = self.names.get(f"sub {name}")
            case JwtId(iss=iss, jti=jti):
                if self.tokens and iss == self.own_issuer:
                    found = Scope(kind=ScopeKind.TOKEN, id=jti)
            case OtherSubject():
                pass
        return found


def named(name: str) -> tuple[str, ...]:
    """A name of settings under its format, or under those that it can be of if it says none.

    With an `@` it is an e-mail address, without one an opaque id or a `sub`.
    """
    if name.partition(" ")[0] in FORMATS and " " in name:
        return (name,)
    formats = ("email",) if "@" in name else ("opaque", "sub")
    return tuple(f"{each} {name}" for each in formats)


# A tenant is never one: it would be everything.
_MEMBERS = ("application", "user", "device", "group", "org_unit")


def session_of(subject: Subject) -> str | None:
    """The id of the session of a complex subject, which may be a run of ours."""
    if isinstance(subject, Complex):
        session = subject.members.get("session")
        if isinstance(session, Opaque):
            return session.id
    return None


def scopes_of(subject: Subject, reachable: Reachable) -> Sequence[Scope]:
    """What an event about this subject reaches; the session apart, if it is a run of ours.

    A complex subject names one thing by several attributes. The narrowest that is known here
    counts: its session, or else each of the others.
    """
    if not isinstance(subject, Complex):
        found = reachable.scope(subject)
        return [] if found is None else [found]
    session = subject.members.get("session")
    if session is not None and (found := reachable.scope(session)) is not None:
        return [found]
    named = (subject.members[name] for name in _MEMBERS if name in subject.members)
    scopes = (reachable.scope(each) for each in named)
    return list(dict.fromkeys(scope for scope in scopes if scope is not None))


def weight(event: SecurityEvent) -> Strength | None:
    """How much an event says against its subject, or None if it says nothing against it.

    Every value that CAEP allows is understood: a credential that is made, a device that complies
    again, a risk that falls are good news.
    """
    said = event.event
    found: Strength | None = None
    if event.kind in _ENDED:
        found = Strength.STRONG
    elif event.kind == CREDENTIAL_CHANGE:
        found = _CREDENTIAL.get(said["change_type"])
    elif event.kind == RISK_LEVEL_CHANGE:
        found = _RISK.get(said["current_level"])
    elif event.kind == TOKEN_CLAIMS_CHANGE:
        found = Strength.WEAK
    elif (event.kind == DEVICE_COMPLIANCE_CHANGE and said["current_status"] == "not-compliant") or (
        event.kind == ASSURANCE_LEVEL_CHANGE and said.get("change_direction") == "decrease"
    ):
        found = Strength.FAIR
    return found


_ENDED: Final = frozenset(
    {SESSION_REVOKED, SESSIONS_REVOKED, ACCOUNT_DISABLED, ACCOUNT_PURGED, CREDENTIAL_COMPROMISE}
)
_CREDENTIAL: Final[Mapping[str, Strength]] = {
    "revoke": Strength.STRONG,
    "delete": Strength.FAIR,
    "update": Strength.WEAK,
}
_RISK: Final[Mapping[str, Strength]] = {"HIGH": Strength.STRONG, "MEDIUM": Strength.FAIR}


def revokes(event: SecurityEvent) -> bool:
    """Whether an event is grave enough to revoke, where its type may.

    Of risk that is a high one; a credential that was merely updated revokes nobody.
    """
    found = weight(event)
    if found is None:
        return False
    if event.kind == RISK_LEVEL_CHANGE:
        return found is Strength.STRONG
    return found is not Strength.WEAK or event.kind == TOKEN_CLAIMS_CHANGE


__all__ = [
    "DEFAULT_EFFECTS",
    "FORMATS",
    "MAY_NAME",
    "Effect",
    "Reachable",
    "named",
    "revokes",
    "scopes_of",
    "session_of",
    "weight",
]
