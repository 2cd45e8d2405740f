"""docs/responses.md: what it says of the shipped rules is what they are, and its verbs exist."""

from __future__ import annotations

import re
from pathlib import Path

from response_kit import rules
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.domain.finding import Strength
from midflight.domain.response import Level, Response
from midflight.domain.response_rules import HOUR, RATE, RISKS, STANDARD, add_up
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.response_files import MAX_FOR_S
from midflight.services.responses import EXTENDS_S

TEXT = (Path(__file__).parents[2] / "docs" / "responses.md").read_text(encoding="utf-8")
FLAT = " ".join(TEXT.split())


def test_the_rules_of_the_page_are_those_that_hold() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert rules(shown).canonical() == STANDARD.canonical()


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert MAX_FOR_S == 7 * 86_400
    assert HOUR == 3_600
    assert [RISKS[strength] for strength in Strength] == [10, 30, 60]
    assert str(RATE) == "10/m"
    assert EXTENDS_S == 60
    limits, adding = STANDARD.limits, STANDARD.adding
    for said in (
        "`for` is at most 7 days and 1 hour",
        "Points of `risk` are 10, 30 and 60",
        "A throttle without a `rate` is `10/m`",
        "steps of at least 60 seconds",
        f"at most {limits.workloads} different workloads an hour",
        f"at most {limits.percent} percent",
        f"within {adding.within_s // 60} minutes add up",
    ):
        assert said in FLAT, said


def test_two_fair_findings_are_a_quarantine_and_a_weak_one_counts_half() -> None:
    def other(strength: Strength, detector: str) -> Response:
        rule = next(r for r in STANDARD.rules if r.strength is strength and not r.detector)
        return Response(
            id=detector,
            at=100,
            scope=Scope(kind=ScopeKind.RUN, id="r"),
            workload="w",
            level=rule.respond,
            until=1e9,
            reason="r",
            author="a",
            proof="p",
            detector=detector,
            base=rule.respond,
            weight=STANDARD.adding.weight(strength),
        )

    def level(*others: Response) -> Level:
        return add_up(STANDARD.adding, Level.CHALLENGE, 2, others, now=101)

    weak = [other(Strength.WEAK, name) for name in "abcdef"]
    assert level(other(Strength.FAIR, "a")) is Level.QUARANTINE
    assert level(weak[0]) is Level.CHALLENGE
    assert level(*weak[:2]) is Level.QUARANTINE
    assert level(*weak) is Level.QUARANTINE  # adding alone leads no higher


def test_every_level_stands_in_the_table() -> None:
    named = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert named == [level.value for level in Level if level is not Level.NONE]


def test_the_verbs_of_the_page_exist_with_their_options() -> None:
    (shown,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = re.findall(r"midflight response (\w+)(.*)", shown)
    assert {verb for verb, _ in lines} == {"list", "show", "lift", "add"}
    for verb, rest in lines:
        helped = CliRunner().invoke(app, ["response", verb, "--help"], env={"COLUMNS": "200"})
        assert helped.exit_code == 0
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in helped.output
