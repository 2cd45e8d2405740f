"""Who is an operator, decided over values; the real sockets are in tests/attacks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.apps.control.operators import MAX_TOKENS_EACH, Operator, Operators
from midflight.apps.control.processes import Process, ancestry, descends_from, read_process
from midflight.apps.control.refusals import QUIET_S, Refusals
from midflight.apps.server.peer import Peer
from midflight.domain.errors import Conflict, Forbidden, LedgerUnavailable, Unauthenticated
from midflight.domain.identity import Author, Workload
from midflight.domain.records import Observed, Record
from midflight.testing import FakeClock

ALICE = 1000
# Of the chain's process only the pidfd is real, so it must be one that lives and is not ours.
# A process that lives as long as this one and is another. Under `nohup` or an init the parent is 1,
# which the trees below use for themselves; then any other will do.
ELSEWHERE = next(
    pid
    for pid in (os.getppid(), *(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()))
    if pid not in (1, 55, 77, os.getpid())
)


def peer(uid: int | None = ALICE, pid: int | None = ELSEWHERE, process: str = "") -> Peer:
    return Peer(address=f"uid:{uid}", kind="unix", uid=uid, gid=uid, pid=pid, process=process)


def tree(*processes: Process) -> Callable[[int], Process | None]:
    return {process.pid: process for process in processes}.get


SHELL = (
    Process(pid=ELSEWHERE, parent=77, started=900),
    Process(pid=77, parent=1, started=500),
    Process(pid=1, parent=0, started=1),
)


FROM_SHELL = tree(*SHELL)


def operators(
    *,
    workload: Workload | None = None,
    managed: frozenset[int] = frozenset(),
    read: Callable[[int], Process | None] = FROM_SHELL,
    clock: FakeClock | None = None,
    names: dict[int, str] | None = None,
) -> Operators:
    return Operators(
        names={ALICE: "alice"} if names is None else names,
        clock=clock or FakeClock(),
        workload_of=lambda uid: workload if workload is not None and workload.uid == uid else None,
        managed_pids=lambda: managed,
        read=read,
    )


def workload_of(uid: int) -> Workload:
    return Workload(id="spiffe://a/b", owner="o", escalation="e", review_by=1, uid=uid)


def test_a_mapped_user_is_the_operator_and_the_proof_says_how() -> None:
    found = operators().from_socket(peer())
    assert found.author == Author(name="alice", proof="peer-uid:1000")


@pytest.mark.parametrize("uid", [0, 1, 999, 1001, 65534])
def test_a_user_who_is_not_mapped_is_refused_root_too(uid: int) -> None:
    with pytest.raises(Forbidden, match="no operator"):
        operators().from_socket(peer(uid))


def test_a_peer_without_credentials_is_refused() -> None:
    for nobody in (peer(uid=None), peer(pid=None), Peer(address="127.0.0.1", kind="tcp")):
        with pytest.raises(Unauthenticated):
            operators().from_socket(nobody)


def test_a_workloads_user_is_refused_even_if_it_is_mapped_and_disabled() -> None:
    with pytest.raises(Forbidden, match="registered workload"):
        operators(workload=workload_of(ALICE)).from_socket(peer())


@pytest.mark.parametrize("managed", [ELSEWHERE, 77, 1])
def test_whoever_descends_from_a_managed_process_is_refused(managed: int) -> None:
    with pytest.raises(Forbidden, match="descends from"):
        operators(managed=frozenset({managed})).from_socket(peer())


def test_whoever_descends_from_the_plane_itself_is_refused() -> None:
    read = tree(
        Process(pid=ELSEWHERE, parent=os.getpid(), started=900),
        Process(pid=os.getpid(), parent=1, started=500),
        Process(pid=1, parent=0, started=1),
    )
    with pytest.raises(Forbidden, match="descends from"):
        operators(read=read).from_socket(peer())


def test_a_process_of_another_namespace_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="namespace"):
        operators().from_socket(peer(pid=0))


def test_a_process_number_that_was_reused_since_it_connected_is_refused() -> None:
    assert operators().from_socket(peer(process=f"{ELSEWHERE}@900")).uid == ALICE
    with pytest.raises(Unauthenticated, match="another one has its number"):
        operators().from_socket(peer(process=f"{ELSEWHERE}@899"))


def test_a_child_older_than_its_parent_is_a_reused_number() -> None:
    read = tree(
        Process(pid=ELSEWHERE, parent=77, started=900),
        Process(pid=77, parent=1, started=901),
        Process(pid=1, parent=0, started=1),
    )
    with pytest.raises(Unauthenticated, match="changed while"):
        operators(read=read).from_socket(peer())


def test_ancestors_that_keep_changing_are_never_believed() -> None:
    looks = iter(range(1000))

    def read(pid: int) -> Process | None:
        if pid == ELSEWHERE:
            return Process(pid=pid, parent=1, started=900 + next(looks))
        return Process(pid=1, parent=0, started=1)

    with pytest.raises(Unauthenticated, match="changed while"):
        operators(read=read).from_socket(peer())


def test_a_reparenting_that_settles_is_seen_as_it_is_afterwards() -> None:
    """The middle process ends between two looks; the managed ancestor must not get lost."""
    looks = iter([77, 55, 55, 55, 55, 55])

    def read(pid: int) -> Process | None:
        known = {
            77: Process(pid=77, parent=55, started=400),
            55: Process(pid=55, parent=1, started=300),
            1: Process(pid=1, parent=0, started=1),
        }
        if pid == ELSEWHERE:
            return Process(pid=pid, parent=next(looks), started=900)
        return known.get(pid)

    with pytest.raises(Forbidden, match="descends from"):
        operators(managed=frozenset({55}), read=read).from_socket(peer())


def test_an_endless_ancestry_is_refused() -> None:
    def read(pid: int) -> Process | None:
        return Process(pid=pid, parent=pid + 1, started=1)

    with pytest.raises(Unauthenticated, match="longer"):
        operators(read=read).from_socket(peer())


@given(
    parents=st.lists(st.integers(0, 9), min_size=10, max_size=10),
    managed=st.sets(st.integers(1, 10), max_size=4),
)
def test_the_answer_is_the_reachability_of_a_managed_process(
    parents: list[int], managed: set[int]
) -> None:
    """Over all trees: parents have smaller numbers, so start earlier."""
    parent_of = {pid: parents[pid - 1] % pid for pid in range(1, 11)}
    chain: list[int] = []
    pid = 10
    while pid:
        chain.append(pid)
        pid = parent_of[pid]
    processes = [Process(pid=p, parent=q, started=p) for p, q in parent_of.items()]

    def name(pid: int) -> int:
        # Beyond what a kernel gives out (4,194,304), so that none of them is ELSEWHERE by chance.
        return ELSEWHERE if pid == 10 else pid and pid + 10_000_000

    read = tree(*(Process(name(p.pid), name(p.parent), p.started) for p in processes))
    found = ancestry(ELSEWHERE, read=read)
    hit = descends_from(found, {name(pid) for pid in managed})
    assert (hit is not None) == bool(set(chain) & managed)


def test_this_process_and_its_ancestors_are_read_from_the_kernel() -> None:
    chain = ancestry(os.getpid())
    assert chain[0].pid == os.getpid()
    assert chain[1].pid == os.getppid()
    assert chain[-1].parent == 0
    assert read_process(2**22 + 1) is None


# Tokens


def signed_in(known: Operators) -> Operator:
    return known.from_socket(peer())


def test_a_token_speaks_for_the_operator_until_it_ends() -> None:
    clock = FakeClock()
    known = operators(clock=clock)
    minted = known.mint_token(signed_in(known), ttl_s=300)
    found = known.from_token(minted.token)
    assert found.author == Author(name="alice", proof="operator-token:1000")
    clock.advance(299)
    known.from_token(minted.token)
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        known.from_token(minted.token)


@pytest.mark.parametrize("ttl_s", [0, -1, 901, 10**9])
def test_a_token_lives_fifteen_minutes_at_most(ttl_s: int) -> None:
    known = operators()
    with pytest.raises(Conflict):
        known.mint_token(signed_in(known), ttl_s=ttl_s)


def test_a_token_is_kept_nowhere_and_shown_by_no_repr() -> None:
    known = operators()
    minted = known.mint_token(signed_in(known))
    secret = minted.token.removeprefix("mfop_")
    assert secret not in repr(minted) + repr(vars(known))
    assert len(secret) * 5 >= 256


def test_a_token_cannot_mint_another() -> None:
    known = operators()
    by_token = known.from_token(known.mint_token(signed_in(known)).token)
    with pytest.raises(Forbidden, match="socket only"):
        known.mint_token(by_token)


def test_a_token_ends_with_its_operators_standing() -> None:
    workloads: list[Workload] = []
    known = Operators(
        names={ALICE: "alice"},
        clock=FakeClock(),
        workload_of=lambda uid: next((w for w in workloads if w.uid == uid), None),
        managed_pids=frozenset,
        read=tree(*SHELL),
    )
    token = known.mint_token(signed_in(known)).token
    workloads.append(workload_of(ALICE))
    with pytest.raises(Forbidden):
        known.from_token(token)


def test_nobody_holds_more_than_a_few_tokens() -> None:
    known = operators()
    tokens = [known.mint_token(signed_in(known)).token for _ in range(MAX_TOKENS_EACH + 3)]
    for gone in tokens[:3]:
        with pytest.raises(Unauthenticated):
            known.from_token(gone)
    for live in tokens[3:]:
        known.from_token(live)


@given(st.text(max_size=80))
def test_no_other_text_is_a_token(text: str) -> None:
    known = operators()
    minted = known.mint_token(signed_in(known))
    for wrong in (text, minted.token + text + "x", minted.token[:-1]):
        with pytest.raises(Unauthenticated):
            known.from_token(wrong)


# What is written down about refused callers


class Ledger:
    """A recorder that keeps what it is given, or has no room."""

    available = True

    def __init__(self) -> None:
        self.records: list[Observed] = []
        self.full = False

    def append(self, record: Record) -> None:
        if self.full:
            raise LedgerUnavailable("full")
        assert isinstance(record, Observed)
        self.records.append(record)


def test_a_caller_who_knocks_in_a_loop_is_counted_each_time_and_recorded_once_a_minute() -> None:
    ledger, telemetry, clock = Ledger(), QuietTelemetry(), FakeClock()
    refusals = Refusals(recorder=ledger, telemetry=telemetry, clock=clock)  # type: ignore[arg-type]
    for _ in range(1000):
        refusals.note("uid:33", Forbidden("no"))
    assert len(ledger.records) == 1
    assert telemetry.counts["refused_operators"] == 1000
    refusals.note("uid:34", Forbidden("no"))
    refusals.note("uid:33", Unauthenticated("no"))
    assert len(ledger.records) == 3
    clock.advance(QUIET_S)
    refusals.note("uid:33", Forbidden("no"))
    assert ledger.records[-1].details["unsaid_before"] == 999


def test_a_full_ledger_does_not_undo_a_refusal() -> None:
    ledger = Ledger()
    ledger.full = True
    telemetry = QuietTelemetry()
    refusals = Refusals(recorder=ledger, telemetry=telemetry, clock=FakeClock())  # type: ignore[arg-type]
    refusals.note("uid:33", Forbidden("no"))
    assert telemetry.counts["refusals_unrecorded"] == 1


def test_many_strangers_take_bounded_memory() -> None:
    refusals = Refusals(recorder=Ledger(), telemetry=QuietTelemetry(), clock=FakeClock())  # type: ignore[arg-type]
    for stranger in range(5_000):
        refusals.note(f"10.0.0.{stranger}", Forbidden("no"))
        refusals.note(f"10.0.0.{stranger}", Forbidden("no"))
    assert len(refusals._last) <= 1_024
    assert len(refusals._unsaid) <= 1_024
