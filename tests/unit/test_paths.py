"""Paths that traits are written in."""

from __future__ import annotations

import pytest

from midflight.domain.errors import Malformed
from midflight.domain.paths import MAX_STEPS, argument_path, argument_text, result_path, result_text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("$", ()),
        ("$.a", ("a",)),
        ("$.items[*].body", ("items", None, "body")),
        ("$['odd name'].x", ("odd name", "x")),
        ("$..body", ("body",)),
        ("$..body", ("a", None, "b", "body")),
        ("$..a..b", ("a", "a", "c", "b")),
        ("$..a.b[*]", ("x", "a", "a", "b", None)),
        ("$['it\\'s \"\\\\\\u00e9']", ("it's \"\\\u00e9",)),
    ],
)
def test_a_path_names_its_places(text: str, place: tuple[str | None, ...]) -> None:
    assert result_path(text).matches(place)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("$", ("a",)),
        ("$.a", ()),
        ("$.a", ("A",)),
        ("$.a", ("a", "b")),
        ("$.a", ("b", "a")),
        ("$.items[*]", ("items", "0")),
        ("$.items[*]", ("items", "*")),
        ("$.items.x", ("items", None, "x")),
        ("$..a.b", ("a", "c", "b")),
        ("$..body", ("body", "x")),
    ],
)
def test_a_path_names_no_other_place(text: str, place: tuple[str | None, ...]) -> None:
    assert not result_path(text).matches(place)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "$a", "$.", "$..", "$...a", "$. a", "$[0]", "$['a]", "$['a'", "$..[*]", "$.a b"),
        *("$['\n']", "$['\\x41']", "$.é", "$.a$", "$" + ".a" * (MAX_STEPS + 1), "$." + "a" * 2_000),
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        result_path(text)


@pytest.mark.parametrize("text", ["", "$.a", ".a", "[*]", "..a", "a..b", "a b", "a['"])
def test_what_is_no_path_of_an_argument_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        argument_path(text)


def test_the_path_of_an_argument_starts_with_its_name() -> None:
    assert argument_path("event.attendees[*]").matches(("event", "attendees", None))
    assert argument_path("['odd name']").matches(("odd name",))
    assert argument_text(("event", "attendees", None)) == "event.attendees[*]"


def test_a_name_that_looks_like_another_one_does_not_when_it_is_written() -> None:
    assert result_text(("n\u0430me", None)) == "$['n\\u0430me'][*]"


def test_the_role_of_a_list_is_the_role_of_its_values() -> None:
    assert argument_path("to").place == argument_path("to[*]").place == ("to",)
    assert argument_path("to[*].email").place == ("to", None, "email")
    assert argument_path("['a.b']").place != argument_path("a.b").place
