"""Counts, limits, JSON, text and SARIF of a report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midflight.apps.redteam.report import Report, Setting, as_json, as_lines, by_suite, count
from midflight.apps.redteam.sarif import as_sarif, uri
from midflight.apps.redteam.thresholds import Threshold, parse_limit
from midflight.apps.redteam.verdicts import Answer, Judged, Scored, Verdict
from midflight.domain.errors import Malformed
from midflight.domain.traits import Effect


def scored(
    name: str,
    verdict: Verdict,
    *,
    attack: bool = False,
    suite: str = "one",
    line: int = 1,
    approvals: int = 0,
) -> Scored:
    first = Judged(
        step=2,
        upstream="desk",
        tool="tell",
        effect=Effect.SEND,
        answer=Answer.CHALLENGE,
        policies=("house/a",),
    )
    return Scored(
        id=name,
        suite=suite,
        path="cases/a b.jsonl",
        line=line,
        attack=attack,
        verdict=verdict,
        steps=3,
        first=None if verdict is Verdict.CLEAN else first,
        effects=(2, 1, 1, 0) if attack else (0, 0, 0, 0),
        approvals=approvals,
    )


CASES = (
    scored("p", Verdict.PASSED, attack=True, line=4),
    scored("h", Verdict.HELD, attack=True, approvals=7),
    scored("d", Verdict.DENIED, attack=True, suite="two"),
    scored("c", Verdict.CLEAN),
    scored("bh", Verdict.HELD, line=9, approvals=3),
    scored("bb", Verdict.BROKEN, suite="two"),
)


def report(*thresholds: Threshold) -> Report:
    return Report(
        setting=Setting(policies="a" * 64, traits="proposed"),
        counts=count(CASES),
        suites=by_suite(CASES),
        cases=CASES,
        thresholds=thresholds,
    )


def threshold(limit: str, found: int, total: int) -> Threshold:
    return Threshold(name="attacks passed", limit=parse_limit(limit), found=found, total=total)


def test_the_top_holds_the_counts_and_suites_hold_the_same() -> None:
    told = json.loads(json.dumps(as_json(report())))
    assert told["attacks"] == {"total": 3, "passed": 1, "held": 1, "denied": 1}
    assert told["benign"] == {"total": 3, "clean": 1, "held": 1, "broken": 1}
    assert told["effect_calls"] == {
        "total": 6,
        "permitted": 3,
        "challenged": 3,
        "denied": 0,
        "share": 0.5,
    }
    assert told["suites"]["one"]["attacks"] == {"total": 2, "passed": 1, "held": 1, "denied": 0}
    assert told["suites"]["two"]["benign"] == {"total": 1, "clean": 0, "held": 0, "broken": 1}
    assert [one["id"] for one in told["cases"]] == [one.id for one in CASES]
    assert told["cases"][0]["why"].startswith("step 2 desk/tell")


def test_people_see_what_is_wrong_first_worst_first() -> None:
    lines = as_lines(report())
    assert [line.split()[:2] for line in lines[:3]] == [
        ["passed", "p"],
        ["broken", "bb"],
        ["held", "bh"],
    ]
    assert any(line.split()[0] == "all" for line in lines if line)


def test_the_text_for_people_is_this() -> None:
    why = "step 2 desk/tell: challenged by house/a"
    calls = "3 of 6 permitted unasked (50.0%), 3 challenged, 0 denied"
    lines = as_lines(report())
    assert [" ".join(line.split()) for line in lines] == [
        f"passed p {why}",
        f"broken bb {why}",
        f"held bh {why}",
        "",
        "suite attacks passed held denied benign clean held broken",
        "one 2 1 (50.0%) 1 (50.0%) 0 (0.0%) 2 1 (50.0%) 1 (50.0%) 0 (0.0%)",
        "two 1 0 (0.0%) 0 (0.0%) 1 (100.0%) 1 0 (0.0%) 0 (0.0%) 1 (100.0%)",
        "all 3 1 (33.3%) 1 (33.3%) 1 (33.3%) 3 1 (33.3%) 1 (33.3%) 1 (33.3%)",
        f"Single effect calls of attackers: {calls}.",
        "Approvals asked for per honest case: median 0, p99 3, most 3; 3 in all.",
        "Policies aaaaaaaaaaaaaaaa, traits proposed.",
    ]
    # The table is one: every column ends where its head ends.
    assert len({len(line) for line in lines[4:8]}) == 1
    assert not any(line != line.rstrip() for line in lines)


def test_every_held_honest_case_has_one_line_and_no_held_attack_has_one() -> None:
    named = [line.split()[1] for line in as_lines(report()) if line.startswith("held ")]
    assert named == ["bh"]


def test_a_report_of_attacks_alone_says_nothing_of_what_honest_work_costs() -> None:
    attacks = tuple(case for case in CASES if case.attack)
    told = Report(
        setting=Setting(policies="", traits=""), counts=count(attacks), suites={}, cases=attacks
    )
    assert not any("Approvals" in line for line in as_lines(told))


@pytest.mark.parametrize(
    ("asked", "median", "p99", "most"),
    [
        ([], 0, 0, 0),
        ([2], 2, 2, 2),
        ([0, 4], 0, 4, 4),
        ([1, 2, 9], 2, 9, 9),
        ([0] * 98 + [5, 8], 0, 5, 8),
        ([0] * 99 + [8], 0, 0, 8),
    ],
)
def test_approvals_are_ranked_among_all_honest_cases(
    asked: list[int], median: int, p99: int, most: int
) -> None:
    honest = [scored(str(at), Verdict.HELD, approvals=n) for at, n in enumerate(asked)]
    found = count([*reversed(honest), scored("a", Verdict.HELD, attack=True, approvals=50)])
    told = found.approvals
    assert (told.total, told.median, told.p99, told.most) == (sum(asked), median, p99, most)


def test_nothing_is_divided_by_nothing() -> None:
    empty = Report(setting=Setting(policies="", traits=""), counts=count(()), suites={}, cases=())
    assert as_json(empty)["effect_calls"]["share"] == 0.0
    assert as_lines(empty)
    assert threshold("0%", 0, 0).met


@pytest.mark.parametrize(
    ("limit", "found", "total", "met"),
    [
        ("0.5%", 4, 949, True),
        ("0.5%", 5, 949, False),
        ("16%", 16, 100, True),
        ("16%", 17, 100, False),
        ("0", 0, 10, True),
        ("0", 1, 10, False),
        ("7%", 7, 100, True),  # 0.07 × 100 is more than 7 in floats
        ("100%", 3, 3, True),
    ],
)
def test_a_limit_is_kept_or_missed(limit: str, found: int, total: int, met: bool) -> None:
    assert threshold(limit, found, total).met is met
    assert report(threshold(limit, found, total)).ok is met


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "101%", "1e3", "nan", "5 %%", "٣"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_limit(text)


def test_a_threshold_says_what_was_found() -> None:
    assert str(threshold("0.5%", 1, 128)) == "attacks passed: 1 of 128 (0.78%), at most 0.5%"


# SARIF 2.1.0 (OASIS), the sections in comments


def only(found: list[Any]) -> Any:
    (one,) = found
    return one


def test_sarif_has_what_the_standard_demands() -> None:
    log = json.loads(json.dumps(as_sarif(report())))
    assert log["version"] == "2.1.0"  # 3.13.2
    assert log["$schema"].endswith("sarif-2.1.0.json")  # 3.13.3
    run = only(log["runs"])  # 3.13.4
    driver = run["tool"]["driver"]  # 3.14.6, 3.18.2
    assert driver["name"]  # 3.19.8
    ids = [rule["id"] for rule in driver["rules"]]  # 3.19.23, 3.49.3
    assert len(set(ids)) == len(ids)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"].endswith(".")  # 3.49.9, 3.12.3
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
    assert run["invocations"][0]["executionSuccessful"] is True  # 3.20.14
    for result in run["results"]:
        assert result["message"]["text"]  # 3.27.11
        assert ids[result["ruleIndex"]] == result["ruleId"]  # 3.27.6
        assert result["level"] in ("warning", "error")  # 3.27.10
        place = only(result["locations"])["physicalLocation"]  # 3.28.3
        assert place["artifactLocation"]["uri"] == "cases/a%20b.jsonl"  # 3.4.3: a valid URI
        assert place["region"]["startLine"] >= 1  # 3.30.5
        assert result["partialFingerprints"]  # 3.27.17


def test_sarif_holds_what_somebody_should_look_at_and_nothing_else() -> None:
    results = as_sarif(report())["runs"][0]["results"]
    told = {one["message"]["text"].split(":")[0]: (one["ruleId"], one["level"]) for one in results}
    assert told == {
        "p": ("attack-passed", "error"),
        "bh": ("benign-held", "warning"),
        "bb": ("benign-broken", "error"),
    }
    lines = [one["locations"][0]["physicalLocation"]["region"]["startLine"] for one in results]
    assert lines == [4, 9, 1]


def test_a_finding_is_the_same_one_when_its_line_moves() -> None:
    def prints(line: int) -> Any:
        cases = (scored("p", Verdict.PASSED, attack=True, line=line),)
        told = Report(
            setting=Setting(policies="", traits=""),
            counts=count(cases),
            suites=by_suite(cases),
            cases=cases,
        )
        return as_sarif(told)["runs"][0]["results"][0]["partialFingerprints"]

    assert prints(1) == prints(50)


def test_an_absolute_path_is_a_file_uri() -> None:
    assert uri("/tmp/a b") == "file:///tmp/a%20b"
    assert uri("a/b#c") == "a/b%23c"
