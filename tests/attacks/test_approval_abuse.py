"""An agent that wants a yes it was not given: another's, a stale one, twice, or by wearing out.

The policy asks about every send; `team-one` owns the workload and may answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from approval_kit import FLOW, OWNER, SEND, AskingPlane, asked
from control_kit import RunningPlane, running_plane

from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.apps.cli.approval_screen import HEAD, MAX_LINES, MAX_NAME, TAIL, screen
from midflight.apps.control.client import ControlClient
from midflight.domain.decision import DenyCode
from midflight.domain.errors import Conflict, Forbidden, LedgerUnavailable, Malformed
from midflight.domain.identity import Author
from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.provenance import ArgumentFacts, Concern, FlowFacts, Origin
from midflight.domain.records import ApprovalAnswered, ApprovalEnded, Intent
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.traits import Effect, Reach, Role, Traits
from midflight.services.guard import Performed, Refused
from midflight.testing import OPERATOR, WORKLOAD

TO = {"to": "bob@x.org"}


async def approved(plane: AskingPlane, run: str, **arguments: Any) -> str:
    approval = await plane.ask(run, **(arguments or TO))
    await plane.desk.approve(approval, author=OWNER)
    return approval


def sent(plane: AskingPlane) -> list[dict[str, Any]]:
    return [action.arguments for action in plane.upstream.received if action.name == "send"]


# Replaying a yes


@pytest.mark.anyio
@pytest.mark.parametrize(
    "other",
    [
        {"to": "eve@x.org"},
        {"to": "bob@x.org", "bcc": "eve@x.org"},
        {"to": ["bob@x.org"]},
        {"to": "bob@x.org "},
        {"To": "bob@x.org"},
        {},
    ],
)
async def test_a_yes_is_not_good_for_other_arguments(other: dict[str, Any]) -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await approved(plane, run)
    assert await plane.ask(run, **other) != approval
    assert sent(plane) == []
    assert await plane.state(approval) == "approved"
    await plane.close()


@pytest.mark.anyio
async def test_a_yes_is_not_good_in_another_run() -> None:
    plane = AskingPlane()
    first = await plane.begin()
    second = await plane.open()
    approval = await approved(plane, first)
    assert await plane.ask(second, **TO) != approval
    assert sent(plane) == []
    await plane.close()


@pytest.mark.anyio
async def test_a_yes_is_not_good_for_another_definition_of_the_tool() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await approved(plane, run)
    plane.upstream.tools[0] = plane.upstream.tools[0] | {"description": "Sends it to all."}
    await plane.catalogue.refresh("one")
    await plane.pin("send", SEND)
    assert await plane.ask(run, **TO) != approval
    assert sent(plane) == []
    await plane.close()


@pytest.mark.anyio
async def test_a_used_yes_is_not_used_again_whatever_became_of_the_action() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await approved(plane, run)

    async def breaks(action: Any, flight: Any, sink: Any) -> Any:
        raise RuntimeError

    plane.upstream.scripts["send"] = breaks
    assert isinstance(await plane.act(run, **TO), Refused)
    assert await plane.state(approval) == "used"
    assert await plane.ask(run, **TO) != approval
    assert len(sent(plane)) == 1
    await plane.close()


# Answering oneself


@pytest.mark.anyio
@pytest.mark.parametrize("name", [WORKLOAD, "one", "Team-One", "team-one ", "owner", "midflight"])
async def test_a_name_that_is_no_approver_decides_nothing(name: str) -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, **TO)
    for verb in (plane.desk.approve, plane.desk.refuse):
        with pytest.raises(Forbidden):
            await verb(approval, author=Author(name=name, proof="peer-uid:1000"))
    assert await plane.state(approval) == "pending"
    assert [r for r in await plane.records() if isinstance(r, ApprovalAnswered)] == []
    await plane.close()


@pytest.mark.anyio
async def test_one_person_in_two_roles_is_not_two_persons() -> None:
    plane = AskingPlane(groups={"security": ["team-one"]})
    plane.asking.approvers = ("owner", "security")
    run = await plane.begin()
    approval = await plane.ask(run, **TO)
    await plane.desk.approve(approval, author=OWNER)
    other_proof = Author(name=OWNER.name, proof="operator-token:1001")
    with pytest.raises(Conflict, match="already answered"):
        await plane.desk.approve(approval, author=other_proof)
    assert asked(await plane.act(run, **TO)) == approval
    assert sent(plane) == []
    await plane.close()


ANSWER = """
import http.client, json, socket, sys
for path, body in json.loads(sys.argv[2]):
    c = http.client.HTTPConnection("midflight")
    c.sock = socket.socket(socket.AF_UNIX)
    c.sock.connect(sys.argv[1])
    c.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    print(c.getresponse().status)
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunningPlane]:
    with running_plane(tmp_path, extra='[approvals]\ngroups = { ann = ["olivia"] }') as running:
        running.register()
        running.pin("send_mail", "grant", "closed")
        yield running


def asks_live(live: RunningPlane) -> str:
    from midflight.domain.identity import Caller  # noqa: PLC0415
    from midflight.testing import ListSink, call  # noqa: PLC0415

    run = live.open_run()
    who = Caller(
        workload="spiffe://midflight.internal/agents/triage",
        run=run,
        token="tok_1",
        proof="bearer",
        expires_at=4_000_000_000,
    )
    return asked(
        live.do(
            lambda: live.plane.guard.perform(
                call("send_mail", upstream="desk", to="bob@x.org"), who, sink=ListSink()
            )
        )
    )


def test_a_process_under_the_plane_cannot_answer(live: RunningPlane) -> None:
    approval = asks_live(live)
    tries: list[tuple[str, dict[str, Any]]] = [
        (f"/v1/approvals/{approval}/approve", {}),
        (f"/v1/approvals/{approval}/approve", {"remember_s": 60}),
        (f"/v1/approvals/{approval}/refuse", {}),
        ("/v1/counterparties", {"owner": "ann", "value": "e@x", "role": "recipient", "for_s": 9}),
    ]
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, str(live.client.path), json.dumps(tries)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["403"] * len(tries)
    assert live.client.get(f"/v1/approvals/{approval}")["state"] == "pending"
    assert live.client.get("/v1/counterparties") == []
    assert live.records("approval_answered") == []


def test_a_user_that_a_workload_runs_as_cannot_answer(live: RunningPlane) -> None:
    approval = asks_live(live)
    workload = live.plane.inventory.current("spiffe://midflight.internal/agents/triage")
    assert workload is not None
    turned = msgspec.structs.replace(workload, uid=os.getuid())
    live.plane.inventory._current[turned.id] = turned
    with pytest.raises(Forbidden, match="registered workload"):
        live.client.post(f"/v1/approvals/{approval}/approve")
    live.plane.inventory._current[workload.id] = workload
    assert live.client.get(f"/v1/approvals/{approval}")["state"] == "pending"


def test_nobody_is_named_in_a_body(live: RunningPlane) -> None:
    approval = asks_live(live)
    for forged in ({"author": "ann"}, {"name": "ann"}, {"proof": "x"}, {"stands_for": ["owner"]}):
        with pytest.raises(Malformed):
            live.client.post(f"/v1/approvals/{approval}/approve", **forged)
    assert live.client.get(f"/v1/approvals/{approval}")["state"] == "pending"


def test_an_operator_who_answers_for_nobody_is_told_so(tmp_path: Path) -> None:
    with running_plane(tmp_path) as running:  # olivia is not ann, and no setting says she is
        running.register()
        running.pin("send_mail", "grant", "closed")
        approval = asks_live(running)
        client: ControlClient = running.client
        with pytest.raises(Forbidden, match="olivia is none of the approvers"):
            client.post(f"/v1/approvals/{approval}/approve")
        with pytest.raises(Forbidden, match="does not answer for the owner ann"):
            client.post("/v1/counterparties", owner="ann", value="e@x", role="url", for_s=9)


# Getting a yes first, and making it worse afterwards


async def browses(plane: AskingPlane, run: str) -> None:
    assert isinstance(await plane.act(run, "browse"), Performed)


async def sees_secrets(plane: AskingPlane, run: str) -> None:
    live = plane.runs.live(run)
    assert live is not None
    secret = Labels(confidentiality=Confidentiality.SECRET)
    await plane.runs.join_labels(live, secret, source="x")


async def flows(plane: AskingPlane, **changes: Any) -> None:
    plane.facts = msgspec.structs.replace(plane.facts, **changes)


async def origin_gets_worse(plane: AskingPlane, run: str) -> None:
    (entry,) = FLOW.arguments
    worse = msgspec.structs.replace(entry, origin=Origin.MODEL)
    await flows(plane, arguments=(worse,), origin=Origin.MODEL)


async def it_is_contested(plane: AskingPlane, run: str) -> None:
    (entry,) = FLOW.arguments
    await flows(plane, arguments=(msgspec.structs.replace(entry, untrusted=True),))


async def more_speaks_against_it(plane: AskingPlane, run: str) -> None:
    await flows(plane, concerns=(Concern.KEY_UNTRUSTED, Concern.CONTENT_SECRET))


async def another_policy_asks(plane: AskingPlane, run: str) -> None:
    plane.asking.policies = ("ask", "ask-more")


async def another_approver_is_needed(plane: AskingPlane, run: str) -> None:
    plane.asking.approvers = ("owner", "security")


async def it_is_reviewed_anew(plane: AskingPlane, run: str) -> None:
    await plane.pin("send", Traits(effect=Effect.PAY, reach=Reach.OPEN, reviewed=True))


async def the_owner_changes(plane: AskingPlane, run: str) -> None:
    workload = plane.inventory.current(WORKLOAD)
    await plane.inventory.register(msgspec.structs.replace(workload, owner="team-two"), OPERATOR)


WORSE = [
    browses,
    sees_secrets,
    origin_gets_worse,
    it_is_contested,
    more_speaks_against_it,
    another_policy_asks,
    another_approver_is_needed,
    it_is_reviewed_anew,
    the_owner_changes,
]


@pytest.mark.anyio
@pytest.mark.parametrize("change", WORSE, ids=lambda change: change.__name__)
@pytest.mark.parametrize("when", ["approved", "pending"])
async def test_a_worse_fact_takes_a_yes_back(change: Callable[..., Any], when: str) -> None:
    plane = AskingPlane(facts=FLOW, groups={"security": ["bob"]})
    run = await plane.begin()
    approval = await plane.ask(run, **TO)
    if when == "approved":
        await plane.desk.approve(approval, author=OWNER)
    await change(plane, run)
    fresh = await plane.ask(run, **TO)
    assert fresh != approval
    assert sent(plane) == []
    assert await plane.state(approval) == "void"
    assert [r.approval for r in await plane.records() if isinstance(r, ApprovalEnded)] == [approval]
    with pytest.raises(Conflict):  # what an approver still has on his screen is worth nothing
        await plane.desk.approve(approval, author=OWNER)
    # The new question shows what is now.
    shown = await plane.desk.show(fresh)
    live = plane.runs.live(run)
    assert live is not None
    assert (shown.facts.labels, shown.facts.flow) == (live.labels, plane.facts)
    await plane.close()


@pytest.mark.anyio
async def test_a_policy_that_forbids_meanwhile_is_not_overruled_by_a_yes() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await approved(plane, run)
    plane.asking.hard = True
    outcome = await plane.act(run, **TO)
    assert isinstance(outcome, Refused)
    assert sent(plane) == []
    assert await plane.state(approval) == "void"
    await plane.close()


class Waits(MemoryStore):
    """Lets something else happen between the use of a yes and the moment that is known."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], Any] | None = None

    async def use_approval(self, approval_id: str, *, now: int) -> bool:
        used = await super().use_approval(approval_id, now=now)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return used


@pytest.mark.anyio
@pytest.mark.parametrize("change", WORSE, ids=lambda change: change.__name__)
async def test_a_worse_fact_in_the_very_moment_of_use_counts(change: Callable[..., Any]) -> None:
    store = Waits()
    plane = AskingPlane(facts=FLOW, store=store, groups={"security": ["bob"]})
    run = await plane.begin()
    approval = await approved(plane, run)
    store.meanwhile = lambda: change(plane, run)
    assert isinstance(await plane.act(run, **TO), Refused)
    assert sent(plane) == []
    assert await plane.state(approval) == "used"
    await plane.close()


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["closed", "revoked run", "revoked tool"])
async def test_no_yes_outlives_its_run_or_a_revocation(how: str) -> None:
    for moment in ("before", "meanwhile"):
        store = Waits()
        plane = AskingPlane(store=store)
        run = await plane.begin()
        await approved(plane, run)

        async def end(plane: AskingPlane = plane, run: str = run) -> None:
            if how == "closed":
                await plane.runs.close_run(run, author=OPERATOR)
                return
            kind = ScopeKind.RUN if how == "revoked run" else ScopeKind.TOOL
            scope = Scope(kind=kind, id=run if kind is ScopeKind.RUN else "one/send")
            await plane.interruption.revoke(scope, reason="stop", author=OPERATOR)

        if moment == "before":
            await end()
        else:
            store.meanwhile = end
        assert isinstance(await plane.act(run, **TO), Refused)
        assert sent(plane) == []
        await plane.close()


# Racing


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "midflight.db")
    yield made
    with contextlib.suppress(Exception):
        await made.close()


@pytest.mark.anyio
async def test_of_many_who_race_for_one_yes_one_passes(store: Any) -> None:
    plane = AskingPlane(store=store)
    run = await plane.begin()
    approval = await approved(plane, run)
    outcomes = await asyncio.gather(*(plane.act(run, **TO) for _ in range(20)))
    assert len([o for o in outcomes if isinstance(o, Performed)]) == 1
    assert len(sent(plane)) == 1
    # All others wait for one and the same new question.
    fresh = {asked(o) for o in outcomes if isinstance(o, Refused)}
    assert len(fresh) == 1
    assert fresh != {approval}
    intents = [r for r in await plane.records() if isinstance(r, Intent) and r.approval]
    assert [r.approval for r in intents] == [approval]
    await plane.close()


@pytest.mark.anyio
async def test_of_many_who_ask_the_same_at_once_one_question_comes(store: Any) -> None:
    plane = AskingPlane(store=store)
    run = await plane.begin()
    outcomes = await asyncio.gather(*(plane.act(run, **TO) for _ in range(20)))
    assert len({asked(o) for o in outcomes}) == 1
    assert len(await plane.desk.list()) == 1
    await plane.close()


@pytest.mark.anyio
async def test_of_a_yes_and_a_no_at_once_one_counts(store: Any) -> None:
    plane = AskingPlane(store=store, groups={"owner": ["bob"]})
    run = await plane.begin()
    approval = await plane.ask(run, **TO)
    bob = Author(name="bob", proof="peer-uid:1002")
    results = await asyncio.gather(
        plane.desk.approve(approval, author=OWNER),
        plane.desk.refuse(approval, author=bob),
        return_exceptions=True,
    )
    assert len([r for r in results if isinstance(r, Conflict)]) == 1
    # What is on record is what counts.
    (answer,) = [r for r in await plane.records() if isinstance(r, ApprovalAnswered)]
    assert await plane.state(approval) == ("approved" if answer.yes else "refused")
    await plane.close()


# Wearing people out


@pytest.mark.anyio
async def test_a_flood_of_questions_ends_at_a_bound() -> None:
    plane = AskingPlane(max_pending=5)
    run = await plane.begin()
    for number in range(5):
        await plane.ask(run, to=f"u{number}@x.org")
    for number in range(5, 50):
        outcome = await plane.act(run, to=f"u{number}@x.org")
        assert isinstance(outcome, Refused)
        assert outcome.decision.code is DenyCode.APPROVAL_REQUIRED
        (reason,) = outcome.decision.reasons
        assert reason.policy == "midflight:too-many-approvals"
        assert "approval list" in reason.help
    assert len(await plane.desk.list()) == 5
    # One's own flood is nobody else's, and repeating a question adds none.
    await plane.ask(run, to="u0@x.org")
    await plane.ask(await plane.open(), to="u9@x.org")
    assert len(await plane.desk.list()) == 6
    await plane.close()


@pytest.mark.anyio
async def test_a_no_is_not_worn_down_by_asking_again() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    await plane.desk.refuse(await plane.ask(run, **TO), author=OWNER)
    for _ in range(10):
        outcome = await plane.act(run, **TO)
        assert isinstance(outcome, Refused)
        assert outcome.decision.reasons[0].policy.startswith("midflight:refused:")
        plane.clock.advance(1)
    assert len(await plane.desk.list()) == 1
    await plane.close()


# An answer that leaves no trace


@pytest.mark.anyio
async def test_a_yes_that_cannot_be_recorded_does_not_count() -> None:
    class Full(MemoryLedgerStore):
        full = False

        def append(self, *given: Any, **more: Any) -> Any:
            if self.full:
                raise LedgerUnavailable("full")
            return super().append(*given, **more)

    ledger = Full()
    plane = AskingPlane(ledger_store=ledger, facts=FLOW)
    run = await plane.begin()
    approval = await plane.ask(run, **TO)
    await plane.ledger.flush()
    ledger.full = True
    with pytest.raises(LedgerUnavailable):
        await plane.desk.approve(approval, author=OWNER, remember_s=60)
    assert await plane.state(approval) == "pending"
    assert plane.endorser.values == {}
    assert await plane.store.list_counterparties() == []
    ledger.full = False


# Text on the screen that decides

HOSTILE = [
    "\x1b[2J\x1b[1;1Happroval   apr_other",
    "bob@x.org\u202egro.live\u202c",
    "a\nstate       approved\n",
    "\u200b\u2060\ufeff\u00ad",
    "\u2028must agree  nobody",
    "\r[bold]approved[/bold]\x07\x08\x7f\x9b31m",
    "x" * 1_000_000,
]


def shown(arguments: Any, flow: FlowFacts = FLOW, **changes: Any) -> list[str]:
    facts = {
        "labels": {"untrusted": True, "confidentiality": 0, "compartments": []},
        "labels_source": "",
        "flow": msgspec.to_builtins(flow),
        "traits": {"effect": "send", "reach": "open", "reviewed": True},
    }
    found: dict[str, Any] = {
        "id": "apr_1",
        "state": "pending",
        "digest": "d" * 64,
        "run": "run_1",
        "workload": WORKLOAD,
        "owner": "ann",
        "kind": "call_tool",
        "upstream": "mail",
        "name": "send",
        "arguments": arguments,
        "params": {},
        "reasons": [{"policy": "p", "text": "t", "help": ""}],
        "approvers": ["owner"],
        "missing": ["owner"],
        "facts": facts,
        "endorses": [],
        "answers": [],
        "expires_at": 1_800_000_000,
    }
    return screen(found | changes)


def check_screen(lines: Sequence[str], count: int) -> None:
    text = "\n".join(lines)
    assert text.isprintable() or all(c.isprintable() or c == "\n" for c in text)
    assert all("\n" not in line for line in lines)
    assert len(lines) == count
    assert max(len(line) for line in lines) < 3 * (HEAD + TAIL)
    assert [line for line in lines if line.startswith("state ")] == [lines[1]]
    assert [line for line in lines if line.startswith("approval ")] == [lines[0]]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_moves_nothing_on_the_screen(text: str) -> None:
    plain = len(shown({"to": "x", "body": "y"}))
    check_screen(shown({"to": text, "body": "y"}, FlowFacts()), plain - 4)
    check_screen(shown({"to": "x", "body": text}), plain)
    check_screen(shown({"to": "x", text: "y"}), plain)
    check_screen(shown({"to": "x", "body": {text: {text: [text]}}}), plain)
    hostile_facts = FlowFacts(
        arguments=(
            ArgumentFacts(
                path="to", role=Role.RECIPIENT, origin=Origin.UNTRUSTED, field=text, record=text
            ),
        ),
        concerns=(Concern.KEY_UNTRUSTED,),
    )
    check_screen(shown({"to": "x", "body": "y"}, hostile_facts), plain)
    check_screen(
        shown(
            {"to": "x", "body": "y"},
            name=text,
            upstream=text,
            workload=text,
            owner=text,
            approvers=[text],
            missing=[text],
            reasons=[{"policy": text, "text": text, "help": ""}],
        ),
        plain,
    )


def test_no_name_of_an_argument_looks_like_a_value() -> None:
    lines = shown({'to = "bob@x.org"': "eve@x.org", "to": "eve@x.org"}, FlowFacts())
    assert '  "to = \\"bob@x.org\\"" = "eve@x.org"' in lines
    assert '  to = "eve@x.org"' in lines


def test_a_look_alike_address_is_pointed_out() -> None:
    lines = shown({"to": "b\u043eb@x.org"})
    assert '      beyond ASCII, look twice: "b\\u043eb@x.org"' in lines
    assert not any("look twice" in line for line in shown({"to": "bob@x.org"}))


def test_what_does_not_fit_is_counted_and_the_key_arguments_come_first() -> None:
    many: dict[str, Any] = {f"a{number}": number for number in range(10_000)}
    lines = shown(many | {"to": "eve@x.org"})
    assert lines[lines.index("arguments") + 1] == '  to = "eve@x.org"'
    assert f"  ({10_001 - MAX_LINES:,} more values; --json prints all)" in lines
    assert len(lines) < MAX_LINES + 50
    (long,) = [line for line in shown({"body": "x" * 5_000}) if "characters left out" in line]
    assert f"<<{5_002 - HEAD - TAIL:,} characters left out>>" in long
    (named,) = [line for line in shown({"k" * 5_000: 1}) if "characters left out" in line]
    assert len(named) < 4 * MAX_NAME


def test_flags_and_empty_values_are_not_left_out() -> None:
    lines = shown({"to": "x", "force": True, "note": None, "list": [], "map": {}})
    for line in ("  force = true", "  note = null", "  list = []", "  map = {}"):
        assert line in lines
