"""An agent starts tasks at an upstream that go on after their calls, and after its revocation.

The call has been answered, so that cutting calls cuts nothing; what acts is the upstream.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cut_kit import begin, call, caller, records

from gateways import AGENT, OPERATOR, Gateway, running_gateway
from midflight.domain.errors import StoreUnavailable
from midflight.domain.records import Observed
from midflight.domain.response import Level
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.traits import Reach
from midflight.services.flights import FlightKind
from midflight.services.guard import Performed, Refused
from midflight.services.task_flights import MAX_A_RUN
from servers.counting_server import Counted, command, counted_in, counting

pytestmark = pytest.mark.anyio


def kinds(gateway: Gateway) -> Counter[FlightKind]:
    return Counter(status.kind for status in gateway.plane.interruption.flights())


async def said_of_tasks(gateway: Gateway, number: int) -> list[str]:
    """What was recorded of cancellations, once there are so many."""
    found: list[Any] = []
    while len(found) < number:
        await asyncio.sleep(0)
        found = [r for r in await records(gateway.plane, Observed) if r.what.startswith("task.")]
    return [record.what for record in found]


async def start(gateway: Gateway, run: str, upstream: str = "up") -> None:
    done = await begin(gateway.plane, caller(AGENT, run=run), call(upstream, "work"))
    assert isinstance(done, Performed)
    assert (done.reply.result or {})["status"] == "working"


@pytest.mark.parametrize(
    "kind", [kind for kind in ScopeKind if kind is not ScopeKind.CREDENTIAL], ids=str
)
async def test_the_upstream_is_told_to_cancel_it(tmp_path: Path, kind: ScopeKind) -> None:
    upstreams = counting()
    async with (
        upstreams as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        run = await gateway.open_run()
        await start(gateway, run)
        await start(gateway, run)
        assert kinds(gateway) == {FlightKind.TASK: 2}
        named = {
            ScopeKind.RUN: run,
            ScopeKind.WORKLOAD: AGENT,
            ScopeKind.OWNER: "team-one",
            ScopeKind.TOOL: "up/work",
            ScopeKind.UPSTREAM: "up",
            ScopeKind.TOKEN: "jti-1",
            ScopeKind.EVERYTHING: "",
            ScopeKind.TRUST_DOMAIN: "midflight.internal",
        }
        scope = Scope(kind=kind, id=named[kind])
        interruption = gateway.plane.interruption
        assert interruption.preview(scope).kinds == {"task": 2}
        receipt = await interruption.revoke(scope, reason="enough", author=OPERATOR)
        assert receipt.impact.kinds == {"task": 2}
        assert await said_of_tasks(gateway, 2) == ["task.cancelled"] * 2
        assert sorted(counted.cancelled) == ["task-1", "task-2"]
        assert not kinds(gateway)


async def test_it_does_not_outlive_its_run_either(tmp_path: Path) -> None:
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        run = await gateway.open_run()
        await start(gateway, run)
        await gateway.plane.runs.close_run(run, author=OPERATOR, reason="done")
        assert await said_of_tasks(gateway, 1) == ["task.cancelled"]
        assert counted.cancelled == ["task-1"]


async def test_a_task_that_begins_while_its_call_is_cut_is_cancelled_too(tmp_path: Path) -> None:
    """Known of or not when everything was denied: what has begun is told to end."""
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        run = await gateway.open_run()
        gateway.plane.guard.observing.result = _revoking(gateway, run)  # type: ignore[method-assign]
        done = await begin(gateway.plane, caller(AGENT, run=run), call("up", "work"))
        assert isinstance(done, Refused)
        assert await said_of_tasks(gateway, 1) == ["task.cancelled"]
        assert counted.cancelled == ["task-1"]


def _revoking(gateway: Gateway, run: str) -> Any:
    observed = gateway.plane.guard.observing.result

    async def result(*given: Any) -> Any:
        await gateway.plane.interruption.revoke(
            Scope(kind=ScopeKind.RUN, id=run), reason="enough", author=OPERATOR
        )
        return await observed(*given)

    return result


async def test_an_upstream_that_does_not_answer_is_on_record(tmp_path: Path) -> None:
    async with (
        counting(deaf=True) as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        gateway.plane.guard.task_flights._cancel_s = 0.01
        run = await gateway.open_run()
        await start(gateway, run)
        await gateway.plane.interruption.revoke(
            Scope(kind=ScopeKind.RUN, id=run), reason="enough", author=OPERATOR
        )
        assert await said_of_tasks(gateway, 1) == ["task.not_cancelled"]
        assert counted.cancelled == ["task-1"]


async def test_more_tasks_than_are_kept_track_of_are_cancelled_as_they_begin(
    tmp_path: Path,
) -> None:
    counted: Counted
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        run = await gateway.open_run()
        for _ in range(MAX_A_RUN + 1):
            await start(gateway, run)
        assert await said_of_tasks(gateway, 1) == ["task.cancelled"]
        assert counted.cancelled == [f"task-{MAX_A_RUN + 1}"]
        assert kinds(gateway) == {FlightKind.TASK: MAX_A_RUN}


async def test_a_task_that_the_store_takes_no_note_of_does_not_go_on(tmp_path: Path) -> None:
    """Nobody could cancel it after a crash: its id is not given out, and it is cancelled."""
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        run = await gateway.open_run()

        async def away(_: Any) -> None:
            raise StoreUnavailable("disk is full")

        gateway.plane.parts.store.put_task = away  # type: ignore[method-assign]
        done = await begin(gateway.plane, caller(AGENT, run=run), call("up", "work"))
        assert isinstance(done, Refused)
        assert await said_of_tasks(gateway, 1) == ["task.cancelled"]
        assert counted.cancelled == ["task-1"]
        assert not kinds(gateway)


async def test_a_task_is_kept_before_its_id_is_given_out_and_as_long_as_it_runs(
    tmp_path: Path,
) -> None:
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        run = await gateway.open_run()
        store = gateway.plane.parts.store
        await start(gateway, run)
        assert [each.task_id for each in await store.list_tasks()] == ["task-1"]
        await gateway.plane.runs.close_run(run, author=OPERATOR, reason="done")
        assert await said_of_tasks(gateway, 1) == ["task.cancelled"]
        while await store.list_tasks():
            await asyncio.sleep(0)
        assert counted.cancelled == ["task-1"]


async def test_a_task_of_a_child_process_ends_as_well(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with running_gateway(tmp_path, [{"name": "up", **command(journal)}]) as gateway:
        await gateway.pin_all()
        run = await gateway.open_run()
        await start(gateway, run)
        await gateway.plane.interruption.revoke(
            Scope(kind=ScopeKind.RUN, id=run), reason="enough", author=OPERATOR
        )
        assert await said_of_tasks(gateway, 1) == ["task.cancelled"]
        assert counted_in(journal)["cancelled"] == ["task-1"]


@pytest.mark.parametrize("level", [Level.QUARANTINE, Level.CHALLENGE])
async def test_what_has_effects_does_not_go_on_in_a_task_under_quarantine(
    tmp_path: Path, level: Level
) -> None:
    """The call would have been cut, had the upstream not answered it with a task.

    Under a challenge nothing is cut that has left, and a task has.
    """
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all(Reach.OPEN)  # so it may have effects
        run = await gateway.open_run()
        await start(gateway, run)
        scope = Scope(kind=ScopeKind.RUN, id=run)
        desk = gateway.plane.watching.response_desk
        await desk.add(scope, level, reason="turned", author=OPERATOR)
        if level is Level.CHALLENGE:
            assert kinds(gateway) == {FlightKind.TASK: 1}
            return
        assert await said_of_tasks(gateway, 1) == ["task.cancelled"]
        assert counted.cancelled == ["task-1"]
        assert not kinds(gateway)
