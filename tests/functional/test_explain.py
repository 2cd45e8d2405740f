"""I6 on the whole gateway: what was decided is derived again from its record, years later.

Actions come in over HTTP and are judged by real policies; `midflight explain` is asked over the
control socket, as an operator asks it. Policies change in between.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_kit import CLOSE, LiveGateway, live_gateway
from process_kit import Said, call_bytes
from typer.testing import CliRunner, Result

from gateways import OPERATOR
from midflight.apps.cli.main import app
from midflight.domain.records import Intent

PERMIT_READS = """
@id("runs") permit(principal, action == Action::"open_run", resource);
@id("reads") permit(principal, action in Action::"read", resource);
@id("never-mallory") @reason("Mallory gets nothing.")
forbid(principal, action in Action::"call_tool", resource)
when { context.args has nonce && context.args.nonce == "mallory" };
"""
"""Reads are permitted, but one whose argument says mallory."""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveGateway]:
    with live_gateway(tmp_path, policy=PERMIT_READS) as running:
        (tmp_path / "midflight.toml").write_text('[state]\ndirectory = "state"\n')
        yield running


def act(live: LiveGateway, nonce: str, tool: str = "look") -> Said:
    raw = call_bytes(live.token, tool, {"nonce": nonce}, host=live.host, headers=CLOSE)
    [said] = live.talk(raw)
    return said


def explain(live: LiveGateway, record: str, *more: str) -> Result:
    config = live.plane.settings.state.directory.parent / "midflight.toml"
    return CliRunner().invoke(app, ["--config", str(config), "explain", record, *more])


def explained(live: LiveGateway, record: str, *, exit_code: int = 0) -> dict[str, Any]:
    result = explain(live, record, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def intent_of(live: LiveGateway) -> str:
    """The intent that was recorded last."""
    found = live.records("intent")[-1]
    assert isinstance(found["record"], Intent)
    return str(found["id"])


def policies(live: LiveGateway, text: str) -> str:
    """Put another set in place, as an operator does, and return its version."""
    live.plane.settings.policy.directory.joinpath("test.cedar").write_text(text)

    async def reload() -> str:
        assert await live.plane.policies.reload_if_changed()
        return live.plane.policies.version

    return live.do(reload)


def test_a_permit_is_derived_again_from_its_intent(live: LiveGateway) -> None:
    assert act(live, "alice").code == "done"
    found = explained(live, intent_of(live))
    assert found["decided"] == "permit"
    assert found["same"] is True
    assert found["arguments"] == {"nonce": "alice"}
    assert [reason["policy"] for reason in found["reasons"]] == ["reads"]
    derived = found["derived"]
    assert derived["then"]["type"] == derived["now"]["type"] == "permit"
    assert derived["version"] == derived["active"] == live.plane.policies.version
    assert derived["then"]["version"] == derived["version"]


def test_a_permit_is_found_by_its_outcome_as_well(live: LiveGateway) -> None:
    assert act(live, "alice").code == "done"
    outcome = live.records("outcome")[-1]
    assert explained(live, outcome["id"])["record"] == intent_of(live)


def test_a_refusal_is_derived_again_from_the_record_that_the_agent_was_given(
    live: LiveGateway,
) -> None:
    said = act(live, "mallory")
    assert said.refusal is not None
    assert said.refusal["policies"] == ["never-mallory"]
    found = explained(live, said.refusal["record"])
    assert (found["decided"], found["code"], found["same"]) == ("deny", "policy", True)
    assert [reason["policy"] for reason in found["derived"]["then"]["reasons"]] == ["never-mallory"]
    assert found["arguments"] == {"nonce": "mallory"}
    text = explain(live, said.refusal["record"]).stdout
    assert "Mallory gets nothing." in text


def test_after_a_change_it_says_what_would_be_decided_now(live: LiveGateway) -> None:
    refused = act(live, "mallory").refusal
    assert refused is not None
    assert act(live, "alice").code == "done"
    permitted = intent_of(live)
    before = live.plane.policies.version
    after = policies(live, PERMIT_READS.replace("mallory", "alice"))
    assert after != before
    for record, then, now in (
        (permitted, "permit", "deny"),
        (refused["record"], "deny", "permit"),
    ):
        found = explained(live, record)
        derived = found["derived"]
        assert found["same"] is True, "the version that decided still says the same"
        assert (derived["then"]["type"], derived["now"]["type"]) == (then, now)
        assert (derived["version"], derived["active"]) == (before, after)
        text = " ".join(explain(live, record).stdout.split())
        assert f"then {then}" in text
        assert f"now {now}" in text
    # And the live plane does what was said.
    assert act(live, "alice").refusal is not None
    assert act(live, "mallory").code == "done"


def test_going_back_is_the_same_version_again(live: LiveGateway) -> None:
    assert act(live, "alice").code == "done"
    record, before = intent_of(live), live.plane.policies.version
    policies(live, PERMIT_READS.replace("mallory", "alice"))
    assert policies(live, PERMIT_READS) == before
    derived = explained(live, record)["derived"]
    assert derived["version"] == derived["active"] == before


def test_the_facts_are_those_of_the_decision_and_not_those_of_today(live: LiveGateway) -> None:
    policies(
        live,
        PERMIT_READS + '@id("ten") forbid(principal, action in Action::"read", resource)\n'
        "when { context.run.steps > 2 };",
    )
    codes = [act(live, "alice").code for _ in range(4)]
    assert codes == ["done", "done", "policy", "policy"]
    first, second = [entry["id"] for entry in live.records("intent")]
    for record, steps in ((first, 1), (second, 2)):
        found = explained(live, record)
        assert found["facts"]["run"]["steps"] == steps
        assert found["same"] is True
        assert found["derived"]["now"]["type"] == "permit"


def test_a_kept_version_that_was_altered_is_not_believed(live: LiveGateway) -> None:
    assert act(live, "alice").code == "done"
    record = intent_of(live)
    kept = live.plane.settings.state.directory / "policies"
    altered = 0
    for file in kept.rglob("*"):
        if file.is_file() and b"mallory" in (text := file.read_bytes()):
            file.chmod(0o600)
            file.write_bytes(text.replace(b'"mallory\\"', b'"alicia!\\"'))
            altered += 1
    assert altered
    found = explained(live, record)
    assert found["same"] is None
    assert found["derived"]["then"] is None
    assert "altered" in found["derived"]["note"]


def test_a_definition_that_is_not_kept_is_not_guessed(live: LiveGateway) -> None:
    assert act(live, "mallory").refusal is not None
    record = live.records("outcome")[-1]["id"]
    assert explained(live, record)["same"] is True  # pinned a moment ago: known all the same
    live.do(lambda: live.plane.catalogue.unpin("up", "look", author=OPERATOR))
    live.do(live.plane.policies.reload_if_changed)
    shutil.rmtree(live.plane.settings.state.directory / "policies" / "schemas", ignore_errors=True)
    found = explained(live, record)
    assert found["same"] is None
    assert found["derived"]["then"] is None
    assert "definition" in found["derived"]["note"]


def test_erased_arguments_are_not_guessed(live: LiveGateway) -> None:
    assert act(live, "alice").code == "done"
    record = intent_of(live)
    run = explained(live, record)["facts"]["run"]["id"]
    assert live.do(lambda: live.plane.sealer.erase(run)) is True
    found = explained(live, record)
    assert found["arguments"] is None
    assert found["same"] is None
    assert found["derived"]["then"] is None
    assert "erased" in explain(live, record).stderr


def test_a_question_about_masked_arguments_is_not_called_another_decision(
    live: LiveGateway,
) -> None:
    masked = """
@id("runs") permit(principal, action == Action::"open_run", resource);
@id("reads") @mask("args.nonce") permit(principal, action in Action::"read", resource);
@id("ask-mallory") @reason("Mallory is asked about.") @help("Ask.") @approvers("owner")
forbid(principal, action in Action::"call_tool", resource)
when { context.args has nonce && context.args.nonce == "mallory-4929" }
unless { context.approval.granted };
"""
    policies(live, masked)
    refused = act(live, "mallory-4929").refusal
    assert refused is not None
    found = explained(live, refused["record"])
    assert found["decided"] == "challenge"
    assert found["arguments"] == {"nonce": "****4929"}
    assert (found["masked"], found["same"]) == (True, None)


def test_a_record_of_something_else_is_not_explained(live: LiveGateway) -> None:
    opened = live.records("run_opened") or (act(live, "x") and live.records("run_opened"))
    result = explain(live, opened[0]["id"])
    assert result.exit_code == 2
    assert "not about the decision" in result.output
    assert explain(live, "ffffffff-1").exit_code == 1
