"""The engine: permits, refusals and challenges, with their reasons; slices and registration."""

from __future__ import annotations

import msgspec
import pytest
from policy_kit import (
    AGENT,
    ALLOW_ALL,
    MAIL,
    MAIL_SCHEMA,
    assert_denied,
    engine,
    facts,
    policies,
    question,
    tool,
)

from midflight.adapters.policy.bounded import Bounded
from midflight.adapters.policy.slices import COMMON, SliceIndex, buckets
from midflight.domain.action import ActionKind
from midflight.domain.decision import Challenge, Deny, DenyCode, Obligation, Permit, Reason
from midflight.domain.identity import Mode, Tier
from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.question import Source
from midflight.domain.tool import PinState
from midflight.services.ports.policy_sets import PolicySwitch


def challenge(*texts: str) -> Challenge:
    decision = engine(*texts).decide(question())
    assert isinstance(decision, Challenge), decision
    return decision


def test_a_permit_names_what_permitted_it_and_asks_what_it_asks() -> None:
    decision = engine(
        """@id("one") @reason("fine") @log("full")
          permit (principal, action in Action::"send", resource);
        @id("two") @limit("5/m") permit (principal, action in Action::"call_tool", resource);
        @id("three") permit (principal, action in Action::"read", resource);"""
    ).decide(question())
    assert isinstance(decision, Permit)
    assert decision.reasons == (Reason(policy="one", text="fine"), Reason(policy="two"))
    assert decision.obligations == (
        Obligation(name="limit", value="5/m"),
        Obligation(name="log", value="full"),
    )


def test_what_nothing_permits_says_which_permit_would_have_helped() -> None:
    decision = engine('@id("r") permit (principal, action in Action::"read", resource);').decide(
        question()
    )
    denied = assert_denied(decision, DenyCode.POLICY, "midflight:default-deny")
    for named in ('Action::"call_tool"', 'Action::"send"', 'Action::"call_tool::office/send_mail"'):
        assert named in denied.help


def test_a_hard_forbid_is_a_deny_with_its_reason_and_help() -> None:
    decision = engine(
        ALLOW_ALL,
        '@id("no") @reason("Not mail.") @help("Use chat.") forbid (principal, action, resource);',
    ).decide(question())
    denied = assert_denied(decision, DenyCode.POLICY)
    assert denied.reasons == (Reason(policy="no", text="Not mail.", help="Use chat."),)
    assert denied.help == "Use chat."


def test_a_forbid_that_an_approval_lifts_is_a_challenge() -> None:
    found = challenge(
        ALLOW_ALL,
        """@id("ask") @reason("Mail leaves.") @approvers("owner, security") @expires("5m")
        forbid (principal, action, resource) unless { context.approval.granted };""",
    )
    assert found.reasons == (Reason(policy="ask", text="Mail leaves."),)
    assert found.approvers == ("owner", "security")
    assert found.expires_s == 300


def test_a_permit_that_needs_an_approval_is_a_challenge() -> None:
    found = challenge(
        """@id("ask") @approvers("owner") permit (principal, action, resource)
        when { context.approval.granted };"""
    )
    assert [reason.policy for reason in found.reasons] == ["ask"]
    assert found.approvers == ("owner",)
    assert found.expires_s == 600


def test_all_approvers_must_agree_and_the_shortest_time_counts() -> None:
    found = challenge(
        """@id("f1") @approvers("a") @expires("1h") forbid (principal, action, resource)
          unless { context.approval.granted };
        @id("f2") @approvers("b") @expires("2m") forbid (principal, action, resource)
          unless { context.approval.granted };
        @id("p") @approvers("c") permit (principal, action, resource)
          when { context.approval.granted };"""
    )
    assert found.approvers == ("a", "b", "c")
    assert found.expires_s == 120
    assert [reason.policy for reason in found.reasons] == ["f1", "f2", "p"]


def test_a_permit_that_applied_all_along_made_no_difference() -> None:
    found = challenge(
        """@id("f") @approvers("a") forbid (principal, action, resource)
          unless { context.approval.granted };
        @id("always") @approvers("z") permit (principal, action, resource)
          when { resource.pinned || context.approval.granted };
        @id("other") @approvers("y") permit (principal, action in Action::"read", resource)
          when { context.approval.granted };"""
    )
    assert [reason.policy for reason in found.reasons] == ["f"]
    assert found.approvers == ("a",)


def test_an_approval_does_not_help_against_a_hard_forbid_which_is_named_first() -> None:
    decision = engine(
        ALLOW_ALL,
        """@id("a-soft") forbid (principal, action, resource) unless { context.approval.granted };
        @id("z-hard") forbid (principal, action, resource);""",
    ).decide(question())
    denied = assert_denied(decision, DenyCode.POLICY)
    assert [reason.policy for reason in denied.reasons] == ["z-hard", "a-soft"]


def test_an_approval_of_what_nothing_permits_is_a_deny() -> None:
    decision = engine(
        '@id("soft") forbid (principal, action, resource) unless { context.approval.granted };'
    ).decide(question())
    assert_denied(decision, DenyCode.POLICY, "soft", "midflight:default-deny")


def test_an_approved_question_is_permitted_or_denied_and_never_asked_again() -> None:
    judge = engine(
        ALLOW_ALL,
        '@id("ask") forbid (principal, action, resource) unless { context.approval.granted };',
    )
    assert isinstance(judge.decide(question()), Challenge)
    assert isinstance(judge.decide(question(approved=True)), Permit)
    hard = engine(
        '@id("no") forbid (principal, action, resource) when { context.approval.granted };'
    )
    assert isinstance(hard.decide(question(approved=True)), Deny)


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        (
            'principal.tier == "mandatory"',
            {"workload": msgspec.structs.replace(AGENT, tier=Tier.MANDATORY)},
        ),
        (
            'principal.mode == "lockdown"',
            {"workload": msgspec.structs.replace(AGENT, mode=Mode.LOCKDOWN)},
        ),
        ('principal.kind == "agent" && principal.owner == "owner@example.org"', {}),
        ('principal in Team::"default" && principal.team == "default" && !principal.attested', {}),
        ('resource in Upstream::"office" && resource.upstream == "office"', {}),
        (
            'resource.name == "send_mail" && resource.effect == "send" && resource.reach == "open"',
            {},
        ),
        ("resource.pinned && resource.reviewed", {}),
        ('action in Action::"send" && action in Action::"call_tool"', {}),
        ("context.run.has_intent && !context.run.implicit && !context.run.untrusted", {}),
        ("context.run.age_s == 60 && context.run.steps == 3", {}),
        (
            "context.run.confidentiality == 2",
            {"run": facts(labels=Labels(confidentiality=Confidentiality.SECRET))},
        ),
        (
            'context.run.compartments.contains("pii")',
            {"run": facts(labels=Labels(compartments=frozenset({"pii"})))},
        ),
        ('context.run.labels_source == "rec"', {"run": facts(labels_source="rec")}),
        (
            'context.source == {point: "mcp", proof: "dpop", peer: "p"}',
            {"source": Source(proof="dpop", peer="p")},
        ),
        ("context.time.hour == 12 && context.time.weekday == 1", {"at": 1_736_164_800}),
        ("context.time == {unix: 0, hour: 0, weekday: 4}", {"at": 0}),
        ('context.untyped.contains("anything")', {"arguments": {"to": "a", "anything": 1}}),
        (
            'context.args.options.reply__2d_to == "x"',
            {"arguments": {"to": "a", "options": {"reply-to": "x", "ttl": 1}}},
        ),
        ('context.args.cc.containsAll(["a"])', {"arguments": {"to": "a", "cc": ["a", "a"]}}),
    ],
)
def test_a_policy_can_look_at_this_fact(condition: str, asked: dict[str, object]) -> None:
    judge = engine(f'@id("fact") permit (principal, action, resource) when {{ {condition} }};')
    assert isinstance(judge.decide(question(**asked)), Permit)  # type: ignore[arg-type]


TYPED = {
    ActionKind.LEASE: {
        "credential": "orders",
        "backend": "postgres",
        "upstream": "db",
        "bound": True,
        "scopes": ["reader"],
        "ttl_s": 300,
        "revocability": "immediate",
    },
    ActionKind.OPEN_RUN: {"opener": "alice"},
    ActionKind.DELEGATE: {
        "delegate": "spiffe://example.org/agents/two",
        "owner": "ann",
        "team": "default",
        "depth": 1,
        "opener": "alice",
    },
}


@pytest.mark.parametrize("kind", [k for k in ActionKind if k is not ActionKind.CALL_TOOL])
def test_every_other_kind_is_decided_without_being_registered(kind: ActionKind) -> None:
    target = tool("file:///a", "read", reach="closed")
    arguments = TYPED.get(kind, {"x": {"y": 1}})
    asked = question(target, arguments, kind=kind)
    looks = f"""@id("k") permit (principal, action == Action::"{kind.value}", resource is Item)
    when {{ resource.name == "file:///a" }};"""
    decision = engine(
        looks,
        """@id("n") forbid (principal, action in Action::"call_tool", resource)
        when { context.args has to };""",
    ).decide(asked)
    assert isinstance(decision, Permit), decision
    assert isinstance(
        engine('@id("t") permit (principal, action in Action::"call_tool", resource);').decide(
            asked
        ),
        Deny,
    )


def test_the_opener_of_a_run_can_be_named() -> None:
    judge = engine(
        """@id("open") permit (principal, action == Action::"open_run", resource)
        when { context.args.opener == "alice" };"""
    )
    target = tool("open_run", "read", upstream="midflight")
    asked = {
        opener: question(target, {"opener": opener}, kind=ActionKind.OPEN_RUN)
        for opener in ("alice", "eve")
    }
    assert isinstance(judge.decide(asked["alice"]), Permit)
    assert isinstance(judge.decide(asked["eve"]), Deny)


def test_a_policy_for_one_resource_holds_for_that_one_alone() -> None:
    judge = engine(
        ALLOW_ALL,
        '@id("one") forbid (principal, action, resource == Item::"read_resource:office/file:///secret");',
    )
    for name, denied in (("file:///secret", True), ("file:///other", False)):
        decision = judge.decide(question(tool(name, "read"), {}, kind=ActionKind.READ_RESOURCE))
        assert isinstance(decision, Deny) is denied


def test_activation_and_registration_take_effect_with_the_next_question() -> None:
    judge = engine(ALLOW_ALL)
    before, generation = judge.version, judge.generation
    assert isinstance(judge.decide(question()), Permit)

    judge.activate(policies('@id("no") forbid (principal, action, resource);'))
    assert isinstance(judge.decide(question()), Deny)
    assert judge.version != before

    judge.activate(policies(ALLOW_ALL))
    judge.register([])
    assert_denied(judge.decide(question()), DenyCode.UNKNOWN_TARGET)
    judge.register([MAIL])
    assert isinstance(judge.decide(question()), Permit)
    assert judge.generation == generation + 4
    assert judge.targets == (MAIL,)

    judge.activate(None)
    assert_denied(judge.decide(question()), DenyCode.NO_POLICY)


def test_a_tool_registered_again_with_another_schema_is_judged_by_the_new_one() -> None:
    judge = engine(ALLOW_ALL)
    assert isinstance(judge.decide(question()), Permit)
    stricter = tool(schema={**MAIL_SCHEMA, "required": ["to", "urgent"]})
    judge.register([stricter])
    assert_denied(judge.decide(question(stricter, {"to": "a"})), DenyCode.INVALID_ARGUMENTS)
    assert_denied(judge.decide(question()), DenyCode.UNKNOWN_TARGET)


def test_the_pin_state_is_that_of_the_question() -> None:
    judge = engine(
        ALLOW_ALL, '@id("pin") forbid (principal, action, resource) unless { resource.pinned };'
    )
    assert isinstance(judge.decide(question()), Permit)
    drifted = msgspec.structs.replace(MAIL, pin_state=PinState.DRIFTED)
    assert_denied(judge.decide(question(drifted, {"to": "a"})), DenyCode.POLICY, "pin")


def test_a_held_tool_is_denied_until_it_is_released() -> None:
    judge = engine(ALLOW_ALL, targets=(MAIL, tool("other")))
    judge.hold({("office", "send_mail"): "a.cedar:3: [x] does not fit"})
    assert (
        "a.cedar:3"
        in assert_denied(judge.decide(question()), DenyCode.POLICY_ERROR).reasons[0].text
    )
    assert isinstance(judge.decide(question(tool("other"), {})), Permit)
    judge.register([MAIL])
    assert_denied(judge.decide(question()), DenyCode.POLICY_ERROR)
    judge.hold({})
    assert isinstance(judge.decide(question()), Permit)


def test_only_sets_of_this_technology_are_taken() -> None:
    with pytest.raises(TypeError):
        engine(ALLOW_ALL).activate("text")  # type: ignore[arg-type]


def test_the_engine_is_what_the_ports_ask_for() -> None:
    switch: PolicySwitch = engine(ALLOW_ALL)
    assert len(switch.version) == 64


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("principal, action, resource", {("", "")}),
        ("principal is Workload, action, resource is Tool", {("", "")}),
        ('principal, action, resource == Tool::"a/b"', {("Tool", "a/b")}),
        ('principal, action, resource is Tool in Upstream::"a"', {("Upstream", "a")}),
        ('principal, action == Action::"read", resource in Upstream::"a"', {("Upstream", "a")}),
        ('principal, action in Action::"read", resource', {("Action", "read")}),
        (
            'principal, action in [Action::"read", Action::"pay"], resource',
            {("Action", "read"), ("Action", "pay")},
        ),
        ("principal, action in [], resource", set()),
        ('principal == Workload::"w", action, resource', {("Workload", "w")}),
        ('principal in Team::"t", action in Action::"read", resource', {("Team", "t")}),
        (
            'principal in Team::"t", action == Action::"call_tool::a/b", resource',
            {("Action", "call_tool::a/b")},
        ),
    ],
)
def test_a_policy_stands_in_the_bucket_of_what_its_head_names(
    head: str, expected: set[tuple[str, str]]
) -> None:
    (policy,) = policies(f'@id("x") permit ({head});').policies.values()
    assert buckets(policy.template) == expected


def test_slices_with_the_same_policies_are_one() -> None:
    index = SliceIndex(
        policies(
            ALLOW_ALL, '@id("b") permit (principal, action, resource == Tool::"a/b");'
        ).policies.values()
    )
    assert index.slice([COMMON, ("Tool", "x")]) is index.slice([COMMON, ("Tool", "y")])
    assert set(index.slice([COMMON, ("Tool", "a/b")]).policies) == {"all", "b"}


def test_a_bounded_map_forgets_what_was_not_used_for_longest() -> None:
    kept = Bounded[str, int](2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c"), len(kept)) == (1, None, 3, 2)
