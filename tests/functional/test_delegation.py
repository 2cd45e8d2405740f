"""Delegation through the control API and the command line, under the standard policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import OPERATOR, WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app
from midflight.domain.decision import DenyCode
from midflight.domain.errors import Conflict, Forbidden, Malformed, NotFound
from midflight.domain.identity import Caller
from midflight.domain.labels import Confidentiality, Labels
from midflight.services.guard import Performed, Refused
from midflight.testing import ListSink, call

READER = "spiffe://midflight.internal/agents/reader"


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        running.register()
        running.register(READER)
        running.pin("read_ticket", "read", "closed")
        running.pin("send_mail", "send", "open")
        yield running


def delegate(plane: RunningPlane, parent: str, **more: Any) -> dict[str, Any]:
    fields = {"workload": READER, "text": "Read ticket 7."} | more
    return plane.client.post(f"/v1/runs/{parent}/delegate", **fields)


def act(plane: RunningPlane, run: str, tool: str, *, workload: str = READER) -> Performed | Refused:
    who = Caller(
        workload=workload, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
    )
    return plane.do(
        lambda: plane.plane.guard.perform(call(tool, upstream="desk"), caller=who, sink=ListSink())
    )


def midflight(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def good(*words: str) -> Result:
    result = midflight(*words)
    assert result.exit_code == 0, result.stderr
    return result


def test_a_child_run_has_its_parents_intent_and_less_of_everything(plane: RunningPlane) -> None:
    parent = plane.open_run("Answer the tickets of today.")
    child = delegate(plane, parent, only=["desk/read_ticket"], effects=["read"], max_steps=7)
    assert child["intent"] == "Answer the tickets of today."
    assert child["delegated"] == "Read ticket 7."
    assert (child["parent"], child["depth"], child["max_steps"]) == (parent, 1, 7)
    assert child["narrowed"] == {"only": ["desk/read_ticket"], "effects": ["read"]}
    above = plane.client.get(f"/v1/runs/{parent}")
    assert child["expires_at"] <= above["expires_at"]
    assert (above["children"], above["steps"]) == ([child["id"]], 7)
    assert isinstance(act(plane, child["id"], "read_ticket"), Performed)
    refused = act(plane, child["id"], "send_mail")
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.NARROWED  # type: ignore[union-attr]
    (opened,) = [r for r in plane.records("run_opened") if r["parent"] == parent]
    assert (opened["run"], opened["author"], opened["depth"]) == (child["id"], OPERATOR, 1)
    assert "Read ticket" not in json.dumps(opened)


def test_a_token_for_a_child_run_is_for_its_own_workload(plane: RunningPlane) -> None:
    child = delegate(plane, plane.open_run())["id"]
    minted = plane.client.post("/v1/tokens", workload=READER, run=child)
    assert minted["token"].count(".") == 2
    with pytest.raises(NotFound):
        plane.client.post("/v1/tokens", workload=WORKLOAD, run=child)


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"text": "  "}, Malformed, "words"),
        ({"text": "x" * 70_000}, Malformed, "words"),
        ({"only": []}, Malformed, "left out"),
        ({"effects": []}, Malformed, "left out"),
        ({"only": ["dask/read_ticket"]}, Malformed, "dask"),
        ({"only": ["desk/"]}, Malformed, "desk/"),
        ({"effects": ["fly"]}, Malformed, "effects"),
        ({"intent": "Pay the attacker."}, Malformed, "intent"),
        ({"ttl_s": 0}, Conflict, "lives"),
        ({"ttl_s": 1_000_000}, Conflict, "lives"),
        ({"max_steps": 0}, Conflict, "at least one step"),
        ({"max_steps": -5}, Conflict, "at least one step"),
        ({"max_steps": 2_000}, Conflict, "steps left"),
        ({"workload": "spiffe://midflight.internal/agents/nobody"}, NotFound, "nobody"),
    ],
)
def test_what_cannot_be_delegated_is_refused_and_costs_nothing(
    plane: RunningPlane, more: dict[str, Any], error: type[Exception], words: str
) -> None:
    parent = plane.open_run()
    with pytest.raises(error, match=words):
        delegate(plane, parent, **more)
    assert plane.client.get(f"/v1/runs/{parent}")["children"] == []
    assert plane.client.get(f"/v1/runs/{parent}")["steps"] == 0


def test_nothing_is_delegated_by_a_run_that_is_not_open(plane: RunningPlane) -> None:
    parent = plane.open_run()
    plane.client.post(f"/v1/runs/{parent}/close")
    with pytest.raises(Conflict, match="has ended"):
        delegate(plane, parent)
    with pytest.raises(NotFound):
        delegate(plane, "run_nothing")


def test_the_standard_policies_let_nobody_around_themselves_by_delegating(
    plane: RunningPlane,
) -> None:
    parent = plane.open_run()
    plane.register(READER, owner="somebody-else")
    with pytest.raises(Forbidden, match="approval of owner") as caught:
        delegate(plane, parent)
    assert "standard/delegate-owner" in str(caught.value)
    plane.register(READER, team="quarantine")
    with pytest.raises(Forbidden, match="standard/quarantine"):
        delegate(plane, parent)
    plane.register(READER)
    plane.register(mode="lockdown")
    with pytest.raises(Forbidden, match="standard/lockdown"):
        delegate(plane, parent)
    plane.register()
    plane.client.post("/v1/workloads/disable", id=READER)
    with pytest.raises(Forbidden, match="disabled"):
        delegate(plane, parent)


def test_listeners_hear_of_a_return(plane: RunningPlane) -> None:
    heard: list[tuple[str, ...]] = []
    plane.plane.runs.on_returned(lambda *said: heard.append(("returned", *said)))
    parent = plane.open_run()
    child = delegate(plane, parent, text="Read it.")["id"]
    grandchild = delegate(plane, child, text="You read it.")["id"]
    plane.client.post(f"/v1/runs/{child}/close")
    assert heard == [
        ("returned", child, parent),
        ("returned", grandchild, child),
    ]


def test_a_sibling_for_another_workload_does_not_get_the_label(plane: RunningPlane) -> None:
    # Nothing of what the one has read reaches it but by the parent, which has to delegate again.
    parent, writing = plane.open_run(), "spiffe://midflight.internal/agents/writer"
    plane.register(writing)
    reader, writer = (delegate(plane, parent, workload=w)["id"] for w in (READER, writing))
    secret = Labels(confidentiality=Confidentiality.SECRET)

    async def join() -> None:
        live = plane.plane.runs.live(reader)
        assert live is not None
        await plane.plane.runs.join_labels(live, secret, source="rec_1")

    plane.do(join)
    levels = {r["id"]: r["labels"]["confidentiality"] for r in plane.client.get("/v1/runs")}
    assert levels == {parent: 2, reader: 2, writer: 0}
    assert plane.client.get(f"/v1/runs/{parent}")["labels_source"] == f"rec_1@{reader}"


def test_a_run_is_delegated_seen_and_falls_from_the_command_line(plane: RunningPlane) -> None:
    parent = plane.open_run()
    words = ("--workload", "agents/reader", "--text", "Read ticket 7.")
    result = good(
        "run", "delegate", parent, *words, "--only", "desk/read_ticket", "--effect", "read",
        "--ttl", "5m", "--max-steps", "3", "--json",
    )  # fmt: skip
    child = json.loads(result.stdout)
    assert child["max_steps"] == 3
    assert f"--run {child['id']}" in result.stderr
    shown = good("run", "show", child["id"]).stdout
    for said in (parent, "only desk/read_ticket; effects read", "Read ticket 7."):
        assert said in shown
    assert child["id"] in good("run", "show", parent).stdout
    listed = good("run", "list", "--json").stdout
    assert [(r["id"], r["depth"], r["children"]) for r in json.loads(listed)] == [
        (child["id"], 1, []),
        (parent, 0, [child["id"]]),
    ]
    assert parent in good("run", "list", "--workload", "agents/reader").stdout
    good("workload", "token", "agents/reader", "--run", child["id"])
    assert f"under {parent}" in good("ledger", "tail").stdout
    good("revoke", "run", parent, "--reason", "enough")
    assert json.loads(good("run", "show", child["id"], "--json").stdout)["state"] == "revoked"
    refused = midflight("run", "delegate", parent, *words)
    assert refused.exit_code == 1
    assert "has ended" in refused.stderr
    bad = midflight("run", "delegate", parent, *words, "--ttl", "soon")
    assert bad.exit_code == 2
