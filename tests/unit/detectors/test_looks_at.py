"""What a detector need not be shown tells it nothing: it says the same of the rest."""

from __future__ import annotations

import random

import pytest
from plain_kit import Told, event

from midflight.apps.compose_detectors import sequence_rules
from midflight.domain.decision import DenyCode
from midflight.domain.event import Event
from midflight.domain.records import Terminal
from midflight.domain.sequence import When
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Effect
from midflight.services.detection import Choosing, Detector
from midflight.services.detectors.drift import Drift
from midflight.services.detectors.plain import Plain
from midflight.services.detectors.standard import standard

RUN = 150
"""Events of one run."""


def choosing() -> dict[str, Detector]:
    found = (*standard(), *Plain(sequence_rules()).all)
    return {each.name: each for each in found if isinstance(each, Choosing)}


def when(seen: Event) -> When:
    if seen.state is None:
        return When.LEAVING
    return When.REFUSED if seen.state is Terminal.DENIED else When.ENDED


def drawn(chance: random.Random, number: int) -> Event:
    state = chance.choice([None, Terminal.DENIED, *Terminal])
    return event(
        name=f"tool_{chance.randrange(3) + number // 600}",
        state=state,
        code=chance.choice(list(DenyCode)) if state is Terminal.DENIED else None,
        mono=1_000.0 + number,
        record=f"w-{number}",
        digest=f"{chance.randrange(200):x}",
        run=f"run_{number // RUN}",
        owner="team-one",
        effect=chance.choice(list(Effect)),
        undone=chance.random() < 0.5,
        policies=(f"p{chance.randrange(20)}",),
    )


def changes(drift: Drift) -> list[tuple[str, int]]:
    """What it says of all tools when they change: of which run, after how many uses."""
    told = Told()
    drift.watch(told, lambda _upstream, _kind: {f"tool_{number}": "d" for number in range(20)})
    drift.changed("one", PinnedKind.TOOL)
    return [(about["run"], sighting.after) for _, sighting, about in told.found]


@pytest.mark.parametrize("name", sorted(choosing()))
def test_it_says_the_same_without_what_it_does_not_look_at(name: str) -> None:
    all_of_it, its_part = choosing()[name], choosing()[name]
    assert isinstance(its_part, Choosing)
    chance = random.Random(name)
    skipped = found = 0
    for number in range(6_000):
        seen = drawn(chance, number)
        if not number % RUN:
            for each in (all_of_it, its_part):
                each.run_ended(f"run_{number // RUN - 1}")
        said = all_of_it.see(seen)
        if when(seen) in its_part.looks_at:
            assert its_part.see(seen) == said
            found += said is not None
        else:
            assert said is None
            skipped += 1
    assert skipped
    if isinstance(all_of_it, Drift) and isinstance(its_part, Drift):
        told = changes(all_of_it)
        found += len(told)
        assert changes(its_part) == told
    assert found
