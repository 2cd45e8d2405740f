"""Monitors as operators handle them: declared beside policies, listed, set back, replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import OPERATOR, WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app
from midflight.domain.errors import Misconfigured
from midflight.domain.identity import Caller
from midflight.services.guard import Performed, Refused
from midflight.testing import ListSink, call

MAILS = '[[monitor]]\nname = "mails"\nkind = "count"\nper = "run"\ntools = ["send_mail"]\n'
LIMIT = (
    '@id("mine/mails") @reason("Two mails are enough.") @help("h")\n'
    'forbid (principal, action in Action::"send", resource) when { context.run.mails > 2 };\n'
)


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        running.register()
        only_monitors(running)
        running.pin("send_mail", "send", "closed")
        yield running


def only_monitors(plane: RunningPlane) -> None:
    """Leave of the standard pack its monitors: what its policies say is not the matter here."""
    pack = plane.config.parent / "policies" / "standard"
    for path in [*pack.glob("*.cedar"), *pack.glob("*/*.json")]:
        path.unlink()
    write(plane, "all.cedar", '@id("all") @reason("r") permit (principal, action, resource);')
    plane.client.post("/v1/policies/activate")


def midflight(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def said(*words: str) -> Any:
    result = midflight(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def write(plane: RunningPlane, name: str, text: str) -> None:
    (plane.config.parent / "policies" / name).write_text(text, encoding="utf-8")


def send(plane: RunningPlane, run: str) -> Performed | Refused:
    who = Caller(
        workload=WORKLOAD, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
    )
    action = call("send_mail", upstream="desk", to="ann@example.org")
    return plane.do(lambda: plane.plane.guard.perform(action, who, sink=ListSink()))


def test_values_are_listed_and_set_back(plane: RunningPlane) -> None:
    run = plane.open_run()
    assert isinstance(send(plane, run), Performed)
    found = {monitor["name"]: monitor for monitor in said("monitor", "list")}
    assert set(found) == {"effects_per_minute", "paid_per_day", "recipients", "takeover"}
    assert found["effects_per_minute"]["scopes"] == [{"scope": run, "value": 1}]
    assert found["paid_per_day"] | {"about": ""} == {
        "name": "paid_per_day",
        "kind": "sum",
        "per": "workload",
        "counts": "permitted",
        "window_s": 86_400,
        "about": "",
        "lost": False,
        "scopes": [],
    }
    table = midflight("monitor", "list").stdout
    assert run in table
    assert "paid_per_day" in table
    assert midflight("monitor", "reset", "effects_per_minute", "--yes").exit_code == 0
    [record] = [r for r in plane.records("changed") if r["what"] == "monitor.reset"]
    assert record["author"] == OPERATOR
    found = {monitor["name"]: monitor for monitor in said("monitor", "list")}
    assert found["effects_per_minute"]["scopes"] == []


def test_a_monitor_that_is_not_there_is_not_set_back(plane: RunningPlane) -> None:
    result = midflight("monitor", "reset", "nobody", "--yes")
    assert result.exit_code == 1
    assert "`midflight monitor list` shows them" in result.stderr
    assert midflight("monitor", "reset", "takeover").exit_code == 1  # not asked, not done


def test_a_monitor_and_the_policy_that_reads_it_are_activated_together(
    plane: RunningPlane,
) -> None:
    run = plane.open_run()
    before = plane.client.get("/v1/policies")["version"]
    write(plane, "mine.cedar", LIMIT)
    with pytest.raises(Misconfigured) as caught:
        plane.client.post("/v1/policies/activate")
    assert any("context.run.mails, which every run has not" in p for p in caught.value.problems)
    assert plane.client.get("/v1/policies")["version"] == before
    checked = midflight("check")
    assert checked.exit_code == 1
    assert "no monitor declares" in checked.stdout
    assert isinstance(send(plane, run), Performed)

    write(plane, "mine.toml", MAILS)
    assert midflight("check").exit_code == 0
    plane.client.post("/v1/policies/activate")
    outcomes = [send(plane, run) for _ in range(3)]
    assert [isinstance(done, Performed) for done in outcomes] == [True, True, False]


def test_a_declaration_that_is_wrong_leaves_the_old_set(plane: RunningPlane) -> None:
    before = plane.client.get("/v1/policies")["version"]
    write(plane, "mine.toml", MAILS + 'windw = "1m"\nplaces = 3\n')
    with pytest.raises(Misconfigured) as caught:
        plane.client.post("/v1/policies/activate")
    assert [p.split(": ")[0] for p in caught.value.problems] == ["mine.toml:1", "mine.toml:1"]
    assert plane.client.get("/v1/policies")["version"] == before


def test_a_change_of_a_declaration_is_followed_like_one_of_a_policy(plane: RunningPlane) -> None:
    before = plane.client.get("/v1/policies")["version"]
    write(plane, "mine.toml", MAILS)

    async def reload() -> bool:
        return await plane.plane.policies.reload_if_changed()

    assert plane.do(reload)
    assert plane.client.get("/v1/policies")["version"] != before
    assert "mails" in {monitor["name"] for monitor in said("monitor", "list")}


def test_a_decision_is_derived_again_from_what_monitors_said(plane: RunningPlane) -> None:
    write(plane, "mine.cedar", LIMIT)
    write(plane, "mine.toml", MAILS)
    plane.client.post("/v1/policies/activate")
    run = plane.open_run()
    done = [send(plane, run) for _ in range(3)]
    refused = done[2]
    assert isinstance(refused, Refused)
    found = said("explain", refused.record)
    assert found["facts"]["run"]["monitors"]["mails"] == 3
    assert (found["decided"], found["same"]) == ("deny", True)
    assert [r["policy"] for r in found["derived"]["then"]["reasons"]] == ["mine/mails"]
    assert said("explain", done[1].record)["same"] is True

    # Another day: the limit is another, and so is the monitor.
    write(plane, "mine.cedar", LIMIT.replace("mails > 2", "letters > 9"))
    write(plane, "mine.toml", MAILS.replace("mails", "letters"))
    plane.client.post("/v1/policies/activate")
    found = said("explain", refused.record)
    assert found["same"] is True
    assert found["derived"]["now"]["type"] == "permit"
    assert found["derived"]["note"] == "Not declared then, so taken as 0 now: letters."


@pytest.mark.parametrize(
    ("case", "said_"),
    [
        ({"run": {"monitors": {"mials": 1}}}, "sets a monitor that no file declares: mials"),
        ({"run": {"monitors": {"mails": "3"}}}, "monitors"),
    ],
)
def test_a_case_that_sets_what_nobody_declares_is_refused(
    plane: RunningPlane, case: dict[str, Any], said_: str
) -> None:
    write(plane, "mine.toml", MAILS)
    folder = plane.config.parent / "policies" / "DENY"
    folder.mkdir()
    (folder / "x.json").write_text(json.dumps({"question": case}))
    result = midflight("check")
    assert result.exit_code == 1
    assert said_ in result.stdout
