"""docs/detectors-plain.md: its numbers are the detectors' own, its rules and settings load."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from midflight.apps.compose_detectors import sequence_rules
from midflight.apps.settings import Settings
from midflight.domain.signal import Signal
from midflight.services.detectors import drift, elsewhere, escalation, fuzzing, kept, probing
from midflight.services.suspicion import MAX_TEXT, PATIENCE_S
from midflight.wire.sequences_file import parse
from midflight.wire.signals import decode_signal
from midflight.wire.webhook import TOLERANCE_S

TEXT = (Path(__file__).parents[2] / "docs" / "detectors-plain.md").read_text("utf-8")


def row(detector: str) -> str:
    [found] = [line for line in TEXT.splitlines() if line.startswith(f"| `{detector}`")]
    return found


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_numbers_of_the_table_are_those_of_the_detectors() -> None:
    assert (
        f"| {probing.RUN_NOTED} of one run in {probing.RUN_WINDOW_S / 60:.0f} minutes "
        f"| {probing.RUN_FOUND} of one run in {probing.RUN_WINDOW_S / 60:.0f} minutes; "
        f"{probing.WORKLOAD_FOUND} of a workload in an hour; {probing.SLOW_FOUND} in a day |"
    ) in row("probing")
    assert (probing.WORKLOAD_WINDOW_S, probing.SLOW_WINDOW_S) == (3_600, 86_400)
    assert (
        f"| {fuzzing.REFUSED_NOTED} refused in one run in {fuzzing.RUN_WINDOW_S / 60:.0f} minutes; "
        f"{fuzzing.FAILED_NOTED} failed; {fuzzing.RUNS_NOTED} runs of a workload refused it "
        f"in an hour | {fuzzing.REFUSED_FOUND} refused in one run; "
        f"{fuzzing.WORKLOAD_FOUND} of a workload in an hour"
    ) in row("fuzzing")
    assert fuzzing.WORKLOAD_WINDOW_S == 3_600
    assert (
        f"{escalation.COMPARTMENTS} new compartments, within {escalation.JUMP_S / 60:.0f} minutes"
    ) in row("escalation")
    assert (f"| {escalation.NOTED_AFTER} effect | {escalation.FOUND_AFTER} effects |") in row(
        "escalation"
    )
    assert f"| {elsewhere.MOVED_AFTER} action from another place |" in row("elsewhere")
    assert f"| {elsewhere.BOTH_AFTER}: the other's" in row("elsewhere")
    bounds = f"{kept.RUNS:,} runs, {elsewhere.TOKENS:,} tokens and {kept.WORKLOADS:,} workloads"
    assert bounds in TEXT
    assert f"`fuzzing` {fuzzing.COUNTERS:,} tools of runs and for `drift` {drift.USES:,}" in TEXT
    assert f"first {MAX_TEXT:,} characters" in TEXT
    assert f"{PATIENCE_S * 1_000:.0f} ms" in TEXT
    assert f"than {TOLERANCE_S // 60} minutes off" in TEXT


def test_what_needs_no_number_is_said_to_need_one_action() -> None:
    """As `test_misuse_is_found.py` shows."""
    assert row("canary").endswith("| | | 1 action |")
    assert "| | at once, for each such run | |" in row("drift")
    assert "by rule: at the last step" in row("sequence")
    assert "1 showing of a bound token without its key" in row("elsewhere")


def test_every_rule_of_ours_is_named_and_the_example_loads_over_them() -> None:
    own = sequence_rules()
    assert [rule.id for rule in own if f"`{rule.id}`" not in TEXT] == []
    [example] = [block for block in blocks("toml") if "[[sequence]]" in block]
    assert len(parse(example, name="docs", base=own)) == len(own) + 1


def test_the_settings_load_and_the_body_is_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIDFLIGHT_CONFIG", raising=False)
    [example] = [block for block in blocks("toml") if "[[signals]]" in block]
    [section] = Settings(**tomllib.loads(example)).signals
    assert section.source().name == "classifier"
    body = blocks("http")[0].partition("\n\n")[2]
    assert isinstance(decode_signal(json.dumps(json.loads(body)).encode()), Signal)
