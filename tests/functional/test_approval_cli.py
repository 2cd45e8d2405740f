"""`midflight approval` and `midflight counterparty` over the control socket of a real plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from approval_kit import asked
from control_kit import WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.approval_screen import CONCERNS
from midflight.apps.cli.main import app
from midflight.domain.action import Action
from midflight.domain.identity import Caller
from midflight.domain.provenance import Concern
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Flight, Reply, Sink
from midflight.testing import ListSink, call

RUNNER = CliRunner()
GROUPS = '[approvals]\ngroups = { ann = ["olivia"] }\nmax_pending = 3\n'


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path, extra=GROUPS) as running:
        monkeypatch.chdir(tmp_path)
        ready(running)
        yield running


def ready(running: RunningPlane) -> None:
    """Registered and pinned; a ticket holds addresses that somebody wrote there.

    Mail counts as a grant, which nobody asked for: that is asked about whoever gets it, also once
    he is endorsed.
    """
    running.register()
    running.pin("read_ticket", "read", "open")
    running.pin("send_mail", "grant", "closed")

    async def ticket(action: Action, flight: Flight, sink: Sink) -> Reply:
        text = "Please write to Bob@x.org or to carol@x.org about it."
        return Reply(result={"structuredContent": {"id": 1, "description": text}})

    running.upstream.scripts["read_ticket"] = ticket


def midflight(*words: str) -> Result:
    return RUNNER.invoke(app, list(words))


def good(*words: str) -> Result:
    result = midflight(*words)
    assert result.exit_code == 0, result.stderr
    return result


def act(plane: RunningPlane, run: str, tool: str, **arguments: object) -> Performed | Refused:
    who = Caller(
        workload=WORKLOAD, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
    )
    return plane.do(
        lambda: plane.plane.guard.perform(
            call(tool, upstream="desk", **arguments), who, sink=ListSink()
        )
    )


def tainted(plane: RunningPlane) -> str:
    """A run that has read something from outside, so that its effects are asked about."""
    run = plane.open_run()
    assert isinstance(act(plane, run, "read_ticket", id=1), Performed)
    return run


def test_a_refusal_explains_where_its_values_came_from(plane: RunningPlane) -> None:
    run = tainted(plane)
    refused = act(plane, run, "send_mail", to="bob@x.org")
    assert isinstance(refused, Refused)
    told = good("explain", refused.record).stdout
    read = plane.records("intent")[0]["id"]
    assert f"to: recipient: first seen in field description of record {read}, untrusted" in told
    assert "key-untrusted: A key argument comes from words that somebody wrote." in told


def test_an_action_waits_is_seen_approved_and_passes_once(plane: RunningPlane) -> None:
    run = tainted(plane)
    approval = asked(act(plane, run, "send_mail", to="bob@x.org"))
    listed = good("approval", "list").stdout
    assert approval in listed
    assert "key-untrusted" in listed
    shown = good("approval", "show", approval).stdout
    assert '  to = "bob@x.org"\n' in shown
    read = plane.records("intent")[0]["id"]
    assert f"first seen in field description of record {read}, untrusted" in shown
    for words in (
        "send_mail (grant, closed world)",
        f"run         {run}",
        "untrusted public, raised by ",
        "owner (ann)",
        "standard/",
        "The intent does not ask for an effect of this kind.",
        "A key argument comes from words that somebody wrote.",
        "Exactly this passes once, before 20",
        '  recipient "bob@x.org"',
        "on the list of ann.",
    ):
        assert words in shown, words
    done = good("approval", "approve", approval)
    assert "yes by olivia (peer-uid:" in done.stdout
    assert "It passes when it is tried again before" in done.stderr
    assert "Nothing waits" in good("approval", "list").stderr
    assert isinstance(act(plane, run, "send_mail", to="bob@x.org"), Performed)
    assert asked(act(plane, run, "send_mail", to="bob@x.org")) != approval
    (intent,) = [r for r in plane.records("intent") if r["approval"]]
    assert intent["approval"] == approval
    # The address is endorsed by now, and the yes was used up: what is left is asked about anew.
    (fresh,) = json.loads(good("approval", "list", "--json").stdout)
    assert fresh["facts"]["flow"]["arguments"][0]["origin"] == "endorsed"
    assert "effect-not-asked" in fresh["facts"]["flow"]["concerns"]
    assert "key-untrusted" not in fresh["facts"]["flow"]["concerns"]
    # The decision can be derived again, as approved.
    assert json.loads(good("explain", intent["id"], "--json").stdout)["same"] is True
    tail = good("ledger", "tail", "-n", "50").stdout
    for words in (f"{approval} desk/send_mail asks owner", f"{approval} yes by olivia"):
        assert words in tail


def test_a_no_stands(plane: RunningPlane) -> None:
    run = tainted(plane)
    approval = asked(act(plane, run, "send_mail", to="bob@x.org"))
    assert "no by olivia" in good("approval", "refuse", approval).stdout
    outcome = act(plane, run, "send_mail", to="bob@x.org")
    assert isinstance(outcome, Refused)
    assert "olivia refused" in outcome.decision.reasons[0].text
    again = midflight("approval", "approve", approval)
    assert again.exit_code == 1
    assert "is refused, so it cannot be answered" in again.stderr
    assert approval in good("approval", "list", "--all").stdout
    assert approval in good("approval", "list", "--state", "refused").stdout
    # A refused action is explained like any other.
    record = json.loads(good("explain", outcome.record, "--json").stdout)
    assert (record["decided"], record["same"]) == ("challenge", True)


def test_json_holds_all_that_was_judged(plane: RunningPlane) -> None:
    run = tainted(plane)
    approval = asked(act(plane, run, "send_mail", to="bob@x.org"))
    found = json.loads(good("approval", "show", approval, "--json").stdout)
    assert found["arguments"] == {"to": "bob@x.org"}
    assert found["facts"]["flow"]["arguments"][0]["field"] == "description"
    assert found["approvers"] == found["missing"] == ["owner"]
    (listed,) = json.loads(good("approval", "list", "--run", run, "--json").stdout)
    assert (listed["id"], listed["arguments"]) == (approval, None)


def test_what_is_remembered_is_known_listed_and_forgotten(plane: RunningPlane) -> None:
    run = tainted(plane)
    approval = asked(act(plane, run, "send_mail", to="Bob@x.org"))
    assert midflight("approval", "approve", approval, "--remember", "soon").exit_code == 2
    assert midflight("approval", "approve", approval, "--remember", "0s").exit_code == 2
    assert midflight("approval", "approve", approval, "--remember", "999d").exit_code == 2
    good("approval", "approve", approval, "--remember", "30d")
    listed = good("counterparty", "list", "--owner", "ann").stdout
    assert '"Bob@x.org"' in listed
    assert approval in listed
    (known,) = json.loads(good("counterparty", "list", "--json").stdout)
    assert 29 * 86_400 < known["expires_at"] - known["added_at"] <= 30 * 86_400
    now = known["added_at"]
    assert plane.plane.counterparties.is_known("ann", "bob@x.org", now)
    assert "does not know it any more" in (
        good("counterparty", "remove", "BOB@x.org", "--owner", "ann").stderr
    )
    assert not plane.plane.counterparties.is_known("ann", "bob@x.org", now)
    assert "Nobody is known" in good("counterparty", "list").stderr
    assert midflight("counterparty", "remove", "bob@x.org", "--owner", "ann").exit_code == 1


def test_a_counterparty_is_added_by_who_answers_for_the_owner(plane: RunningPlane) -> None:
    added = good("counterparty", "add", "https://x.org/pay", "--owner", "ann", "--for", "90d",
                 "--role", "url", "--json")  # fmt: skip
    assert json.loads(added.stdout)["value"] == "https://x.org/pay"
    other = midflight("counterparty", "add", "eve@x.org", "--owner", "carol", "--for", "1d")
    assert other.exit_code == 1
    assert "olivia does not answer for the owner carol" in other.stderr
    assert "[approvals] groups" in other.stderr
    for bad in (("--for", "2000d"), ("--for", "x"), ("--for", "1d", "--role", "amount")):
        assert midflight("counterparty", "add", "e@x.org", "--owner", "ann", *bad).exit_code == 2


def test_an_agent_cannot_draw_on_the_screen(plane: RunningPlane) -> None:
    run = tainted(plane)
    text = "a\x1b[2J\u202e\nstate       approved"
    approval = asked(act(plane, run, "send_mail", to=text, **{"\x1b]0;x\x07": "\u200b"}))
    for shown in (
        good("approval", "show", approval).stdout,
        good("approval", "list").stdout,
        good("approval", "approve", approval).stdout,
    ):
        assert all(c.isprintable() or c == "\n" for c in shown)
        assert not any(line.startswith("state       approved\n") for line in shown.split("\n"))


def test_the_bound_of_the_settings_holds(plane: RunningPlane) -> None:
    run = tainted(plane)
    for number in range(3):
        asked(act(plane, run, "send_mail", to=f"u{number}@x.org"))
    outcome = act(plane, run, "send_mail", to="u3@x.org")
    assert isinstance(outcome, Refused)
    assert outcome.decision.reasons[0].policy == "midflight:too-many-approvals"


def test_who_is_no_approver_is_told_how_to_become_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        ready(running)
        run = tainted(running)
        approval = asked(act(running, run, "send_mail", to="bob@x.org"))
        result = midflight("approval", "approve", approval)
        assert result.exit_code == 1
        assert "olivia is none of the approvers" in result.stderr
        assert 'groups = { "ann" = ["…"] }' in result.stderr


def test_a_yes_is_good_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with running_plane(tmp_path, extra=GROUPS) as running:
        ready(running)
        run = tainted(running)
        approval = asked(act(running, run, "send_mail", to="bob@x.org"))
        good("approval", "approve", approval, "--remember", "1d")
    with running_plane(tmp_path, extra=GROUPS) as running:
        ready(running)
        assert running.plane.counterparties.known("ann")
        assert running.do(lambda: running.plane.approvals.endorsed(run)) == ("bob@x.org",)
        assert isinstance(act(running, run, "send_mail", to="bob@x.org"), Performed)
        assert len(running.upstream.received) == 1
        assert asked(act(running, run, "send_mail", to="bob@x.org")) != approval


def test_whom_an_approval_endorsed_is_not_asked_about_again_in_its_run(
    plane: RunningPlane,
) -> None:
    plane.pin("send_mail", "send", "closed")
    run = tainted(plane)
    approval = asked(act(plane, run, "send_mail", to="bob@x.org"))
    good("approval", "approve", approval)
    for _ in range(2):
        assert isinstance(act(plane, run, "send_mail", to="bob@x.org"), Performed)
    assert asked(act(plane, run, "send_mail", to="carol@x.org"))
    # Another run has not been told.
    assert asked(act(plane, tainted(plane), "send_mail", to="bob@x.org"))


def test_whom_an_owner_knows_is_not_asked_about_in_any_run(plane: RunningPlane) -> None:
    plane.pin("send_mail", "send", "closed")
    approval = asked(act(plane, tainted(plane), "send_mail", to="Bob@x.org"))
    good("approval", "approve", approval, "--remember", "30d")
    run = tainted(plane)
    assert isinstance(act(plane, run, "send_mail", to="bob@x.org"), Performed)
    assert asked(act(plane, run, "send_mail", to="carol@x.org"))
    good("counterparty", "remove", "bob@x.org", "--owner", "ann")
    assert asked(act(plane, tainted(plane), "send_mail", to="bob@x.org"))


def test_every_concern_has_words() -> None:
    assert set(CONCERNS) == set(Concern)


def test_marks_of_untrusted_runs_are_listed_and_cleared(plane: RunningPlane) -> None:
    run = tainted(plane)
    approval = asked(act(plane, run, "send_mail", to="bob@x.org"))
    good("approval", "approve", approval)
    assert isinstance(act(plane, run, "send_mail", to="bob@x.org"), Performed)
    (made,) = json.loads(good("mark", "list", "--json").stdout)
    assert (made["upstream"], made["run"]) == ("desk", run)
    assert run in good("mark", "list").stdout
    assert "marks" in good("mark", "clear", "desk", "--run", run).stdout
    assert "No untrusted run has written anything." in good("mark", "list").stderr
    nothing = midflight("mark", "clear", "desk")
    assert nothing.exit_code == 1
    assert "midflight mark list" in nothing.stderr
