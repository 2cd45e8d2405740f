"""A plane in memory whose policy asks for approval of what a run that read outside sends."""

from __future__ import annotations

from typing import Any

import msgspec

from midflight.domain.action import Action
from midflight.domain.decision import Challenge, Decision, Permit, Reason
from midflight.domain.identity import Author
from midflight.domain.provenance import NO_FLOW, ArgumentFacts, Concern, FlowFacts, Origin
from midflight.domain.question import Question
from midflight.domain.traits import Effect, Reach, Role, Traits
from midflight.services.guard import Guard, Performed, Refused
from midflight.services.guard_case import Case
from midflight.services.ports.upstream import Flight, Reply, Sink
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FixedEngine,
    ListEndorser,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

OWNER = Author(name="team-one", proof="peer-uid:1001")  # as `MemoryPlane` registers the workload
SEND = Traits(effect=Effect.SEND, reach=Reach.CLOSED, reviewed=True)
LOOK = Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)
BROWSE = Traits(effect=Effect.READ, reach=Reach.OPEN, reviewed=True)
PERMIT = Permit(version="v1", reasons=(Reason(policy="permit"),))

FLOW = FlowFacts(
    arguments=(
        ArgumentFacts(
            path="to",
            role=Role.RECIPIENT,
            origin=Origin.UNTRUSTED,
            field="description",
            record="00000001-1",
        ),
    ),
    origin=Origin.UNTRUSTED,
    concerns=(Concern.KEY_UNTRUSTED,),
)


class Asking:
    """A policy that asks about every send, until it is approved. Tests change what it asks."""

    def __init__(self) -> None:
        self.approvers: tuple[str, ...] = ("owner",)
        self.expires_s = 600
        self.policies: tuple[str, ...] = ("ask",)
        self.hard = False

    def __call__(self, question: Question) -> Decision:
        if question.target.name != "send" or (question.approved and not self.hard):
            return PERMIT
        return Challenge(
            version="v1",
            reasons=tuple(
                Reason(policy=name, text="A person looks first.") for name in self.policies
            ),
            approvers=self.approvers,
            expires_s=self.expires_s,
        )


class AskingPlane(MemoryPlane):
    """See the module. `facts` is what flow says of every action from now on."""

    def __init__(self, *, restarts: MemoryPlane | None = None, **parts: Any) -> None:
        self.asking: Asking = parts.pop("asking", None) or Asking()
        self.facts: FlowFacts = parts.pop("facts", NO_FLOW)
        self.endorser = ListEndorser()
        tools = [
            {"name": name, "inputSchema": {"type": "object"}} for name in ("send", "look", "browse")
        ]
        if restarts is not None:
            parts |= {"store": restarts.store, "clock": restarts.clock}
        super().__init__(
            upstream=parts.pop("upstream", None) or ScriptedUpstream("one", tools),
            engine=FixedEngine(self.asking),
            endorser=self.endorser,
            **parts,
        )
        self.upstream.scripts["browse"] = _page
        # Where the guard takes the facts of flow from: they are put into each case as it is judged.
        decide = Guard._decide

        async def with_flow(case: Case, question: Question) -> Decision:
            self._refresh(case)
            asked = msgspec.structs.replace(question, flow=case.flow)
            return await decide(self.guard, case, asked)

        self.guard._decide = with_flow  # type: ignore[method-assign]
        self.approvals._refresh = self._refresh

    def _refresh(self, case: Case) -> dict[str, int]:
        case.flow = self.facts
        return {}

    async def begin(self) -> str:
        """Start it, pin the tools and open a run; its id."""
        await self.start()
        for name, traits in (("send", SEND), ("look", LOOK), ("browse", BROWSE)):
            await self.pin(name, traits)
        return await self.open()

    async def open(self, **more: Any) -> str:
        workload = self.inventory.current(WORKLOAD)
        assert workload is not None
        return (await self.runs.open_run(workload=workload, intent="x", author=OPERATOR, **more)).id

    async def act(self, run: str, tool: str = "send", /, **arguments: Any) -> Performed | Refused:
        return await self.guard.perform(call(tool, **arguments), caller(run), sink=ListSink())

    async def ask(self, run: str, **arguments: Any) -> str:
        """Try a send that is asked about; the id of the request."""
        return asked(await self.act(run, **arguments))

    async def state(self, approval: str) -> str:
        found = await self.store.get_approval(approval)
        assert found is not None
        return found.state.value


async def _page(action: Action, flight: Flight, sink: Sink) -> Reply:
    return Reply(result={"content": [{"type": "text", "text": "Somebody's words."}]})


def asked(outcome: Performed | Refused) -> str:
    """The request that a refusal names."""
    assert isinstance(outcome, Refused), outcome
    assert isinstance(outcome.decision, Challenge), outcome.decision
    assert outcome.decision.approval
    return outcome.decision.approval


__all__ = ["BROWSE", "FLOW", "LOOK", "OWNER", "SEND", "Asking", "AskingPlane", "asked"]
