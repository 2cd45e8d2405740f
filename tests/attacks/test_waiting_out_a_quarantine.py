"""A held agent looks for a run in which it is not held: a new one, a child, a restart, a race."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from family_kit import OTHER, Family
from response_kit import Pointing, after_crash, find, held_family

from midflight.domain.action import Action
from midflight.domain.errors import Forbidden
from midflight.domain.finding import Strength
from midflight.domain.identity import Author, Caller
from midflight.domain.records import Outcome
from midflight.domain.response import Level
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.guard import Performed, Refused
from midflight.services.ports.recorder import Ticket
from midflight.services.ports.upstream import ClientRequest, Flight, Reply, Sink
from midflight.testing import OPERATOR, WORKLOAD, ListSink, call, caller

pytestmark = pytest.mark.anyio

HELD = "standard/quarantined"


def why(outcome: Performed | Refused) -> list[str]:
    assert isinstance(outcome, Refused), outcome
    return [reason.policy for reason in outcome.decision.reasons]


async def plainly(plane: Family, tool: str, who: Caller | None = None) -> Performed | Refused:
    return await plane.guard.perform(call(tool), who or caller(), sink=ListSink())


async def test_a_plain_client_is_held_in_the_next_implicit_run_too() -> None:
    plane = await held_family(detectors=[Pointing(send=Strength.STRONG)])
    assert why(await plainly(plane, "send")) == [HELD]
    first = plane.runs.known()[0].run
    plane.clock.advance(first.idle_timeout + 1)  # type: ignore[attr-defined]
    await plane.runs.sweep()
    assert why(await plainly(plane, "browse")) == [HELD]
    assert plane.runs.known()[0].run.id != first.id
    # As another process, too: a process costs an agent nothing.
    other = msgspec.structs.replace(caller(), process="another")
    assert why(await plainly(plane, "browse", other)) == [HELD]
    await plane.close()


async def test_a_run_that_the_workload_opens_for_itself_is_held_as_well() -> None:
    plane = await held_family()
    found = await plane.inventory.get(WORKLOAD)
    itself = Author(name=WORKLOAD, proof="oauth:client")
    runs = [await plane.runs.open_run(workload=found, intent=None, author=itself)]
    find(plane, runs[0].id, strength=Strength.STRONG)
    runs.append(await plane.runs.open_run(workload=found, intent=None, author=itself))
    for run in runs:
        assert why(await plane.act(run.id, "send")) == [HELD]
    assert why(await plainly(plane, "send")) == [HELD]
    # Where a person stands in between, it is another run.
    assert isinstance(await plane.act(await plane.open(), "send"), Performed)
    await plane.close()


async def test_a_held_workload_is_held_in_whatever_is_opened_for_it() -> None:
    text = '[[response]]\nrespond = "quarantine"\nscope = "workload"\n'
    plane = await held_family(text)
    find(plane, await plane.open())
    assert why(await plane.act(await plane.open(), "send")) == [HELD]
    assert why(await plainly(plane, "send")) == [HELD]
    # And in what it does in the name of another.
    run = await plane.open(workload=OTHER)
    acting = msgspec.structs.replace(caller(run, workload=OTHER), actors=(WORKLOAD,))
    assert why(await plainly(plane, "send", acting)) == [HELD]
    assert isinstance(await plane.act(run, "send"), Performed)
    await plane.close()


async def test_no_child_run_is_a_way_out() -> None:
    plane = await held_family()
    parent = await plane.open()
    same = await plane.delegate(parent, workload=WORKLOAD)
    await approve_delegations(plane)
    other = await plane.delegate(parent, workload=OTHER)
    find(plane, parent, strength=Strength.STRONG)
    for run in (parent, same, other):
        assert why(await plane.act(run, "send")) == [HELD]
    for workload in (WORKLOAD, OTHER):
        with pytest.raises(Forbidden, match=HELD):
            await plane.delegate(parent, workload=workload)
    await plane.close()


async def test_what_a_child_of_the_same_workload_does_holds_its_parent() -> None:
    plane = await held_family()
    parent = await plane.open()
    one, two = [await plane.delegate(parent, workload=WORKLOAD) for _ in range(2)]
    find(plane, one, strength=Strength.STRONG)
    await plane.runs.close_run(one, author=OPERATOR)
    for run in (parent, two):
        assert why(await plane.act(run, "send")) == [HELD]
    await plane.close()


async def test_what_a_child_is_revoked_for_ends_the_runs_of_the_same_workload_above() -> None:
    plane = await held_family()
    parent = await plane.open()
    child = await plane.delegate(parent, workload=WORKLOAD)
    find(plane, child, detector="canary", strength=Strength.STRONG)
    for run in (parent, child):
        assert isinstance(await plane.act(run, "look"), Refused)
    await plane.responses.close()
    (stored,) = await plane.store.revocations()
    assert stored.revocation.scope == Scope(kind=ScopeKind.RUN, id=parent)
    await plane.close()


async def test_a_restart_is_no_way_out() -> None:
    plane = await held_family()
    parent = await plane.open()
    child = await plane.delegate(parent, workload=WORKLOAD)
    find(plane, child, strength=Strength.STRONG)
    await plainly(plane, "look")
    implicit = next(live.run for live in plane.runs.known() if live.run.implicit)
    find(plane, implicit.id, strength=Strength.STRONG)
    await plane.responses.log.settle()
    after = await after_crash(plane)
    for run in (child, parent):
        assert why(await after.act(run, "send")) == [HELD]
    assert why(await plainly(after, "send")) == [HELD]
    await after.close()


async def test_no_call_beside_the_one_that_is_found_gets_out() -> None:
    """Some wait for the disk when it is found: judged, on record, and not yet sent."""
    plane = await held_family(detectors=[Pointing(browse=Strength.FAIR)])
    run = await plane.open()
    slow = asyncio.Event()
    append = plane.ledger.append

    class Slow:
        def __init__(self, ticket: Ticket) -> None:
            self.id = ticket.id
            self._ticket = ticket

        async def durable(self) -> None:
            await slow.wait()
            await self._ticket.durable()

    plane.guard._records._recorder = _Recorder(plane, append, Slow)  # type: ignore[assignment]
    waiting = [asyncio.create_task(plane.act(run, "send", n=n)) for n in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    found = asyncio.create_task(plane.act(run, "browse"))
    for _ in range(20):
        await asyncio.sleep(0)
    slow.set()
    outcomes = await asyncio.gather(*waiting, found)
    assert all(isinstance(each, Refused) for each in outcomes)
    assert plane.upstream.received == []
    ends = [r.state.value for r in await plane.records() if isinstance(r, Outcome)]
    assert sorted(ends) == ["denied", *["interrupted"] * 5]
    await plane.close()


async def test_an_answer_that_is_found_does_not_get_out_either() -> None:
    plane = await held_family(detectors=[Pointing(**{"elicitation/create": Strength.FAIR})])
    run = await plane.open()
    leaked: list[object] = []

    async def asking(action: Action, flight: Flight, sink: Sink) -> Reply:
        del action, flight
        question = ClientRequest(key="1", method="elicitation/create", params={})
        leaked.append(await sink.ask(question))
        return Reply(result={"content": []})

    plane.upstream.scripts["look"] = asking
    sink = ListSink(answers=[{"action": "accept", "content": {"name": "x"}}])
    refused = await plane.guard.perform(call("look"), caller(run), sink=sink)
    assert isinstance(refused, Refused)
    assert "found unusual (probing)" in refused.decision.reasons[0].text
    assert leaked == []
    ends = [r.state.value for r in await plane.records() if isinstance(r, Outcome)]
    assert ends == ["denied", "failed"]
    await plane.close()


async def test_stepping_the_clock_back_makes_it_longer_and_no_shorter() -> None:
    plane = await held_family()
    run = await plane.open()
    find(plane, run)
    plane.clock.set_back(3_600)  # type: ignore[attr-defined]
    live = plane.runs.of(run)
    assert live is not None
    assert live.standing(plane.clock.now()).level is Level.CHALLENGE
    await plane.close()


@pytest.mark.parametrize("back", [False, True])
async def test_stepping_the_clock_ahead_lets_nobody_go(*, back: bool) -> None:
    """It lasts as long as it was meant to; nor does it end for good while the clock is wrong."""
    plane = await held_family(detectors=[Pointing(send=Strength.STRONG)])
    run = await plane.open()
    find(plane, run, strength=Strength.STRONG)
    (entry,) = plane.responses.standings.all()
    lasts = entry.until - plane.clock.now()
    day = 86_400
    plane.clock.set_back(-400 * day)  # type: ignore[attr-defined]
    await plane.responses.sweep()
    live = plane.runs.of(run)
    assert live is not None
    assert live.standing(plane.clock.now()).level is Level.QUARANTINE
    if back:
        plane.clock.set_back(400 * day)  # type: ignore[attr-defined]
    plane.clock.advance(lasts - 1)  # type: ignore[attr-defined]
    assert live.standing(plane.clock.now()).level is Level.QUARANTINE
    plane.clock.advance(1)  # type: ignore[attr-defined]
    assert live.standing(plane.clock.now()).level is Level.NONE
    await plane.responses.sweep()
    assert plane.responses.standings.all() == []
    await plane.close()


async def test_acting_on_while_held_does_not_make_it_end_sooner() -> None:
    plane = await held_family(detectors=[Pointing(browse=Strength.WEAK)])
    run = await plane.open()
    find(plane, run, strength=Strength.STRONG)
    for _ in range(30):
        plane.clock.advance(60)  # type: ignore[attr-defined]
        assert why(await plane.act(run, "browse")) == [HELD]
    await plane.close()


class _Recorder:
    def __init__(self, plane: Family, append: object, slow: type) -> None:
        self._plane, self._append, self._slow = plane, append, slow

    @property
    def available(self) -> bool:
        return self._plane.ledger.available

    def append(self, record: object) -> object:
        return self._slow(self._append(record))  # type: ignore[operator]


async def approve_delegations(plane: Family) -> None:
    """Both workloads get the same owner: delegating to another one would need approval."""
    found = await plane.inventory.get(OTHER)
    await plane.store.put_workload(msgspec.structs.replace(found, owner="team-one"))
    await plane.inventory.refresh()
