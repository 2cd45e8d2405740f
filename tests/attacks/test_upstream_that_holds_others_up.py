"""An upstream that never answers, floods or swells, at the cost of other upstreams and agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.apps.gateway import notices as module
from midflight.apps.gateway.notices import LIST_CHANGED, Notices
from midflight.apps.gateway.resumption import Kept
from midflight.domain.errors import Unavailable, UpstreamBroken
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Reach
from midflight.services import fetching
from midflight.services.catalogue import Catalogue, Waits
from midflight.services.fetching import fetch_definitions
from midflight.services.ledger import Ledger
from midflight.services.ports.upstream import Reply
from midflight.testing import WORKLOAD, FakeClock, FixedEngine, ScriptedUpstream

pytestmark = pytest.mark.anyio

CHANGED = next(iter(LIST_CHANGED))
UPDATED = "notifications/resources/updated"


class Hanging(ScriptedUpstream):
    """Never lists anything until it is let go."""

    def __init__(self, name: str, tools: Any) -> None:
        super().__init__(name, tools)
        self.go = asyncio.Event()
        self.asked = 0

    async def call(self, action: Any, **parts: Any) -> Reply:
        self.asked += 1
        await self.go.wait()
        return await super().call(action, **parts)


def tools(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "inputSchema": {"type": "object"}} for name in names]


@asynccontextmanager
async def catalogue_of(*upstreams: ScriptedUpstream, waits: Waits) -> AsyncIterator[Any]:
    clock, store = FakeClock(), MemoryStore()
    await store.open()
    ledger = Ledger(MemoryLedgerStore(), signer=None, clock=clock)
    await ledger.start("test", "fixed")
    catalogue = Catalogue(
        upstreams={upstream.name: upstream for upstream in upstreams},
        reaches={upstream.name: Reach.CLOSED for upstream in upstreams},
        store=store,
        recorder=ledger,
        clock=clock,
        engine=FixedEngine(),
        waits=waits,
    )
    await catalogue.start()
    yield catalogue, clock
    await catalogue.close()
    await ledger.close()
    await store.close()


NO_PATIENCE = Waits(first=0, again=0)


async def test_one_that_never_lists_is_left_out_and_does_not_hold_the_others_up() -> None:
    good, bad = ScriptedUpstream("good", tools("look")), Hanging("bad", tools("look"))
    async with catalogue_of(good, bad, waits=Waits(first=0.01, again=0)) as (catalogue, _):
        async with asyncio.timeout(20):
            assert await catalogue.ready(["bad", "good"]) == ["good"]
            for _ in range(50):  # nor does it see a fetch for each who asks
                assert await catalogue.ready(["bad", "good"]) == ["good"]
        assert bad.asked == 1
        with pytest.raises(Unavailable):
            await catalogue.ready(["bad"])
        bad.go.set()
        async with asyncio.timeout(20):
            while await catalogue.ready(["bad", "good"]) != ["bad", "good"]:
                await asyncio.sleep(0)


async def test_one_that_stops_listing_is_shown_as_it_was_last_seen() -> None:
    bad = Hanging("bad", tools("look"))
    bad.go.set()
    async with catalogue_of(bad, waits=NO_PATIENCE) as (catalogue, clock):
        await catalogue.refresh("bad")
        bad.go.clear()
        clock.advance(31)
        async with asyncio.timeout(20):
            assert await catalogue.ready(["bad"]) == ["bad"]
        assert catalogue.definition("bad", PinnedKind.TOOL, "look") is not None


async def test_a_fetch_ends_whatever_the_upstream_does() -> None:
    bad = Hanging("bad", tools("look"))
    async with catalogue_of(bad, waits=Waits(fetch=0.01)) as (catalogue, clock):
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable):
                await catalogue.ready(["bad"])
        asked = bad.asked
        with pytest.raises(Unavailable):
            await catalogue.ready(["bad"])
        assert bad.asked == asked  # what has just failed is not tried again for everybody
        bad.go.set()
        clock.advance(6)
        assert await catalogue.ready(["bad"]) == ["bad"]


async def test_lists_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 10_000)

    class Swelling(ScriptedUpstream):
        pages = 0

        async def call(self, action: Any, **parts: Any) -> Reply:
            self.pages += 1
            tool = {"name": f"t{self.pages}", "inputSchema": {}, "description": "x" * 900}
            return Reply(result={"tools": [tool], "nextCursor": "more"}, bytes_in=1_000)

    swelling = Swelling("one", [])
    with pytest.raises(UpstreamBroken):
        await fetch_definitions(swelling, await swelling.describe())
    assert swelling.pages == 11


class Hub:
    """Notices, and what they did."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.fetched: list[str] = []
        self.heard: list[tuple[str, str]] = []
        self.notices = Notices(refresh=self._refresh, observe=self._observe, pause_s=0)

    async def _refresh(self, upstream: str) -> None:
        self.fetched.append(upstream)
        if upstream == "bad":
            await self.go.wait()

    async def _observe(self, run: str, upstream: str, method: str, params: Any) -> Any:
        """Labels are the guard's."""
        return params

    async def hear(self, upstream: str, method: str, params: Any) -> None:
        if params.get("boom"):
            raise RuntimeError("a bug in a listener")
        self.heard.append((upstream, method))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.heard) < count:
                await asyncio.sleep(0)


async def test_one_that_says_changed_and_never_lists_holds_up_only_its_own_notices() -> None:
    hub = Hub()
    hub.notices.listen("run", hub.hear)
    bad, good = hub.notices.handler("bad"), hub.notices.handler("good")
    bad("", CHANGED, {})
    for _ in range(10):
        await asyncio.sleep(0)
    good("", CHANGED, {})
    good("run", UPDATED, {"uri": "x"})
    await hub.until(2)
    assert hub.heard == [("good", CHANGED), ("good", UPDATED)]
    await hub.notices.close()


async def test_a_burst_of_changes_is_one_fetch() -> None:
    hub = Hub()
    hub.notices.listen("run", hub.hear)
    good = hub.notices.handler("good")
    for method in (*LIST_CHANGED, *LIST_CHANGED, *LIST_CHANGED):
        good("", method, {})
    await hub.until(9)
    assert hub.fetched == ["good"]
    await hub.notices.close()


async def test_a_flood_of_notices_is_kept_within_bounds() -> None:
    hub = Hub()
    hub.notices.listen("run", hub.hear)
    bad = hub.notices.handler("bad")
    bad("run", UPDATED, {"uri": "x" * module.MAX_BYTES})
    assert hub.notices.dropped == 1
    bad("", CHANGED, {"load": "x" * module.MAX_BYTES})  # what stands beside a change is not kept
    assert hub.notices.dropped == 1
    for _ in range(module.MAX_WAITING + 100):
        bad("run", UPDATED, {"uri": "x"})
    assert hub.notices.dropped == 102
    await hub.notices.close()


async def test_a_bug_behind_one_notice_does_not_end_all_others() -> None:
    hub = Hub()
    hub.notices.listen("run", hub.hear)
    good = hub.notices.handler("good")
    good("run", UPDATED, {"boom": True})
    good("run", UPDATED, {"uri": "x"})
    await hub.until(1)
    await hub.notices.close()


async def test_a_stream_without_end_is_not_kept_without_end() -> None:
    kept = Kept(max_bytes=10_000)
    log = kept.open("session", WORKLOAD)
    for number in range(1, 1_000):
        assert f"id: {log.number}-{number}".encode() in log.append(b"x" * 100)
    assert sum(map(len, log.messages)) <= 10_000
    assert kept.find("session", f"{log.number}-1") is None
    later = kept.open("session", WORKLOAD)
    later.append(b"y")
    assert kept.find("session", f"{later.number}-0") == (later, 0)
