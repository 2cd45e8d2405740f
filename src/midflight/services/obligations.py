"""Obligations kept: what a permit asks for besides letting the action pass.

The guard calls it in the life of an action: `before` a person is asked, `take` when policy has
permitted (limits count from that turn of the loop on, and masked arguments are sealed anew),
`early` and `deliver` for what goes to the caller, `keep` for what `@log("full")` records, `land` at
the end.

Below: `domain/obligation.py`, `domain/redaction.py`, `limits.py`. Above: `guard.py`.
"""

from __future__ import annotations

import math
from typing import Any, cast

from midflight.domain.canonical import canonical
from midflight.domain.decision import Challenge, Decision, Deny, DenyCode, Permit
from midflight.domain.flow.yields import Reviewed
from midflight.domain.obligation import NOTHING, Owed, Rate, masked, owed
from midflight.domain.paths import JSONPath, Place
from midflight.domain.records import Sealed
from midflight.domain.redaction import redact_part, redact_result
from midflight.domain.run import RunState
from midflight.domain.traits import Traits
from midflight.domain.value import JSONObject
from midflight.services.guard_case import Case
from midflight.services.limits import Key, Limits, Use, key_of
from midflight.services.ports.clock import Clock
from midflight.services.ports.upstream import Reply
from midflight.services.refusing import deny
from midflight.services.sealing import Sealer

MAX_KEPT = 65_536
"""Bytes of a result that are recorded under `@log("full")`; of a longer one the first part is."""
MAX_REVIEWED = 10_000


class Obligations:
    """See the module. One for each plane; one event loop."""

    def __init__(self, *, sealer: Sealer, clock: Clock) -> None:
        """`limits` are to be started before use."""
        self.limits = Limits(clock)
        self._sealer = sealer
        self._reviewed: dict[Traits, Reviewed] = {}
        self._hidden: dict[tuple[str, str], dict[tuple[Traits, Owed], None]] = {}

    # For the guard

    def take(self, case: Case, decision: Decision) -> Decision:
        """Take on what a permit asks for, in the turn in which it was given; or why it cannot be.

        No I/O. What is taken of a limit is given back by nothing but time.
        """
        return self._take(case, decision) if isinstance(decision, Permit) else decision

    def before(self, case: Case, challenge: Challenge) -> Deny | None:
        """Before a person is asked: a refusal if an approval would be in vain.

        What the permit would ask to be masked is masked in the question, too.
        """
        asked = owed(challenge.obligations)
        self._mask(case, asked)
        refused = _unfit(case, asked)
        if refused is None and asked.rates:
            wait = self.limits.wait(_key(case), asked.rates)
            if wait is not None:
                refused = _limited(case, *wait)
        return refused

    def _take(self, case: Case, permit: Permit) -> Permit | Deny:
        asked = owed(permit.obligations)
        self._mask(case, asked)  # whatever comes of it: a refusal has a record, too
        refused = _unfit(case, asked)
        if refused is None and asked.rates:
            taken = self.limits.take(_key(case), asked.rates)
            if isinstance(taken, Use):
                case.use = taken
            else:
                refused = _limited(case, *taken)
        if refused is not None:
            return refused
        case.obliged = asked
        live, target = case.live, case.target
        if asked.hides and target is not None and live is not None and live.state is RunState.OPEN:
            place = (live.run.id, case.action.upstream)
            self._hidden.setdefault(place, {})[target.traits, asked] = None
        return permit

    def _mask(self, case: Case, asked: Owed) -> None:
        """Seal the arguments anew with masked values. The digest still covers the real ones."""
        if not asked.arguments or case.live is None:
            return
        action = case.action
        kept = [mask_arguments(action.arguments, asked.argument_paths()), action.params]
        case.arguments = self._sealer.seal(case.live.run.id, kept)

    def land(self, case: Case) -> None:
        """The action has ended: from now on its use of a limit ends with the window."""
        use = case.use
        if use is not None:
            use.flying = False

    def early(self, case: Case, said: JSONObject) -> JSONObject:
        """What may be delivered of something that an upstream says before its result."""
        asked = case.obliged or NOTHING
        return redact_part(said, self._traits(case), asked) if asked.hides else said

    def notice(self, run: str, upstream: str, said: JSONObject) -> JSONObject:
        """What may be delivered of what an upstream says beside a run's actions: a line of a log.

        Which action it is about nobody says, so it is looked through as all that the run has had
        from there must be.
        """
        for traits, asked in self._hidden.get((run, upstream), ()):
            said = redact_part(said, self._look(traits), asked)
        return said

    def run_ended(self, run: str) -> None:
        """Nothing is delivered to it any more."""
        for place in [place for place in self._hidden if place[0] == run]:
            del self._hidden[place]

    def deliver(self, case: Case, reply: Reply) -> Reply:
        """What may be delivered of an answer."""
        asked = case.obliged or NOTHING
        if not asked.hides:
            return reply
        reviewed = self._traits(case)
        result, error = reply.result, reply.error
        if result is not None and _is_task(result):
            result = {
                "content": [{"type": "text", "text": _TASK}],
                "isError": True,
            }
        elif result is not None:
            result = redact_result(result, reviewed, asked)
        if error is not None:
            error = redact_part(error, reviewed, asked)
        return Reply(result=result, error=error, bytes_in=reply.bytes_in)

    def keep(self, case: Case, reply: Reply) -> Sealed | None:
        """What `@log("full")` records of what is about to be delivered, sealed.

        Raises:
            Conflict: the run's key is erased.
        """
        if case.obliged is None or not case.obliged.full or case.live is None:
            return None
        said = {"error": reply.error} if reply.error is not None else reply.result
        raw = canonical(said)
        if len(raw) > MAX_KEPT:
            start = raw[:MAX_KEPT].decode("utf-8", "ignore")
            said = {"truncated": True, "bytes": len(raw), "start": start}
        return self._sealer.seal(case.live.run.id, said)

    # Inside

    def _traits(self, case: Case) -> Reviewed:
        assert case.target is not None
        return self._look(case.target.traits)

    def _look(self, traits: Traits) -> Reviewed:
        found = self._reviewed.get(traits)
        if found is None:
            if len(self._reviewed) >= MAX_REVIEWED:
                self._reviewed.clear()
            found = self._reviewed[traits] = Reviewed(traits)
        return found


_TASK = (
    "Midflight did not deliver this: the upstream answered with a task, whose result could not be"
    " looked through as policy asks (midflight:obligation)."
)


def mask_arguments(arguments: JSONObject, paths: tuple[JSONPath, ...]) -> JSONObject:
    """Arguments with the values at these places masked, and everything inside of them."""

    def walk(value: Any, place: Place, *, inside: bool) -> Any:
        inside = inside or (bool(place) and any(path.matches(place) for path in paths))
        if isinstance(value, dict):
            items = cast("JSONObject", value).items()
            return {k: walk(v, (*place, k), inside=inside) for k, v in items}
        if isinstance(value, list):
            return [walk(v, (*place, None), inside=inside) for v in cast("list[Any]", value)]
        return masked(value) if inside and value is not None else value

    return walk(arguments, (), inside=False)


def _unfit(case: Case, asked: Owed) -> Deny | None:
    """Why what is asked cannot be kept for this action."""
    if asked.unkept:
        return deny(
            DenyCode.POLICY_ERROR,
            "obligation",
            f"It is permitted under what cannot be kept: {', '.join(sorted(asked.unkept))}.",
            "The policy's annotation asks for what this version does not do.",
        )
    if asked.hides and case.action.params.get("task") is not None:
        return deny(
            DenyCode.POLICY,
            "obligation",
            "Its result must be looked through, and the result of a task comes by another way.",
            "Call it without a task.",
        )
    return None


def _key(case: Case) -> Key:
    action = case.action
    return key_of(case.caller.workload, action.upstream, action.name, action.kind.value)


def _limited(case: Case, wait: float, rate: Rate) -> Deny:
    tool = f"{case.action.upstream}/{case.action.name}"
    if math.isinf(wait):
        when = "Try again when one of those that are in flight has ended."
    else:
        when = f"It passes again in {math.ceil(wait)} seconds."
    return deny(
        DenyCode.LIMITED,
        "limit",
        f"This workload may use {tool} {rate} (in flight included), and has.",
        when,
    )


def _is_task(result: JSONObject) -> bool:
    return result.get("resultType") == "task" or isinstance(result.get("task"), dict)


__all__ = ["MAX_KEPT", "Obligations", "mask_arguments"]
