"""The ledger: durable records a second, how long callers wait, and what a record costs in CPU.

Real SQLite on the disk under the temporary folder, records as the guard makes them (an intent of
about 700 bytes with sealed arguments that is waited for, its outcome that is not), checkpoints on.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from pathlib import Path

import uvloop

from bench.report import Row, at_least, at_most, median, percentile
from midflight.adapters.clock import SystemClock
from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.adapters.store.ledger_sqlite_reader import SqliteLedgerReader
from midflight.domain.chain import GENESIS, encode, link
from midflight.domain.decision import Reason
from midflight.domain.identity import Workload
from midflight.domain.question import RunFacts, Source
from midflight.domain.records import Facts, Intent, Observed, Outcome, Sealed, Terminal
from midflight.domain.tool import PinState
from midflight.domain.traits import Traits
from midflight.services.ledger import Ledger
from midflight.services.ledger_verify import verify

ROUNDS = 5
SECONDS = 1.0
BIG = 1_000_000
SIGNER = Ed25519NoteSigner.fresh(name="example.org/bench")

FACTS = Facts(
    kind="call_tool",
    method="tools/call",
    upstream="git",
    name="git_commit",
    pin="0" * 64,
    pin_state=PinState.PINNED,
    traits=Traits(),
    workload=Workload(
        id="spiffe://example.org/agents/triage", owner="ann", escalation="bob", review_by=2**31
    ),
    run=RunFacts(id="run_" + "a" * 26, has_intent=True, implicit=False, age_s=60, steps=7),
    source=Source(peer="127.0.0.1:40000"),
)


def intent() -> Intent:
    return Intent(
        at=time.time(),
        digest="d" * 64,
        facts=FACTS,
        arguments=Sealed(key=FACTS.run.id if FACTS.run else "", nonce=b"n" * 12, box=b"b" * 120),
        decided="0123456789abcdef",
        reasons=(Reason(policy="standard.write"),),
    )


def outcome(of: str) -> Outcome:
    return Outcome(at=time.time(), state=Terminal.DONE, intent=of, bytes_out=600, took_us=900)


async def load(path: Path, callers: int) -> tuple[float, list[float], float]:
    """Durable intents and outcomes a second, waits in seconds, CPU microseconds a record."""
    ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
    await ledger.start("bench", "v")
    waits: list[float] = []
    end = time.perf_counter() + SECONDS

    async def call() -> None:
        while (before := time.perf_counter()) < end:
            ticket = ledger.append(intent())
            await ticket.durable()
            waits.append(time.perf_counter() - before)
            ledger.append(outcome(ticket.id))

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(call() for _ in range(callers)))
    await ledger.flush()
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    records = 2 * len(waits)
    await ledger.close()
    return records / took, waits, cpu / records * 1e6


def measure(folder: Path, callers: int) -> list[Row]:
    rates, halves, tails, costs = [], [], [], []
    for number in range(ROUNDS):
        gc.collect()
        rate, waits, cost = uvloop.run(load(folder / f"{callers}-{number}.sqlite3", callers))
        rates.append(rate)
        halves.append(percentile(waits, 50) * 1e3)
        tails.append(percentile(waits, 99) * 1e3)
        costs.append(cost)
    who = f"{callers} callers"
    return [
        at_least(f"durable records, {who}", median(rates), "1/s", 20_000),
        Row(f"wait p50, {who}", median(halves), "ms"),
        Row(f"wait p99, {who}", median(tails), "ms"),
        Row(f"CPU a record, {who}", median(costs), "µs"),
    ]


def fill(path: Path, count: int) -> None:
    """A ledger of `count` entries whose writer crashed, its last checkpoint near its end."""

    async def begin() -> None:
        ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
        await ledger.start("bench", "v")
        await ledger.close()

    uvloop.run(begin())
    store = SqliteLedgerStore(path)
    store.open()
    store.enter("0badc0de")
    head = GENESIS
    body = encode(Observed(at=1.0, what="seen", subject="x" * 300))
    for start in range(0, count, 20_000):
        batch = []
        for seq in range(start + 1, min(start + 20_000, count) + 1):
            batch.append(link("0badc0de", seq, head, body))
            head = batch[-1].hash
        store.append(batch)
    store.close()

    async def sign() -> None:
        ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
        await ledger.start("bench", "v")
        await ledger.checkpoint_now()
        await ledger.close()

    uvloop.run(sign())


async def start_and_wait(path: Path) -> tuple[float, float]:
    """Seconds to start, and the median wait of a single caller in seconds."""
    begun = time.perf_counter()
    ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
    await ledger.start("bench", "v")
    took = time.perf_counter() - begun
    waits: list[float] = []
    for _ in range(1_000):
        before = time.perf_counter()
        await ledger.append(intent()).durable()
        waits.append(time.perf_counter() - before)
    await ledger.close()
    return took, percentile(waits, 50)


def growth(folder: Path) -> list[Row]:
    small, big = folder / "small.sqlite3", folder / "big.sqlite3"
    fill(small, 100)
    fill(big, BIG)
    starts: list[float] = []
    few: list[float] = []
    many: list[float] = []
    for _ in range(ROUNDS):
        few.append(uvloop.run(start_and_wait(small))[1])
        took, wait = uvloop.run(start_and_wait(big))
        starts.append(took)
        many.append(wait)
    reader = SqliteLedgerReader(big)
    reader.open()
    begun = time.perf_counter()
    report = verify(
        reader.entries(),
        reader.checkpoints(),
        verifier_key=SIGNER.verifier_key(),
        published=None,
    )
    took = time.perf_counter() - begun
    reader.close()
    if not report.ok:
        raise RuntimeError(f"the ledger does not verify: {report.problems[:3]}")
    return [
        Row("start with 1,000,000 entries", median(starts) * 1e3, "ms"),
        at_most("wait p50, 1,000,000 over 100 entries", median(many) / median(few), "x", 1.2),
        Row("verify offline", report.entries / took, "entries/s"),
    ]


def cost_of_append() -> list[Row]:
    """What the event loop pays for a record that nobody waits for."""

    async def one(path: Path) -> float:
        ledger = Ledger(
            SqliteLedgerStore(path), signer=None, clock=SystemClock(), max_backlog=1_000_000
        )
        await ledger.start("bench", "v")
        records = [intent() for _ in range(5_000)]
        begun = time.thread_time()
        for record in records:
            ledger.append(record)
        took = time.thread_time() - begun
        await ledger.close()
        return took / len(records) * 1e6

    with tempfile.TemporaryDirectory() as folder:
        values = [uvloop.run(one(Path(folder) / f"{n}.sqlite3")) for n in range(ROUNDS)]
    return [at_most("append, encode and chain an intent", median(values), "µs", 8)]


def run() -> list[Row]:
    rows = cost_of_append()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for callers in (16, 128):
            rows += measure(folder, callers)
        rows += growth(folder)
    return rows
