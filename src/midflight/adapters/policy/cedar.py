"""The policy engine: questions in, decisions out, by Cedar.

Total and fail-closed: the answer is a Permit only if Cedar allows *and* no policy had an error,
since Cedar skips a policy that errors, a `forbid` too. Everything else is a Deny or a Challenge.
This file holds the order of the questions to Cedar; what is asked with is made in `seats.py`.
Implements `services/ports/policy.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import cedarpy
import msgspec

from midflight.adapters.policy.annotations import DEFAULT_EXPIRES_S, join_obligations
from midflight.adapters.policy.arguments import Carried, Misfit, carry, refuse_forbidden_keys
from midflight.adapters.policy.bounded import Bounded
from midflight.adapters.policy.context import build_context
from midflight.adapters.policy.entities import build_entities, resource_uid, uid
from midflight.adapters.policy.parsing import CedarSet, Policy
from midflight.adapters.policy.seats import Plan, Seat, named_item
from midflight.adapters.policy.slices import SliceIndex, make_handle
from midflight.adapters.policy.visible import Visibility
from midflight.domain.action import ActionKind
from midflight.domain.decision import Challenge, Decision, Deny, DenyCode, Permit, Reason
from midflight.domain.identity import Workload
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.domain.value import JSONObject
from midflight.services.ports.policy_sets import PolicySet

MAX_ENTITIES = 8_192
MAX_ITEM_SEATS = 1_024
NO_VERSION = "none"

_ENCODER = msgspec.json.Encoder()
_POLICY_IN_ERROR = re.compile(r"policy `([^`]*)`")
_DEFAULT_DENY = "midflight:default-deny"


class _Generation:
    """One set over one registration, and all that was made for it. Replaced as a whole."""

    def __init__(
        self, policies: CedarSet | None, targets: Mapping[tuple[str, str], Target], number: int
    ) -> None:
        self.number = number
        self.policies = policies
        self.targets = targets
        self.index = SliceIndex(policies.policies.values() if policies else ())
        self.entities = Bounded[tuple[object, ...], cedarpy.Entities](MAX_ENTITIES)
        self.items = Bounded[tuple[ActionKind, str, str], Seat](MAX_ITEM_SEATS)
        self.tools: dict[tuple[str, str], Seat] = {}
        self.held: Mapping[tuple[str, str], str] = {}
        self.visibility = Visibility()

    def seat(self, kind: ActionKind, target: Target) -> Seat | None:
        """The seat of a target, or None for a tool that is not registered as it is asked about."""
        if kind is ActionKind.CALL_TOOL:
            key = (target.upstream, target.name)
            registered = self.targets.get(key)
            if registered is None or not _same(registered, target):
                return None
            seat = self.tools.get(key)
            if seat is None:
                seat = self.tools[key] = Seat(kind, registered, self.index)
            return seat
        item = (kind, target.upstream, named_item(kind, target, self.index))
        seat = self.items.get(item)
        if seat is None:
            seat = Seat(kind, target, self.index)
            self.items.put(item, seat)
        return seat

    def facts(self, seat: Seat, plan: Plan, workload: Workload, target: Target) -> cedarpy.Entities:
        """The entities of a question."""
        key = (seat.kind, target.upstream, target.name, target.pin_state, target.traits, workload)
        entities = self.entities.get(key)
        if entities is None:
            entities = build_entities(
                seat.kind, workload=workload, target=target, schema=plan.schema
            )
            self.entities.put(key, entities)
        return entities


class CedarEngine:
    """Decides by the active set. Until one is activated, everything is denied."""

    def __init__(
        self, policies: CedarSet | None = None, targets: Sequence[Target] = ()
    ) -> None:
        self._now = _Generation(policies, _by_name(targets), 0)

    def __repr__(self) -> str:
        return f"CedarEngine(version={self.version[:16]}, {len(self._now.targets)} tools)"

    @property
    def version(self) -> str:
        """Digest of the active set; `none` when there is none."""
        return self._now.policies.version if self._now.policies else NO_VERSION

    @property
    def targets(self) -> Sequence[Target]:
        """What was registered last."""
        return tuple(self._now.targets.values())

    @property
    def generation(self) -> int:
        """Grows with every registration and activation."""
        return self._now.number

    def activate(self, policies: PolicySet | None) -> None:
        """Decide by this set from the next question on; None for no set."""
        if policies is not None and not isinstance(policies, CedarSet):
            raise TypeError("a Cedar engine takes sets that a Cedar compiler parsed")
        self._now = _Generation(policies, self._now.targets, self._now.number + 1)

    def register(self, targets: Sequence[Target]) -> None:
        """Take these tools for all there are. Seats of unchanged tools stay warm."""
        before = self._now
        after = _Generation(before.policies, _by_name(targets), before.number + 1)
        after.index, after.items, after.entities = before.index, before.items, before.entities
        after.tools = {
            key: seat
            for key, seat in before.tools.items()
            if key in after.targets and _same(after.targets[key], seat.target)
        }
        after.held = {
            key: why
            for key, why in before.held.items()
            if key in after.targets and _same(after.targets[key], before.targets[key])
        }
        self._now = after

    def hold(self, tools: Mapping[tuple[str, str], str]) -> None:
        """Deny calls of these tools until the next call of this."""
        self._now.held = {key: why for key, why in tools.items() if key in self._now.targets}
        self._now.visibility = Visibility()

    def decide(self, question: Question) -> Decision:
        """Decide one action. See the module; never raises."""
        try:
            return self._decide(self._now, question)
        except Misfit as misfit:
            return self._deny(
                DenyCode.INVALID_ARGUMENTS,
                "midflight:arguments",
                str(misfit),
                "Send the arguments as the tool's input schema declares them.",
            )
        except BaseException as error:  # noqa: BLE001 -- a panic of the engine is no Exception
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            # The error's text may quote arguments, so only its kind is told.
            return self._deny(
                DenyCode.POLICY_ERROR,
                "midflight:policy-engine",
                f"The policy engine failed ({type(error).__name__}).",
                "The owner of this plane has to look at its policies and log.",
            )

    def visible(
        self,
        targets: Sequence[Target],
        *,
        workload: Workload,
        run: RunFacts,
        source: Source,
        at: int,
        kind: ActionKind = ActionKind.CALL_TOOL,
    ) -> frozenset[str]:
        """Names of the targets of `kind` that some argument or approval could permit."""
        now = self._now
        if not now.policies:
            return frozenset()
        view = now.visibility.view(workload=workload, run=run, source=source)
        names: set[str] = set()
        for target in targets:
            known = view.known(kind, target)
            if known is None:
                known = self._could_be(now, kind, target, workload, run, source)
                view.learn(kind, target, visible=known)
            if known:
                names.add(target.name)
        return frozenset(names)

    def _could_be(
        self,
        now: _Generation,
        kind: ActionKind,
        target: Target,
        workload: Workload,
        run: RunFacts,
        source: Source,
    ) -> bool:
        try:
            seat = now.seat(kind, target)
            if seat is None or (target.upstream, target.name) in now.held:
                return False
            plan = seat.plan(workload)
            facts = now.facts(seat, plan, workload, target)
            view = now.visibility.view(workload=workload, run=run, source=source)
            return view.ask(seat, plan, facts, workload=workload, of=target)
        except BaseException as error:  # noqa: BLE001 -- as in `decide`
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return False

    def _decide(self, now: _Generation, question: Question) -> Decision:
        if not now.policies:
            return self._deny(
                DenyCode.NO_POLICY,
                "midflight:no-policy",
                "No policy set is active, so nothing is permitted.",
                "An operator has to put policies into the policy directory.",
            )
        target = question.target
        seat = now.seat(question.kind, target)
        if seat is None:
            return self._deny(
                DenyCode.UNKNOWN_TARGET,
                "midflight:unknown-target",
                "The tool is not registered, or has changed since it was.",
                "List the tools again; an operator may have to pin this one.",
            )
        if seat.is_tool and (target.upstream, target.name) in now.held:
            return self._deny(
                DenyCode.POLICY_ERROR,
                "midflight:held-tool",
                f"A policy does not fit this tool: {now.held[target.upstream, target.name]}",
                "An operator has to correct the policy; `midflight check` names it.",
            )
        plan = seat.plan(question.workload)
        return _Asking(self.version, seat, plan, now, question).answer()

    def _deny(self, code: DenyCode, policy: str, text: str, help_text: str) -> Deny:
        reason = Reason(policy=policy, text=text, help=help_text)
        return Deny(version=self.version, code=code, reasons=(reason,), help=help_text)


class _Asking:
    """One question, asked of Cedar up to three times."""

    def __init__(
        self, version: str, seat: Seat, plan: Plan, now: _Generation, question: Question
    ) -> None:
        self._version = version
        self._seat = seat
        self._slice = plan.slice
        self._schema = plan.schema
        self._question = question
        self._context = build_context(
            question, _carry(seat, plan, question.arguments), seen=plan.slice.mentions
        )
        self._entities = now.facts(seat, plan, question.workload, question.target)
        self._request: JSONObject = {
            "principal": uid("Workload", question.workload.id),
            "action": seat.action,
            "resource": resource_uid(question.kind, question.target),
        }

    def answer(self) -> Decision:
        first = self._ask(approved=self._question.approved)
        if (broken := _errors(first)) is not None:
            return self._broken(broken)
        if first.decision is cedarpy.Decision.Allow:
            return self._permit(_ids(first))
        if self._question.approved or not self._slice.asks:
            return self._refuse(_ids(first), still=_ids(first))
        second = self._ask(approved=True)
        if _errors(second) is not None:
            return self._refuse(_ids(first), still=_ids(first))
        if second.decision is cedarpy.Decision.Allow:
            return self._challenge(_ids(first), _ids(second))
        return self._refuse(_ids(first), still=_ids(second))

    def _ask(
        self, *, approved: bool, handle: cedarpy.PolicySet | None = None
    ) -> cedarpy.AuthzResult:
        if "approval" in self._context and self._context["approval"]:
            self._context["approval"] = {"granted": approved}
        self._request["context"] = _ENCODER.encode(self._context).decode()
        return cedarpy.is_authorized(
            self._request, handle or self._slice.handle, self._entities, self._schema
        )

    def _permit(self, determining: Sequence[str]) -> Decision:
        policies = [self._slice.policies[i] for i in determining]
        return Permit(
            version=self._version,
            reasons=_reasons(policies),
            obligations=join_obligations(policy.notes for policy in policies),
        )

    def _challenge(self, forbids: Sequence[str], permits: Sequence[str]) -> Decision:
        """All policies that made the difference: forbids that fell, permits that came."""
        difference = [self._slice.policies[i] for i in forbids]
        came = [self._slice.policies[i] for i in permits if self._slice.policies[i].asks]
        if came and forbids:
            # With a forbid in the way Cedar did not say which permits applied before.
            before = self._ask(approved=False, handle=make_handle(came))
            applied = frozenset(_ids(before))
            came = [policy for policy in came if policy.id not in applied]
        difference += came
        expiries = [p.notes.expires_s for p in difference if p.notes.expires_s is not None]
        return Challenge(
            version=self._version,
            reasons=_reasons(difference),
            approvers=tuple(sorted({name for p in difference for name in p.notes.approvers})),
            expires_s=min(expiries, default=DEFAULT_EXPIRES_S),
        )

    def _refuse(self, forbids: Sequence[str], *, still: Sequence[str]) -> Decision:
        """`forbids` decided; `still` are those that would in spite of an approval."""
        hard_first = sorted(forbids, key=lambda policy: policy not in still)
        reasons = _reasons(self._slice.policies[i] for i in hard_first)
        if not forbids or not still:
            reasons = (*reasons, self._default_deny())
        helps = dict.fromkeys(reason.help for reason in reasons if reason.help)
        return Deny(
            version=self._version, code=DenyCode.POLICY, reasons=reasons, help=" ".join(helps)
        )

    def _default_deny(self) -> Reason:
        seat = self._seat
        actions = " or ".join(f'Action::"{name}"' for name in (*seat.groups, seat.action_id))
        return Reason(
            policy=_DEFAULT_DENY,
            text="No policy permits this.",
            help=f"A permit would have to name {actions} and hold for this workload and resource.",
        )

    def _broken(self, messages: Sequence[str]) -> Decision:
        # Messages can quote values of arguments: only the ids of the policies are told.
        named = [found[1] for m in messages if (found := _POLICY_IN_ERROR.search(m))]
        known = [name for name in dict.fromkeys(named) if name in self._slice.policies]
        text = "The policy could not be evaluated for this action."
        help_text = "The owner of this plane has to correct the policy."
        return Deny(
            version=self._version,
            code=DenyCode.POLICY_ERROR,
            reasons=tuple(
                Reason(policy=name, text=text, help=help_text)
                for name in known or ["midflight:policy-engine"]
            ),
            help=help_text,
        )


def _carry(seat: Seat, plan: Plan, arguments: JSONObject) -> Carried:
    if seat.shape is not None:
        return carry(arguments, seat.shape, wanted=plan.wanted)
    refuse_forbidden_keys(arguments)
    return Carried(typed={}, untyped=tuple(arguments))


def _errors(result: cedarpy.AuthzResult) -> Sequence[str] | None:
    """The errors of an answer, or None if it is a clean Allow or Deny."""
    errors = result.diagnostics.errors
    if errors or result.decision is cedarpy.Decision.NoDecision:
        return errors
    return None


def _ids(result: cedarpy.AuthzResult) -> Sequence[str]:
    return sorted(result.diagnostics.reasons)


def _reasons(policies: Iterable[Policy]) -> tuple[Reason, ...]:
    return tuple(Reason(policy=p.id, text=p.notes.reason, help=p.notes.help) for p in policies)


def _by_name(targets: Iterable[Target]) -> dict[tuple[str, str], Target]:
    return {(target.upstream, target.name): target for target in targets}


def _same(one: Target, other: Target) -> bool:
    """Whether two targets have the same types and action groups."""
    return one is other or (one.traits == other.traits and one.schema == other.schema)


__all__ = ["MAX_ENTITIES", "NO_VERSION", "CedarEngine"]
