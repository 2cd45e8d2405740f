"""docs/detectors.md says what the code does: every detector, every number."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from midflight.services.baselines import LOST
from midflight.services.detectors import burst, learning, novelty, peaks, pipeline
from midflight.services.detectors.standard import standard

TEXT = (Path(__file__).parents[2] / "docs" / "detectors.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands under a heading, in one line."""
    found = re.search(rf"^## `?{title}`?\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, f"nothing about {title}"
    return " ".join(found[1].split())


@pytest.mark.parametrize("name", [detector.name for detector in standard()])
def test_every_detector_is_described(name: str) -> None:
    words = section(name)
    assert words.startswith("Sees")
    assert "**Cannot see**" in words


def test_what_is_said_of_baselines_is_so() -> None:
    words = section("Baselines")
    month = peaks.MONTH_DAYS
    half = round(-1 / math.log2(peaks.FADE))
    for said in (
        f"may become {peaks.RISE} times what it was the day before",
        f"and {peaks.MONTH_RISE:g} times what it was {month} to {2 * month} active days ago",
        f"fades to half within {half} active days",
        f"ten times as much after {3 * month} active days",
        f"{learning.MAX_WORKLOADS:,} workloads a detector and {learning.MAX_RUNS:,} open runs",
        f"cut at {novelty.MAX_NAME} characters",
        f"(`{LOST}`)",
    ):
        assert said in words


def test_how_many_runs_can_be_accepted_is_so() -> None:
    assert f"The last {learning.MAX_DOUBTFUL} since the plane was started" in " ".join(TEXT.split())


def test_what_is_said_of_burst_is_so() -> None:
    words = section("burst")
    for measure in burst.MEASURES:
        assert f"| {measure.of} | {measure.within} | {measure.floor:,} |" in words
    assert f"beyond {burst.WEAK_TIMES:g} times, **fair** beyond {burst.FAIR_TIMES:g} times" in words
    assert f"12 calls a minute usual, the {12 * burst.FAIR_TIMES + 1:g}th is found" in words
    assert f"after {burst.WARM_RUNS} ended runs" in words
    assert f"beyond {burst.NEW_TIMES:g} times the last column" in words
    low = burst.CALLS_S * (peaks.SLOTS - 1) / peaks.SLOTS
    assert f"back {low:g} to {burst.CALLS_S:g} seconds" in words
    assert burst.BYTES_S == 600


def test_what_is_said_of_novelty_is_so() -> None:
    words = section("novelty")
    for said in (
        f"at most {novelty.MAX_SAID} of one run",
        f"more than one new host in {1 / novelty.SETTLED:g} runs",
        f"after {novelty.WARM_DAYS} active days",
        f"at least {novelty.FEW} tools",
        f"less than once in {1 / novelty.BY_CHANCE:,.0f} runs",
        f"after {novelty.WARM_RUNS} ended runs",
        f"{novelty.MAX_TOOLS} tools, {novelty.MAX_UPSTREAMS} upstreams and {novelty.MAX_HOSTS}",
    ):
        assert said in words


def test_what_is_said_of_pipeline_is_so() -> None:
    words = section("pipeline")
    for said in (
        f"at most one new tool in {1 / pipeline.SETTLED:g} jobs",
        f"at the {pipeline.NEW_ORDER}rd call in an order",
        f"more than {pipeline.TIMES:g} times as often",
        f"more than {pipeline.MORE} times more often",
        f"more than {pipeline.TIMES:g} times what is usual, and more than {pipeline.FLOOR_BYTES:,}",
        f"At most {novelty.MAX_SAID} notes a job",
        f"after {pipeline.WARM_JOBS} ended jobs",
        f"{novelty.MAX_TOOLS} tools and {pipeline.MAX_STEPS} pairs",
    ):
        assert said in words
