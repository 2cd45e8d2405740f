"""The wall clock is set back, or ahead and back, so that a question or a yes lasts for longer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from approval_kit import OWNER, AskingPlane, asked
from approver_kit import OPERATOR, Form, approving
from bare_client import legacy
from waiting_kit import ONCALL, waiting_gateway

from midflight.apps.control.operators import Operator, Operators
from midflight.domain.errors import (
    Conflict,
    MidflightError,
    StoreUnavailable,
    Unauthenticated,
)
from midflight.domain.identity import Author
from midflight.domain.records import ApprovalEnded
from midflight.services.approver_accounts import ENROL_S
from midflight.services.approver_sessions import IDLE_S, LONGEST_S
from midflight.services.guard import Performed, Refused
from midflight.testing import FakeClock
from midflight.wire.refusal import HANDLE, REFUSAL

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

STEPS = [1, 599, 3_600, 86_400]
ECHO: dict[str, Any] = {"name": "echo", "arguments": {"text": "hi"}}


async def started_again(plane: AskingPlane, *, alive_at: float = 0.0) -> AskingPlane:
    later = AskingPlane(restarts=plane, asking=plane.asking, ledger_store=plane.ledger_store)
    await asyncio.gather(*plane._beside)
    await plane.ledger.close()
    await later.start(register=False)
    await later.approvals.start(alive_at=alive_at)
    return later


@pytest.mark.parametrize("step", STEPS)
async def test_a_question_is_not_answered_after_its_time(step: int) -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    plane.clock.advance(599)
    plane.clock.set_back(step)
    plane.clock.advance(1)
    for verb in (plane.desk.approve, plane.desk.refuse):
        with pytest.raises(Conflict, match="has expired"):
            await verb(approval, author=OWNER)
    assert (await plane.desk.show(approval)).state.value == "expired"
    assert not await plane.desk.waiting(OWNER)
    await plane.approvals.sweep()
    assert await plane.state(approval) == "expired"
    await plane.close()


@pytest.mark.parametrize("step", STEPS)
async def test_a_yes_is_not_used_after_its_time(step: int) -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(approval, author=OWNER)
    plane.clock.advance(599)
    plane.clock.set_back(step)
    plane.clock.advance(1)
    again = asked(await plane.act(run, to="bob@x.org"))
    assert again != approval
    assert await plane.state(approval) == "expired"
    assert not [action for action in plane.upstream.received if action.name == "send"]
    ended = [r for r in await plane.records() if isinstance(r, ApprovalEnded)]
    assert [(r.approval, r.state) for r in ended] == [(approval, "expired")]
    # What is asked anew lasts as long as it says, no more and no less.
    await plane.desk.approve(again, author=OWNER)
    plane.clock.advance(599)
    assert isinstance(await plane.act(run, to="bob@x.org"), Performed)
    await plane.close()


@pytest.mark.parametrize("step", STEPS)
async def test_a_clock_that_is_set_ahead_and_back_ends_a_question_and_wakes_none(step: int) -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    plane.clock.set_back(-step)
    await plane.approvals.sweep()
    plane.clock.set_back(step)
    over = step >= 600
    assert await plane.state(approval) == ("expired" if over else "pending")
    if over:
        with pytest.raises(Conflict):
            await plane.desk.approve(approval, author=OWNER)
    else:
        await plane.desk.approve(approval, author=OWNER)
        assert isinstance(await plane.act(run, to="bob@x.org"), Performed)
    await plane.close()


async def test_starting_again_with_the_clock_set_back_prolongs_nothing() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    yes = await plane.ask(run, to="eve@x.org")
    await plane.desk.approve(yes, author=OWNER)
    plane.clock.advance(590)
    alive_at = plane.clock.now()
    plane.clock.set_back(3_600)
    later = await started_again(plane, alive_at=alive_at)
    assert await later.state(approval) == "pending"
    later.clock.advance(10)
    with pytest.raises(Conflict, match="has expired"):
        await later.desk.approve(approval, author=OWNER)
    assert asked(await later.act(run, to="eve@x.org")) != yes
    await later.close()


async def test_a_store_that_was_gone_at_the_end_makes_nothing_live_again() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    plane.clock.set_back(3_600)
    plane.clock.advance(600)
    await plane.store.close()
    with pytest.raises(StoreUnavailable):
        await plane.approvals.sweep()
    await plane.store.open()
    with pytest.raises(Conflict, match="has expired"):
        await plane.desk.approve(approval, author=OWNER)
    await plane.close()


async def test_what_ended_before_a_start_stays_ended() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    plane.clock.advance(600)
    alive_at = plane.clock.now()
    plane.clock.set_back(600)
    later = await started_again(plane, alive_at=alive_at)
    assert await later.state(approval) == "expired"
    await later.close()


async def test_a_restart_of_the_whole_plane_hears_the_latest_time_on_record(
    tmp_path: Path,
) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        served.clock.leap(590)
        await ada.browser.get("/approve")
        await served.accounts.add("last-on-record", OPERATOR)
        assert await served.plane._last_on_record() >= served.clock.now() - 30
    async with approving(tmp_path) as again:  # whose clock is 590 seconds behind
        left = (await again.desk.show(approval)).expires_at - again.clock.now()
        assert left > 300
        again.clock.leap(60)
        assert (await again.desk.show(approval)).state.value == "expired"


@pytest.mark.parametrize("step", [600, 86_400])
async def test_a_held_call_ends_with_its_question_and_its_handle_asks_nobody_anew(
    tmp_path: Path, step: int
) -> None:
    async with waiting_gateway(tmp_path) as waiting, legacy(waiting.gateway) as client:
        task = asyncio.ensure_future(client.ask("tools/call", **ECHO))
        await waiting.entered()
        approval = await waiting.pending()
        waiting.clock.set_back(step)
        await waiting.pass_time(50)
        told = (await task)["result"]["_meta"]
        # What is told is what is left, and not what the wall clock would make of it.
        assert told[REFUSAL]["expires_s"] <= 1_150
        waiting.clock.advance(1_150)
        with pytest.raises(Conflict):
            await waiting.plane.approval_desk.approve(approval, author=ONCALL)
        token = await waiting.gateway.token()
        client.http.headers["authorization"] = f"Bearer {token}"
        said = await client.ask("tools/call", **ECHO, _meta={HANDLE: told[HANDLE]})
        assert "Nobody approved it" in said["result"]["content"][0]["text"]
        assert waiting.served.calls == []
        assert len(await waiting.states()) == 1


async def test_a_code_that_was_used_is_not_good_again_when_its_time_comes_back(
    tmp_path: Path,
) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        code = ada.next_code()
        assert (await served.browser().sign_in("ada", code)).status_code == 303
        ahead = served.clock.ahead
        for step in (30, 3_600):
            served.clock.leap(step)
            assert (await served.browser().sign_in("ada", code)).status_code == 401
            with_wall(served, ahead)
            assert (await served.browser().sign_in("ada", code)).status_code == 401
        # Set ahead, a code of then is used; set back, nothing before it counts.
        served.clock.leap(7_200)
        late = ada.code()
        assert (await served.browser().sign_in("ada", late)).status_code == 303
        with_wall(served, ahead)
        assert (await served.browser().sign_in("ada", ada.code(offset=1))).status_code == 401


def with_wall(served: Any, ahead: float) -> None:
    """Set the wall clock, and let the other one go on."""
    served.clock.behind = served.clock.ahead - ahead


@pytest.mark.parametrize("step", STEPS)
async def test_sessions_and_proofs_end_by_the_clock_that_nobody_sets(
    tmp_path: Path, step: int
) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        page = await ada.browser.get(f"/approve/{approval}")
        fields = Form(page.text).to(f"/approve/{approval}")["fields"]
        served.clock.leap(301)
        served.clock.behind = float(step)
        stale = await ada.browser.post(f"/approve/{approval}", **fields, decision="yes")
        assert stale.status_code == 401
        served.clock.leap(IDLE_S)
        assert (await ada.browser.get("/approve")).status_code == 401
        ada._clock.behind = 0.0
        await ada.sign_in()
        served.clock.behind = float(step)
        for _ in range(int(LONGEST_S / 600)):
            served.clock.leap(600)
            await ada.browser.get("/approve")
        assert (await ada.browser.get("/approve")).status_code == 401


@pytest.mark.parametrize("step", STEPS)
async def test_leave_to_enrol_does_not_last_for_longer(tmp_path: Path, step: int) -> None:
    async with approving(tmp_path) as served:
        await served.accounts.add("ada", OPERATOR)
        invitation = await served.accounts.enroll("ada", OPERATOR)
        served.clock.behind = float(step)
        served.clock.leap(ENROL_S + 1)
        await served.accounts.add("bob", OPERATOR)
        await served.accounts.enroll("bob", OPERATOR)
        late = await served.browser().post("/approve/enroll", invitation=invitation.code)
        assert late.status_code == 401


@pytest.mark.parametrize("step", STEPS)
def test_an_operator_token_does_not_last_for_longer(step: int) -> None:
    clock = FakeClock()
    operators = Operators(
        names={1_000: "olivia"},
        clock=clock,
        workload_of=lambda _: None,
        managed_pids=frozenset,
    )
    olivia = Operator(author=Author(name="olivia", proof="t"), uid=1_000, on_socket=True)
    made = operators.mint_token(olivia, ttl_s=600)
    assert operators.from_token(made.token).author.name == "olivia"
    clock.set_back(step)
    clock.advance(600)
    with pytest.raises(Unauthenticated):
        operators.from_token(made.token)


@pytest.mark.parametrize("step", STEPS)
async def test_a_run_does_not_last_for_longer(step: int) -> None:
    plane = AskingPlane()
    await plane.begin()
    run = await plane.open(ttl_s=600)
    plane.clock.advance(599)
    assert isinstance(await plane.act(run, "look"), Performed)
    plane.clock.set_back(step)
    plane.clock.advance(1)
    assert isinstance(await plane.act(run, "look"), Refused)
    await plane.close()


async def test_nothing_of_it_costs_a_question_that_is_alive() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    for step in (1, 60, 599):
        approval = await plane.ask(run, to=f"{step}@x.org")
        plane.clock.set_back(step)
        await plane.approvals.sweep()
        await plane.desk.approve(approval, author=OWNER)
        assert isinstance(await plane.act(run, to=f"{step}@x.org"), Performed)
    assert plane.approvals._ends._anchors.keys() <= {
        each.id for each in await plane.store.list_approvals()
    }
    plane.clock.advance(600)
    await plane.approvals.sweep()
    assert not plane.approvals._ends._anchors
    with pytest.raises(MidflightError):
        await plane.desk.approve("apr_x", author=OWNER)
    assert isinstance(await plane.act(run, to="z@x.org"), Refused)
    await plane.close()
