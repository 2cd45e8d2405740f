"""Decisions: Permit, Deny or Challenge, with the reasons and what would help.

A decision is a value. It is never a bool and never an exception, and `match` over it is exhaustive.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from midflight.domain.value import Value


class DenyCode(enum.StrEnum):
    """Why the answer is no, for machines. Stored in records: append, never change."""

    POLICY = "policy"
    POLICY_ERROR = "policy_error"
    NO_POLICY = "no_policy"
    UNREGISTERED = "unregistered"
    UNPINNED = "unpinned"
    DRIFTED = "drifted"
    UNKNOWN_TARGET = "unknown_target"
    INVALID_ARGUMENTS = "invalid_arguments"
    RUN_NOT_OPEN = "run_not_open"
    RUN_EXHAUSTED = "run_exhausted"
    REVOKED = "revoked"
    INTERRUPTED = "interrupted"
    APPROVAL_REQUIRED = "approval_required"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    UPSTREAM_BROKEN = "upstream_broken"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"
    NARROWED = "narrowed"
    LIMITED = "limited"
    CANARY = "canary"
    SCOPE = "scope"
    LEASE = "lease"


class Reason(Value):
    """One thing that made the decision: a policy id (or `midflight:<rule>`) and what it says."""

    policy: str
    text: str = ""
    help: str = ""


class Obligation(Value):
    """Something that a permit asks for: `log`, `redact`, `mask`, `limit`, `lease` and its value."""

    name: str
    value: str


class Shadow(Value):
    """What another set of policies would have said to the same question, and did not.

    `decided` is `permit`, `challenge` or `deny`.
    """

    version: str
    decided: str
    reasons: tuple[Reason, ...] = ()


class Permit(Value, tag="permit"):
    """Yes, under these obligations. `version` names the policy set that said so."""

    version: str
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...] = ()
    shadow: Shadow | None = None


class Deny(Value, tag="deny"):
    """No. `help` says what would make it a yes, in words for the agent and its owner."""

    version: str
    code: DenyCode
    reasons: tuple[Reason, ...]
    help: str = ""
    shadow: Shadow | None = None


class Challenge(Value, tag="challenge"):
    """Not without a person. All of `approvers` must agree within `expires_s` seconds.

    `approval` is the id of the request that was filed; empty where none is. Where one is, `asked`
    are those who have not agreed yet, by name, and `expires_at` is when it ends (Unix seconds).
    `obligations` are those of the permit that it becomes with their approval.
    """

    version: str
    reasons: tuple[Reason, ...]
    approvers: tuple[str, ...] = ()
    expires_s: int = 600
    approval: str = ""
    asked: tuple[str, ...] = ()
    expires_at: int = 0
    obligations: tuple[Obligation, ...] = ()
    shadow: Shadow | None = None


Decision: TypeAlias = Permit | Deny | Challenge

__all__ = [
    "Challenge",
    "Decision",
    "Deny",
    "DenyCode",
    "Obligation",
    "Permit",
    "Reason",
    "Shadow",
]
