"""The rules of an approval, without store or clock."""

from __future__ import annotations

import itertools
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.policy.annotations import annotation_problems
from midflight.domain.approval import (
    LIVE,
    TRANSITIONS,
    Answer,
    ApprovalRequest,
    ApprovalState,
    Shown,
    answered,
    binding_code,
    has_agreed,
    may_follow,
    stands_for,
    still_missing,
    to_remember,
    worse,
)
from midflight.domain.errors import Conflict
from midflight.domain.labels import UNTRUSTED, Confidentiality, Labels
from midflight.domain.provenance import ArgumentFacts, Concern, FlowFacts, Origin
from midflight.domain.traits import Effect, Reach, Role, Traits


def request(**changes: Any) -> ApprovalRequest:
    fields: dict[str, Any] = {
        "id": "apr_1",
        "digest": "d",
        "run": "run_1",
        "workload": "spiffe://a/b",
        "owner": "ada",
        "kind": "call_tool",
        "method": "tools/call",
        "upstream": "mail",
        "name": "send",
        "arguments": None,
        "reasons": (),
        "approvers": ("owner",),
        "shown": Shown(),
        "created_at": 0,
        "expires_at": 600,
    }
    return ApprovalRequest(**{**fields, **changes})


def answer(author: str, *roles: str, yes: bool = True, at: int = 1, remember_s: int = 0) -> Answer:
    return Answer(author=author, proof="p", at=at, yes=yes, stands_for=roles, remember_s=remember_s)


# States


def test_what_is_not_live_is_final() -> None:
    assert set(TRANSITIONS) == set(ApprovalState)
    for state, after in TRANSITIONS.items():
        assert bool(after) is (state in LIVE)
        assert state not in after
    assert {s for s in ApprovalState if may_follow(s, ApprovalState.USED)} == {
        ApprovalState.APPROVED
    }


@pytest.mark.parametrize("state", [s for s in ApprovalState if s is not ApprovalState.PENDING])
def test_only_a_pending_request_is_answered(state: ApprovalState) -> None:
    with pytest.raises(Conflict):
        answered(request(state=state), answer("ada", "owner"))


def test_an_answer_at_the_second_of_the_end_is_too_late() -> None:
    assert answered(request(), answer("ada", "owner", at=599)).state is ApprovalState.APPROVED
    with pytest.raises(Conflict, match="expired"):
        answered(request(), answer("ada", "owner", at=600))
    assert not request(state=ApprovalState.APPROVED).is_live(600)


def test_one_no_among_several_refuses() -> None:
    two = request(approvers=("owner", "security"))
    asked = answered(two, answer("ada", "owner"))
    assert asked.state is ApprovalState.PENDING
    assert answered(asked, answer("bob", "security", yes=False)).state is ApprovalState.REFUSED


# Who may answer


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ada", ("owner",)),
        ("bob", ("security",)),
        ("security", ("security",)),
        ("carol", ("owner",)),
        ("dave", ("owner", "security")),
        ("Ada", ()),
        ("ada ", ()),
        ("owner", ()),
        ("", ()),
    ],
)
def test_an_operator_stands_for_his_name_his_workloads_and_his_groups(
    name: str, expected: tuple[str, ...]
) -> None:
    groups = {"security": ["bob", "dave"], "ada": ["carol"], "owner": ["dave"]}
    assert stands_for(name, ("owner", "security"), owner="ada", groups=groups) == expected


def test_two_approvers_are_two_persons() -> None:
    both = answer("dave", "owner", "security")
    assert not has_agreed(("owner", "security"), [both])
    assert has_agreed(("owner", "security"), [both, answer("bob", "security")])
    assert has_agreed(("owner", "security"), [both, answer("ada", "owner")])
    assert not has_agreed((), [both])


names = st.sampled_from("abcd")
given_answers = st.lists(
    st.tuples(names, st.frozensets(names, min_size=1), st.booleans()),
    unique_by=lambda entry: entry[0],
    max_size=4,
)


@given(st.lists(names, min_size=1, unique=True), given_answers)
def test_agreement_is_a_matching_of_persons_to_approvers(
    approvers: list[str], raw: list[tuple[str, frozenset[str], bool]]
) -> None:
    answers = [answer(f"person-{a}", *sorted(roles), yes=yes) for a, roles, yes in raw]
    agreeing = [a for a in answers if a.yes]
    exists = any(
        all(approver in a.stands_for for approver, a in zip(approvers, order, strict=True))
        for order in itertools.permutations(agreeing, len(approvers))
    )
    assert has_agreed(approvers, answers) is exists
    assert has_agreed(approvers, answers[::-1]) is exists
    assert (still_missing(approvers, answers) == ()) is exists


def test_the_shortest_word_about_remembering_counts() -> None:
    two = request(approvers=("owner", "security"))
    after = answered(two, answer("ada", "owner", remember_s=50))
    assert to_remember(after) is None
    after = answered(after, answer("bob", "security", remember_s=20))
    found = to_remember(after)
    assert found is not None
    assert (found.author, found.remember_s) == ("bob", 20)
    assert to_remember(answered(request(), answer("ada", "owner"))) is None


# Which change takes a yes back


def facts(**changes: Any) -> ArgumentFacts:
    fields: dict[str, Any] = {"path": "to", "role": Role.RECIPIENT, "origin": Origin.TRUSTED}
    return ArgumentFacts(**{**fields, **changes})


SHOWN = Shown(
    labels=UNTRUSTED,
    flow=FlowFacts(arguments=(facts(),), origin=Origin.TRUSTED, concerns=(Concern.KEY_UNLINKED,)),
    pin="p",
    traits=Traits(effect=Effect.SEND, reach=Reach.OPEN, reviewed=True),
)


def flow(**changes: Any) -> Shown:
    return msgspec.structs.replace(SHOWN, flow=msgspec.structs.replace(SHOWN.flow, **changes))


def test_the_same_and_better_facts_leave_a_yes_alone() -> None:
    assert worse(SHOWN, SHOWN) is None
    assert worse(SHOWN, msgspec.structs.replace(SHOWN, labels=Labels(), version="v2")) is None
    assert worse(SHOWN, flow(concerns=())) is None
    assert worse(SHOWN, flow(arguments=(facts(origin=Origin.ENDORSED),))) is None
    assert worse(SHOWN, flow(arguments=(), origin=Origin.INTENT)) is None


@pytest.mark.parametrize(
    "now",
    [
        msgspec.structs.replace(
            SHOWN, labels=Labels(untrusted=True, confidentiality=Confidentiality.SECRET)
        ),
        msgspec.structs.replace(
            SHOWN, labels=Labels(untrusted=True, compartments=frozenset({"hr"}))
        ),
        msgspec.structs.replace(SHOWN, pin="q"),
        msgspec.structs.replace(SHOWN, traits=Traits(effect=Effect.READ)),
        flow(concerns=(Concern.KEY_UNLINKED, Concern.CONTENT_SECRET)),
        flow(origin=Origin.UNTRUSTED),
        flow(asked=False),
        flow(carries=UNTRUSTED),
        flow(arguments=(facts(origin=Origin.MODEL),)),
        flow(arguments=(facts(untrusted=True),)),
        flow(arguments=(facts(confidentiality=2),)),
        flow(arguments=(facts(), facts(path="cc"))),
        flow(arguments=(facts(), facts())),
        flow(arguments=(facts(role=Role.ACCOUNT),)),
    ],
)
def test_every_worse_fact_takes_a_yes_back(now: Shown) -> None:
    assert worse(SHOWN, now)


# Four eyes: the owner's own are none of the others

FOUR = ("owner", "security", "!owner")


@pytest.mark.parametrize(
    ("name", "member_of", "approvers", "expected"),
    [
        ("bob", ("security",), ("security", "!owner"), ("security",)),
        ("ann", ("security",), ("security", "!owner"), ()),
        ("eve", ("ann", "security"), ("security", "!owner"), ()),
        ("ann", ("security",), FOUR, ("owner",)),
        ("bob", ("security",), FOUR, ("security",)),
        ("!owner", (), ("security", "!owner"), ()),
        ("x", ("!owner", "owner"), ("security", "!owner"), ()),
    ],
)
def test_who_answers_for_the_owner_counts_for_nobody_else(
    name: str, member_of: tuple[str, ...], approvers: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    found = stands_for(name, approvers, owner="ann", groups={}, member_of=member_of)
    assert found == expected


def test_nobody_agrees_for_the_one_who_is_left_out() -> None:
    def yes(author: str, *roles: str) -> Answer:
        return Answer(author=author, proof="p", at=0, yes=True, stands_for=roles)

    assert not has_agreed(("!owner",), [yes("bob", "!owner")])
    assert has_agreed(("security", "!owner"), [yes("bob", "security")])
    assert not has_agreed(FOUR, [yes("bob", "security")])
    assert has_agreed(FOUR, [yes("bob", "security"), yes("ann", "owner")])
    assert still_missing(FOUR, [yes("bob", "security")]) == ("owner",)


@pytest.mark.parametrize("text", ["!owner", "security, !security", "!"])
def test_a_policy_that_leaves_out_whom_it_cannot_is_refused(text: str) -> None:
    noted = {"id": "x", "approvers": text}
    assert list(annotation_problems(noted, effect="forbid", asks=True))


def test_a_code_is_of_one_question_alone() -> None:
    codes = {binding_code(f"apr_{n}", digest) for n in range(50) for digest in "ab"}
    assert len(codes) == 100
    assert all(re.fullmatch(r"MF-[A-Z2-7]{4}-[A-Z2-7]{4}", code) for code in codes)
