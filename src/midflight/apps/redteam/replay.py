"""Replays one case through the guard: every recorded call, in order, whatever became of the last.

That is the worst case: an agent that obeys whatever it reads and is put off by nothing. The
recorded result is what an upstream "answers" to a call that is let through. What is challenged is
answered at the approval desk, and after a yes the agent does the very same again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midflight.apps.compose_replay import ReplayPlane
from midflight.apps.redteam.cases import Case, Step
from midflight.apps.redteam.people import agree, disagree
from midflight.apps.redteam.verdicts import Answer, Judged, sources
from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Challenge, Reason
from midflight.domain.errors import Conflict
from midflight.domain.identity import Caller
from midflight.domain.provenance import NO_FLOW
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
    intent, said = opening(case)
    run, caller = await plane.open_run(intent)
    judged: list[Judged] = []
    for number, step in enumerate(case.steps):
        for turn in case.turns[said : step.turns]:
            await plane.say(run, turn)
        said = max(said, step.turns)
        judged.append(
            await _step(plane, caller, number, step, approver=approver, remember=remember)
        )
    await plane.close_run(run)
    return judged


def opening(case: Case) -> tuple[str | None, int]:
    """What opens the run, and how many of the later turns it holds.

    The prompt does; without one, what was said before the first step. On whose behalf is what the
    opener knows, so it is in the opener's words.
    """
    words, said = [case.intent] if case.intent else [], 0
    if not words and case.steps:
        said = case.steps[0].turns
        words += case.turns[:said]
    if case.principal:
        words.append(f"On behalf of {case.principal}.")
    return "\n\n".join(words) or None, said


async def approve_and_repeat(
    plane: ReplayPlane, approval: str, action: Action, caller: Caller, *, remember: bool
) -> Performed | Refused:
    """People say yes to a request, and the agent does the same again, which uses the yes up.

    Raises:
        Conflict: the request cannot be answered any more.
    """
    await agree(plane.approval_desk, approval, remember=remember)
    return await plane.guard.perform(action, caller, sink=Silent())


async def _step(
    plane: ReplayPlane,
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
    approvals, failed = 0, ""
    if isinstance(done, Refused):
        reasons = done.decision.reasons
        answer = Answer.DENY
        if isinstance(done.decision, Challenge):
            answer = Answer.CHALLENGE
            approvals, failed = await _asked(
                plane, done.decision, action, caller, yes=approver(number), remember=remember
            )
    return Judged(
        step=number + 1,
        upstream=step.upstream,
        tool=step.tool,
        effect=None if target is None else target.traits.effect,
        answer=answer,
        policies=_policies(reasons),
        why=reasons[0].text if reasons else "",
        concerns=flow.concerns,
        sources=sources(flow.arguments),
        approvals=approvals,
        failed=failed,
    )


async def _asked(
    plane: ReplayPlane,
    challenge: Challenge,
    action: Action,
    caller: Caller,
    *,
    yes: bool,
    remember: bool,
) -> tuple[int, str]:
    """How many approvals were asked for, and why a yes did not help, if it did not."""
    if not yes:
        await disagree(plane.approval_desk, challenge.approval)
        return 1, ""
    try:
        again = await approve_and_repeat(
            plane, challenge.approval, action, caller, remember=remember
        )
    except Conflict as error:  # such as: it has expired
        return 1, error.message
    if isinstance(again, Performed):
        return 1, ""
    return 1 + isinstance(again.decision, Challenge), ", ".join(_policies(again.decision.reasons))


def _policies(reasons: Sequence[Reason]) -> tuple[str, ...]:
    """Who said it. An approval's id is chance, and the same files give the same report."""
    return tuple(reason.policy.partition(":apr_")[0] for reason in reasons)


__all__ = ["Silent", "approve_and_repeat", "opening", "replay"]
