"""Revocations: what may no longer act, since when, why, and who said so.

A revocation is never deleted; lifting it is a new entry. The receiver's memory denies at once,
the entry is durable before it is acknowledged, and what is in flight is cut.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from midflight.domain.identity import trust_domain
from midflight.domain.value import Value


class ScopeKind(enum.StrEnum):
    """What can be revoked. Stored in records: append, never change."""

    RUN = "run"
    WORKLOAD = "workload"
    OWNER = "owner"
    TOOL = "tool"
    UPSTREAM = "upstream"
    TOKEN = "token"  # noqa: S105 -- the name of a scope
    EVERYTHING = "everything"
    CREDENTIAL = "credential"
    TRUST_DOMAIN = "trust_domain"


class Scope(Value):
    """One thing that can be revoked. A tool's id is `<upstream>/<name>`; `everything` has none."""

    kind: ScopeKind
    id: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.id}".rstrip()


class Revocation(Value):
    """One entry of the revocation log.

    Attributes:
        id: `rev_` and 26 characters.
        scope: what it covers.
        reason: why, in words.
        author, proof: who said so and how that was established.
        at: Unix seconds (float: its fraction orders what happened around it).
        until: Unix seconds when it ends by itself, or None.
        lifts: id of the revocation that this entry ends, or None for a revocation proper.
    """

    id: str
    scope: Scope
    reason: str
    author: str
    proof: str
    at: float
    until: float | None = None
    lifts: str | None = None


# Every action asks for these: looking up a member of an enum costs as much as making the tuple.
_EVERYTHING = (ScopeKind.EVERYTHING, "")
_WORKLOAD, _TRUST_DOMAIN, _OWNER = ScopeKind.WORKLOAD, ScopeKind.TRUST_DOMAIN, ScopeKind.OWNER
_TOKEN, _RUN = ScopeKind.TOKEN, ScopeKind.RUN


def scopes_over(
    workload: str,
    *,
    owner: str | None = None,
    runs: Iterable[str | None] = (),
    token: str = "",
) -> list[tuple[ScopeKind, str]]:
    """Every scope whose revocation ends what a workload does, as `Interruption.covering` takes it.

    Args:
        workload: a checked SPIFFE ID.
        owner: who answers for it, where it is registered.
        runs: the run in which it acts, and those above: what revokes a run revokes what descends
            from it. None is no run.
        token: by which it is known: a `jti`, or the serial number of a certificate.
    """
    scopes = [
        _EVERYTHING,
        (_WORKLOAD, workload),
        (_TRUST_DOMAIN, trust_domain(workload)),
    ]
    if owner is not None:
        scopes.append((_OWNER, owner))
    if token:
        scopes.append((_TOKEN, token))
    scopes += [(_RUN, run) for run in runs if run is not None]
    return scopes


__all__ = ["Revocation", "Scope", "ScopeKind", "scopes_over"]
