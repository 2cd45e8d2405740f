"""Labels that jump, and effects that follow."""

from __future__ import annotations

import pytest
from plain_kit import ended, event, labels, said

from midflight.domain.event import Event
from midflight.domain.finding import Strength
from midflight.domain.labels import Labels
from midflight.domain.traits import Effect, Reach
from midflight.services.detectors.escalation import (
    COMPARTMENTS,
    FOUND_AFTER,
    JUMP_S,
    NOTED_AFTER,
    Escalation,
)

BOTH = labels(untrusted=True, secret=True)


def send(seen: Labels = BOTH, **given: object) -> Event:
    return event("send", effect=Effect.SEND, reach=Reach.OPEN, labels=seen, **given)


def test_a_stranger_and_a_secret_and_then_effects_are_noted_and_found() -> None:
    reads = [ended(labels=labels(untrusted=True)), ended(labels=BOTH)]
    found = said(Escalation(), [*reads, *(send() for _ in range(FOUND_AFTER + 2))])
    assert [(each.strength, each.after) for each in found] == [
        (Strength.WEAK, NOTED_AFTER),
        (Strength.FAIR, FOUND_AFTER),
    ]
    assert "untrusted secret" in found[-1].seen


def test_slow_growth_is_no_jump() -> None:
    reads = [
        ended(labels=labels(untrusted=True), mono=0.0),
        ended(labels=BOTH, mono=JUMP_S + 1),
    ]
    assert said(Escalation(), [*reads, *(send(mono=JUMP_S + 2) for _ in range(9))]) == []


def test_many_compartments_at_once_are_a_jump() -> None:
    names = [f"c{n}" for n in range(COMPARTMENTS)]
    seen = labels(*names)
    found = said(Escalation(), [ended(labels=seen), *(send(seen) for _ in range(FOUND_AFTER))])
    assert found[-1].strength is Strength.FAIR


@pytest.mark.parametrize(
    "harmless",
    [
        {"effect": Effect.READ, "reach": Reach.OPEN},
        {"effect": Effect.WRITE, "reach": Reach.CLOSED},
        {"effect": Effect.SEND, "reach": Reach.OPEN, "approved": True},
    ],
)
def test_reads_closed_effects_and_what_a_person_agreed_to_do_not_count(
    harmless: dict[str, object],
) -> None:
    events = [ended(labels=BOTH), *(event(labels=BOTH, **harmless) for _ in range(20))]
    assert said(Escalation(), events) == []


def test_effects_without_a_jump_say_nothing() -> None:
    seen = labels(untrusted=True)
    assert said(Escalation(), [ended(labels=seen), *(send(seen) for _ in range(20))]) == []


def test_a_run_is_forgotten_with_its_end() -> None:
    escalation = Escalation()
    escalation.see(ended(labels=BOTH))
    escalation.run_ended("run_1")
    assert len(escalation._families) == 0
