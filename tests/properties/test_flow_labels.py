"""Labels: a lattice, and through the real runs and stores they only grow (I9)."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from flow_kit import mails, office
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.labels import BOTTOM, UNTRUSTED, Confidentiality, Labels

labels = st.builds(
    Labels,
    untrusted=st.booleans(),
    confidentiality=st.sampled_from(Confidentiality),
    compartments=st.frozensets(st.sampled_from(["pii", "payments", "customer:42"])),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), labels),
        st.tuples(st.just("read"), st.sampled_from(["read_mail", "list_events", "fetch_page"])),
        st.tuples(st.just("turn"), st.integers(1, 3)),
    ),
    min_size=1,
    max_size=12,
)


@given(labels, labels, labels)
def test_joining_is_a_least_upper_bound(a: Labels, b: Labels, c: Labels) -> None:
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(a) == a
    assert a.join(BOTTOM) == a
    assert a.join(b).covers(a)
    assert a.join(b).covers(b)
    if c.covers(a) and c.covers(b):
        assert c.covers(a.join(b))


@given(labels, labels)
def test_covering_is_joining_that_changes_nothing(a: Labels, b: Labels) -> None:
    assert a.covers(b) == (a.join(b) == a)
    assert (a.covers(b) and b.covers(a)) == (a == b)


async def play(history: list[tuple[str, Any]], store: Any) -> None:
    events = {"events": [{"id": "ev-1", "title": "Lunch", "notes": ""}]}
    sources = {"read_mail": mails("Hello."), "list_events": events, "fetch_page": {"text": "x"}}
    async with office({"store": store}, **sources) as it:
        run = await it.open("Read the page https://news.example/ and my mails and my events")
        seen = [BOTTOM]
        given: list[Labels] = []
        tasks: list[asyncio.Future[Any]] = []

        async def grown() -> None:
            stored = await it.plane.store.get_run(run)
            assert stored is not None
            assert stored.labels.covers(seen[-1])
            live = it.plane.runs.live(run)
            assert live is None or live.labels.covers(stored.labels)
            seen.append(stored.labels)

        for kind, what in history:
            match kind:
                case "join":
                    live = it.plane.runs.live(run)
                    assert live is not None
                    joining = it.plane.runs.join_labels(live, what, source="test")
                    tasks.append(asyncio.ensure_future(joining))
                    given.append(what)
                case "read":
                    url = {"url": "https://news.example/"} if what == "fetch_page" else {}
                    tasks.append(asyncio.ensure_future(it.act(run, what, **url)))
                case _:
                    for _ in range(what):
                        await asyncio.sleep(0)
            await grown()
        await asyncio.gather(*tasks)
        await grown()
        assert all(seen[-1].covers(one) for one in given)
        reads = {a.name for a in it.upstream.received}
        if reads & {"read_mail", "fetch_page"}:
            assert seen[-1].covers(UNTRUSTED)
        elif not given:
            assert seen[-1] == BOTTOM


@given(steps)
@settings(max_examples=40)
def test_labels_of_a_run_only_grow_in_memory(history: list[tuple[str, Any]]) -> None:
    asyncio.run(play(history, MemoryStore()))


@given(steps)
@settings(max_examples=8)
def test_labels_of_a_run_only_grow_in_sqlite(history: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(history, SqliteStore(Path(folder) / "midflight.db")))
