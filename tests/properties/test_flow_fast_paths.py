"""What the hot path of flow does in a faster way says the same as the plain way."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.flow.atoms import (
    Shape,
    grouped,
    in_groups,
    link,
    looks,
    people,
    same,
    telling,
)
from midflight.domain.flow.orders import PHRASE, phrase
from midflight.domain.flow.text import spaces_for, strict

LETTERS = "aZ09 ._/\\-,;'\"“|@:#?%&=\t\n\x1cßéа²"
texts = st.one_of(st.text(max_size=60), st.text(alphabet=LETTERS, max_size=60))
links = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "http://", "https://", "HTTPS://", "ftp://", "www."]),
    st.sampled_from(["a.example", "WWW.A.example", "a..b", "user@a.example", "a.example:80", ""]),
    st.text(alphabet="/aB1.-_%?#&=~é", max_size=8),
)


@given(texts)
def test_spaces_are_where_translate_puts_them(text: str) -> None:
    marks = "_./\\-“|"
    wide = str.maketrans(dict.fromkeys(marks, " "))
    assert spaces_for(marks)(text) == text.translate(wide)


@given(texts)
def test_a_phrase_is_counted_as_by_splitting(text: str) -> None:
    bare = text.strip()
    if bare:
        assert phrase(bare) == (len(re.split(r"[\s_./\\-]+", bare)) >= PHRASE)


@given(st.one_of(links, texts))
def test_a_link_is_the_same_as_by_the_library(token: str) -> None:
    try:
        parts = urlsplit(token if "://" in token else f"https://{token}")
        host = parts.netloc.lower().removeprefix("www.")
    except ValueError:
        assert link(token) == strict(token)
    else:
        query = f"?{parts.query}" if parts.query else ""
        assert link(token) == host + parts.path.rstrip("/") + query


@given(texts)
def test_both_forms_of_ascii_are_one_but_for_links(token: str) -> None:
    for kind in Shape:
        if token.isascii() and kind is not Shape.LINK:
            assert same(token, kind) == looks(token, kind)


@given(texts)
def test_names_in_an_address_are_those_between_its_joints(text: str) -> None:
    pieces = re.split(r"[._+-]", strict(text).partition("@")[0])
    assert people(text) == [piece for piece in pieces if piece.isalpha()]


@given(st.lists(st.sampled_from(["12 34 56 78 90", "2031-05-15 10:00", "x", "12", ",", "12-"])))
def test_without_digits_in_groups_there_is_no_number_in_groups(pieces: list[str]) -> None:
    text = " ".join(pieces)
    assert in_groups(text) or not list(grouped(text))
    assert in_groups(text) or re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is None


def test_the_token_before_is_the_one_before_without_its_edges() -> None:
    assert telling("See file: 13, AbcDefGhiJkl and x1.") == [
        ("13", "file"),
        ("AbcDefGhiJkl", "13"),
        ("x1", "and"),
    ]
