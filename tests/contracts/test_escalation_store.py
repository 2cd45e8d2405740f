"""What every store promises about notices and break-glass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.break_glass import BreakGlass, closed, reviewed
from midflight.domain.notice import Notice, NoticeKind, acknowledged, begun, resolved, told
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = (
        MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "midflight.db")
    )
    await made.open()
    yield made
    await made.close()


def notice(number: int = 1, **changes: Any) -> Notice:
    fields: dict[str, Any] = {
        "id": f"ntc_{number}",
        "kind": NoticeKind.APPROVAL,
        "subject": f"apr_{number}",
        "title": "A question",
        "facts": (("action", "mail/send"), ("to", "<@U1>\\u202e")),
        "chain": ("olivia", "security"),
        "created_at": NOW,
        "due_at": NOW,
    }
    return Notice(**(fields | changes))


def opening(number: int = 1, **changes: Any) -> BreakGlass:
    fields: dict[str, Any] = {
        "id": f"brk_{number}",
        "workload": "spiffe://example.org/agents/triage",
        "owner": "ann",
        "author": "olivia",
        "proof": "peer-uid:1000",
        "reason": "outage",
        "opened_at": NOW,
        "ends_at": NOW + 1_800,
        "boot": "one",
        "mono_end": 2_800.5,
    }
    return BreakGlass(**(fields | changes))


async def test_a_notice_is_kept_whole(store: Store) -> None:
    first = notice()
    assert await store.add_notice(first)
    assert await store.get_notice("ntc_1") == first
    assert await store.notice_about("apr_1") == first
    assert await store.get_notice("ntc_2") is None
    assert await store.notice_about("apr_2") is None
    after = begun(first, "msg_1", "ntc_1")
    assert await store.change_notices([after])
    after2 = told(
        after, now=NOW + 1, wait=60, channels=("slack",), contact="olivia", message="msg_1"
    )
    assert await store.change_notices([after2])
    assert await store.get_notice("ntc_1") == after2


async def test_a_subject_has_one_notice(store: Store) -> None:
    assert await store.add_notice(notice())
    assert not await store.add_notice(notice(2, subject="apr_1"))
    assert await store.get_notice("ntc_2") is None
    assert [each.id for each in await store.list_notices(ended=True)] == ["ntc_1"]


async def test_of_two_changes_that_cross_one_is_stored(store: Store) -> None:
    first = notice()
    await store.add_notice(first)
    assert await store.change_notices([begun(first, "msg_1", "ntc_1")])
    assert not await store.change_notices([resolved(first, now=NOW, why="answered")])
    found = await store.get_notice("ntc_1")
    assert found is not None
    assert found.sending == "msg_1"


async def test_changes_are_all_stored_or_none(store: Store) -> None:
    first, second = notice(1), notice(2)
    await store.add_notice(first)
    await store.add_notice(second)
    stale = msgspec.structs.replace(begun(second, "msg_1", "ntc_1"), version=7)
    assert not await store.change_notices([begun(first, "msg_1", "ntc_1"), stale])
    assert not await store.change_notices([begun(first, "m", "t"), begun(notice(3), "m", "t")])
    assert await store.list_notices(ended=False) == [first, second]


async def test_what_has_ended_is_listed_only_when_asked_for_and_forgotten_later(
    store: Store,
) -> None:
    for number in (1, 2, 3):
        await store.add_notice(notice(number))
    had = acknowledged(notice(2), by="olivia", proof="p", now=NOW)
    await store.change_notices([resolved(notice(1), now=NOW + 5, why="answered"), had])
    assert [each.id for each in await store.list_notices(ended=False)] == ["ntc_2", "ntc_3"]
    assert [each.id for each in await store.list_notices(ended=True)] == ["ntc_3", "ntc_2", "ntc_1"]
    assert [each.id for each in await store.list_notices(ended=True, limit=1)] == ["ntc_3"]
    assert await store.forget_notices(before=NOW + 5) == 0
    assert await store.forget_notices(before=NOW + 6) == 1
    assert await store.get_notice("ntc_1") is None
    # Its subject may come again.
    assert await store.add_notice(notice(4, subject="apr_1"))


async def test_break_glass_is_listed_until_it_is_reviewed(store: Store) -> None:
    first, second = opening(1), opening(2)
    await store.put_break_glass(first)
    await store.put_break_glass(second)
    assert await store.list_break_glass(settled=False) == [second, first]
    ended = closed(first, at=NOW + 9, by="olivia", why="over")
    await store.put_break_glass(ended)
    assert await store.list_break_glass(settled=False) == [second, ended]
    done = reviewed(ended, at=NOW + 10, by="bob", proof="peer-uid:2", note="fine")
    await store.put_break_glass(done)
    assert await store.list_break_glass(settled=False) == [second]
    assert await store.list_break_glass(settled=True) == [second, done]
