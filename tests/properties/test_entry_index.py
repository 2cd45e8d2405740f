"""The index of entries answers what comparing with every entry would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.attestation import Entry, Selector
from midflight.services.entry_index import EntryIndex

SELECTORS = st.sampled_from(
    [Selector.parse(f"unix:uid:{n}") for n in range(4)]
    + [Selector.parse(f"k8s:ns:{n}") for n in "ab"]
    + [Selector.parse("unix:script:/a.py"), Selector.parse("unix:cwd:/tmp")]
)
SETS = st.frozensets(SELECTORS, max_size=4)
MOVES = st.lists(st.tuples(st.sampled_from("abcde"), st.one_of(st.none(), SETS)), max_size=30)


@given(moves=MOVES, found=st.frozensets(SELECTORS))
def test_the_index_finds_what_comparing_finds(
    moves: list[tuple[str, frozenset[Selector] | None]], found: frozenset[Selector]
) -> None:
    index, known = EntryIndex(), dict[str, Entry]()
    for name, selectors in moves:
        if selectors is None:
            index.remove(name)
            known.pop(name, None)
        else:
            entry = Entry(id=name, spiffe_id="spiffe://a.example/b", selectors=selectors)
            index.add(entry)
            known[name] = entry
    expected = [known[name] for name in sorted(known) if known[name].matches(found)]
    assert index.matching(found) == expected
    for entry in index.matching(found):
        assert any(not selector.weak for selector in entry.selectors)
