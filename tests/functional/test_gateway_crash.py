"""The whole plane under load is killed at random instants and started again on the same state.

`midflight up` in a process of its own, killed with SIGKILL; clients over real sockets; an upstream
in the test's process, whose journal survives. Clients write down what they were told, the upstream
what it received, and in the end both are held against the ledger and against each other:

    what reached the upstream        is in the ledger as permitted, or was a closed read
    what a client was told           is in the ledger
    what was revoked, tainted, spent is so after any number of crashes
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from process_kit import Connection, ProcessPlane, Said, process_plane
from typer.testing import CliRunner

from midflight.adapters.store.ledger_sqlite_reader import SqliteLedgerReader
from midflight.apps.cli.main import app
from midflight.apps.compose_parts import parts
from midflight.apps.settings import load
from midflight.domain.chain import record_id
from midflight.domain.errors import Unavailable
from midflight.domain.records import Intent, Outcome, Sealed, Terminal
from midflight.services.ledger_query import recorded
from midflight.services.ledger_verify import verify
from midflight.services.sealing import Sealer
from servers.journal_server import Journal, journalling

pytestmark = pytest.mark.anyio

EFFECTS = ("send", "hold")
TRAITS = {
    "look": ("read", "closed"),
    "peek": ("read", "open"),
    "send": ("send", "closed"),
    "hold": ("write", "closed"),
}
# Steps are reserved in blocks of 64: two lives that take one step each leave nothing for a third.
THRIFTY_STEPS = 100
CODES = {"done", "revoked", "interrupted", "approval_required", "run_exhausted", "run_not_open"}
OVER = {"revoked", "run_exhausted", "run_not_open"}


@dataclass
class Seat:
    """A run that a client holds a token of. `run` is empty for an implicit one."""

    token: str
    run: str = ""
    budget: int = 0
    tainted: bool = False  # a client holds what the run read from the open world
    revoked: bool = False  # an operator was told that it is revoked


@dataclass
class Witness:
    """What clients and operators were told, by nonce of the call."""

    seats: dict[str, Seat] = field(default_factory=dict)
    told: dict[str, Said] = field(default_factory=dict)
    must_not_arrive: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    on_told: Callable[[], None] = lambda: None

    async def call(self, connection: Connection, seat: Seat, tool: str) -> Said:
        """Make one call, and write down what is asked before and what is told after."""
        nonce = f"n{next(self.numbers)}"
        self.seats[nonce] = seat
        if seat.revoked or (seat.tainted and tool in EFFECTS):
            self.must_not_arrive.add(nonce)
        said = await connection.call(seat.token, tool, nonce=nonce)
        assert said.code in CODES, str(said.message)
        self.told[nonce] = said
        if tool == "peek" and said.code == "done":
            seat.tainted = True
        self.on_told()
        return said


class Play:
    """One plane and its clients, over many lives."""

    def __init__(self, plane: ProcessPlane, journal: Journal, *, seed: int) -> None:
        self.plane = plane
        self.journal = journal
        self.witness = Witness()
        self.chance = random.Random(seed)
        self.workload = ""
        self.senders: list[Seat] = []
        self.implicit: Seat | None = None
        self.revoked: list[Seat] = []
        self.tainted: list[Seat] = []

    async def prepare(self) -> None:
        """The first start: register, pin, open runs."""
        await asyncio.to_thread(self.plane.start)
        self.workload = await asyncio.to_thread(self.plane.register, "one")
        plain = await asyncio.to_thread(self.plane.register, "plain")
        await asyncio.to_thread(self.plane.pin, "up", TRAITS)
        self.senders = [await self.open(), await self.open(), await self.open(THRIFTY_STEPS)]
        self.implicit = Seat(token=await asyncio.to_thread(self.plane.token, plain))

    async def open(self, budget: int = 20_000) -> Seat:
        run, token = await asyncio.to_thread(self.plane.open_run, self.workload, max_steps=budget)
        return Seat(token=token, run=run, budget=budget)

    async def live_and_die(self, after: int) -> None:
        """Load until so many answers have come, and kill in the very turn of the last one."""
        victim = await self.open()
        told, time_to_revoke = itertools.count(1), asyncio.Event()
        revoke_at = self.chance.randint(1, after)

        def on_told() -> None:
            number = next(told)
            if number == revoke_at:
                time_to_revoke.set()
            if number == after:
                self.plane.kill()

        self.witness.on_told = on_told
        assert self.implicit is not None
        clients: list[Coroutine[Any, Any, None]] = [
            *(self._again(seat, "send") for seat in (*self.senders, victim)),
            self._again(self.senders[0], "look"),
            self._again(self.implicit, "peek", "send"),
            self._once(self.senders[1], "hold"),
            self._taint(),
            self._revoke(victim, time_to_revoke),
        ]
        tasks = [asyncio.ensure_future(client) for client in clients]
        # A client that breaks for another reason than the kill fails the test here.
        await asyncio.gather(*tasks)
        self.witness.on_told = lambda: None
        assert await asyncio.to_thread(self.plane.reaped) == -signal.SIGKILL
        self.revoked += [victim] if victim.revoked else []

    async def _again(self, seat: Seat, *tools: str) -> None:
        with closing(Connection(self.plane.url)) as connection, suppress(ConnectionError):
            refused = 0
            for tool in itertools.cycle(tools):
                refused += (await self.witness.call(connection, seat, tool)).code in OVER
                if refused > 3:
                    return

    async def _once(self, seat: Seat, tool: str) -> None:
        with closing(Connection(self.plane.url)) as connection, suppress(ConnectionError):
            await self.witness.call(connection, seat, tool)

    async def _taint(self) -> None:
        """Fresh runs that read the open world, so that some die between the read and the label."""
        with (
            closing(Connection(self.plane.url)) as connection,
            suppress(ConnectionError, Unavailable),
        ):
            while True:
                seat = await self.open()
                self.tainted.append(seat)
                for tool in ("send", "peek", "send"):
                    await self.witness.call(connection, seat, tool)

    async def _revoke(self, seat: Seat, when: asyncio.Event) -> None:
        await when.wait()
        with suppress(Unavailable):  # then nobody was told anything
            receipt = await asyncio.to_thread(
                self.plane.control.post,
                "/v1/revocations",
                scope={"kind": "run", "id": seat.run},
                reason="enough",
            )
            seat.revoked = bool(receipt["durable"])

    async def look_after(self) -> None:
        """What must hold of a plane that was just started again."""
        assert self.implicit is not None
        expected = [
            *((seat, "look", "revoked") for seat in self.revoked[-5:]),
            *((s, "send", "approval_required") for s in self.tainted[-5:] if s.tainted),
            *((s, "send", "approval_required") for s in [self.implicit] if s.tainted),
            (await self.open(), "send", "done"),
        ]
        with closing(Connection(self.plane.url)) as connection:
            for seat, tool, code in expected:
                assert (await self.witness.call(connection, seat, tool)).code == code
        report = await asyncio.to_thread(verified, self.plane)
        assert report.ok, report.problems

    async def use_up(self, seat: Seat) -> None:
        """Whatever a run has spent in earlier lives, it ends within its budget."""
        with closing(Connection(self.plane.url)) as connection:
            for _ in range(seat.budget + 1):
                said = await self.witness.call(connection, seat, "look")
                # It is told once that it has ended for that, and then that it is not open.
                if said.code in ("run_exhausted", "run_not_open"):
                    return
        raise AssertionError("a budget that is never used up")


def verified(plane: ProcessPlane) -> Any:
    reader = SqliteLedgerReader(plane.state / "ledger.sqlite3")
    reader.open()
    try:
        key = (parts(load(plane.config))).note_signer.verifier_key()
        notes = reader.checkpoints()
        return verify(reader.entries(), notes, verifier_key=key, published=None)
    finally:
        reader.close()


class Kept:
    """The ledger as it stands when all is over, its arguments opened."""

    def __init__(self) -> None:
        self.intents: dict[str, str] = {}  # nonce → record
        self.ends: Counter[str] = Counter()
        self.states: Counter[Terminal] = Counter()
        self.refused: dict[str, str] = {}  # nonce → record

    @classmethod
    async def read(cls, plane: ProcessPlane) -> Kept:
        kept = cls()
        made = parts(load(plane.config))
        await made.store.open()
        sealer = Sealer(made.store, made.wrap, made.clock)
        reader = SqliteLedgerReader(plane.state / "ledger.sqlite3")
        reader.open()

        async def nonce_of(sealed: Sealed | None) -> str:
            assert sealed is not None
            arguments, _ = await sealer.open(sealed)  # type: ignore[misc]
            return str(arguments["nonce"])

        for position, entry in reader.entries():  # type: ignore[misc]
            record = recorded(position, entry).record
            id_ = record_id(entry.writer, entry.seq)
            match record:
                case Intent():
                    nonce = await nonce_of(record.arguments)
                    assert nonce not in kept.intents, "one call, two intents"
                    kept.intents[nonce] = id_
                case Outcome(intent=str(intent)):
                    kept.ends[intent] += 1
                    kept.states[record.state] += 1
                case Outcome(arguments=Sealed()):
                    kept.refused[await nonce_of(record.arguments)] = id_
                case _:
                    pass
        reader.close()
        await made.store.close()
        return kept


async def play(folder: Path, *, kills: int, seed: int, load_of: tuple[int, int]) -> Play:
    """So many lives, each ended by SIGKILL after a random number of answers; then the reckoning."""
    async with journalling() as journal:
        upstream = f'[[upstream]]\nname = "up"\nurl = "{journal.url}"\nreach = "closed"\n'
        with process_plane(folder, upstream, extra="[runs]\nmax_steps = 20_000") as plane:
            acts = Play(plane, journal, seed=seed)
            await acts.prepare()
            for _ in range(kills):
                await acts.live_and_die(acts.chance.randint(*load_of))
                await asyncio.to_thread(plane.start)
                await acts.look_after()
            await acts.use_up(acts.senders[-1])
            assert await asyncio.to_thread(plane.stop) == 0
            await reckon(acts)
            return acts


async def reckon(acts: Play) -> None:
    """Hold the upstream's journal, the clients' notes and the ledger against each other."""
    witness, journal, plane = acts.witness, acts.journal, acts.plane
    kept = await Kept.read(plane)

    # Nothing reached the upstream without a permit that was on disk before.
    arrived = journal.nonces("send", "hold", "peek")
    assert len(arrived) == len(set(arrived)), "a call was sent twice"
    assert set(arrived) <= kept.intents.keys()

    # Nothing that was revoked or tainted before it was asked for has arrived, in any life.
    assert not witness.must_not_arrive & set(journal.nonces(*TRAITS))

    # What a client was told about an effect is in the ledger.
    tool_of = {given["nonce"]: name for name, given in journal.calls}
    done = {nonce for nonce, said in witness.told.items() if said.code == "done"}
    assert done <= tool_of.keys()
    assert {n for n in done if tool_of[n] != "look"} <= kept.intents.keys()
    # A refusal waits for no disk, so that of the last turns before a kill may be missing; one that
    # is there is the one that the client was told.
    for nonce, said in witness.told.items():
        if said.refusal is not None and nonce in kept.refused:
            assert kept.refused[nonce] == said.refusal["record"]

    # Every intent has ended exactly once, and those that a kill left open ended as unknown.
    assert set(kept.ends) == set(kept.intents.values())
    assert set(kept.ends.values()) == {1}
    holding = [nonce for nonce in journal.nonces("hold") if nonce not in witness.told]
    assert holding
    assert kept.states[Terminal.UNKNOWN] >= len(holding)

    # No budget was exceeded, over all lives together.
    spent = Counter(id(witness.seats[nonce]) for nonce in tool_of)
    for seat in {id(s): s for s in witness.seats.values()}.values():
        assert spent[id(seat)] <= seat.budget or not seat.run, seat

    # The offline verifier of the command line says the same.
    result = await asyncio.to_thread(
        CliRunner().invoke, app, ["--config", str(plane.config), "ledger", "verify", "--json"]
    )
    assert result.exit_code == 0, result.output


async def test_killed_under_load_the_plane_comes_back_with_everything_it_had_said(
    tmp_path: Path,
) -> None:
    acts = await play(tmp_path, kills=3, seed=20_261_123, load_of=(40, 250))
    check_the_play(acts, tainted=1, revoked=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_many_times_it_forgets_no_label_no_step_and_no_revocation(
    tmp_path: Path, seed: int
) -> None:
    acts = await play(tmp_path, kills=25, seed=seed, load_of=(1, 900))
    check_the_play(acts, tainted=10, revoked=5)


def check_the_play(acts: Play, *, tainted: int, revoked: int) -> None:
    """That the load was one: what was to be looked at has happened at all."""
    assert sum(seat.tainted for seat in acts.tainted) >= tainted
    assert len(acts.revoked) >= revoked
    codes = Counter(said.code for said in acts.witness.told.values())
    assert codes["done"] > 50
    assert codes["run_exhausted"] + codes["run_not_open"], codes
    assert acts.witness.must_not_arrive
