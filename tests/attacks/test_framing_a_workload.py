"""Somebody makes findings about others, so that Midflight stops them for him.

By what workloads are given to read, by signals that are forged, by a run of his own. A run is held
for what it did; whole workloads are held only so often before a person has to look.
"""

from __future__ import annotations

import pytest
from family_kit import OTHER, Family, code
from response_kit import after_crash, find, held, held_family

from midflight.domain.decision import DenyCode
from midflight.domain.finding import Strength
from midflight.domain.identity import Workload
from midflight.domain.response import Level, Response
from midflight.domain.revocation import ScopeKind
from midflight.services.guard import Performed, Refused
from midflight.services.ports.policy_sets import PolicySource
from midflight.services.response_files import FILE, parse_responses
from midflight.testing import OPERATOR, WORKLOAD

pytestmark = pytest.mark.anyio

WIDE = """
[[response]]
respond = "quarantine"
scope = "workload"
for = "2h"
[limits]
workloads = 4
percent = 10
within = "1h"
"""


async def many(plane: Family, count: int) -> list[str]:
    """So many further workloads, each with an open run."""
    for number in range(count):
        await plane.inventory.register(
            Workload(
                id=f"spiffe://test.midflight.internal/crew/{number}",
                owner=f"owner-{number}",
                escalation="oncall",
                review_by=int(plane.clock.now()) + 10 * 86_400,
            ),
            OPERATOR,
        )
    return [f"spiffe://test.midflight.internal/crew/{number}" for number in range(count)]


def wide(plane: Family) -> set[str]:
    return {
        each.workload
        for each in held(plane)
        if each.scope.kind is ScopeKind.WORKLOAD and each.level is not Level.NOTE
    }


@pytest.mark.parametrize(("registered", "allowed"), [(47, 4), (27, 2), (7, 1)])
async def test_a_flood_of_findings_stops_a_few_workloads_and_then_only_runs(
    registered: int, allowed: int
) -> None:
    plane = await held_family(WIDE)  # three workloads are there already
    crew = await many(plane, registered - 3)
    told: list[Response] = []
    plane.responses.on_beyond(told.append)
    runs = {workload: await plane.open(workload=workload) for workload in crew}
    for workload, run in runs.items():
        find(plane, run, workload=workload, strength=Strength.STRONG)
    assert len(wide(plane)) == allowed
    # The runs that it was about are held all the same, ...
    for run in runs.values():
        assert code(await plane.act(run, "send")) is DenyCode.POLICY
    # ... others of their workloads are not, and people know.
    beyond = [workload for workload in crew if workload not in wide(plane)]
    fresh = await plane.open(workload=beyond[0])
    assert isinstance(await plane.act(fresh, "send"), Performed)
    assert [each.workload for each in told] == beyond
    assert all("without a person" in each.beyond for each in told)
    await plane.close()


async def test_more_about_a_held_workload_uses_nothing_up() -> None:
    plane = await held_family(WIDE)
    crew = await many(plane, 40)
    for detector in ("probing", "burst", "drift"):
        find(plane, workload=crew[0], detector=detector)
        plane.clock.advance(90)  # type: ignore[attr-defined]
    for workload in crew[1:6]:
        find(plane, workload=workload)
    assert wide(plane) == set(crew[:4])
    await plane.close()


async def test_neither_a_lift_nor_a_restart_gives_the_provoker_more() -> None:
    plane = await held_family(WIDE)
    crew = await many(plane, 40)
    for workload in crew[:4]:
        find(plane, workload=workload)
    for each in held(plane):
        await plane.response_desk.lift(each.id, reason="false alarm", author=OPERATOR)
    find(plane, workload=crew[5])
    assert wide(plane) == set()
    await plane.responses.close()
    after = await after_crash(plane, WIDE)
    find(after, workload=crew[6])
    assert wide(after) == set()
    after.clock.advance(3_601)  # type: ignore[attr-defined]
    find(after, workload=crew[7])
    assert wide(after) == {crew[7]}
    await after.close()


async def test_names_that_nobody_has_use_nothing_up() -> None:
    plane = await held_family(WIDE)
    crew = await many(plane, 40)
    for number in range(100):
        find(plane, workload=f"spiffe://test.midflight.internal/ghosts/{number}")
    assert held(plane) == []
    find(plane, workload=crew[0])
    assert wide(plane) == {crew[0]}
    await plane.close()


async def test_a_run_can_always_be_stopped() -> None:
    text = WIDE + '[[response]]\ndetector = "canary"\nrespond = "revoke"\n'
    plane = await held_family(text.replace("workloads = 4", "workloads = 0"))
    for _ in range(50):
        run = await plane.open()
        find(plane, run, detector="canary", strength=Strength.STRONG)
        refused = await plane.act(run, "look")
        assert isinstance(refused, Refused)
    await plane.close()


async def test_a_signal_that_names_no_run_holds_no_workload_where_policy_holds_runs() -> None:
    plane = await held_family()
    told: list[Response] = []
    plane.responses.on_beyond(told.append)
    find(plane, strength=Strength.STRONG)
    run = await plane.open()
    assert isinstance(await plane.act(run, "send"), Performed)
    assert [each.level for each in told] == [Level.NOTE]
    # However many of them: what is noted adds nothing to what is found.
    for detector in ("a", "b", "c", "d", "e"):
        find(plane, detector=detector, strength=Strength.STRONG)
    assert isinstance(await plane.act(run, "send"), Performed)
    await plane.close()


async def test_a_finding_about_somebody_elses_run_is_about_whose_run_it_is() -> None:
    plane = await held_family()
    run, other = await plane.open(), await plane.open(workload=OTHER)
    find(plane, run, workload=OTHER, strength=Strength.STRONG)
    assert [each.workload for each in held(plane)] == [WORKLOAD]
    assert isinstance(await plane.act(other, "send"), Performed)
    await plane.close()


async def test_a_delegate_does_not_bring_down_who_delegated() -> None:
    """And who delegated cannot shake it off for the same delegate by delegating anew."""
    plane = await held_family(engine=None)
    parent = await plane.open()
    child = await plane.delegate(parent, workload=OTHER)
    find(plane, child, workload=OTHER, strength=Strength.STRONG)
    assert plane.runs.of(parent) is not None
    standing = {run: plane.runs.of(run).standing(plane.clock.now()) for run in (parent, child)}  # type: ignore[union-attr]
    assert standing[parent].level is Level.NONE
    assert standing[child].level is Level.QUARANTINE
    anew = await plane.delegate(parent, workload=OTHER)
    live = plane.runs.of(anew)
    assert live is not None
    assert live.standing(plane.clock.now()).level is Level.QUARANTINE
    await plane.close()


async def test_one_detector_that_does_not_stop_talking_fills_nothing() -> None:
    plane = await held_family()
    run = await plane.open()
    for _ in range(500):
        find(plane, run)
        plane.clock.advance(1)  # type: ignore[attr-defined]
    (response,) = held(plane)
    assert response.level is Level.CHALLENGE
    assert len(response.findings) <= 16
    assert len(await plane.store.list_responses()) <= 10
    await plane.close()


@pytest.mark.parametrize("scope", ["owner", "everything", "team", "trust_domain", "upstream"])
def test_no_rule_reaches_further_than_a_workload(scope: str) -> None:
    text = f'[[response]]\nrespond = "quarantine"\nscope = "{scope}"\n'
    _, problems = parse_responses([PolicySource(name=FILE, text=text)])
    assert [str(p) for p in problems] == [
        "responses.toml:1: a response: `scope` is none of run, workload"
    ]
