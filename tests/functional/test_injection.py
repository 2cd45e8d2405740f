"""The lease step of an action, over a whole plane in memory and a broker that the test plays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midflight.domain.action import Action
from midflight.domain.decision import Deny, DenyCode, Reason
from midflight.domain.errors import Unavailable
from midflight.domain.lease import Credential, Injection, Placement
from midflight.domain.records import Intent, Observed, Outcome, Terminal
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.ports.injection import NOTHING
from midflight.services.ports.upstream import ClientRequest, Reply
from midflight.testing import (
    OPERATOR,
    ListSink,
    MemoryPlane,
    ScriptedLeases,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

MARK = "mark-7f1c09ab55e2"
HEADER = Injection(placement=Placement.HEADER, name="Authorization", template="Bearer {token}")
ARGUMENT = Injection(placement=Placement.ARGUMENT)
LOGIN = Traits(
    effect=Effect.SEND,
    reach=Reach.CLOSED,
    reviewed=True,
    arguments=(
        Argument(path="password", role=Role.CREDENTIAL),
        Argument(path="keys[*]", role=Role.CREDENTIAL),
        Argument(path="body", role=Role.CONTENT),
    ),
)


def credential(name: str = "crm", *rules: Injection, **more: Any) -> Credential:
    more.setdefault("upstreams", frozenset({"one"}))
    return Credential(name=name, backend="memory", injections=rules or (HEADER,), **more)


async def started(leases: ScriptedLeases | None, **parts: Any) -> MemoryPlane:
    tools = [
        {"name": name, "description": "", "inputSchema": {"type": "object"}}
        for name in ("look", "login", "unreviewed")
    ]
    plane = MemoryPlane(upstream=ScriptedUpstream("one", tools), leases=leases, **parts)
    await plane.start()
    await plane.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
    await plane.pin("login", LOGIN)
    await plane.pin("unreviewed", Traits())
    return plane


async def perform(plane: MemoryPlane, action: Action, **more: Any) -> Performed | Refused:
    return await plane.guard.perform(action, caller(), sink=more.pop("sink", ListSink()), **more)


async def outcome(plane: MemoryPlane) -> Outcome:
    return [r for r in await plane.records() if isinstance(r, Outcome)][-1]


def why(done: Performed | Refused) -> Reason:
    assert isinstance(done, Refused)
    return done.decision.reasons[0]


async def test_a_permitted_action_carries_the_leased_header_and_its_record_the_lease() -> None:
    leases = ScriptedLeases()
    leases.add(credential(), token=MARK)
    plane = await started(leases)
    assert isinstance(await perform(plane, call("look")), Performed)
    (attached,) = plane.upstream.attached
    assert attached.headers == (("Authorization", f"Bearer {MARK}"),)
    assert (await outcome(plane)).leases == attached.leases
    assert leases.uses == {attached.leases[0]: 0}
    assert MARK not in repr(attached)
    assert MARK not in repr(await plane.records())


async def test_an_upstream_without_credentials_gets_nothing() -> None:
    leases = ScriptedLeases()
    leases.add(credential(upstreams=frozenset({"another"})), token=MARK)
    plane = await started(leases)
    await perform(plane, call("look"))
    assert plane.upstream.attached == [NOTHING]
    assert (await outcome(plane)).leases == ()


async def test_the_intent_is_on_record_before_the_lease_is_asked_for() -> None:
    leases = ScriptedLeases()
    leases.add(credential(), token=MARK)
    leases.gates["crm"] = asyncio.Event()
    plane = await started(leases)
    doing = asyncio.ensure_future(perform(plane, call("login")))
    # Its run is opened first, which waits for the ledger's thread.
    while not any(isinstance(r, Intent) for r in await plane.records()):
        await asyncio.sleep(0)
    assert plane.upstream.received == []
    leases.gates["crm"].set()
    assert isinstance(await doing, Performed)


@pytest.mark.parametrize(
    "failure",
    [
        Deny(
            version="p1",
            code=DenyCode.POLICY,
            reasons=(Reason(policy="no-lease", text="not at night"),),
            help="Wait.",
        ),
        Unavailable("The database does not answer.", hint="Start it."),
    ],
)
async def test_a_lease_that_cannot_be_had_refuses_and_says_which_and_why(failure: Any) -> None:
    leases = ScriptedLeases()
    leases.add(credential(), token=MARK)
    leases.refusals["crm"] = failure
    plane = await started(leases)
    done = await perform(plane, call("look"))
    reason = why(done)
    assert isinstance(done, Refused)
    assert done.decision.code is DenyCode.LEASE  # type: ignore[union-attr]
    assert "crm" in reason.text
    assert "one" in reason.text
    assert ("not at night" in reason.text) or ("does not answer" in reason.text)
    assert reason.help in {"Wait.", "Start it."}
    assert plane.upstream.received == []
    ended = await outcome(plane)
    assert (ended.state, ended.code, ended.leases) == (Terminal.DENIED, DenyCode.LEASE, ())


async def test_a_credential_that_the_upstream_cannot_take_is_a_clear_refusal() -> None:
    leases = ScriptedLeases()
    leases.add(credential("crm", Injection(placement=Placement.ENV, name="TOKEN")), token=MARK)
    plane = await started(leases)
    plane.upstream.placements = frozenset({Placement.HEADER})
    reason = why(await perform(plane, call("look")))
    assert "takes no env" in reason.text
    assert "stateless" in reason.help


async def test_a_template_with_a_field_that_is_not_there_names_the_field() -> None:
    leases = ScriptedLeases()
    leases.add(credential("crm", Injection(placement=Placement.HEADER, name="X")), password=MARK)
    plane = await started(leases)
    reason = why(await perform(plane, call("look")))
    assert "'token'" in reason.text
    assert MARK not in reason.text
    assert list(leases.uses.values()) == [0]


async def test_every_placement_is_made_of_the_fields_of_the_secret() -> None:
    leases = ScriptedLeases()
    rules = (
        Injection(placement=Placement.HEADER, name="Authorization", template="Basic {basic}"),
        Injection(placement=Placement.QUERY, name="key", template="{password}"),
        Injection(placement=Placement.ENV, name="PGPASSWORD", template="{password}"),
        Injection(placement=Placement.ARGUMENT, template="{username}/{password}"),
    )
    leases.add(credential("crm", *rules), username="ann", password=MARK)
    plane = await started(leases)
    done = await perform(plane, call("login", password="{{lease:crm}}", keys=["{{lease:crm}}"]))
    assert isinstance(done, Performed)
    (attached,) = plane.upstream.attached
    assert attached.headers[0][1].startswith("Basic ")
    assert attached.query == (("key", MARK),)
    assert attached.env == (("PGPASSWORD", MARK),)
    assert attached.arguments == {"{{lease:crm}}": f"ann/{MARK}"}
    # What was judged, recorded and digested is the placeholder.
    assert plane.upstream.received[0].arguments["password"] == "{{lease:crm}}"


async def test_a_placeholder_credential_is_leased_only_for_calls_that_name_it() -> None:
    leases = ScriptedLeases()
    leases.add(credential("crm", ARGUMENT), token=MARK)
    plane = await started(leases)
    await perform(plane, call("login", body="hello"))
    assert leases.uses == {}
    await perform(plane, call("login", password="{{lease:crm}}"))
    assert list(leases.uses.values()) == [0]


async def test_an_echoed_secret_is_taken_out_counted_and_recorded() -> None:
    leases = ScriptedLeases()
    leases.add(credential(), token=MARK)
    plane = await started(leases)

    async def echo(action: Action, flight: Any, sink: Any) -> Reply:
        await sink.notify("notifications/message", {"data": f"got {MARK}"})
        await sink.ask(
            ClientRequest(key="a", method="elicitation/create", params={"message": MARK})
        )
        return Reply(result={"content": [{"type": "text", "text": f"Bearer {MARK}"}], MARK: 1})

    plane.upstream.scripts["look"] = echo
    sink = ListSink(answers=[{"action": "decline"}])
    done = await perform(plane, call("look"), sink=sink)
    assert isinstance(done, Performed)
    assert MARK not in str(done.reply.result)
    assert "[credential removed]" in str(done.reply.result)
    assert MARK not in str(sink.notified)
    assert MARK not in str(sink.asked[0].params)
    seen = [r for r in await plane.records() if isinstance(r, Observed)]
    (echoed,) = [r for r in seen if r.what == "credential_echoed"]
    assert echoed.details["removed"] == 4
    assert (
        "repeated a credential"
        in [r.detail for r in await plane.records() if isinstance(r, Outcome)][-1]
    )


async def test_a_rotated_credential_is_used_by_the_next_call_and_the_old_one_drained() -> None:
    leases = ScriptedLeases()
    leases.add(credential(), token=MARK)
    plane = await started(leases)
    await perform(plane, call("look"))
    run = next(iter(leases.live))[0]
    leases.replace(run, "crm", token="another-token")
    await perform(plane, call("look"))
    first, second = plane.upstream.attached
    assert first.leases != second.leases
    assert second.headers == (("Authorization", "Bearer another-token"),)
    assert plane.upstream.released == [(first.leases[0], True)]


async def test_revoking_the_credential_cuts_what_flies_with_it_and_refuses_what_follows() -> None:
    leases = ScriptedLeases()
    leases.add(credential(), token=MARK)
    plane = await started(leases)
    flying = asyncio.Event()

    async def hang(action: Action, flight: Any, sink: Any) -> Reply:
        flying.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    plane.upstream.scripts["look"] = hang
    doing = asyncio.ensure_future(perform(plane, call("look")))
    await flying.wait()
    scope = Scope(kind=ScopeKind.CREDENTIAL, id="crm")
    receipt = await plane.interruption.revoke(scope, reason="leaked", author=OPERATOR)
    assert len(receipt.impact.cut) == 1
    assert isinstance(await doing, Refused)
    assert (await outcome(plane)).state is Terminal.INTERRUPTED
    again = await perform(plane, call("look"))
    assert isinstance(again, Refused)
    assert len(plane.upstream.received) == 1
    assert (await outcome(plane)).state is Terminal.DENIED


async def test_a_lease_that_ends_cuts_what_flies_with_it() -> None:
    leases = ScriptedLeases()
    leases.add(credential(), token=MARK)
    plane = await started(leases)
    flying = asyncio.Event()

    async def hang(action: Action, flight: Any, sink: Any) -> Reply:
        flying.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    plane.upstream.scripts["look"] = hang
    doing = asyncio.ensure_future(perform(plane, call("look")))
    await flying.wait()
    (run, name) = next(iter(leases.live))
    leases.take_back(run, name)
    done = await doing
    assert "lease of credential crm is over" in why(done).text
    assert plane.upstream.released[0][1] is False
    assert list(leases.uses.values()) == [0]


async def test_a_lease_that_ends_while_another_is_made_leaves_no_secret_behind() -> None:
    leases, signed = ScriptedLeases(), list[str]()
    leases.add(credential("a", Injection(placement=Placement.DPOP, name="x")), token=MARK)
    leases.add(credential("b"), token="other")
    gate = leases.gates["b"] = asyncio.Event()

    def signer(by: Credential, placement: Placement, secret: Any) -> Any:
        signed.append(by.name)
        raise AssertionError(placement, secret)

    plane = await started(leases, signers=signer)
    doing = asyncio.ensure_future(perform(plane, call("look")))
    while not leases.live:
        await asyncio.sleep(0)
    (run, name) = next(iter(leases.live))
    leases.take_back(run, name)
    gate.set()
    assert isinstance(await doing, Refused)
    assert signed == []
    assert plane.upstream.received == []


async def test_without_a_broker_a_placeholder_is_refused_all_the_same() -> None:
    plane = await started(None)
    done = await perform(plane, call("login", password="{{lease:crm}}"))
    assert why(done).policy == "midflight:placeholder-misplaced"
