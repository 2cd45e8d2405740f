"""The guard: the life of an action, in order, in one place. This is the hot path.

    decode → identify → gather → decide → record intent → lease → act → observe → record outcome

Decoding and identifying have happened when `perform` is called: it starts at an `Action` and a
`Caller` and never sees bytes. It ends in exactly one terminal record, whatever happens (I1);
nothing reaches an upstream without a permit for the same digest (I2); anything but a clean permit
refuses (I4). Ordinary async functions over frozen values: speed comes from doing little.
Below: `guard_observing.py` (what comes back), `guard_records.py` (what is on record).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Mapping, Sequence

from midflight.domain.action import Action, digest
from midflight.domain.decision import Challenge, Decision, Deny, DenyCode, Permit
from midflight.domain.errors import (
    Conflict,
    LedgerUnavailable,
    MidflightError,
)
from midflight.domain.identity import Caller
from midflight.domain.question import Question, Target
from midflight.domain.records import Terminal
from midflight.domain.revocation import ScopeKind
from midflight.domain.run import Run
from midflight.domain.tool import PinState
from midflight.domain.value import JSONObject, Value
from midflight.services.approvals import Approvals
from midflight.services.canaries import Canaries
from midflight.services.catalogue import Catalogue, why_unpinned
from midflight.services.cuttable import Cuttable
from midflight.services.detection import Detection
from midflight.services.flights import Flight, kind_of
from midflight.services.flow import Flow, RunFlow
from midflight.services.guard_case import Case, is_closed_read
from midflight.services.guard_observing import ObservedSink, Observing, is_undone
from midflight.services.guard_records import CaseRecords, settle
from midflight.services.injection import Injecting, misplaced
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.monitors import Monitors
from midflight.services.obligations import Obligations
from midflight.services.ports.clock import Clock
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.policy import PolicyEngine
from midflight.services.ports.recorder import Recorder, Ticket
from midflight.services.ports.telemetry import Spans, Telemetry
from midflight.services.ports.upstream import (
    Reply,
    RunSeat,
    Sink,
    Upstream,
)
from midflight.services.refusing import deny, from_error, narrowed, out_of_scope, revoked, terminal
from midflight.services.responses import Responses
from midflight.services.runs import LiveRun, Runs
from midflight.services.sealing import Sealer
from midflight.services.second_look import SecondLook
from midflight.services.task_flights import TaskFlights


class Performed(Value):
    """The upstream answered. `record` is the id of the intent."""

    record: str
    reply: Reply


class Refused(Value):
    """The answer is no. `record` is the id of the terminal record, empty if none could be kept.

    Of an action that waits for a person, `run` is the run it was judged in, and `scopes` are all
    whose revocation ends the waiting.
    """

    record: str
    decision: Deny | Challenge
    run: str = ""
    scopes: frozenset[tuple[ScopeKind, str]] = frozenset()


class Guard:
    """Decides every action when it happens, and stops it when that ceases to be true."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        runs: Runs,
        interruption: Interruption,
        inventory: Inventory,
        engine: PolicyEngine,
        monitors: Monitors,
        recorder: Recorder,
        sealer: Sealer,
        upstreams: Mapping[str, Upstream],
        clock: Clock,
        telemetry: Telemetry,
        flow: Flow,
        obligations: Obligations,
        canaries: Canaries,
        task_flights: TaskFlights,
        spans: Spans | None = None,
        approvals: Approvals | None = None,
        injecting: Injecting | None = None,
        detection: Detection | None = None,
        children: Collection[str] = (),
        responses: Responses | None = None,
        max_in_flight: int = 10_000,
    ) -> None:
        """All parts are shared with the control plane; the guard owns none of them.

        `max_in_flight` bounds what runs at once; beyond it actions are refused. Without
        `approvals` a challenge is a refusal that nobody can answer; without `injecting` no
        credential goes upstream but those of the settings. `detection` sees every step;
        `task_flights` keeps what upstreams work on for calls they have answered; `children` are
        upstreams that are processes of ours; `responses` hold what follows from findings.
        """
        self._responses = responses
        self._second_look = SecondLook(engine=engine, clock=clock)
        self.task_flights = task_flights
        self._children = frozenset(children)
        self._injecting = injecting
        self._approvals = approvals
        self._max_in_flight = max_in_flight
        self._flow = flow
        self._obligations = obligations
        self._canaries = canaries
        self._catalogue = catalogue
        self._runs = runs
        self._interruption = interruption
        self._inventory = inventory
        self._engine = engine
        self._monitors = monitors
        self._sealer = sealer
        self._upstreams = upstreams
        self._clock = clock
        self._telemetry = telemetry
        self._records = CaseRecords(
            recorder=recorder,
            obligations=obligations,
            clock=clock,
            telemetry=telemetry,
            spans=spans,
            detection=detection,
        )
        self.observing = Observing(
            catalogue=catalogue, runs=runs, flow=flow, obligations=obligations, canaries=canaries
        )

    async def perform(
        self,
        action: Action,
        caller: Caller,
        *,
        sink: Sink,
        client_info: JSONObject | None = None,
        answers: Sequence[Action] = (),
        on_cut: Callable[[Refused], None] | None = None,
    ) -> Performed | Refused:
        """Take one action through its life.

        Args:
            action: the judged value; an encoding of it is what is sent.
            caller: who is behind it, as proved.
            sink: where notifications and questions of the upstream go.
            client_info: what the client calls itself, for an upstream's session; never judged.
            answers: answers to an upstream's questions that the action carries (a retry of the
                modern generation); each is judged as an action of its own before it leaves.
            on_cut: gets the refusal of an action that a revocation cuts, in the turn in which it
                is cut; it is returned later, when those that are cut with it are told, too.

        Returns:
            What the upstream answered, or why not.

        Raises:
            asyncio.CancelledError: the caller has gone; the upstream was cancelled, and the
                outcome is recorded.
        """
        case = Case(action, caller, self._clock.monotonic())
        case.beside = [client_info, sink.capabilities]
        done = await self._perform(
            case, sink=sink, client_info=client_info, answers=answers, on_cut=on_cut
        )
        if case.owed is not None:
            await settle(case)
        return done

    async def _perform(
        self,
        case: Case,
        *,
        sink: Sink,
        client_info: JSONObject | None,
        answers: Sequence[Action],
        on_cut: Callable[[Refused], None] | None,
    ) -> Performed | Refused:
        try:
            judged = await self._judge(case)
            if not isinstance(judged, Permit):
                return self._refused(case, judged)
            return await self._act(
                case,
                judged,
                sink=sink,
                client_info=client_info or {},
                answers=answers,
                on_cut=on_cut,
            )
        except asyncio.CancelledError:
            if not case.intent:
                self._records.outcome(case, Terminal.CANCELLED, detail="The caller has gone.")
            raise
        except MidflightError as error:
            return self._refused(case, from_error(error))
        except Exception as error:  # noqa: BLE001 -- a bug must refuse, and leave its record
            text = f"{type(error).__name__} inside Midflight."
            return self._refused(case, deny(DenyCode.INTERNAL, "internal-error", text))

    def _refused(self, case: Case, decision: Deny | Challenge) -> Refused:
        record = self._records.refuse(case, decision)
        if not isinstance(decision, Challenge) or not decision.approval or case.live is None:
            return Refused(record=record, decision=decision)
        scopes = frozenset(case.scopes())
        return Refused(record=record, decision=decision, run=case.live.run.id, scopes=scopes)

    # gather and decide

    async def _judge(self, case: Case) -> Decision:  # noqa: PLR0911 -- a return a rule, in order
        action, caller = case.action, case.caller
        now = self._clock.now()
        workload = self._inventory.current(caller.workload)
        missing = self._inventory.standing_of(caller, int(now))
        if workload is None or missing is not None:
            return deny(
                DenyCode.UNREGISTERED,
                "unregistered",
                missing or "The workload is not registered.",
                "An operator registers it with `midflight workload add`.",
            )
        case.workload = workload
        if self._interruption.in_flight >= self._max_in_flight:
            return deny(
                DenyCode.OVERLOADED,
                "overloaded",
                f"{self._max_in_flight} actions are in flight already.",
                "Try again when some have ended.",
            )
        covered = self._covered(case)
        if covered is not None:
            return covered
        found = await self._runs.find(caller, workload)
        if isinstance(found, Deny):
            return found
        case.live = found
        inherited = self._covered(case)
        if inherited is not None:
            return inherited
        state = case.flow_run = await self._flow.ready(found)
        # Before anything that is kept for the action: refused ones use the budget up as well.
        spent = await self._step(found, caller)
        if spent is not None:
            return spent
        target = case.target = self._catalogue.target(action)
        if target is None:
            return deny(
                DenyCode.UNKNOWN_TARGET,
                "unknown-target",
                f"{action.upstream} serves no {action.name!r}."
                if action.upstream
                else "Nobody here serves anything of that name.",
                "List what it serves; what is hidden cannot be permitted to this workload.",
            )
        await self._sealer.key_for(found.run.id)
        case.arguments = self._sealer.seal(found.run.id, [action.arguments, action.params])
        case.digest = digest(action, run=found.run.id, salt=found.run.salt, pin=target.pin)
        barred = await self._barred(case, found.run, target)
        if barred is not None:
            return barred
        case.flow = self._flow.judge(found, state, target, action, owner=workload.owner)
        # The very facts that are asked with are those that are recorded (I6).
        case.asked_at = int(now)
        # What is counted for a run is counted for its family: delegation gives no new count.
        counted = found.first().run
        reservation = case.reservation = self._monitors.reserve(action, target, workload, counted)
        facts = case.run_facts = found.facts(
            now=int(now), monitors=reservation.values, through=caller.acting
        )
        question = Question(
            kind=action.kind,
            workload=workload,
            run=facts,
            target=target,
            arguments=action.arguments,
            source=case.source(),
            at=int(now),
            flow=case.flow,
        )
        decision = await self._decide(case, question)
        # In this turn of the loop, so that parallel calls are counted with this one.
        return self._obligations.take(case, decision)

    def _covered(self, case: Case) -> Deny | None:
        """The refusal by a revocation, or None. A known run brings in what it descends from."""
        if case.live is not None and not case.live.run.ancestors:
            return None
        above = () if case.live is None else tuple(case.live.ancestors())
        if above or case.caller.actors:
            through = (*case.caller.acting, *(each.run.workload for each in above))
            case.beyond = self._inventory.revoked_with(through)
        revocation = self._interruption.covering(case.scopes())
        if revocation is None:
            return None
        return revoked(revocation.id, f"Revoked by {revocation.author}: {revocation.reason}")

    async def _step(self, live: LiveRun, caller: Caller) -> Deny | None:
        """Take a step of the run's budget and of its throttles, or say which has none left."""
        exhausted = await self._runs.take_step(live)
        if exhausted is not None or self._responses is None:
            return exhausted
        return self._responses.throttled(live, caller.acting)

    async def _barred(self, case: Case, run: Run, target: Target) -> Deny | None:
        """The refusal by a rule of Midflight's own about what is to be sent where, or None."""
        unfit = _unfit(run, case.caller, case.action, target)
        if unfit is not None:
            return unfit
        planted = await self._canaries.leaving(case, target)
        if planted is not None:
            return planted
        if self._injecting is None:
            return misplaced(case, target, ())
        return self._injecting.placeholders(case, target)

    async def _decide(self, case: Case, question: Question) -> Decision:
        began = self._clock.monotonic()
        decision = self._engine.decide(question)
        self._telemetry.decided(seconds=self._clock.monotonic() - began)
        case.shadow = decision.shadow
        if isinstance(decision, Challenge):
            # Before a person is asked, and before a yes is used up.
            in_vain = self._obligations.before(case, decision)
            if in_vain is not None:
                return in_vain
        if isinstance(decision, Challenge) and self._approvals is not None:
            return await self._approvals.settle(case, question, decision)
        return decision

    # record intent, act, observe, record outcome

    async def _act(
        self,
        case: Case,
        permit: Permit,
        *,
        sink: Sink,
        client_info: JSONObject,
        answers: Sequence[Action],
        on_cut: Callable[[Refused], None] | None,
    ) -> Performed | Refused:
        action, caller, live, target = case.action, case.caller, case.live, case.target
        assert live is not None
        assert target is not None
        flow = case.flow_run
        assert flow is not None
        # Before the first wait, so that parallel calls are counted with this one.
        self._flow.depart(flow, target, action)
        ticket = self._records.intend(case, permit)
        closed_read = is_closed_read(action, target)
        flight = case.flight = Flight(
            record=ticket.id,
            run=live.run.id,
            workload=caller.workload,
            upstream=action.upstream,
            name=action.name,
            scopes=frozenset(case.scopes()),
            began=case.began,
            kind=kind_of(action, child=action.upstream in self._children),
            effectful=not closed_read,
            token=caller.token,
        )
        if on_cut is not None:
            tell = on_cut
            flight.tell_with(lambda why: tell(Refused(record=ticket.id, decision=from_error(why))))
        state, detail, code = Terminal.FAILED, "", None
        stopped: Deny | None = None
        live.flying += 1
        try:
            # In flight before the first wait, so that a revocation meanwhile is not missed.
            self._interruption.take_off(flight)
            with Cuttable(flight) as cuttable:
                live.look()
                stopped = self._second_look.stopped(case, permit)
                if stopped is not None:
                    state, detail, code = Terminal.DENIED, stopped.reasons[0].text, stopped.code
                    return Refused(record=ticket.id, decision=stopped)
                await self._write_down(case, flow, ticket, reads=closed_read)
                for answer in answers:
                    await self.judge_answer(case, answer, flight=flight)
                said = await self._send(case, flight, cuttable, sink=sink, client_info=client_info)
                cuttable.again()
                if said.removed:
                    detail = "The upstream repeated a credential; it was taken out."
                reply = await self.observing.result(case, flow, said)
                # As the upstream says it: an error in place of it undoes nothing.
                if is_undone(said):
                    case.undone = True
                    await self._flow.undone(flow, target, action)
                flight.look()  # what came back after the cut is not delivered
                live.look()  # nor into what follows an ended run, which has not its labels
            flight.completed = True
            case.result = self._obligations.keep(case, reply)
            state = Terminal.FAILED if reply.error is not None else Terminal.DONE
            return Performed(record=ticket.id, reply=reply)
        except asyncio.CancelledError:
            state, detail = Terminal.CANCELLED, "The caller has gone."
            raise
        except MidflightError as error:
            refusal = from_error(error)
            detail, code = error.message, refusal.code
            state = terminal(error, flight)
            return Refused(record=ticket.id, decision=refusal)
        except Exception as error:  # noqa: BLE001 -- a bug must refuse, and leave its record
            detail, code = f"{type(error).__name__} inside Midflight.", DenyCode.INTERNAL
            return Refused(
                record=ticket.id, decision=deny(DenyCode.INTERNAL, "internal-error", detail)
            )
        finally:
            self._landed(case, flight, state, detail=detail, code=code, stopped=stopped)

    def _landed(
        self,
        case: Case,
        flight: Flight,
        state: Terminal,
        *,
        detail: str,
        code: DenyCode | None,
        stopped: Deny | None,
    ) -> None:
        assert case.live is not None
        self._interruption.land(flight)
        self._runs.landed(case.live)
        keep = functools.partial(
            self._records.outcome,
            case,
            state,
            detail=detail,
            code=code,
            decided="" if stopped is None else stopped.version,
            reasons=() if stopped is None else stopped.reasons,
            flight=flight,
            whole=stopped is not None,
        )
        if flight.interrupted is None:
            keep()
        else:
            # Those who are cut with it are answered first.
            self._interruption.afterwards(keep)

    async def _write_down(self, case: Case, flow: RunFlow, ticket: Ticket, *, reads: bool) -> None:
        """What must not be lost of an action, before anything of it leaves.

        Raises:
            LedgerUnavailable, StoreUnavailable: so nothing leaves.
        """
        assert case.live is not None
        assert case.target is not None
        if reads:
            # Of which flow keeps nothing.
            if case.advances:
                await ticket.durable()
            elif not self._records.available:
                raise LedgerUnavailable("The ledger cannot be written.")
            return
        await ticket.durable()
        await self._flow.keep(flow, case.target, case.action)
        await self._flow.mark(case.live, case.target, case.action)

    async def _send(
        self,
        case: Case,
        flight: Flight,
        cuttable: Cuttable,
        *,
        sink: Sink,
        client_info: JSONObject,
    ) -> Reply:
        """Lease what the call needs, and act."""
        action, live = case.action, case.live
        assert live is not None
        seat = RunSeat(
            run=live.run.id,
            workload=case.caller.workload,
            capabilities=sink.capabilities,
            client_info=client_info,
        )
        guarded = ObservedSink(self.observing, case, sink, judge=self.judge_answer)
        call = self._upstreams[action.upstream].call
        injecting = self._injecting
        leased = None if injecting is None else await injecting.take(case, flight)
        if injecting is None or leased is None:
            said = await call(action, seat=seat, flight=flight, sink=guarded)
            return await self._heard(flight, cuttable, action, said, seat=seat)
        try:
            live.look()  # the run may have ended while the credential was made
            said = await call(
                action,
                seat=seat,
                flight=leased.flight,
                sink=guarded,
                attachment=leased.attachment,
            )
            return await self._heard(
                flight, cuttable, action, said, seat=seat, attachment=leased.attachment
            )
        finally:
            injecting.done(leased, flight)

    async def _heard(
        self,
        flight: Flight,
        cuttable: Cuttable,
        action: Action,
        said: Reply,
        *,
        seat: RunSeat,
        attachment: Attachment = NOTHING,
    ) -> Reply:
        # Before anything else: a task goes on there, whatever becomes of this answer.
        keeping = self.task_flights.heard(
            flight, action, said.result, seat=seat, attachment=attachment
        )
        if keeping is not None:
            cuttable.again()
            await asyncio.shield(keeping)  # to its end, though the call is cut meanwhile
        return said

    async def judge_answer(
        self, case: Case, action: Action, *, flight: Flight | None = None
    ) -> None:
        """Judge and record what a client answers to an upstream's question.

        Raises:
            Conflict: policy does not let the answer out.
            Interrupted: the run was revoked while the client was thinking.
        """
        inner = Case(action, case.caller, self._clock.monotonic())
        try:
            judged = await self._judge(inner)
            if inner.live is not None and inner.live is not case.live:
                text = "The run of the question has ended."
                judged = deny(DenyCode.RUN_NOT_OPEN, "run-not-open", text)
            if isinstance(judged, Permit):
                ticket = self._records.intend(inner, judged)
                stopped = self._second_look.stopped(inner, judged)
                if stopped is not None:
                    raise Conflict(stopped.reasons[0].text, hint=stopped.help)  # noqa: TRY301 -- ends below
                await ticket.durable()
                if flight is not None:
                    flight.look()
        except BaseException as error:  # the client's leaving included: one record, whatever comes
            cancelled = isinstance(error, asyncio.CancelledError)
            detail = error.message if isinstance(error, MidflightError) else type(error).__name__
            self._records.outcome(
                inner,
                Terminal.CANCELLED if cancelled else Terminal.DENIED,
                detail="The caller has gone." if cancelled else detail,
                whole=not inner.intent,
            )
            raise
        if not isinstance(judged, Permit):
            self._records.refuse(inner, judged)
            await settle(inner)
            raise Conflict(
                f"The answer to {case.action.name} is not permitted "
                f"({', '.join(reason.policy for reason in judged.reasons)}).",
                hint=f"midflight approval show {judged.approval}, then give the same answer again."
                if isinstance(judged, Challenge) and judged.approval
                else "",
            )
        self._records.outcome(inner, Terminal.DONE)


def _unfit(run: Run, caller: Caller, action: Action, target: Target) -> Deny | None:
    """Why a target is not for this run or token, or for none; None if policy is to be asked."""
    excluded = narrowed(run, action, target) or out_of_scope(caller, action, target)
    if excluded is not None or target.pin_state is PinState.PINNED:
        return excluded
    code = DenyCode.DRIFTED if target.pin_state is PinState.DRIFTED else DenyCode.UNPINNED
    return deny(
        code,
        code.value,
        f"{action.upstream}/{action.name} is {target.pin_state.value}.",
        why_unpinned(target.pin_state, action.upstream, action.name),
    )


__all__ = ["Guard", "Performed", "Refused"]
