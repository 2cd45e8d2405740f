from __future__ import annotations

import pytest

from midflight.domain.flow.atoms import (
    MAX_TOKEN,
    Shape,
    address_host,
    grouped,
    host,
    link,
    looks,
    number,
    same,
    shape,
    telling,
    tokens,
)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("hello", Shape.WORD),
        ("Grüße", Shape.WORD),
        ("two words", Shape.WORD),
        ("17", Shape.NUMBER),
        ("1,250.50", Shape.NUMBER),
        ("$80", Shape.NUMBER),
        ("80eur", Shape.NUMBER),
        ("5%", Shape.NUMBER),
        ("-3", Shape.NUMBER),
        ("ev-2291", Shape.ID),
        ("#4711", Shape.ID),
        ("notes/plan.md", Shape.ID),
        ("plan.md", Shape.ID),
        ("archive.tar.gz", Shape.ID),
        ("snake_case", Shape.ID),
        ("@ann", Shape.HANDLE),
        ("ann@office.example", Shape.EMAIL),
        ("mailto:ann@office.example", Shape.EMAIL),
        ("https://news.example/today", Shape.LINK),
        ("www.news.example", Shape.LINK),
        ("news.example", Shape.LINK),
        ("news.example/a?b=c", Shape.LINK),
        ("news.example:8080", Shape.LINK),
        ("GB29NWBK60161331926819", Shape.ACCOUNT),
        ("123456789", Shape.ACCOUNT),
        ("+4915112345678", Shape.ACCOUNT),
        ("2027-01-02", Shape.DATE),
        ("2027-01-02T10:00", Shape.DATE),
        ("10:30", Shape.DATE),
        ("02.01.2027", Shape.DATE),
    ],
)
def test_a_token_has_the_shape_that_it_looks_like(token: str, expected: Shape) -> None:
    assert shape(token) is expected


def test_tokens_lose_the_punctuation_around_them() -> None:
    text = "Write to <ann@office.example>, (or @ben)! See `plan.md`; “today”."
    assert list(tokens(text)) == [
        "Write", "to", "ann@office.example", "or", "@ben", "See", "plan.md", "today",
    ]  # fmt: skip


def test_a_token_without_end_is_judged_by_its_beginning() -> None:
    assert [len(token) for token in tokens("x" * 10_000)] == [MAX_TOKEN]


def test_telling_tokens_are_those_that_are_no_plain_words() -> None:
    text = "Please move file 13 to ann@office.example on Monday"
    assert list(telling(text)) == [("13", "file"), ("ann@office.example", "to")]


def test_letters_that_are_no_word_tell_something() -> None:
    assert [
        token for token, _ in telling("say ZXYtNDQwODEteA and INTERNATIONALLY Constitution")
    ] == ["ZXYtNDQwODEteA"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to GB29 NWBK 6016 1331 9268 19 please", ["GB29NWBK60161331926819"]),
        ("to GB29-NWBK-6016-1331-9268-19", ["GB29NWBK60161331926819"]),
        ("card 4111 1111 1111 1111", ["4111111111111111"]),
        ("call 0151 2345 6789", ["015123456789"]),
        ("in 2026 and 2027", []),
        ("room 12 34", []),
    ],
)
def test_what_is_written_in_groups_is_put_together(text: str, expected: list[str]) -> None:
    assert list(grouped(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,250.50", "1250.5"),
        ("$1250.50", "1250.5"),
        ("1250.5 ", None),
        ("12,50", "12.5"),
        ("1,250", "1250"),
        ("80eur", "80"),
        ("€80", "80"),
        ("007", "7"),
        ("0.0", "0"),
        ("+80", "80"),
        ("-80", "-80"),
        ("1e999999999", None),
        ("NaN", None),
        ("Infinity", None),
        ("", None),
        ("８０", None),
        ("²", None),
    ],
)
def test_a_number_has_one_spelling(text: str, expected: str | None) -> None:
    if text == "1250.5 ":
        assert number(text.strip()) == "1250.5"
    else:
        assert number(text) == expected


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("https://news.example/a/", "HTTP://NEWS.example/a", True),
        ("www.news.example", "https://news.example/", True),
        ("https://news.example/a", "https://news.example/A", False),
        ("https://news.example/a?x=1", "https://news.example/a", False),
        ("https://ann@news.example/a", "https://news.example/a", False),
        ("https://news.example:8443/a", "https://news.example/a", False),
        ("https://news.example/a%2Fb", "https://news.example/a/b", False),
    ],
)
def test_links_are_the_same_only_where_they_lead_to_the_same_place(
    one: str, other: str, equal: bool
) -> None:
    assert (link(one) == link(other)) is equal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann@office.example", "office.example"),
        ("https://Ann@News.example:8443/x", "news.example"),
        ("https://office.example@post.example/", "post.example"),
        ("news.example/a@b.example", "news.example"),
        ("https://[", ""),
        ("", ""),
    ],
)
def test_the_host_is_where_it_leads(text: str, expected: str) -> None:
    assert host(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "eve@post.example ann@office.example",
        "eve@post.example,ann@office.example",
        "Ann ann@office.example",
        "eve@post.example@office.example",
        "",
    ],
)
def test_more_than_one_address_has_no_host(text: str) -> None:
    assert address_host(text) == ""
    assert address_host("ann@office.example") == "office.example"


def test_accounts_are_compared_without_their_grouping() -> None:
    assert same("GB29-NWBK-6016", Shape.ACCOUNT) == same("gb29nwbk6016", Shape.ACCOUNT)
    assert same("+49151", Shape.ACCOUNT) == "49151"


def test_a_handle_an_id_and_an_address_are_compared_without_their_marks() -> None:
    assert same("@Ann", Shape.HANDLE) == "ann"
    assert same("#4711", Shape.ID) == "4711"
    assert same("mailto:Ann@Office.example", Shape.EMAIL) == "ann@office.example"


def test_what_a_token_looks_like_is_not_what_it_is() -> None:
    twin = "аnn@office.example"
    assert looks(twin, Shape.EMAIL) == same("ann@office.example", Shape.EMAIL)
    assert same(twin, Shape.EMAIL) != same("ann@office.example", Shape.EMAIL)
