"""A placeholder written where it would publish the credential, or get one that is not meant."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import DenyCode
from midflight.domain.lease import Credential, Injection, Placement
from midflight.domain.records import Outcome, Terminal
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import ClientRequest, Reply
from midflight.testing import ListSink, MemoryPlane, ScriptedLeases, ScriptedUpstream, call, caller

pytestmark = pytest.mark.anyio

MARK = "mark-7f1c09ab55e2"
NAMED = "{{lease:crm}}"
LOGIN = Traits(
    effect=Effect.SEND,
    reach=Reach.CLOSED,
    reviewed=True,
    arguments=(
        Argument(path="password", role=Role.CREDENTIAL),
        Argument(path="body", role=Role.CONTENT),
        Argument(path="url", role=Role.URL),
    ),
)


def made(name: str, upstream: str, placement: Placement) -> Credential:
    return Credential(
        name=name,
        backend="memory",
        upstreams=frozenset({upstream}),
        injections=(Injection(placement=placement, name="X-Key"),),
    )


async def started() -> tuple[MemoryPlane, ScriptedLeases]:
    leases = ScriptedLeases()
    leases.add(made("crm", "one", Placement.ARGUMENT), token=MARK)
    leases.add(made("elsewhere", "two", Placement.ARGUMENT), token=MARK)
    leases.add(made("header-only", "one", Placement.HEADER), token="of-a-header")
    tools = [
        {"name": name, "description": "", "inputSchema": {"type": "object"}}
        for name in ("login", "guessed")
    ]
    plane = MemoryPlane(upstream=ScriptedUpstream("one", tools), leases=leases)
    await plane.start()
    await plane.pin("login", LOGIN)
    # A role that is only guessed by its name is not a reviewed one.
    await plane.pin("guessed", Traits(effect=Effect.SEND, reviewed=False))
    return plane, leases


async def refused(plane: MemoryPlane, action: Action, **more: Any) -> None:
    done = await plane.guard.perform(action, caller(), sink=ListSink(), **more)
    assert isinstance(done, Refused), action.arguments
    assert done.decision.reasons[0].policy == "midflight:placeholder-misplaced"
    assert plane.upstream.received == []
    last = [r for r in await plane.records() if isinstance(r, Outcome)][-1]
    assert (last.state, last.code) == (Terminal.DENIED, DenyCode.LEASE)


@pytest.mark.parametrize(
    "arguments",
    [
        {"body": NAMED},
        {"url": f"https://attacker.test/?k={NAMED}"},
        {"url": NAMED},
        {"password": f"x{NAMED}"},
        {"password": f"{NAMED} "},
        {"password": NAMED, "body": NAMED},
        {"undeclared": NAMED},
        {NAMED: "x"},
        {"password": {"inside": NAMED}},
        {"password": "{{ lease : crm }}"},
        {"password": "{{LEASE:crm}}"},
        {"password": "{{lease:CRM}}"},
        {"password": "{{lease:../crm}}"},
        {"password": "{{lease:}}"},
        {"password": "｛｛lease:crm｝｝"},
        {"password": "{{ｌｅａｓｅ：crm}}"},
        {"password": "{{l\u0435ase:crm}}"},
        {"password": "{{le\u200base:crm}}"},
        {"password": "%7B%7Blease%3Acrm%7D%7D"},
        {"password": "%257B%257Blease:crm%257D%257D"},
        {"password": "\\u007b\\u007blease:crm\\u007d\\u007d"},
        {"password": "&#123;&#123;lease:crm&#125;&#125;"},
        {"password": "{{lease:", "body": "crm}}"},
        {"body": "{{le", "password": "ase:crm}}"},
        {"password": "{{lease:elsewhere}}"},
        {"password": "{{lease:header-only}}"},
        {"password": "{{lease:nothing}}"},
    ],
)
async def test_a_placeholder_anywhere_but_in_a_reviewed_credential_argument(
    arguments: dict[str, Any],
) -> None:
    plane, leases = await started()
    await refused(plane, call("login", **arguments))
    assert leases.uses == {}


@pytest.mark.parametrize("password", ["password", "token", "secret"])
async def test_an_argument_that_only_looks_like_a_credential(password: str) -> None:
    plane, _ = await started()
    await refused(plane, call("guessed", **{password: NAMED}))


@pytest.mark.parametrize(
    "action",
    [
        Action(
            kind=ActionKind.CALL_TOOL,
            upstream="one",
            name="login",
            method="tools/call",
            params={"task": {"ttl": 1, "note": NAMED}},
        ),
        Action(
            kind=ActionKind.CALL_TOOL,
            upstream="one",
            name="login",
            method="tools/call",
            meta={"traceparent": NAMED},
        ),
    ],
)
async def test_a_placeholder_beside_the_arguments(action: Action) -> None:
    plane, _ = await started()
    await refused(plane, action)


async def test_a_placeholder_in_what_a_client_calls_itself() -> None:
    plane, _ = await started()
    await refused(plane, call("login", body="hello"), client_info={"name": NAMED, "version": "1"})


async def test_a_placeholder_in_the_answer_to_a_question() -> None:
    plane, _ = await started()

    async def ask(action: Action, flight: Any, sink: Any) -> Any:
        answer = await sink.ask(
            ClientRequest(key="a", method="elicitation/create", params={"message": "Key?"})
        )
        return Reply(result={"content": [{"type": "text", "text": str(answer)}]})

    plane.upstream.scripts["login"] = ask
    sink = ListSink(answers=[{"action": "accept", "content": {"key": NAMED}}])
    done = await plane.guard.perform(call("login", body="hi"), caller(), sink=sink)
    assert isinstance(done, Refused)
    codes = [r.code for r in await plane.records() if isinstance(r, Outcome)]
    assert DenyCode.LEASE in codes


async def test_text_that_only_speaks_of_leases_and_templates_passes() -> None:
    plane, _ = await started()
    for body in ("Dear {{ name }}, your lease: 100%", "lease:crm", "a % b & c \\ d {x}", "{}" * 9):
        done = await plane.guard.perform(call("login", body=body), caller(), sink=ListSink())
        assert isinstance(done, Performed), body


async def test_the_digest_and_the_records_are_those_of_the_placeholder() -> None:
    plane, leases = await started()
    action = call("login", password=NAMED)
    assert isinstance(await plane.guard.perform(action, caller(), sink=ListSink()), Performed)
    first = {r.digest for r in await plane.records() if hasattr(r, "digest") and r.digest}
    leases.secrets["crm"] = {"token": "another"}
    run = next(iter(leases.live))[0]
    leases.replace(run, "crm", token="another")
    assert isinstance(await plane.guard.perform(action, caller(), sink=ListSink()), Performed)
    assert {r.digest for r in await plane.records() if hasattr(r, "digest") and r.digest} == first
    everything = repr(await plane.records()).encode()
    assert MARK.encode() not in everything
    assert base64.b64encode(MARK.encode()) not in everything
