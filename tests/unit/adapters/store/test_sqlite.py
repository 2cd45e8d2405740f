"""What the SQLite store promises beyond the port: the file, its rights, its errors, its traces."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from midflight.adapters.store import lane
from midflight.adapters.store.migrate import migrate
from midflight.adapters.store.sqlite import SqliteStore
from midflight.adapters.store.sqlite_uses import PRUNE_EVERY
from midflight.domain.errors import Conflict, StoreUnavailable
from midflight.domain.labels import BOTTOM
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.run import Run
from midflight.domain.traits import Effect, Reach, Traits

pytestmark = pytest.mark.anyio

SECRET = "grain-of-salt-that-nobody-may-see"

RUN = Run(
    id="run_a",
    workload="spiffe://example.org/agents/triage",
    intent="Pay the plumber at the corner",
    opened_by="ada",
    opened_at=1,
    expires_at=2,
    idle_timeout=1,
    max_steps=5,
    salt=SECRET,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "midflight.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


def change(path: Path, *statements: str) -> None:
    """What an operator with the sqlite3 shell, or a broken disk, would do."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def said(error: BaseException) -> str:
    """All that a log could print of an error, its causes and its arguments."""
    chain = "".join(traceback.format_exception(error))
    return chain + repr(error) + repr(vars(error)) + repr(error.__context__) + repr(error.__cause__)


def bytes_on_disk(path: Path) -> bytes:
    return b"".join(part.read_bytes() for part in sorted(path.parent.iterdir()))


# The file


async def test_the_files_are_the_owners_alone(store: SqliteStore, path: Path) -> None:
    await store.create_run(RUN, labels=BOTTOM, labels_source="")
    assert {part.name for part in path.parent.iterdir()} >= {"midflight.db", "midflight.db-wal"}
    for part in path.parent.iterdir():
        assert part.stat().st_mode & 0o777 == 0o600, part.name
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_rights_that_others_were_given_are_taken_away(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()
    path.chmod(0o664)
    await store.open()
    await store.close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_what_was_stored_is_there_after_opening_again(store: SqliteStore, path: Path) -> None:
    await store.create_run(RUN, labels=BOTTOM, labels_source="")
    await store.close()
    again = SqliteStore(path)
    await again.open()
    stored = await again.get_run("run_a")
    await again.close()
    assert stored is not None
    assert stored.run == RUN


async def test_the_log_is_write_ahead_and_every_commit_is_flushed(store: SqliteStore) -> None:
    def pragmas(connection: lane.Connection) -> tuple[str, int, int]:
        raw = connection.connection.driver_connection
        assert raw is not None
        names = ("journal_mode", "synchronous", "foreign_keys")
        return tuple(raw.execute(f"PRAGMA {name}").fetchone()[0] for name in names)

    assert await store._writer.run(pragmas, is_apart=True) == ("wal", 2, 1)


async def test_the_reading_lane_cannot_write(store: SqliteStore) -> None:
    with pytest.raises(StoreUnavailable):
        await store._reader.run(lambda c: c.exec_driver_sql("DELETE FROM revocations"))


async def test_a_store_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()
    change(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreUnavailable, match="9999") as caught:
        await store.open()
    assert "version of Midflight" in caught.value.hint
    with pytest.raises(StoreUnavailable):
        await store.get_run("run_a")


async def test_a_run_that_was_opened_before_delegation_is_read_as_whole(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.create_run(RUN, labels=BOTTOM, labels_source="")
    await store.close()
    change(
        path,
        *(f"DROP TABLE {name}" for name in ("entries", "join_tokens", "launches")),
        *(
            f"DROP TABLE oauth_{name}"
            for name in ("clients", "codes", "refreshes", "grants", "tokens")
        ),
        "DROP TABLE canaries",
        *(f"DROP TABLE {name}" for name in ("notices", "break_glass")),
        *(f"DROP TABLE {name}" for name in ("responses", "held")),
        *(f"DROP TABLE ssf_{name}" for name in ("streams", "events", "sets")),
        "DROP TABLE upstream_tasks",
        *(f"ALTER TABLE workloads DROP COLUMN {name}" for name in ("waiver_by", "waiver_until")),
        "DROP INDEX ix_runs_parent_seq",
        *(
            f"ALTER TABLE runs DROP COLUMN {name}"
            for name in ("ancestors", "narrowed", "delegated")
        ),
        # What came with later steps.
        *(f"DROP TABLE {name}" for name in ("approvals", "counterparties")),
        *(f"DROP TABLE {name}" for name in ("credentials", "sealed_secrets", "leases")),
        *(f"DROP TABLE {name}" for name in ("flow_effects", "flow_marks", "flows")),
        *(f"DROP TABLE approver{name}" for name in ("s", "_passkeys", "_enrolments")),
        "DROP TABLE backchannel_requests",
        "UPDATE alembic_version SET version_num = '0002_monitors'",
    )
    await store.open()
    stored = await store.get_run(RUN.id)
    await store.close()
    assert stored is not None
    assert stored.run == RUN


@pytest.mark.parametrize("narrowed", ["{", "[]", '{"only": 1}', '{"effects": ["fly"]}'])
async def test_a_narrowing_that_cannot_be_read_is_not_taken_for_none(
    store: SqliteStore, path: Path, narrowed: str
) -> None:
    await store.create_run(RUN, labels=BOTTOM, labels_source="")
    change(path, f"UPDATE runs SET narrowed = '{narrowed}'")
    with pytest.raises(StoreUnavailable, match="no"):
        await store.get_run(RUN.id)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my diary\n" * 1_000)
    with pytest.raises(StoreUnavailable):
        await SqliteStore(path).open()
    assert path.read_bytes() == b"my diary\n" * 1_000


async def test_a_folder_that_cannot_be_made_is_store_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        await SqliteStore(tmp_path / "file" / "midflight.db").open()


async def test_only_one_opener_at_a_time_makes_and_migrates(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without it, one in thirty of four racing openers of a new file is told that it is locked.
    locked: list[bool] = []

    def migrate_and_look(connection: lane.Connection) -> None:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked.append(False)
        except BlockingIOError:
            locked.append(True)
        finally:
            os.close(folder)
        migrate(connection)

    monkeypatch.setattr("midflight.adapters.store.sqlite_file.migrate", migrate_and_look)
    store = SqliteStore(path)
    await store.open()
    await store.close()
    assert locked == [True]


async def test_closing_twice_or_unopened_is_harmless(path: Path) -> None:
    store = SqliteStore(path)
    await store.close()
    await store.open()
    await store.close()
    await store.close()


async def test_closing_finishes_what_is_queued(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    uses = [
        asyncio.ensure_future(store.use_once("dpop", str(n), until=9, now=1)) for n in range(500)
    ]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*uses) == [True] * 500


# Failure


async def test_a_full_disk_denies_and_recovers_when_there_is_room(
    store: SqliteStore, path: Path
) -> None:
    def limit(pages: int) -> lane.Operation[None]:
        def set_limit(connection: lane.Connection) -> None:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute(f"PRAGMA max_page_count={pages}").fetchall()

        return set_limit

    await store._writer.run(limit(1), is_apart=True)  # SQLite takes what is used now as the limit
    big = msgspec.structs.replace(RUN, intent="x" * 1_000_000)
    writes = [store.create_run(big, labels=BOTTOM, labels_source="")]
    # In the same batch, and small enough to fit: neither harmed nor acknowledged in vain.
    writes += [store.put_seal_key(f"k{n}", b"w") for n in range(3)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(results[0], StoreUnavailable)
    assert "full" in str(results[0])
    for number, result in enumerate(results[1:]):
        kept = await store.get_seal_key(f"k{number}")
        assert (kept is None) == isinstance(result, StoreUnavailable)
    assert await store.get_run("run_a") is None

    await store._writer.run(limit(1_000_000), is_apart=True)
    await store.create_run(big, labels=BOTTOM, labels_source="")
    assert await store.get_run("run_a") is not None


async def test_a_conflict_harms_nobody_in_the_same_batch(store: SqliteStore) -> None:
    await store.put_seal_key("taken", b"w")
    puts = [store.put_seal_key(key, b"w") for key in ("a", "taken", "b", "taken", "c")]
    results = await asyncio.gather(*puts, return_exceptions=True)
    assert [type(result) for result in results] == [
        type(None),
        Conflict,
        type(None),
        Conflict,
        type(None),
    ]
    for key in "abc":
        assert await store.get_seal_key(key) == b"w"


async def test_a_locked_file_is_store_unavailable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midflight.adapters.store.sqlite_file.BUSY_TIMEOUT_S", 0.01)
    store = SqliteStore(path)
    await store.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.put_seal_key("k", b"w")
    assert await store.get_seal_key("k") is None  # readers do not wait for writers
    other.execute("ROLLBACK")
    other.close()
    await store.put_seal_key("k", b"w")
    await store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET state = 'asleep'",
        "UPDATE runs SET confidentiality = 7",
        "UPDATE runs SET compartments = 'no json'",
        "UPDATE runs SET compartments = '{}'",
        "UPDATE runs SET opened_at = 'noon'",
        "UPDATE runs SET salt = x'00'",
    ],
)
async def test_a_row_that_is_no_value_is_unavailable_and_never_half_read(
    store: SqliteStore, path: Path, statement: str
) -> None:
    await store.create_run(RUN, labels=BOTTOM, labels_source="")
    change(path, statement)
    with pytest.raises(StoreUnavailable) as caught:
        await store.get_run("run_a")
    assert SECRET not in said(caught.value)


@pytest.mark.parametrize(
    "changes", [{"max_steps": 2**70}, {"intent": "\ud800"}], ids=["number", "text"]
)
async def test_what_the_file_cannot_hold_is_unavailable(
    store: SqliteStore, changes: dict[str, object]
) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await store.create_run(
            msgspec.structs.replace(RUN, **changes), labels=BOTTOM, labels_source=""
        )
    assert SECRET not in said(caught.value)


async def test_no_error_says_what_was_to_be_stored(store: SqliteStore, path: Path) -> None:
    change(path, "DROP TABLE runs", "DROP TABLE seal_keys")
    with pytest.raises(StoreUnavailable) as caught:
        await store.create_run(RUN, labels=BOTTOM, labels_source="")
    assert SECRET not in said(caught.value)
    assert "plumber" not in said(caught.value)
    with pytest.raises(StoreUnavailable) as caught:
        await store.put_seal_key("run_a", SECRET.encode())
    assert SECRET not in said(caught.value)


async def test_a_cancelled_caller_leaves_the_store_working(store: SqliteStore) -> None:
    putting = asyncio.ensure_future(store.put_seal_key("k", b"w"))
    await asyncio.sleep(0)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await store.put_seal_key("l", b"w")
    assert await store.get_seal_key("l") == b"w"


# What must not stay


async def test_an_erased_key_leaves_no_trace_in_the_files(store: SqliteStore, path: Path) -> None:
    await store.create_run(RUN, labels=BOTTOM, labels_source="")
    await store.put_seal_key("run_a", b"wrapped-key-to-be-forgotten")
    before = bytes_on_disk(path)
    assert SECRET.encode() in before
    assert b"wrapped-key-to-be-forgotten" in before
    await store.erase_seal_key("run_a")
    after = bytes_on_disk(path)
    assert SECRET.encode() not in after
    assert b"plumber" not in after
    assert b"wrapped-key-to-be-forgotten" not in after


async def test_expired_uses_are_pruned_along_the_way(store: SqliteStore) -> None:
    def count(connection: lane.Connection) -> int:
        return connection.exec_driver_sql("SELECT count(*) FROM used_once").scalar_one()

    for number in range(PRUNE_EVERY - 1):
        await store.use_once("dpop", f"old-{number}", until=10, now=1)
    assert await store._reader.run(count) == PRUNE_EVERY - 1
    await store.use_once("dpop", "new", until=99, now=11)
    assert await store._reader.run(count) == 1


def test_a_store_outlives_no_event_loop(path: Path) -> None:
    # A command of the CLI opens, asks and leaves; a later loop must open a store of its own.
    async def once() -> int:
        store = SqliteStore(path)
        await store.open()
        entry = Revocation(
            id=f"rev_{len(await store.revocations())}",
            scope=Scope(kind=ScopeKind.EVERYTHING),
            reason="r",
            author="ada",
            proof="p",
            at=1.0,
        )
        position = await store.append_revocation(entry)
        await store.close()
        return position

    assert [asyncio.run(once()) for _ in range(3)] == [1, 2, 3]


# What earlier versions wrote


async def test_a_pin_of_an_earlier_version_keeps_its_review(store: SqliteStore, path: Path) -> None:
    traits = '{"effect":"read","reach":"closed","reviewed":true}'
    change(
        path,
        'INSERT INTO pins (upstream, kind, name, digest, body, traits, "by", "at") VALUES'
        f" ('git', 'tool', 'git_log', 'd', '{{}}', '{traits}', 'ada', 7)",
    )
    [pin] = await store.list_pins()
    assert pin.traits == Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)
    assert (pin.traits.proposed, pin.traits.arguments, pin.traits.yields) == (False, (), ())


@pytest.mark.parametrize(
    "traits",
    [
        '{"effect":"read","reach":"closed","arguments":[{"path":"a","role":"nobody"}]}',
        '{"effect":"read","reach":"closed","yields":[{"path":"$","kind":"odd"}]}',
        '{"effect":"read","reach":"closed","yields":[{"path":"$","confidentiality":9}]}',
    ],
)
async def test_traits_that_nobody_knows_are_no_traits(
    store: SqliteStore, path: Path, traits: str
) -> None:
    change(
        path,
        'INSERT INTO pins (upstream, kind, name, digest, body, traits, "by", "at") VALUES'
        f" ('git', 'tool', 'git_log', 'd', '{{}}', '{traits}', 'ada', 7)",
    )
    with pytest.raises(StoreUnavailable):
        await store.list_pins()
