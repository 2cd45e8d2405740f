"""A workload that would like to be only observed, or to leave lockdown: by whatever it can say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from live_kit import LiveGateway
from policy_kit import question, tool
from variants_kit import observing_gateway, say, signed

import midflight
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Deny, DenyCode
from midflight.domain.identity import Mode, Tier, Workload, trust_domain
from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.records import Intent, Outcome
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.moded import ModedEngine
from midflight.services.policy_files import read_sources
from midflight.services.ports.policy_sets import PolicySource
from midflight.services.shadowing import summarize
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FakeClock,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

PACKS = Path(midflight.__file__).parent / "policies"
SCHEMA = {"type": "object", "additionalProperties": True}
TOOLS = {
    "look": Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
    "browse": Traits(effect=Effect.READ, reach=Reach.OPEN, reviewed=True),
    "commit": Traits(effect=Effect.WRITE, reach=Reach.CLOSED, reviewed=True),
    "pay": Traits(effect=Effect.PAY, reach=Reach.OPEN, reviewed=True),
}


def engine(pack: str | None) -> CedarEngine:
    if pack is None:
        return CedarEngine()
    return CedarEngine(CedarCompiler().parse(read_sources(PACKS / pack)), ())


async def plane_in(
    mode: Mode, *, observe: str | None = "observe", **changes: Any
) -> tuple[MemoryPlane, str]:
    clock = FakeClock()
    plane = MemoryPlane(
        upstream=ScriptedUpstream(
            "one", [{"name": name, "inputSchema": SCHEMA} for name in (*TOOLS, "new")]
        ),
        engine=ModedEngine(engine("standard"), engine(observe)),
        clock=clock,
        reach=Reach.CLOSED,
    )
    plane.monitors.declare(CedarCompiler().parse(read_sources(PACKS / "standard")).monitors)
    await plane.start()
    for name, traits in TOOLS.items():
        await plane.pin(name, traits)
    workload = plane.inventory.current(WORKLOAD)
    assert workload is not None
    await plane.inventory.register(
        msgspec.structs.replace(workload, mode=mode, **changes), OPERATOR
    )
    # Nobody has said what the run is for, so the standard pack asks before it pays.
    run = await plane.runs.open_run(workload=workload, intent="Look around.", author=OPERATOR)
    return plane, run.id


async def act(plane: MemoryPlane, run: str, tool: str, **said: Any) -> Performed | Refused:
    return await plane.guard.perform(call(tool, **said), caller(run), sink=ListSink())


CLAIM = {"mode": "observe", "tier": "baseline", "principal": {"mode": "observe"}}


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.LOCKDOWN])
@pytest.mark.parametrize("where", ["arguments", "params", "meta", "client"])
async def test_nothing_that_is_said_changes_the_mode(mode: Mode, where: str) -> None:
    plane, run = await plane_in(mode)
    await act(plane, run, "browse")
    action = Action(
        kind=ActionKind.CALL_TOOL,
        upstream="one",
        name="pay",
        method="tools/call",
        arguments={"to": "evil", **(CLAIM if where == "arguments" else {})},
        params=CLAIM if where == "params" else {},
        meta={"dev.midflight/mode": "observe", **CLAIM} if where == "meta" else {},
    )
    done = await plane.guard.perform(
        action, caller(run), sink=ListSink(), client_info=CLAIM if where == "client" else None
    )
    assert isinstance(done, Refused)
    assert [a.name for a in plane.upstream.received if a.name == "pay"] == []
    outcome = [r for r in await plane.records() if isinstance(r, Outcome)][-1]
    assert outcome.facts is not None
    assert outcome.facts.workload is not None
    assert outcome.facts.workload.mode is mode
    assert outcome.shadow is None


async def test_a_workload_in_lockdown_only_reads_what_is_closed_and_looked_at() -> None:
    plane, run = await plane_in(Mode.LOCKDOWN)
    passed = [
        name for name in (*TOOLS, "new") if isinstance(await act(plane, run, name), Performed)
    ]
    assert passed == ["look"]
    plane, run = await plane_in(Mode.ENFORCE)
    assert isinstance(await act(plane, run, "browse"), Performed)


# On a whole gateway


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveGateway]:
    with observing_gateway(tmp_path) as running:
        yield running


def test_headers_and_meta_do_not_put_a_workload_into_another_mode(live: LiveGateway) -> None:
    lines = ("X-Midflight-Mode: observe", "Mode: observe", "Mcp-Mode: observe")
    assert say(live, "mallory", *lines).code == "policy"
    assert say(live, "mallory", **{"dev.midflight/mode": "observe", **CLAIM}).code == "policy"
    assert "mallory" not in live.journal.nonces("look")
    assert say(live, "alice").code == "done"


def test_a_token_that_claims_a_mode_is_refused_though_its_signature_is_good(
    live: LiveGateway,
) -> None:
    assert say(live, "alice", token=signed(live)).code == "done"
    said = say(live, "mallory", token=signed(live, **CLAIM))
    assert said.status == 401
    assert "mallory" not in live.journal.nonces("look")


# Observing


async def test_an_observed_workload_passes_and_the_record_says_what_would_have_been() -> None:
    plane, run = await plane_in(Mode.OBSERVE)
    assert isinstance(await act(plane, run, "browse"), Performed)
    assert isinstance(await act(plane, run, "pay", to="evil"), Performed)
    intents = [r for r in await plane.records() if isinstance(r, Intent)]
    shadows = [intent.shadow for intent in intents]
    assert all(shadows)
    assert [shadow.decided for shadow in shadows if shadow] == ["permit", "challenge"]
    assert all(s and s.version == plane.engine.version for s in shadows)
    assert {intent.reasons[0].policy for intent in intents} == {"observe/passes"}
    assert all(intent.decided not in (plane.engine.version, "none") for intent in intents)
    summary = await summarize(plane.ledger, since=0, workload=WORKLOAD)
    assert summary.complete
    assert [(r.name, r.said, r.decided, r.count) for r in summary.rows] == [
        ("pay", "challenge", "permit", 1),
        ("browse", "permit", "permit", 1),
    ]
    assert "standard/asked" in summary.rows[0].policies
    later = await summarize(plane.ledger, since=plane.clock.now() + 1, workload=None)
    assert later.rows == ()


async def test_what_is_never_observed_away() -> None:
    plane, run = await plane_in(Mode.OBSERVE)
    unpinned = await act(plane, run, "new")
    assert isinstance(unpinned, Refused)
    live = plane.runs.live(run)
    assert live is not None
    secret = Labels(confidentiality=Confidentiality.SECRET)
    await plane.runs.join_labels(live, secret, source="x")
    leak = await act(plane, run, "pay", to="evil")
    assert isinstance(leak, Refused)
    assert [r.policy for r in leak.decision.reasons] == ["observe/secret-to-open"]
    plane, run = await plane_in(Mode.OBSERVE, team="quarantine")
    assert isinstance(await act(plane, run, "look"), Refused)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("kind", ["run", "workload", "owner", "trust_domain", "everything"])
async def test_no_mode_lets_anything_of_what_is_revoked_pass(mode: Mode, kind: str) -> None:
    plane, run = await plane_in(mode)
    workload = plane.inventory.current(WORKLOAD)
    assert workload is not None
    assert isinstance(await act(plane, run, "look"), Performed)
    names = {
        "run": run,
        "workload": WORKLOAD,
        "owner": workload.owner,
        "trust_domain": trust_domain(WORKLOAD),
    }
    scope = Scope(kind=ScopeKind(kind), id=names.get(kind, ""))
    await plane.interruption.revoke(scope, reason="stolen", author=OPERATOR)
    refused = await act(plane, run, "look")
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.REVOKED
    assert len(plane.upstream.received) == 1


async def test_without_a_set_for_it_an_observed_workload_is_denied() -> None:
    plane, run = await plane_in(Mode.OBSERVE, observe=None)
    done = await act(plane, run, "look")
    assert isinstance(done, Refused)
    assert isinstance(done.decision, Deny)
    assert done.decision.code is DenyCode.NO_POLICY
    assert done.decision.reasons[0].policy == "midflight:no-observe-policy"
    assert plane.upstream.received == []


async def test_a_waiver_that_has_ended_enforces_in_that_second() -> None:
    plane, run = await plane_in(
        Mode.OBSERVE,
        tier=Tier.MANDATORY,
        waiver_by="team-one",
        waiver_until=int(FakeClock().now()) + 60,
    )
    await act(plane, run, "browse")
    assert isinstance(await act(plane, run, "pay", to="evil"), Performed)
    plane.clock.advance(60)  # type: ignore[attr-defined]
    done = await act(plane, run, "pay", to="evil")
    assert isinstance(done, Refused)
    outcome = [r for r in await plane.records() if isinstance(r, Outcome)][-1]
    assert outcome.shadow is None
    assert outcome.facts is not None
    assert isinstance(outcome.facts.workload, Workload)
    assert outcome.facts.workload.mode is Mode.ENFORCE


@pytest.mark.parametrize("annotation", ['@limit("1/m")', '@lease("x")'])
def test_a_run_is_not_opened_under_what_is_not_kept_for_runs(annotation: str) -> None:
    text = f'@id("p") {annotation} @log("full") permit (principal, action, resource);'
    for with_it in (True, False):
        said = text if with_it else text.replace(annotation, "")
        source = PolicySource(name="p.cedar", text=said)
        moded = ModedEngine(CedarEngine(CedarCompiler().parse([source]), ()), CedarEngine())
        target = tool("open_run", "read", upstream="midflight", reach="closed")
        asked = question(target, {"opener": "x"})
        decision = moded.decide(msgspec.structs.replace(asked, kind=ActionKind.OPEN_RUN))
        assert isinstance(decision, Deny) is with_it


def test_the_observe_pack_permits_nothing_to_anybody_else_even_in_the_wrong_folder() -> None:
    both = CedarCompiler().parse(
        [*read_sources(PACKS / "standard"), *read_sources(PACKS / "observe")]
    )
    assert len(both) > 10
    # And the folder is not read as a part of the set around it.
    names = [source.name for source in read_sources(PACKS)]
    assert names
    assert not [name for name in names if name.startswith("observe/")]
