"""A plane with three workloads and three tools, and runs that delegate to each other."""

from __future__ import annotations

from typing import Any

from midflight.domain.decision import Challenge, Decision, DenyCode, Permit, Reason
from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.narrowing import Narrowing
from midflight.domain.question import Question
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.run import RunState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed, Refused
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FixedEngine,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

OTHER = "spiffe://test.midflight.internal/agents/two"
THIRD = "spiffe://test.midflight.internal/agents/three"
TRAITS = {
    "look": Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
    "browse": Traits(effect=Effect.READ, reach=Reach.OPEN, reviewed=True),
    "send": Traits(effect=Effect.SEND, reach=Reach.CLOSED, reviewed=True),
}


def careful(question: Question) -> Decision:
    """What the standard pack says of effects in a run that has read from outside."""
    if question.run.labels.untrusted and question.target.traits.effect is not Effect.READ:
        return Challenge(version="fixed", reasons=(Reason(policy="untrusted"),))
    return Permit(version="fixed", reasons=(Reason(policy="p"),))


def only(*entries: str) -> Narrowing:
    return Narrowing(only=frozenset(entries))


class Family(MemoryPlane):
    """See the module. While `is_deaf`, its runs hear of no revocation."""

    is_deaf = False

    def _revoked(self, revocation: Revocation) -> None:
        if not self.is_deaf:
            super()._revoked(revocation)

    async def open(self, *, workload: str = WORKLOAD, **more: Any) -> str:
        found = await self.inventory.get(workload)
        intent = "Answer the tickets of today."
        run = await self.runs.open_run(workload=found, intent=intent, author=OPERATOR, **more)
        return run.id

    async def delegate(
        self, parent: str, *, workload: str = OTHER, text: str = "Read it.", **more: Any
    ) -> str:
        child = await self.delegation.delegate(
            parent, workload=workload, text=text, author=OPERATOR, **more
        )
        return child.id

    async def act(self, run: str, tool: str = "look", **arguments: Any) -> Performed | Refused:
        stored = await self.store.get_run(run)
        assert stored is not None
        who = caller(run, workload=stored.run.workload)
        return await self.guard.perform(call(tool, **arguments), who, sink=ListSink())

    async def state(self, run: str) -> RunState:
        stored = await self.store.get_run(run)
        assert stored is not None
        return stored.state

    async def labels(self, run: str) -> Labels:
        stored = await self.store.get_run(run)
        assert stored is not None
        return stored.labels

    async def revoke(self, kind: ScopeKind, name: str) -> None:
        """Revoke, without giving what is done beside it a turn."""
        scope = Scope(kind=kind, id=name)
        receipt = await self.interruption.revoke(scope, reason="stop", author=OPERATOR)
        assert receipt.durable

    async def again(self, **parts: Any) -> Family:
        """The plane after a crash: what was in memory is gone."""
        after = Family(
            upstream=self.upstream,
            **{
                "store": self.store,
                "clock": self.clock,
                "engine": self.engine,
            }
            | parts,
        )
        await self.abandon()
        await after.start(register=False)
        return after

    async def abandon(self) -> None:
        """Stop what still runs; the store stays as it is."""
        await self.catalogue.close()
        await self.fabric.close()
        await self.ledger.close()


async def family(tools: list[dict[str, Any]] | None = None, **parts: Any) -> Family:
    tools = tools or [{"name": name, "inputSchema": {"type": "object"}} for name in TRAITS]
    plane = Family(
        upstream=ScriptedUpstream("one", tools), **{"engine": FixedEngine(careful)} | parts
    )
    await plane.start()
    for name, traits in TRAITS.items():
        await plane.pin(name, traits)
    for workload in (OTHER, THIRD):
        await plane.inventory.register(
            Workload(
                id=workload,
                owner="team-two",
                escalation="oncall",
                review_by=int(plane.clock.now()) + 86_400,
            ),
            OPERATOR,
        )
    return plane


def code(outcome: Performed | Refused) -> DenyCode:
    assert isinstance(outcome, Refused), outcome
    if isinstance(outcome.decision, Challenge):
        return DenyCode.APPROVAL_REQUIRED
    return outcome.decision.code


__all__ = ["OTHER", "THIRD", "TRAITS", "Family", "careful", "code", "family", "only"]
