"""By whom somebody is reached is told by the value, and links only to the letter."""

from __future__ import annotations

import pytest

from midflight.domain.flow.fields import leaves
from midflight.domain.flow.index import RunIndex
from midflight.domain.traits import FieldKind


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reach", "ivy@pier.example"),
        ("pager", "+44 20 7946 0018"),
        ("handle", "@ivy"),
        ("bank", "DE44 5001 0517 5407 3249 31"),
    ],
)
def test_a_value_that_reaches_somebody_is_a_contact(field: str, value: str) -> None:
    assert leaves({field: value}, effect=False)[0].kind is FieldKind.CONTACT


def test_a_number_that_is_called_an_id_is_none() -> None:
    assert leaves({"berth_id": "771045512"}, effect=False)[0].kind is FieldKind.SYSTEM


def test_short_text_in_the_answer_of_an_effect_is_text_and_a_status_is_not() -> None:
    assert leaves({"body": "call me now"}, effect=True)[0].kind is FieldKind.TEXT
    assert leaves({"status": "berth closed now"}, effect=True)[0].kind is FieldKind.NAME


@pytest.mark.parametrize(
    "other",
    [
        "https://pier.example/TIDE",
        "https://pier.example/tide#b-1",
        "https://pier.example/tide//",
        "https://pier.example/ti\u200bde",
    ],
)
def test_a_link_is_known_to_the_letter_only(other: str) -> None:
    index = RunIndex(b"k" * 32)
    index.add_words("See https://pier.example/tide today.", record="r", field="f")
    assert index.literal("https://pier.example/tide")
    assert not index.literal(other)
