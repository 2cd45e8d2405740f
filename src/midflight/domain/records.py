"""Records: what the ledger keeps. Tagged and append-only: a new meaning is a new tag.

An action ends in exactly one terminal record, an `Outcome`. A permitted action also has an
`Intent`, durable before the action left unless it is a closed-world read. Arguments are sealed
under the run's erasable key; the chain covers the sealed bytes, so erasing the key erases the
arguments and leaves the chain whole.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from midflight.domain.decision import DenyCode, Obligation, Reason, Shadow
from midflight.domain.finding import Finding
from midflight.domain.identity import Workload
from midflight.domain.monitor import Advanced
from midflight.domain.narrowing import Narrowing
from midflight.domain.provenance import FlowFacts
from midflight.domain.question import RunFacts, Source
from midflight.domain.response import Response
from midflight.domain.revocation import Scope
from midflight.domain.tool import PinState
from midflight.domain.traits import Traits
from midflight.domain.value import JSONObject, Value


class Terminal(enum.StrEnum):
    """How an action ended. Stored: append, never change."""

    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"
    EXPIRED = "expired"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Sealed(Value):
    """Bytes under an erasable key: AES-256-GCM with the key's id as associated data."""

    key: str
    nonce: bytes
    box: bytes


class Facts(Value):
    """The recorded facts of a decision: enough to derive it again, arguments apart.

    `workload` and `source` are whole, so that a later change of the registry cannot change what
    a record says. `at` is the Unix second the question was asked with: policies may look at time,
    and the record itself is later.
    """

    kind: str
    method: str
    upstream: str
    name: str
    pin: str | None
    pin_state: PinState
    traits: Traits
    workload: Workload | None
    run: RunFacts | None
    source: Source
    at: int = 0
    approved: bool = False
    flow: FlowFacts | None = None


class Intent(Value, tag="intent"):
    """An action was permitted and is about to leave.

    `decided` is the policy version; `advanced` what it added to monitors; `shadow` what the
    standard set would have said, for a workload that is only observed.
    """

    at: float
    digest: str
    facts: Facts
    arguments: Sealed | None
    decided: str
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...] = ()
    approval: str | None = None
    advanced: Advanced | None = None
    shadow: Shadow | None = None


class Outcome(Value, tag="outcome"):
    """How an action ended: exactly one for every decoded action.

    Attributes:
        intent: record id of its intent; None when nothing was permitted.
        state: how it ended.
        facts, digest, arguments, decided, reasons: what was refused, when there is no intent.
        bytes_out, bytes_in: what had left towards the upstream, and what came back.
        took_us: microseconds from decoding to this record.
        detail: what the upstream said or what failed, safe for strangers.
        revocation: id of the revocation that cut it.
        advanced: what the attempt added to monitors, when there is no intent.
        result: what was delivered, where policy asked for it (`@log("full")`).
        shadow: as in `Intent`, when there is none.
        leases: ids of the leases whose credentials left with it.
    """

    at: float
    state: Terminal
    intent: str | None = None
    code: DenyCode | None = None
    digest: str = ""
    facts: Facts | None = None
    arguments: Sealed | None = None
    decided: str = ""
    reasons: tuple[Reason, ...] = ()
    bytes_out: int = 0
    bytes_in: int = 0
    took_us: int = 0
    detail: str = ""
    revocation: str | None = None
    advanced: Advanced | None = None
    result: Sealed | None = None
    shadow: Shadow | None = None
    leases: tuple[str, ...] = ()


class RunOpened(Value, tag="run_opened"):
    """A run was minted. Its intent is the principal's words, sealed like arguments.

    For a child run: the run that delegated, how deep it is, what is left to it, and the words that
    it was given, sealed too.
    """

    at: float
    run: str
    workload: str
    author: str
    proof: str
    implicit: bool
    intent: Sealed | None
    expires_at: int
    max_steps: int
    parent: str | None = None
    depth: int = 0
    narrowed: Narrowing | None = None
    delegated: Sealed | None = None


class IntentAdded(Value, tag="intent_added"):
    """Whoever opened a run has said more: the principal's words, sealed like arguments."""

    at: float
    run: str
    author: str
    proof: str
    intent: Sealed


class RunEnded(Value, tag="run_ended"):
    """A run left `open`."""

    at: float
    run: str
    state: str
    author: str
    proof: str
    reason: str = ""


class LabelRaised(Value, tag="label_raised"):
    """A run's labels grew, because of what record `source` brought."""

    at: float
    run: str
    label: str
    source: str


class Revoked(Value, tag="revoked"):
    """A revocation, or the lifting of one, took effect here."""

    at: float
    revocation: str
    scope: Scope
    reason: str
    author: str
    proof: str
    until: float | None = None
    lifts: str | None = None


class Impact(Value, tag="impact"):
    """What had already happened in the scope of a revocation when it took effect.

    Attributes:
        revocation: its id; empty for one that was only looked at (`--dry-run`).
        scope: what it covers.
        cut: record ids of the actions in flight that were cut.
        completed: actions of the scope that had completed since this process began.
        bytes_out: bytes of the messages that had left for each upstream, in actions of the scope
            that completed, failed or were cut since this process began. A message is its encoded
            JSON-RPC body, without the head of a request, a line's end and what TLS adds.
        unknown: of those that were cut, the ones whose effect nobody knows: bytes had left.
        took_us: microseconds until the last of them was cut.
        runs: runs in the scope that are open here or have acted since this process began.
        leases: leases in the scope that were usable, which end with it.
        labels: what those runs had seen, joined: `untrusted secret customers`; empty for no run.
        kinds: how many of each kind were cut, streams and tasks at an upstream included, which are
            no actions.
    """

    at: float
    revocation: str
    scope: Scope
    cut: tuple[str, ...]
    completed: int
    bytes_out: dict[str, int]
    unknown: tuple[str, ...]
    took_us: int
    runs: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    labels: str = ""
    kinds: dict[str, int] = {}


class Changed(Value, tag="changed"):
    """An operator changed something: registered, pinned, activated, erased.

    `what` names the verb and object (`tool.pin git/git_commit`), `details` is safe JSON.
    """

    at: float
    what: str
    author: str
    proof: str
    details: JSONObject = {}


class Observed(Value, tag="observed"):
    """Midflight noticed something about a part: drift, a broken upstream, refused callers."""

    at: float
    what: str
    subject: str
    details: JSONObject = {}


class Found(Value, tag="found"):
    """Something was noticed about a workload or a run. What follows is a record of its own."""

    at: float
    finding: Finding


class Responded(Value, tag="responded"):
    """What followed from a finding, or what an operator set or lifted by hand."""

    at: float
    response: Response


class ApprovalAsked(Value, tag="approval_asked"):
    """People are asked about an action: request `approval` is about `digest`, until `expires_at`.

    `instead` is the request that it takes the place of, because the facts became worse.
    """

    at: float
    approval: str
    digest: str
    run: str
    workload: str
    owner: str
    upstream: str
    name: str
    policies: tuple[str, ...]
    approvers: tuple[str, ...]
    expires_at: int
    instead: str = ""


class ApprovalAnswered(Value, tag="approval_answered"):
    """Somebody answered a request, before that took effect.

    `stands_for` names the approvers he may answer for; `endorses` the arguments whose values a yes
    endorses, by path; `remember_s` for how long the owner's list keeps them; `reason` is what he
    said to it.
    """

    at: float
    approval: str
    digest: str
    run: str
    yes: bool
    author: str
    proof: str
    stands_for: tuple[str, ...]
    endorses: tuple[str, ...] = ()
    remember_s: int = 0
    reason: str = ""


class ApprovalEnded(Value, tag="approval_ended"):
    """A request ended without being used: `state` is `expired` or `void`; `reason` says why."""

    at: float
    approval: str
    digest: str
    run: str
    state: str
    reason: str = ""


class Issued(Value, tag="issued"):
    """An identity document or token was handed out: what proves who somebody is, never its text.

    Attributes:
        what: `x509-svid`, `jwt-svid`, `wit-svid`, `access-token`, `transaction-token`; `id-jag` for
            an access token that an identity assertion was given for.
        id: its serial number or `jti`, by which it can be revoked.
        subject: SPIFFE ID it speaks for.
        run: the run it is bound to, or None.
        expires_at: Unix seconds.
        proof: what it was issued on (`unix:PID@START`, `jwt-svid`, `private_key_jwt` …).
        details: safe JSON: audience, scope, thumbprint, actors, entry.
    """

    at: float
    what: str
    id: str
    subject: str
    run: str | None
    expires_at: int
    proof: str
    details: JSONObject = {}


class LeaseMoved(Value, tag="lease"):
    """A lease went to another state, or is stuck in one. Never holds the credential."""

    at: float
    lease: str
    credential: str
    backend: str
    external: str
    run: str
    workload: str
    state: str
    expires_at: int
    author: str = ""
    proof: str = ""
    reason: str = ""
    stuck: bool = False


class Notified(Value, tag="notified"):
    """Somebody was told that a question is open, or could not be.

    `message` is the id that the receiver got; `channels` took it, and are none if `error` says why.
    """

    at: float
    notice: str
    kind: str
    subject: str
    run: str
    contact: str
    step: int
    message: str
    channels: tuple[str, ...] = ()
    error: str = ""


class Acknowledged(Value, tag="acknowledged"):
    """Somebody has a question: nobody else is told."""

    at: float
    notice: str
    kind: str
    subject: str
    run: str
    author: str
    proof: str


class Started(Value, tag="started"):
    """A writer began. `version` is Midflight's, `policy` the active policy version."""

    at: float
    version: str
    policy: str


Record: TypeAlias = (
    Intent
    | Outcome
    | RunOpened
    | IntentAdded
    | RunEnded
    | LabelRaised
    | Revoked
    | Impact
    | Changed
    | Observed
    | Found
    | Notified
    | Acknowledged
    | Responded
    | Started
    | ApprovalAsked
    | ApprovalAnswered
    | ApprovalEnded
    | Issued
    | LeaseMoved
)

__all__ = [
    "Acknowledged",
    "ApprovalAnswered",
    "ApprovalAsked",
    "ApprovalEnded",
    "Changed",
    "Facts",
    "Found",
    "Impact",
    "Intent",
    "IntentAdded",
    "Issued",
    "LabelRaised",
    "LeaseMoved",
    "Notified",
    "Observed",
    "Outcome",
    "Record",
    "Responded",
    "Revoked",
    "RunEnded",
    "RunOpened",
    "Sealed",
    "Started",
    "Terminal",
]
