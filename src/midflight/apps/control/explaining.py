"""Why an action was decided as it was: its record, and the decision derived again from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from midflight.apps.control.ledger import NamedRecord
from midflight.apps.control.operation import Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.action import ActionKind
from midflight.domain.decision import DenyCode, Obligation, Reason, Shadow
from midflight.domain.errors import Malformed, NotFound
from midflight.domain.obligation import is_masked, owed
from midflight.domain.records import Facts, Intent, Outcome, Record, Sealed, Terminal
from midflight.domain.value import JSON, Discreet, JSONObject, Value
from midflight.services.ledger_query import Recorded
from midflight.services.moded import is_observed
from midflight.services.policy import Explanation, Policies

# Refusals that policy made; every other one came before policy was asked, or after.
_BY_POLICY = frozenset(
    {
        DenyCode.POLICY,
        DenyCode.POLICY_ERROR,
        DenyCode.NO_POLICY,
        DenyCode.APPROVAL_REQUIRED,
    }
)


class Explained(Discreet):
    """A decision, as recorded and as derived again.

    Attributes:
        record: id of the record that holds the decision.
        decided: what was recorded: `permit`, `challenge` or `deny`.
        code: why it was refused, if it was.
        reasons: policies that made it, as recorded.
        facts: what it was based on, as recorded.
        arguments: unsealed, or None if their key is erased.
        same: whether the recorded version still says the same; None if that cannot be told.
        derived: see `services/policy.py`.
        obligations: what it was permitted under, as recorded.
        shadow: what the standard set would have said, if the workload was only observed.
        result: what was delivered, where policy had it recorded; None if not, or erased.
        masked: some arguments were recorded masked, so policy may say something else to them.
    """

    shown = ("record", "decided", "same")

    record: str
    at: float
    decided: str
    code: DenyCode | None
    reasons: tuple[Reason, ...]
    facts: Facts | None
    arguments: JSONObject | None
    same: bool | None
    derived: Explanation | None
    obligations: tuple[Obligation, ...] = ()
    shadow: Shadow | None = None
    result: JSON = None
    masked: bool = False


class ExplainVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._ledger = plane.ledger
        self._policies = plane.policies
        self._observing = plane.observing
        self._sealer = plane.sealer

    async def explain_record(self, given: NamedRecord, operator: Operator) -> Explained:
        """Derive a recorded decision again."""
        del operator
        record_id, record = await self._deciding(given.id)
        match record:
            case Intent():
                facts, sealed, decided, code = record.facts, record.arguments, "permit", None
                approved = record.approval is not None
            case Outcome():
                facts, sealed, code = record.facts, record.arguments, record.code
                decided = "challenge" if code is DenyCode.APPROVAL_REQUIRED else "deny"
                approved = False
        opened = await self._sealer.open_arguments(sealed)
        arguments: JSONObject | None = {} if sealed is None else None
        if opened is not None:
            arguments = opened[0]
        obligations = record.obligations if isinstance(record, Intent) else ()
        # The record of a refusal does not say under what it would have been permitted.
        masked = bool(owed(obligations).arguments) or (
            isinstance(record, Outcome) and _holds_masked(arguments)
        )
        derived: Explanation | None = None
        if facts is not None:
            derived = await self._set_of(facts).explain(
                facts,
                arguments,
                version=record.decided,
                at=facts.at or record.at,
                approved=approved,
            )
        asked = code is None or code in _BY_POLICY
        then = None if derived is None else derived.then
        same = None if then is None or not asked else _answer(then) == decided
        return Explained(
            record=record_id,
            at=record.at,
            decided=decided,
            code=code,
            reasons=record.reasons,
            facts=facts,
            arguments=arguments,
            # What was recorded masked is not what was judged: a difference says nothing.
            same=None if masked and same is False else same,
            derived=derived,
            obligations=obligations,
            shadow=record.shadow,
            result=await self._result(given.id, record_id, obligations),
            masked=masked,
        )

    def _set_of(self, facts: Facts) -> Policies:
        """The set that decided."""
        if facts.workload is None or not is_observed(facts.workload, ActionKind(facts.kind)):
            return self._policies
        return self._observing

    async def _result(self, asked: str, intent: str, obligations: Sequence[Obligation]) -> JSON:
        """What was delivered, from the outcome that was asked for or the one of the intent."""
        if not owed(obligations).full:
            return None
        sealed: Sealed | None = None
        found = await self._ledger.read(asked)
        if isinstance(found.record, Outcome):
            sealed = found.record.result
        elif found.position:
            async for later in self._ledger.query(kinds=("outcome",), after=found.position):
                if isinstance(later.record, Outcome) and later.record.intent == intent:
                    sealed = later.record.result
                    break
        return None if sealed is None else await self._sealer.open(sealed)

    async def _deciding(self, record_id: str) -> tuple[str, Intent | Outcome]:
        """The record that holds the decision about an action: its intent, or its refusal."""
        record = _record_of(await self._ledger.read(record_id))
        match record:
            case Intent():
                return record_id, record
            case Outcome(intent=None, state=Terminal.DENIED):
                return record_id, record
            case Outcome(intent=str(intent)):
                found = _record_of(await self._ledger.read(intent))
                if isinstance(found, Intent):
                    return intent, found
                raise NotFound(f"The intent {intent} of record {record_id} is not one.")
            case _:
                raise Malformed(
                    f"Record {record_id} is not about the decision of an action.",
                    hint="`midflight ledger tail` lists intents and outcomes.",
                )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/records/{id}/explain",
                summary="Derive a recorded decision again.",
                input=NamedRecord,
                answer=Explained,
                act=self.explain_record,
            ),
        )


def _holds_masked(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_masked, cast("JSONObject", value).values()))
    if isinstance(value, list):
        return any(map(_holds_masked, cast("list[Any]", value)))
    return isinstance(value, str) and is_masked(value)


def _record_of(found: Recorded) -> Record:
    if found.record is None:
        raise Malformed(f"What is stored as {found.id} is not a record: {found.damage}")
    return found.record


def _answer(decision: Value) -> str:
    return str(decision.__struct_config__.tag)


__all__ = ["ExplainVerbs", "Explained"]
