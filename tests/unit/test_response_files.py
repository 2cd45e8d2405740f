"""Declarations of responses: read strictly, with every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_kit import ALLOW_ALL

import midflight
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.domain.errors import Misconfigured
from midflight.domain.finding import Finding, Strength
from midflight.domain.response import Level, Rate
from midflight.domain.response_rules import STANDARD, Adding, Holds, Limits, ResponseRules, Rule
from midflight.services.policy import check_directory
from midflight.services.policy_files import read_sources
from midflight.services.ports.policy_sets import PolicySource
from midflight.services.response_files import FILE, parse_responses

PACK = Path(midflight.__file__).parent / "policies" / "standard"


def declared(text: str) -> ResponseRules:
    found, problems = parse_responses([PolicySource(name=FILE, text=text)])
    assert problems == []
    assert found is not None
    return found


def problems_of(text: str, name: str = FILE) -> list[str]:
    return [str(p) for p in parse_responses([PolicySource(name=name, text=text)])[1]]


def finding(detector: str, strength: Strength) -> Finding:
    return Finding(id="f", at=0, detector=detector, strength=strength, workload="w", seen="s")


def test_a_declaration_is_read_with_all_it_says() -> None:
    found = declared("""
        [[response]]
        detector = "probing"
        strength = "fair"
        respond = "throttle"
        scope = "workload"
        for = "30m"
        risk = 25
        rate = "20/h"
        about = "Tries doors."
        [adding]
        within = "5m"
        at_most = "challenge"
        weak = 0
        [limits]
        workloads = 2
        percent = 50
        within = "30m"
    """)
    assert found == ResponseRules(
        rules=(
            Rule(
                detector="probing",
                strength=Strength.FAIR,
                respond=Level.THROTTLE,
                holds=Holds.WORKLOAD,
                for_s=1_800,
                risk=25,
                rate=Rate(count=20, seconds=3_600),
                line=2,
            ),
        ),
        adding=Adding(within_s=300, at_most=Level.CHALLENGE, weights=(0, 2, 2)),
        limits=Limits(workloads=2, percent=50, within_s=1_800),
    )


def test_what_is_shipped_is_what_holds_without_a_file() -> None:
    shipped = declared((PACK / FILE).read_text(encoding="utf-8"))
    assert shipped.canonical() == STANDARD.canonical()


@pytest.mark.parametrize(
    ("detector", "strength", "level"),
    [
        ("probing", Strength.WEAK, Level.NOTE),
        ("probing", Strength.STRONG, Level.CHALLENGE),
        ("burst", Strength.STRONG, Level.QUARANTINE),
        ("burst", Strength.WEAK, Level.RISK),
        ("canary", Strength.FAIR, Level.RISK),
        ("canary", Strength.STRONG, Level.REVOKE),
    ],
)
def test_the_rule_that_says_most_about_a_finding_is_the_one(
    detector: str, strength: Strength, level: Level
) -> None:
    rules = declared("""
        [[response]]
        respond = "risk"
        [[response]]
        strength = "strong"
        respond = "quarantine"
        [[response]]
        detector = "probing"
        respond = "note"
        [[response]]
        detector = "probing"
        strength = "fair"
        respond = "challenge"
        [[response]]
        detector = "canary"
        strength = "strong"
        respond = "revoke"
    """)
    assert rules.rule(finding(detector, strength)).respond is level


def test_what_no_rule_is_for_is_noted() -> None:
    assert declared("").rule(finding("x", Strength.STRONG)).respond is Level.NOTE


def test_every_problem_is_said_with_its_place() -> None:
    found = problems_of("""
[[response]]
detector = "Probing!"
strength = "huge"
respond = "sleep"
scope = "owner"
for = "8d"
risk = 101
rate = "fast"
sevrity = 3
[[response]]
strength = "weak"
[[response]]
respond = "note"
risk = 5
[[response]]
respond = "challenge"
rate = "3/m"
[[response]]
detector = "a"
respond = "risk"
[[response]]
detector = "a"
respond = "challenge"
[adding]
within = "2d"
at_most = "none"
weak = 11
much = 1
[limits]
workloads = -1
percent = 0
[wrong]
""")
    for said in (
        "responses.toml:2: a response: `sevrity` is not known",
        "responses.toml:2: a response: `detector` is no name of a detector",
        "`strength` is none of weak, fair, strong",
        "`respond` is none of note, risk, throttle, challenge, quarantine, revoke",
        "`scope` is none of run, workload",
        "`for` is longer than 7 days",
        "`risk` is no whole number from 0 to 100",
        "`rate` is no rate such as 10/m",
        "responses.toml:11: a response: has no `respond`",
        "responses.toml:13: a response: has a `risk`, and a note raises none",
        "responses.toml:16: a response: has a `rate`, which is of `throttle`",
        "responses.toml:22: response to `a`: is for the same findings as the one in line 19",
        "[adding]: `within` is longer than 1 day",
        "[adding]: `at_most` is none of note",
        "[adding]: `weak` is no whole number from 0 to 10",
        "[adding]: `much` is not known",
        "[limits]: `workloads` is no whole number",
        "[limits]: `percent` is no whole number",
        "`wrong` is not known",
    ):
        assert any(said in problem for problem in found), said
    assert len(found) == 19


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[response]\nrespond = 'note'\n", "write [[response]], with two brackets"),
        ("response = [1]\n", "is no table"),
        ("adding = 3\n", "`adding` is one table: [adding]"),
        ("[[response]\n", "is no TOML"),
    ],
)
def test_what_is_no_declaration_is_said(text: str, said: str) -> None:
    assert any(said in problem for problem in problems_of(text))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_read_or_is_a_problem(text: str) -> None:
    found, problems = parse_responses([PolicySource(name=FILE, text=text)])
    assert found is not None or problems


def test_responses_are_a_part_of_the_version_and_their_order_is_not() -> None:
    def version(*texts: str) -> str:
        files = [PolicySource(name="a.cedar", text=ALLOW_ALL)]
        files += [PolicySource(name=FILE, text=text) for text in texts]
        return CedarCompiler().parse(files).version

    one = '[[response]]\ndetector = "a"\nrespond = "note"\n'
    two = '[[response]]\ndetector = "b"\nrespond = "risk"\n'
    assert version(one + two) == version("# why\n" + two + one)
    assert len({version(), version(""), version(one), version(one + two)}) == 4
    assert version(one) != version(one + "[limits]\nworkloads = 9\n")
    assert version(one) != version(one + '[adding]\nwithin = "1m"\n')


def test_a_set_has_one_file_of_responses_and_no_response_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(ALLOW_ALL)
    (tmp_path / "sub").mkdir()
    text = '[[response]]\nrespond = "note"\n'
    (tmp_path / FILE).write_text(text)
    (tmp_path / "sub" / FILE).write_text(text)
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(Misconfigured) as caught:
        CedarCompiler().parse(read_sources(tmp_path))
    said = "\n".join(caught.value.problems)
    assert "sub/responses.toml: is the second of its name" in said
    assert "other.toml: holds `response`" in said


def test_responses_that_no_policy_heeds_are_warned_about(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(ALLOW_ALL)
    (tmp_path / FILE).write_text('[[response]]\nrespond = "quarantine"\n')
    report = check_directory(CedarCompiler(), tmp_path, ())
    assert report.ok
    assert any("no policy looks at context.run.response" in text for text in report.warnings)


def test_a_set_of_observers_declares_none(tmp_path: Path) -> None:
    observe = tmp_path / "observe"
    observe.mkdir()
    (observe / "a.cedar").write_text(ALLOW_ALL)
    (observe / FILE).write_text('[[response]]\nrespond = "note"\n')
    report = check_directory(CedarCompiler(), observe, ())
    assert any("nothing stops a workload that is only observed" in text for text in report.errors)
