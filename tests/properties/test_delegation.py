"""I3 and I9 with delegation: children only have less, and labels only grow, also after a crash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from family_kit import OTHER, THIRD, Family, family
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.action import ActionKind
from midflight.domain.decision import Deny
from midflight.domain.delegation import ends_at, falls_as, share
from midflight.domain.errors import MidflightError, StoreUnavailable
from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.narrowing import WHOLE, Narrowing, beyond, meet, outside
from midflight.domain.revocation import ScopeKind
from midflight.domain.run import Run, RunState
from midflight.domain.traits import Effect, Traits
from midflight.services.runs import Bounds
from midflight.testing import OPERATOR, WORKLOAD, FixedEngine, caller

UPSTREAMS = ["git", "mail"]
TOOLS = ["read", "write"]
ENTRIES = [*UPSTREAMS, *(f"{upstream}/{tool}" for upstream in UPSTREAMS for tool in TOOLS)]

narrowings = st.builds(
    Narrowing,
    only=st.none() | st.frozensets(st.sampled_from(ENTRIES)),
    effects=st.none() | st.frozensets(st.sampled_from([Effect.READ, Effect.WRITE, Effect.SEND])),
)
actions = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(list(ActionKind)),
        "upstream": st.sampled_from(UPSTREAMS),
        "name": st.sampled_from(TOOLS),
        "traits": st.builds(
            Traits,
            effect=st.sampled_from([Effect.READ, Effect.WRITE, Effect.SEND]),
            reviewed=st.booleans(),
        ),
    }
)


def permits(narrowing: Narrowing, action: dict[str, Any]) -> bool:
    return outside(narrowing, **action) is None


# Rules


@given(st.lists(narrowings, max_size=5), actions)
@settings(max_examples=settings().max_examples * 5)
def test_what_a_descendant_may_do_every_ancestor_may_do(
    asked: list[Narrowing], action: dict[str, Any]
) -> None:
    chain = [WHOLE]
    for one in asked:
        chain.append(meet(chain[-1], one))
    if permits(chain[-1], action):
        assert all(permits(above, action) for above in chain)
        assert all(permits(one, action) for one in asked)


@given(narrowings, narrowings, actions)
@settings(max_examples=settings().max_examples * 5)
def test_nothing_more_is_taken_from_tools_than_was_asked_for(
    one: Narrowing, other: Narrowing, action: dict[str, Any]
) -> None:
    action["kind"] = ActionKind.CALL_TOOL
    both = permits(one, action) and permits(other, action)
    assert permits(meet(one, other), action) is both


@given(narrowings, narrowings, narrowings)
def test_narrowing_is_a_meet(one: Narrowing, other: Narrowing, third: Narrowing) -> None:
    assert meet(one, other) == meet(other, one)
    assert meet(meet(one, other), third) == meet(one, meet(other, third))
    assert meet(one, one) == meet(one, meet(one, one))
    assert meet(one, WHOLE) == one


@given(narrowings, narrowings, actions)
def test_what_is_not_beyond_the_parent_is_given_as_it_was_asked_for(
    parent: Narrowing, asked: Narrowing, action: dict[str, Any]
) -> None:
    if not beyond(parent, asked) and None not in (asked.only, asked.effects):
        assert permits(meet(parent, asked), action) is permits(asked, action)
        assert not permits(asked, action) or permits(parent, action)


@given(st.integers(0, 2**40), st.integers(1, 2**40), st.integers(0, 2**40))
def test_an_end_never_moves_out(now: int, ttl_s: int, parent_ends: int) -> None:
    assert ends_at(now=now, ttl_s=ttl_s, parent_ends=parent_ends) <= parent_ends


@given(st.integers(0, 10**7), st.sampled_from(RunState))
def test_a_share_leaves_some_and_a_fall_is_an_end(left: int, state: RunState) -> None:
    assert 0 <= share(left) <= left / 2
    assert falls_as(state) is not RunState.OPEN


# Whole families


class Dying(MemoryStore):
    """A store whose writes of runs can fail, before or after they are done."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None
        self.lost = False

    async def _write(self, do: Any) -> Any:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                if self.lost:
                    await do
                else:
                    do.close()
                raise StoreUnavailable("the machine is gone")
        done = await do
        # Others have a turn before the answer is there, as with any store.
        await asyncio.sleep(0)
        return done

    async def create_run(self, run: Run, *, labels: Labels, labels_source: str) -> None:
        await self._write(super().create_run(run, labels=labels, labels_source=labels_source))

    async def join_labels(self, run_id: str, labels: Labels, *, source: str) -> Labels:
        joined: Labels = await self._write(super().join_labels(run_id, labels, source=source))
        return joined

    async def end_run(self, run_id: str, state: RunState) -> bool:
        done: bool = await self._write(super().end_run(run_id, state))
        return done

    async def reserve_steps(self, run_id: str, count: int) -> int:
        granted: int = await self._write(super().reserve_steps(run_id, count))
        return granted


LABELS = [
    Labels(untrusted=True),
    Labels(confidentiality=Confidentiality.SECRET),
    Labels(compartments=frozenset({"pii"})),
    Labels(compartments=frozenset({"payments"})),
]
which = st.integers(0, 7)
moves = st.one_of(
    st.tuples(st.just("delegate"), which, st.sampled_from([WORKLOAD, OTHER, THIRD])),
    st.tuples(
        st.just("join"),
        st.none() | st.integers(0, 3),
        st.lists(st.tuples(which, st.sampled_from(LABELS)), min_size=1, max_size=4),
    ),
    st.tuples(st.just("end"), which, st.sampled_from(["close", "revoke"])),
    st.tuples(st.just("crash"), st.none() | st.integers(0, 4), st.booleans()),
    st.tuples(st.just("restart"), st.none(), st.none()),
)


async def check(store: MemoryStore, plane: Family, known: dict[str, Labels]) -> None:
    """What has to hold after every move, whatever failed in it."""
    kept = {stored.run.id: stored for stored in await store.list_runs()}
    for run_id, stored in kept.items():
        assert stored.labels.covers(known.get(run_id, Labels()))  # I9: they only grow
        known[run_id] = stored.labels
        live = plane.runs.live(run_id)
        if live is not None:
            assert live.labels.covers(stored.labels)
        for ancestor in stored.run.ancestors:
            assert kept[ancestor].labels.covers(stored.labels), "a child has what its parent lacks"
            above = plane.runs.live(ancestor)
            if live is not None:
                assert above is not None
                assert above.state is RunState.OPEN
                assert above.labels.covers(live.labels)
        parent = kept.get(stored.run.parent or "")
        if parent is not None:  # I3
            assert stored.run.expires_at <= parent.run.expires_at
            assert stored.run.max_steps <= parent.steps_reserved
            assert stored.run.depth == parent.run.depth + 1
    for run_id in kept:
        live = plane.runs.live(run_id)
        for other in live.family() if live is not None else ():
            if live is not None and other.run.workload == live.run.workload:
                assert other.labels == live.labels, (
                    "one process has read in the one what it has not"
                )
    for stored in kept.values():
        spent = sum(s.run.max_steps for s in kept.values() if s.run.parent == stored.run.id)
        assert spent <= stored.steps_reserved <= stored.run.max_steps


async def play(
    first_runs: Sequence[tuple[int, str]], history: Sequence[tuple[str, Any, Any]]
) -> None:
    store = Dying()
    plane = await family(store=store, engine=FixedEngine(), bounds=Bounds(max_steps=64))
    runs = [await plane.open()]
    for above, workload in first_runs:
        parent = runs[above % len(runs)]
        runs.append(await plane.delegate(parent, workload=workload, max_steps=20 // len(runs)))
    known: dict[str, Labels] = {}
    ended: set[str] = set()

    async def join(number: int, labels: Labels) -> None:
        run = runs[number % len(runs)]
        found = await plane.runs.find(*await seat(plane, run))
        if hasattr(found, "labels"):
            await plane.runs.join_labels(found, labels, source="rec_1")  # type: ignore[arg-type]
            # Acknowledged: now every ancestor has it, durably.
            stored = await store.get_run(run)
            assert stored is not None
            for one in (run, *stored.run.ancestors):
                assert (await plane.labels(one)).covers(labels)

    for move, first, second in history:
        with contextlib.suppress(MidflightError):
            match move:
                case "delegate":
                    child = plane.delegate(runs[first % len(runs)], workload=second, max_steps=3)
                    runs.append(await child)
                case "join":
                    store.left = first if store.left is None else store.left
                    joins = [join(number, labels) for number, labels in second]
                    failed = await asyncio.gather(*joins, return_exceptions=True)
                    assert all(
                        error is None or isinstance(error, MidflightError) for error in failed
                    )
                case "end" if second == "close":
                    ended.add(runs[first % len(runs)])
                    await plane.runs.close_run(runs[first % len(runs)], author=OPERATOR)
                case "end":
                    run = runs[first % len(runs)]
                    plane.is_deaf = True  # it is told below, where it can be waited for
                    await plane.revoke(ScopeKind.RUN, run)
                    ended |= await refused(plane, run)
                case "crash":
                    store.left, store.lost = first, second
                case _:
                    store.left = None
                    ended = {run for run in ended if await plane.state(run) is not RunState.OPEN}
                    plane = await plane.again()
        await check(store, plane, known)
        for run in runs:
            stored = await store.get_run(run)
            if stored is not None and ended & {run, *stored.run.ancestors}:
                assert plane.runs.live(run) is None
    await plane.abandon()


async def refused(plane: Family, run: str) -> set[str]:
    """The run, if it has ended by its revocation: at once, or as soon as the store answers."""
    revocation = plane.interruption.revocation_of(run)
    assert revocation is not None
    await plane.runs.revoked(revocation)
    assert isinstance(await plane.runs.find(*await seat(plane, run)), Deny)
    return {run}


async def seat(plane: Family, run: str) -> Any:
    stored = await plane.store.get_run(run)
    assert stored is not None
    workload = plane.inventory.current(stored.run.workload)
    return caller(run, workload=stored.run.workload), workload


@given(
    st.lists(st.tuples(which, st.sampled_from([WORKLOAD, OTHER, THIRD])), min_size=1, max_size=3),
    st.lists(moves, max_size=14),
)
@settings(max_examples=settings().max_examples * 2, deadline=None)
def test_a_family_keeps_its_labels_bounds_and_ends_whatever_fails(
    first_runs: list[tuple[int, str]],
    history: list[tuple[str, Any, Any]],
) -> None:
    asyncio.run(play(first_runs, history))
