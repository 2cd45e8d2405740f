"""Getting secret data out of a run: encoded, cut up, as an answer, or from a field nobody reviewed.

With the standard pack as it is shipped. The run's label does not look at what is sent, so no
spelling gets around it; what nobody has labelled is found by the names of fields.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

import midflight
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Challenge, Deny
from midflight.domain.labels import Confidentiality
from midflight.domain.records import Outcome
from midflight.domain.traits import Argument, Effect, FieldKind, Reach, Role, Traits, Yield
from midflight.services.guard import Performed, Refused
from midflight.services.policy_files import read_sources
from midflight.services.ports.upstream import ClientRequest, Reply
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

PACK = Path(midflight.__file__).parent / "policies" / "standard"
SECRET = "hunter2-correct-horse"
SCHEMA = {"type": "object", "additionalProperties": True}
LABELLED = (Yield(path="$.value", kind=FieldKind.SYSTEM, confidentiality=Confidentiality.SECRET),)
MAIL = (
    Argument(path="to", role=Role.RECIPIENT),
    Argument(path="body", role=Role.CONTENT),
    Argument(path="subject", role=Role.TITLE),
)
INTENT = "Look up the value and mail the report to ann@example.org."


async def plane_with(yields: tuple[Yield, ...], said: dict[str, Any]) -> tuple[MemoryPlane, str]:
    tools = {
        "look": Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True, yields=yields),
        "fetch": Traits(effect=Effect.READ, reach=Reach.OPEN, reviewed=True),
        "send_mail": Traits(effect=Effect.SEND, reach=Reach.OPEN, reviewed=True, arguments=MAIL),
        "ask": Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
    }
    standard = CedarCompiler().parse(read_sources(PACK))
    plane = MemoryPlane(
        upstream=ScriptedUpstream("one", [{"name": n, "inputSchema": SCHEMA} for n in tools]),
        engine=CedarEngine(standard, ()),
        reach=Reach.OPEN,
    )

    async def tell(action: Any, flight: Any, sink: Any) -> Reply:
        return Reply(result={"structuredContent": said, "content": []})

    plane.upstream.scripts["look"] = tell
    plane.monitors.declare(standard.monitors)
    await plane.start()
    for name, traits in tools.items():
        await plane.pin(name, traits)
    workload = plane.inventory.current(WORKLOAD)
    assert workload is not None
    run = await plane.runs.open_run(workload=workload, intent=INTENT, author=OPERATOR)
    return plane, run.id


async def act(plane: MemoryPlane, run: str, action: Action, **more: Any) -> Performed | Refused:
    return await plane.guard.perform(action, caller(run), sink=ListSink(**more))


def spelt(secret: str) -> dict[str, list[Action]]:
    """Ways out, each as the actions that would bring the secret there."""
    to = "ann@example.org"
    half = len(secret) // 2
    return {
        "as it is": [call("send_mail", to=to, body=secret)],
        "in base64": [call("send_mail", to=to, body=base64.b64encode(secret.encode()).decode())],
        "in hex": [call("send_mail", to=to, body=secret.encode().hex())],
        "shifted": [call("send_mail", to=to, body="".join(chr(ord(c) + 1) for c in secret))],
        "described": [call("send_mail", to=to, body="It begins with h and has 21 letters.")],
        "over two arguments": [call("send_mail", to=to, subject=secret[:half], body=secret[half:])],
        "over two calls": [
            call("send_mail", to=to, body=secret[:half]),
            call("send_mail", to=to, body=secret[half:]),
        ],
        "in an address": [call("fetch", url=f"https://example.org/{secret}")],
        "in a resource": [
            Action(
                kind=ActionKind.READ_RESOURCE,
                upstream="one",
                name=f"https://example.org/{secret}",
                method="resources/read",
            )
        ],
        "in a completion": [
            Action(
                kind=ActionKind.COMPLETE,
                upstream="one",
                name="x",
                method="completion/complete",
                arguments={"name": "x", "value": secret},
            )
        ],
        "in a cursor": [
            Action(
                kind=ActionKind.LIST,
                upstream="one",
                name="resources/list",
                method="resources/list",
                params={"cursor": secret},
            )
        ],
        "in a notice": [
            Action(
                kind=ActionKind.NOTIFY,
                upstream="one",
                name="notifications/progress",
                method="notifications/progress",
                arguments={"progressToken": 1, "progress": 1, "message": secret},
            )
        ],
        "beside a task": [
            Action(
                kind=ActionKind.TASK,
                upstream="one",
                name="task-1",
                method="tasks/get",
                params={"note": secret},
            )
        ],
    }


@pytest.mark.parametrize("way", spelt("x"))
async def test_a_run_that_has_read_a_labelled_secret_reaches_nobody_outside(way: str) -> None:
    plane, run = await plane_with(LABELLED, {"value": SECRET})
    assert isinstance(await act(plane, run, call("look")), Performed)
    before = len(plane.upstream.received)
    for action in spelt(SECRET)[way]:
        done = await act(plane, run, action)
        assert isinstance(done, Refused)
        assert isinstance(done.decision, Deny)
        assert "standard/secret-to-open" in [r.policy for r in done.decision.reasons]
    assert len(plane.upstream.received) == before


async def test_the_same_ways_are_open_to_a_run_that_has_read_none() -> None:
    plane, run = await plane_with((), {"value": "42 apples"})
    assert isinstance(await act(plane, run, call("look")), Performed)
    [action] = spelt("42 apples")["as it is"]
    assert isinstance(await act(plane, run, action), Performed)


async def test_a_secret_is_no_answer_to_a_question_from_outside() -> None:
    plane, run = await plane_with(LABELLED, {"value": SECRET})
    heard: list[Any] = []

    async def ask(action: Any, flight: Any, sink: Any) -> Reply:
        heard.append(await sink.ask(ClientRequest(key="q", method="elicitation/create", params={})))
        return Reply(result={"content": []})

    plane.upstream.scripts["ask"] = ask
    await act(plane, run, call("look"))
    encoded = base64.b64encode(SECRET.encode()).decode()
    answer = {"action": "accept", "content": {"note": encoded}}
    done = await act(
        plane, run, call("ask"), answers=[answer], capabilities={"elicitation": {"form": {}}}
    )
    assert isinstance(done, Refused)
    assert heard == []
    refused = [r for r in await plane.records() if isinstance(r, Outcome) and r.facts]
    policies = {reason.policy for record in refused for reason in record.reasons}
    assert "standard/secret-to-open" in policies


@pytest.mark.parametrize(
    "said",
    [
        {"password": SECRET},
        {"user": "ann", "apiKey": SECRET},
        {"rows": [{"recovery_code": SECRET}]},
    ],
)
@pytest.mark.parametrize(
    "spelling",
    [
        str,
        str.upper,
        lambda s: f"It is {s}, you know.",
        lambda s: base64.b64encode(s.encode()).decode(),
        lambda s: f"see {base64.b64encode(s.encode()).decode()} there",
        lambda s: s.encode().hex(),
        lambda s: "".join(f"%{ord(c):02x}" for c in s),
        "\u200b".join,
    ],
)
async def test_what_is_called_like_a_secret_is_asked_for_before_it_is_sent(
    said: dict[str, Any], spelling: Any
) -> None:
    plane, run = await plane_with((), said)
    assert isinstance(await act(plane, run, call("look")), Performed)
    sent = call("send_mail", to="ann@example.org", body=spelling(SECRET))
    done = await act(plane, run, sent)
    assert isinstance(done, Refused)
    assert isinstance(done.decision, Challenge)
    assert "standard/content" in [r.policy for r in done.decision.reasons]


async def test_a_secret_that_the_principal_said_may_go_where_he_says() -> None:
    plane, run = await plane_with((), {"password": SECRET})
    workload = plane.inventory.current(WORKLOAD)
    assert workload is not None
    intent = f"Mail the password {SECRET} to ann@example.org."
    said = await plane.runs.open_run(workload=workload, intent=intent, author=OPERATOR)
    assert isinstance(await act(plane, said.id, call("look")), Performed)
    sent = call("send_mail", to="ann@example.org", body=f"It is {SECRET}.")
    assert isinstance(await act(plane, said.id, sent), Performed)
    del run
