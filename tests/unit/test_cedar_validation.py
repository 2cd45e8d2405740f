"""Validation against registered tools, and the search for dead policies."""

from __future__ import annotations

from policy_kit import MAIL, MAIL_SCHEMA, policies, tool

from midflight.adapters.policy.compiler import CedarCompiler
from midflight.services.ports.policy_sets import PolicyProblem, Severity

PAY = tool(
    "pay",
    "pay",
    upstream="bank",
    schema={"type": "object", "properties": {"amount": {"type": "integer"}}},
)


def inspect(text: str, *targets: object) -> list[PolicyProblem]:
    return list(CedarCompiler().inspect(policies(text), targets or (MAIL, PAY)))  # type: ignore[arg-type]


def test_a_sound_set_has_no_problem() -> None:
    assert (
        inspect(
            """@id("a") permit (principal, action in Action::"send", resource)
           when { context.args has to && context.args.to like "*@example.org" };
           @id("b") permit (principal, action == Action::"call_tool::bank/pay", resource)
           when { context.args has amount && context.args.amount < 100 };"""
        )
        == []
    )


def test_a_policy_for_a_group_has_to_ask_before_it_looks_at_an_argument() -> None:
    (problem,) = inspect(
        """
        @id("a") permit (principal, action in Action::"send", resource)
        when { context.args.to == "x" };"""
    )
    assert problem.severity is Severity.ERROR
    assert problem.tool is None
    assert str(problem).startswith("0.cedar:2: [a] ")
    assert "ask `has` first" in problem.text


def test_a_policy_for_one_tool_may_rely_on_its_required_arguments() -> None:
    assert (
        inspect(
            '@id("a") permit (principal, action == Action::"call_tool::office/send_mail", resource)'
            ' when { context.args.to == "x" };'
        )
        == []
    )


def test_a_misspelt_fact_group_or_kind_is_an_error() -> None:
    for head, condition in (
        ("principal, action, resource", "resource.raech == 1"),
        ("principal, action, resource", "context.run.untrustd"),
        ('principal, action in Action::"raed", resource', "true"),
        ('principal, action == Action::"read_resources", resource', "true"),
        ("principal is Wrkload, action, resource", "true"),
    ):
        problems = inspect(f'@id("a") forbid ({head}) when {{ {condition} }};')
        assert problems, head
        assert problems[0].severity is Severity.ERROR


def test_the_tool_that_a_policy_does_not_fit_is_named() -> None:
    other = tool("post", schema={"type": "object", "properties": {"to": {"type": "integer"}}})
    (problem,) = inspect(
        '@id("a") permit (principal, action in Action::"send", resource)'
        ' when { context.args has to && context.args.to like "x" };',
        MAIL,
        other,
    )
    assert problem.tool == ("office", "post")
    assert problem.severity is Severity.ERROR


def test_each_wrong_tool_of_a_list_is_named() -> None:
    other = tool("post", schema={"type": "object", "properties": {}})
    (problem,) = inspect(
        '@id("a") permit (principal, action in [Action::"call_tool::office/send_mail",'
        ' Action::"call_tool::office/post"], resource) when { context.args.to == "x" };',
        MAIL,
        other,
    )
    assert problem.tool == ("office", "post")


def test_a_tool_that_is_not_there_is_a_warning_and_its_policy_rests() -> None:
    problems = inspect(
        '@id("gone") forbid (principal, action == Action::"call_tool::git/push", resource)'
        ' when { context.args.remote == "x" };'
        '@id("half") forbid (principal, action in [Action::"call_tool::git/push",'
        ' Action::"call_tool::office/send_mail"], resource) when { context.args.to == "x" };'
        '@id("entity") forbid (principal, action, resource == Tool::"git/push");'
    )
    assert {(p.policy, p.severity) for p in problems} == {
        ("gone", Severity.WARNING),
        ("half", Severity.WARNING),
        ("entity", Severity.WARNING),
    }
    assert all("git/push" in p.text for p in problems)


def test_what_is_left_of_a_list_is_still_validated() -> None:
    problems = inspect(
        '@id("half") forbid (principal, action in [Action::"call_tool::git/push",'
        ' Action::"call_tool::office/send_mail"], resource) when { context.args.to == 3 };'
    )
    assert [p.severity for p in problems] == [Severity.ERROR, Severity.WARNING]


def test_conditions_that_are_never_true_are_found() -> None:
    text = """
    @id("literal") forbid (principal, action, resource) when { false };
    @id("unless") forbid (principal, action, resource) unless { true };
    @id("second") forbid (principal, action, resource) when { resource.pinned } when { false };
    @id("typo") forbid (principal, action in Action::"pay", resource)
      when { context.args has amuont && context.args.amuont > 3 };
    @id("kind") forbid (principal, action == Action::"open_run", resource)
      when { resource is Tool };
    @id("fine") forbid (principal, action in Action::"pay", resource)
      when { context.args has amount && context.args.amount > 3 };
    @id("bare") permit (principal, action in Action::"read", resource);
    """
    dead = [p.policy for p in inspect(text) if "never apply" in p.text]
    assert dead == ["literal", "unless", "second", "typo", "kind"]


def test_policies_that_make_no_difference_are_found() -> None:
    text = """
    @id("all-reads") permit (principal, action in Action::"read", resource);
    @id("some-reads") permit (principal, action in Action::"read", resource)
      when { resource.pinned };
    @id("logged-reads") @log("full")
      permit (principal, action in Action::"read", resource) when { resource.pinned };
    @id("no-pay") forbid (principal, action in Action::"pay", resource);
    @id("some-pay") permit (principal, action in Action::"pay", resource) when { resource.pinned };
    @id("again-1") forbid (principal, action in Action::"grant", resource);
    @id("again-2") forbid (principal, action in Action::"grant", resource);
    """
    found = {p.policy for p in inspect(text) if "no difference" in p.text}
    assert found == {"some-reads", "some-pay", "again-2"}


def test_errors_come_before_warnings() -> None:
    problems = inspect(
        '@id("w") forbid (principal, action, resource) when { false };'
        '@id("e") forbid (principal, action, resource) when { context.nope };'
    )
    assert [p.policy for p in problems] == ["e", "w"]


def test_a_schema_no_policy_could_use_does_not_break_validation() -> None:
    odd = tool(
        "odd\n\"'",
        schema={"type": "object", "properties": {"in": {"type": "string"}, "": MAIL_SCHEMA}},
    )
    text = """@id("a") permit (principal, action in Action::"call_tool", resource)
    when { context.args has __69_n };"""
    assert inspect(text, odd) == []


def test_of_tools_that_look_the_same_to_a_policy_each_is_named() -> None:
    schema = {"type": "object", "properties": {"to": {"type": "integer"}}}
    twins = tuple(
        tool(name, schema=schema | {"properties": {"to": {"type": "integer"}, name: {}}})
        for name in ("a", "b", "c")
    )
    problems = inspect(
        '@id("x") permit (principal, action in Action::"send", resource)'
        ' when { context.args has to && context.args.to == "x" };',
        MAIL,
        *twins,
    )
    assert [p.tool for p in problems] == [("office", "a"), ("office", "b"), ("office", "c")]


def test_a_policy_for_one_tool_entity_may_rely_on_its_arguments_too() -> None:
    good = '@id("x") forbid (principal, action, resource == Tool::"office/send_mail")'
    assert inspect(good + ' when { context.args.to == "x" };') == []
    (problem,) = inspect(good + " when { context.args.to == 3 };")
    assert problem.tool == ("office", "send_mail")


def test_a_policy_whose_action_and_resource_exclude_each_other_is_no_good() -> None:
    problems = inspect(
        '@id("x") forbid (principal, action == Action::"open_run",'
        ' resource == Tool::"office/send_mail");'
    )
    assert problems
