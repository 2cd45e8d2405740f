"""The index: bounded whatever comes, and what it forgets or reads back asks more, never less."""

from __future__ import annotations

from typing import Any
from unittest import mock

from flow_kit import Desk, office_tool
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.domain.flow import index as module
from midflight.domain.flow.index import RunIndex
from midflight.domain.provenance import Concern

KEYS = frozenset({Concern.KEY_UNTRUSTED, Concern.KEY_UNKNOWN})
BOUNDS = {
    "MAX_KNOWN": 12,
    "MAX_TEXT_ATOMS": 12,
    "MAX_PASSAGES": 12,
    "MAX_SOURCES": 6,
    "MAX_PEOPLE": 4,
}
atoms = st.sampled_from(
    [
        *(f"ev-{n}-x" for n in range(20)),
        "eve@post.example",
        "ann@office.example",
        "417.25",
        "Ann Lee",
    ]
)
results = st.one_of(
    st.fixed_dictionaries({"item_id": atoms}),
    st.fixed_dictionaries({"items": st.lists(st.fixed_dictionaries({"id": atoms}), max_size=4)}),
    st.fixed_dictionaries({"sender": atoms, "name": atoms}),
    st.fixed_dictionaries({"item_id": atoms, "title": st.sampled_from(["Lunch", "Dinner"])}),
    st.lists(atoms, min_size=1, max_size=8).map(
        lambda found: {"text": "somebody wrote this and that, and of " + ", ".join(found) + " too"}
    ),
)
histories = st.lists(st.tuples(results, st.booleans()), max_size=14)
INTENTS = [
    "Delete the event ev-3-x and pay the bill",
    "Delete the event Lunch",
    "Pay the total of 12 and 30 to Ann Lee",
    "Send an email to everyone of the team",
    "",
]
ASKED = [
    ("delete_event", lambda value: {"event_id": value}),
    ("send_mail", lambda value: {"recipients": [value], "subject": "a", "body": "b"}),
    ("pay_bill", lambda value: {"iban": value, "amount": 417.25, "memo": "a"}),
    ("pay_bill", lambda value: {"iban": value, "amount": 37, "memo": "a"}),
]


def filled(intent: str, history: list[tuple[Any, bool]]) -> Desk:
    desk = Desk(intent)
    for number, (value, selected) in enumerate(history):
        desk.sees(value, selected=selected, record=f"r{number}")
    return desk


@given(histories)
def test_no_sequence_of_results_makes_it_larger_than_its_bounds(
    history: list[tuple[Any, bool]],
) -> None:
    with mock.patch.multiple(module, **BOUNDS):
        index = filled("x", history).index
        assert len(index._known) <= BOUNDS["MAX_KNOWN"]
        assert len(index._text) <= BOUNDS["MAX_TEXT_ATOMS"]
        assert len(index._passages) <= BOUNDS["MAX_PASSAGES"]
        assert len(index._sources) <= BOUNDS["MAX_SOURCES"]
        assert len(index._people) <= BOUNDS["MAX_PEOPLE"]
        back = RunIndex(b"k" * 16)
        back.restore(index.unsaved())
        assert len(back) <= BOUNDS["MAX_KNOWN"] + BOUNDS["MAX_TEXT_ATOMS"]


@given(st.sampled_from(INTENTS), histories, atoms, st.sampled_from(ASKED))
@settings(max_examples=300)
def test_forgetting_turns_no_concern_about_a_key_off(
    intent: str, history: list[tuple[Any, bool]], value: str, asked: Any
) -> None:
    name, arguments = asked
    whole = filled(intent, history).concerns(office_tool(name), **arguments(value))
    with mock.patch.multiple(module, **BOUNDS):
        bounded = filled(intent, history).concerns(office_tool(name), **arguments(value))
    if whole & KEYS:
        assert bounded & KEYS
    if not whole & KEYS and whole:
        assert bounded


def test_an_id_that_was_forgotten_and_comes_back_as_a_sender_is_still_another_ones() -> None:
    intent, asks = "Delete the event ev-3-x", {"event_id": "ev-2-x"}
    history: list[tuple[Any, bool]] = [
        ({"text": "somebody wrote this and that"}, False),
        ({"item_id": "ev-2-x"}, False),
        *(({"item_id": f"ev-{n}-x"}, False) for n in range(5, 18)),
        ({"sender": "ev-2-x", "name": "ev-0-x"}, False),
    ]
    whole = filled(intent, history).concerns(office_tool("delete_event"), **asks)
    with mock.patch.multiple(module, **BOUNDS):
        bounded = filled(intent, history).concerns(office_tool("delete_event"), **asks)
    assert whole == bounded == {Concern.KEY_UNLINKED}


@given(st.sampled_from(INTENTS), histories, atoms, st.sampled_from(ASKED), st.data())
@settings(max_examples=300)
def test_what_is_read_back_knows_no_more_and_asks_at_least_as_much(
    intent: str, history: list[tuple[Any, bool]], value: str, asked: Any, data: Any
) -> None:
    name, arguments = asked
    desk, back = Desk(intent), Desk(intent)
    cut = data.draw(st.integers(0, len(history)))
    for number, (result, selected) in enumerate(history):
        desk.sees(result, selected=selected, record=f"r{number}")
        if number + 1 == cut:
            back.index.restore(desk.index.unsaved())
    back.index.restore(desk.index.unsaved())
    # What the run's labels and the stored flow say besides (`Flow.ready`, `Flow.judge`).
    back.index.text_seen = desk.index.text_seen
    back.index.phrase_seen = desk.index.phrase_seen
    before = desk.judge(office_tool(name), **arguments(value))
    after = back.judge(office_tool(name), **arguments(value))
    assert set(after.concerns) >= set(before.concerns)
    assert [a.origin for a in after.arguments] == [a.origin for a in before.arguments]
    known = desk.index.look(value)
    read_back = back.index.look(value)
    assert (read_back is None) == (known is None)
    if known is not None and read_back is not None:
        assert (read_back.rank, read_back.named) == (known.rank, known.named)


@given(st.binary(max_size=100))
def test_what_is_no_chunk_teaches_nothing(raw: bytes) -> None:
    index = RunIndex(b"k" * 16)
    index.restore(raw)
    assert len(index) <= len(raw) // 9
    for value in ("ann@office.example", "ev-1-x", "417.25"):
        assert index.look(value) is None


@given(histories)
def test_chunks_hold_no_text_and_depend_on_the_key(history: list[tuple[Any, bool]]) -> None:
    one, other = Desk("x", key=b"a" * 16), Desk("x", key=b"b" * 16)
    for value, selected in history:
        for desk in (one, other):
            desk.sees(value, selected=selected)
    first, second = one.index.unsaved(), other.index.unsaved()
    assert len(first) == len(second)
    keys = {first[at : at + 8] for at in range(0, len(first), 9)}
    assert keys.isdisjoint(second[at : at + 8] for at in range(0, len(second), 9))
    assert one.index.unsaved() == b""
