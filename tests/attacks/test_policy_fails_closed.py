"""Where Cedar by itself says yes, or says nothing: each case is shown raw, and then denied."""

from __future__ import annotations

import json
from typing import Any

import cedarpy
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

from midflight.adapters.policy import asking, calls, generation, visible
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.adapters.policy.schema import slice_schema
from midflight.domain.decision import DenyCode, Permit
from midflight.services.ports.policy_sets import Severity


def raw(policy: str, **more: Any) -> cedarpy.AuthzResult:
    request = {"principal": 'W::"a"', "action": 'Action::"x"', "resource": 'R::"b"'}
    request |= {"context": more.pop("context", {})}
    return cedarpy.is_authorized(request, policy, more.pop("entities", []), **more)


def test_no_policy_at_all_is_a_deny() -> None:
    assert_denied(engine().decide(question()), DenyCode.NO_POLICY)
    assert_denied(engine("// empty").decide(question()), DenyCode.NO_POLICY)


def test_a_forbid_that_errors_does_not_vanish() -> None:
    forbid = "forbid(principal, action, resource) when { context.run.nothing };"
    vanished = raw(f"permit(principal, action, resource); {forbid}", context={"run": {}})
    assert vanished.decision is cedarpy.Decision.Allow
    assert vanished.diagnostics.errors

    decision = engine(ALLOW_ALL, f'@id("broken") {forbid}').decide(question())

    assert_denied(decision, DenyCode.POLICY_ERROR, "broken")


def test_a_permit_that_errors_beside_one_that_permits_is_a_deny() -> None:
    overflow = (
        '@id("sum") permit(principal, action, resource) when { context.args.copies + 1 > 0 };'
    )
    arguments = {"to": "a", "copies": 2**63 - 1}
    assert_denied(
        engine(ALLOW_ALL, overflow).decide(question(arguments=arguments)),
        DenyCode.POLICY_ERROR,
        "sum",
    )


def test_an_error_that_only_an_approval_reaches_is_no_challenge() -> None:
    forbid = """@id("held") forbid(principal, action, resource)
        unless { context.approval.granted && context.args.copies + 1 > 0 };"""
    arguments = {"to": "a", "copies": 2**63 - 1}
    assert_denied(
        engine(ALLOW_ALL, forbid).decide(question(arguments=arguments)), DenyCode.POLICY, "held"
    )


def test_an_error_does_not_quote_arguments() -> None:
    forbid = '@id("sum") forbid(principal, action, resource) when { context.args.copies + 1 < 0 };'
    decision = engine(ALLOW_ALL, forbid).decide(
        question(arguments={"to": "a", "copies": 9223372036854775807})
    )
    assert_denied(decision, DenyCode.POLICY_ERROR, "sum")
    assert "9223372036854775807" not in repr(decision)


def test_an_unregistered_tool_is_denied_and_not_judged_as_an_unknown_entity() -> None:
    forbid = 'forbid(principal, action, resource) when { resource.reach == "open" };'
    unknown = raw(f"permit(principal, action, resource); {forbid}")
    assert unknown.decision is cedarpy.Decision.Allow

    other = tool("other")
    decision = engine(ALLOW_ALL, f'@id("open") {forbid}').decide(question(other))

    assert_denied(decision, DenyCode.UNKNOWN_TARGET)


def test_every_workload_asked_about_exists_for_policy() -> None:
    forbid = '@id("who") forbid(principal, action, resource) when { !principal.attested };'
    stranger = msgspec.structs.replace(AGENT, id="spiffe://example.org/agents/never-seen")
    assert_denied(
        engine(ALLOW_ALL, forbid).decide(question(workload=stranger)), DenyCode.POLICY, "who"
    )


def test_a_tool_whose_traits_changed_after_registration_is_denied() -> None:
    worse = tool(effect="pay", schema=MAIL_SCHEMA)
    decision = engine(ALLOW_ALL).decide(question(worse, {"to": "a"}))
    assert_denied(decision, DenyCode.UNKNOWN_TARGET)


@pytest.mark.parametrize("key", ["__entity", "__extn"])
@pytest.mark.parametrize(
    "place",
    [
        lambda inner: {"to": "a", **inner},
        lambda inner: {"to": inner},
        lambda inner: {"to": "a", "anything": inner},
        lambda inner: {"to": "a", "anything": [{"deep": [inner]}]},
        lambda inner: {"to": "a", "undeclared": inner},
        lambda inner: {"to": "a", "options": {"ttl": 1, "extra": inner}},
    ],
)
def test_an_entity_smuggled_into_arguments_is_refused(key: str, place: Any) -> None:
    inner = {key: {"type": "Team", "id": "admins"}}
    decision = engine(ALLOW_ALL).decide(question(arguments=place(inner)))
    assert_denied(decision, DenyCode.INVALID_ARGUMENTS)


def test_a_smuggled_entity_would_have_been_believed_without_a_schema() -> None:
    policy = 'permit(principal, action, resource) when { context.args.team == Team::"admins" };'
    smuggled = {"args": {"team": {"__entity": {"type": "Team", "id": "admins"}}}}
    assert raw(policy, context=smuggled).decision is cedarpy.Decision.Allow


@pytest.mark.parametrize(
    "arguments",
    [
        {"to": "a", "copies": 1.5},
        {"to": "a", "copies": 2**63},
        {"to": "a", "copies": -(2**63) - 1},
        {"to": "a", "copies": 10**5_000},
        {"to": "a", "copies": True},
        {"to": "a", "copies": "1"},
        {"to": None},
        {},
        {"to": 1},
        {"to": ["a"]},
        {"to": "a", "cc": ["b", None]},
        {"to": "a", "cc": "b"},
        {"to": "a", "urgent": 1},
        {"to": "a", "urgent": "true"},
        {"to": "a", "weight": float("nan")},
        {"to": "a", "weight": float("inf")},
        {"to": "a", "weight": "1"},
        {"to": "a", "weight": True},
        {"to": "a", "options": {}},
        {"to": "a", "options": {"ttl": None}},
        {"to": "a", "options": {"ttl": 1.0}},
        {"to": "\ud800"},
    ],
)
def test_what_does_not_fit_its_type_is_refused_even_if_no_policy_looks(
    arguments: dict[str, Any],
) -> None:
    decision = assert_denied(
        engine(ALLOW_ALL).decide(question(arguments=arguments)), DenyCode.INVALID_ARGUMENTS
    )
    named = [name for name in (*arguments, "to") if f"`{name}" in decision.reasons[0].text]
    assert named, decision


def test_cedar_itself_has_no_answer_for_floats_and_nulls() -> None:
    for value in (1.5, None, 2**63):
        result = raw("permit(principal, action, resource);", context={"args": {"x": value}})
        assert result.decision is cedarpy.Decision.NoDecision


def test_a_number_is_not_rounded_past_a_limit() -> None:
    limit = """@id("limit") forbid(principal, action, resource)
        when { context.args has weight && context.args.weight.greaterThan(decimal("100.0")) };"""
    judge = engine(ALLOW_ALL, limit)
    over = question(arguments={"to": "a", "weight": 100.00001})
    assert_denied(judge.decide(over), DenyCode.INVALID_ARGUMENTS)
    assert_denied(
        judge.decide(question(arguments={"to": "a", "weight": 100.0001})), DenyCode.POLICY, "limit"
    )
    assert isinstance(judge.decide(question(arguments={"to": "a", "weight": 100})), Permit)
    # Where no policy looks, nothing can be missed.
    assert isinstance(engine(ALLOW_ALL).decide(over), Permit)


def test_a_forbid_on_an_action_group_holds() -> None:
    forbid = '@id("sends") forbid(principal, action in Action::"send", resource);'
    assert_denied(engine(ALLOW_ALL, forbid).decide(question()), DenyCode.POLICY, "sends")


def test_entities_without_the_schema_would_have_lost_the_group() -> None:
    schema = cedarpy.Schema.from_json_str(
        json.dumps(
            slice_schema(
                "call_tool::office/send_mail",
                groups=("call_tool", "send"),
                resource="Tool",
                shape=None,
                seen=policies(ALLOW_ALL).policies["all"].mentions,
            )
        )
    )
    text = json.dumps(
        [
            {
                "uid": {"type": "Team", "id": "t"},
                "attrs": {},
                "parents": [],
            }
        ]
    )
    request = {
        "principal": {"type": "Team", "id": "t"},
        "action": {"type": "Action", "id": "call_tool::office/send_mail"},
        "resource": {"type": "Team", "id": "t"},
        "context": "{}",
    }
    policy = cedarpy.PolicySet.from_str(
        ALLOW_ALL + 'forbid(principal, action in Action::"send", resource);'
    )
    without = cedarpy.Entities.from_json_str(text)
    assert cedarpy.is_authorized(request, policy, without).decision is cedarpy.Decision.Allow
    with_schema = calls.read_entities(text, schema)
    assert cedarpy.is_authorized(request, policy, with_schema).decision is cedarpy.Decision.Deny


def test_a_policy_that_can_never_apply_is_found_before_it_is_relied_on() -> None:
    never = """@id("never") forbid(principal, action in Action::"send", resource)
        when { context.args has recipiant && context.args.recipiant == "evil" };"""
    problems = CedarCompiler().inspect(policies(ALLOW_ALL, never), (MAIL,))
    assert [(p.policy, p.severity) for p in problems] == [("never", Severity.WARNING)]
    assert "never apply" in problems[0].text


def test_a_failing_engine_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """As pyo3 raises for a panic in Rust: no Exception."""

    for error in (Panic("secret"), ValueError("secret"), RecursionError(), MemoryError()):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(asking, "is_authorized", fail)
        decision = engine(ALLOW_ALL).decide(question())
        assert_denied(decision, DenyCode.POLICY_ERROR)
        assert "secret" not in repr(decision)


def test_entities_that_do_not_parse_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("entities")

    monkeypatch.setattr(generation, "build_entities", fail)
    monkeypatch.setattr(visible, "build_entities", fail)
    judge = engine(ALLOW_ALL)
    assert_denied(judge.decide(question()), DenyCode.POLICY_ERROR)
    assert (
        judge.visible([MAIL], workload=AGENT, run=facts(), source=question().source, at=0)
        == frozenset()
    )


def test_a_no_decision_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = cedarpy.AuthzResult({"decision": "NoDecision", "diagnostics": {}})
    monkeypatch.setattr(asking, "is_authorized", lambda *_: nothing)
    assert_denied(engine(ALLOW_ALL).decide(question()), DenyCode.POLICY_ERROR)


def test_an_allow_with_errors_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    dirty = cedarpy.AuthzResult(
        {"decision": "Allow", "diagnostics": {"reason": ["all"], "errors": ["policy `all` …"]}}
    )
    monkeypatch.setattr(asking, "is_authorized", lambda *_: dirty)
    assert_denied(engine(ALLOW_ALL).decide(question()), DenyCode.POLICY_ERROR, "all")


def test_an_upstream_cannot_take_the_name_of_another_ones_tool() -> None:
    forged = tool("b/c", upstream="a")
    real = tool("c", upstream="a/b")
    only_real = '@id("one") permit(principal, action == Action::"call_tool::a%2Fb/c", resource);'
    judge = engine(only_real, targets=(forged, real))
    assert isinstance(judge.decide(question(real, {})), Permit)
    assert_denied(judge.decide(question(forged, {})), DenyCode.POLICY, "midflight:default-deny")


def test_hostile_names_of_tools_cannot_break_out_of_their_ids() -> None:
    for name in ('x"; permit(principal,action,resource); //', "a\nb", "\u202e", "\\", "'", "\0"):
        hostile = tool(name)
        only_other = (
            '@id("one") permit(principal, action == Action::"call_tool::office/b", resource);'
        )
        judge = engine(only_other, targets=(hostile,))
        assert_denied(judge.decide(question(hostile, {})), DenyCode.POLICY)
        assert isinstance(
            engine(ALLOW_ALL, targets=(hostile,)).decide(question(hostile, {})), Permit
        )


def test_a_hostile_schema_costs_bounded_work() -> None:
    branching = {f"p{n}": {"$ref": "#/$defs/N"} for n in range(30)}
    schema = {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/N"}, "loop": {"$ref": "#/$defs/L"}},
        "$defs": {
            "N": {"type": "object", "properties": branching},
            "L": {"$ref": "#/$defs/L"},
        },
    }
    hostile = tool(schema=schema)
    assert isinstance(engine(ALLOW_ALL, targets=(hostile,)).decide(question(hostile, {})), Permit)


def test_arguments_nested_without_end_are_refused() -> None:
    deep: Any = "x"
    for _ in range(10_000):
        deep = [deep]
    arguments = {"to": "a", "anything": deep}
    assert_denied(
        engine(ALLOW_ALL).decide(question(arguments=arguments)), DenyCode.INVALID_ARGUMENTS
    )


def test_a_fresh_engine_denies_everything() -> None:
    judge = CedarEngine()
    judge.register([MAIL])
    assert judge.version == "none"
    assert_denied(judge.decide(question()), DenyCode.NO_POLICY)
    seen = judge.visible([MAIL], workload=AGENT, run=facts(), source=question().source, at=0)
    assert seen == frozenset()
