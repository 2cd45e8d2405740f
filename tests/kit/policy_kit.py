"""Builders of policies, tools and questions for tests."""

from __future__ import annotations

from typing import Any

from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.adapters.policy.parsing import CedarSet
from midflight.domain.action import ActionKind
from midflight.domain.decision import Decision, Deny, DenyCode
from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.domain.tool import PinState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.ports.policy_sets import PolicySource

AGENT = Workload(
    id="spiffe://example.org/agents/one",
    owner="owner@example.org",
    escalation="team@example.org",
    review_by=4_102_444_800,
)
ALLOW_ALL = '@id("all") permit (principal, action, resource);'
MAIL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"type": "string"},
        "cc": {"type": "array", "items": {"type": "string"}},
        "copies": {"type": "integer"},
        "urgent": {"type": "boolean"},
        "weight": {"type": "number"},
        "options": {
            "type": "object",
            "properties": {"reply-to": {"type": "string"}, "ttl": {"type": "integer"}},
            "required": ["ttl"],
        },
        "anything": {},
    },
    "required": ["to"],
}


def tool(
    name: str = "send_mail",
    effect: str = "send",
    *,
    upstream: str = "office",
    reach: str = "open",
    reviewed: bool = True,
    schema: dict[str, Any] | None = None,
    pin_state: PinState = PinState.PINNED,
) -> Target:
    traits = Traits(effect=Effect(effect), reach=Reach(reach), reviewed=reviewed)
    return Target(
        upstream=upstream,
        name=name,
        pin="0" * 64,
        pin_state=pin_state,
        traits=traits,
        schema=schema,
    )


MAIL = tool(schema=MAIL_SCHEMA)


def sources(*texts: str) -> list[PolicySource]:
    return [PolicySource(name=f"{n}.cedar", text=text) for n, text in enumerate(texts)]


def policies(*texts: str) -> CedarSet:
    return CedarCompiler().parse(sources(*texts))


def engine(*texts: str, targets: tuple[Target, ...] = (MAIL,)) -> CedarEngine:
    return CedarEngine(policies(*texts) if texts else None, targets)


def facts(*, untrusted: bool = False, has_intent: bool = True, **more: Any) -> RunFacts:
    return RunFacts(
        id="run_test",
        has_intent=has_intent,
        implicit=more.pop("implicit", False),
        age_s=more.pop("age_s", 60),
        steps=more.pop("steps", 3),
        labels=more.pop("labels", Labels(untrusted=untrusted)),
        **more,
    )


def question(
    target: Target = MAIL,
    arguments: dict[str, Any] | None = None,
    *,
    kind: ActionKind = ActionKind.CALL_TOOL,
    workload: Workload = AGENT,
    run: RunFacts | None = None,
    source: Source | None = None,
    at: int = 1_736_164_800,
    approved: bool = False,
) -> Question:
    if arguments is None:
        arguments = {"to": "boss@example.org"} if target is MAIL else {}
    return Question(
        kind=kind,
        workload=workload,
        run=run or facts(),
        target=target,
        arguments=arguments,
        source=source or Source(),
        at=at,
        approved=approved,
    )


def assert_denied(decision: Decision, code: DenyCode, *policy_ids: str) -> Deny:
    assert isinstance(decision, Deny), decision
    assert decision.code is code, decision
    found = [reason.policy for reason in decision.reasons]
    assert set(policy_ids) <= set(found), decision
    return decision
