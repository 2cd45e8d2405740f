"""Getting a finding on somebody else's workload: from a source that may not, or by an action."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from signal_kit import (
    SECRET,
    body_of,
    findings,
    headers,
    post,
    records,
    source,
    written,
)

from gateways import AGENT, OPERATOR, Gateway, running_gateway
from midflight.apps.compose_detectors import sequence_rules
from midflight.domain.finding import Finding
from midflight.domain.identity import Workload
from midflight.domain.records import Observed
from midflight.services.detectors.plain import Plain
from midflight.testing import ListSink, MemoryPlane, ScriptedUpstream, call, caller

pytestmark = pytest.mark.anyio

VICTIM = "spiffe://midflight.internal/payroll/one"


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setenv("SIGNAL_SECRET", written(SECRET))
    sources = (
        source(),
        source("team", workloads=("spiffe://midflight.internal/*",), owners=("team-one",)),
    )
    async with running_gateway(tmp_path, [], signals=sources) as running:
        workload = Workload(
            id=VICTIM, owner="payroll", escalation="oncall", review_by=int(time.time()) + 9_999
        )
        await running.plane.inventory.register(workload, OPERATOR)
        yield running


async def victims_run(gateway: Gateway) -> str:
    workload = await gateway.plane.inventory.get(VICTIM)
    run = await gateway.plane.runs.open_run(workload=workload, intent="Pay.", author=OPERATOR)
    return run.id


async def refused(gateway: Gateway, body: bytes, *, to: str = "classifier") -> str:
    status, said = await post(gateway, body, headers(body), to=to)
    assert (status, said["code"]) == (404, "not_found")
    assert await findings(gateway) == []
    told = [r for r in await records(gateway) if isinstance(r, Observed)]
    assert [r.subject for r in told if r.what == "signal.refused"] == [f"signal:{to}"]
    return str(said["message"])


async def test_by_its_name(gateway: Gateway) -> None:
    await refused(gateway, body_of(workload=VICTIM))


async def test_by_its_run(gateway: Gateway) -> None:
    await refused(gateway, body_of(run=await victims_run(gateway), workload=""))


async def test_by_its_run_under_the_name_of_one_that_is_allowed(gateway: Gateway) -> None:
    await refused(gateway, body_of(run=await victims_run(gateway), workload=AGENT))


async def test_by_its_owner_where_only_the_name_would_match(gateway: Gateway) -> None:
    await refused(gateway, body_of(workload=VICTIM), to="team")


async def test_by_a_run_of_its_own_under_the_victims_name(gateway: Gateway) -> None:
    await refused(gateway, body_of(run=await gateway.open_run(), workload=VICTIM))


async def test_nothing_is_learnt_of_who_is_there(gateway: Gateway) -> None:
    about = [
        body_of(workload=VICTIM),
        body_of(workload="spiffe://midflight.internal/payroll/none"),
        body_of(workload="", run=await victims_run(gateway)),
        body_of(workload="", run="run_aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        body_of(workload="no spiffe id"),
        body_of(workload="spiffe://midflight.internal/agents/none"),
    ]
    answers = [await post(gateway, body, headers(body)) for body in about]
    assert {status for status, _ in answers} == {404}
    assert len({msgspec.json.encode(said) for _, said in answers}) == 1
    assert await findings(gateway) == []


async def test_of_its_own_run_it_may_speak(gateway: Gateway) -> None:
    run = await gateway.open_run()
    status, _ = await post(gateway, body_of(run=run, workload=""))
    assert status == 202
    [found] = await findings(gateway)
    assert (found.finding.run, found.finding.workload) == (run, AGENT)


async def test_an_agent_that_misbehaves_in_the_run_of_another_is_the_one_that_is_found() -> None:
    """A caller that names a run which is not its own is refused, and what is found is about it."""
    tools = [{"name": "look", "inputSchema": {"type": "object"}}]
    plane = MemoryPlane(upstream=ScriptedUpstream("one", tools), plain=Plain(sequence_rules()))
    found: list[Finding] = []
    plane.detection.respond_with(found.append)
    await plane.start()
    now = int(plane.clock.now())
    thief = "spiffe://test.midflight.internal/agents/thief"
    await plane.inventory.register(
        Workload(id=thief, owner="team-two", escalation="oncall", review_by=now + 99_999), OPERATOR
    )
    victim = plane.inventory.all()[0]
    run = await plane.runs.open_run(workload=victim, intent="Look.", author=OPERATOR)
    for number in range(60):
        await plane.guard.perform(
            call(f"x{number}"), caller(run.id, workload=thief), sink=ListSink()
        )
    assert all(each.workload == thief and each.run == "" for each in found)
    assert all(each.owner == "team-two" for each in found)
    await plane.close()
