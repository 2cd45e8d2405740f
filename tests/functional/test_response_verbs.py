"""Responses by the command line and the control API, over a real plane on files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app
from midflight.domain.finding import Finding, Strength
from midflight.domain.identity import Caller
from midflight.services.guard import Performed, Refused
from midflight.testing import ListSink, call

BROKEN = '[[response]]\nrespond = "sleep"\nscope = "owner"\n'
MILD = '[[response]]\ndetector = "probing"\nrespond = "note"\n'


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        running.register()
        running.pin("send_mail", "send", "closed")
        running.pin("read_ticket", "read", "closed")
        yield running


def midflight(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def good(*words: str) -> str:
    result = midflight(*words)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def act(plane: RunningPlane, run: str, tool: str) -> Performed | Refused:
    who = Caller(
        workload=WORKLOAD, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
    )

    async def perform() -> Performed | Refused:
        return await plane.plane.guard.perform(call(tool, upstream="desk"), who, sink=ListSink())

    return plane.do(perform)


def find(plane: RunningPlane, run: str, strength: Strength) -> None:
    async def found() -> None:
        plane.plane.watching.detection.found(
            Finding(
                id="fnd_1",
                at=plane.plane.clock.now(),
                detector="probing",
                strength=strength,
                workload=WORKLOAD,
                run=run,
                seen="12 refusals within a minute",
            )
        )

    plane.do(found)


def test_a_finding_holds_a_run_and_an_operator_lifts_it(plane: RunningPlane) -> None:
    assert "Nothing is held" in midflight("response", "list").stderr
    run = plane.open_run()
    find(plane, run, Strength.STRONG)
    refused = act(plane, run, "send_mail")
    assert isinstance(refused, Refused)
    assert [r.policy for r in refused.decision.reasons] == ["standard/quarantined"]
    assert isinstance(act(plane, run, "read_ticket"), Performed)
    [listed] = json.loads(good("response", "list", "--json"))
    held = listed["response"]
    assert (held["level"], held["author"], listed["durable"]) == (
        "quarantine",
        "detector:probing",
        True,
    )
    assert "12 refusals" in good("response", "list")
    shown = good("response", "show", held["id"])
    assert "detector:probing (finding:fnd_1)" in shown
    assert midflight("response", "show", "rsp_none").exit_code == 1
    assert "lifts" in good("response", "lift", held["id"], "--reason", "a load test")
    assert isinstance(act(plane, run, "send_mail"), Performed)
    assert midflight("response", "lift", held["id"], "--reason", "again").exit_code == 1
    kinds = [r["response"]["lifts"] for r in plane.records("responded")]
    assert kinds == ["", held["id"]]


def test_an_operator_holds_a_workload_for_a_time(plane: RunningPlane) -> None:
    run = plane.open_run()
    said: dict[str, Any] = json.loads(
        good(
            "response", "add", "workload", "agents/triage", "--level", "challenge",
            "--reason", "looks odd", "--for", "20m", "--json",
        )
    )  # fmt: skip
    held = said["response"]
    assert round(held["until"] - held["at"]) == 1_200
    assert isinstance(act(plane, run, "send_mail"), Refused)
    [record] = plane.records("responded")
    assert record["response"]["author"] == "olivia"
    for words in (
        ("run", "run_none", "--level", "challenge", "--reason", "r"),
        ("workload", "agents/none", "--level", "challenge", "--reason", "r"),
        ("run", run, "--level", "challenge", "--reason", "r", "--for", "30d"),
        ("run", run, "--level", "challenge", "--reason", " "),
        ("run", run, "--level", "revoke", "--reason", "r"),
        ("owner", "ann", "--level", "challenge", "--reason", "r"),
        ("run", run, "--level", "challenge", "--reason", "r", "--for", "soon"),
    ):
        assert midflight("response", "add", *words).exit_code != 0, words
    assert len(json.loads(good("response", "list", "--json"))) == 1


def test_a_changed_file_of_responses_is_another_version_and_is_checked_whole(
    plane: RunningPlane,
) -> None:
    before = plane.plane.policies.version
    file = plane.plane.settings.policy.directory / "standard" / "responses.toml"
    usual = file.read_text()
    file.write_text(BROKEN + usual)
    checked = midflight("check")
    assert checked.exit_code == 1
    said = checked.stdout + checked.stderr
    assert "`respond` is none of note, risk, throttle" in said
    assert "`scope` is none of run, workload" in said
    assert midflight("policy", "reload").exit_code != 0
    assert plane.plane.policies.version == before
    file.write_text(MILD + usual)
    good("policy", "reload")
    assert plane.plane.policies.version != before
    run = plane.open_run()
    find(plane, run, Strength.STRONG)
    assert isinstance(act(plane, run, "send_mail"), Performed)


def test_what_was_decided_while_held_is_derived_again(plane: RunningPlane) -> None:
    """I6: the standing is a fact of the record, so a lift changes no explanation."""
    run = plane.open_run()
    find(plane, run, Strength.STRONG)
    refused = act(plane, run, "send_mail")
    assert isinstance(refused, Refused)
    [held] = json.loads(good("response", "list", "--json"))
    good("response", "lift", held["response"]["id"], "--reason", "fine")
    explained = json.loads(good("explain", refused.record, "--json"))
    assert explained["same"] is True
    assert "standard/quarantined" in json.dumps(explained)
