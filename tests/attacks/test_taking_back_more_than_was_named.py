"""A name that is empty, a prefix or a pattern ends no lease but the one it names, which is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from lease_kit import LeasePlane, credential

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.lease import LeaseState
from midflight.testing import OPERATOR

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_it_ends_nothing(kind: str, tmp_path: Path) -> None:
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "midflight.sqlite3")
    plane = LeasePlane(store=store)
    run = await plane.begin(credential("db"), credential("db-two"))
    held = [await plane.lease(run, name) for name in ("db", "db-two")]
    lease = held[0].lease
    patterns = ("", "%", "_", "*", ".*", "' OR 1=1 --")
    for wrong in (*patterns, run.run.id[:-1], run.run.id.upper(), f"{run.run.id}%"):
        assert await plane.broker.revoke(author=OPERATOR, run=wrong) == []
    for wrong in (*patterns, lease.id[:-1], lease.id.upper(), lease.external, f"{lease.id} "):
        with pytest.raises(Conflict):
            await plane.broker.revoke(author=OPERATOR, lease=wrong)
    for wrong in (*patterns, "d", "db-", "DB", "db-two-"):
        with pytest.raises(NotFound):
            await plane.broker.revoke(author=OPERATOR, credential=wrong)
    with pytest.raises(Conflict):
        await plane.broker.revoke(author=OPERATOR)
    with pytest.raises(Conflict):
        await plane.broker.revoke(author=OPERATOR, lease=lease.id, run="")
    assert [await plane.state(each) for each in held] == [LeaseState.ACTIVE] * 2
    await plane.broker.revoke(author=OPERATOR, credential="db")
    assert [await plane.state(each) for each in held] == [LeaseState.REVOKED, LeaseState.ACTIVE]
    await plane.close()
