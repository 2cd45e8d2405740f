"""`midflight approver` over the control socket of a real plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from control_kit import RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app

RUNNER = CliRunner()


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        yield running


def midflight(*words: str) -> Result:
    return RUNNER.invoke(app, list(words))


def good(*words: str) -> Result:
    result = midflight(*words)
    assert result.exit_code == 0, result.stderr
    return result


def test_an_account_is_made_listed_changed_and_disabled(plane: RunningPlane) -> None:
    assert "There are none." in good("approver", "list").stderr
    made = good("approver", "add", "alice", "--group", "payments-oncall", "--group", "security")
    assert "midflight approver enroll alice" in made.stderr
    (listed,) = json.loads(good("approver", "list", "--json").stdout)
    assert (listed["name"], listed["groups"]) == ("alice", ["payments-oncall", "security"])
    assert (listed["passkeys"], listed["totp"], listed["by"]) == (0, False, "olivia")
    good("approver", "groups", "alice", "--group", "security")
    good("approver", "disable", "alice")
    (listed,) = json.loads(good("approver", "list", "--json").stdout)
    assert (listed["groups"], listed["disabled"]) == (["security"], True)
    good("approver", "enable", "alice")
    good("approver", "reset", "alice")
    told = [r["what"] for r in plane.records("changed") if r["what"].startswith("approver")]
    assert told == [
        "approver.add alice",
        *["approver.change alice"] * 3,
        "approver.reset alice",
    ]


def test_a_code_to_enrol_is_printed_once_and_recorded_without_it(plane: RunningPlane) -> None:
    good("approver", "add", "alice")
    printed = good("approver", "enroll", "alice")
    code = printed.stdout.strip()
    assert len(code.replace("-", "")) == 25
    assert "/approve/enroll before" in printed.stderr
    assert code not in json.dumps(plane.records("changed"))
    redeemed = plane.do(lambda: plane.plane.approvers.accounts.redeem(code.lower()))
    assert redeemed.name == "alice"


@pytest.mark.parametrize("words", [("add", "Owner"), ("add", "x", "--group", "owner")])
def test_names_that_would_be_mistaken_are_refused(
    plane: RunningPlane, words: tuple[str, ...]
) -> None:
    refused = midflight("approver", *words)
    assert refused.exit_code != 0
    assert "An approver or a group is called by" in refused.stderr
    assert plane.client.get("/v1/approvers") == []


def test_what_is_not_there_is_said(plane: RunningPlane) -> None:
    for verb in ("enroll", "disable", "reset"):
        refused = midflight("approver", verb, "nobody")
        assert refused.exit_code != 0
        assert "There is no approver nobody." in refused.stderr
    assert plane.records("changed") == [
        r for r in plane.records("changed") if "approver" not in r["what"]
    ]


def test_a_token_of_an_operator_lets_nobody_in(plane: RunningPlane) -> None:
    """What lies on loopback for ten minutes must not make an approver."""
    token = plane.client.post("/v1/operator/tokens", ttl_s=60)["token"]
    with httpx2.Client(
        base_url=f"http://127.0.0.1:{plane.api_port}",
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
    ) as http:
        assert http.get("/v1/approvers").json() == []
        for path, body in (
            ("/v1/approvers", {"name": "eve"}),
            ("/v1/approvers/enroll", {"name": "eve"}),
            ("/v1/approvers/change", {"name": "eve", "groups": ["security"]}),
            ("/v1/approvers/reset", {"name": "eve"}),
        ):
            answer = http.post(path, json=body)
            assert answer.status_code == 403, answer.text
            assert "control socket only" in answer.text
