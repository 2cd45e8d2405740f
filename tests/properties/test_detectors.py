"""Whatever comes: bounded, without an exception, the same each time, and never more than it may."""

from __future__ import annotations

from typing import Any

import msgspec
from detector_kit import event
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.domain.decision import DenyCode
from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.records import Terminal
from midflight.domain.traits import Effect
from midflight.services.detectors.burst import Burst
from midflight.services.detectors.learning import MAX_RUNS, MAX_WORKLOADS, PARTS, Learner
from midflight.services.detectors.novelty import Novelty
from midflight.services.detectors.pipeline import Pipeline

FEW_NAMES = st.sampled_from(["look", "write", "send", "grant", "a/b", "", "✂" * 300])
WORKLOADS = st.sampled_from([f"spiffe://example.org/{name}" for name in "abc"])
RUNS = st.sampled_from([f"run_{number}" for number in range(6)])

events = st.builds(
    event,
    name=FEW_NAMES | st.text(max_size=200),
    at=st.floats(-1e12, 1e12),
    mono=st.floats(0, 1e12),
    record=st.text(max_size=5),
    state=st.none() | st.sampled_from(Terminal),
    workload=WORKLOADS | st.text(max_size=20),
    upstream=FEW_NAMES,
    kind=st.sampled_from(["call_tool", "read_resource", "get_prompt", "?"]),
    owner=st.sampled_from(["", "ann"]),
    run=RUNS | st.just(""),
    effect=st.sampled_from(Effect),
    known=st.booleans(),
    code=st.none() | st.sampled_from(DenyCode),
    bytes_out=st.integers(0, 2**50),
    peer=st.text(max_size=30),
    pipeline=st.booleans(),
)
streams = st.lists(events | RUNS, max_size=60)


def fresh() -> list[Learner]:
    return [Burst(), Novelty(), Pipeline()]


def shown(detectors: list[Learner], stream: list[Event | str]) -> list[Sighting | None]:
    said: list[Sighting | None] = []
    for each in stream:
        for detector in detectors:
            if isinstance(each, str):
                detector.run_ended(each)
            else:
                said.append(detector.see(each))
    return said


@given(streams)
def test_any_stream_is_taken_without_an_exception_and_within_bounds(
    stream: list[Event | str],
) -> None:
    detectors = fresh()
    for sighting in shown(detectors, stream):
        if sighting is not None:
            # No workload here has ended enough runs for more.
            assert sighting.strength is Strength.WEAK or _runs(stream) >= 10
            assert len(sighting.records) <= 8
            assert sighting.seen
    for detector in detectors:
        workloads, runs, _ = detector.memory.sizes()
        assert workloads <= MAX_WORKLOADS
        assert runs <= MAX_RUNS
        for part in range(PARTS):
            for usual in detector.memory.save(part).values():
                detector.say(usual)
                assert len(msgspec.json.encode(usual)) < 250_000


@given(streams)
def test_the_same_events_say_the_same(stream: list[Event | str]) -> None:
    assert shown(fresh(), stream) == shown(fresh(), stream)


@given(streams)
def test_what_is_said_is_never_that_something_is_never_harmless(
    stream: list[Event | str],
) -> None:
    for sighting in shown(fresh(), stream):
        assert sighting is None or sighting.strength < Strength.STRONG


Run = tuple[str, bool, list[tuple[str, Effect, int, float]]]

works: st.SearchStrategy[list[Run]] = st.lists(
    st.tuples(
        WORKLOADS,
        st.booleans(),
        st.lists(
            st.tuples(
                st.sampled_from([f"tool_{number}" for number in range(12)]),
                st.sampled_from(Effect),
                st.integers(0, 400_000),
                st.floats(0.0, 90.0),
            ),
            min_size=1,
            max_size=25,
        ),
    ),
    min_size=1,
    max_size=12,
)


def work(detectors: list[Learner], runs: list[Run], *, first: int, at: float) -> list[Any]:
    """Whole runs, one after the other; what is said, and of what."""
    said: list[Any] = []
    for number, (workload, pipeline, calls) in enumerate(runs, first):
        run = f"run_{number}"
        for place, (name, effect, sent, pause) in enumerate(calls):
            at += pause
            common: dict[str, Any] = {
                "at": 1.8e9 + at, "mono": at, "run": run, "workload": workload,
                "effect": effect, "pipeline": pipeline, "record": f"{number}-{place}",
            }  # fmt: skip
            said += shown(
                detectors,
                [
                    event(name, **common),
                    event(name, **common, state=Terminal.DONE, bytes_out=sent),
                ],
            )
        shown(detectors, [run])
        at += 300.0
    return said


@settings(max_examples=60)
@given(works, works, st.integers(1, 4))
def test_saved_and_restored_is_as_if_there_had_been_no_restart(
    before: list[Run], after: list[Run], times: int
) -> None:
    detectors, taught = fresh(), before * 3 * times  # often enough to be warm
    work(detectors, taught, first=0, at=0.0)
    restored = fresh()
    for kept, new in zip(detectors, restored, strict=True):
        for part in range(PARTS):
            saved = msgspec.json.encode(kept.memory.save(part))
            new.memory.load(msgspec.json.decode(saved), part=part)
    # A window of what was just done goes with the process, so there is a pause as long as one.
    later = {"first": 10_000, "at": 1e7}
    assert work(restored, after, **later) == work(detectors, after, **later)  # type: ignore[arg-type]  # ints and floats


def _runs(stream: list[Event | str]) -> int:
    return sum(isinstance(each, str) for each in stream)
