"""A run of the ledger, put together for a replay: what was asked, and what was called with what.

The ledger keeps no results, so there are none here: whoever wants them in a case adds them. Calls
that a person approved stand once, as they were carried out. The arguments are opened, so this is
for operators only, like `explain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.apps.control.runs import NamedRun
from midflight.domain.action import ActionKind
from midflight.domain.decision import DenyCode
from midflight.domain.records import Facts, Intent, Outcome, RunOpened, Sealed
from midflight.domain.value import Discreet, JSONObject


class RecordedCall(Discreet):
    """One call.

    Attributes:
        record: id of the record that holds its decision.
        upstream, tool: what was called.
        arguments: as judged; None if the run's key is erased.
        answer: `permit`, `challenge` or `deny`.
        failed: what went wrong upstream, or empty.
    """

    shown = ("record", "upstream", "tool", "answer")

    record: str
    upstream: str
    tool: str
    arguments: JSONObject | None
    answer: str
    failed: str = ""


class RecordedRun(Discreet):
    """A run. `intent` is None where there is none, or its key is erased."""

    shown = ("id", "workload")

    id: str
    workload: str
    intent: str | None
    calls: tuple[RecordedCall, ...]


class RecordingVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._ledger = plane.ledger
        self._runs = plane.runs
        self._sealer = plane.sealer

    async def record_run(self, given: NamedRun, operator: Operator) -> RecordedRun:
        """What the ledger has of a run. `NotFound` if there is no such run."""
        del operator
        status = await self._runs.show(given.id)
        await self._ledger.flush()
        intent = status.intent
        found: dict[str, tuple[Facts, Sealed | None, str, str]] = {}
        digests: dict[str, str] = {}
        failed: dict[str, str] = {}
        async for entry in self._ledger.query(run=given.id):
            match entry.record:
                case RunOpened(intent=Sealed() as sealed):
                    opened = await self._sealer.open(sealed)
                    intent = opened if isinstance(opened, str) else intent
                case Intent() as record:
                    # The same call, asked about before: it stands where it was carried out.
                    found.pop(digests.pop(record.digest, ""), None)
                    found[entry.id] = (record.facts, record.arguments, "permit", record.digest)
                case Outcome(intent=None, facts=Facts() as facts) as record:
                    asked = record.code is DenyCode.APPROVAL_REQUIRED
                    answer = "challenge" if asked else "deny"
                    found.pop(digests.pop(record.digest, ""), None)
                    found[entry.id] = (facts, record.arguments, answer, record.digest)
                    if record.digest:
                        digests[record.digest] = entry.id
                case Outcome(intent=str(id_), detail=detail) if detail:
                    failed[id_] = detail
                case _:
                    pass
        return RecordedRun(
            id=given.id,
            workload=status.workload,
            intent=intent,
            calls=tuple(
                [
                    RecordedCall(
                        record=id_,
                        upstream=facts.upstream,
                        tool=facts.name,
                        arguments=await self._arguments(sealed),
                        answer=answer,
                        failed=failed.get(id_, ""),
                    )
                    for id_, (facts, sealed, answer, _) in found.items()
                    if facts.kind == ActionKind.CALL_TOOL.value
                ]
            ),
        )

    async def _arguments(self, sealed: Sealed | None) -> JSONObject | None:
        if sealed is None:
            return {}
        opened = await self._sealer.open_arguments(sealed)
        return None if opened is None else opened[0]

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/runs/{id}/calls",
                summary="What a run called, with its arguments opened, for a replay.",
                input=NamedRun,
                answer=RecordedRun,
                act=self.record_run,
            ),
        )


__all__ = ["RecordedCall", "RecordedRun", "RecordingVerbs"]
