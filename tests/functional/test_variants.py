"""Variants of a pack on a whole gateway: who is observed, and what is recorded and shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_kit import LiveGateway
from typer.testing import CliRunner
from variants_kit import observing_gateway, put_into, say, told

from gateways import AGENT
from midflight.apps.cli.main import app
from midflight.domain.identity import Mode
from midflight.domain.records import Changed, Intent, Outcome


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveGateway]:
    with observing_gateway(tmp_path) as running:
        yield running


def test_an_operator_does_and_what_would_have_been_is_shown(live: LiveGateway) -> None:
    put_into(live, Mode.OBSERVE)
    assert say(live, "mallory").code == "done"
    assert say(live, "alice").code == "done"
    assert say(live, "mallory").code == "done"
    assert live.journal.nonces("look") == ["mallory", "alice", "mallory"]
    found = told(live, "policy", "shadow", "--workload", AGENT, "--since", "1h")
    assert found["complete"] is True
    assert [(r["said"], r["decided"], r["policies"], r["count"]) for r in found["rows"]] == [
        ("deny", "permit", ["never-mallory"], 2),
        ("permit", "permit", ["reads"], 1),
    ]
    record = found["rows"][0]["last"]
    explained = told(live, "explain", record)
    assert explained["decided"] == "permit"
    assert explained["same"] is True
    assert explained["reasons"][0]["policy"] == "observe/passes"
    assert explained["shadow"]["decided"] == "deny"
    assert explained["shadow"]["reasons"][0]["policy"] == "never-mallory"
    put_into(live, Mode.ENFORCE)
    assert say(live, "mallory").code == "policy"
    assert live.records("intent")[-1]["record"].shadow is not None
    assert live.records("outcome")[-1]["record"].shadow is None


def test_the_observe_set_is_a_set_of_its_own(live: LiveGateway, tmp_path: Path) -> None:
    active = told(live, "policy", "show")
    assert active["version"] != active["observe"] != "none"
    put_into(live, Mode.OBSERVE)
    assert say(live, "mallory").code == "done"
    path = tmp_path / "policies" / "observe" / "20-mine.cedar"
    path.write_text('@id("observe/mine") forbid (principal, action, resource)\n'
                    'when { context.source.point == "mcp" };')  # fmt: skip
    reloaded = told(live, "policy", "reload")
    assert reloaded["version"] == active["version"]
    assert reloaded["observe"] != active["observe"]
    assert say(live, "mallory").code == "policy"
    changed = [r["record"] for r in live.records("changed")]
    sets = [r.details["set"] for r in changed if isinstance(r, Changed) and "policy" in r.what]
    assert sets == ["standard", "observe"]
    put_into(live, Mode.ENFORCE)
    assert say(live, "alice").code == "done"


def test_a_bad_observe_set_is_named_by_the_check_and_not_activated(
    live: LiveGateway, tmp_path: Path
) -> None:
    path = tmp_path / "policies" / "observe" / "20-mine.cedar"
    path.write_text("permit (principal, action, resource);")
    config = tmp_path / "midflight.toml"
    arguments = ["--config", str(config), "check", str(tmp_path / "policies")]
    checked = CliRunner().invoke(app, arguments)
    assert checked.exit_code == 1
    assert "observe/20-mine.cedar" in checked.output

    async def look() -> bool:
        return await live.plane.observing.reload_if_changed()

    assert not live.do(look)
    put_into(live, Mode.OBSERVE)
    assert say(live, "mallory").code == "done"


def test_the_full_log_is_shown_by_explain_for_intent_and_outcome(live: LiveGateway) -> None:
    assert say(live, "alice").code == "done"
    intent, outcome = live.records("intent")[-1], live.records("outcome")[-1]
    assert isinstance(intent["record"], Intent)
    assert isinstance(outcome["record"], Outcome)
    for record in (intent["id"], outcome["id"]):
        explained = told(live, "explain", record)
        assert "look alice" in explained["result"]["content"][0]["text"]
        assert explained["obligations"] == [{"name": "log", "value": "full"}]
