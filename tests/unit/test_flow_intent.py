from __future__ import annotations

import pytest

from midflight.domain.flow.atoms import Shape
from midflight.domain.flow.intent import NOTHING, joined, read
from midflight.domain.flow.words import VERBS, Family, classes, related, singular


def verbs(intent: str) -> list[str]:
    return [wish.verb for wish in read(intent).wishes]


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        ("Send an email to Ann", ["send"]),
        ("Please delete the file", ["delete"]),
        ("Could you please pay the bill?", ["pay"]),
        ("Find the invoice and pay it", ["pay"]),
        ("Read my mails, then delete the old ones", ["delete"]),
        ("Let's cancel the meeting", ["cancel"]),
        ("Kindly forward it to Ben", ["forward"]),
        ("Go ahead by booking the room", ["book"]),
        ("1. Read the list\n2. Delete the last entry", ["delete"]),
        ("The room should be booked by noon", ["book"]),
        ("Read plan.md.Delete it", ["delete"]),
        ("Go ahead with the booking", ["book"]),
    ],
)
def test_a_verb_in_the_place_of_a_verb_asks(intent: str, expected: list[str]) -> None:
    assert verbs(intent) == expected


@pytest.mark.parametrize(
    "intent",
    [
        "",
        "Summarize my mails",
        "What is their share?",
        "Read the post about the order",
        "Show me the transfer of last week",
        "Do not delete anything",
        "Never send an email",
        "Please don't just delete it",
        "Don't delete Ann's file or Ben's",
        "Read it without sending a reply",
        "She paid the bill yesterday",
        "We had cancelled the meeting",
        "I am looking to book a room",
        "I was planning to delete it",
        "Find the reminder to pay the bill",
        "Tell me what is on my calendar",
        "Let us know how it went",
        "Show me 'delete everything'",
        "handle it",
    ],
)
def test_nouns_negations_tales_plans_and_reports_to_oneself_ask_for_nothing(intent: str) -> None:
    assert verbs(intent) == []


@pytest.mark.parametrize(
    ("intent", "verb"),
    [
        ("Arrange the cancellation of the order", "cancel"),
        ("I need a refund for it", "refund"),
        ("Make a reservation for two", "reserve"),
        ("I would like the removal of my account", "remove"),
        ("Please process the return", "return"),
    ],
)
def test_a_request_can_be_put_as_a_noun(intent: str, verb: str) -> None:
    assert verb in verbs(intent)


@pytest.mark.parametrize("intent", ["No cancellation, please", "The cancellation was easy"])
def test_a_noun_that_is_not_asked_for_asks_for_nothing(intent: str) -> None:
    assert verbs(intent) == []


@pytest.mark.parametrize(
    ("intent", "many", "count"),
    [
        ("Send an email to ann@office.example", False, 1),
        ("Send an email to ann@office.example and ben@office.example", False, 2),
        ("Send an email to each of the guests", True, 1),
        ("Count the members, and to each of them send a note", True, 1),
        ("Delete all files", True, 1),
        ("Delete files", True, 1),
        ("Delete three notes", True, 1),
        ("Delete the file", False, 1),
        ("Invite Ann, Ben, Cleo", False, 3),
    ],
)
def test_quantifiers_and_lists_say_how_many(intent: str, many: bool, count: int) -> None:
    (wish,) = read(intent).wishes
    assert (wish.many, wish.count) == (many, count)


def test_a_wish_has_the_nouns_and_names_of_its_own_clause() -> None:
    first, second = read('Send the report to ann@office.example and delete "old plan.md"').wishes
    assert "report" in first.nouns
    assert first.names == frozenset({"ann@office.example"})
    assert first.families & {Family.SEND}
    assert "old plan.md" in second.names
    assert second.families == frozenset({Family.DELETE})


def test_what_an_intent_names_are_atoms_of_it() -> None:
    reading = read("Pay 1,250.50 to GB29 NWBK 6016 1331 9268 19 for news.example by 2027-01-02")
    assert {
        (Shape.NUMBER, "1250.5"),
        (Shape.ACCOUNT, "gb29nwbk60161331926819"),
        (Shape.LINK, "news.example"),
        (Shape.DATE, "2027-01-02"),
    } <= reading.atoms


def test_names_are_quotes_and_runs_of_capitals() -> None:
    reading = read("Ask about Ann Lee's team, 'the blue one' and the House of Cards")
    assert {"ann lee", "the blue one", "house of cards"} <= reading.names


@pytest.mark.parametrize(
    ("intent", "field"),
    [
        ("Pay the total of both", "arithmetic"),
        ("Do the tasks on the list", "defers"),
        ("Book the cheapest room", "chooses"),
        ("Write to everyone", "chooses"),
    ],
)
def test_what_is_left_to_the_data_is_said(intent: str, field: str) -> None:
    assert getattr(read(intent), field)
    assert not getattr(read("Read the page"), field)


def test_two_turns_are_one_intent() -> None:
    both = joined(read("Read my mails"), read("Now delete the total of 7"))
    assert [wish.verb for wish in both.wishes] == ["delete"]
    assert {"mail", "total"} <= both.words
    assert both.arithmetic
    assert joined(NOTHING, both) == both


def test_words_without_end_ask_for_nothing() -> None:
    assert verbs("word " * 9_000 + ". Delete the file") == []


def test_forms_of_a_verb_are_that_verb() -> None:
    for form in ("cancel", "cancels", "cancelled", "canceled", "cancelling"):
        assert VERBS[form][0] == "cancel"
    assert VERBS["paid"][:2] == ("pay", "ed")
    assert VERBS["running"][:2] == ("run", "ing")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("files", "file"), ("copies", "copy"), ("boxes", "box"), ("status", "status"),
     ("people", "person"), ("gas", "gas"), ("class", "class")],
)  # fmt: skip
def test_a_plural_is_its_singular(word: str, expected: str) -> None:
    assert singular(word) == expected


def test_nouns_that_stand_for_one_another_are_related() -> None:
    assert related(frozenset({"invoice"}), frozenset({"payment"}))
    assert related(frozenset({"file"}), frozenset({"document"}))
    assert not related(frozenset({"file"}), frozenset({"payment"}))
    assert not related(frozenset(), frozenset({"payment"}))
    assert classes("files") == classes("file")
