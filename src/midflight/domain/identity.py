"""Who acts: a registered workload, and who speaks for Midflight: an author."""

from __future__ import annotations

import enum
import re

from midflight.domain.value import Value

# SPIFFE-ID §2: scheme, trust domain of lower-case letters, digits, dots, dashes and underscores,
# path segments without dot segments; at most 2,048 bytes.
_SPIFFE_ID = re.compile(
    r"spiffe://(?P<domain>[a-z0-9._-]{1,255})(?P<path>(?:/(?!\.{1,2}(?:/|\Z))[a-zA-Z0-9._-]+)+)\Z"
)
MAX_SPIFFE_ID = 2048


class Tier(enum.StrEnum):
    """How dangerous a workload is, from assessment."""

    BASELINE = "baseline"
    ELEVATED = "elevated"
    MANDATORY = "mandatory"


class Mode(enum.StrEnum):
    """How a workload is enforced, set by an operator."""

    ENFORCE = "enforce"
    LOCKDOWN = "lockdown"
    OBSERVE = "observe"


class Workload(Value):
    """A registered non-human identity: an agent, a service, a pipeline.

    Attributes:
        id: its SPIFFE ID.
        owner: who answers for it.
        escalation: who is told when the owner does not answer.
        review_by: Unix seconds after which the registration counts as missing.
        team: the group it belongs to, for policies.
        kind: `agent`, `service` or `pipeline`.
        uid: the local user it runs as, or None. Such peers are refused on the control socket.
        disabled: registered, and denied.
        waiver_by, waiver_until: who signed that one of tier mandatory may be only observed, and
            the Unix second at which that ends.
    """

    id: str
    owner: str
    escalation: str
    review_by: int
    team: str = "default"
    kind: str = "agent"
    tier: Tier = Tier.BASELINE
    mode: Mode = Mode.ENFORCE
    uid: int | None = None
    disabled: bool = False
    registered_at: int = 0
    waiver_by: str | None = None
    waiver_until: int | None = None


class Author(Value):
    """Who said a changing thing: a person, a detector, a signal.

    `proof` says how the name was established (`peer-uid:1000`, `api-token`, `startup`); a name
    is never taken from a body.
    """

    name: str
    proof: str


class Caller(Value):
    """Who is behind one request, as proved: made by `services/identity.py`, never from a claim.

    Attributes:
        workload: SPIFFE ID that the proof speaks for.
        run: run id of the token's `txn`, or None for an implicit run.
        token: the proof's id (`jti`), which can be revoked.
        proof: how it was proved: `bearer`, `dpop`, `mtls`, `jwt-svid`, `peer`.
        expires_at: Unix seconds when the proof ends.
        peer: network address or process of the caller, for records.
        process: identity of the calling process where attestation gives one, else empty.
        scope: what the proof is narrowed to (`mcp`, `mcp:git`, `mcp:git/git_log`), or None where
            it is not.
        actors: who acts for whom, the one that acts first (RFC 8693 §4.1); empty for itself.
    """

    workload: str
    run: str | None
    token: str
    proof: str
    expires_at: int
    peer: str = ""
    process: str = ""
    scope: tuple[str, ...] | None = None
    actors: tuple[str, ...] = ()

    @property
    def acting(self) -> tuple[str, ...]:
        """The workloads among `actors`."""
        if not self.actors:
            return ()
        return tuple(actor for actor in self.actors if _SPIFFE_ID.match(actor))


def spiffe_id(text: str) -> str:
    """Check a SPIFFE ID with a path and return it.

    Raises:
        ValueError: not a SPIFFE ID of a workload (SPIFFE-ID §2).
    """
    if len(text) > MAX_SPIFFE_ID or _SPIFFE_ID.match(text) is None:
        raise ValueError(f"{text!r} is not a SPIFFE ID such as spiffe://example.org/agents/triage")
    return text


def trust_domain(workload_id: str) -> str:
    """The trust domain of a checked SPIFFE ID."""
    return workload_id.split("/", 3)[2]


MAX_ACTORS = 4
"""How long a chain of actors may be, of whoever acts for another (`Caller.actors`)."""

OWN_PATH = "/midflight/"
"""Paths of our own parts in the trust domain; no workload is registered under it."""


def own_id(trust_domain_name: str, part: str) -> str:
    """The SPIFFE ID of a part of Midflight itself."""
    return f"spiffe://{trust_domain_name}{OWN_PATH}{part}"


__all__ = [
    "MAX_ACTORS",
    "OWN_PATH",
    "Author",
    "Caller",
    "Mode",
    "Tier",
    "Workload",
    "own_id",
    "spiffe_id",
    "trust_domain",
]
