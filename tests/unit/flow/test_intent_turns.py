"""Intents of several turns, commands that no lexicon knows, places and telling words."""

from __future__ import annotations

from midflight.domain.flow.intent import joined, read


def verbs(text: str) -> set[str]:
    return {wish.verb for wish in read(text).wishes}


def test_send_nothing_asks_for_nothing() -> None:
    assert "send" not in verbs("Read the parcels and send nothing yet.")


def test_what_a_later_turn_forbids_is_taken_back() -> None:
    both = joined(read("Send the list to Ivy."), read("Do not send it, only read it."))
    assert "send" not in {wish.verb for wish in both.wishes}
    again = joined(both, read("Now send it to Ivy."))
    assert "send" in {wish.verb for wish in again.wishes}


def test_a_verb_of_no_lexicon_asks_where_only_a_verb_can_stand() -> None:
    assert "recalibrate" in verbs("Recalibrate the sensor of gate four.")
    assert "recalibrate" not in verbs("Do not recalibrate the sensor.")
    assert "sensor" not in verbs("Read the sensor the gate has.")


def test_her_is_whom_the_sentence_names_before() -> None:
    wish = read("Read the file of applicant ap-3 and move her to the next round.").wishes[0]
    assert "applicant" in wish.nouns


def test_what_stands_behind_in_is_where_the_thing_is() -> None:
    reading = read("Delete the file tide.txt in /harbour after reading it.")
    assert reading.within == {"harbour"}
    assert reading.named == {"tide.txt", "harbour"}


def test_common_words_tell_nothing_apart() -> None:
    assert read("Cancel the standing order for the kayak today.").telling >= {"kayak"}
    assert not read("Cancel the order for the user today.").telling & {"order", "user", "today"}
