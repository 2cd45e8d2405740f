"""What every store promises of shared signals; `services/ports/ssf_store.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.errors import StoreUnavailable
from midflight.domain.security_event import SESSION_REVOKED
from midflight.domain.shared_stream import (
    Incoming,
    Method,
    Outgoing,
    Stream,
    StreamStatus,
)
from midflight.domain.subject_identifiers import Complex, Email, IssSub, JwtId, Opaque
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def closed_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return SqliteStore(tmp_path / "midflight.db")


@pytest.fixture
async def store(closed_store: Store) -> AsyncIterator[Store]:
    await closed_store.open()
    yield closed_store
    await closed_store.close()


def stream(name: str = "one", client: str = "soc", at: int = 100) -> Stream:
    return Stream(
        id=name,
        client=client,
        aud=client,
        method=Method.PUSH,
        created_at=at,
        endpoint_url="https://soc.example/events",
        authorization="sealed_a",
        requested=(SESSION_REVOKED,),
        status=StreamStatus.PAUSED,
        through=3,
        removed=(
            Email(email="a@example.org"),
            IssSub(iss="https://i.example", sub="s"),
            JwtId(iss="https://i.example", jti="j"),
            Complex(members={"user": Opaque(id="o")}),
        ),
    )


def event(jti: str, name: str = "one") -> Outgoing:
    return Outgoing(
        stream=name, jti=jti, kind=SESSION_REVOKED, claims={"jti": jti, "n": [1]}, at=1.5
    )


async def test_streams_are_kept_whole_and_in_order(store: Store) -> None:
    one, two, other = stream(), stream("two", at=101), stream("other", "siem", at=99)
    for each in (two, other, one):
        await store.put_ssf_stream(each)
    assert await store.get_ssf_stream("one") == one
    assert await store.get_ssf_stream("none") is None
    assert list(await store.list_ssf_streams()) == [other, one, two]
    assert list(await store.list_ssf_streams(client="soc")) == [one, two]
    changed = msgspec.structs.replace(one, description="new", removed=())
    await store.put_ssf_stream(changed)
    assert await store.get_ssf_stream("one") == changed
    assert await store.delete_ssf_stream("one")
    assert not await store.delete_ssf_stream("one")


async def test_events_wait_in_the_order_they_came(store: Store) -> None:
    await store.put_ssf_stream(stream())
    await store.put_ssf_stream(stream("two"))
    assert not await store.queue_ssf_events([event("b"), event("a"), event("b", "two")], bound=9)
    assert not await store.queue_ssf_events([event("c")], bound=9)
    found = await store.queued_ssf_events("one", limit=10)
    assert [each.event.jti for each in found] == ["b", "a", "c"]
    assert found[0].event == event("b")
    assert [each.number for each in found] == sorted({each.number for each in found})
    up_to = await store.queued_ssf_events("one", limit=10, through=found[1].number)
    assert [each.event.jti for each in up_to] == ["b", "a"]
    assert len(await store.queued_ssf_events("one", limit=1)) == 1
    assert await store.unqueue_ssf_events("one", ["b", "never"]) == 1
    assert await store.count_ssf_events("one") == 2
    assert await store.clear_ssf_events("one") == 2
    assert await store.count_ssf_events("two") == 1


async def test_numbers_are_never_used_twice(store: Store) -> None:
    await store.put_ssf_stream(stream())
    await store.queue_ssf_events([event("a")], bound=9)
    (first,) = await store.queued_ssf_events("one", limit=1)
    await store.clear_ssf_events("one")
    await store.queue_ssf_events([event("b")], bound=9)
    (second,) = await store.queued_ssf_events("one", limit=1)
    assert second.number > first.number


async def test_an_event_is_queued_once_and_for_streams_that_exist(store: Store) -> None:
    await store.put_ssf_stream(stream())
    assert not await store.queue_ssf_events([event("a"), event("a"), event("x", "gone")], bound=1)
    assert not await store.queue_ssf_events([event("a")], bound=1)
    assert await store.count_ssf_events("one") == 1
    assert await store.count_ssf_events("gone") == 0


async def test_what_finds_no_room_is_said_and_counted(store: Store) -> None:
    await store.put_ssf_stream(stream())
    without = await store.queue_ssf_events([event(name) for name in "abcd"], bound=2)
    assert [each.jti for each in without] == ["c", "d"]
    kept = await store.get_ssf_stream("one")
    assert kept is not None
    assert kept.dropped == 2
    await store.put_ssf_stream(msgspec.structs.replace(kept, dropped=0, description="d"))
    again = await store.get_ssf_stream("one")
    assert again is not None
    assert (again.dropped, again.description) == (2, "d")
    assert await store.reset_ssf_dropped("one") == 2
    assert await store.reset_ssf_dropped("one") == 0
    assert await store.reset_ssf_dropped("gone") == 0


async def test_a_stream_that_is_forgotten_takes_its_events_along(store: Store) -> None:
    await store.put_ssf_stream(stream())
    await store.queue_ssf_events([event("a")], bound=9)
    await store.delete_ssf_stream("one")
    assert await store.count_ssf_events("one") == 0


def incoming(jti: str, receiver: str = "idp", at: int = 10) -> Incoming:
    return Incoming(receiver=receiver, jti=jti, text=f"text {jti}", at=at)


async def test_a_set_is_taken_once(store: Store) -> None:
    assert await store.take_ssf_set(incoming("a")) is None
    other = msgspec.structs.replace(incoming("a", at=99), text="another")
    assert await store.take_ssf_set(other) == incoming("a")
    assert await store.take_ssf_set(incoming("a", "hr")) is None
    await store.finish_ssf_set("idp", "a", "revoked workload x")
    stored = await store.take_ssf_set(incoming("a"))
    assert stored is not None
    assert (stored.outcome, stored.text) == ("revoked workload x", "")


async def test_what_was_not_acted_on_is_found_again(store: Store) -> None:
    for jti, at in (("c", 3), ("a", 1), ("b", 2)):
        await store.take_ssf_set(incoming(jti, at=at))
    await store.finish_ssf_set("idp", "b", "noted")
    await store.finish_ssf_set("idp", "never", "noted")
    assert [each.jti for each in await store.unfinished_ssf_sets()] == ["a", "c"]
    assert [each.jti for each in await store.last_ssf_sets("idp", limit=2)] == ["c", "b"]
    assert await store.prune_ssf_sets("idp", before=9) == 1
    assert await store.prune_ssf_sets("other", before=9) == 0
    assert [each.jti for each in await store.last_ssf_sets("idp", limit=9)] == ["c", "a"]


async def test_a_closed_store_answers_nothing(closed_store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await closed_store.queue_ssf_events([event("a")], bound=1)
    with pytest.raises(StoreUnavailable):
        await closed_store.take_ssf_set(incoming("a"))
