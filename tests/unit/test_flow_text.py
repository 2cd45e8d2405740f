from __future__ import annotations

import base64

import pytest

from midflight.domain.flow.text import decodings, skeleton, strict


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann@Office.Example", "ann@office.example"),
        (" ann ", "ann"),
        ("cafe\u0301", "café"),
        ("ÄRGER", "ärger"),
    ],
)
def test_strict_folds_case_space_and_composition(one: str, other: str) -> None:
    assert strict(one) == strict(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("straße", "strasse"),
        ("аnn", "ann"),
        ("ann\u200b", "ann"),
        ("ａｎｎ", "ann"),
        ("oﬃce", "office"),
        ("café", "cafe"),
        ("１３", "13"),
        ("%61nn", "ann"),
    ],
)
def test_strict_keeps_apart_what_is_spelled_otherwise(one: str, other: str) -> None:
    assert strict(one) != strict(other)


@pytest.mark.parametrize(
    "twin",
    ["аnn", "ANN", "a\u200bnn", "ａｎｎ", "ánn", "a\u0301nn", "\u202eann", "αnn", "a\u00adnn"],
)
def test_a_skeleton_is_what_a_reader_sees(twin: str) -> None:
    assert skeleton(twin) == "ann"


@pytest.mark.parametrize("digits", ["٢٣", "۲۳", "२३", "２３"])
def test_digits_of_other_scripts_have_the_skeleton_of_ours(digits: str) -> None:
    assert skeleton(digits) == "23"


def test_a_skeleton_keeps_apart_what_looks_different() -> None:
    assert skeleton("ann") != skeleton("anna")
    assert skeleton("зима") != skeleton("zima")


def test_encodings_are_undone_one_inside_the_other() -> None:
    inner = base64.b64encode(b"eve@post.example").decode()
    assert decodings(inner) == ("eve@post.example",)
    assert decodings(inner.encode().hex())[-1] == "eve@post.example"
    assert decodings("eve%2540post.example") == ("eve%40post.example", "eve@post.example")
    assert decodings("eve%40post.example") == ("eve@post.example",)


@pytest.mark.parametrize("text", ["", "hello", "beautiful", "a plain sentence", "100%", "%zz"])
def test_what_is_in_no_encoding_is_not_undone(text: str) -> None:
    assert decodings(text) == ()


def test_more_encodings_than_anybody_means_are_left() -> None:
    text = "eve@post.example"
    for _ in range(6):
        text = base64.b64encode(text.encode()).decode()
    assert "eve@post.example" not in decodings(text)


def test_what_is_very_long_is_not_decoded() -> None:
    assert decodings("%41" * 4_000) == ()


def test_bytes_that_are_no_text_are_no_decoding() -> None:
    assert decodings(base64.b64encode(bytes(range(128, 160))).decode()) == ()
