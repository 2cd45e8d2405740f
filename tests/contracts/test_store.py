"""What every store promises; `services/ports/store.py` says it in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.canary import Canary, CanaryShape
from midflight.domain.errors import Conflict, NotFound, StoreUnavailable
from midflight.domain.identity import Mode, Tier, Workload
from midflight.domain.labels import BOTTOM, UNTRUSTED, Confidentiality, Labels
from midflight.domain.narrowing import WHOLE, Narrowing
from midflight.domain.response import Level, Rate, Response
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.run import Run, RunState
from midflight.domain.tool import Pin, PinnedKind
from midflight.domain.traits import Argument, Effect, FieldKind, Reach, Role, Traits, Yield
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio

AGENT = "spiffe://example.org/agents/triage"
FINAL = [state for state in RunState if state is not RunState.OPEN]


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


def workload(name: str = "triage", **changes: object) -> Workload:
    fields = {
        "id": f"spiffe://example.org/agents/{name}",
        "owner": "ada",
        "escalation": "ops@example.org",
        "review_by": 2**33,
    }
    return Workload(**{**fields, **changes})


def run(run_id: str = "run_a", **changes: object) -> Run:
    fields = {
        "id": run_id,
        "workload": AGENT,
        "intent": "Sort today's issues",
        "opened_by": "ada (peer-uid:1000)",
        "opened_at": 1_800_000_000,
        "expires_at": 1_800_003_600,
        "idle_timeout": 900,
        "max_steps": 10,
        "salt": "grain",
    }
    return Run(**{**fields, **changes})


def pin(name: str, upstream: str = "git", kind: PinnedKind = PinnedKind.TOOL) -> Pin:
    return Pin(
        upstream=upstream,
        kind=kind,
        name=name,
        digest="d" * 64,
        body={"name": name, "inputSchema": {"$defs": {}}, "n": 10**17, "x": 1.0, "ü": [None, True]},
        traits=Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
        by="ada",
        at=7,
    )


def revocation(number: int, **changes: object) -> Revocation:
    fields = {
        "id": f"rev_{number}",
        "scope": Scope(kind=ScopeKind.RUN, id="run_a"),
        "reason": "poisoned",
        "author": "ada",
        "proof": "peer-uid:1000",
        "at": 1_800_000_000.25,
    }
    return Revocation(**{**fields, **changes})


async def test_a_closed_store_answers_nothing(closed_store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await closed_store.get_workload(AGENT)
    await closed_store.open()
    await closed_store.put_workload(workload())
    await closed_store.close()
    with pytest.raises(StoreUnavailable):
        await closed_store.get_workload(AGENT)
    with pytest.raises(StoreUnavailable):
        await closed_store.use_once("dpop", "k", until=10, now=1)
    with pytest.raises(StoreUnavailable):
        await closed_store.was_used("dpop", "k", now=1)


# Registry


async def test_a_workload_comes_back_as_it_was_put(store: Store) -> None:
    every_field = workload(
        team="support",
        kind="service",
        tier=Tier.MANDATORY,
        mode=Mode.LOCKDOWN,
        uid=1001,
        disabled=True,
        registered_at=9,
    )
    await store.put_workload(every_field)
    assert await store.get_workload(AGENT) == every_field


async def test_registering_again_replaces_the_whole_workload(store: Store) -> None:
    await store.put_workload(workload(uid=1001, team="support"))
    await store.put_workload(workload())
    assert await store.get_workload(AGENT) == workload()


async def test_an_unknown_workload_is_none(store: Store) -> None:
    assert await store.get_workload(AGENT) is None


async def test_workloads_are_listed_by_id(store: Store) -> None:
    for name in ("c", "a", "b"):
        await store.put_workload(workload(name))
    assert await store.list_workloads() == [workload("a"), workload("b"), workload("c")]


# Runs


async def test_a_run_comes_back_as_it_was_opened(store: Store) -> None:
    opened = run(implicit=True, parent="run_parent", intent=None)
    labels = Labels(
        untrusted=True,
        confidentiality=Confidentiality.SECRET,
        compartments=frozenset({"payroll", "größe"}),
    )
    await store.create_run(opened, labels=labels, labels_source="rec_1")
    stored = await store.get_run("run_a")
    assert stored is not None
    assert stored.run == opened
    assert stored.state is RunState.OPEN
    assert stored.labels == labels
    assert stored.labels_source == "rec_1"
    assert stored.steps_reserved == 0


async def test_a_child_run_comes_back_with_all_that_narrows_it(store: Store) -> None:
    for narrowed in (
        Narrowing(only=frozenset({"git/git_log", "mail"}), effects=frozenset({Effect.READ})),
        Narrowing(only=frozenset(), effects=None),  # nothing at all is not everything
        Narrowing(only=None, effects=frozenset()),
        WHOLE,
    ):
        child = run(
            f"run_{len(await store.list_runs())}",
            parent="run_p",
            ancestors=("run_p", "run_g"),
            narrowed=narrowed,
            delegated="sealed words",
        )
        await store.create_run(child, labels=BOTTOM, labels_source="")
        stored = await store.get_run(child.id)
        assert stored is not None
        assert stored.run == child
        assert stored.run.narrowed.only is None or narrowed.only is not None
        assert stored.run.depth == 2


async def test_children_are_found_by_their_parents_in_the_order_of_their_opening(
    store: Store,
) -> None:
    family = {"run_p": None, "run_c": "run_p", "run_b": "run_p", "run_g": "run_c", "run_q": None}
    for run_id, parent in family.items():
        await store.create_run(run(run_id, parent=parent), labels=BOTTOM, labels_source="")
    await store.end_run("run_b", RunState.CLOSED)

    async def ids(*parents: str) -> list[str]:
        return [stored.run.id for stored in await store.children(parents)]

    assert await ids("run_p") == ["run_c", "run_b"]
    assert await ids("run_p", "run_c", "run_p") == ["run_c", "run_b", "run_g"]
    assert await ids("run_q", "run_x") == await ids() == []
    many = [f"run_{number}" for number in range(1200)]
    assert await ids(*many, "run_c") == ["run_g"]


async def test_an_unknown_run_is_none(store: Store) -> None:
    assert await store.get_run("run_a") is None
    assert await store.last_run(AGENT) is None


async def test_a_run_id_cannot_be_taken_twice(store: Store) -> None:
    await store.create_run(run(), labels=UNTRUSTED, labels_source="rec_1")
    with pytest.raises(Conflict):
        await store.create_run(run(intent="other"), labels=BOTTOM, labels_source="")
    stored = await store.get_run("run_a")
    assert stored is not None
    assert stored.run == run()
    assert stored.labels == UNTRUSTED


async def test_runs_are_listed_newest_first_by_opening_and_not_by_clock(store: Store) -> None:
    for number, opened_at in enumerate((30, 10, 20)):
        await store.create_run(
            run(f"run_{number}", opened_at=opened_at), labels=BOTTOM, labels_source=""
        )
    listed = await store.list_runs()
    assert [stored.run.id for stored in listed] == ["run_2", "run_1", "run_0"]
    assert [stored.run.id for stored in await store.list_runs(limit=2)] == ["run_2", "run_1"]
    assert await store.list_runs(limit=0) == []
    last = await store.last_run(AGENT)
    assert last is not None
    assert last.run.id == "run_2"


async def test_runs_are_filtered_by_workload_and_state(store: Store) -> None:
    other = "spiffe://example.org/agents/other"
    await store.create_run(run("run_0"), labels=BOTTOM, labels_source="")
    await store.create_run(run("run_1"), labels=BOTTOM, labels_source="")
    await store.create_run(run("run_2", workload=other), labels=BOTTOM, labels_source="")
    await store.end_run("run_1", RunState.EXPIRED)

    async def ids(**wanted: object) -> list[str]:
        return [stored.run.id for stored in await store.list_runs(**wanted)]

    assert await ids(workload=AGENT) == ["run_1", "run_0"]
    assert await ids(state=RunState.OPEN) == ["run_2", "run_0"]
    assert await ids(workload=AGENT, state=RunState.OPEN) == ["run_0"]
    assert await ids(workload="spiffe://example.org/agents/nobody") == []
    last = await store.last_run(AGENT)
    assert last is not None
    assert last.state is RunState.EXPIRED


@pytest.mark.parametrize("first", FINAL)
async def test_the_first_end_of_a_run_stands(store: Store, first: RunState) -> None:
    await store.create_run(run(), labels=BOTTOM, labels_source="")
    assert await store.end_run("run_a", first)
    for later in RunState:
        assert not await store.end_run("run_a", later)
    stored = await store.get_run("run_a")
    assert stored is not None
    assert stored.state is first


async def test_an_open_run_cannot_be_ended_into_open(store: Store) -> None:
    await store.create_run(run(), labels=BOTTOM, labels_source="")
    assert not await store.end_run("run_a", RunState.OPEN)


async def test_a_run_that_is_not_there_cannot_be_ended(store: Store) -> None:
    assert not await store.end_run("run_a", RunState.CLOSED)


async def test_labels_join_and_never_fall(store: Store) -> None:
    await store.create_run(run(), labels=BOTTOM, labels_source="")
    internal = Labels(confidentiality=Confidentiality.INTERNAL, compartments=frozenset({"hr"}))
    assert await store.join_labels("run_a", UNTRUSTED, source="rec_1") == UNTRUSTED
    joined = await store.join_labels("run_a", internal, source="rec_2")
    assert joined == UNTRUSTED.join(internal)
    assert await store.join_labels("run_a", BOTTOM, source="rec_3") == joined
    stored = await store.get_run("run_a")
    assert stored is not None
    assert stored.labels == joined


async def test_the_sources_of_the_raises_stay_in_their_order(store: Store) -> None:
    await store.create_run(run(), labels=BOTTOM, labels_source="")
    secret = Labels(confidentiality=Confidentiality.SECRET)
    for source, labels in (
        ("rec_1", secret),
        ("rec_2", secret),
        ("rec_3", UNTRUSTED),
        ("rec_3", Labels(compartments=frozenset({"hr"}))),
        ("rec_4", UNTRUSTED),
    ):
        await store.join_labels("run_a", labels, source=source)
    stored = await store.get_run("run_a")
    assert stored is not None
    assert stored.labels_source == "rec_1 rec_3"


async def test_labels_of_a_run_that_is_not_there_cannot_be_raised(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.join_labels("run_a", UNTRUSTED, source="rec_1")
    with pytest.raises(NotFound):
        await store.join_labels("run_a", BOTTOM, source="rec_1")


async def test_labels_of_an_ended_run_still_grow(store: Store) -> None:
    # What comes back after the end must not be lost: the next implicit run inherits it.
    await store.create_run(run(), labels=BOTTOM, labels_source="")
    await store.end_run("run_a", RunState.CLOSED)
    await store.join_labels("run_a", UNTRUSTED, source="rec_1")
    last = await store.last_run(AGENT)
    assert last is not None
    assert last.labels == UNTRUSTED


async def test_steps_are_granted_up_to_the_budget_and_no_further(store: Store) -> None:
    await store.create_run(run(max_steps=10), labels=BOTTOM, labels_source="")
    assert await store.reserve_steps("run_a", 4) == 4
    assert await store.reserve_steps("run_a", 4) == 4
    assert await store.reserve_steps("run_a", 4) == 2
    assert await store.reserve_steps("run_a", 1) == 0
    stored = await store.get_run("run_a")
    assert stored is not None
    assert stored.steps_reserved == 10


@pytest.mark.parametrize("count", [0, -1, -(2**40)])
async def test_a_reservation_cannot_give_steps_back(store: Store, count: int) -> None:
    await store.create_run(run(max_steps=10), labels=BOTTOM, labels_source="")
    assert await store.reserve_steps("run_a", 10) == 10
    assert await store.reserve_steps("run_a", count) == 0
    assert await store.reserve_steps("run_a", 1) == 0


async def test_a_run_that_is_not_open_grants_no_steps(store: Store) -> None:
    assert await store.reserve_steps("run_a", 1) == 0
    await store.create_run(run(), labels=BOTTOM, labels_source="")
    await store.end_run("run_a", RunState.REVOKED)
    assert await store.reserve_steps("run_a", 1) == 0


async def test_concurrent_reservations_share_one_budget(store: Store) -> None:
    await store.create_run(run(max_steps=50), labels=BOTTOM, labels_source="")
    granted: list[int] = []

    async def reserve() -> None:
        granted.append(await store.reserve_steps("run_a", 7))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(reserve)
    assert sum(granted) == 50


# Pins


async def test_a_pin_comes_back_with_its_whole_body(store: Store) -> None:
    await store.put_pin(pin("git_log"))
    listed = await store.list_pins()
    assert listed == [pin("git_log")]
    assert type(listed[0].body["x"]) is float  # 1.0 is not 1: the digest would differ


async def test_a_pin_comes_back_with_all_its_traits(store: Store) -> None:
    traits = Traits(
        effect=Effect.SEND,
        reach=Reach.OPEN,
        proposed=True,
        arguments=(
            Argument(path="to[*]", role=Role.RECIPIENT),
            Argument(path="['odd name']", role=Role.CONTENT),
        ),
        yields=(
            Yield(path="$..id", kind=FieldKind.SYSTEM),
            Yield(
                path="$.items[*].body",
                kind=FieldKind.TEXT,
                confidentiality=Confidentiality.SECRET,
                compartments=frozenset({"pii", "customer:42"}),
                unless_field="sender",
                domains=frozenset({"example.org", "example.com"}),
            ),
        ),
        first_party=True,
        persists=False,
    )
    sent = msgspec.structs.replace(pin("send_mail"), traits=traits)
    await store.put_pin(sent)
    assert await store.list_pins() == [sent]


async def test_pinning_again_replaces_the_pin(store: Store) -> None:
    await store.put_pin(pin("git_log"))
    changed = Pin(upstream="git", kind=PinnedKind.TOOL, name="git_log", digest="e" * 64, body={})
    await store.put_pin(changed)
    assert await store.list_pins() == [changed]


async def test_pins_are_listed_by_upstream_kind_and_name(store: Store) -> None:
    expected = [
        pin("b", "fetch", PinnedKind.PROMPT),
        pin("a", "fetch", PinnedKind.TOOL),
        pin("a", "git", PinnedKind.PROMPT),
        pin("a", "git", PinnedKind.TOOL),
        pin("b", "git", PinnedKind.TOOL),
    ]
    for one in reversed(expected):
        await store.put_pin(one)
    assert await store.list_pins() == expected
    assert await store.list_pins("fetch") == expected[:2]
    assert await store.list_pins("nobody") == []


async def test_a_deleted_pin_is_gone_and_only_that_one(store: Store) -> None:
    await store.put_pin(pin("a"))
    await store.put_pin(pin("a", kind=PinnedKind.PROMPT))
    assert await store.delete_pin("git", PinnedKind.TOOL, "a")
    assert not await store.delete_pin("git", PinnedKind.TOOL, "a")
    assert await store.list_pins() == [pin("a", kind=PinnedKind.PROMPT)]


# Revocations


async def test_revocations_come_back_in_order_with_their_positions(store: Store) -> None:
    entries = [
        revocation(1),
        revocation(2, scope=Scope(kind=ScopeKind.EVERYTHING), until=1_800_000_900.5),
        revocation(3, lifts="rev_2", scope=Scope(kind=ScopeKind.EVERYTHING)),
    ]
    assert [await store.append_revocation(entry) for entry in entries] == [1, 2, 3]
    stored = await store.revocations()
    assert [one.position for one in stored] == [1, 2, 3]
    assert [one.revocation for one in stored] == entries
    assert [one.position for one in await store.revocations(after=2)] == [3]
    assert await store.revocations(after=3) == []


async def test_a_revocation_id_counts_once_and_leaves_no_gap(store: Store) -> None:
    assert await store.append_revocation(revocation(1)) == 1
    with pytest.raises(Conflict):
        await store.append_revocation(revocation(1, reason="again"))
    assert await store.append_revocation(revocation(2)) == 2
    assert [one.revocation for one in await store.revocations()] == [revocation(1), revocation(2)]


async def test_concurrent_appenders_get_positions_without_gaps(store: Store) -> None:
    positions: list[int] = []

    async def append(number: int) -> None:
        try:
            positions.append(await store.append_revocation(revocation(number % 30)))
        except Conflict:
            positions.append(0)

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(append, number)
    assert sorted(filter(None, positions)) == list(range(1, 31))
    assert positions.count(0) == 10
    assert [one.position for one in await store.revocations()] == list(range(1, 31))


# Sealing keys


async def test_a_sealing_key_comes_back_until_it_is_erased(store: Store) -> None:
    await store.put_seal_key("run_a", b"\x00wrapped\xff")
    assert await store.get_seal_key("run_a") == b"\x00wrapped\xff"
    assert await store.erase_seal_key("run_a")
    assert await store.get_seal_key("run_a") is None
    assert not await store.erase_seal_key("run_a")


async def test_a_sealing_key_is_never_replaced(store: Store) -> None:
    await store.put_seal_key("run_a", b"one")
    with pytest.raises(Conflict):
        await store.put_seal_key("run_a", b"two")
    assert await store.get_seal_key("run_a") == b"one"


async def test_erasing_the_key_of_a_run_takes_its_salt_and_words_with_it(store: Store) -> None:
    words = "sealed words"
    await store.create_run(run("run_a", delegated=words), labels=UNTRUSTED, labels_source="rec_1")
    await store.create_run(run("run_b", delegated=words), labels=BOTTOM, labels_source="")
    await store.put_seal_key("run_a", b"key")
    await store.erase_seal_key("run_a")
    erased, other = await store.get_run("run_a"), await store.get_run("run_b")
    assert erased is not None
    assert other is not None
    assert erased.run == run("run_a", salt="", intent=None, delegated=None)
    assert erased.labels == UNTRUSTED
    assert other.run == run("run_b", delegated=words)


# Single use


async def test_a_key_is_used_once_a_purpose(store: Store) -> None:
    assert await store.use_once("dpop", "k", until=100, now=1)
    assert not await store.use_once("dpop", "k", until=100, now=1)
    assert not await store.use_once("dpop", "k", until=500, now=100)
    assert await store.use_once("approval", "k", until=100, now=1)
    assert await store.use_once("dpop", "K", until=100, now=1)


async def test_a_key_may_be_used_again_after_its_end(store: Store) -> None:
    assert await store.use_once("dpop", "k", until=100, now=1)
    assert await store.use_once("dpop", "k", until=200, now=101)
    assert not await store.use_once("dpop", "k", until=200, now=102)


async def test_whether_a_key_was_used_is_seen_without_using_it(store: Store) -> None:
    assert not await store.was_used("dpop", "k", now=1)
    assert await store.use_once("dpop", "k", until=100, now=1)
    assert await store.was_used("dpop", "k", now=100)
    assert not await store.was_used("dpop", "k", now=101)
    assert not await store.was_used("approval", "k", now=1)
    assert not await store.was_used("dpop", "K", now=1)
    assert await store.use_once("dpop", "k", until=200, now=101)


async def test_a_use_that_has_already_ended_is_refused(store: Store) -> None:
    # It would not be remembered, so the second use could not be told from the first.
    assert not await store.use_once("dpop", "k", until=99, now=100)


async def test_one_of_many_concurrent_users_wins(store: Store) -> None:
    won: list[bool] = []

    async def use() -> None:
        won.append(await store.use_once("dpop", "k", until=100, now=1))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(use)
    assert won.count(True) == 1
    assert len(won) == 50


# Hostile values


HOSTILE = ["'; DROP TABLE runs; --", "a\x00b", "\u202e", "%(run_id)s", ":run_id", "x" * 100_000]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_text_is_kept_as_it_is(store: Store, text: str) -> None:
    opened = run(text, workload=text, intent=text, salt=text)
    await store.create_run(
        opened, labels=Labels(compartments=frozenset({text})), labels_source="rec_1"
    )
    stored = await store.get_run(text)
    assert stored is not None
    assert stored.run == opened
    assert stored.labels.compartments == {text}
    assert await store.use_once(text, text, until=2, now=1)
    assert not await store.use_once(text, text, until=2, now=1)


async def test_a_snapshot_is_replaced_and_apart_from_others(store: Store) -> None:
    assert await store.get_snapshot("one") is None
    await store.put_snapshot("one", b"first")
    await store.put_snapshot("two", b"\0\xff")
    await store.put_snapshot("one", b"second")
    assert await store.get_snapshot("one") == b"second"
    assert await store.get_snapshot("two") == b"\0\xff"


async def test_a_snapshot_outlives_the_process(store: Store) -> None:
    await store.put_snapshot("one", b"kept")
    await store.close()
    await store.open()
    assert await store.get_snapshot("one") == b"kept"


async def test_a_closed_store_takes_and_gives_no_snapshot(closed_store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await closed_store.put_snapshot("one", b"x")
    with pytest.raises(StoreUnavailable):
        await closed_store.get_snapshot("one")


# Canaries


def canary(name: str = "wiki", **changes: object) -> Canary:
    fields = {
        "name": name,
        "shape": CanaryShape.EMAIL,
        "upstream": "docs",
        "windows": ((7, "ab" * 16), (65_535, "cd" * 16)),
        "by": "ada",
        "at": 2**33,
    }
    return Canary(**{**fields, **changes})


async def test_a_canary_comes_back_as_it_was_and_in_order(store: Store) -> None:
    await store.put_canary(canary("wiki"))
    await store.put_canary(canary("ci", shape=CanaryShape.URL, windows=()))
    assert await store.list_canaries() == [
        canary("ci", shape=CanaryShape.URL, windows=()),
        canary("wiki"),
    ]


async def test_a_canary_is_not_replaced_by_another_of_its_name(store: Store) -> None:
    await store.put_canary(canary())
    with pytest.raises(Conflict):
        await store.put_canary(canary(by="eve"))
    assert await store.list_canaries() == [canary()]


async def test_a_canary_is_removed_once(store: Store) -> None:
    await store.put_canary(canary())
    assert await store.delete_canary("wiki")
    assert not await store.delete_canary("wiki")
    assert await store.list_canaries() == []


async def test_a_waiver_comes_back_as_it_was(store: Store) -> None:
    await store.put_workload(workload(waiver_by="ada", waiver_until=2**33))
    await store.put_workload(workload("other"))
    assert await store.list_workloads() == [
        workload("other"),
        workload(waiver_by="ada", waiver_until=2**33),
    ]


def response(number: int, **changes: object) -> Response:
    fields = {
        "id": f"rsp_{number}",
        "at": 1_800_000_000.25,
        "scope": Scope(kind=ScopeKind.RUN, id="run_a"),
        "workload": AGENT,
        "owner": "ada",
        "run": "run_b",
        "level": Level.THROTTLE,
        "until": 1_800_003_600.5,
        "reason": 'probing: 12 refusals "within" a minute',
        "author": "detector:probing",
        "proof": "finding:fnd_1",
        "detector": "probing",
        "findings": ("fnd_1", "fnd_2"),
        "base": Level.RISK,
        "weight": 2,
        "risk": 30,
        "rate": Rate(count=10, seconds=60),
        "own": True,
    }
    return Response(**{**fields, **changes})


async def test_responses_come_back_as_they_were_and_in_order(store: Store) -> None:
    made = [
        response(2),
        response(1, lifts="rsp_2", level=Level.QUARANTINE, rate=None),
        response(3, scope=Scope(kind=ScopeKind.WORKLOAD, id=AGENT), observed=True, beyond="ü"),
    ]
    for each in made:
        await store.append_response(each)
    assert await store.list_responses() == made


async def test_a_response_that_is_kept_again_stays_as_it_was(store: Store) -> None:
    await store.append_response(response(1))
    await store.append_response(response(2))
    await store.append_response(response(1, level=Level.NOTE, reason="nothing"))
    assert await store.list_responses() == [response(1), response(2)]


async def test_responses_are_forgotten_by_their_end_alone(store: Store) -> None:
    for number, until in enumerate((10.0, 20.5, 30.0)):
        await store.append_response(response(number, until=until))
    assert await store.forget_responses(ended_before=20.5) == 1
    assert [each.until for each in await store.list_responses()] == [20.5, 30.0]
    assert await store.forget_responses(ended_before=20.5) == 0


async def test_a_closed_store_says_nothing_of_responses(closed_store: Store) -> None:
    for work in (
        closed_store.append_response(response(1)),
        closed_store.list_responses(),
        closed_store.forget_responses(ended_before=0),
    ):
        with pytest.raises(StoreUnavailable):
            await work
