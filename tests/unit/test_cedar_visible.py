"""Lists: what is hidden, what is shown, and for how long an answer is kept."""

from __future__ import annotations

from typing import Any

import cedarpy
import msgspec
import pytest
from policy_kit import AGENT, ALLOW_ALL, MAIL, engine, facts, policies, tool

from midflight.adapters.policy import visible as module
from midflight.adapters.policy.cedar import CedarEngine
from midflight.domain.action import ActionKind
from midflight.domain.question import RunFacts, Source, Target
from midflight.domain.tool import PinState

STATUS = tool("status", "read", upstream="git", reach="closed")
COMMIT = tool("commit", "write", upstream="git", reach="closed")


def seen(
    judge: CedarEngine, *targets: Target, run: RunFacts | None = None, **more: Any
) -> set[str]:
    return set(
        judge.visible(
            targets or judge.targets,
            workload=more.pop("workload", AGENT),
            run=run or facts(),
            source=more.pop("source", Source()),
            at=more.pop("at", 0),
            **more,
        )
    )


def judge_of(*texts: str) -> CedarEngine:
    return engine(*texts, targets=(MAIL, STATUS, COMMIT))


def test_what_nothing_could_permit_is_hidden() -> None:
    judge = judge_of('@id("r") permit (principal, action in Action::"read", resource);')
    assert seen(judge) == {"status"}


def test_what_some_arguments_would_permit_is_shown() -> None:
    judge = judge_of(
        """@id("a") permit (principal, action in Action::"send", resource)
        when { context.args has to && context.args.to == "boss" };"""
    )
    assert seen(judge) == {"send_mail"}


def test_what_an_approval_would_permit_is_shown() -> None:
    judge = judge_of(
        ALLOW_ALL,
        """@id("f") forbid (principal, action in Action::"write", resource)
        unless { context.approval.granted };""",
    )
    assert seen(judge) == {"send_mail", "status", "commit"}


def test_what_another_moment_would_permit_is_shown() -> None:
    judge = judge_of(
        """@id("t") permit (principal, action, resource)
        when { context.time.hour > 8 && context.run.age_s < 10 };"""
    )
    assert seen(judge, at=0) == {"send_mail", "status", "commit"}


def test_the_labels_of_the_run_hide_what_they_forbid() -> None:
    judge = judge_of(
        ALLOW_ALL,
        """@id("f") forbid (principal, action in Action::"write", resource)
        when { context.run.untrusted };""",
    )
    assert seen(judge) == {"send_mail", "status", "commit"}
    assert seen(judge, run=facts(untrusted=True)) == {"send_mail", "status"}


def test_each_workload_sees_its_own() -> None:
    judge = judge_of(
        f'@id("own") permit (principal == Workload::"{AGENT.id}", action, resource);'
        '@id("team") permit (principal in Team::"blue", action in Action::"read", resource);'
    )
    other = msgspec.structs.replace(AGENT, id="spiffe://example.org/agents/two", team="blue")
    assert seen(judge) == {"send_mail", "status", "commit"}
    assert seen(judge, workload=other) == {"status"}
    assert seen(judge, workload=msgspec.structs.replace(other, team="red")) == set()


def test_tools_that_policies_tell_apart_by_name_have_their_own_answers() -> None:
    many = tuple(tool(f"t{n}", "read", upstream="up") for n in range(4))
    judge = engine(
        '@id("n") permit (principal, action, resource) when { resource.name == "t1" };'
        '@id("e") permit (principal, action, resource) when { resource == Tool::"up/t2" };'
        '@id("a") permit (principal, action == Action::"call_tool::up/t3", resource);',
        targets=many,
    )
    assert seen(judge) == {"t1", "t2", "t3"}


def test_tools_that_policies_do_not_tell_apart_cost_one_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    ask = module.is_authorized_partial

    def count(request: Any, *rest: Any) -> cedarpy.PartialAuthzResult:
        asked.append(request["resource"])
        return ask(request, *rest)

    monkeypatch.setattr(module, "is_authorized_partial", count)
    many = tuple(tool(f"t{n}", "read", upstream="up") for n in range(50))
    judge = engine(ALLOW_ALL, targets=many)
    assert len(seen(judge)) == 50
    assert len(asked) == 1
    seen(judge)
    assert len(asked) == 1


def test_an_answer_is_kept_until_policies_or_tools_change() -> None:
    judge = judge_of(ALLOW_ALL)
    assert seen(judge) == {"send_mail", "status", "commit"}
    judge.activate(policies('@id("r") permit (principal, action in Action::"read", resource);'))
    assert seen(judge) == {"status"}
    judge.register([COMMIT])
    assert seen(judge, MAIL, STATUS, COMMIT) == set()


def test_a_held_or_drifted_tool_is_hidden() -> None:
    judge = judge_of(
        ALLOW_ALL, '@id("pin") forbid (principal, action, resource) unless { resource.pinned };'
    )
    judge.hold({("git", "commit"): "does not fit"})
    assert seen(judge) == {"send_mail", "status"}
    drifted = msgspec.structs.replace(STATUS, pin_state=PinState.DRIFTED)
    assert seen(judge, drifted) == set()


def test_prompts_are_listed_by_their_own_kind() -> None:
    prompt = tool("brief", "read", upstream="git")
    judge = judge_of('@id("p") permit (principal, action == Action::"get_prompt", resource);')
    assert seen(judge, prompt, kind=ActionKind.GET_PROMPT) == {"brief"}
    assert seen(judge, prompt) == set()


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "it's", "é", "\u202e", "\u0301"])
def test_a_name_that_is_hard_to_write_is_not_hidden(name: str) -> None:
    odd = tool(name, "read")
    judge = engine(
        """@id("r") permit (principal, action in Action::"read", resource)
        when { resource.name like "*" };""",
        targets=(odd,),
    )
    assert seen(judge) == {name}


def test_doubt_shows() -> None:
    judge = judge_of(
        ALLOW_ALL,
        '@id("sum") forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };',
    )
    assert seen(judge) == {"send_mail", "status", "commit"}


def test_the_tools_of_a_list_are_parsed_once_for_all_workloads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[int] = []
    build = module.build_entities

    def count(*given: Any, **named: Any) -> cedarpy.Entities:
        parsed.append(1)
        return build(*given, **named)

    monkeypatch.setattr(module, "build_entities", count)
    only = '@id("a") permit (principal, action, resource) when { principal.owner == "ann" };'
    judge = judge_of(only)
    ann = msgspec.structs.replace(AGENT, owner="ann")
    assert [seen(judge, workload=each) for each in (AGENT, ann)] == [
        set(),
        {"send_mail", "status", "commit"},
    ]
    assert len(parsed) == 1
    drifted = msgspec.structs.replace(COMMIT, pin_state=PinState.DRIFTED)
    pinned = '@id("p") permit (principal, action, resource) when { resource.pinned };'
    judge.activate(policies(pinned))
    assert seen(judge, COMMIT) == {"commit"}
    assert seen(judge, drifted) == set()
