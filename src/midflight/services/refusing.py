"""Refusals by Midflight's own rules, and what an error becomes: the words of the guard.

A refusal is a value with a reason that names its rule (`midflight:<rule>`). Above: `guard.py`,
`listing.py`.
"""

from __future__ import annotations

from midflight.domain.action import Action
from midflight.domain.decision import Deny, DenyCode, Reason
from midflight.domain.errors import (
    Conflict,
    Interrupted,
    LeaseUnavailable,
    LedgerUnavailable,
    MidflightError,
    StoreUnavailable,
    UpstreamBroken,
    UpstreamUnavailable,
)
from midflight.domain.identity import Caller
from midflight.domain.narrowing import outside
from midflight.domain.question import Target
from midflight.domain.records import Terminal
from midflight.domain.run import Run
from midflight.domain.scopes import narrowing
from midflight.services.flights import Flight


def deny(code: DenyCode, rule: str, text: str, help_text: str = "") -> Deny:
    """A refusal by one of Midflight's own rules."""
    reason = Reason(policy=f"midflight:{rule}", text=text, help=help_text)
    return Deny(version="", code=code, reasons=(reason,), help=help_text)


def revoked(revocation: str, text: str) -> Deny:
    """The refusal of what a revocation covers."""
    return deny(
        DenyCode.REVOKED,
        f"revoked:{revocation}",
        text,
        "Nothing of this scope passes until the revocation is lifted or ends.",
    )


def not_open(text: str) -> Deny:
    """The refusal of what has no open run."""
    return deny(
        DenyCode.RUN_NOT_OPEN, "run-not-open", text, "Ask who opened the run for a new one."
    )


def exhausted(run: Run) -> Deny:
    """The refusal of what the budget of its run has nothing left for."""
    return deny(
        DenyCode.RUN_EXHAUSTED,
        "run-budget",
        f"The run has used its {run.max_steps} steps.",
        "Open a new run, or one with a larger --max-steps.",
    )


def narrowed(run: Run, action: Action, target: Target) -> Deny | None:
    """The refusal of what was not left to a delegated run, or None if it was."""
    if run.narrowed.leaves_all:
        return None
    why = outside(
        run.narrowed,
        kind=action.kind,
        upstream=action.upstream,
        name=action.name,
        traits=target.traits,
    )
    if why is None:
        return None
    return deny(
        DenyCode.NARROWED,
        "narrowed",
        f"{action.upstream}/{action.name} is not for this run: {why}.",
        "The parent run may do it, or delegate for it.",
    )


def out_of_scope(caller: Caller, action: Action, target: Target) -> Deny | None:
    """The refusal of what the caller's token is not for, or None if it is."""
    if caller.scope is None:
        return None
    why = outside(
        narrowing(caller.scope),
        kind=action.kind,
        upstream=action.upstream,
        name=action.name,
        traits=target.traits,
        whose="this token was issued",
    )
    if why is None:
        return None
    return deny(
        DenyCode.SCOPE,
        "scope",
        f"{action.upstream}/{action.name} is not for this token: {why}.",
        "Ask for a token with a wider scope (mcp, mcp:<upstream>, effect:<effect>).",
    )


def from_error(error: MidflightError) -> Deny:
    """What an error refuses with."""
    match error:
        case Interrupted():
            return deny(
                DenyCode.INTERRUPTED,
                f"interrupted:{error.revocation}".rstrip(":"),
                error.message,
                error.hint,
            )
        case LedgerUnavailable():
            code = DenyCode.LEDGER_UNAVAILABLE
        case StoreUnavailable():
            code = DenyCode.STORE_UNAVAILABLE
        case UpstreamUnavailable():
            code = DenyCode.UPSTREAM_UNAVAILABLE
        case UpstreamBroken():
            code = DenyCode.UPSTREAM_BROKEN
        case LeaseUnavailable():
            code = DenyCode.LEASE
        case Conflict():
            code = DenyCode.POLICY
        case _:
            code = DenyCode.INTERNAL
    return deny(code, code.value.replace("_", "-"), error.message, error.hint)


def terminal(error: MidflightError, flight: Flight) -> Terminal:
    """How an action ended that has an intent and no answer."""
    if flight.interrupted is not None:
        return Terminal.INTERRUPTED
    before = LedgerUnavailable | StoreUnavailable | LeaseUnavailable | Interrupted
    if isinstance(error, before) and not flight.departed:
        return Terminal.DENIED
    return Terminal.FAILED


__all__ = [
    "deny",
    "exhausted",
    "from_error",
    "narrowed",
    "not_open",
    "out_of_scope",
    "revoked",
    "terminal",
]
