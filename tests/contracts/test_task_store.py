"""What every store promises of tasks at upstreams; `services/ports/task_store.py` says it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.errors import StoreUnavailable
from midflight.domain.revocation import ScopeKind
from midflight.domain.upstream_task import UpstreamTask
from midflight.services.ports.task_store import TaskStore

pytestmark = pytest.mark.anyio

TASK = UpstreamTask(
    upstream="up",
    task_id="t-1 ä",
    run="r",
    workload="w",
    tool="work",
    record="rec",
    scopes=((ScopeKind.EVERYTHING, ""), (ScopeKind.RUN, "r")),
    effectful=False,
    token="jti",
    extensions={"io.modelcontextprotocol/tasks": {}},
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "midflight.db")
    await made.open()
    yield made
    await made.close()


async def test_tasks_come_back_as_they_were_put_the_oldest_first(store: TaskStore) -> None:
    others = [
        msgspec.structs.replace(TASK, **{field: "b"}) for field in ("upstream", "task_id", "run")
    ]
    for task in (TASK, *others):
        await store.put_task(task)
    assert await store.list_tasks() == [TASK, *others]


async def test_a_task_that_is_kept_stays_as_it_is(store: TaskStore) -> None:
    await store.put_task(TASK)
    await store.put_task(msgspec.structs.replace(TASK, scopes=()))
    assert await store.list_tasks() == [TASK]


async def test_one_is_dropped_and_no_other(store: TaskStore) -> None:
    other = msgspec.structs.replace(TASK, run="r2")
    await store.put_task(TASK)
    await store.put_task(other)
    await store.drop_task(TASK)
    await store.drop_task(TASK)
    assert await store.list_tasks() == [other]


async def test_a_closed_store_is_unavailable(store: Any) -> None:
    await store.close()
    for work in (store.put_task(TASK), store.drop_task(TASK), store.list_tasks()):
        with pytest.raises(StoreUnavailable):
            await work
    await store.open()
