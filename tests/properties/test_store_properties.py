"""What holds of the store for any interleaving, over several replicas on one file.

Two stores on one file stand for two replicas: they share no memory, only the file.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.errors import Conflict, MidflightError
from midflight.domain.identity import Workload
from midflight.domain.labels import BOTTOM, Confidentiality, Labels
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.run import Run, RunState
from midflight.domain.tool import Pin, PinnedKind
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio

# The stores are opened once a test and every example takes fresh ids, so sharing them is sound.
# An example waits for the disk, so there are a third of the profile's.
shared = settings(
    max_examples=settings().max_examples // 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
fresh = itertools.count(1)


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[Sequence[Store]]:
    stores = [SqliteStore(tmp_path / "midflight.db") for _ in range(2)]
    for store in stores:
        await store.open()
    yield stores
    for store in stores:
        await store.close()


def new_run(
    run_id: str,
    *,
    max_steps: int = 1,
    workload: str = "spiffe://a.example/w",
    parent: str | None = None,
) -> Run:
    return Run(
        id=run_id,
        workload=workload,
        intent="intent",
        opened_by="ada",
        opened_at=1,
        expires_at=2,
        idle_timeout=1,
        max_steps=max_steps,
        salt="grain",
        parent=parent,
        ancestors=() if parent is None else (parent,),
        delegated=None if parent is None else "sealed words",
    )


def new_revocation(revocation_id: str) -> Revocation:
    return Revocation(
        id=revocation_id,
        scope=Scope(kind=ScopeKind.EVERYTHING),
        reason="r",
        author="ada",
        proof="peer-uid:0",
        at=1.5,
    )


labels = st.builds(
    Labels,
    untrusted=st.booleans(),
    confidentiality=st.sampled_from(Confidentiality),
    compartments=st.frozensets(st.sampled_from(["hr", "legal", "ops"])),
)
replica = st.integers(0, 1)


@shared
@given(raises=st.lists(st.tuples(replica, labels), max_size=12))
async def test_labels_only_grow_whichever_replica_sees_them(
    replicas: Sequence[Store], raises: list[tuple[int, Labels]]
) -> None:
    run_id = f"run_{next(fresh)}"
    await replicas[0].create_run(new_run(run_id), labels=BOTTOM, labels_source="")
    seen: list[Labels] = []
    finished = asyncio.Event()

    async def look() -> None:
        for store in itertools.cycle(replicas):
            stored = await store.get_run(run_id)
            assert stored is not None
            seen.append(stored.labels)
            if finished.is_set():
                return

    looking = asyncio.create_task(look())
    results = await asyncio.gather(
        *(
            replicas[which].join_labels(run_id, raised, source=f"rec_{number}")
            for number, (which, raised) in enumerate(raises)
        )
    )
    finished.set()
    await looking

    for (_, raised), result in zip(raises, results, strict=True):
        assert result.covers(raised)
    assert all(later.covers(earlier) for earlier, later in itertools.pairwise(seen))
    total = BOTTOM
    for _, raised in raises:
        total = total.join(raised)
    for store in replicas:
        stored = await store.get_run(run_id)
        assert stored is not None
        assert stored.labels == total
        sources = stored.labels_source.split()
        assert len(set(sources)) == len(sources)
        # The sources that are kept explain the whole label.
        explained = BOTTOM
        for source in sources:
            explained = explained.join(raises[int(source.removeprefix("rec_"))][1])
        assert explained == total


@shared
@given(
    max_steps=st.integers(0, 60),
    wanted=st.lists(st.tuples(replica, st.integers(-5, 30)), max_size=16),
)
async def test_no_more_steps_are_granted_than_the_budget_has(
    replicas: Sequence[Store], max_steps: int, wanted: list[tuple[int, int]]
) -> None:
    run_id = f"run_{next(fresh)}"
    await replicas[0].create_run(
        new_run(run_id, max_steps=max_steps), labels=BOTTOM, labels_source=""
    )
    granted = await asyncio.gather(
        *(replicas[which].reserve_steps(run_id, count) for which, count in wanted)
    )
    assert all(0 <= got <= max(0, count) for got, (_, count) in zip(granted, wanted, strict=True))
    assert sum(granted) == min(max_steps, sum(max(0, count) for _, count in wanted))
    stored = await replicas[1].get_run(run_id)
    assert stored is not None
    assert stored.steps_reserved == sum(granted)


@shared
@given(uses=st.lists(st.tuples(replica, st.sampled_from("abc")), max_size=20))
async def test_a_key_is_granted_exactly_once_over_all_replicas(
    replicas: Sequence[Store], uses: list[tuple[int, str]]
) -> None:
    purpose = f"dpop-{next(fresh)}"
    granted = await asyncio.gather(
        *(replicas[which].use_once(purpose, key, until=100, now=1) for which, key in uses)
    )
    won = [key for (_, key), got in zip(uses, granted, strict=True) if got]
    assert sorted(won) == sorted({key for _, key in uses})


@shared
@given(
    ends=st.lists(
        st.tuples(replica, st.sampled_from([s for s in RunState if s is not RunState.OPEN])),
        min_size=1,
        max_size=8,
    )
)
async def test_a_run_ends_once_over_all_replicas(
    replicas: Sequence[Store], ends: list[tuple[int, RunState]]
) -> None:
    run_id = f"run_{next(fresh)}"
    await replicas[0].create_run(new_run(run_id), labels=BOTTOM, labels_source="")
    ended = await asyncio.gather(*(replicas[which].end_run(run_id, s) for which, s in ends))
    assert ended.count(True) == 1
    stored = await replicas[0].get_run(run_id)
    assert stored is not None
    assert stored.state is ends[ended.index(True)][1]


@shared
@given(appended=st.lists(st.tuples(replica, st.integers(0, 5)), max_size=16))
async def test_positions_of_revocations_have_no_gap_and_no_double(
    replicas: Sequence[Store], appended: list[tuple[int, int]]
) -> None:
    batch = next(fresh)
    before = len(await replicas[0].revocations())

    async def append(which: int, number: int) -> int | None:
        try:
            return await replicas[which].append_revocation(new_revocation(f"rev_{batch}_{number}"))
        except Conflict:
            return None

    got = await asyncio.gather(*(append(which, number) for which, number in appended))
    positions = sorted(position for position in got if position is not None)
    distinct = len({number for _, number in appended})
    assert positions == list(range(before + 1, before + 1 + distinct))
    for store in replicas:
        log = await store.revocations()
        assert [entry.position for entry in log] == list(range(1, before + 1 + distinct))


# The in-memory store is the model of the durable one

ids = st.sampled_from(["a", "b", "c"])
kinds = st.sampled_from(PinnedKind)
optional_id = st.none() | ids
calls = st.one_of(
    st.tuples(
        st.just("put_workload"),
        st.fixed_dictionaries(
            {
                "workload": st.builds(
                    Workload,
                    id=ids,
                    owner=st.text(max_size=5),
                    escalation=st.just("ops"),
                    review_by=st.integers(0, 2**40),
                    uid=st.none() | st.integers(0, 2**31),
                    disabled=st.booleans(),
                )
            }
        ),
    ),
    st.tuples(st.just("get_workload"), st.fixed_dictionaries({"workload_id": ids})),
    st.tuples(st.just("list_workloads"), st.just({})),
    st.tuples(
        st.just("create_run"),
        st.fixed_dictionaries(
            {
                "run": st.builds(
                    new_run,
                    ids,
                    max_steps=st.integers(0, 9),
                    workload=st.sampled_from("vw"),
                    parent=optional_id,
                ),
                "labels": labels,
                "labels_source": st.sampled_from(["", "rec_0"]),
            }
        ),
    ),
    st.tuples(st.just("get_run"), st.fixed_dictionaries({"run_id": ids})),
    st.tuples(st.just("children"), st.fixed_dictionaries({"run_ids": st.lists(ids)})),
    st.tuples(
        st.just("list_runs"),
        st.fixed_dictionaries(
            {
                "workload": st.none() | st.sampled_from("vw"),
                "state": st.none() | st.sampled_from(RunState),
                "limit": st.integers(-1, 4),
            }
        ),
    ),
    st.tuples(st.just("last_run"), st.fixed_dictionaries({"workload": st.sampled_from("vw")})),
    st.tuples(
        st.just("end_run"),
        st.fixed_dictionaries({"run_id": ids, "state": st.sampled_from(RunState)}),
    ),
    st.tuples(
        st.just("join_labels"),
        st.fixed_dictionaries(
            {"run_id": ids, "labels": labels, "source": st.sampled_from(["rec_1", "rec_2"])}
        ),
    ),
    st.tuples(
        st.just("reserve_steps"),
        st.fixed_dictionaries({"run_id": ids, "count": st.integers(-2, 6)}),
    ),
    st.tuples(
        st.just("put_pin"),
        st.fixed_dictionaries(
            {
                "pin": st.builds(
                    Pin,
                    upstream=ids,
                    kind=kinds,
                    name=ids,
                    digest=st.text(max_size=3),
                    body=st.dictionaries(st.text(max_size=3), st.integers() | st.none()),
                )
            }
        ),
    ),
    st.tuples(
        st.just("delete_pin"),
        st.fixed_dictionaries({"upstream": ids, "kind": kinds, "name": ids}),
    ),
    st.tuples(st.just("list_pins"), st.fixed_dictionaries({"upstream": optional_id})),
    st.tuples(
        st.just("append_revocation"),
        st.fixed_dictionaries({"revocation": st.builds(new_revocation, ids)}),
    ),
    st.tuples(st.just("revocations"), st.fixed_dictionaries({"after": st.integers(-1, 4)})),
    st.tuples(
        st.just("put_seal_key"),
        st.fixed_dictionaries({"key_id": ids, "wrapped": st.binary(max_size=4)}),
    ),
    st.tuples(st.just("get_seal_key"), st.fixed_dictionaries({"key_id": ids})),
    st.tuples(st.just("erase_seal_key"), st.fixed_dictionaries({"key_id": ids})),
    st.tuples(
        st.just("use_once"),
        st.fixed_dictionaries(
            {
                "purpose": ids,
                "key": ids,
                "until": st.integers(0, 6),
                "now": st.integers(0, 6),
            }
        ),
    ),
)


async def outcome(store: Store, method: str, arguments: dict[str, Any]) -> object:
    try:
        return await getattr(store, method)(**arguments)
    except MidflightError as error:
        return type(error)


def empty(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        for table in ("workloads", "runs", "pins", "revocations", "seal_keys", "used_once"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()


@shared
@given(sequence=st.lists(calls, min_size=1, max_size=25))
async def test_the_durable_store_answers_like_the_one_in_memory(
    replicas: Sequence[Store], tmp_path: Path, sequence: list[tuple[str, dict[str, Any]]]
) -> None:
    empty(tmp_path / "midflight.db")
    model = MemoryStore()
    await model.open()
    durable = itertools.cycle(replicas)
    for method, arguments in sequence:
        expected = await outcome(model, method, arguments)
        assert await outcome(next(durable), method, arguments) == expected, method
