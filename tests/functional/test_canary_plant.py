"""`midflight canary plant`: values, records, documents and credentials, each found when touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_kit import READ_TOOL, WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app
from midflight.domain.action import Action
from midflight.domain.decision import DenyCode
from midflight.domain.finding import Finding, Strength
from midflight.domain.identity import Caller
from midflight.domain.lease import Credential, Injection, Placement
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Flight, Reply, Sink
from midflight.testing import (
    OPERATOR,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

TOOL = READ_TOOL["name"]


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        running.register()
        yield running


def midflight(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def good(*words: str) -> Result:
    result = midflight(*words)
    assert result.exit_code == 0, result.stderr
    return result


def act(plane: RunningPlane, tool: str, **arguments: object) -> Performed | Refused:
    """In a run of its own, since what is found may end the run."""
    workload = plane.plane.inventory.current(WORKLOAD)
    assert workload is not None
    run = plane.do(
        lambda: plane.plane.runs.open_run(workload=workload, intent="Work.", author=OPERATOR)
    )
    who = Caller(
        workload=WORKLOAD, run=run.id, token="tok_1", proof="bearer", expires_at=4_000_000_000
    )
    return plane.do(
        lambda: plane.plane.guard.perform(
            call(tool, upstream="desk", **arguments), who, sink=ListSink()
        )
    )


@pytest.mark.parametrize("place", ["value", "record", "document"])
def test_what_is_planted_is_found_when_it_is_read_and_when_it_would_leave(
    plane: RunningPlane, place: str, tmp_path: Path
) -> None:
    found: list[Finding] = []
    plane.plane.watching.detection.respond_with(found.append)
    out = tmp_path / "planted"
    made = good("canary", "plant", "bait", "--in", place, "--upstream", "desk", "--out", str(out))
    text = out.read_text()
    assert out.stat().st_mode & 0o777 == 0o600
    assert text not in made.stdout + made.stderr
    assert not {"canary", "midflight", "bait"} & set(text.lower().replace("-", " ").split())
    plane.pin(TOOL, "read", "closed")
    plane.pin("send_mail", "send", "open")

    async def share(action: Action, flight: Flight, sink: Sink) -> Reply:
        del action, flight, sink
        return Reply(result={"content": [{"type": "text", "text": text}]})

    plane.upstream.scripts[TOOL] = share
    act(plane, TOOL)
    assert isinstance(act(plane, "send_mail", to="x@y.example", body=text), Refused)
    strong = [each for each in found if each.detector == "canary"]
    assert [each.name for each in strong] == [TOOL, "send_mail"]
    assert {each.strength for each in strong} == {Strength.STRONG}
    assert json.loads(good("canary", "list", "--json").stdout)[0]["name"] == "bait"


def test_no_two_plants_look_alike(plane: RunningPlane) -> None:
    del plane
    texts = {good("canary", "plant", f"bait-{n}", "--in", "record").stdout for n in range(3)}
    assert len({json.loads(text)["id"] for text in texts}) == 3


def test_a_credential_is_planted_by_its_placeholder(plane: RunningPlane) -> None:
    made = good("canary", "plant", "root-key", "--in", "credential", "--upstream", "desk")
    assert made.stdout.strip() == "{{lease:root-key}}"
    listed = json.loads(good("credential", "list", "--json").stdout)
    assert [(each["name"], each["backend"]) for each in listed] == [("root-key", "decoy")]
    assert not listed[0]["is_static"]  # it is no debt
    assert "A decoy" in good("credential", "test", "root-key").stdout
    assert midflight("canary", "plant", "other", "--in", "credential").exit_code != 0
    # Placed into a header, every honest call would lease it.
    words = ("--backend", "decoy", "--upstream", "desk", "--inject", "header:X={token}")
    assert midflight("credential", "add", "bad", *words).exit_code != 0


LOGIN = Traits(
    effect=Effect.SEND,
    reach=Reach.CLOSED,
    reviewed=True,
    arguments=(Argument(path="password", role=Role.CREDENTIAL),),
)


@pytest.mark.anyio
async def test_whoever_leases_a_planted_credential_is_found_and_gets_nothing() -> None:
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("login", "look")]
    made = MemoryPlane(upstream=ScriptedUpstream("one", tools), lists_with="")
    found: list[Finding] = []
    made.detection.respond_with(found.append)
    await made.start()
    await made.pin("login", LOGIN)
    await made.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
    credential = Credential(
        name="root-key",
        backend="decoy",
        upstreams=frozenset({"one"}),
        injections=(Injection(placement=Placement.ARGUMENT),),
    )
    await made.credentials.put(credential, author=OPERATOR)
    assert isinstance(await made.guard.perform(call("look"), caller(), sink=ListSink()), Performed)
    assert found == []
    action = call("login", password="{{lease:root-key}}")
    refused = await made.guard.perform(action, caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.reasons
    (finding,) = found
    assert (finding.detector, finding.strength, finding.name) == (
        "canary",
        Strength.STRONG,
        "root-key",
    )
    assert [each.name for each in made.upstream.received] == ["look"]
    assert DenyCode.CANARY.value not in str(made.upstream.attached)
    await made.close()
