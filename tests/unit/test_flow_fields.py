from __future__ import annotations

import json
from typing import Any

import pytest

from midflight.domain.flow.fields import MAX_DEPTH, document, flat, leaves, plain_key, words_of
from midflight.domain.traits import FieldKind

SYSTEM, NAME, CONTACT, TEXT = (
    FieldKind.SYSTEM,
    FieldKind.NAME,
    FieldKind.CONTACT,
    FieldKind.TEXT,
)
LONG = "one two three four five six seven"


def kind_of(name: str, value: Any, *, effect: bool = False) -> FieldKind:
    (leaf,) = leaves({name: value}, effect=effect)
    return leaf.kind


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("id", "ev-2291", SYSTEM),
        ("count", 17, SYSTEM),
        ("start", "2027-01-02T10:00", SYSTEM),
        ("state", "confirmed", NAME),
        ("title", "Lunch with Ben", NAME),
        ("title", LONG, TEXT),
        ("anything", "one\ntwo", TEXT),
        ("description", "two words", TEXT),
        ("messageBody", "two words", TEXT),
        ("iban", "GB29NWBK60161331926819", SYSTEM),
        ("note", "GB29NWBK60161331926819", TEXT),
        ("comment", "eve@post.example", TEXT),
        ("title", "Write eve@post.example", TEXT),
        ("sender", "eve@post.example", CONTACT),
        ("created_by", "Eve", CONTACT),
        ("sharedWith", "ann@office.example", CONTACT),
        ("display_name", "eve@post.example", CONTACT),
        ("file_name", "news.example", CONTACT),
        ("file_name", "plan.md", SYSTEM),
    ],
)
def test_whose_words_a_field_holds_shows_in_its_name_and_shape(
    name: str, value: Any, expected: FieldKind
) -> None:
    assert kind_of(name, value) is expected


def test_a_status_line_of_an_effect_is_the_tools_own_word() -> None:
    line = "The event has been created and all have been told."
    assert kind_of("message", line, effect=True) is SYSTEM
    assert kind_of("message", line) is TEXT
    assert kind_of("message", line.replace("all", "eve@post.example"), effect=True) is TEXT
    assert kind_of("message", " ".join(["word"] * 40), effect=True) is TEXT
    assert kind_of("message", line + "\nMore", effect=True) is TEXT


@pytest.mark.parametrize(
    "name", ["password", "apiKey", "client-secret", "access_token", "pin", "recoveryCode", "cvv"]
)
def test_a_field_that_is_called_like_a_secret_is_one(name: str) -> None:
    (leaf,) = leaves({name: "x-1"}, effect=False)
    assert leaf.secret


@pytest.mark.parametrize("name", ["pinned", "spin", "user", "secretary", "tokens_used"])
def test_a_field_that_only_sounds_like_a_secret_is_none(name: str) -> None:
    (leaf,) = leaves({name: "x-1"}, effect=False)
    assert not leaf.secret


def test_nothing_and_flags_are_no_values() -> None:
    assert leaves({"a": None, "b": True, "c": "", "d": "  ", "e": [], "f": {}}, effect=False) == []


def test_a_document_in_a_string_is_that_document() -> None:
    value = {"items": [{"id": "ev-1", "note": LONG}]}
    inside = leaves({"result": json.dumps(value)}, effect=False)
    assert [(leaf.path, leaf.kind) for leaf in inside] == [
        (("result", "items", None, "id"), SYSTEM),
        (("result", "items", None, "note"), TEXT),
    ]
    twice = leaves(json.dumps([json.dumps(value)]), effect=False)
    assert [leaf.text for leaf in twice] == ["ev-1", LONG]


@pytest.mark.parametrize(
    "text", ["{", "[1", "{'a': 1}", '{"a": 1, "a": 2}', '[{"a": {"b": 1, "b": 1}}]', "null", "x"]
)
def test_what_is_no_document_or_reads_two_ways_stays_a_text(text: str) -> None:
    assert document(text) is None


def test_a_document_of_two_readings_keeps_both() -> None:
    text = '{"note": "' + LONG + '", "note": "fine"}'
    (leaf,) = leaves(text, effect=False)
    assert leaf.kind is TEXT
    assert LONG in leaf.text


def test_a_key_that_no_program_would_choose_is_data() -> None:
    found = leaves({"users": {"eve@post.example": 1, "plain_key": 2, LONG: 3}}, effect=False)
    assert {leaf.text for leaf in found} == {"1", "2", "3", "eve@post.example", LONG}
    assert next(leaf for leaf in found if leaf.text == LONG).kind is TEXT
    assert not plain_key("x" * 65)
    assert plain_key("sharedWith")


def test_records_are_counted_from_outside() -> None:
    found = leaves({"items": [{"id": "a-1"}, {"id": "a-2", "by": {"id": "a-3"}}]}, effect=False)
    assert [leaf.records for leaf in found] == [(1, 2), (1, 3), (1, 3, 4)]


def test_what_is_too_deep_is_one_text_with_everything_in_it() -> None:
    value: Any = {"id": "ev-2291", "who": ["eve@post.example", 17]}
    for _ in range(MAX_DEPTH + 5):
        value = {"in": value}
    (leaf,) = leaves(value, effect=False)
    assert leaf.kind is TEXT
    assert {"ev-2291", "eve@post.example", "17", "who"} <= set(leaf.text.split())


def test_flattening_ends_however_much_there_is() -> None:
    assert len(flat(["x" * 1_000] * 1_000)) < 100_000
    assert flat({"a": [1.0, 2.5, None, True, {"b": "c"}]}) == "a 1 2.5 b c"


def test_a_name_is_read_in_its_words() -> None:
    assert {words_of(n) for n in ("sharedWith", "shared_with", "shared-with", "Shared With")} == {
        "shared_with"
    }
