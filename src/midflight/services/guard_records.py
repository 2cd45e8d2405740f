"""What of an action is on record: its intent before it leaves, and exactly one outcome.

The guard says when. An intent is confirmed with what monitors count in the turn in which it is
appended; with the outcome everything that the action holds (limits, monitors) is given back.
Above: `guard.py`. Below: the ports, `obligations.py`.
"""

from __future__ import annotations

import contextlib

from msgspec.structs import replace

from midflight.domain.decision import Challenge, Deny, DenyCode, Permit, Reason
from midflight.domain.errors import LedgerUnavailable
from midflight.domain.event import Event
from midflight.domain.labels import BOTTOM
from midflight.domain.records import Intent, Outcome, Terminal
from midflight.domain.traits import Traits
from midflight.services.detection import Detection
from midflight.services.flights import Flight
from midflight.services.guard_case import Case
from midflight.services.obligations import Obligations
from midflight.services.openers import is_pipeline
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder, Ticket
from midflight.services.ports.telemetry import Spans, Telemetry


class CaseRecords:
    """See the module. Own state: none; a case carries its own."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        obligations: Obligations,
        clock: Clock,
        telemetry: Telemetry,
        spans: Spans | None,
        detection: Detection | None = None,
    ) -> None:
        """Shares its parts with the guard."""
        self._detection = detection
        self._recorder = recorder
        self._obligations = obligations
        self._clock = clock
        self._telemetry = telemetry
        self._spans = spans

    @property
    def available(self) -> bool:
        """Whether the ledger takes records."""
        return self._recorder.available

    def intend(self, case: Case, permit: Permit) -> Ticket:
        """The intent of a permitted action; what it advances counts from this turn on.

        Raises:
            LedgerUnavailable: so it must not leave.
        """
        reservation = case.reservation
        assert reservation is not None
        assert case.obliged is not None, "a permit whose obligations nobody has taken on"
        now = self._clock.now()
        ticket = self._recorder.append(
            Intent(
                at=now,
                digest=case.digest,
                facts=case.facts(now),
                arguments=case.arguments,
                decided=permit.version,
                reasons=permit.reasons,
                obligations=permit.obligations,
                approval=case.approval or None,
                advanced=reservation.advanced(),
                shadow=case.shadow,
            )
        )
        reservation.confirm()
        case.intent = ticket.id
        # Before it leaves: what is found now can still stop this very action.
        if self._detection is not None:
            case.event = _event(case, at=now, mono=self._clock.monotonic(), record=ticket.id)
            self._detection.see(case.event)
        return ticket

    def refuse(self, case: Case, decision: Deny | Challenge) -> str:
        """The outcome of what never got an intent; the record's id."""
        code = DenyCode.APPROVAL_REQUIRED if isinstance(decision, Challenge) else decision.code
        return self.outcome(
            case,
            Terminal.DENIED,
            code=code,
            decided=decision.version,
            reasons=decision.reasons,
            whole=True,
        )

    def outcome(
        self,
        case: Case,
        state: Terminal,
        *,
        detail: str = "",
        code: DenyCode | None = None,
        decided: str = "",
        reasons: tuple[Reason, ...] = (),
        flight: Flight | None = None,
        whole: bool = False,
    ) -> str:
        """The one terminal record; its id, empty if none could be kept.

        `whole`: with all facts, although there is an intent that has them.
        """
        self._obligations.land(case)
        now, mono = self._clock.now(), self._clock.monotonic()
        took = mono - case.began
        interrupted = flight.interrupted if flight is not None else None
        reservation = case.reservation
        attempted = None
        if reservation is not None:
            attempted = None if case.intent else reservation.attempted()
            reservation.land()  # and refuses, if there is no intent
        self._telemetry.action(
            kind=str(case.action.kind),
            upstream=case.action.upstream,
            state=str(state),
            code="" if code is None else str(code),
            seconds=took,
        )
        try:
            ticket = self._recorder.append(
                Outcome(
                    at=now,
                    state=state,
                    intent=case.intent or None,
                    code=code,
                    digest="" if case.intent else case.digest,
                    facts=case.facts(now) if whole or not case.intent else None,
                    arguments=None if case.intent else case.arguments,
                    decided=decided,
                    reasons=reasons,
                    bytes_out=flight.sent if flight is not None else 0,
                    bytes_in=flight.received if flight is not None else 0,
                    took_us=int(took * 1e6),
                    detail=detail,
                    revocation=(interrupted.revocation or None)
                    if interrupted is not None
                    else None,
                    advanced=attempted,
                    result=case.result,
                    shadow=None if case.intent else case.shadow,
                    leases=case.leases if flight is not None and flight.departed else (),
                )
            )
            record = ticket.id
            case.owed = ticket if attempted is not None else None
        except LedgerUnavailable:
            record = ""  # the ledger counts what it could not take, and says so when it is back
        if self._detection is not None:
            leaving = case.event or _event(case, at=now, mono=mono, record=case.intent or record)
            self._detection.see(
                replace(
                    leaving,
                    at=now,
                    mono=mono,
                    state=state,
                    code=code,
                    policies=tuple([reason.policy for reason in reasons]),
                    # What else is in it does not change while it is under way.
                    labels=leaving.labels if case.live is None else case.live.labels,
                    bytes_out=0 if flight is None else flight.sent,
                    bytes_in=0 if flight is None else flight.received,
                    undone=case.undone,
                )
            )
        if self._spans is not None:
            self._spans.action(
                kind=case.action.kind.value,
                upstream=case.action.upstream,
                name=case.name,
                state=state.value,
                ended_at=now,
                seconds=took,
                code=code.value if code is not None else "",
                challenged=code is DenyCode.APPROVAL_REQUIRED,
                record=case.intent or record,
                run=case.live.run.id if case.live is not None else "",
                workload=case.caller.workload,
                method=case.action.method,
                traceparent=str(case.action.meta.get("traceparent", "")),
            )
        return record


def _event(case: Case, *, at: float, mono: float, record: str) -> Event:
    """What detectors see of an action that is about to leave."""
    action, caller, live, target = case.action, case.caller, case.live, case.target
    workload = case.workload
    traits = Traits() if target is None else target.traits
    return Event(
        at=at,
        mono=mono,
        record=record,
        state=None,
        workload=caller.workload,
        owner="" if workload is None else workload.owner,
        team="" if workload is None else workload.team,
        run="" if live is None else live.run.id,
        family="" if live is None else live.first().run.id,
        upstream=action.upstream,
        name=case.name,
        kind=str(action.kind),
        method=action.method,
        effect=traits.effect,
        reach=traits.reach,
        reviewed=traits.reviewed,
        known=target is not None,
        digest=case.digest,
        labels=BOTTOM if live is None else live.labels,
        peer=caller.peer,
        proof=caller.proof,
        token=caller.token,
        approved=bool(case.approval),
        pipeline=is_pipeline(
            "" if workload is None else workload.kind,
            opened_by="" if live is None else live.run.opened_by,
        ),
    )


async def settle(case: Case) -> None:
    """Wait for the record of a refusal that monitors count, so that no restart forgets it."""
    if case.owed is not None:
        # A refusal stays one: where the disk does not take it, memory still counts it.
        with contextlib.suppress(LedgerUnavailable):
            await case.owed.durable()


__all__ = ["CaseRecords", "settle"]
