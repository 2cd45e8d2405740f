"""Reading files of policies: statements, annotations, versions, and what policies look at."""

from __future__ import annotations

import pytest
from policy_kit import policies, sources

from midflight.adapters.policy.annotations import join_obligations
from midflight.adapters.policy.parsing import parse_set, split_statements
from midflight.domain.decision import Obligation
from midflight.domain.errors import Misconfigured
from midflight.services.ports.policy_sets import PolicySource

SOFT = "forbid (principal, action, resource) unless { context.approval.granted };"


def problems_of(*texts: str) -> tuple[str, ...]:
    with pytest.raises(Misconfigured) as caught:
        parse_set(sources(*texts))
    return caught.value.problems


def test_every_problem_of_every_file_is_reported_with_its_line() -> None:
    found = problems_of(
        '// one\n\npermit (principal, action, resource);\n@id("a")\npermit (principal action);\n',
        '@id("b") @aprovers("x") permit (principal, action, resource);\n'
        '@id("c") permit (principal, action, resource)',
    )
    assert [problem.split(" ")[0] for problem in found] == [
        "0.cedar:3:",
        "0.cedar:4:",
        "1.cedar:1:",
        "1.cedar:2:",
    ]
    assert "has no @id" in found[0]
    assert "is no Cedar" in found[1]
    assert "@aprovers" in found[2]
    assert "is no Cedar" in found[3]


def test_semicolons_in_strings_and_comments_end_nothing() -> None:
    text = """// ; not here "
    @id("a") @reason("one; two // three \\" ; four")
    permit (principal, action, resource) // and ; here
    when { resource.name == "x;\\\\" };
    @id("b") forbid (principal, action, resource);"""
    found = list(split_statements(PolicySource(name="f", text=text)))
    assert [s.line for s in found] == [2, 5]
    assert list(policies(text).policies) == ["a", "b"]


@pytest.mark.parametrize("text", ["", "  \n", "// nothing", "// nothing\n"])
def test_a_file_without_policies_has_no_statement(text: str) -> None:
    assert list(split_statements(PolicySource(name="f", text=text))) == []


@pytest.mark.parametrize("text", [";", '"', '"open', "/", "@", "permit", "\\", "\x00", "é;"])
def test_rubbish_is_a_problem_and_no_crash(text: str) -> None:
    assert problems_of(text)


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ('@id("") permit (principal, action, resource);', "no plain name"),
        ('@id("a b") permit (principal, action, resource);', "no plain name"),
        ('@id("a") @approvers("x") permit (principal, action, resource);', "never looks at"),
        ('@id("a") @expires("1m") forbid (principal, action, resource);', "never looks at"),
        ('@id("a") @log("full") forbid (principal, action, resource);', "only a permit"),
        ('@id("a") @redact permit (principal, action, resource);', "without a value"),
        ('@id("a") @limit("20") permit (principal, action, resource);', "no rate"),
        ('@id("a") permit (principal == ?principal, action, resource);', "template"),
        (
            '@id("a") @expires("soon") ' + SOFT,
            "no time",
        ),
        (
            '@id("a") @expires("8d") ' + SOFT,
            "no time",
        ),
        (
            '@id("a") @approvers(" , ") ' + SOFT,
            "nobody",
        ),
    ],
)
def test_an_annotation_that_would_not_do_what_it_says_is_refused(policy: str, problem: str) -> None:
    (found,) = problems_of(policy)
    assert problem in found


def test_two_policies_with_one_id_are_refused_with_both_places() -> None:
    policy = '@id("a") permit (principal, action, resource);'
    (found,) = problems_of(policy, "\n" + policy)
    assert found == "1.cedar:2: [a] has the @id of 0.cedar:1"


def test_the_version_is_of_the_meaning_and_not_of_the_layout() -> None:
    one = policies(
        '@id("a") permit (principal, action, resource);',
        '@id("b") forbid (principal, action, resource) when { resource.pinned };',
    )
    other = policies(
        '// moved\n@id("b") forbid(principal,action,resource)\nwhen{resource.pinned};'
        '@id("a") permit(principal,action,resource);'
    )
    assert one.version == other.version
    assert len(one.version) == 64


@pytest.mark.parametrize(
    "text",
    [
        '@id("b") permit (principal, action, resource);',
        '@id("a") forbid (principal, action, resource);',
        '@id("a") permit (principal, action, resource) when { true };',
        '@id("a") @reason("x") permit (principal, action, resource);',
    ],
)
def test_any_change_of_meaning_is_another_version(text: str) -> None:
    assert (
        policies(text).version != policies('@id("a") permit (principal, action, resource);').version
    )


def names_of(condition: str) -> tuple[set[str], set[str]]:
    (policy,) = policies(
        f'@id("a") permit (principal, action, resource) when {{ {condition} }};'
    ).policies.values()
    return set(policy.mentions.names), set(policy.mentions.whole)


@pytest.mark.parametrize(
    ("condition", "names", "whole"),
    [
        ("context.args.to == context.run.steps", {"args", "to", "run", "steps"}, set()),
        ("context has args.to", {"args", "to"}, set()),
        ('context.args has "user-id"', {"args", "user-id"}, set()),
        ('context["args"]["to"] like "x*"', {"args", "to"}, set()),
        ("context == {}", set(), {"context"}),
        ("[context].contains({a: 1})", set(), {"context"}),
        ("context.args == {to: 1}", {"args"}, {"args"}),
        ("[1, context.args.n].isEmpty()", {"args", "n"}, set()),
        ("(if true then context else context).args.to == 1", {"args", "to"}, {"context"}),
        ("(if true then context.args else {}).to == 1", {"args", "to"}, {"args"}),
        ("{a: context.args}.a.to == 1", {"a", "args", "to"}, {"args"}),
        ('principal is Workload in Team::"x" && -1 < 2', set(), set()),
        ("!(context.args.ip.isLoopback())", {"args", "ip"}, set()),
    ],
)
def test_what_a_policy_looks_at_is_never_too_little(
    condition: str, names: set[str], whole: set[str]
) -> None:
    assert names_of(condition) == (names, whole)


def test_obligations_add_up_and_a_limit_that_another_one_covers_is_left_out() -> None:
    found = policies(
        """@id("a") @limit("20/m") @log("full") permit (principal, action, resource);
        @id("b") @limit("100/h") @redact("secret") permit (principal, action, resource);
        @id("c") @limit("20/s") @log("full") permit (principal, action, resource);"""
    )
    assert join_obligations(policy.notes for policy in found.policies.values()) == (
        Obligation(name="limit", value="100/h"),
        Obligation(name="limit", value="20/m"),
        Obligation(name="log", value="full"),
        Obligation(name="redact", value="secret"),
    )
