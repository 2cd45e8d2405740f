from __future__ import annotations

from typing import Any

import pytest

from midflight.domain.flow.fields import MAX_DEPTH, leaves
from midflight.domain.flow.yields import Reviewed
from midflight.domain.labels import BOTTOM, UNTRUSTED, Confidentiality, Labels
from midflight.domain.traits import Effect, FieldKind, Reach, Traits, Yield

LONG = "one two three four five six seven"
MAIL = {"mails": [{"id": "m-1", "sender": "ann@office.example", "body": LONG}]}
OFFICE = frozenset({"office.example"})


def traits(*yields: Yield, **more: Any) -> Traits:
    given = {"effect": Effect.READ, "reach": Reach.CLOSED, "reviewed": True} | more
    return Traits(yields=yields, **given)


def told(value: Any, has: Traits) -> dict[str, tuple[FieldKind, Labels]]:
    found = Reviewed(has).apply(leaves(value, effect=False))
    return {leaf.name: (leaf.kind, labels) for leaf, labels in found}


def test_what_was_reviewed_holds_where_it_speaks() -> None:
    found = told(MAIL, traits(Yield(path="$.mails[*].body", kind=FieldKind.OWN)))
    assert found["body"] == (FieldKind.OWN, BOTTOM)
    found = told(MAIL, traits(Yield(path="$..id", kind=FieldKind.TEXT)))
    assert found["id"] == (FieldKind.TEXT, UNTRUSTED)


def test_the_first_rule_that_fits_counts() -> None:
    rules = [Yield(path="$..body", kind=FieldKind.OWN), Yield(path="$.mails[*].body")]
    assert told(MAIL, traits(*rules))["body"] == (FieldKind.OWN, BOTTOM)
    assert told(MAIL, traits(*reversed(rules)))["body"] == (FieldKind.TEXT, UNTRUSTED)


def test_where_a_review_is_silent_name_and_shape_decide() -> None:
    found = told(MAIL, traits(Yield(path="$..id", kind=FieldKind.SYSTEM)))
    assert found["body"] == (FieldKind.TEXT, UNTRUSTED)
    assert found["sender"] == (FieldKind.CONTACT, BOTTOM)


def test_a_closed_upstream_that_was_reviewed_without_yields_returns_the_owners_words() -> None:
    assert told(MAIL, traits())["body"] == (FieldKind.OWN, BOTTOM)
    assert told(MAIL, traits(first_party=True, reviewed=False, proposed=True))["body"] == (
        FieldKind.OWN,
        BOTTOM,
    )


def test_whoever_takes_part_is_not_the_owner_even_there() -> None:
    assert told(MAIL, traits())["sender"] == (FieldKind.CONTACT, BOTTOM)


def test_what_was_only_proposed_is_nobodys_own() -> None:
    assert told(MAIL, traits(reviewed=False, proposed=True))["body"] == (FieldKind.TEXT, UNTRUSTED)


@pytest.mark.parametrize(
    ("has", "floor"),
    [
        (traits(), BOTTOM),
        (traits(reach=Reach.OPEN), UNTRUSTED),
        (traits(reach=Reach.OPEN, effect=Effect.SEND), BOTTOM),
        (traits(reach=Reach.OPEN, effect=Effect.EXECUTE), UNTRUSTED),
        (traits(reviewed=False), UNTRUSTED),
        (traits(reviewed=False, proposed=True), BOTTOM),
        (Traits(), UNTRUSTED),
    ],
)
def test_an_empty_answer_of_the_open_world_is_untrusted_too(has: Traits, floor: Labels) -> None:
    assert Reviewed(has).floor == floor


def test_from_the_open_world_an_address_is_somebodys_word_and_an_id_a_label() -> None:
    found = told({"id": "x-1", "link": "news.example"}, traits(reach=Reach.OPEN))
    assert found["id"] == (FieldKind.SYSTEM, UNTRUSTED)
    assert found["link"] == (FieldKind.TEXT, UNTRUSTED)


def conditional() -> Traits:
    rule = Yield(path="$..body", unless_field="sender", domains=OFFICE)
    return traits(rule)


def test_the_words_of_a_sender_of_the_owners_domain_are_the_owners() -> None:
    assert told(MAIL, conditional())["body"] == (FieldKind.OWN, BOTTOM)


@pytest.mark.parametrize(
    "sender",
    [
        "eve@post.example",
        "ann@office.example.post.example",
        "ann@office.example@post.example",
        "eve@post.example, ann@office.example",
        "eve@post.example ann@office.example",
        "ann@office.example <eve@post.example>",
        "https://office.example@post.example/",
        "ann@оffice.example",
        "office.example.",
        "",
        ["ann@office.example", "eve@post.example"],
    ],
)
def test_the_words_of_any_other_sender_are_not(sender: Any) -> None:
    value = {"mails": [{"sender": sender, "body": LONG}]}
    assert told(value, conditional())["body"] == (FieldKind.TEXT, UNTRUSTED)


def test_a_sender_beside_another_mail_vouches_for_nothing() -> None:
    value = {"mails": [{"sender": "ann@office.example"}, {"body": LONG}]}
    assert told(value, conditional())["body"] == (FieldKind.TEXT, UNTRUSTED)


def test_confidentiality_and_compartments_come_with_the_field() -> None:
    rule = Yield(
        path="$.salary",
        kind=FieldKind.SYSTEM,
        confidentiality=Confidentiality.SECRET,
        compartments=frozenset({"pii"}),
    )
    ((leaf, labels),) = Reviewed(traits(rule)).apply(leaves({"salary": 17}, effect=False))
    assert leaf.secret
    assert labels == Labels(confidentiality=Confidentiality.SECRET, compartments=frozenset({"pii"}))


def test_a_secret_too_deep_to_be_looked_at_is_one_all_the_same() -> None:
    value: Any = {"salary": 17}
    for _ in range(MAX_DEPTH + 2):
        value = {"in": value}
    rule = Yield(path="$..salary", kind=FieldKind.SYSTEM, confidentiality=Confidentiality.SECRET)
    ((leaf, labels),) = Reviewed(traits(rule)).apply(leaves(value, effect=False))
    assert leaf.kind is FieldKind.TEXT
    assert leaf.secret
    assert labels == Labels(untrusted=True, confidentiality=Confidentiality.SECRET)


def test_an_address_beside_somebodys_words_is_his() -> None:
    value = {"bills": [{"iban": "GB29NWBK60161331926819", "memo": LONG}]}
    has = traits(reviewed=False, proposed=True)
    assert told(value, has)["iban"][0] is FieldKind.CONTACT
    del value["bills"][0]["memo"]
    assert told(value, has)["iban"][0] is FieldKind.SYSTEM
