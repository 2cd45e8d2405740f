"""A held agent tries to have what holds it lifted: by itself, by findings, by new rules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from control_kit import WORKLOAD as CONTROLLED
from control_kit import running_plane
from response_kit import after_crash, find, held, held_family, rules

from midflight.domain.errors import Conflict, Forbidden, NotFound
from midflight.domain.finding import Strength
from midflight.domain.identity import Workload
from midflight.domain.response import Level
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.guard import Refused
from midflight.testing import OPERATOR

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("strength", list(Strength))
async def test_no_finding_lowers_what_holds(strength: Strength) -> None:
    """Not of the same detector, and not of another one that somebody can talk through."""
    plane = await held_family()
    run = await plane.open()
    find(plane, run, strength=Strength.STRONG)
    (before,) = held(plane)
    for detector in ("probing", "signal"):
        for _ in range(3):
            find(plane, run, detector=detector, strength=strength)
            plane.clock.advance(61)  # type: ignore[attr-defined]
    live = plane.runs.of(run)
    assert live is not None
    assert live.standing(plane.clock.now()).level is Level.QUARANTINE
    assert max(each.until for each in held(plane)) >= before.until
    await plane.close()


async def test_rules_that_became_milder_change_nothing_that_holds() -> None:
    plane = await held_family()
    run = await plane.open()
    find(plane, run, strength=Strength.STRONG)
    plane.responses.use(rules('[[response]]\nrespond = "note"\n'))
    find(plane, run, strength=Strength.STRONG)
    find(plane, run, detector="other", strength=Strength.STRONG)
    assert isinstance(await plane.act(run, "send"), Refused)
    await plane.close()


async def test_a_response_that_replaced_another_does_not_bring_it_back_when_lifted() -> None:
    """Nor does lifting the old one lift the new one: an id that holds no longer lifts nothing."""
    plane = await held_family()
    run = await plane.open()
    find(plane, run)
    (first,) = held(plane)
    find(plane, run, strength=Strength.STRONG)
    (second,) = held(plane)
    assert second.replaces == first.id
    with pytest.raises(NotFound):
        await plane.response_desk.lift(first.id, reason="mine", author=OPERATOR)
    with pytest.raises(Conflict):
        await plane.response_desk.lift(second.id, reason=" ", author=OPERATOR)
    assert isinstance(await plane.act(run, "send"), Refused)
    await plane.response_desk.lift(second.id, reason="looked at it", author=OPERATOR)
    assert held(plane) == []
    await plane.responses.close()
    after = await after_crash(plane)
    assert held(after) == []
    await after.close()


async def test_ending_the_run_does_not_free_those_beside_it() -> None:
    plane = await held_family()
    parent = await plane.open()
    child = await plane.delegate(parent, workload=plane.runs.of(parent).run.workload)  # type: ignore[union-attr]
    find(plane, child, strength=Strength.STRONG)
    await plane.runs.close_run(child, author=OPERATOR)
    await plane.responses.sweep()
    assert isinstance(await plane.act(parent, "send"), Refused)
    await plane.close()


def test_the_control_api_takes_no_lift_from_whoever_is_no_operator(tmp_path: Path) -> None:
    """It knows who calls by the kernel's word, whatever is sent."""
    with running_plane(tmp_path, operator_uid=os.getuid() + 1) as plane:
        desk = plane.plane.watching.response_desk

        async def hold() -> str:
            await plane.plane.inventory.register(
                Workload(id=CONTROLLED, owner="ann", escalation="oncall", review_by=4_000_000_000),
                OPERATOR,
            )
            scope = Scope(kind=ScopeKind.WORKLOAD, id=CONTROLLED)
            made = await desk.add(scope, Level.QUARANTINE, reason="turned", author=OPERATOR)
            return made.response.id

        held_by = plane.do(hold)
        for verb, sent in (
            (f"/v1/responses/{held_by}/lift", {"reason": "I am fine"}),
            ("/v1/responses", {"scope": "run", "id": "r", "level": "risk", "reason": "mine"}),
        ):
            with pytest.raises(Forbidden):
                plane.client.post(verb, **sent)
        assert [each.response.id for each in desk.listing()] == [held_by]


async def test_a_weaker_finding_that_lasts_longer_takes_nothing_away() -> None:
    text = (
        '[[response]]\nstrength = "fair"\nrespond = "quarantine"\nfor = "1m"\n'
        '[[response]]\nrespond = "note"\nfor = "1d"\n'
    )
    plane = await held_family(text)
    run = await plane.open()
    find(plane, run)
    find(plane, run, strength=Strength.WEAK)
    assert [each.level for each in held(plane)] == [Level.QUARANTINE]
    assert isinstance(await plane.act(run, "send"), Refused)
    await plane.close()
