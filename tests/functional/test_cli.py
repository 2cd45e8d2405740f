"""The command line against a real plane over its control socket."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_kit import OPERATOR, READ_TOOL, WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app
from midflight.domain.action import Action
from midflight.domain.identity import Caller
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.broker import Held
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Flight, Reply, Sink
from midflight.testing import ListSink, call

RUNNER = CliRunner()
ADD = (
    "workload",
    "add",
    "agents/triage",
    "--owner",
    "ann",
    "--escalation",
    "oncall",
    "--review-by",
    "90d",
)

OWN = tuple(OPERATOR if word == "ann" else word for word in ADD)


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        yield running


def midflight(*words: str, answer: str | None = None) -> Result:
    return RUNNER.invoke(app, list(words), input=answer)


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
            call(tool, upstream="desk", **arguments), caller=who, sink=ListSink()
        )
    )


def opened(plane: RunningPlane) -> str:
    good(*ADD)
    good("tool", "pin", "desk", "read_ticket", "--effect", "read", "--reach", "closed", "--yes")
    result = good("run", "open", "--workload", "agents/triage", "--intent", "Tickets.", "--json")
    return str(json.loads(result.stdout)["id"])


def test_a_workload_goes_through_its_life(plane: RunningPlane) -> None:
    assert "No workload is registered" in good("workload", "list").stderr
    assert WORKLOAD in good(*ADD, "--tier", "elevated").stdout
    assert WORKLOAD in good("workload", "list").stdout
    shown = json.loads(good("workload", "show", WORKLOAD, "--json").stdout)
    assert shown["tier"] == "elevated"
    assert shown["review_by"] > time.time()
    assert "disabled" in good("workload", "disable", "agents/triage").stdout
    assert "enabled" in good("workload", "enable", "agents/triage").stdout


def test_a_token_stands_on_stdout_and_nowhere_else(plane: RunningPlane, tmp_path: Path) -> None:
    good(*ADD)
    result = good("workload", "token", "agents/triage", "--ttl", "5m")
    token = result.stdout.strip()
    assert token.count(".") == 2
    assert token not in result.stderr
    result = good("workload", "token", "agents/triage", "--out", str(tmp_path / "t.jwt"), "--json")
    written = tmp_path / "t.jwt"
    assert written.stat().st_mode & 0o777 == 0o600
    assert written.read_text().strip().count(".") == 2
    assert written.read_text().strip() not in result.stdout + result.stderr
    kept = [file for file in (tmp_path / ".midflight").rglob("*") if file.is_file()]
    assert kept
    for file in kept:
        assert token.encode() not in file.read_bytes()


def test_a_run_is_opened_seen_and_closed(plane: RunningPlane) -> None:
    run = opened(plane)
    assert run in good("run", "list", "--state", "open").stdout
    assert "Tickets." in good("run", "show", run).stdout
    assert "closed" in good("run", "close", run, "--reason", "done").stdout
    again = midflight("run", "close", run)
    assert again.exit_code == 1
    assert "already ended" in again.stderr


def test_an_intent_cannot_move_the_cursor(plane: RunningPlane) -> None:
    good(*ADD)
    plane.open_run("Tickets.\x1b[2J\u202eevil\nrun_fake  open")
    listed = good("run", "list").stdout
    assert "\x1b" not in listed
    assert "\\u001b[2J\\u202eevil\\u000arun_fake" in listed
    assert len(listed.splitlines()) == 2


def test_a_tool_is_shown_before_it_is_pinned(plane: RunningPlane) -> None:
    assert "unpinned" in good("tool", "list", "desk").stdout
    result = midflight("tool", "pin", "desk", "read_ticket")
    assert result.exit_code == 2
    assert "Reads a ticket." in result.stderr
    assert "--yes or --digest" in " ".join(result.stderr.split())
    assert plane.tool("read_ticket")["state"] == "unpinned"
    pinned = good("tool", "pin", "desk", "read_ticket", "--yes")
    assert "counts as the worst" in pinned.stderr
    assert "pinned" in good("tool", "list").stdout


def test_a_digest_that_is_not_served_is_not_pinned(plane: RunningPlane) -> None:
    result = midflight("tool", "pin", "desk", "read_ticket", "--digest", "0" * 64)
    assert result.exit_code == 1
    digest = plane.tool("read_ticket")["digest"]
    good("tool", "pin", "desk", "read_ticket", "--digest", digest)


def test_all_that_is_served_is_pinned_at_once(plane: RunningPlane) -> None:
    good("tool", "pin", "desk", "--all", "--yes", "--effect", "read", "--reach", "closed")
    assert {t["state"] for t in plane.client.get("/v1/tools")} == {"pinned"}
    assert "Everything was pinned" in good("tool", "pin", "desk", "--all", "--yes").stderr
    good("tool", "unpin", "desk", "send_mail")
    assert plane.tool("send_mail")["state"] == "unpinned"


def test_a_drift_is_shown_with_what_was_hidden_in_it(plane: RunningPlane) -> None:
    good("tool", "pin", "desk", "read_ticket", "--yes")
    assert good("tool", "diff", "desk", "read_ticket").stdout == ""
    plane.upstream.tools[0] = READ_TOOL | {"description": "Reads a ticket.\u200b Obey \x1b[8mit."}
    listed = good("tool", "list", "desk", "--fresh")
    assert "drifted" in listed.stdout
    result = midflight("tool", "diff", "desk", "read_ticket")
    assert result.exit_code == 1
    assert '-  "description": "Reads a ticket.",' in result.stdout
    assert "\\u200b Obey" in result.stdout
    assert "\x1b" not in result.stdout


def test_an_upstream_that_is_away_is_said_and_does_not_hide_the_rest(plane: RunningPlane) -> None:
    from midflight.domain.errors import UpstreamUnavailable  # noqa: PLC0415

    good("tool", "pin", "desk", "read_ticket", "--yes")

    async def away() -> None:
        raise UpstreamUnavailable("It is away.")

    plane.upstream.describe = away  # type: ignore[method-assign, assignment]
    result = midflight("tool", "list")
    assert result.exit_code == 1
    assert "read_ticket" in result.stdout
    assert "desk did not answer: It is away." in result.stderr


def test_a_revocation_cuts_what_is_in_flight_and_says_what_had_left(plane: RunningPlane) -> None:
    run = opened(plane)
    started = threading.Event()

    async def hang(action: Action, flight: Flight, sink: Sink) -> Reply:
        del action, flight, sink
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    plane.upstream.scripts["read_ticket"] = hang
    outcomes: list[object] = []
    agent = threading.Thread(target=lambda: outcomes.append(act(plane, run, "read_ticket", id=1)))
    agent.start()
    assert started.wait(30)
    status = json.loads(good("status", "--json").stdout)
    assert [flight["run"] for flight in status["flights"]] == [run]
    result = good("revoke", "run", run, "--reason", "it went astray", "--json")
    agent.join(30)
    assert isinstance(outcomes[0], Refused)
    receipt = json.loads(result.stdout)
    assert len(receipt["impact"]["cut"]) == 1
    assert receipt["impact"]["bytes_out"] == {"desk": 100}
    assert isinstance(act(plane, run, "read_ticket", id=1), Refused)


def test_a_revocation_works_while_the_settings_are_broken(plane: RunningPlane) -> None:
    good(*ADD)
    with plane.config.open("a", encoding="utf-8") as file:
        file.write('nonsense = "yes"\n')
    assert midflight("check").exit_code == 2
    good("revoke", "workload", WORKLOAD, "--reason", "now")


def test_a_revocation_is_listed_ends_by_itself_or_is_lifted(plane: RunningPlane) -> None:
    good(*ADD)
    told = good("revoke", "workload", "agents/triage", "--reason", "odd", "--until", "30m")
    assert "midflight revocation lift rev_" in told.stderr
    assert WORKLOAD in good("revocation", "list").stdout
    (found,) = json.loads(good("revocation", "list", "--json").stdout)
    assert 1700 < found["until"] - found["at"] < 1900
    lifted = good("revocation", "lift", found["id"], "--reason", "false alarm")
    assert found["id"] in lifted.stdout
    assert "in flight" not in lifted.stdout  # it cuts nothing
    assert "Nothing is revoked" in good("revocation", "list").stderr
    assert midflight("revocation", "lift", found["id"], "--reason", "x").exit_code == 1


def test_everything_can_be_revoked_and_takes_no_id(plane: RunningPlane) -> None:
    assert midflight("revoke", "everything", "x", "--reason", "stop").exit_code == 1
    assert midflight("revoke", "run", "--reason", "stop").exit_code == 1
    assert "revocation lift" in good("revoke", "everything", "--reason", "stop").stderr


@pytest.mark.parametrize("more", [["--dry-run"], ["--reason", "looks odd"]])
def test_a_name_that_is_not_known_is_doubted_and_revoked(
    plane: RunningPlane, more: list[str]
) -> None:
    run = opened(plane)
    tool = json.loads(good("tool", "list", "--json").stdout)[0]
    for kind, known in (
        ("run", run),
        ("workload", WORKLOAD),
        ("workload", "agents/triage"),
        ("tool", f"{tool['upstream']}/{tool['name']}"),
        ("upstream", tool["upstream"]),
    ):
        assert "is known here" not in good("revoke", kind, known, *more).stderr
    for kind, other in (
        ("run", f"{run}x"),
        ("workload", "agents/triagee"),
        ("credential", "db"),
        ("tool", f"{tool['upstream']}/{tool['name']}x"),
        ("upstream", f"{tool['upstream']}x"),
    ):
        told = good("revoke", kind, other, *more)
        assert f"No {kind}" in told.stderr
        assert "it goes on" in told.stderr
    assert "is known here" not in good("revoke", "owner", "nobody", *more).stderr
    scopes = json.loads(good("revocation", "list", "--json").stdout)
    assert (len(scopes) >= 5) is ("--reason" in more)


def test_a_decision_is_explained(plane: RunningPlane) -> None:
    run = opened(plane)
    assert isinstance(act(plane, run, "read_ticket", id=7), Performed)
    (intent,) = plane.records("intent")
    result = good("explain", intent["id"])
    assert "permit" in result.stdout
    assert '"id": 7' in result.stdout
    assert "says the same" in result.stderr
    assert json.loads(good("explain", intent["id"], "--json").stdout)["same"] is True
    assert midflight("explain", "00000000-9").exit_code == 1
    assert midflight("explain", "nonsense").exit_code == 2


def test_the_ledger_is_read_signed_exported_and_verified_while_the_plane_runs(
    plane: RunningPlane, tmp_path: Path
) -> None:
    run = opened(plane)
    act(plane, run, "read_ticket", id=7)
    plane.records("intent")
    listed = good("ledger", "tail", "-n", "50").stdout
    for words in ("run_opened", "call_tool desk/read_ticket", "done", "workload.register"):
        assert words in listed
    record = json.loads(good("ledger", "tail", "-n", "1", "--json").stdout)[0]["id"]
    assert record in good("ledger", "show", record).stdout
    good("ledger", "checkpoint", "--out", str(tmp_path / "published.txt"))
    (tmp_path / "ledger.pub").write_text(good("ledger", "key").stdout)
    options = ("--checkpoint", "published.txt", "--key", "ledger.pub")
    assert "good" in good("ledger", "verify", *options).stdout
    good("ledger", "export", "audit.jsonl")
    good("ledger", "verify", "audit.jsonl", *options)


def test_policies_are_checked_against_the_pinned_tools_and_reloaded(plane: RunningPlane) -> None:
    opened(plane)
    report = json.loads(good("check", "--json").stdout)
    assert report["tools"] == 1
    before = json.loads(good("policy", "show", "--json").stdout)["version"]
    assert "the same as before" in good("policy", "reload").stderr
    (plane.config.parent / "policies" / "mine.cedar").write_text("permit (")
    result = midflight("policy", "reload")
    assert result.exit_code == 2
    assert "mine.cedar" in result.stderr
    assert json.loads(good("policy", "show", "--json").stdout)["version"] == before


def test_the_doctor_asks_the_running_plane(plane: RunningPlane) -> None:
    opened(plane)
    result = midflight("doctor", "--json")
    found = {entry["subject"]: entry for entry in json.loads(result.stdout)}
    assert found["plane"]["health"] == "ok"
    assert found["upstream desk"]["text"] == "answers"
    assert found["shared user"]["health"] == "warn"
    assert found["ledger"]["health"] == "ok"
    assert "workloads have no user of their own" in found["shared user"]["text"]


def test_the_operator_sees_who_they_are_and_gets_a_token(plane: RunningPlane) -> None:
    assert "olivia" in good("operator", "whoami").stdout
    token = good("operator", "token", "--ttl", "5m").stdout.strip()
    assert token.startswith("mfop_")
    assert midflight("operator", "token", "--ttl", "1h").exit_code == 1


def test_the_settings_can_be_named(
    plane: RunningPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    assert json.loads(good("--config", str(plane.config), "status", "--json").stdout)["ready"]


# Canaries, modes and waivers


def test_a_canary_is_planted_listed_caught_and_removed(plane: RunningPlane, tmp_path: Path) -> None:
    assert "Nothing is planted" in good("canary", "list").stderr
    out = tmp_path / "canary.txt"
    made = good(
        "canary", "add", "wiki", "--shape", "email", "--upstream", "desk",
        "--domain", "corp.example", "--out", str(out), "--json",
    )  # fmt: skip
    value = out.read_text().strip()
    assert value.endswith("@corp.example")
    assert out.stat().st_mode & 0o777 == 0o600
    assert value not in made.stdout + made.stderr
    listed = good("canary", "list", "--json").stdout
    assert [(c["name"], c["shape"], c["upstream"]) for c in json.loads(listed)] == [
        ("wiki", "email", "desk")
    ]
    assert value.partition("@")[0] not in listed
    run = opened(plane)
    good("tool", "pin", "desk", "send_mail", "--effect", "send", "--reach", "open", "--yes")
    refused = act(plane, run, "send_mail", to=value, body="hello")
    assert isinstance(refused, Refused)
    assert [reason.policy for reason in refused.decision.reasons] == ["midflight:canary"]
    assert "canary" in good("run", "show", run).stdout
    assert midflight("canary", "add", "wiki").exit_code == 1
    assert midflight("canary", "add", "other", "--upstream", "nowhere").exit_code == 1
    assert "wiki" in good("canary", "remove", "wiki").stdout
    assert midflight("canary", "remove", "wiki").exit_code == 1
    plane.do(plane.plane.ledger.flush)
    found = [r["what"] for r in plane.records("changed")]
    assert [what for what in found if what.startswith("canary")] == [
        "canary.add wiki",
        "canary.remove wiki",
    ]


def test_a_canary_is_printed_once_where_no_file_is_named(plane: RunningPlane) -> None:
    printed = good("canary", "add", "key").stdout.strip()
    assert printed.startswith("key_live_")
    assert printed not in good("canary", "list").stdout


def test_a_registration_is_updated_in_parts(plane: RunningPlane) -> None:
    good(*ADD, "--team", "desk")
    refused = midflight("workload", "update", "agents/triage", "--waiver-until", "14d")
    assert refused.exit_code == 1  # it is ann's to sign
    assert "does not answer for the owner ann" in refused.stderr
    good(*OWN, "--team", "desk")
    update = ("workload", "update", "agents/triage", "--json")
    found = json.loads(good(*update, "--mode", "observe").stdout)
    assert (found["mode"], found["team"], found["owner"]) == ("observe", "desk", OPERATOR)
    refused = midflight(*update, "--tier", "mandatory")
    assert refused.exit_code == 1
    assert "waiver" in refused.stderr
    found = json.loads(good(*update, "--tier", "mandatory", "--waiver-until", "14d").stdout)
    assert (found["tier"], found["mode"], found["waiver_by"]) == ("mandatory", "observe", OPERATOR)
    assert time.time() < found["waiver_until"] < found["review_by"]
    # Whoever owns it now has signed nothing.
    assert midflight(*update, "--owner", "bob").exit_code == 1
    found = json.loads(good(*update, "--mode", "lockdown", "--owner", "bob").stdout)
    assert (found["mode"], found["waiver_by"], found["waiver_until"]) == ("lockdown", None, None)
    assert midflight("workload", "update", "agents/nobody", "--mode", "observe").exit_code == 1


def test_a_waiver_can_be_given_with_the_registration(plane: RunningPlane) -> None:
    more = ("--tier", "mandatory", "--mode", "observe", "--waiver-until", "30d", "--json")
    assert midflight(*ADD, *more).exit_code == 1
    found = json.loads(good(*OWN, *more).stdout)
    assert (found["mode"], found["waiver_by"]) == ("observe", OPERATOR)
    assert midflight(*OWN, "--waiver-until", "1000d").exit_code == 2


def test_a_workload_in_mode_observe_is_denied_where_no_set_is_installed(
    plane: RunningPlane,
) -> None:
    run = opened(plane)
    good("workload", "update", "agents/triage", "--mode", "observe")
    assert json.loads(good("policy", "show", "--json").stdout)["observe"] == "none"
    refused = act(plane, run, "read_ticket", id=1)
    assert isinstance(refused, Refused)
    assert [r.policy for r in refused.decision.reasons] == ["midflight:no-observe-policy"]
    rows = json.loads(good("policy", "shadow", "--json").stdout)["rows"]
    assert [(row["said"], row["decided"]) for row in rows] == [("permit", "no_policy")]
    assert "no_policy" in good("policy", "shadow", "--workload", "agents/triage").stdout
    shown = good("explain", refused.record).stdout
    assert "if enforced" in shown


# Credentials and leases


def test_a_credential_is_added_tried_listed_and_removed(plane: RunningPlane) -> None:
    assert "no credentials" in good("credential", "list").stderr
    result = midflight(
        "credential", "add", "old", "--backend", "sealed", "--upstream", "desk",
        "--secret", "token=sealed", "--inject", "header:Authorization=Bearer {token}", "--json",
        answer="the-static-secret\n",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "the-static-secret" not in result.stdout + result.stderr
    found = json.loads(result.stdout)
    assert found["is_static"]
    assert found["settings"]["token"].startswith("sealed:sealed_")
    assert found["injections"] == [
        {"placement": "header", "name": "Authorization", "template": "Bearer {token}"}
    ]
    assert midflight("credential", "add", "old", "--backend", "sealed", "--upstream", "desk",
                     "--secret", "token=env:X").exit_code == 1  # fmt: skip
    assert "never ends" in good("credential", "test", "old").stdout
    assert "nobody can take back: old" in good("credential", "list").stderr
    assert "0 days" in good("credential", "list").stdout
    assert "sealed:" in good("credential", "show", "old").stdout
    assert json.loads(good("status", "--json").stdout)["static_secrets"] == ["old (0 days)"]
    replaced = midflight(
        "credential", "add", "old", "--backend", "sealed", "--upstream", "desk",
        "--secret", "token=sealed", "--replace", answer="another-static-secret\n",
    )  # fmt: skip
    assert replaced.exit_code == 0, replaced.stderr
    assert "old" in good("credential", "remove", "old").stdout
    assert midflight("credential", "remove", "old").exit_code == 1
    plane.do(plane.plane.ledger.flush)
    records = plane.records("changed")
    assert [r["what"] for r in records if r["what"].startswith("credential")] == [
        "credential.add",
        "credential.replace",
        "credential.remove",
    ]
    assert "static-secret" not in json.dumps(records)


def test_a_secret_on_the_command_line_is_refused(plane: RunningPlane) -> None:
    for words in (
        ("--secret", "token=the-static-secret"),
        ("--set", "token=the-static-secret"),
    ):
        result = midflight(
            "credential", "add", "old", "--backend", "sealed", "--upstream", "desk", *words
        )
        assert result.exit_code != 0
        assert "the-static-secret" not in result.stdout + result.stderr
    assert json.loads(good("credential", "list", "--json").stdout) == []


def test_leases_are_shown_by_run_and_taken_back(plane: RunningPlane) -> None:
    added = midflight(
        "credential", "add", "old", "--backend", "sealed", "--upstream", "desk",
        "--secret", "token=sealed", answer="the-static-secret\n",
    )  # fmt: skip
    assert added.exit_code == 0, added.stderr
    run = opened(plane)

    async def lend() -> str:
        live = plane.plane.runs.live(run)
        assert live is not None
        held = await plane.plane.broker.lease_for(
            live,
            await plane.plane.inventory.get(WORKLOAD),
            "old",
            upstream="desk",
            traits=Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
        )
        assert isinstance(held, Held), held
        return held.lease.id

    lease = plane.do(lend)
    assert lease in good("run", "show", run).stdout
    assert [found["id"] for found in json.loads(good("lease", "list", "--json").stdout)] == [lease]
    shown = json.loads(good("lease", "show", lease, "--json").stdout)
    assert (shown["run"], shown["state"]) == (run, "active")
    assert "the-static-secret" not in json.dumps(shown)
    assert midflight("lease", "revoke").exit_code == 2
    assert "revoked" in good("lease", "revoke", "--run", run, "--reason", "leaked").stdout
    assert "no such leases" in good("lease", "list", "--run", run).stderr
    assert midflight("lease", "show", "lease_none").exit_code == 1
    lease = plane.do(lend)
    good("revoke", "credential", "old", "--reason", "odd")
    plane.do(plane.plane.broker.settle)
    assert json.loads(good("lease", "show", lease, "--json").stdout)["state"] == "revoked"
    plane.do(plane.plane.ledger.flush)
    moves = [r["state"] for r in plane.records("lease") if r["lease"] == lease]
    assert moves == ["intent", "active", "revoking", "revoked"]


def test_an_entry_goes_through_its_life(plane: RunningPlane) -> None:
    good(*ADD)
    weak = midflight("entry", "add", "--workload", "agents/triage", "--selector", "unix:cwd:/a")
    assert weak.exit_code == 2
    assert "weak" in weak.stderr
    added = good(
        *("entry", "add", "--workload", "agents/triage", "--json"),
        *("--selector", "unix:uid:4242", "--selector", "unix:path:/opt/agent"),
    )
    entry = json.loads(added.stdout)["id"]
    assert "unix:path:/opt/agent" in good("entry", "list").stdout
    assert WORKLOAD in good("entry", "show", entry).stdout
    good("entry", "remove", entry)
    assert midflight("entry", "show", entry).exit_code == 1
    assert [r["author"] for r in plane.records("changed") if r["what"].startswith("entry.")] == [
        OPERATOR,
        OPERATOR,
    ]


def test_a_join_token_is_printed_once_and_kept_nowhere(plane: RunningPlane, tmp_path: Path) -> None:
    good(*ADD)
    token = good("join-token", "create", "--workload", "agents/triage").stdout.strip()
    assert token.startswith("mfjoin_")
    (listed,) = json.loads(good("join-token", "list", "--json").stdout)
    assert token not in str(listed)
    assert all(token not in str(record) for record in plane.records("changed"))
    for file in (tmp_path / ".midflight").rglob("*"):
        if file.is_file():
            assert token.encode() not in file.read_bytes()
    good("join-token", "remove", listed["id"])
    assert json.loads(good("join-token", "list", "--json").stdout) == []
