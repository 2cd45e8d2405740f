"""Events against the schema of OCSF 1.8, and against models of others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from counterpart_kit import in_child
from export_kit import kind_of, ocsf_problems, outcome, records, told, untold

from midflight.domain.decision import DenyCode
from midflight.domain.records import Found, Record, Terminal
from midflight.wire.export import ocsf

FINDING = """
import json, sys
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
event = json.loads(sys.argv[1])
event["finding_info"].pop("analytic")
found = DetectionFinding.model_validate(event)
print(json.dumps([found.finding_info.uid, found.metadata.version, found.class_uid]))
"""


def test_there_is_a_record_of_every_kind_here() -> None:
    assert untold() == frozenset()


@pytest.mark.parametrize("record", records(), ids=kind_of)
def test_an_event_is_as_the_schema_says(record: Record) -> None:
    event = ocsf.event(told(record))
    assert ocsf_problems(json.loads(json.dumps(event))) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"activity_id": 77}, "event.activity_id is 77"),
        ({"severity": 3}, "event.severity is 3, not a string_t"),
        ({"actor": {}}, "event.actor: at_least_one"),
        ({"nonsense": 1}, "event.nonsense is unknown"),
        ({"metadata": {"version": "1.8.0"}}, "event.metadata.product is missing"),
    ],
)
def test_the_check_finds_what_is_wrong(change: dict[str, Any], problem: str) -> None:
    event = ocsf.event(told(outcome())) | change
    assert any(problem in found for found in ocsf_problems(event))


@pytest.mark.parametrize(
    ("record", "action", "disposition"),
    [
        (outcome(Terminal.DONE), 1, 1),
        (outcome(Terminal.DENIED), 2, 2),
        (outcome(code=DenyCode.APPROVAL_REQUIRED), 2, 23),
        (outcome(code=DenyCode.REVOKED), 2, 24),
        (outcome(Terminal.INTERRUPTED), 2, 24),
    ],
)
def test_what_became_of_an_action_is_told(record: Record, action: int, disposition: int) -> None:
    event = ocsf.event(told(record))
    assert (event["action_id"], event["disposition_id"]) == (action, disposition)


@pytest.mark.conformance
def test_models_of_others_read_a_finding() -> None:
    (record,) = [each for each in records() if isinstance(each, Found)]
    done = in_child(FINDING, json.dumps(ocsf.event(told(record))))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["fnd_1", "1.8.0", 2004]
