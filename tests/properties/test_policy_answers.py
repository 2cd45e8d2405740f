"""An answer that Cedar gave before is the answer that it would give now."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_kit import (
    AGENT,
    ALLOW_ALL,
    MAIL,
    assert_denied,
    engine,
    facts,
    policies,
    question,
    tool,
)

from midflight.adapters.policy import answers, asking
from midflight.adapters.policy.generation import Generation
from midflight.domain.action import ActionKind
from midflight.domain.decision import Decision, DenyCode, Permit
from midflight.domain.identity import Mode
from midflight.domain.labels import Labels
from midflight.domain.question import Question, Source
from midflight.domain.tool import PinState
from midflight.domain.value import Value

LOOKS = """
@id("all") permit (principal, action, resource);
@id("pinned") forbid (principal, action, resource) unless { resource.pinned };
@id("lockdown") forbid (principal, action, resource) when { principal.mode == "lockdown" };
@id("untrusted") @approvers("owner") forbid (principal, action in Action::"send", resource)
  when { context.run.untrusted } unless { context.approval.granted };
@id("standing") forbid (principal, action, resource) when { context.run.response == "quarantine" };
@id("steps") forbid (principal, action, resource) when { context.run.steps > 4 };
@id("to") forbid (principal, action == Action::"call_tool::office/send_mail", resource)
  when { context.args.to like "*@blocked.example" };
@id("peer") forbid (principal, action, resource) when { context.source.peer == "bad" };
"""
LESS = '@id("reads") permit (principal, action in Action::"read", resource);'
READS = tool("read_mail", "read", reach="closed")
REVIEWED = (MAIL, READS)
CHANGED = (
    msgspec.structs.replace(
        MAIL, schema={"type": "object", "properties": {"to": {"type": "integer"}}}
    ),
    READS,
)


class Asked(Value):
    """One question of a sequence, after which the set or the registration may change."""

    which: int
    to: str
    untrusted: bool
    steps: int
    response: str
    peer: str
    pinned: bool
    mode: Mode
    approved: bool
    switch: str


def asked() -> st.SearchStrategy[Asked]:
    return st.builds(
        Asked,
        which=st.integers(0, 1),
        to=st.sampled_from(["a@example.org", "a@blocked.example"]),
        untrusted=st.booleans(),
        steps=st.integers(4, 5),
        response=st.sampled_from(["none", "quarantine"]),
        peer=st.sampled_from(["good", "bad"]),
        pinned=st.booleans(),
        mode=st.sampled_from([Mode.ENFORCE, Mode.LOCKDOWN]),
        approved=st.booleans(),
        switch=st.sampled_from(["", "", "", "less", "looks", "changed", "reviewed"]),
    )


def as_question(one: Asked) -> Question:
    target = REVIEWED[one.which]
    if not one.pinned:
        target = msgspec.structs.replace(target, pin_state=PinState.DRIFTED)
    return question(
        target,
        {"to": one.to} if one.which == 0 else {},
        workload=msgspec.structs.replace(AGENT, mode=one.mode),
        run=facts(steps=one.steps, labels=Labels(untrusted=one.untrusted), response=one.response),
        source=Source(peer=one.peer),
        approved=one.approved,
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(asked(), min_size=2, max_size=25))
def test_what_is_remembered_is_what_a_fresh_engine_says(sequence: list[Asked]) -> None:
    text, targets = LOOKS, REVIEWED
    long_lived = engine(text, targets=targets)
    for one in sequence:
        asks = as_question(one)
        expected = engine(text, targets=targets).decide(asks)
        assert long_lived.decide(asks) == expected
        assert long_lived.decide(asks) == expected
        match one.switch:
            case "less" | "looks":
                text = LESS if one.switch == "less" else LOOKS
                long_lived.activate(policies(text))
            case "changed" | "reviewed":
                targets = CHANGED if one.switch == "changed" else REVIEWED
                long_lived.register(targets)
            case _:
                pass


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    ask = asking.is_authorized

    def count(*given: Any) -> Any:
        calls.append(1)
        return ask(*given)

    monkeypatch.setattr(asking, "is_authorized", count)
    return calls


def test_the_same_question_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    judge = engine(ALLOW_ALL)
    decisions: list[Decision] = [judge.decide(question()) for _ in range(3)]
    assert all(isinstance(decision, Permit) for decision in decisions)
    assert len(calls) == 1


def test_a_registration_begins_with_nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    judge = engine(ALLOW_ALL)
    judge.decide(question())
    judge.register((MAIL,))
    judge.decide(question())
    judge.activate(policies(ALLOW_ALL))
    judge.decide(question())
    assert len(calls) == 3


def test_an_answer_with_errors_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    overflows = "9223372036854775807 + context.run.steps > 0"
    judge = engine(f'@id("broken") permit (principal, action, resource) when {{ {overflows} }};')
    calls = counted(monkeypatch)
    for _ in range(2):
        assert_denied(judge.decide(question()), DenyCode.POLICY_ERROR, "broken")
    assert len(calls) == 2


def test_many_and_long_questions_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = Generation(policies(LOOKS), {(MAIL.upstream, MAIL.name): MAIL}, 0)
    seat = now.seat(ActionKind.CALL_TOOL, MAIL)
    assert seat is not None
    parties = now.between(seat, AGENT, MAIL)
    monkeypatch.setattr(answers, "MAX_ANSWERS", 10)
    kept = answers.Answers()
    for number in range(30):
        kept.keep(parties, b"%d" % number, answers.Answer(allows=True))
    assert len(kept) == 10
    kept.keep(parties, b" " * (answers.MAX_CONTEXT + 1), answers.Answer(allows=True))
    assert kept.known(parties, b" " * (answers.MAX_CONTEXT + 1)) is None
    kept.keep(parties, b"{}", answers.Answer(allows=True, errors=()))
    assert kept.known(parties, b"{}") is None


def test_no_argument_outlives_its_action_in_what_is_remembered() -> None:
    judge: Any = engine(LOOKS, targets=REVIEWED)
    judge.decide(question(MAIL, {"to": "hunter2@example.org"}))
    assert len(judge._now.answers) == 1
    found: set[int] = set()
    waiting: list[object] = [judge._now.answers]
    while waiting:
        each = waiting.pop()
        if id(each) in found or isinstance(each, type):
            continue
        found.add(id(each))
        assert not isinstance(each, (str, bytes)) or "hunter2" not in repr(each)
        waiting += gc.get_referents(each)
