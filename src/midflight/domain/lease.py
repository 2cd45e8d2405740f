"""A lease: an ephemeral credential obtained for a run, and the states it goes through.

A lease is written down before its credential exists (`intent`), so that whatever a crash leaves
behind has a row that names it. The credential itself is held in memory while the run needs it, and
is written nowhere. This file owns the states; `services/broker.py` moves leases through them.
"""

from __future__ import annotations

import enum

from midflight.domain.value import Discreet, JSONObject, Value

NAME_PREFIX = "midflight-"
"""Begins the name of everything the broker makes at a backend; a sweep looks for it."""


class LeaseState(enum.StrEnum):
    """States of a lease. Stored: append, never change."""

    INTENT = "intent"
    """Written down; the backend may or may not have made the credential."""
    ACTIVE = "active"
    """The credential exists and may be used."""
    REVOKING = "revoking"
    """No longer handed out or injected; the backend is still to be told."""
    REVOKED = "revoked"
    """Gone at the backend, or ended there by itself."""


# What may follow what. A test holds the picture in ARCHITECTURE.md against this table.
TRANSITIONS: dict[LeaseState, frozenset[LeaseState]] = {
    LeaseState.INTENT: frozenset({LeaseState.ACTIVE, LeaseState.REVOKING}),
    LeaseState.ACTIVE: frozenset({LeaseState.REVOKING}),
    LeaseState.REVOKING: frozenset({LeaseState.REVOKED}),
    LeaseState.REVOKED: frozenset(),
}


class Revocability(enum.StrEnum):
    """What ends a credential before its time, as far as its backend can."""

    IMMEDIATE = "immediate"
    """Told, it is refused at once, and what was opened with it is closed."""
    AT_EXPIRY = "at_expiry"
    """Cannot be taken back: it is short-lived, and only Midflight holds it."""
    NEVER = "never"
    """A static secret: it lives until somebody changes it. Posture counts it as debt."""


class Placement(enum.StrEnum):
    """How a credential is put into what goes upstream."""

    HEADER = "header"
    QUERY = "query"
    DPOP = "dpop"
    """`Authorization: DPoP` and a proof per request (RFC 9449)."""
    SIGV4 = "sigv4"
    """The request is signed as AWS wants it."""
    MTLS = "mtls"
    """A client certificate."""
    ENV = "env"
    """Variables of the run's own child, at spawn; a new credential restarts the child."""
    ARGUMENT = "argument"
    """In place of `{{lease:name}}` in arguments whose reviewed role is `credential`."""


class Injection(Value):
    """One way a credential is placed.

    Attributes:
        placement: where.
        name: of the header, query parameter or variable; empty where the placement needs none.
        template: text with `{field}` of the secret, such as `Bearer {token}`.
    """

    placement: Placement
    name: str = ""
    template: str = "{token}"


DECOY = "decoy"
"""The kind of backend that lends nothing: a planted credential, and whoever leases it is found."""


class Credential(Value):
    """A source of leases, as an operator configured it. Holds references to secrets, never one.

    Attributes:
        name: lower-case letters, digits and dashes.
        backend: kind of backend: `postgres`, `openbao`, `aws`, `oauth`, `github_app`, `ssh`,
            `sealed`, `decoy`.
        upstreams: the upstreams it is for; for no other it is injected or replaced.
        injections: how it is placed.
        settings: of the backend, plain JSON; secrets in it are references (`env:NAME`,
            `file:PATH`, `sealed:ID`).
        scopes: the most that a lease of it may be granted; a lease narrows.
        ttl_s, max_ttl_s: life of a lease in seconds, and how far renewing may take it.
        added_by, proof, added_at: who configured it, how that was proved, Unix seconds.
    """

    name: str
    backend: str
    upstreams: frozenset[str]
    injections: tuple[Injection, ...]
    settings: JSONObject = {}
    scopes: tuple[str, ...] = ()
    ttl_s: int = 300
    max_ttl_s: int = 3_600
    added_by: str = ""
    proof: str = ""
    added_at: int = 0


class Lease(Value):
    """One lease as the store has it.

    Attributes:
        id: `lease_` and 26 characters.
        credential, backend: name of its source, and kind of backend.
        external: its name at the backend, derived from the id, so that it is known before and
            after a crash.
        handle: what the backend needs to revoke it (a lease id, a token's accessor): no secret.
        run, workload: whom it is for; revoking either revokes it.
        parent: the lease or run it hangs under in the tree, or empty.
        scopes: what it was narrowed to.
        state: see `LeaseState`.
        created_at, expires_at, max_expires_at: Unix seconds, by the store's clock.
        attempts, next_try_at: how often revoking was tried, and when it is tried next.
        error: why the last try failed, safe for strangers.
        stuck: revoking failed too often: somebody must look. It stays until it is gone.
    """

    id: str
    credential: str
    backend: str
    external: str
    run: str
    workload: str
    state: LeaseState
    created_at: int
    expires_at: int
    max_expires_at: int
    handle: str = ""
    parent: str = ""
    scopes: tuple[str, ...] = ()
    attempts: int = 0
    next_try_at: int = 0
    error: str = ""
    stuck: bool = False


class Secret(Discreet):
    """What a backend handed out: fields such as `token`, `username`, `password`. Never stored.

    `expires_at` is when the backend itself ends it (Unix seconds), or None if it never does.
    """

    shown = ("expires_at",)

    fields: dict[str, str]
    expires_at: int | None = None


def may_follow(before: LeaseState, after: LeaseState) -> bool:
    """Whether a lease in state `before` may go to `after`."""
    return after in TRANSITIONS[before]


def external_name(lease_id: str) -> str:
    """The name of a lease at its backend: letters, digits and dashes, at most 63 of them."""
    return NAME_PREFIX + lease_id.removeprefix("lease_")


__all__ = [
    "NAME_PREFIX",
    "TRANSITIONS",
    "Credential",
    "Injection",
    "Lease",
    "LeaseState",
    "Placement",
    "Revocability",
    "Secret",
    "external_name",
    "may_follow",
]
