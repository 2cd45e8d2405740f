"""The standard detectors together, over honest work."""

from __future__ import annotations

import random

import pytest
from detector_kit import Worker

from midflight.domain.finding import Strength
from midflight.services.detectors.learning import Learner
from midflight.services.detectors.standard import standard

READS = ["search", "read", "list", "look"]
WRITES = ["write", "send", "archive"]
RARE = ["export", "invite", "grant", "remove"]


def test_every_detector_has_a_name_of_its_own() -> None:
    names = [detector.name for detector in standard()]
    assert len(set(names)) == len(names)
    assert {"burst", "novelty", "pipeline"} <= set(names)


def test_those_that_learn_are_kept() -> None:
    learners = [each.name for each in standard() if isinstance(each, Learner)]
    assert {"burst", "novelty", "pipeline"} <= set(learners)


@pytest.mark.parametrize("seed", range(4))
def test_honest_work_of_an_agent_is_hardly_ever_more_than_a_note(seed: int) -> None:
    chance, worker = random.Random(seed), Worker(*standard())
    runs, above = 400, 0
    for _ in range(runs):
        names = chance.choices(READS, k=min(60, 1 + int(chance.lognormvariate(1.5, 0.7))))
        names += chance.choices(WRITES, k=chance.randint(0, 4))
        names += chance.sample(RARE, k=int(chance.random() < 0.02))
        chance.shuffle(names)
        said = worker.work(
            names,
            effects=WRITES + RARE,
            pause=chance.lognormvariate(1.4, 0.8),
            after=chance.expovariate(1 / 900),
            sent=int(chance.lognormvariate(7, 1)),
        )
        above += any(each.strength >= Strength.FAIR for each in said)
    assert above <= runs // 100


@pytest.mark.parametrize("seed", range(4))
def test_honest_jobs_are_hardly_ever_more_than_a_note(seed: int) -> None:
    chance, worker = random.Random(seed), Worker(*standard(), pipeline=True)
    runs, above = 400, 0
    for _ in range(runs):
        names = ["checkout", "build", *["test"] * chance.randint(1, 4)]
        if chance.random() < 0.8:  # the others fail
            names += ["package", "publish"] + ["announce"] * (chance.random() < 0.1)
        said = worker.work(names, effects=["package", "publish", "announce"], pause=2.0)
        if any(each.strength >= Strength.FAIR for each in said):
            above += 1
            for detector in worker.detectors:  # an operator has looked at it
                if isinstance(detector, Learner):
                    detector.memory.accept(f"run_one_{worker.runs}")
    assert above <= runs // 100
