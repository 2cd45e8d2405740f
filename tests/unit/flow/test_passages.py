"""Fingerprints of passages."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.flow.passages import PASSAGE, SHARED, passages

WORDS = st.lists(st.sampled_from([f"word{n}" for n in range(400)]), max_size=30)
SHARED_WORDS = st.lists(
    st.sampled_from([f"word{n}" for n in range(400)]), min_size=SHARED, max_size=SHARED
)


@given(WORDS, WORDS, SHARED_WORDS, WORDS, WORDS)
def test_a_shared_passage_is_found_for_certain(
    before: list[str], after: list[str], shared: list[str], ahead: list[str], behind: list[str]
) -> None:
    one = " ".join(before + shared + after)
    other = " ".join(ahead + shared + behind)
    assert not set(passages(one)).isdisjoint(passages(other))


def test_fewer_words_than_a_passage_have_no_fingerprint() -> None:
    assert passages("one two three four") == []
    assert len(passages("one two three four five")) == 1
    assert PASSAGE == 5


def test_case_and_look_alikes_change_nothing() -> None:
    plain = "the harbour opens at six and closes at ten"
    assert passages(plain) == passages(plain.upper().replace("A", "\u0410"))


def test_fingerprints_are_the_same_in_every_process() -> None:
    text = "the harbour opens at six and closes at ten tonight"
    code = f"from midflight.domain.flow.passages import passages\nprint(passages({text!r}))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{passages(text)}\n"}
