"""An agent that has as much as it can wait for people, so that others cannot act or be seen.

Every call of the flood is asked about, none is answered. What it takes is bounded for the run and
for the workload, and costs others nothing.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from approval_kit import OWNER, AskingPlane, asked
from bare_client import legacy, modern
from waiting_kit import OPENS_PAGES, POLLS_TASKS, WaitingGateway, send, waiting_gateway

from midflight.domain.approval import ApprovalRequest
from midflight.domain.errors import Interrupted
from midflight.domain.identity import Author, Workload
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.guard import Refused
from midflight.services.waiting import LOOKS, Waiter, WaitingRoom, WaitLimits, Woken
from midflight.testing import WORKLOAD
from midflight.wire.refusal import REFUSAL

pytestmark = pytest.mark.anyio

OPERATOR = Author(name="olivia", proof="test")
OTHER = "spiffe://midflight.internal/agents/other"
MANY = 1_000
# Of one wait: its entry, its flight, its future and its task; measured 1.9 kB (CPython 3.11).
MOST_BYTES = 4_000


def echo(text: str) -> dict[str, Any]:
    return {"name": "echo", "arguments": {"text": text}}


async def token_of_another(waiting: WaitingGateway) -> str:
    await waiting.plane.inventory.register(
        Workload(
            id=OTHER,
            owner="team-two",
            escalation="oncall",
            review_by=int(waiting.clock.now()) + 86_400,
        ),
        OPERATOR,
    )
    return (await waiting.plane.identity.mint(workload=OTHER, run=None, author=OPERATOR)).token


async def test_held_calls_are_bounded_and_the_rest_is_answered_at_once(tmp_path: Path) -> None:
    few = {"wait": {"max_of_run": 5}, "max_pending": 1_000}
    async with (
        waiting_gateway(tmp_path, approvals=few) as waiting,
        legacy(waiting.gateway) as client,
    ):
        held = [
            asyncio.ensure_future(client.ask("tools/call", **echo(str(number))))
            for number in range(5)
        ]
        for _ in held:
            await waiting.entered()
        for number in range(5, 15):
            said = await client.ask("tools/call", **echo(str(number)))
            assert said["result"]["_meta"][REFUSAL]["state"] == "pending"
        assert waiting.room.count == 5
        # Another agent waits, and acts, as if nobody else did.
        token = await token_of_another(waiting)
        async with modern(waiting.gateway, token=token) as other:
            done = await send(other, {}, name="add", arguments={"a": 1, "b": 2})
            assert done["result"]["structuredContent"] == {"result": 3}
            task = asyncio.ensure_future(send(other, {}, **echo("other")))
            while (await waiting.entered()).workload != OTHER:
                pass
            assert not task.done()
            mine = await waiting.plane.approval_desk.list()
            (approval,) = [found.id for found in mine if found.workload == OTHER]
            await waiting.approve(approval)
            assert (await task)["result"]["content"][0]["text"] == "other"
        await waiting.pass_time(50)
        await asyncio.gather(*held)
        assert waiting.served.calls == ["add", "echo"]


async def test_questions_beyond_the_bound_of_the_run_are_refused_and_wait_for_nothing(
    tmp_path: Path,
) -> None:
    few = {"max_pending": 3, "wait": {"hold": "0s"}}
    async with (
        waiting_gateway(tmp_path, approvals=few) as waiting,
        modern(waiting.gateway) as client,
    ):
        for number in range(3):
            await send(client, OPENS_PAGES, **echo(str(number)))
        for capabilities in (OPENS_PAGES, POLLS_TASKS, {}):
            said = (await send(client, capabilities, **echo("more")))["result"]
            assert said["_meta"][REFUSAL]["policies"] == ["midflight:too-many-approvals"]
        assert len(await waiting.states()) == 3
        assert waiting.room.count == 3


async def test_a_flood_of_handles_costs_only_whoever_makes_it(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path, approvals={"wait": {"hold": "0s"}}) as waiting:
        token = await token_of_another(waiting)
        async with (
            modern(waiting.gateway) as client,
            modern(waiting.gateway, token=token) as other,
        ):
            state = (await send(other, OPENS_PAGES, **echo("other")))["result"]["requestState"]
            first = (await send(client, OPENS_PAGES, **echo("x")))["result"]["requestState"]
            for _ in range(110):
                await send(client, OPENS_PAGES, **echo("x"))
            # One's own oldest is gone, and one question is all that people see of it.
            said = await send(client, OPENS_PAGES, **echo("x"), requestState=first)
            assert said["error"]["code"] == -32602
            assert await waiting.states() == ["pending", "pending"]
            said = await send(other, OPENS_PAGES, **echo("other"), requestState=state)
            assert said["result"]["resultType"] == "input_required"


async def test_a_flood_of_tasks_does_not_keep_the_plane_from_acting(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        tasks = [
            (await send(client, POLLS_TASKS, **echo("x")))["result"]["taskId"] for _ in range(30)
        ]
        assert waiting.room.count == 1  # of one question one stands in the registry
        await waiting.approve()
        said = [
            (await send(client, POLLS_TASKS, "tasks/get", taskId=task))["result"] for task in tasks
        ]
        done = [each for each in said if each["status"] == "completed"]
        results = [each["result"]["content"][0]["text"] for each in done]
        assert results.count("hi") == 0
        assert results.count("x") == 1  # one yes, one action, however many tasks
        assert waiting.served.calls == ["echo"]


async def test_a_thousand_waits_cost_little_and_one_revocation_ends_them() -> None:
    plane = AskingPlane(max_pending=MANY)
    run = await plane.begin()
    room = WaitingRoom(
        store=plane.store,
        interruption=plane.interruption,
        clock=plane.clock,
        limits=WaitLimits(of_run=MANY, of_workload=MANY, of_all=MANY),
    )
    plane.approvals.on_settled(room.settled)
    refused = [await plane.act(run, to=f"u{number}@x.org") for number in range(MANY)]
    asked_for = [asked(outcome) for outcome in refused]
    looked: list[str] = []
    get_approval = plane.store.get_approval

    async def noted(approval: str) -> ApprovalRequest | None:
        looked.append(approval)
        return await get_approval(approval)

    plane.store.get_approval = noted  # type: ignore[method-assign]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    waits = []
    for approval, outcome in zip(asked_for, refused, strict=True):
        assert isinstance(outcome, Refused)
        waiter = Waiter(
            approval=approval,
            run=outcome.run,
            workload=WORKLOAD,
            upstream="one",
            name="send",
            scopes=outcome.scopes,
        )
        wait = room.enter(waiter, for_s=50)
        assert wait is not None
        waits.append(asyncio.ensure_future(wait.next()))
    await asyncio.sleep(0)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / MANY < MOST_BYTES
    # Nobody asks the store for each of them: a few a tick, in turn.
    await room.tick()
    await room.tick()
    assert len(looked) == len(set(looked)) == 2 * LOOKS
    # An answer wakes the one that waits for it, and no other.
    await plane.desk.approve(asked_for[7], author=OWNER)
    assert await waits[7] is Woken.SETTLED
    assert not any(wait.done() for wait in (waits[6], waits[8]))
    # They take nobody's place, and one revocation ends them all in its own turn.
    assert plane.interruption.in_flight == 0
    scope = Scope(kind=ScopeKind.UPSTREAM, id="one")
    await plane.interruption.revoke(scope, reason="stop", author=OPERATOR)
    said = await asyncio.gather(*waits, return_exceptions=True)
    assert len([error for error in said if isinstance(error, Interrupted)]) == MANY - 1
    await plane.close()
