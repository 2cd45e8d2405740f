"""Sequences over tools, agents and time: when they are complete, and what is kept of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_kit import after, ended, event, labels, refused, said

from midflight.apps.compose_detectors import sequence_rules
from midflight.domain.event import Event
from midflight.domain.finding import Strength
from midflight.domain.sequence import Over, Rule, Step
from midflight.domain.traits import Effect, Reach
from midflight.services.detectors.sequence import Sequence

RULES = {rule.id: rule for rule in sequence_rules()}


def only(name: str) -> Sequence:
    return Sequence([RULES[name]])


def recon(count: int, **given: object) -> list[Event]:
    return [event(f"read_{n}", effect=Effect.READ, **given) for n in range(count)]


def grant(**given: object) -> Event:
    return event("grant", effect=Effect.GRANT, **given)


def pay(**given: object) -> Event:
    return event("pay", effect=Effect.PAY, reach=Reach.OPEN, **given)


def test_recon_grant_effect_is_found_at_the_effect() -> None:
    found = said(only("recon-grant-effect"), [*recon(3), grant(), pay()])
    (sighting,) = found
    assert (sighting.strength, sighting.after, len(sighting.records)) == (Strength.FAIR, 5, 5)
    assert "recon-grant-effect" in sighting.seen


@pytest.mark.parametrize(
    "events",
    [
        [*recon(2), grant(), pay()],
        [*recon(1), *recon(1), *recon(1), grant(), pay()],  # one tool three times is one
        [grant(), *recon(3), pay()],
        [pay(), grant(), *recon(3)],
        [*recon(3), grant(approved=True), pay()],
        [*recon(3), grant(), pay(approved=True)],
    ],
    ids=["too little", "one tool", "wrong order", "backwards", "grant agreed", "effect agreed"],
)
def test_what_is_not_the_whole_of_it_says_nothing(events: list[Event]) -> None:
    assert said(only("recon-grant-effect"), events) == []


def test_what_lies_between_does_not_matter_and_an_attempt_counts() -> None:
    noise = [event("note", effect=Effect.WRITE) for _ in range(50)]
    last = refused("pay", effect=Effect.PAY)
    events = [*recon(3), *noise, grant(), *noise, last]
    assert len(said(only("recon-grant-effect"), events)) == 1


def test_it_must_happen_within_its_time_from_the_latest_beginning() -> None:
    late = [*recon(3, mono=0.0), grant(mono=10.0), pay(mono=3_700.0)]
    assert said(only("recon-grant-effect"), late) == []
    again = [*recon(3, mono=0.0), *recon(3, mono=3_000.0), grant(mono=3_600.0), pay(mono=3_700.0)]
    assert len(said(only("recon-grant-effect"), again)) == 1


def test_parts_done_by_child_runs_are_one_sequence() -> None:
    events = [
        *recon(3, run="run_2", family="run_1", workload="w2"),
        grant(run="run_3", family="run_1", workload="w3"),
        pay(run="run_1"),
    ]
    assert len(said(only("recon-grant-effect"), events)) == 1


def test_agents_of_one_owner_that_share_the_work_are_noted() -> None:
    events = [
        *recon(3, run="run_1", workload="w1"),
        grant(run="run_2", workload="w2"),
        pay(run="run_3", workload="w3"),
    ]
    assert said(only("recon-grant-effect"), events) == []
    (found,) = said(only("recon-grant-effect-together"), events)
    assert found.strength is Strength.WEAK
    others = [pay(run="run_4", workload="w4", owner="team-two")]
    assert said(only("recon-grant-effect-together"), [*events[:-1], *others]) == []


def test_a_stranger_then_a_secret_then_a_way_out() -> None:
    stranger, both = labels(untrusted=True), labels(untrusted=True, secret=True)
    events = [
        event(),
        ended(labels=stranger),
        event(labels=stranger),
        ended(labels=both),
        pay(labels=both),
    ]
    assert after(only("stranger-secret-out"), events, Strength.FAIR) == 5
    at_once = [event(), ended(labels=both), pay(labels=both)]
    assert after(only("stranger-secret-out"), at_once, Strength.FAIR) == 3
    other_way = [ended(labels=labels(secret=True)), ended(labels=both), pay(labels=both)]
    assert said(only("stranger-secret-out"), other_way) == []


def test_a_secret_that_is_encoded_and_sent() -> None:
    secret = labels(secret=True)
    events = [
        ended(labels=secret),
        event("tools_base64_encode", effect=Effect.EXECUTE, reach=Reach.CLOSED, labels=secret),
        event("fetch", effect=Effect.READ, reach=Reach.OPEN, labels=secret),
    ]
    assert after(only("secret-encoded-out"), events, Strength.FAIR) == 3


def test_a_refusal_a_grant_and_on_it_goes() -> None:
    events = [refused("drop", effect=Effect.DELETE), grant(), event("drop", effect=Effect.DELETE)]
    assert after(only("refused-grant-effect"), events, Strength.FAIR) == 3


def test_one_action_is_one_step() -> None:
    step = Step(effects=frozenset({Effect.SEND}))
    rule = Rule(
        id="two-sends",
        about="sent twice",
        strength=Strength.FAIR,
        over=Over.RUN,
        within_s=60.0,
        steps=(step, step),
    )
    send = event("send", effect=Effect.SEND)
    assert after(Sequence([rule]), [send, send], Strength.FAIR) == 2


def test_it_is_said_once_and_again_only_after_its_time() -> None:
    sequence = only("recon-grant-effect")
    walk = [*recon(3), grant(), pay(), pay(), grant(), pay()]
    assert len(said(sequence, walk)) == 1
    later = [*recon(3, mono=9e4), grant(mono=9e4), pay(mono=9e4)]
    assert len(said(sequence, later)) == 1


def test_the_strongest_of_several_is_said_with_the_others() -> None:
    sequence = Sequence(tuple(RULES.values()))
    (found,) = said(sequence, [*recon(3), grant(), pay()])
    assert found.strength is Strength.FAIR
    assert "also: recon-grant-effect-together" in found.seen


def test_what_is_kept_goes_with_the_run_and_names_that_nobody_serves_are_not_kept() -> None:
    sequence = Sequence(tuple(RULES.values()))
    said(sequence, recon(3))
    for number in range(50):
        sequence.see(refused(f"x{number}", known=False))
    assert len(sequence._can_be) == 3 + 1
    sequence.run_ended("run_1")
    assert len(sequence._walks[Over.FAMILY]) == 0


LETTERS = st.sampled_from("abcx")


@given(st.lists(st.tuples(LETTERS, st.integers(0, 20)), max_size=24), st.integers(1, 40))
def test_a_walk_finds_a_match_if_and_only_if_there_is_one(
    steps: list[tuple[str, int]], within: int
) -> None:
    # The rule is a, then b, then c, within some time; the oracle tries every triple.
    rule = Rule(
        id="abc",
        about="a, b, c",
        strength=Strength.FAIR,
        over=Over.RUN,
        within_s=float(within),
        steps=tuple(Step(names=(f"*/{name}",)) for name in "abc"),
    )
    now, times = 0.0, []
    for name, pause in steps:
        now += pause
        times.append((name, now))
    there_is = any(
        (x, y, z) == ("a", "b", "c") and tz - tx <= within
        for i, (x, tx) in enumerate(times)
        for j, (y, _) in enumerate(times[i + 1 :], start=i + 1)
        for z, tz in times[j + 1 :]
    )
    found = said(Sequence([rule]), [event(name, mono=at) for name, at in times])
    assert bool(found) is there_is
