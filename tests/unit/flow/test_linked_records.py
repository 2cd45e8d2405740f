"""Which records of a result the intent means."""

from __future__ import annotations

from typing import Any

from midflight.domain.flow.fields import leaves
from midflight.domain.flow.index import RunIndex
from midflight.domain.flow.intent import read
from midflight.domain.flow.selecting import about_records, linked_records, looked_up
from midflight.domain.flow.subject import Subject, parts, subject
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits

BERTHS: list[Any] = [{"id": "b-1", "name": "Kayak shed"}, {"id": "b-2", "name": "Long pier"}]


def test_a_name_that_two_records_have_names_neither() -> None:
    reading = read("Close the berth Long Pier.")
    assert linked_records(leaves(BERTHS, effect=False), reading) == {2}
    spoofed = [*BERTHS, {"id": "b-3", "name": "Long pier"}]
    assert linked_records(leaves(spoofed, effect=False), reading) == frozenset()


def test_a_name_with_the_name_in_it_gives_way_to_the_name() -> None:
    longer = [*BERTHS, {"id": "b-3", "name": "Long pier annex"}]
    assert linked_records(leaves(longer, effect=False), read("Close Long Pier now.")) == {2}


def test_one_record_with_a_telling_word_is_meant_and_two_are_not() -> None:
    reading = read("Cancel the kayak.")
    assert about_records(leaves(BERTHS, effect=False), reading) == {1}
    more = [*BERTHS, {"id": "b-3", "name": "Kayak rack"}]
    assert about_records(leaves(more, effect=False), reading) == frozenset()


def look_up() -> Subject:
    arguments = (Argument(path="berth_id", role=Role.OBJECT),)
    traits = Traits(effect=Effect.READ, reach=Reach.CLOSED, proposed=True, arguments=arguments)
    return subject("get_berth", "Get a berth.", traits)


def test_what_a_look_up_by_a_named_id_finds_is_linked_but_for_lists_in_it() -> None:
    index, reading = RunIndex(b"k" * 32), read("Close berth b-1.")
    answer = leaves({"owner_id": "ow-9", "notes": [{"author_id": "au-4"}]}, effect=False)
    given = {"berth_id": "b-1"}
    found = looked_up(look_up(), parts(look_up(), given), answer, index=index, reading=reading)
    assert found == {1}
    index.add(answer, record="r", selected=False, linked=frozenset(), looked_up=found)
    own, listed = index.look("ow-9"), index.look("au-4")
    assert own is not None
    assert own.linked
    assert listed is not None
    assert not listed.linked
    other = {"berth_id": "b-2"}
    assert (
        looked_up(look_up(), parts(look_up(), other), answer, index=index, reading=reading)
        == frozenset()
    )
