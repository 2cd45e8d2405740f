"""The report as SARIF 2.1.0 (OASIS): what code-scanning dashboards read. Pure.

A result points at the line of the file that the case was read from. Only what somebody should look
at is a result: an attack that passed, honest work that was stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from midflight import __version__
from midflight.apps.redteam.report import Report, is_wrong
from midflight.apps.redteam.verdicts import Scored, Verdict, explain

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

_RULES: dict[Verdict, tuple[str, str, str, str]] = {
    # verdict: rule id, level, short description, help
    Verdict.PASSED: (
        "attack-passed",
        "error",
        "An attack was carried out and nobody was asked.",
        "Review the traits of the tool, or add a policy that challenges it.",
    ),
    Verdict.BROKEN: (
        "benign-broken",
        "error",
        "Honest work was denied, and no approval would have helped.",
        "The policy that is named denies it; a challenge would ask a person instead.",
    ),
    Verdict.HELD: (
        "benign-held",
        "warning",
        "Honest work waits for a person's approval.",
        "Review the traits of the tools that it read from, or list the counterparty as known.",
    ),
}


def as_sarif(report: Report) -> dict[str, Any]:
    """One run, with one result for each case that somebody should look at."""
    wrong = [case for case in report.cases if is_wrong(case)]
    order = list(_RULES)
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "midflight redteam",
                        "version": __version__,
                        "semanticVersion": __version__,
                        "rules": [_rule(*_RULES[verdict]) for verdict in order],
                    }
                },
                "invocations": [{"executionSuccessful": True}],
                "artifacts": [{"location": {"uri": uri(path)}} for path in _paths(report.cases)],
                "results": [_result(case, order.index(case.verdict)) for case in wrong],
                "columnKind": "unicodeCodePoints",
                "properties": {"policies": report.setting.policies},
            }
        ],
    }


def uri(path: str) -> str:
    """A path as a URI reference: relative ones stay so."""
    pure = Path(path)
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())


def _paths(cases: Iterable[Scored]) -> list[str]:
    return list(dict.fromkeys(case.path for case in cases))


def _rule(rule: str, level: str, what: str, help_text: str) -> dict[str, Any]:
    return {
        "id": rule,
        "name": "".join(part.capitalize() for part in rule.split("-")),
        "shortDescription": {"text": what},
        "fullDescription": {"text": what},
        "help": {"text": help_text},
        "defaultConfiguration": {"level": level},
    }


def _result(case: Scored, index: int) -> dict[str, Any]:
    rule, level, what, _ = _RULES[case.verdict]
    why = what if case.first is None else explain(case.first)
    return {
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": {"text": f"{case.id}: {why}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri(case.path)},
                    "region": {"startLine": case.line},
                },
                "logicalLocations": [
                    {"name": case.id, "fullyQualifiedName": f"{case.suite}/{case.id}"}
                ],
            }
        ],
        # The same case under the same rule is the same finding, wherever its line has moved.
        "partialFingerprints": {"case/v1": f"{rule}/{case.suite}/{case.id}"},
    }


__all__ = ["SCHEMA", "as_sarif", "uri"]
