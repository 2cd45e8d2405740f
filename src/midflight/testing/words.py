"""Actions, callers and decisions in few words."""

from __future__ import annotations

from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Deny, DenyCode, Reason
from midflight.domain.identity import Author, Caller

WORKLOAD = "spiffe://test.midflight.internal/agents/one"
OPERATOR = Author(name="olivia", proof="peer-uid:1000")


def caller(run: str | None = None, *, workload: str = WORKLOAD, token: str = "tok_1") -> Caller:  # noqa: S107 -- an id
    """A caller as `Identity` would make it."""
    return Caller(workload=workload, run=run, token=token, proof="bearer", expires_at=4_000_000_000)


def call(tool: str, *, upstream: str = "one", **arguments: object) -> Action:
    """A tool call."""
    return Action(
        kind=ActionKind.CALL_TOOL,
        upstream=upstream,
        name=tool,
        method="tools/call",
        arguments=dict(arguments),
    )


def refuse(text: str = "no") -> Deny:
    """A refusal of policy."""
    return Deny(version="fixed", code=DenyCode.POLICY, reasons=(Reason(policy="p", text=text),))


__all__ = ["OPERATOR", "WORKLOAD", "call", "caller", "refuse"]
