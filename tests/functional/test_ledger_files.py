"""The ledger as files: who may read them, what is in them, and hands that change them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.clock import SystemClock
from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.store.ledger_file import LedgerFile, export
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.adapters.store.ledger_sqlite_reader import SqliteLedgerReader
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.chain import Damaged, decode
from midflight.domain.errors import LedgerUnavailable, Malformed
from midflight.domain.problems import ProblemKind, Report
from midflight.domain.question import RunFacts, Source
from midflight.domain.records import Facts, Intent, Observed, Outcome, Terminal
from midflight.domain.tool import PinState
from midflight.domain.traits import Traits
from midflight.services.ledger import Ledger
from midflight.services.ledger_verify import verify
from midflight.services.ports.ledger_store import LedgerReader
from midflight.services.sealing import Sealer

pytestmark = pytest.mark.anyio

SIGNER = Ed25519NoteSigner(name="example.org/midflight", seed=bytes(range(32)))
MARKER = "PLAINTEXT-MARKER-4711"


def facts() -> Facts:
    return Facts(
        kind="call_tool",
        method="tools/call",
        upstream="mail",
        name="send",
        pin="p",
        pin_state=PinState.PINNED,
        traits=Traits(),
        workload=None,
        run=RunFacts(id="run_a", has_intent=True, implicit=False, age_s=1, steps=1),
        source=Source(),
    )


async def write_ledger(path: Path, count: int = 20) -> str:
    """A closed ledger; returns its last checkpoint."""
    ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
    await ledger.start("0.1", "v1")
    for number in range(count):
        ledger.append(Observed(at=1.0, what="seen", subject=f"part {number}"))
    await ledger.flush()
    await ledger.close()
    reader = opened(path)
    published = reader.checkpoints()[-1][1]
    reader.close()
    return published


def opened(path: Path) -> SqliteLedgerReader:
    reader = SqliteLedgerReader(path)
    reader.open()
    return reader


def check(reader: LedgerReader, published: str | None = None) -> Report:
    notes = reader.checkpoints()
    key = SIGNER.verifier_key()
    return verify(reader.entries(), notes, verifier_key=key, published=published)


def tamper(path: Path, *statements: str) -> Report:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER entry_stays")
    connection.execute("DROP TRIGGER entry_remains")
    for statement in statements:
        connection.execute(statement)
    connection.close()
    reader = opened(path)
    report = check(reader)
    reader.close()
    return report


async def test_only_the_owner_can_read_the_files_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "deep" / "folder" / "ledger.sqlite3"
        ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
        await ledger.start("0.1", "v1")
        found = [p for p in path.parent.rglob("*") if p.is_file()]
        assert {p.name.removeprefix("ledger.sqlite3") for p in found} == {
            "",
            "-wal",
            "-shm",
            ledger.writer,
        }
        assert {stat.S_IMODE(p.stat().st_mode) for p in found} == {0o600}
        await ledger.close()
        reader = opened(path)
        export(reader, tmp_path / "out.jsonl")
        reader.close()
        assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == 0o600
    finally:
        os.umask(before)


async def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(b"")
    path.chmod(0o666)
    await write_ledger(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_arguments_are_in_no_file_and_erasing_their_key_leaves_the_chain_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.sqlite3"
    store = MemoryStore()
    await store.open()
    sealer = Sealer(store, AesKeyWrap.fresh(), SystemClock())
    await sealer.key_for("run_a")
    ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
    await ledger.start("0.1", "v1")
    sealed = sealer.seal("run_a", {"body": MARKER})
    intent = ledger.append(
        Intent(at=1.0, digest="d", facts=facts(), arguments=sealed, decided="v1", reasons=())
    )
    await intent.durable()
    await ledger.append(Outcome(at=2.0, state=Terminal.DONE, intent=intent.id)).durable()
    for file in path.parent.rglob("*"):
        assert not file.is_file() or MARKER.encode() not in file.read_bytes()
    stored = (await ledger.read(intent.id)).record
    assert isinstance(stored, Intent)
    assert stored.arguments is not None
    assert await sealer.open(stored.arguments) == {"body": MARKER}
    await sealer.erase("run_a")
    assert await sealer.open(stored.arguments) is None
    await ledger.close()
    reader = opened(path)
    report = check(reader)
    reader.close()
    assert report.ok
    assert report.signed_up_to == report.entries


async def test_a_slip_of_an_operators_hand_is_refused_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    await write_ledger(path)
    connection = sqlite3.connect(path)
    for statement in ("UPDATE entry SET body = x'00'", "DELETE FROM entry"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "kind", "position"),
    [
        (
            "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '3', '4') AS BLOB) "  # noqa: ISC004
            "WHERE position = 5",
            ProblemKind.ALTERED,
            5,
        ),
        ("DELETE FROM entry WHERE position = 7", ProblemKind.DROPPED, 7),
        ("DELETE FROM entry WHERE position > 20", ProblemKind.CUT_TAIL, 21),
    ],
)
async def test_a_change_in_the_file_is_named(
    tmp_path: Path, statement: str, kind: ProblemKind, position: int
) -> None:
    path = tmp_path / "ledger.sqlite3"
    await write_ledger(path)
    report = tamper(path, statement)
    assert (report.problems[0].kind, report.problems[0].position) == (kind, position)


async def test_entries_that_changed_places_in_the_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    await write_ledger(path)
    report = tamper(
        path,
        "UPDATE entry SET position = -1 WHERE position = 5",
        "UPDATE entry SET position = 5 WHERE position = 9",
        "UPDATE entry SET position = 9 WHERE position = -1",
    )
    reordered = [p for p in report.problems if p.kind is ProblemKind.REORDERED]
    assert {p.record.partition("-")[2] for p in reordered} == {"5", "9"}


async def test_who_cuts_the_tail_and_the_checkpoints_is_caught_by_a_published_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.sqlite3"
    published = await write_ledger(path)
    report = tamper(path, "DELETE FROM entry WHERE position > 20", "DELETE FROM checkpoint")
    assert report.ok
    assert report.signed_up_to == 0  # and it says that nothing vouches for what is left
    reader = opened(path)
    report = check(reader, published)
    reader.close()
    assert [(p.kind, p.position, p.last_position) for p in report.problems] == [
        (ProblemKind.CUT_TAIL, 21, 22)
    ]


async def test_a_file_that_was_overwritten_in_part_gives_a_report(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    await write_ledger(path, count=500)
    whole = path.read_bytes()
    pages = len(whole) // 4096
    for page in range(1, pages, max(1, pages // 12)):
        torn = tmp_path / "torn.sqlite3"
        torn.write_bytes(whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :])
        reader = SqliteLedgerReader(torn)
        try:
            reader.open()
            report = check(reader)
        except LedgerUnavailable:
            continue  # said in words, too
        finally:
            reader.close()
        # A page of the index or a free one holds no entry.
        assert report.entries == 502 or not report.ok


async def test_a_ledger_with_columns_of_other_types_is_unreadable_and_named(tmp_path: Path) -> None:
    path = tmp_path / "forged.sqlite3"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE entry (position, writer, seq, prev, body, hash);"
        "CREATE TABLE checkpoint (id, size, note);"
        "INSERT INTO entry VALUES (1, 'abcdef01', 1, 'text', 2.5, NULL), ('x', 1, 1, 1, 1, 1);"
    )
    connection.close()
    reader = opened(path)
    assert [type(entry) for _, entry in reader.entries()] == [Damaged, Damaged]
    assert {p.kind for p in check(reader).problems} == {ProblemKind.UNREADABLE}
    reader.close()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 300, b"SQLite format 3\x00"])
def test_what_is_no_ledger_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for reader in (SqliteLedgerReader(path), LedgerFile(path)):
        with pytest.raises(LedgerUnavailable):
            reader.open()
    with pytest.raises(LedgerUnavailable):
        SqliteLedgerReader(tmp_path / "missing").open()


async def test_a_ledger_of_a_later_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    await write_ledger(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerUnavailable, match="schema 99"):
        SqliteLedgerStore(path).open()


async def test_a_copy_without_its_wal_index_on_read_only_media_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    await write_ledger(path)
    copy = tmp_path / "copy.sqlite3"
    shutil.copy(path, copy)
    connection = sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)
    assert connection.execute("SELECT count(*) FROM entry").fetchone() == (22,)
    connection.close()
    reader = opened(copy)
    assert check(reader).ok
    assert reader.live_writers() == frozenset()
    reader.close()


async def test_the_writers_that_live_are_known(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
    await ledger.start("0.1", "v1")
    reader = opened(path)
    assert reader.live_writers() == {ledger.writer}
    await ledger.close()
    assert reader.live_writers() == frozenset()
    reader.close()


# JSON lines


async def test_an_exported_ledger_verifies_like_its_database(tmp_path: Path) -> None:
    path, out = tmp_path / "ledger.sqlite3", tmp_path / "out.jsonl"
    published = await write_ledger(path)
    reader = opened(path)
    assert export(reader, out) == 22
    file = LedgerFile(out)
    file.open()
    assert list(file.entries()) == list(reader.entries())
    assert list(file.checkpoints()) == list(reader.checkpoints())
    assert file.size() == 22
    assert [p for p, _ in file.entries(after=5, limit=2)] == [6, 7]
    assert check(file, published) == check(reader, published)
    with pytest.raises(LedgerUnavailable, match="exist"):
        export(reader, out)
    reader.close()


async def test_a_changed_line_is_named_by_its_position(tmp_path: Path) -> None:
    path, out = tmp_path / "ledger.sqlite3", tmp_path / "out.jsonl"
    await write_ledger(path)
    reader = opened(path)
    export(reader, out)
    reader.close()
    lines = out.read_text().splitlines()
    lines[5] = lines[5].replace("part 3", "part X")
    lines[9] = "{rubbish"
    del lines[15]
    out.write_text("\n".join(lines) + "\n")
    found = {(p.kind, p.position) for p in check(LedgerFile(out)).problems}
    assert (ProblemKind.ALTERED, 5) in found
    assert (ProblemKind.UNREADABLE, 10) in found  # by its line, since it has no position
    assert (ProblemKind.DROPPED, 15) in found


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_head_give_a_report(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "f.jsonl"
    path.write_bytes(b'{"ledger":"midflight/v1"}\n' + raw)
    file = LedgerFile(path)
    file.open()
    report = check(file)
    assert report.ok == (not raw.strip())


async def test_a_ledger_with_damage_is_not_exported_as_if_whole(tmp_path: Path) -> None:
    path = tmp_path / "forged.sqlite3"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE entry (position, writer, seq, prev, body, hash);"
        "CREATE TABLE checkpoint (id, size, note);"
        "INSERT INTO entry VALUES (1, 'abcdef01', 1, x'00', x'ff', x'00');"
    )
    connection.close()
    reader = opened(path)
    with pytest.raises(Malformed, match="position 1"):
        export(reader, tmp_path / "out.jsonl")
    with pytest.raises(Malformed):
        decode(b"\xff")
    reader.close()
