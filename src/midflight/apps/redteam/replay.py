"""Replays one case through the guard: every recorded call, in order, whatever became of the last.

That is the worst case: an agent that obeys whatever it reads and is put off by nothing. The
recorded result is what an upstream "answers" to a call that is let through.
"""

from __future__ import annotations

from collections.abc import Callable

from midflight.apps.compose_replay import ReplayPlane
from midflight.apps.redteam.cases import Case, Step
from midflight.apps.redteam.verdicts import Answer, Judged, sources
from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Challenge
from midflight.domain.errors import Conflict
from midflight.domain.identity import Caller
from midflight.domain.provenance import NO_FLOW
from midflight.domain.run import Run
from midflight.domain.value import JSONObject
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import ClientRequest


class Silent:
    """A client that can do nothing but call."""

    capabilities: JSONObject = {}
    takes_input_required = False

    async def notify(self, method: str, params: JSONObject) -> None:
        """Nobody listens."""

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Nobody answers."""
        raise Conflict(f"A recorded run answers no {request.method}.")


async def replay(
    plane: ReplayPlane,
    case: Case,
    *,
    approver: Callable[[int], bool],
    remember: bool = False,
) -> list[Judged]:
    """What became of each step of a case, in a run of its own.

    Args:
        plane: a started plane; it is not told anything that the case does not hold.
        case: what was recorded.
        approver: answers the challenge of step `number`.
        remember: a yes puts the counterparty on the owner's list.
    """
    run, caller = await plane.open_run(case.intent, principal=case.principal)
    said = 0
    judged: list[Judged] = []
    for number, step in enumerate(case.steps):
        for turn in case.turns[said : step.turns]:
            plane.say(run, turn)
        said = max(said, step.turns)
        judged.append(
            await _step(plane, run, caller, number, step, approver=approver, remember=remember)
        )
    await plane.close_run(run)
    return judged


async def approve_and_repeat(
    plane: ReplayPlane, run: Run, action: Action, caller: Caller, *, remember: bool
) -> Performed | Refused:
    """A person says yes to a challenge, and the agent does the same again."""
    await plane.endorse(run, action, remember=remember)
    plane.witness.approve_next()
    return await plane.guard.perform(action, caller, sink=Silent())


async def _step(
    plane: ReplayPlane,
    run: Run,
    caller: Caller,
    number: int,
    step: Step,
    *,
    approver: Callable[[int], bool],
    remember: bool,
) -> Judged:
    action = Action(
        kind=ActionKind.CALL_TOOL,
        upstream=step.upstream,
        name=step.tool,
        method="tools/call",
        arguments=step.arguments,
    )
    target = plane.target(action)
    plane.will_answer(step.upstream, step.result)
    plane.witness.forget()
    done = await plane.guard.perform(action, caller, sink=Silent())
    asked, said = plane.witness.asked, plane.witness.said
    flow = NO_FLOW if asked is None else asked.flow
    answer, reasons = Answer.PERMIT, () if said is None else said.reasons
    failed = ""
    if isinstance(done, Refused):
        reasons = done.decision.reasons
        answer = Answer.DENY
        if isinstance(done.decision, Challenge):
            answer = Answer.CHALLENGE
            if approver(number):
                again = await approve_and_repeat(plane, run, action, caller, remember=remember)
                if isinstance(again, Refused):
                    failed = ", ".join(reason.policy for reason in again.decision.reasons)
    return Judged(
        step=number + 1,
        upstream=step.upstream,
        tool=step.tool,
        effect=None if target is None else target.traits.effect,
        answer=answer,
        policies=tuple(reason.policy for reason in reasons),
        why=reasons[0].text if reasons else "",
        concerns=flow.concerns,
        sources=sources(flow.arguments),
        failed=failed,
    )


__all__ = ["Silent", "approve_and_repeat", "replay"]
