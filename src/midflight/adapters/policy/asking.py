"""One question, asked of Cedar up to three times: what is the answer, and would approval change it.

Only a clean Allow permits: Cedar skips a policy that errors, a `forbid` too. A clean Deny is asked
again as if it were approved; what made the difference says whom to ask. Between the two a forbid
may have hidden which permits applied, which is the third question.
Below: `answers.py`, `parties.py`, `context.py`. Above: `cedar.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import cedarpy
import msgspec

from midflight.adapters.policy.annotations import DEFAULT_EXPIRES_S, join_obligations
from midflight.adapters.policy.answers import Answer, read
from midflight.adapters.policy.arguments import Carried, carry, refuse_forbidden_keys
from midflight.adapters.policy.calls import is_authorized
from midflight.adapters.policy.context import build_context
from midflight.adapters.policy.generation import Generation
from midflight.adapters.policy.parsing import Policy
from midflight.adapters.policy.seats import Plan, Seat
from midflight.adapters.policy.slices import make_handle
from midflight.domain.decision import Challenge, Decision, Deny, DenyCode, Permit, Reason
from midflight.domain.question import Question
from midflight.domain.value import JSONObject

DEFAULT_DENY = "midflight:default-deny"
MAX_PERMITS = 1_024
"""Permits remembered a slice."""

_ENCODER = msgspec.json.Encoder()
_POLICY_IN_ERROR = re.compile(r"policy `([^`]*)`")


class Asking:
    """One question, asked of Cedar up to three times."""

    def __init__(self, version: str, seat: Seat, now: Generation, question: Question) -> None:
        self._version = version
        self._seat = seat
        self._question = question
        self._answers = now.answers
        self._parties = now.between(seat, question.workload, question.target)
        plan = self._parties.plan
        self._slice = plan.slice
        self._context = build_context(
            question,
            _carry(seat, plan, question.arguments),
            seen=plan.slice.mentions,
            monitors=plan.slice.monitors,
        )

    def answer(self) -> Decision:
        """The decision."""
        first = self._ask(approved=self._question.approved)
        if first.errors is not None:
            return self._broken(first.errors)
        if first.allows:
            return self._permit(first.determining)
        if self._question.approved or not self._slice.asks:
            return self._refuse(first.determining, still=first.determining)
        second = self._ask(approved=True)
        if second.errors is None and second.allows:
            return self._challenge(first.determining, second.determining)
        still = first.determining if second.errors is not None else second.determining
        return self._refuse(first.determining, still=still)

    def _ask(self, *, approved: bool) -> Answer:
        """What the policies of the slice say, now or before."""
        context = self._encoded(approved=approved)
        answer = self._answers.known(self._parties, context)
        if answer is None:
            answer = self._evaluate(context, self._slice.handle)
            self._answers.keep(self._parties, context, answer)
        return answer

    def _encoded(self, *, approved: bool) -> bytes:
        if self._context.get("approval"):
            self._context["approval"] = {"granted": approved}
        return _ENCODER.encode(self._context)

    def _evaluate(self, context: bytes, policies: cedarpy.PolicySet) -> Answer:
        parties = self._parties
        request = {**parties.request, "context": context.decode()}
        return read(is_authorized(request, policies, parties.entities, parties.plan.schema))

    def _permit(self, determining: tuple[str, ...]) -> Decision:
        known = self._slice.permits.get(determining)
        if known is not None and known.version == self._version:
            return known
        policies = [self._slice.policies[i] for i in determining]
        permit = Permit(
            version=self._version,
            reasons=_reasons(policies),
            obligations=join_obligations(policy.notes for policy in policies),
        )
        if len(self._slice.permits) < MAX_PERMITS:
            self._slice.permits[determining] = permit
        return permit

    def _challenge(self, forbids: Sequence[str], permits: Sequence[str]) -> Decision:
        """All policies that made the difference: forbids that fell, permits that came."""
        difference = [self._slice.policies[i] for i in forbids]
        came = [self._slice.policies[i] for i in permits if self._slice.policies[i].asks]
        if came and forbids:
            # With a forbid in the way Cedar did not say which permits applied before.
            before = self._evaluate(self._encoded(approved=False), make_handle(came))
            applied = frozenset(before.determining)
            came = [policy for policy in came if policy.id not in applied]
        difference += came
        expiries = [p.notes.expires_s for p in difference if p.notes.expires_s is not None]
        return Challenge(
            version=self._version,
            reasons=_reasons(difference),
            approvers=tuple(sorted({name for p in difference for name in p.notes.approvers})),
            expires_s=min(expiries, default=DEFAULT_EXPIRES_S),
            obligations=join_obligations(self._slice.policies[i].notes for i in permits),
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
            policy=DEFAULT_DENY,
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
    return Carried(typed=None, untyped=tuple(arguments))


def _reasons(policies: Iterable[Policy]) -> tuple[Reason, ...]:
    return tuple(Reason(policy=p.id, text=p.notes.reason, help=p.notes.help) for p in policies)


__all__ = ["DEFAULT_DENY", "Asking"]
