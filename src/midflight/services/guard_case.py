"""One action on its way: what the guard has found out about it so far. Above: `guard.py`."""

from __future__ import annotations

from collections.abc import Iterator

from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Shadow
from midflight.domain.event import Event
from midflight.domain.identity import Caller, Workload
from midflight.domain.obligation import Owed
from midflight.domain.provenance import NO_FLOW, FlowFacts
from midflight.domain.question import RunFacts, Source, Target
from midflight.domain.records import Facts, Sealed
from midflight.domain.revocation import ScopeKind, scopes_over
from midflight.domain.tool import PinState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.domain.value import JSON
from midflight.services.flights import Flight
from midflight.services.flow import RunFlow
from midflight.services.limits import Use
from midflight.services.live_run import LiveRun
from midflight.services.monitors import Reservation
from midflight.services.ports.recorder import Ticket

_UPSTREAM, _TOOL = ScopeKind.UPSTREAM, ScopeKind.TOOL


class Case:
    """What the guard knows of one action on its way. Mutable, lives for one `perform`."""

    __slots__ = (
        "action",
        "approval",
        "arguments",
        "asked_at",
        "began",
        "beside",
        "beyond",
        "caller",
        "digest",
        "event",
        "flight",
        "flow",
        "flow_run",
        "intent",
        "leases",
        "live",
        "obliged",
        "owed",
        "placeholders",
        "reservation",
        "result",
        "run_facts",
        "shadow",
        "target",
        "undone",
        "unnamed",
        "use",
        "workload",
    )

    def __init__(self, action: Action, caller: Caller, began: float) -> None:
        self.action = action
        self.caller = caller
        self.began = began
        self.workload: Workload | None = None
        self.beyond: tuple[tuple[ScopeKind, str], ...] = ()
        """What revokes those who act for the caller, and those whose runs its own descends from."""
        self.live: LiveRun | None = None
        self.target: Target | None = None
        self.digest = ""
        self.event: Event | None = None
        """What detectors saw when it was about to leave."""
        self.flight: Flight | None = None
        """It itself, once it is in flight."""
        self.flow: FlowFacts = NO_FLOW
        self.flow_run: RunFlow | None = None
        self.arguments: Sealed | None = None
        self.intent = ""
        self.approval = ""
        self.asked_at = 0
        self.run_facts: RunFacts | None = None
        self.reservation: Reservation | None = None
        self.owed: Ticket | None = None
        """The record of a refusal that monitors count: it is durable before the answer."""
        self.beside: JSON = None
        """What the client says of itself, which an upstream gets to see."""
        self.obliged: Owed | None = None
        """What the permit asks for, once it is taken on."""
        self.use: Use | None = None
        self.result: Sealed | None = None
        self.shadow: Shadow | None = None
        self.leases: tuple[str, ...] = ()
        """Ids of the leases whose credentials go with it."""
        self.placeholders: frozenset[str] = frozenset()
        """Credentials that its arguments name, where they may."""
        self.undone = False
        """The upstream says that it did nothing."""
        self.unnamed = False
        """Its name is the caller's, and holds what must be kept nowhere."""

    def scopes(self) -> Iterator[tuple[ScopeKind, str]]:
        """Every scope whose revocation covers it. Made as they are asked for."""
        action, caller = self.action, self.caller
        yield from scopes_over(
            caller.workload,
            owner=None if self.workload is None else self.workload.owner,
            runs=(caller.run,) if self.live is None else self.live.run.lineage,
            token=caller.token,
        )
        yield _UPSTREAM, action.upstream
        yield _TOOL, f"{action.upstream}/{action.name}"
        yield from self.beyond

    @property
    def name(self) -> str:
        """What it is called where it is recorded."""
        return self.action.method if self.unnamed else self.action.name

    def source(self) -> Source:
        """Where it came in."""
        return Source(point="mcp", proof=self.caller.proof, peer=self.caller.peer)

    @property
    def advances(self) -> bool:
        """Whether some monitor counts it, so that its intent must not be lost."""
        return self.reservation is not None and self.reservation.advances

    def facts(self, now: float) -> Facts:
        """What a record keeps of it."""
        target = self.target
        return Facts(
            kind=str(self.action.kind),
            method=self.action.method,
            upstream=self.action.upstream,
            name=self.name,
            pin=target.pin if target is not None else None,
            pin_state=target.pin_state if target is not None else PinState.UNPINNED,
            traits=target.traits if target is not None else Traits(),
            workload=self.workload,
            run=self.run_facts
            or (self.live.facts(now=int(now)) if self.live is not None else None),
            source=self.source(),
            at=self.asked_at or int(now),
            approved=bool(self.approval),
            flow=None if self.flow == NO_FLOW else self.flow,
        )


def is_closed_read(action: Action, target: Target) -> bool:
    """Whether the action only reads from a closed world.

    The one case that need not wait for the disk: a fetch from the open world is a send.
    """
    traits = target.traits
    return (
        traits.reviewed
        and traits.effect is Effect.READ
        and traits.reach is Reach.CLOSED
        and action.kind
        in (
            ActionKind.CALL_TOOL,
            ActionKind.READ_RESOURCE,
            ActionKind.GET_PROMPT,
            ActionKind.COMPLETE,
            ActionKind.LIST,
        )
    )


__all__ = ["Case", "is_closed_read"]
