"""I7: whatever is altered, dropped, moved, copied or forged in a ledger is found and named."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given
from hypothesis import strategies as st

from midflight.domain.chain import GENESIS, Entry, encode, link
from midflight.domain.checkpoint import Checkpoint, checkpoint_text, signed_note, verifier_key
from midflight.domain.errors import Malformed
from midflight.domain.merkle import Tree
from midflight.domain.problems import ProblemKind, Report
from midflight.domain.records import Observed, Outcome, Record, Terminal
from midflight.services.ledger_verify import verify

WRITERS = ("0000000a", "0000000b", "0000000c")
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = verifier_key("example.org/midflight", SECRET.public_key().public_bytes_raw())

Rows = list[tuple[int, Entry]]
Notes = list[tuple[int, str]]


class Stored(NamedTuple):
    rows: Rows
    notes: Notes


def sign(entries: list[Entry]) -> tuple[int, str]:
    tree = Tree()
    tree.extend([entry.hash for entry in entries])
    text = checkpoint_text(Checkpoint(origin=KEY.name, size=tree.size, root=tree.root()))
    return tree.size, signed_note(text, key=KEY, signature=SECRET.sign(text.encode()))


def record(number: int) -> Record:
    if number % 3:
        return Outcome(at=float(number), state=Terminal.DENIED, detail=f"refused {number}")
    return Observed(at=float(number), what="seen", subject=f"part {number}")


@st.composite
def ledgers(draw: st.DrawFn, *, smallest: int = 1) -> Stored:
    """Up to three writers, interleaved; some checkpoints, the last one over everything."""
    turns = draw(st.lists(st.sampled_from(WRITERS), min_size=smallest, max_size=24))
    heads: dict[str, tuple[int, bytes]] = {}
    entries: list[Entry] = []
    for number, writer in enumerate(turns):
        seq, prev = heads.get(writer, (0, GENESIS))
        entries.append(link(writer, seq + 1, prev, encode(record(number))))
        heads[writer] = (seq + 1, entries[-1].hash)
    sizes = draw(st.sets(st.integers(0, len(entries)), max_size=3)) | {len(entries)}
    notes = [sign(entries[:size]) for size in sorted(sizes)]
    return Stored(list(enumerate(entries, 1)), notes)


def check(rows: Rows, notes: Notes, published: str | None = None) -> Report:
    return verify(iter(rows), notes, verifier_key=str(KEY), published=published)


def find(report: Report, kind: ProblemKind, record_id: str) -> bool:
    return any(p.kind is kind and record_id in (p.record, p.last_record) for p in report.problems)


def covers(report: Report, position: int) -> bool:
    """Whether a root that does not hold names a range with the position in it."""
    return any(
        p.kind in {ProblemKind.REWRITTEN, ProblemKind.CUT_TAIL}
        and p.position is not None
        and p.position <= position <= (p.last_position or p.position)
        for p in report.problems
    )


def is_last_of_its_chain(rows: Rows, index: int) -> bool:
    writer = rows[index][1].writer
    return all(entry.writer != writer for _, entry in rows[index + 1 :])


def numbered(entries: list[Entry]) -> Rows:
    return list(enumerate(entries, 1))


def again(entry: Entry, **changes: object) -> Entry:
    """The entry changed, with its hash made again."""
    changed = msgspec.structs.replace(entry, **changes)
    return link(changed.writer, changed.seq, changed.prev, changed.body)


@given(ledgers())
def test_an_honest_ledger_is_found_whole_and_covered(stored: Stored) -> None:
    report = check(stored.rows, stored.notes, published=stored.notes[-1][1])
    assert report.ok, report.problems
    assert report.entries == report.signed_up_to == report.published_up_to == len(stored.rows)


@given(ledgers(), st.data())
def test_an_altered_body_is_named(stored: Stored, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(stored.rows) - 1))
    position, entry = stored.rows[index]
    body = bytearray(entry.body)
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= 1 << data.draw(st.integers(0, 7))
    stored.rows[index] = position, msgspec.structs.replace(entry, body=bytes(body))
    report = check(*stored)
    altered = [p for p in report.problems if p.kind is ProblemKind.ALTERED]
    assert [(p.record, p.position) for p in altered] == [(entry.id, position)]


@pytest.mark.parametrize("column", ["prev", "hash", "seq", "writer"])
@given(stored=ledgers(), data=st.data())
def test_any_altered_column_is_named_by_its_position(
    column: str, stored: Stored, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(stored.rows) - 1))
    position, entry = stored.rows[index]
    strange: dict[str, st.SearchStrategy[object]] = {
        "prev": st.binary(max_size=33),
        "hash": st.binary(max_size=33),
        "seq": st.integers(-5, 1 << 70),
        "writer": st.one_of(st.sampled_from(WRITERS), st.text(max_size=9)),
    }
    changed = msgspec.structs.replace(entry, **{column: data.draw(strange[column])})
    assume(changed != entry)
    stored.rows[index] = position, changed
    report = check(*stored)
    altered = [p for p in report.problems if p.kind is ProblemKind.ALTERED]
    assert position in {p.position for p in altered}
    # And nobody else is accused of having been altered.
    assert {p.position for p in altered} == {position}


@given(ledgers(), st.data(), st.sampled_from(["body", "prev"]))
def test_an_entry_whose_hash_was_made_again_is_named(
    stored: Stored, data: st.DataObject, column: str
) -> None:
    index = data.draw(st.integers(0, len(stored.rows) - 1))
    position, entry = stored.rows[index]
    forged = again(entry, **{column: bytes(32)})
    stored.rows[index] = position, forged
    report = check(*stored)
    assert not report.ok
    assert covers(report, position)
    if not is_last_of_its_chain(stored.rows, index):
        assert find(report, ProblemKind.ALTERED, entry.id)


@given(ledgers(), st.data())
def test_a_chain_forged_from_some_entry_on_is_caught_by_the_signed_root(
    stored: Stored, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(stored.rows) - 1))
    writer = stored.rows[index][1].writer
    head = stored.rows[index][1].prev
    forged: Rows = []
    for position, entry in stored.rows[index:]:
        if entry.writer != writer:
            forged.append((position, entry))
            continue
        body = encode(Observed(at=0.0, what="nothing", subject="happened"))
        changed = link(writer, entry.seq, head, entry.body if forged else body)
        head = changed.hash
        forged.append((position, changed))
    report = check(stored.rows[:index] + forged, stored.notes)
    assert [p.kind for p in report.problems] == [ProblemKind.REWRITTEN]
    assert covers(report, stored.rows[index][0])
    assert report.signed_up_to <= index


@given(ledgers(smallest=2), st.data(), st.booleans())
def test_a_dropped_entry_is_named(stored: Stored, data: st.DataObject, renumbered: bool) -> None:
    index = data.draw(st.integers(0, len(stored.rows) - 1))
    position, entry = stored.rows[index]
    last = is_last_of_its_chain(stored.rows, index)
    rows = stored.rows[:index] + stored.rows[index + 1 :]
    if renumbered:
        rows = numbered([e for _, e in rows])
    report = check(rows, stored.notes)
    assert not report.ok
    dropped = [p for p in report.problems if p.kind is ProblemKind.DROPPED]
    if not last:
        wanted = None if renumbered else position
        assert [(p.record, p.position) for p in dropped] == [(entry.id, wanted)]
    elif not renumbered and index < len(stored.rows) - 1:
        assert [p.position for p in dropped] == [position]
    else:
        assert any(p.kind is ProblemKind.CUT_TAIL for p in report.problems)


@given(ledgers(smallest=3), st.data())
def test_several_dropped_entries_are_named(stored: Stored, data: st.DataObject) -> None:
    indexes = st.integers(0, len(stored.rows) - 1)
    gone = data.draw(st.sets(indexes, min_size=1, max_size=len(stored.rows) - 1))
    rows = [row for index, row in enumerate(stored.rows) if index not in gone]
    report = check(rows, stored.notes)
    named = {
        number
        for p in report.problems
        if p.position is not None and p.kind in {ProblemKind.DROPPED, ProblemKind.CUT_TAIL}
        for number in range(p.position, (p.last_position or p.position) + 1)
    }
    unplaced = any(p.kind is ProblemKind.DROPPED and p.position is None for p in report.problems)
    behind = {index + 1 for index in gone if index + 1 > rows[-1][0]}
    assert {index + 1 for index in gone} - behind <= named or unplaced
    assert not behind or any(p.kind is ProblemKind.CUT_TAIL for p in report.problems)


@given(ledgers(smallest=2), st.data())
def test_a_moved_entry_is_named(stored: Stored, data: st.DataObject) -> None:
    entries = [entry for _, entry in stored.rows]
    index = data.draw(st.integers(0, len(entries) - 1))
    target = data.draw(st.integers(0, len(entries) - 1))
    moved = entries.pop(index)
    entries.insert(target, moved)
    assume(index != target)
    report = check(numbered(entries), stored.notes)
    assert not report.ok
    assert covers(report, min(index, target) + 1)
    passed = [
        entry.id
        for entry in [e for _, e in stored.rows][min(index, target) : max(index, target) + 1]
        if entry.writer == moved.writer and entry is not moved
    ]
    if passed:  # within its own chain; otherwise only the order between the chains changed
        reordered = [p for p in report.problems if p.kind is ProblemKind.REORDERED]
        # When it passed a single neighbour, either may be the one that moved.
        assert len(reordered) == 1
        assert reordered[0].record == moved.id or [reordered[0].record] == passed


@given(ledgers(), st.data())
def test_a_copied_entry_is_named(stored: Stored, data: st.DataObject) -> None:
    entries = [entry for _, entry in stored.rows]
    copy = data.draw(st.sampled_from(entries))
    entries.insert(data.draw(st.integers(0, len(entries))), copy)
    report = check(numbered(entries), stored.notes)
    assert find(report, ProblemKind.DUPLICATED, copy.id)


@given(ledgers(), st.data(), st.sampled_from(["0000000f", *WRITERS]))
def test_an_inserted_entry_is_found(stored: Stored, data: st.DataObject, writer: str) -> None:
    """A forger who knows the format can add a chain of his own; the root says where."""
    entries = [entry for _, entry in stored.rows]
    at = data.draw(st.integers(0, len(entries) - 1))
    mine = [e for e in entries if e.writer == writer]
    seq, prev = (mine[-1].seq, mine[-1].hash) if mine else (0, GENESIS)
    entries.insert(at, link(writer, seq + 1, prev, b'{"type":"started"}'))
    report = check(numbered(entries), stored.notes)
    assert covers(report, at + 1)


@given(ledgers(smallest=2), st.data())
def test_a_cut_tail_is_found_by_the_published_checkpoint(
    stored: Stored, data: st.DataObject
) -> None:
    left = data.draw(st.integers(0, len(stored.rows) - 1))
    rows, published = stored.rows[:left], stored.notes[-1][1]
    # Who can cut the file can also remove the checkpoints in it.
    report = check(rows, [note for note in stored.notes if note[0] <= left], published)
    assert [p.kind for p in report.problems] == [ProblemKind.CUT_TAIL]
    found = report.problems[0]
    assert (found.position, found.last_position) == (left + 1, len(stored.rows))
    assert report.published_up_to == 0


@given(ledgers(), st.data())
def test_a_checkpoint_that_was_changed_is_named(stored: Stored, data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(stored.notes) - 1))
    size, note = stored.notes[which]
    at = data.draw(st.integers(0, len(note) - 1))
    new = data.draw(st.characters(codec="ascii").filter(lambda c: c != note[at]))
    stored.notes[which] = size, note[:at] + new + note[at + 1 :]
    report = check(*stored)
    bad = [p for p in report.problems if p.kind is ProblemKind.BAD_CHECKPOINT]
    assert [p.position for p in bad] == [size]


def test_a_checkpoint_of_another_key_is_refused_and_covers_nothing() -> None:
    entries = [link(WRITERS[0], 1, GENESIS, encode(record(0)))]
    size, note = sign(entries)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = verifier_key(KEY.name, other.public_key().public_bytes_raw())
    report = verify(numbered(entries), [(size, note)], verifier_key=str(key), published=note)
    assert {p.kind for p in report.problems} == {ProblemKind.BAD_CHECKPOINT}
    assert (report.signed_up_to, report.published_up_to) == (0, 0)


def test_without_a_key_nothing_counts_as_signed() -> None:
    entries = [link(WRITERS[0], 1, GENESIS, encode(record(0)))]
    report = verify(numbered(entries), [sign(entries)], verifier_key=None, published=None)
    assert report.ok
    assert report.signed_up_to == 0


def test_a_published_text_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(Malformed):
        verify([], [], verifier_key=None, published="not a note")


@given(
    st.lists(
        st.tuples(
            st.integers(-3, 30),
            st.builds(
                Entry,
                writer=st.one_of(st.sampled_from(WRITERS), st.text(max_size=10)),
                seq=st.integers(-2, 1 << 66),
                prev=st.binary(max_size=40),
                body=st.binary(max_size=20),
                hash=st.binary(max_size=40),
            ),
        ),
        max_size=12,
    ),
    st.lists(st.tuples(st.integers(-2, 20), st.text(max_size=60)), max_size=3),
)
def test_any_heap_of_rubbish_gives_a_report(rows: Rows, notes: Notes) -> None:
    report = check(rows, notes)
    assert report.ok == (not rows and not notes)
