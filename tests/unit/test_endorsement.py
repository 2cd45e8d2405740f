"""Which values a yes endorses, and which of them name a counterparty."""

from __future__ import annotations

import msgspec
import pytest

from midflight.domain.counterparty import canonical_value, keyed_hash
from midflight.domain.endorsement import MAX_VALUES, Endorsed, endorsed, remembered
from midflight.domain.obligation import masked
from midflight.domain.provenance import ArgumentFacts, Concern, FlowFacts, Origin
from midflight.domain.traits import Role


def flow(*named: tuple[str, Role]) -> FlowFacts:
    return FlowFacts(
        arguments=tuple(
            ArgumentFacts(path=path, role=role, origin=Origin.UNTRUSTED) for path, role in named
        )
    )


def values(arguments: object, *named: tuple[str, Role]) -> list[tuple[str, str]]:
    return [(v.role.value, v.value) for v in endorsed(arguments, flow(*named))]


def test_key_arguments_are_endorsed_where_they_stand() -> None:
    arguments = {"to": ["a@x.org", "b@x.org"], "mail": {"cc": "c@x.org"}, "n": 7, "flag": True}
    assert values(arguments, ("to[1]", Role.RECIPIENT)) == [("recipient", "b@x.org")]
    assert values(arguments, ("to", Role.RECIPIENT)) == [
        ("recipient", "a@x.org"),
        ("recipient", "b@x.org"),
    ]
    assert values(arguments, ("mail.cc", Role.RECIPIENT)) == [("recipient", "c@x.org")]
    assert values(arguments, ("n", Role.AMOUNT)) == [("amount", "7")]
    assert values(arguments, ("flag", Role.AMOUNT), ("absent", Role.AMOUNT)) == []


def test_what_is_not_named_is_not_endorsed() -> None:
    arguments = {"to": "a@x.org", "total": "b@x.org", "to_name": "c@x.org"}
    assert values(arguments, ("to", Role.RECIPIENT)) == [("recipient", "a@x.org")]
    assert values(arguments) == []
    assert values({"to": "plain words"}, ("to", Role.SETTING)) == []


def test_a_path_that_two_values_answer_to_endorses_neither() -> None:
    twice = {"to": {"x": "evil@x.org"}, "to.x": "good@x.org"}
    assert values(twice, ("to.x", Role.RECIPIENT)) == []
    twice = {"to": ["evil@x.org"], "to[0]": "good@x.org"}
    assert values(twice, ("to[0]", Role.RECIPIENT)) == []


def test_what_was_masked_was_not_shown_so_it_is_not_endorsed() -> None:
    kept = {"account": masked("DE89370400440532013000"), "pin": masked(1234), "to": "a@x.org"}
    named = [("account", Role.ACCOUNT), ("pin", Role.CREDENTIAL), ("to", Role.RECIPIENT)]
    assert values(kept, *named) == [("recipient", "a@x.org")]


def test_several_addresses_in_one_text_are_several() -> None:
    assert values({"to": "a@x.org, b@x.org"}, ("to", Role.RECIPIENT)) == [
        ("recipient", "a@x.org"),
        ("recipient", "b@x.org"),
    ]
    assert values({"to": "Smith, John"}, ("to", Role.RECIPIENT)) == [("recipient", "Smith, John")]


BODY = "Pay DE89370400440532013000, see https://x.org/a?b=1. Ask (eve@x.org), not anybody."


def test_of_content_only_addresses_links_and_accounts_are_endorsed() -> None:
    assert values({"body": BODY}, ("body", Role.CONTENT)) == [
        ("account", "DE89370400440532013000"),
        ("url", "https://x.org/a?b=1"),
        ("recipient", "eve@x.org"),
    ]
    assert values({"body": BODY, "other": "plain"}, ("other", Role.SETTING)) == []


def test_content_that_holds_a_secret_vouches_for_nothing() -> None:
    arguments = {"body": BODY, "to": "bob@x.org"}
    facts = flow(("body", Role.CONTENT), ("to", Role.RECIPIENT))
    secret = msgspec.structs.replace(facts, concerns=(Concern.CONTENT_SECRET,))
    assert [v.value for v in endorsed(arguments, secret)] == ["bob@x.org"]


def test_no_more_values_are_endorsed_than_a_person_can_look_at() -> None:
    many = [f"u{n}@x.org" for n in range(2 * MAX_VALUES)]
    assert len(values({"to": many}, ("to", Role.RECIPIENT))) == MAX_VALUES


def test_only_names_of_counterparties_are_remembered() -> None:
    arguments = {
        "to": "a@x.org",
        "account": "DE89 3704 0044 0532 0130 00",
        "amount": 5,
        "body": "see https://x.org/a and a@x.org",
        "text": "first\nsecond",
        "long": " ".join(["word"] * 20),
        "blank": "  ",
    }
    found = remembered(
        endorsed(
            arguments,
            flow(
                ("to", Role.RECIPIENT),
                ("account", Role.ACCOUNT),
                ("amount", Role.AMOUNT),
                ("body", Role.CONTENT),
                ("text", Role.RECIPIENT),
                ("long", Role.RECIPIENT),
                ("blank", Role.RECIPIENT),
            ),
        )
    )
    assert sorted(v.value for v in found) == [
        "DE89 3704 0044 0532 0130 00",
        "a@x.org",
        "https://x.org/a",
    ]


def test_an_endorsed_value_does_not_show_in_its_repr() -> None:
    (found,) = endorsed({"to": "a@x.org"}, flow(("to", Role.RECIPIENT)))
    assert "a@x.org" not in repr(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (" Bob@Example.ORG ", "bob@example.org"),
        ("mailto:bob@example.org", "bob@example.org"),
        ("DE89-3704-0044-0532-0130-00", "de89370400440532013000"),
        ("HTTPS://Example.ORG/Path", "example.org/Path"),
    ],
)
def test_one_counterparty_has_one_form(one: str, other: str) -> None:
    assert canonical_value(one) == other
    assert keyed_hash(b"k" * 32, canonical_value(one)) == keyed_hash(b"k" * 32, other)
    assert keyed_hash(b"k" * 32, other) != keyed_hash(b"l" * 32, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bob@example.org", "b\u043eb@example.org"),  # Cyrillic o
        ("bob@example.org", "bob@example.org.evil.net"),
        ("https://example.org/a", "https://example.org/A"),
        ("https://example.org/", "https://example.org@evil.net/"),
        ("https://example.org/", "https://example.org:8443/"),
    ],
)
def test_a_look_alike_is_another_counterparty(one: str, other: str) -> None:
    assert canonical_value(one) != canonical_value(other)


def test_a_scheme_and_nothing_else_names_nobody() -> None:
    # It would let the yes count and then fail, and the others would not be remembered.
    found = [Endorsed(path="url", role=Role.URL, value=v) for v in ("https://", "www.", "x.org")]
    assert [entry.value for entry in remembered(found)] == ["x.org"]
