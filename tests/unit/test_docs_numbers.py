"""docs/: export, interruption, freeze, approvals, waiting and others say what the code does."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

from midflight.adapters.telemetry.prometheus import PrometheusTelemetry
from midflight.apps.approve.drawing import REMEMBER
from midflight.apps.cli.template import TEMPLATE
from midflight.apps.gateway import freezing, waiting
from midflight.apps.settings import Settings
from midflight.domain.revocation import ScopeKind
from midflight.services import (
    approver_accounts,
    approver_sessions,
    attempts,
    backchannel,
    cutting,
    escalation_items,
    export,
    handles,
    ssf_pushing,
    ssf_streams,
    task_flights,
)
from midflight.services import waiting as waits
from midflight.services.flights import FlightKind
from midflight.services.interruption import Interruption
from midflight.wire.export import bounding, ocsf

DOCS = Path(__file__).parents[2] / "docs"


def flat(page: str) -> str:
    return " ".join((DOCS / f"{page}.md").read_text(encoding="utf-8").split())


def says(page: str, *words: str) -> None:
    text = flat(page)
    for each in words:
        assert each in text, f"docs/{page}.md does not say: {each}"


def test_export() -> None:
    text = (DOCS / "export.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    loaded = Settings(**tomllib.loads(shown)).export
    assert [each.name for each in loaded] == ["siem", "archive", "collector"]
    says(
        "export",
        f"{export.BATCH} events at a time",
        f"after 1, 2, 4 … at most {export.LAST_WAIT_S:.0f} seconds",
        f"cut at {bounding.MAX_TEXT:,} characters",
        f"OCSF {ocsf.VERSION.rpartition('.')[0]} class",
    )
    assert export.FIRST_WAIT_S == 1
    numbers = set(re.findall(r"\| [A-Z][^|]* (\d{4})[ ,]", text))
    assert numbers == {
        str(number)
        for number in (
            ocsf.API_ACTIVITY,
            ocsf.DETECTION_FINDING,
            ocsf.REMEDIATION,
            ocsf.AUTHENTICATION,
            ocsf.LIFECYCLE,
            ocsf.ENTITY,
        )
    }


def test_interruption() -> None:
    silent = inspect.signature(Interruption).parameters["patience_s"].default
    says(
        "interruption",
        f"{cutting.SLICE} flights a turn",
        f"after {silent:.0f} s of silence",
        f"A run has at most {task_flights.MAX_A_RUN} tasks",
    )
    text = (DOCS / "interruption.md").read_text(encoding="utf-8")
    kinds = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)))
    assert set(kinds) == set(FlightKind)
    named = text[: text.index("`--dry-run`")].replace("trust domain", "trust_domain")
    assert [kind.value for kind in ScopeKind if kind.value not in named] == []


def test_freeze() -> None:
    says(
        "freeze",
        f"longer than the lease ({freezing.LEASE_S:.0f} seconds)",
        f"at most {freezing.MAX_A_WORKLOAD} streams",
    )


def test_approvals() -> None:
    assert approver_accounts.ENROL_S == 600
    assert approver_sessions.FRESH_S == 300
    assert (approver_sessions.IDLE_S, approver_sessions.LONGEST_S) == (900, 28_800)
    assert (attempts.FREE, attempts.FIRST_S, attempts.LONGEST_S) == (5, 30, 900)
    assert backchannel.MAX_EACH == 5
    assert REMEMBER["2592000"] == "for 30 days"
    says(
        "approvals",
        "good once, for ten minutes",
        "at most five minutes old",
        "quarter of an hour without a page, after eight hours",
        "five at once, then one after 30 seconds, a minute, two, up to a quarter of an hour",
        "five questions at a time",
    )


def test_waiting() -> None:
    assert waiting.MAX_ROUNDS == 8
    assert waits.BEAT_S == 10
    assert handles.GRACE_S == 900
    says("waiting", "After eight rounds", "every ten seconds", "fifteen minutes longer")


def test_shared_signals() -> None:
    assert (ssf_pushing.BACKOFF_S[0], ssf_pushing.BACKOFF_S[-1]) == (1, 300)
    says(
        "shared-signals",
        f"at most {Settings().ssf.queue:,} events (`queue`)",
        f"every {ssf_streams.MIN_VERIFICATION_S} seconds",
        "after a second first and every five minutes in the end",
    )
    assert not Settings().ssf.transmit
    assert not Settings().ssf.push_to_private


def test_escalation() -> None:
    settings = Settings()
    assert settings.escalation.repeat == 86_400
    says(
        "escalation",
        f"each cut to {escalation_items.MAX_ARGUMENT} characters",
        "hears again once a day",
    )
    # Named in the text, and in the template with their defaults.
    glass = settings.break_glass
    assert (glass.max, glass.unreviewed, glass.review_within) == (3_600, 3, 3 * 86_400)
    for line in ('max = "1h"', "four_eyes = false", "unreviewed = 3", 'review_within = "3d"'):
        assert f"# {line}" in TEMPLATE
        says("escalation", line.partition(" = ")[0])


def test_the_metrics_of_an_export_are_called_so() -> None:
    says("export", "`midflight_export_<name>_behind`, `_sent_total` and `_failures_total`")
    source = inspect.getsource(export)
    names = set(re.findall(r'telemetry\.(?:count|gauge)\(f"export_\{self\.name\}_(\w+)"', source))
    assert names == {"behind", "sent", "failures"}
    telemetry = PrometheusTelemetry()
    telemetry.gauge("export_siem_behind", 3)
    telemetry.count("export_siem_sent", 2)
    told = telemetry.exposition().decode()
    assert "midflight_export_siem_behind 3" in told
    assert "midflight_export_siem_sent_total 2" in told
