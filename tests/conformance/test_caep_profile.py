"""The table of the CAEP interoperability profile is whole, and names tests that exist."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from conformance.caep_profile import COUNTS, PROFILE
from midflight.apps.settings_ssf import SharedSignals
from midflight.services.ssf_streams import MIN_VERIFICATION_S

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs" / "shared-signals.md"


def names_in(name: str) -> set[str]:
    tree = ast.parse((TESTS / name).read_text("utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    }


def test_every_sentence_of_every_section_has_a_row() -> None:
    assert Counter(row.section for row in PROFILE) == COUNTS
    assert len({(row.section, row.what) for row in PROFILE}) == len(PROFILE) == sum(COUNTS.values())


def test_every_row_names_tests_and_they_exist() -> None:
    for row in PROFILE:
        assert row.tests, row
        for name in row.tests:
            file, _, function = name.partition("::")
            assert function in names_in(file), name


def test_what_is_not_met_is_said_to_everybody() -> None:
    text = " ".join(DOCS.read_text("utf-8").split())
    for row in PROFILE:
        if row.gap:
            assert row.gap in text, row.gap


def test_what_receivers_are_promised_is_documented() -> None:
    """Profile 2.3.5: how many events a paused stream keeps is specified offline."""
    text = DOCS.read_text("utf-8")
    assert f"{SharedSignals().queue:,} events" in text
    assert f"{MIN_VERIFICATION_S} seconds" in text
