"""Monitors in policies: declared, typed, part of the version, and never silently absent."""

from __future__ import annotations

import msgspec
import pytest
from monitor_kit import ALLOW, limit, parsed
from policy_kit import AGENT, MAIL, assert_denied, facts, question, tool

from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.domain.decision import Deny, DenyCode, Permit
from midflight.domain.errors import Misconfigured
from midflight.domain.monitor import SATURATED
from midflight.domain.question import Source
from midflight.services.ports.policy_sets import Severity

ACTS = '[[monitor]]\nname = "acts"\nkind = "count"\nper = "run"\n'
SENT = '[[monitor]]\nname = "sent"\nkind = "count"\nper = "run"\neffects = ["send"]\n'


def judge(*policies: str, declared: str = ACTS + SENT) -> CedarEngine:
    return CedarEngine(parsed(declared, *policies), (MAIL,))


@pytest.mark.parametrize(("value", "permitted"), [(0, True), (5, True), (6, False)])
def test_a_policy_reads_a_monitor(value: int, permitted: bool) -> None:
    engine = judge(limit("acts", 5))
    decision = engine.decide(question(run=facts(monitors={"acts": value, "sent": 0})))
    assert isinstance(decision, Permit if permitted else Deny)


def test_a_value_that_is_not_known_is_above_every_limit() -> None:
    engine = judge(limit("acts", SATURATED - 1))
    run = facts(monitors={"acts": SATURATED, "sent": 0})
    assert_denied(engine.decide(question(run=run)), DenyCode.POLICY, "limit-acts")


@pytest.mark.parametrize("monitors", [{}, {"sent": 0}, {"acts": 2**63}])
def test_without_a_value_nothing_is_permitted(monitors: dict[str, int]) -> None:
    # Cedar would skip the forbid that cannot be evaluated.
    decision = judge(limit("acts", 5)).decide(question(run=facts(monitors=monitors)))
    assert isinstance(decision, Deny)
    assert decision.code is DenyCode.POLICY_ERROR


def test_values_that_are_not_declared_any_more_are_left_out() -> None:
    engine = judge(limit("acts", 5))
    run = facts(monitors={"acts": 1, "sent": 1, "gone": 7})
    assert isinstance(engine.decide(question(run=run)), Permit)


def test_a_policy_about_the_whole_run_sees_every_monitor() -> None:
    text = '@id("w") forbid (principal, action, resource) when { [context.run].isEmpty() };'
    engine = judge(text)
    assert isinstance(engine.decide(question(run=facts(monitors={"acts": 1, "sent": 1}))), Permit)
    assert isinstance(engine.decide(question(run=facts(monitors={"acts": 1}))), Deny)


@pytest.mark.parametrize(
    "condition",
    ["context.run.atcs > 5", 'context["run"]["atcs"] > 5', "context.run has atcs"],
)
def test_a_monitor_that_nobody_declares_keeps_the_set_from_being_activated(condition: str) -> None:
    text = f'@id("p") forbid (principal, action, resource) when {{ {condition} }};'
    [problem] = CedarCompiler().inspect(parsed(ACTS + SENT, text), [MAIL])
    assert problem.severity is Severity.ERROR
    assert problem.policy == "p"
    assert "context.run.atcs" in problem.text
    assert "did you mean `acts`?" in problem.text
    assert '[[monitor]] with name = "atcs"' in problem.text
    assert "declared are acts, sent" in problem.text


def test_a_declared_monitor_is_a_long() -> None:
    good = CedarCompiler().inspect(parsed(ACTS, limit("acts", 5)), [MAIL])
    assert good == []
    text = '@id("p") forbid (principal, action, resource) when { context.run.acts == "many" };'
    [problem] = CedarCompiler().inspect(parsed(ACTS, text), [MAIL])
    assert problem.severity is Severity.ERROR


def test_problems_of_declarations_and_policies_come_together() -> None:
    with pytest.raises(Misconfigured) as caught:
        parsed(ACTS + "windw = 1", "permit (")
    assert any("windw" in problem for problem in caught.value.problems)
    assert any("is no Cedar" in problem for problem in caught.value.problems)


def test_declarations_are_part_of_the_version_and_their_layout_is_not() -> None:
    one = parsed(ACTS + SENT)
    assert parsed("# why\n" + SENT + 'about = "x"\n' + ACTS).version == one.version
    assert parsed(ACTS).version != one.version
    assert parsed(ACTS + SENT + 'window = "1m"').version != one.version
    assert parsed(ACTS + SENT + "remember = 5").version != one.version


def test_a_set_without_monitors_has_the_version_it_always_had() -> None:
    plain = CedarCompiler().parse(parsed("").sources[:1])
    assert plain.sources[0].text == ALLOW
    assert plain.version == parsed("").version


def test_a_set_read_again_from_its_sources_declares_the_same() -> None:
    one = parsed(ACTS + SENT, limit("acts", 5))
    again = CedarCompiler().parse(one.sources)
    assert (again.version, again.monitors) == (one.version, one.monitors)


def test_what_a_monitor_may_permit_later_stays_in_the_list() -> None:
    engine = judge(limit("acts", 5))
    run = facts(monitors={"acts": 99, "sent": 0})
    seen = engine.visible([MAIL], workload=AGENT, run=run, source=Source(), at=0)
    assert seen == {MAIL.name}
    assert engine.visible([MAIL], workload=AGENT, run=facts(), source=Source(), at=0) == seen


def test_a_tool_that_is_not_registered_is_named_with_the_monitor() -> None:
    text = ACTS + 'tools = ["send_mail", "sned_mail"]\nupstreams = ["office"]\n'
    [problem] = CedarCompiler().inspect(parsed(text), [tool("send_mail")])
    assert problem.severity is Severity.WARNING
    assert problem.text.endswith("`acts` names what is not registered: sned_mail")
    assert (problem.file, problem.line) == ("monitors.toml", 1)


def test_the_same_question_with_its_recorded_values_is_decided_the_same() -> None:
    engine = judge(limit("acts", 5))
    asked = question(run=facts(monitors={"acts": 6, "sent": 1}))
    stored = msgspec.json.decode(msgspec.json.encode(asked.run), type=type(asked.run))
    assert engine.decide(msgspec.structs.replace(asked, run=stored)) == engine.decide(asked)
