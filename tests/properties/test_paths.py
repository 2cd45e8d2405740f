"""Paths of traits: what is written names what it was written from, and matching is the definition.

The reference below follows RFC 9535's words step by step and takes as long as it likes.
"""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from midflight.domain.errors import Malformed
from midflight.domain.paths import (
    MAX_STEPS,
    Step,
    argument_path,
    argument_text,
    result_path,
    result_text,
)

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["a", "b", "c", "[*]", "*", "..", "$", "'", "\\", "__class__", "a.b", "\x00"]
)
PLACES = st.lists(KEYS | st.none(), max_size=12).map(tuple)
FEW = st.lists(st.sampled_from(["a", "b", None]), max_size=8).map(tuple)
STEPS = st.lists(
    st.sampled_from(
        [Step(name=None), *(Step(name=n, deep=d) for n in "ab" for d in (False, True))]
    ),
    max_size=6,
).map(tuple)


def written(steps: tuple[Step, ...]) -> str:
    return "$" + "".join(
        "[*]" if step.name is None else f"{'..' if step.deep else '.'}{step.name}" for step in steps
    )


def names(steps: tuple[Step, ...], place: tuple[str | None, ...]) -> bool:
    if not steps:
        return not place
    if not place:
        return False
    first, rest = steps[0], steps[1:]
    if first.name == place[0] and names(rest, place[1:]):
        return True
    return first.deep and names(steps, place[1:])


@given(PLACES)
def test_a_place_that_is_written_is_read_as_itself(place: tuple[str | None, ...]) -> None:
    text = result_text(place)
    assert text.isascii()
    assert text.isprintable()
    assert str(result_path(text)) == text
    assert result_path(text).matches(place)


@given(PLACES.filter(lambda place: bool(place) and place[0] is not None))
@example(("$",))
@example((".a",))
def test_an_argument_that_is_written_is_read_as_itself(place: tuple[str | None, ...]) -> None:
    assert argument_path(argument_text(place)).matches(place)


@given(PLACES, PLACES)
def test_one_place_is_never_taken_for_another(
    one: tuple[str | None, ...], other: tuple[str | None, ...]
) -> None:
    assert result_path(result_text(one)).matches(other) == (one == other)


@given(STEPS, FEW)
def test_matching_is_what_the_path_says(
    steps: tuple[Step, ...], place: tuple[str | None, ...]
) -> None:
    path = result_path(written(steps))
    assert path.steps == steps
    assert path.matches(place) == names(steps, place)


@given(st.text(max_size=40) | st.text("$.[]*'\\ab", max_size=40))
def test_any_text_is_a_path_or_is_refused(text: str) -> None:
    for compile_path in (result_path, argument_path):
        try:
            path = compile_path(text)
        except Malformed:
            continue
        assert len(path.steps) <= MAX_STEPS
        assert result_path(str(path)) == path


@given(st.lists(st.text(), max_size=50))
def test_matching_never_raises_on_a_hostile_key(keys: list[str]) -> None:
    assert result_path("$..a[*]..b").matches(tuple(keys)) is False
