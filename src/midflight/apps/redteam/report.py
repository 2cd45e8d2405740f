"""What many replays come to: counts, per suite too, as JSON and as text for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from midflight.apps.redteam.thresholds import Threshold
from midflight.apps.redteam.verdicts import Scored, Verdict, explain
from midflight.domain.value import Value


class Attacks(Value):
    """Attacks by verdict."""

    total: int = 0
    passed: int = 0
    held: int = 0
    denied: int = 0


class Benign(Value):
    """Honest work by verdict."""

    total: int = 0
    clean: int = 0
    held: int = 0
    broken: int = 0


class EffectCalls(Value):
    """Single calls of attackers. `share` is permitted ÷ total."""

    total: int = 0
    permitted: int = 0
    challenged: int = 0
    denied: int = 0
    share: float = 0.0


class Approvals(Value):
    """How many approvals one honest case asks for: what it costs people.

    Attributes:
        total: of all honest cases together.
        median, p99: of the cases, those that asked for none too; by nearest rank, so that each is
            the number of some case.
        most: of the worst case.
    """

    total: int = 0
    median: int = 0
    p99: int = 0
    most: int = 0


class Counts(Value):
    """Everything that is counted, of a suite or of all."""

    attacks: Attacks
    benign: Benign
    effect_calls: EffectCalls
    approvals: Approvals = Approvals()


class Setting(Value):
    """Under what it was measured.

    Attributes:
        policies: version of the set.
        traits: `reviewed`, `proposed` (and no person has looked), or of how many which.
        remember: approvals counted in later runs of the same suite.
        facts: what the owner could have configured was known.
    """

    policies: str
    traits: str
    remember: bool = False
    facts: bool = False


class Report(Value):
    """All of it."""

    setting: Setting
    counts: Counts
    suites: dict[str, Counts]
    cases: tuple[Scored, ...]
    thresholds: tuple[Threshold, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no threshold was missed."""
        return all(threshold.met for threshold in self.thresholds)


def count(cases: Iterable[Scored]) -> Counts:
    """Count verdicts."""
    verdicts: dict[tuple[bool, Verdict], int] = {}
    calls = [0, 0, 0, 0]
    approvals: list[int] = []
    for case in cases:
        if not case.attack:
            approvals.append(case.approvals)
        key = (case.attack, case.verdict)
        verdicts[key] = verdicts.get(key, 0) + 1
        calls = [a + b for a, b in zip(calls, case.effects, strict=True)]
    attacks = {v: n for (is_attack, v), n in verdicts.items() if is_attack}
    benign = {v: n for (is_attack, v), n in verdicts.items() if not is_attack}
    return Counts(
        attacks=Attacks(
            total=sum(attacks.values()),
            passed=attacks.get(Verdict.PASSED, 0),
            held=attacks.get(Verdict.HELD, 0),
            denied=attacks.get(Verdict.DENIED, 0),
        ),
        benign=Benign(
            total=sum(benign.values()),
            clean=benign.get(Verdict.CLEAN, 0),
            held=benign.get(Verdict.HELD, 0),
            broken=benign.get(Verdict.BROKEN, 0),
        ),
        effect_calls=EffectCalls(
            total=calls[0],
            permitted=calls[1],
            challenged=calls[2],
            denied=calls[3],
            share=calls[1] / calls[0] if calls[0] else 0.0,
        ),
        approvals=_approvals(approvals),
    )


def by_suite(cases: Sequence[Scored]) -> dict[str, Counts]:
    """Counts of each suite, by name."""
    suites = sorted({case.suite for case in cases})
    return {suite: count(case for case in cases if case.suite == suite) for suite in suites}


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs: the counts at the top, the same per suite, and every case."""
    cases: list[dict[str, Any]] = [
        {
            **msgspec.to_builtins(case),
            "why": "" if case.first is None else explain(case.first),
            "effects": dict(
                zip(("total", "permitted", "challenged", "denied"), case.effects, strict=True)
            ),
        }
        for case in report.cases
    ]
    return {
        **msgspec.to_builtins(report.counts),
        "ok": report.ok,
        "setting": msgspec.to_builtins(report.setting),
        "thresholds": [
            {**msgspec.to_builtins(one), "met": one.met, "text": str(one)}
            for one in report.thresholds
        ],
        "suites": {name: msgspec.to_builtins(counts) for name, counts in report.suites.items()},
        "cases": cases,
    }


def as_lines(report: Report) -> list[str]:
    """The report for people: what went wrong first, one line a case, then the counts."""
    lines = [f"{case.verdict:<7} {case.id}  {_why(case)}" for case in _wrong(report.cases)]
    if lines:
        lines.append("")
    lines += _table(report)
    calls = report.counts.effect_calls
    if calls.total:
        lines.append(
            f"Single effect calls of attackers: {calls.permitted} of {calls.total} permitted "
            f"unasked ({calls.share:.1%}), {calls.challenged} challenged, {calls.denied} denied."
        )
    asked = report.counts.approvals
    if report.counts.benign.total:
        lines.append(
            f"Approvals asked for per honest case: median {asked.median}, p99 {asked.p99}, "
            f"most {asked.most}; {asked.total} in all."
        )
    fetches = [case for case in report.cases if case.fetches]
    if fetches:
        passed = sum(case.verdict is Verdict.PASSED for case in fetches)
        lines.append(
            f"{len(fetches)} attacks only read, so all of their calls were judged: {passed} passed."
        )
    setting = report.setting
    lines.append(
        f"Policies {setting.policies[:16]}, traits {setting.traits}"
        + (", approvals remembered" if setting.remember else "")
        + (", the owner's facts known" if setting.facts else "")
        + "."
    )
    lines += [f"{'met' if one.met else 'MISSED'}: {one}" for one in report.thresholds]
    return lines


def is_wrong(case: Scored) -> bool:
    """Whether somebody should look at it: an attack that passed, honest work that was stopped."""
    return case.verdict in (Verdict.PASSED, Verdict.BROKEN) or (
        case.verdict is Verdict.HELD and not case.attack
    )


# Inside


def _approvals(asked: list[int]) -> Approvals:
    asked.sort()
    return Approvals(
        total=sum(asked),
        median=_rank(asked, 50),
        p99=_rank(asked, 99),
        most=asked[-1] if asked else 0,
    )


def _rank(ordered: Sequence[int], percent: int) -> int:
    """The smallest that at least `percent` of them do not exceed; 0 of none."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else 0


def _wrong(cases: Iterable[Scored]) -> list[Scored]:
    rank = {Verdict.PASSED: 0, Verdict.BROKEN: 1, Verdict.HELD: 2}
    return sorted((case for case in cases if is_wrong(case)), key=lambda case: rank[case.verdict])


def _why(case: Scored) -> str:
    return "" if case.first is None else explain(case.first)


def _table(report: Report) -> list[str]:
    rows = [*report.suites.items()]
    if len(rows) != 1:
        rows.append(("all", report.counts))
    head: tuple[str, ...] = (
        "suite",
        "attacks",
        "passed",
        "held",
        "denied",
        "benign",
        "clean",
        "held",
        "broken",
    )
    cells: list[tuple[str, ...]] = [head]
    for name, counts in rows:
        attacks, benign = counts.attacks, counts.benign
        cells.append(
            (
                name,
                str(attacks.total),
                _share(attacks.passed, attacks.total),
                _share(attacks.held, attacks.total),
                _share(attacks.denied, attacks.total),
                str(benign.total),
                _share(benign.clean, benign.total),
                _share(benign.held, benign.total),
                _share(benign.broken, benign.total),
            )
        )
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _share(part: int, total: int) -> str:
    return f"{part} ({part / total:.1%})" if total else "-"


__all__ = [
    "Approvals",
    "Attacks",
    "Benign",
    "Counts",
    "EffectCalls",
    "Report",
    "Setting",
    "as_json",
    "as_lines",
    "by_suite",
    "count",
    "is_wrong",
]
