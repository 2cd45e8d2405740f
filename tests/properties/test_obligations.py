"""Obligations add up: a semilattice, in which nothing that is joined takes anything away."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.decision import Obligation
from midflight.domain.flow.yields import Reviewed
from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.obligation import REDACTED, SECONDS, Owed, Rate, masked, owed, problem
from midflight.domain.redaction import redact_result
from midflight.domain.traits import Effect, FieldKind, Reach, Traits, Yield
from midflight.services.limits import Limits, Use
from midflight.testing import FakeClock

LABEL = st.sampled_from(["secret", "internal", "untrusted", "medical", "payroll"])
RATE = st.builds(
    lambda count, unit: f"{count}/{unit}", st.integers(1, 300), st.sampled_from("smhd")
)
OBLIGATION = st.one_of(
    st.builds(Obligation, name=st.just("redact"), value=LABEL),
    st.builds(Obligation, name=st.just("limit"), value=RATE),
    st.builds(
        Obligation,
        name=st.just("mask"),
        value=st.sampled_from(["args.card", "args.to[*]", "result.card", "result..pin", "card"]),
    ),
    st.builds(Obligation, name=st.just("log"), value=st.sampled_from(["full", "some"])),
    st.builds(Obligation, name=st.text(max_size=8), value=st.text(max_size=8)),
)
OWED = st.lists(OBLIGATION, max_size=6).map(owed)
LABELS = st.builds(
    Labels,
    untrusted=st.booleans(),
    confidentiality=st.sampled_from(Confidentiality),
    compartments=st.frozensets(st.sampled_from(["medical", "payroll"])),
)


@given(OWED, OWED, OWED)
def test_joining_is_associative_commutative_and_idempotent(a: Owed, b: Owed, c: Owed) -> None:
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(b) == b.join(a)
    assert a.join(a) == a


@given(OWED, OWED, LABELS)
def test_joining_never_takes_anything_away(a: Owed, b: Owed, labels: Labels) -> None:
    both = a.join(b)
    assert both.takes_out(labels) == (a.takes_out(labels) or b.takes_out(labels))
    assert both.full == (a.full or b.full)
    assert both.unkept >= a.unkept | b.unkept
    assert both.arguments >= a.arguments
    assert both.results >= a.results
    for rate in a.rates | b.rates:
        assert any(kept.covers(rate) for kept in both.rates)


@given(st.lists(OBLIGATION, max_size=6))
def test_what_is_refused_when_it_is_written_is_not_kept_when_it_is_read(
    found: list[Obligation],
) -> None:
    wrong = {f'{o.name}("{o.value}")' for o in found if problem(o.name, o.value) is not None}
    assert owed(found).unkept == wrong


@given(st.text(max_size=40))
def test_a_mask_never_shows_half_of_a_value(text: str) -> None:
    shown = masked(text).removeprefix("****")
    assert text.endswith(shown)
    assert 2 * len(shown) <= max(len(text), 0)


class Naive:
    """The window as its definition says it."""

    def __init__(self) -> None:
        self.uses: deque[tuple[float, Use]] = deque()

    def fits(self, now: float, rates: frozenset[Rate]) -> bool:
        return all(
            sum(use.flying or at > now - rate.seconds for at, use in self.uses) < rate.count
            for rate in rates
        )


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "land", "wait"]), st.integers(0, 70)), max_size=60
)


@given(st.frozensets(RATE, min_size=1, max_size=3), STEPS)
def test_a_window_is_what_its_definition_says(
    written: frozenset[str], steps: list[tuple[str, int]]
) -> None:
    rates = owed(Obligation(name="limit", value=rate) for rate in written).rates
    clock = FakeClock()
    windows, naive = Limits(clock), Naive()
    key = ("w", "u", "t")
    for step, number in steps:
        now = clock.monotonic()
        if step == "wait":
            clock.advance(number)
        elif step == "land" and naive.uses:
            naive.uses[number % len(naive.uses)][1].flying = False
        elif step == "take":
            fits = naive.fits(now, rates)
            taken = windows.take(key, rates)
            assert isinstance(taken, Use) == fits
            if isinstance(taken, Use):
                naive.uses.append((now, taken))
            else:
                wait, _ = taken
                # What is said to pass does: with nothing in between it fits then, and not before.
                if wait != float("inf"):
                    assert naive.fits(now + wait, rates)
                    assert not naive.fits(now + wait * 0.999 - 1e-6, rates)
    assert set(SECONDS.values()) == {1, 60, 3_600, 86_400}


REVIEWED = Reviewed(
    Traits(
        effect=Effect.READ,
        reach=Reach.CLOSED,
        reviewed=True,
        yields=(Yield(path="$..s", kind=FieldKind.SYSTEM, confidentiality=Confidentiality.SECRET),),
    )
)
NEEDLE = "zq7w-xk41-vv09"
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.text(max_size=12),
    st.just(NEEDLE),
    st.just(f"it is {NEEDLE}."),
    st.just(json.dumps({"s": NEEDLE, "t": NEEDLE.upper()})),
)
DOCUMENT = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["s", "t", "a b", NEEDLE]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(DOCUMENT, st.lists(DOCUMENT, max_size=3))
def test_what_was_taken_out_is_nowhere_and_taking_it_out_again_changes_nothing(
    said: Any, others: list[Any]
) -> None:
    texts = [o if isinstance(o, str) else json.dumps(o) for o in others]
    result = {
        "structuredContent": {"s": NEEDLE, "said": said},
        "content": [{"type": "text", "text": text} for text in texts],
    }
    before = json.dumps(result)
    done = redact_result(result, REVIEWED, Owed(redact=frozenset({"secret"})))
    assert json.dumps(result) == before
    assert NEEDLE not in json.dumps(done).lower()
    assert done["structuredContent"]["s"] == REDACTED
    again = redact_result(done, REVIEWED, Owed(redact=frozenset({"secret"})))
    assert again["structuredContent"] == done["structuredContent"]
    assert NEEDLE not in json.dumps(again).lower()
